#include "server/http_cors.h"

#include <string.h>

/* As a browser writes it: scheme, host and a port that is not the scheme's own, all in lower case,
 * and no path. */
static bool is_origin(cp_str text) {
    static const char host_letters[] = "abcdefghijklmnopqrstuvwxyz0123456789.-:[]";
    size_t scheme = text.n > 8 && memcmp(text.data, "https://", 8) == 0  ? 8
                    : text.n > 7 && memcmp(text.data, "http://", 7) == 0 ? 7
                                                                         : 0;
    if (scheme == 0 || text.n >= CP_ORIGIN_CAP)
        return false;
    for (size_t i = scheme; i < text.n; i++)
        if (!memchr(host_letters, text.data[i], sizeof host_letters - 1))
            return false;
    return true;
}

cp_status cp_origins_parse(const char *text, const char *source, cp_origins *out, cp_error *err) {
    out->n = 0;
    for (const char *at = text + strspn(text, ", "); *at; at += strspn(at, ", ")) {
        cp_str entry = {at, strcspn(at, ", ")};
        if (out->n == CP_ORIGINS_MAX)
            return cp_error_set(err, CP_ERR_USAGE, "%s has more than %d origins", source,
                                CP_ORIGINS_MAX);
        if (!is_origin(entry))
            return cp_error_set(err, CP_ERR_USAGE,
                                "%s: \"%.*s\" is no origin, expected scheme and host in lower "
                                "case, such as https://app.example",
                                source, (int)(entry.n < 64 ? entry.n : 64), at);
        out->origins[out->n++] = entry;
        at += entry.n;
    }
    return CP_OK;
}

bool cp_origins_allow(const cp_origins *origins, const char *origin) {
    for (size_t i = 0; origin && i < origins->n; i++)
        if (cp_str_is(origins->origins[i], origin))
            return true;
    return false;
}
