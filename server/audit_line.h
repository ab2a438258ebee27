/* One line of the audit log: what the chain needs, around a body that it does not look into.
 *
 *     {"seq":7,"at":10240,"prev":"<sha256>",BODY,"hmac":"<hmac>"}
 *
 * seq counts from 1 over all files, `at` is the bytes of all lines before it (so lengths are
 * chained too), prev the SHA-256 of the line before it without its line end (64 zeros for the
 * first), and the mark at the end covers every byte before it. Without SECRET_KEY the mark is a
 * SHA-256 and is called so. BODY is "key":value, ... as audit_record.h writes it. The form is
 * exact: a line that we would have written otherwise is none. */
#ifndef CP_SERVER_AUDIT_LINE_H
#define CP_SERVER_AUDIT_LINE_H

#include "server/audit_keys.h"

#include <stdint.h>

#define CP_AUDIT_MAX_LINE ((size_t)64 << 20)

/* Where the chain stands: what the next line must say. */
typedef struct cp_audit_place {
    uint64_t seq, at;
    char prev[CP_AUDIT_HEX_CAP];
} cp_audit_place;
void cp_audit_place_init(cp_audit_place *place); /* before the first line */

/* Appends the line for `body` with its line end and moves `place` behind it. */
cp_status cp_audit_line_append(const cp_audit_keys *keys, cp_audit_place *place, cp_str body,
                               cp_strbuf *out, cp_error *err) CP_MUST_CHECK;

typedef struct cp_audit_line {
    cp_audit_place place; /* as the line claims */
    bool keyed;           /* its mark is an HMAC */
    cp_str body, marked;  /* borrowed from the line; `marked` is what the mark covers */
    char mark[CP_AUDIT_HEX_CAP];
} cp_audit_line;

/* Takes a line without its line end apart; false when it has not the form above. */
bool cp_audit_line_parse(cp_str line, cp_audit_line *out) CP_MUST_CHECK;
/* Whether the mark is right: CP_ERR_FORMAT when it is not. */
cp_status cp_audit_line_check(const cp_audit_keys *keys, const cp_audit_line *line,
                              cp_error *err) CP_MUST_CHECK;
/* Moves `place` behind this line, whatever it claims about others. */
cp_status cp_audit_place_after(cp_audit_place *place, const cp_audit_line *line, cp_str text,
                               cp_error *err) CP_MUST_CHECK;
/* Whether text[0..n), which has no line end, can be what a killed writer left of the line at
 * `place`: the start of it, or nothing but zeros from some byte on (a lost page). */
bool cp_audit_line_is_torn(const cp_audit_place *place, cp_str text);

#endif
