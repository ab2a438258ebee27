#include "server/http_ids.h"

#include "base/clock.h"

#include <string.h>
#include <sys/random.h>

/* getrandom for up to 256 bytes does not fail after boot; should it ever, ids become predictable,
 * which harms no one: they are names, not secrets. */
void cp_http_random_bytes(unsigned char *out, unsigned n) {
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
    cp_http_random_bytes(bytes, n_bytes);
    for (unsigned i = 0; i < n_bytes; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

uint64_t cp_http_random_seed(void) {
    unsigned char bytes[8];
    uint64_t seed = 0;
    cp_http_random_bytes(bytes, sizeof bytes);
    for (unsigned i = 0; i < sizeof bytes; i++)
        seed = seed << 8 | bytes[i];
    return seed >> 11;
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
