#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Keeps a message to one printable line and never ends it inside a UTF-8 sequence. */
static void tidy(char *text, size_t cap) {
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = '?';
    if (n + 1 < cap)
        return;
    size_t start = n; /* the buffer is full: the last sequence may be cut */
    while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0xc0)
        text[start - 1] = '\0';
}

cp_status cp_error_set(cp_error *err, cp_status status, const char *fmt, ...) {
    if (!err)
        return status;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    err->status = status;
    tidy(err->message, sizeof err->message);
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
    tidy(err->message, sizeof err->message);
    return err->status;
}

cp_status cp_error_no_memory(cp_error *err, const char *what) {
    return cp_error_set(err, CP_ERR_NO_MEMORY, "out of memory: %s", what);
}
