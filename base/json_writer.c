#include "base/json_writer.h"

#include "base/utf8.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void cp_json_writer_init(cp_json_writer *w, cp_strbuf *out) {
    *w = (cp_json_writer){.out = out};
}

/* What stands before a value or a key. */
static void separate(cp_json_writer *w) {
    if (w->need_comma && !w->after_key)
        cp_strbuf_putc(w->out, ',');
    w->need_comma = true;
    w->after_key = false;
}

static void open_with(cp_json_writer *w, char bracket) {
    separate(w);
    cp_strbuf_putc(w->out, bracket);
    w->depth++;
    w->need_comma = false;
}

static void close_with(cp_json_writer *w, char bracket) {
    assert(w->depth > 0 && !w->after_key);
    cp_strbuf_putc(w->out, bracket);
    w->depth--;
    w->need_comma = true;
}

void cp_json_open_object(cp_json_writer *w) {
    open_with(w, '{');
}

void cp_json_close_object(cp_json_writer *w) {
    close_with(w, '}');
}

void cp_json_open_array(cp_json_writer *w) {
    open_with(w, '[');
}

void cp_json_close_array(cp_json_writer *w) {
    close_with(w, ']');
}

/* A quoted string: what JSON must escape is escaped, UTF-8 passes, the rest is U+FFFD. */
static void quote(cp_strbuf *out, cp_str text) {
    static const char named[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\";
    cp_strbuf_putc(out, '"');
    size_t good = 0;
    for (size_t i = 0; i < text.n;) {
        unsigned char c = (unsigned char)text.data[i];
        size_t step = 1;
        bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
        cp_utf8_step seq = {0};
        if (c >= 0x80) {
            seq = cp_utf8_decode(text.data + i, text.n - i);
            step = seq.n_bytes;
            plain = seq.valid;
        }
        if (!plain) {
            cp_strbuf_append(out, text.data + good, i - good);
            const char *at = c ? strchr(named, c) : NULL;
            if (c >= 0x80)
                cp_strbuf_puts(out, CP_UTF8_REPLACEMENT);
            else if (at)
                cp_strbuf_append(out, (char[]){'\\', letters[at - named]}, 2);
            else
                cp_strbuf_printf(out, "\\u%04x", c);
            good = i + step;
        }
        i += step;
    }
    cp_strbuf_append(out, text.data + good, text.n - good);
    cp_strbuf_putc(out, '"');
}

void cp_json_key(cp_json_writer *w, const char *key) {
    assert(w->depth > 0 && !w->after_key);
    separate(w);
    quote(w->out, (cp_str){key, strlen(key)});
    cp_strbuf_putc(w->out, ':');
    w->after_key = true;
}

void cp_json_put_str(cp_json_writer *w, cp_str text) {
    separate(w);
    quote(w->out, text);
}

void cp_json_put_text(cp_json_writer *w, const char *text) {
    if (text)
        cp_json_put_str(w, (cp_str){text, strlen(text)});
    else
        cp_json_put_null(w);
}

void cp_json_put_int(cp_json_writer *w, int64_t value) {
    separate(w);
    cp_strbuf_printf(w->out, "%lld", (long long)value);
}

void cp_json_put_number(cp_json_writer *w, double value, int digits) {
    if (!isfinite(value)) {
        cp_json_put_null(w);
        return;
    }
    separate(w);
    cp_strbuf_printf(w->out, "%.*g", digits, value);
}

void cp_json_put_bool(cp_json_writer *w, bool value) {
    separate(w);
    cp_strbuf_puts(w->out, value ? "true" : "false");
}

void cp_json_put_null(cp_json_writer *w) {
    separate(w);
    cp_strbuf_puts(w->out, "null");
}

void cp_json_put_ids(cp_json_writer *w, const int32_t *ids, size_t n) {
    cp_json_open_array(w);
    for (size_t i = 0; i < n; i++)
        cp_json_put_int(w, ids[i]);
    cp_json_close_array(w);
}

void cp_json_member_text(cp_json_writer *w, const char *key, const char *text) {
    cp_json_key(w, key);
    cp_json_put_text(w, text);
}

void cp_json_member_str(cp_json_writer *w, const char *key, cp_str text) {
    cp_json_key(w, key);
    cp_json_put_str(w, text);
}

void cp_json_member_int(cp_json_writer *w, const char *key, int64_t value) {
    cp_json_key(w, key);
    cp_json_put_int(w, value);
}

void cp_json_member_number(cp_json_writer *w, const char *key, double value, int digits) {
    cp_json_key(w, key);
    cp_json_put_number(w, value, digits);
}

void cp_json_member_bool(cp_json_writer *w, const char *key, bool value) {
    cp_json_key(w, key);
    cp_json_put_bool(w, value);
}
