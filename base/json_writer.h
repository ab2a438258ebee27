/* Writes JSON into a strbuf as it goes: no tree, any bytes in strings.
 *
 * Commas and colons are its business; the caller opens, fills and closes in order (asserted). Bytes
 * that are not UTF-8 become U+FFFD, so the output always parses. Failure is the strbuf's: check it
 * once at the end. */
#ifndef CP_BASE_JSON_WRITER_H
#define CP_BASE_JSON_WRITER_H

#include "base/strbuf.h"

#include <stdint.h>

typedef struct cp_json_writer {
    cp_strbuf *out;
    unsigned depth;
    bool need_comma;
    bool after_key;
} cp_json_writer;

void cp_json_writer_init(cp_json_writer *w, cp_strbuf *out);
void cp_json_open_object(cp_json_writer *w);
void cp_json_close_object(cp_json_writer *w);
void cp_json_open_array(cp_json_writer *w);
void cp_json_close_array(cp_json_writer *w);
void cp_json_key(cp_json_writer *w, const char *key);

void cp_json_put_str(cp_json_writer *w, cp_str text);
void cp_json_put_text(cp_json_writer *w, const char *text); /* NULL writes null */
void cp_json_put_int(cp_json_writer *w, int64_t value);
/* `digits` significant digits; NaN and infinities, which JSON lacks, become null. */
void cp_json_put_number(cp_json_writer *w, double value, int digits);
void cp_json_put_bool(cp_json_writer *w, bool value);
void cp_json_put_null(cp_json_writer *w);
void cp_json_put_ids(cp_json_writer *w, const int32_t *ids, size_t n);

/* "key": value in one call. */
void cp_json_member_text(cp_json_writer *w, const char *key, const char *text);
void cp_json_member_str(cp_json_writer *w, const char *key, cp_str text);
void cp_json_member_int(cp_json_writer *w, const char *key, int64_t value);
void cp_json_member_number(cp_json_writer *w, const char *key, double value, int digits);
void cp_json_member_bool(cp_json_writer *w, const char *key, bool value);

#endif
