#include "tests/report_form.h"

void form_check_object(const cJSON *object, const form_field *fields, size_t n) {
    assert_true(cJSON_IsObject(object));
    for (size_t i = 0; i < n; i++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, fields[i].key);
        if (!value || !(value->type & 0xff & fields[i].type))
            fail_msg("\"%s\" is missing or of another type", fields[i].key);
        if (cJSON_IsNumber(value) &&
            !(value->valuedouble >= fields[i].lo && value->valuedouble <= fields[i].hi))
            fail_msg("\"%s\" is %g, expected %g to %g", fields[i].key, value->valuedouble,
                     fields[i].lo, fields[i].hi);
        if (cJSON_IsString(value))
            assert_true(value->valuestring[0] != '\0');
    }
    if ((size_t)cJSON_GetArraySize(object) != n)
        fail_msg("%d members, expected %zu", cJSON_GetArraySize(object), n);
}

double form_number(const cJSON *object, const char *key) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(value))
        fail_msg("\"%s\" is no number", key);
    return value->valuedouble;
}

size_t form_count(const char *text, const char *word) {
    size_t n = 0;
    for (; (text = strstr(text, word)); text += strlen(word))
        n++;
    return n;
}

/* Tags open and close in order; attributes are quoted. Enough to catch a forgotten end. */
static void check_markup(const char *at) {
    static const char *const alone[] = {"!DOCTYPE", "meta", "line", "br"};
    char stack[32][16];
    int depth = 0;
    for (const char *end; (at = strchr(at, '<')); at = end) {
        char name[16] = "";
        bool closing = at[1] == '/', empty;
        end = at + 1;
        for (bool quoted = false; *end && (quoted || *end != '>'); end++)
            quoted ^= *end == '"';
        assert_true(*end == '>');
        assert_int_equal(sscanf(at + 1 + closing, "%15[A-Za-z0-9!]", name), 1);
        empty = end[-1] == '/';
        for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++)
            empty |= strcmp(name, alone[i]) == 0;
        if (closing) {
            if (depth == 0 || strcmp(stack[depth - 1], name) != 0)
                fail_msg("</%s> closes %s", name, depth ? stack[depth - 1] : "nothing");
            depth--;
        } else if (!empty) {
            assert_true(depth < 32);
            strcpy(stack[depth++], name);
        }
        if (strcmp(name, "style") == 0 && !closing)
            end = strstr(end, "</style>");
    }
    assert_int_equal(depth, 0);
}

void form_check_page(const char *html) {
    static const char *const absent[] = {"<script", "url(", "@import", "<link",  "<img", " src=",
                                         " href=",  "nan",  "inf\"",   "https:", "inf,"};
    check_markup(html);
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        if (strstr(html, absent[i]))
            fail_msg("the report has \"%s\"", absent[i]);
}
