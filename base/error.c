#include "base/error.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Keeps a message to one printable line of UTF-8: hostile names and excerpts hold anything, and
 * both they and the buffer's end cut sequences in the middle. */
static void tidy(char *text) {
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        cp_utf8_step step = cp_utf8_decode(text + i, n - i);
        if (step.cut)
            text[n = i] = '\0';
        else if (!step.valid || step.code_point < 0x20 || step.code_point == 0x7f)
            memset(text + i, '?', step.n_bytes);
        i += step.n_bytes;
    }
}

cp_status cp_error_set(cp_error *err, cp_status status, const char *fmt, ...) {
    if (!err)
        return status;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    err->status = status;
    tidy(err->message);
    return status;
}

cp_status cp_error_prefix(cp_error *err, const char *fmt, ...) {
    if (!err)
        return CP_ERR_FORMAT;
    char joined[sizeof err->message];
    va_list args;
    va_start(args, fmt);
    int used = vsnprintf(joined, sizeof joined, fmt, args);
    va_end(args);
    if (used < 0 || (size_t)used >= sizeof joined)
        used = (int)sizeof joined - 1;
    int room = (int)sizeof joined - used - 1; /* what does not fit is cut, and tidied below */
    snprintf(joined + used, (size_t)room + 1, ": %.*s", room > 2 ? room - 2 : 0, err->message);
    memcpy(err->message, joined, sizeof joined);
    tidy(err->message);
    return err->status;
}

cp_status cp_error_no_memory(cp_error *err, const char *what) {
    return cp_error_set(err, CP_ERR_NO_MEMORY, "out of memory: %s", what);
}
