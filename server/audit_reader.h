/* For the commands that read an audit log: which log and which SECRET_KEY the environment means,
 * and a record by its trace id. */
#ifndef CP_SERVER_AUDIT_READER_H
#define CP_SERVER_AUDIT_READER_H

#include "server/audit_question.h"
#include "server/settings.h"

typedef struct cp_audit_reader {
    cp_settings settings; /* from the environment */
    const char *path;
    cp_audit_keys keys;
} cp_audit_reader;

/* `file` (may be NULL) goes before AUDIT_FILE; CP_ERR_USAGE when neither names a log. Close in
 * either case. */
cp_status cp_audit_reader_open(const char *file, cp_audit_reader *out, cp_error *err) CP_MUST_CHECK;
void cp_audit_reader_close(cp_audit_reader *reader);

/* The record with this trace id: an answer's before any other, the last one where a client sent an
 * id twice; opened where there is a SECRET_KEY. CP_ERR_NOT_FOUND without one, CP_ERR_FORMAT when it
 * is not as it was written; what is wrong elsewhere in the log does not matter here. Deinit the
 * record in either case. */
cp_status cp_audit_reader_find(const cp_audit_reader *reader, const char *trace_id,
                               cp_audit_record *out, cp_error *err) CP_MUST_CHECK;

/* Whether AUDIT_FILE names a log: neither empty nor "off". */
bool cp_audit_is_on(const cp_settings *settings);

#endif
