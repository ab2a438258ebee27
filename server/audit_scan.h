/* Walks an audit log from its first record to its last and tells everything that is wrong with it.
 *
 * The log is PATH, its older parts PATH.<first seq, 12 digits> and PATH.head. After a fault the
 * walk goes on from the line as it stands, so one change is told once or twice and not for all that
 * follows. Reads only; a server may go on writing meanwhile (a rotation during the walk can look
 * like a fault: run it again). */
#ifndef CP_SERVER_AUDIT_SCAN_H
#define CP_SERVER_AUDIT_SCAN_H

#include "server/audit_head.h"

/* A file of the log. */
typedef struct cp_audit_part {
    char path[4096];
    uint64_t first_seq; /* 0: PATH itself, the last part */
} cp_audit_part;
/* All parts that exist, oldest first, perhaps none; free() the array. */
cp_status cp_audit_parts(const char *path, cp_audit_part **out, size_t *n,
                         cp_error *err) CP_MUST_CHECK;

typedef struct cp_audit_scan {
    const cp_audit_keys *keys;
    /* One sentence a fault; it names records by number and never holds what they say. */
    void (*on_fault)(void *user, const char *sentence);
    /* Each line of the right form, in order; false ends the walk. May be NULL. */
    bool (*on_line)(void *user, const cp_audit_line *line);
    void *user;
    bool last_parts_only; /* the last two, for a server's start */

    /* What was found. */
    uint64_t n_records, n_faults;
    size_t n_parts;
    cp_audit_place next;    /* behind the last record */
    uint64_t part_seq;      /* of the first record in PATH */
    size_t last_part_bytes; /* of PATH, up to the end of its last whole line */
    size_t torn_bytes;      /* after it: a record that was never acknowledged */
    bool marks_checked;     /* false: the log has HMACs and there is no SECRET_KEY */
    bool has_head;
    cp_audit_head head;
} cp_audit_scan;

/* CP_OK whatever is wrong with the log; CP_ERR_NOT_FOUND when there is neither log nor head, other
 * errors when it cannot be read. */
cp_status cp_audit_scan_run(const char *path, cp_audit_scan *scan, cp_error *err) CP_MUST_CHECK;

#endif
