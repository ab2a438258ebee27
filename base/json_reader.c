#include "base/json_reader.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STRING_BYTES ((size_t)64 << 20)
#define MAX_NUMBER_BYTES 64

void cp_json_reader_init(cp_json_reader *r, const char *source, const char *text, size_t n) {
    *r = (cp_json_reader){.source = source, .text = text, .n = n};
    cp_strbuf_init(&r->decoded, MAX_STRING_BYTES);
}

void cp_json_reader_deinit(cp_json_reader *r) {
    cp_strbuf_deinit(&r->decoded);
}

cp_status cp_json_fail(const cp_json_reader *r, cp_error *err, const char *fmt, ...) {
    char message[320];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    return cp_error_set(err, CP_ERR_FORMAT, "%s: byte %zu: %s", r->source, r->pos, message);
}

static void skip_space(cp_json_reader *r) {
    while (r->pos < r->n && (r->text[r->pos] == ' ' || r->text[r->pos] == '\n' ||
                             r->text[r->pos] == '\r' || r->text[r->pos] == '\t'))
        r->pos++;
}

/* Passes over `c` (after white space) if it comes next. */
static bool take(cp_json_reader *r, char c) {
    skip_space(r);
    if (r->pos >= r->n || r->text[r->pos] != c)
        return false;
    r->pos++;
    return true;
}

static cp_status expected(cp_json_reader *r, cp_error *err, const char *what) {
    if (r->pos >= r->n)
        return cp_json_fail(r, err, "the text ends where %s was expected", what);
    return cp_json_fail(r, err, "expected %s", what);
}

cp_status cp_json_peek(cp_json_reader *r, cp_json_kind *kind, cp_error *err) {
    skip_space(r);
    int c = r->pos < r->n ? (unsigned char)r->text[r->pos] : -1;
    if (c == '{')
        *kind = CP_JSON_OBJECT;
    else if (c == '[')
        *kind = CP_JSON_ARRAY;
    else if (c == '"')
        *kind = CP_JSON_STRING;
    else if (c == 't' || c == 'f')
        *kind = CP_JSON_BOOL;
    else if (c == 'n')
        *kind = CP_JSON_NULL;
    else if (c == '-' || (c >= '0' && c <= '9'))
        *kind = CP_JSON_NUMBER;
    else
        return expected(r, err, "a JSON value");
    return CP_OK;
}

static cp_status enter(cp_json_reader *r, char open, const char *what, cp_error *err) {
    if (!take(r, open))
        return expected(r, err, what);
    if (r->depth == CP_JSON_MAX_DEPTH)
        return cp_json_fail(r, err, "nested deeper than %d levels", CP_JSON_MAX_DEPTH);
    r->at_start[++r->depth] = true;
    return CP_OK;
}

cp_status cp_json_enter_object(cp_json_reader *r, cp_error *err) {
    return enter(r, '{', "an object", err);
}

cp_status cp_json_enter_array(cp_json_reader *r, cp_error *err) {
    return enter(r, '[', "an array", err);
}

/* Steps to the next member: past a comma, or out of the container at `close`. */
static cp_status next_member(cp_json_reader *r, char close, const char *what, bool *more,
                             cp_error *err) {
    bool first = r->at_start[r->depth];
    r->at_start[r->depth] = false;
    if (take(r, close)) {
        r->depth--;
        *more = false;
        return CP_OK;
    }
    if (!first && !take(r, ','))
        return expected(r, err, what);
    *more = true;
    return CP_OK;
}

cp_status cp_json_next_element(cp_json_reader *r, bool *more, cp_error *err) {
    return next_member(r, ']', "',' or ']'", more, err);
}

cp_status cp_json_next_key(cp_json_reader *r, cp_str *key, bool *more, cp_error *err) {
    cp_status status = next_member(r, '}', "',' or '}'", more, err);
    if (status != CP_OK || !*more)
        return status;
    status = cp_json_read_string(r, key, err);
    if (status != CP_OK)
        return status;
    return take(r, ':') ? CP_OK : expected(r, err, "':'");
}

