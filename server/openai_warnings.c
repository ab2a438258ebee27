#include "server/openai_warnings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool cp_openai_is_listed(const char *const *list, const char *word) {
    for (; list && *list; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

void cp_openai_warn(cp_openai_warnings *warnings, const char *fmt, ...) {
    if (warnings->n == CP_OPENAI_MAX_WARNINGS)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(warnings->text[warnings->n++], CP_OPENAI_WARNING_CAP, fmt, args);
    va_end(args);
}

/* What may be repeated of a name that a client made up. */
static void clean_name(const char *name, char out[41]) {
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t n = 0;
    for (; *name && n < 40; name++)
        if (strchr(allowed, *name))
            out[n++] = *name;
    out[n] = '\0';
}

void cp_openai_warn_unknown(cp_openai_warnings *warnings, const cJSON *object, const char *path,
                            const char *const *known, const char *const *also,
                            const char *const *ignored) {
    const cJSON *member;
    cJSON_ArrayForEach(member, object) {
        char name[41];
        if (cp_openai_is_listed(known, member->string) ||
            cp_openai_is_listed(also, member->string) ||
            cp_openai_is_listed(ignored, member->string))
            continue;
        clean_name(member->string, name);
        cp_openai_warn(warnings, "unknown field: %s%s", path, name);
    }
}

void cp_openai_warnings_write(const cp_openai_warnings *warnings, cp_json_writer *w) {
    if (warnings->n == 0)
        return;
    cp_json_key(w, "warnings");
    cp_json_open_array(w);
    for (size_t i = 0; i < warnings->n; i++)
        cp_json_put_text(w, warnings->text[i]);
    cp_json_close_array(w);
}
