#include "tokenizer/split_pattern.h"

#include <string.h>

/* Unicode White_Space, which is what \s means to Oniguruma, as the inside of a class, and all other
 * code points. PCRE2's \s (with UCP) has U+180E too, which Unicode took out in version 6.3; without
 * UCP it lacks U+0085 and everything above. U+001C to U+001F and U+200B are in neither. */
#define WHITE                                                                                      \
    "\\x{09}-\\x{0d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"  \
    "\\x{205f}\\x{3000}"
#define NOT_WHITE                                                                                  \
    "\\x{00}-\\x{08}\\x{0e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{"  \
    "1fff}"                                                                                        \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{"   \
    "10ffff}"

typedef struct translation {
    cp_str in;
    size_t at;
    bool in_class, class_start; /* class_start: nothing but '^' read yet */
    cp_strbuf *out;
    cp_error *err;
} translation;

static cp_status refuse(translation *t, const char *what) {
    return cp_error_set(t->err, CP_ERR_UNSUPPORTED,
                        "the split pattern has %s at offset %zu, which is not supported", what,
                        t->at);
}

static void copy(translation *t, size_t n) {
    cp_strbuf_append(t->out, t->in.data + t->at, n);
    t->at += n;
}

/* The bytes from here to the closing brace, both included; 0 when there is none. */
static size_t braced(const translation *t, size_t from) {
    if (from >= t->in.n || t->in.data[from] != '{')
        return 0;
    const char *end = memchr(t->in.data + from, '}', t->in.n - from);
    return end ? (size_t)(end - (t->in.data + from)) + 1 : 0;
}

/* A backslash and what belongs to it. */
static cp_status escape(translation *t) {
    if (t->at + 1 >= t->in.n)
        return refuse(t, "a backslash at its end");
    char c = t->in.data[t->at + 1];
    if (c == 's' || c == 'S') {
        const char *set = c == 's' ? WHITE : NOT_WHITE;
        cp_strbuf_puts(t->out, t->in_class ? "" : "[");
        cp_strbuf_puts(t->out, set);
        cp_strbuf_puts(t->out, t->in_class ? "" : "]");
        t->at += 2;
        return CP_OK;
    }
    if (c == 'p' || c == 'P' || c == 'x') {
        size_t n = braced(t, t->at + 2);
        if (n == 0)
            return refuse(t, "\\p, \\P or \\x without braces");
        copy(t, 2 + n);
        return CP_OK;
    }
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if ((letter && !strchr("rntdD", c)) || (unsigned char)c >= 0x80)
        return refuse(t, "an escape");
    copy(t, 2);
    return CP_OK;
}

/* One item inside [...]. Oniguruma nests classes and intersects them (&&); PCRE2 does neither. */
static cp_status class_item(translation *t) {
    char c = t->in.data[t->at];
    bool first = t->class_start;
    t->class_start = false;
    if (c == '\\')
        return escape(t);
    if (c == '[')
        return refuse(t, "a class inside a class");
    if (c == '&' && t->at + 1 < t->in.n && t->in.data[t->at + 1] == '&')
        return refuse(t, "an intersection of classes");
    if (c == ']' && first)
        return refuse(t, "an empty class");
    t->in_class = c != ']';
    copy(t, 1);
    return CP_OK;
}

/* "(?" must open a plain group, a look-around or (?i: ... ); verbs "(*" are PCRE2's own. */
static cp_status group(translation *t) {
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?i:", "(?>"};
    cp_str rest = {t->in.data + t->at, t->in.n - t->at};
    if (rest.n < 2 || (rest.data[1] != '?' && rest.data[1] != '*')) {
        copy(t, 1);
        return CP_OK;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (rest.n >= strlen(known[i]) && memcmp(rest.data, known[i], strlen(known[i])) == 0) {
            copy(t, strlen(known[i]));
            return CP_OK;
        }
    return refuse(t, "a kind of group");
}

static cp_status item(translation *t) {
    char c = t->in.data[t->at];
    if (c == '\\')
        return escape(t);
    if (c == '(')
        return group(t);
    if (c == '^' || c == '$') /* ends of lines there, of the text here */
        return refuse(t, "an anchor");
    if (c == '[') {
        bool negated = t->at + 1 < t->in.n && t->in.data[t->at + 1] == '^';
        t->in_class = t->class_start = true;
        copy(t, negated ? 2 : 1);
        return CP_OK;
    }
    size_t n = braced(t, t->at);
    if (n > 0 && t->at + n < t->in.n && t->in.data[t->at + n] == '+') /* possessive here only */
        return refuse(t, "a counted repeat followed by +");
    copy(t, n > 0 ? n : 1);
    return CP_OK;
}

cp_status cp_split_pattern_translate(cp_str pattern, cp_strbuf *out, cp_error *err) {
    translation t = {.in = pattern, .out = out, .err = err};
    if (pattern.n > CP_SPLIT_PATTERN_MAX)
        return cp_error_set(err, CP_ERR_LIMIT,
                            "the split pattern has %zu bytes, at most %zu are allowed", pattern.n,
                            CP_SPLIT_PATTERN_MAX);
    while (t.at < pattern.n) {
        cp_status status = t.in_class ? class_item(&t) : item(&t);
        if (status != CP_OK)
            return status;
    }
    return cp_strbuf_check(out, "the split pattern", err);
}