/* Four hex digits after \u. */
static bool hex4(cp_json_reader *r, uint32_t *out) {
    uint32_t value = 0;
    if (r->n - r->pos < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int c = r->text[r->pos + (size_t)i], digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            digit = c - 'A' + 10;
        else
            return false;
        value = value << 4 | (uint32_t)digit;
    }
    r->pos += 4;
    *out = value;
    return true;
}

/* The rest of a \u escape, surrogate pairs joined. */
static cp_status unicode_escape(cp_json_reader *r, uint32_t *out, cp_error *err) {
    uint32_t high, low;
    if (!hex4(r, &high))
        return cp_json_fail(r, err, "\\u needs four hex digits");
    if (high >= 0xdc00 && high <= 0xdfff)
        return cp_json_fail(r, err, "a low surrogate without its high one");
    if (high >= 0xd800 && high <= 0xdbff) {
        if (r->n - r->pos < 2 || r->text[r->pos] != '\\' || r->text[r->pos + 1] != 'u')
            return cp_json_fail(r, err, "a high surrogate without its low one");
        r->pos += 2;
        if (!hex4(r, &low) || low < 0xdc00 || low > 0xdfff)
            return cp_json_fail(r, err, "a high surrogate without its low one");
        high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    }
    if (high == 0 && r->refuse_nul)
        return cp_json_fail(r, err, "a string holds U+0000, which is not accepted here");
    *out = high;
    return CP_OK;
}

/* One escape, the backslash already passed. */
static cp_status escape(cp_json_reader *r, cp_error *err) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->pos >= r->n)
        return expected(r, err, "an escape");
    char c = r->text[r->pos++];
    if (c == 'u') {
        uint32_t code = 0;
        char bytes[4];
        cp_status status = unicode_escape(r, &code, err);
        if (status == CP_OK)
            cp_strbuf_append(&r->decoded, bytes, cp_utf8_encode(code, bytes));
        return status;
    }
    const char *at = c ? strchr(from, c) : NULL;
    if (!at)
        return cp_json_fail(r, err, "an unknown escape");
    cp_strbuf_putc(&r->decoded, to[at - from]);
    return CP_OK;
}

cp_status cp_json_read_string(cp_json_reader *r, cp_str *out, cp_error *err) {
    if (!take(r, '"'))
        return expected(r, err, "a string");
    size_t start = r->pos; /* of the run without escapes */
    bool escaped = false;
    cp_strbuf_clear(&r->decoded);
    while (r->pos < r->n) {
        unsigned char c = (unsigned char)r->text[r->pos];
        if (c == '"') {
            cp_str run = {r->text + start, r->pos - start};
            r->pos++;
            *out = run;
            if (!escaped)
                return CP_OK;
            cp_strbuf_append(&r->decoded, run.data, run.n);
            *out = cp_strbuf_str(&r->decoded);
            return cp_strbuf_check(&r->decoded, r->source, err);
        }
        if (c < 0x20)
            return cp_json_fail(r, err, "a control character inside a string");
        if (c == '\\') {
            cp_strbuf_append(&r->decoded, r->text + start, r->pos - start);
            escaped = true;
            r->pos++;
            cp_status status = escape(r, err);
            if (status != CP_OK)
                return status;
            start = r->pos;
        } else if (c < 0x80) {
            r->pos++;
        } else {
            cp_utf8_step step = cp_utf8_decode(r->text + r->pos, r->n - r->pos);
            if (!step.valid)
                return cp_json_fail(r, err, "a string is not valid UTF-8");
            r->pos += step.n_bytes;
        }
    }
    return expected(r, err, "the end of a string");
}

static size_t digits(cp_json_reader *r) {
    size_t start = r->pos;
    while (r->pos < r->n && r->text[r->pos] >= '0' && r->text[r->pos] <= '9')
        r->pos++;
    return r->pos - start;
}

