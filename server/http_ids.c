#include "server/http_ids.h"

#include "base/clock.h"

#include <string.h>
#include <sys/random.h>

/* getrandom for up to 256 bytes does not fail after boot; should it ever, ids become predictable,
 * which harms no one: they are names, not secrets. */
static void random_bytes(unsigned char *out, unsigned n) {
    if (getrandom(out, n, 0) == (ssize_t)n)
        return;
    uint64_t state = cp_clock_ns();
    for (unsigned i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        out[i] = (unsigned char)(state >> 56);
    }
}

void cp_http_id_random(char *out, unsigned n_bytes) {
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[CP_HTTP_ID_MAX_BYTES];
    random_bytes(bytes, n_bytes);
    for (unsigned i = 0; i < n_bytes; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

uint64_t cp_http_random_seed(void) {
    unsigned char bytes[8];
    uint64_t seed = 0;
    random_bytes(bytes, sizeof bytes);
    for (unsigned i = 0; i < sizeof bytes; i++)
        seed = seed << 8 | bytes[i];
    return seed >> 11;
}

/* n lower-case hex digits, not all of them zero. */
static bool is_id(const char *text, size_t n) {
    return strspn(text, "0123456789abcdef") == n && strspn(text, "0") < n;
}

static bool traceparent_is_valid(const char *text) {
    size_t n = strlen(text);
    if (n < 55 || text[2] != '-' || strspn(text, "0123456789abcdef") != 2 || !is_id(text + 3, 32) ||
        text[35] != '-' || !is_id(text + 36, 16) || text[52] != '-' ||
        strspn(text + 53, "0123456789abcdef") != 2)
        return false;
    if (strncmp(text, "ff", 2) == 0)
        return false;
    return n == 55 || (strncmp(text, "00", 2) != 0 && text[55] == '-');
}

void cp_http_id_trace(const char *traceparent, char out[CP_TRACE_ID_CAP]) {
    if (traceparent && traceparent_is_valid(traceparent)) {
        memcpy(out, traceparent + 3, 32);
        out[32] = '\0';
    } else {
        cp_http_id_random(out, 16);
    }
}

void cp_http_id_request(const char *theirs, const char *trace_id, char out[CP_REQUEST_ID_CAP]) {
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";
    size_t n = theirs ? strlen(theirs) : 0;
    if (n == 0 || n >= CP_REQUEST_ID_CAP || strspn(theirs, allowed) != n) {
        theirs = trace_id;
        n = strlen(trace_id);
    }
    memcpy(out, theirs, n + 1);
}
