/* The audit log: the record of every answer and of every look into patients' records, on the disk
 * before the answer leaves.
 *
 *     any thread:    submit: the record is written out and sealed, then waits in a list
 *     audit thread:  all that waits becomes lines of the chain -> one write -> fdatasync -> the
 * head
 *                    -> fdatasync -> done for each
 *
 * So requests that end together share the waits for the disk. A record whose done says CP_OK
 * survives kill -9 and loss of power. What a killed writer left of an unacknowledged line is cut
 * off at the next start, and a note in the log says so. One process writes a log at a time (flock).
 * A file that has reached its size is renamed to PATH.<first seq> and the chain goes on in a new
 * one.
 *
 * A log that does not agree with its head, or that was made with another SECRET_KEY, is not written
 * on: opening fails with a sentence that says what to do. A write that fails (full disk) fails the
 * records concerned, is undone, and the next record tries again. */
#ifndef CP_SERVER_AUDIT_LOG_H
#define CP_SERVER_AUDIT_LOG_H

#include "server/audit_record.h"

typedef struct cp_audit cp_audit;

#define CP_AUDIT_ROTATE_BYTES ((size_t)64 << 20)

typedef struct cp_audit_options {
    const char *path;    /* copied; its folder is made when it is missing */
    const char *secret;  /* SECRET_KEY; NULL: hashes only */
    size_t rotate_bytes; /* 0: CP_AUDIT_ROTATE_BYTES */
    /* The model folder, or NULL: its SHA-256 goes into every record. It is computed by the audit
     * thread before the first record, or taken from PATH.model where the files are as they were. */
    const char *model_dir;
} cp_audit_options;

cp_status cp_audit_open(const cp_audit_options *options, cp_audit **out,
                        cp_error *err) CP_MUST_CHECK;
/* The model's folder where it was not known when the log was opened (it was being fetched): records
 * that are submitted from now on name it. Once; any thread. */
void cp_audit_set_model(cp_audit *audit, const char *model_dir);
/* After the last done. NULL is allowed. */
void cp_audit_close(cp_audit *audit);

/* In the audit thread; CP_OK: the record is on the disk. `err` is borrowed. */
typedef void cp_audit_done(void *user, cp_status status, const cp_error *err);
/* Borrows `entry` during the call only. CP_OK: done comes exactly once; else never. */
cp_status cp_audit_submit(cp_audit *audit, const cp_audit_entry *entry, cp_audit_done *done,
                          void *user, cp_error *err) CP_MUST_CHECK;
/* The same, and waits. */
cp_status cp_audit_append(cp_audit *audit, const cp_audit_entry *entry,
                          cp_error *err) CP_MUST_CHECK;
/* The same two for a look into records. */
cp_status cp_audit_submit_access(cp_audit *audit, const cp_audit_access *access,
                                 cp_audit_done *done, void *user, cp_error *err) CP_MUST_CHECK;
cp_status cp_audit_append_access(cp_audit *audit, const cp_audit_access *access,
                                 cp_error *err) CP_MUST_CHECK;
/* Waits until every done has returned. NULL is allowed. */
void cp_audit_settle(cp_audit *audit);

/* Records on the disk since the log began, and the last one's SHA-256: for the server's own log, so
 * that a log put back to an older state is seen. */
uint64_t cp_audit_n_records(cp_audit *audit, char last[CP_AUDIT_HEX_CAP]);
/* Records that could not be written since it was opened. */
uint64_t cp_audit_n_failed(cp_audit *audit);

#endif