/* Passes over a number; *integral tells that it has neither fraction nor exponent. */
static cp_status scan_number(cp_json_reader *r, cp_str *out, bool *integral, cp_error *err) {
    skip_space(r);
    size_t start = r->pos;
    *integral = true;
    if (r->pos < r->n && r->text[r->pos] == '-')
        r->pos++;
    bool leading_zero = r->pos < r->n && r->text[r->pos] == '0';
    size_t n = digits(r);
    if (n == 0 || (leading_zero && n > 1))
        return expected(r, err, "a number");
    if (r->pos < r->n && r->text[r->pos] == '.') {
        *integral = false;
        r->pos++;
        if (digits(r) == 0)
            return expected(r, err, "digits after the decimal point");
    }
    if (r->pos < r->n && (r->text[r->pos] == 'e' || r->text[r->pos] == 'E')) {
        *integral = false;
        r->pos++;
        if (r->pos < r->n && (r->text[r->pos] == '+' || r->text[r->pos] == '-'))
            r->pos++;
        if (digits(r) == 0)
            return expected(r, err, "digits of an exponent");
    }
    *out = (cp_str){r->text + start, r->pos - start};
    return CP_OK;
}

cp_status cp_json_read_int(cp_json_reader *r, const char *what, int64_t lo, int64_t hi,
                           int64_t *out, cp_error *err) {
    cp_str number = {0};
    bool integral;
    cp_status status = scan_number(r, &number, &integral, err);
    if (status != CP_OK)
        return cp_error_prefix(err, "%s", what);
    char text[MAX_NUMBER_BYTES];
    errno = 0;
    long long value = 0;
    if (integral && number.n < sizeof text) {
        memcpy(text, number.data, number.n);
        text[number.n] = '\0';
        value = strtoll(text, NULL, 10);
    }
    if (!integral || number.n >= sizeof text || errno == ERANGE || value < lo || value > hi)
        return cp_json_fail(r, err, "%s is %.*s, expected an integer from %lld to %lld", what,
                            (int)(number.n < 40 ? number.n : 40), number.data, (long long)lo,
                            (long long)hi);
    *out = value;
    return CP_OK;
}

static bool take_word(cp_json_reader *r, const char *word) {
    size_t n = strlen(word);
    skip_space(r);
    if (r->n - r->pos < n || memcmp(r->text + r->pos, word, n) != 0)
        return false;
    r->pos += n;
    return true;
}

cp_status cp_json_read_bool(cp_json_reader *r, bool *out, cp_error *err) {
    *out = take_word(r, "true");
    if (*out || take_word(r, "false"))
        return CP_OK;
    return expected(r, err, "true or false");
}

/* One value that holds no others. */
static cp_status skip_scalar(cp_json_reader *r, cp_json_kind kind, cp_error *err) {
    cp_str ignored;
    bool flag;
    switch (kind) {
    case CP_JSON_STRING:
        return cp_json_read_string(r, &ignored, err);
    case CP_JSON_NUMBER:
        return scan_number(r, &ignored, &flag, err);
    case CP_JSON_BOOL:
        return cp_json_read_bool(r, &flag, err);
    default:
        return take_word(r, "null") ? CP_OK : expected(r, err, "null");
    }
}

cp_status cp_json_skip(cp_json_reader *r, cp_error *err) {
    bool is_object[CP_JSON_MAX_DEPTH + 1];
    unsigned outer = r->depth;
    do {
        if (r->depth > outer) { /* inside a container: on to its next member, or out of it */
            bool more;
            cp_str key;
            cp_status status = is_object[r->depth] ? cp_json_next_key(r, &key, &more, err)
                                                   : cp_json_next_element(r, &more, err);
            if (status != CP_OK)
                return status;
            if (!more)
                continue;
        }
        cp_json_kind kind = CP_JSON_NULL;
        cp_status status = cp_json_peek(r, &kind, err);
        if (status == CP_OK && kind == CP_JSON_OBJECT)
            status = cp_json_enter_object(r, err);
        else if (status == CP_OK && kind == CP_JSON_ARRAY)
            status = cp_json_enter_array(r, err);
        else if (status == CP_OK)
            status = skip_scalar(r, kind, err);
        if (status != CP_OK)
            return status;
        if (kind == CP_JSON_OBJECT || kind == CP_JSON_ARRAY)
            is_object[r->depth] = kind == CP_JSON_OBJECT;
    } while (r->depth > outer);
    return CP_OK;
}

cp_status cp_json_finish(cp_json_reader *r, cp_error *err) {
    skip_space(r);
    return r->pos == r->n ? CP_OK : cp_json_fail(r, err, "text after the end of the JSON value");
}
