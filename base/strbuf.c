#include "base/strbuf.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool cp_str_equal(cp_str a, cp_str b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.data, b.data, a.n) == 0);
}

bool cp_str_is(cp_str a, const char *text) {
    return cp_str_equal(a, (cp_str){text, strlen(text)});
}

void cp_strbuf_init(cp_strbuf *buf, size_t max_bytes) {
    *buf = (cp_strbuf){.max_bytes = max_bytes};
}

void cp_strbuf_deinit(cp_strbuf *buf) {
    free(buf->data);
    *buf = (cp_strbuf){.max_bytes = buf->max_bytes};
}

void cp_strbuf_clear(cp_strbuf *buf) {
    buf->n = 0;
    buf->failed = CP_OK;
    if (buf->data)
        buf->data[0] = '\0';
}

/* Makes room for n more bytes and the NUL. */
static bool reserve(cp_strbuf *buf, size_t n) {
    size_t need;
    if (buf->failed != CP_OK)
        return false;
    if (!cp_size_add(buf->n, n, &need) || need > buf->max_bytes || !cp_size_add(need, 1, &need)) {
        buf->failed = CP_ERR_LIMIT;
        return false;
    }
    if (!cp_grow((void **)&buf->data, &buf->cap, need, 1)) {
        buf->failed = CP_ERR_NO_MEMORY;
        return false;
    }
    buf->data[buf->n] = '\0';
    return true;
}

void cp_strbuf_reserve(cp_strbuf *buf, size_t n) {
    (void)reserve(buf, n); /* a failure is kept in the buffer */
}

void cp_strbuf_append(cp_strbuf *buf, const void *bytes, size_t n) {
    if (n == 0 || !reserve(buf, n))
        return;
    memcpy(buf->data + buf->n, bytes, n);
    buf->n += n;
    buf->data[buf->n] = '\0';
}

void cp_strbuf_puts(cp_strbuf *buf, const char *text) {
    cp_strbuf_append(buf, text, strlen(text));
}

void cp_strbuf_append_repaired(cp_strbuf *buf, const char *text, size_t n) {
    size_t good = 0; /* start of the run not yet copied */
    for (size_t i = 0; i < n;) {
        cp_utf8_step step = cp_utf8_decode(text + i, n - i);
        if (!step.valid) {
            cp_strbuf_append(buf, text + good, i - good);
            cp_strbuf_puts(buf, CP_UTF8_REPLACEMENT);
            good = i + step.n_bytes;
        }
        i += step.n_bytes;
    }
    cp_strbuf_append(buf, text + good, n - good);
}

void cp_strbuf_putc(cp_strbuf *buf, char c) {
    cp_strbuf_append(buf, &c, 1);
}

void cp_strbuf_printf(cp_strbuf *buf, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    if (n > 0 && reserve(buf, (size_t)n)) {
        vsnprintf(buf->data + buf->n, (size_t)n + 1, fmt, again);
        buf->n += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

void cp_strbuf_truncate(cp_strbuf *buf, size_t n) {
    if (n >= buf->n)
        return;
    buf->n = n;
    buf->data[n] = '\0';
}

void cp_strbuf_consume(cp_strbuf *buf, size_t n) {
    if (n == 0)
        return;
    if (n > buf->n)
        n = buf->n;
    buf->n -= n;
    memmove(buf->data, buf->data + n, buf->n + 1);
}

const char *cp_strbuf_text(const cp_strbuf *buf) {
    return buf->data ? buf->data : "";
}

cp_str cp_strbuf_str(const cp_strbuf *buf) {
    return (cp_str){cp_strbuf_text(buf), buf->n};
}

char *cp_strbuf_take(cp_strbuf *buf) {
    char *text = buf->data ? buf->data : calloc(1, 1);
    *buf = (cp_strbuf){.max_bytes = buf->max_bytes};
    return text;
}

cp_status cp_strbuf_check(const cp_strbuf *buf, const char *what, cp_error *err) {
    if (buf->failed == CP_ERR_LIMIT)
        return cp_error_set(err, CP_ERR_LIMIT, "%s: longer than %zu bytes", what, buf->max_bytes);
    if (buf->failed == CP_ERR_NO_MEMORY)
        return cp_error_no_memory(err, what);
    return CP_OK;
}
