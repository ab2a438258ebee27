/* A growing byte string with a maximum.
 *
 * Holds any bytes, always followed by a NUL that is not counted. Appending past `max_bytes` or
 * without memory marks the buffer as failed and drops the bytes; later appends do nothing. So a
 * chain of appends is checked once, at its end, with cp_strbuf_check. Owned by one thread at a
 * time. */
#ifndef CP_BASE_STRBUF_H
#define CP_BASE_STRBUF_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* A borrowed run of bytes; not NUL-terminated unless the function that made it says so. */
typedef struct cp_str {
    const char *data;
    size_t n;
} cp_str;

#define CP_STR(literal) ((cp_str){literal, sizeof(literal) - 1})
bool cp_str_equal(cp_str a, cp_str b);
bool cp_str_is(cp_str a, const char *text);

typedef struct cp_strbuf {
    char *data; /* NULL until the first append; cp_strbuf_text never is */
    size_t n, cap, max_bytes;
    cp_status failed; /* CP_OK, CP_ERR_LIMIT or CP_ERR_NO_MEMORY */
} cp_strbuf;

void cp_strbuf_init(cp_strbuf *buf, size_t max_bytes);
void cp_strbuf_deinit(cp_strbuf *buf);
/* Empties it and forgets a failure; keeps the memory. */
void cp_strbuf_clear(cp_strbuf *buf);

/* Makes room for n more bytes now, so that appending them allocates nothing. */
void cp_strbuf_reserve(cp_strbuf *buf, size_t n);
void cp_strbuf_append(cp_strbuf *buf, const void *bytes, size_t n);
/* Text with each maximal bad part (base/utf8.h) replaced by U+FFFD. */
void cp_strbuf_append_repaired(cp_strbuf *buf, const char *text, size_t n);
void cp_strbuf_puts(cp_strbuf *buf, const char *text);
void cp_strbuf_putc(cp_strbuf *buf, char c);
void cp_strbuf_printf(cp_strbuf *buf, const char *fmt, ...) CP_PRINTF(2, 3);
void cp_strbuf_truncate(cp_strbuf *buf, size_t n);
/* Drops the first n bytes and moves the rest to the front. */
void cp_strbuf_consume(cp_strbuf *buf, size_t n);

/* The text so far, NUL-terminated, "" when empty; valid until the next change. */
const char *cp_strbuf_text(const cp_strbuf *buf);
cp_str cp_strbuf_str(const cp_strbuf *buf);
/* Hands the memory to the caller (free()); the buffer is empty afterwards. NULL when there is none.
 */
char *cp_strbuf_take(cp_strbuf *buf) CP_MUST_CHECK;
/* CP_OK, or why an append failed, as a sentence about `what`. */
cp_status cp_strbuf_check(const cp_strbuf *buf, const char *what, cp_error *err) CP_MUST_CHECK;

#endif
