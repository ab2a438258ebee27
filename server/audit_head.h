/* The small file beside the audit log that says how far the log has come, so that records missing
 * at its end are missed: PATH.head.
 *
 * Two slots of 512 bytes, written in turn after the log itself is on the disk and before a record
 * is acknowledged: whatever moment the machine dies at, one slot is whole, and neither says more
 * than the log holds. A slot is one line,
 * {"seq":7,"at":10240,"last":"<sha256>","key":"<id>","hmac":...}, filled up with blanks. Its form
 * is exact, so every changed byte is seen.
 *
 * Somebody who can put back an older log *and* the head of that time leaves no trace here; the
 * server therefore also tells the head in its own log (docs/audit.md). */
#ifndef CP_SERVER_AUDIT_HEAD_H
#define CP_SERVER_AUDIT_HEAD_H

#include "server/audit_line.h"

#define CP_AUDIT_SLOT_BYTES ((size_t)512)

typedef struct cp_audit_slot {
    bool good;
    cp_audit_place next; /* the place behind the last record: seq is one more than it has */
} cp_audit_slot;

typedef struct cp_audit_head {
    cp_audit_slot slots[2];
    unsigned newest; /* the good slot that is further; 0 when both are equal */
    char key_id[17]; /* of the newest slot, also when its mark is another key's; "" without */
    bool whole;      /* of the right size: a smaller one is of a log that was never begun */
    bool other_key;  /* no slot is good, and one says that its key is another */
} cp_audit_head;

/* CP_ERR_NOT_FOUND without a file; CP_OK also when no slot is good (look at them). */
cp_status cp_audit_head_read(const char *path, const cp_audit_keys *keys, cp_audit_head *out,
                             cp_error *err) CP_MUST_CHECK;
/* Writes `slot` of the open file and waits until it is on the disk. */
cp_status cp_audit_head_write(int fd, unsigned slot, const cp_audit_keys *keys,
                              const cp_audit_place *next, cp_error *err) CP_MUST_CHECK;

#endif
