#include "server/triage_text.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>

#define MAX_HELD_BYTES ((size_t)1 << 20)
#define LONGEST_TOKEN  44 /* "<|", a name of up to 40, "|>" */

/* ---- cleaning -------------------------------------------------------------------------------- */

/* Bytes at text[0..n) that spell a control token: "<|name|>" with a short name of letters, digits
 * and '_', or an added token in angle brackets; 0 for none. */
static size_t control_token(const char *text, size_t n) {
    static const char *const tags[] = {"<think>",      "</think>",        "<tool_call>",
                                       "</tool_call>", "<tool_response>", "</tool_response>"};
    for (size_t i = 0; i < CP_COUNT_OF(tags); i++)
        if (n >= strlen(tags[i]) && memcmp(text, tags[i], strlen(tags[i])) == 0)
            return strlen(tags[i]);
    if (n < 5 || text[0] != '<' || text[1] != '|')
        return 0;
    size_t i = 2;
    while (i < n && i < 40 &&
           (text[i] == '_' || (text[i] >= '0' && text[i] <= '9') ||
            (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z')))
        i++;
    return i > 2 && i + 1 < n && text[i] == '|' && text[i + 1] == '>' ? i + 2 : 0;
}

/* C0 but tab and line feed, DEL, C1, and what nobody sees. */
static bool is_control(uint32_t c) {
    return (c < 0x20 && c != '\t' && c != '\n') || (c >= 0x7f && c < 0xa0) || cp_utf8_is_unseen(c);
}

/* First of all, so that none of it stands within a token: "<|im_[U+200B]end|>". */
static void drop_controls(cp_str text, cp_strbuf *out) {
    for (size_t i = 0; i < text.n;) {
        cp_utf8_step step = cp_utf8_decode(text.data + i, text.n - i);
        if (!step.valid)
            cp_strbuf_puts(out, CP_UTF8_REPLACEMENT);
        else if (!is_control(step.code_point))
            cp_strbuf_append(out, text.data + i, step.n_bytes);
        i += step.n_bytes;
    }
}

/* One pass; true when it took out a token. */
static bool drop_tokens(cp_str text, cp_strbuf *out) {
    bool removed = false;
    for (size_t i = 0; i < text.n;) {
        size_t token = control_token(text.data + i, text.n - i);
        if (token == 0)
            cp_strbuf_putc(out, text.data[i]);
        removed |= token > 0;
        i += token ? token : 1;
    }
    return removed;
}

/* Until nothing is left to take out: "<|im_<|x|>end|>" must not come together. Each pass shortens
 * the text by 5 bytes or more; nesting deeper than a few is not worth an answer's time and is cut.
 */
static void clean(cp_str text, cp_strbuf *out) {
    cp_strbuf a, b;
    cp_strbuf_init(&a, out->max_bytes);
    cp_strbuf_init(&b, out->max_bytes);
    drop_controls(text, &a);
    bool more = true;
    for (int pass = 0; more && pass < 9; pass++) {
        cp_strbuf_clear(&b);
        more = drop_tokens(cp_strbuf_str(&a), &b);
        cp_strbuf swap = a;
        a = b;
        b = swap;
    }
    if (!more)
        cp_strbuf_append(out, cp_strbuf_text(&a), a.n);
    if (a.failed != CP_OK || b.failed != CP_OK)
        out->failed = a.failed != CP_OK ? a.failed : b.failed;
    cp_strbuf_deinit(&a);
    cp_strbuf_deinit(&b);
}

static cp_str trim(cp_str text) {
    static const char blanks[] = " \t\n";
    while (text.n > 0 && strchr(blanks, text.data[0])) {
        text.data++;
        text.n--;
    }
    while (text.n > 0 && strchr(blanks, text.data[text.n - 1]))
        text.n--;
    return text;
}

void cp_triage_clean_append(cp_str text, cp_strbuf *out) {
    cp_strbuf cleaned;
    cp_strbuf_init(&cleaned, out->max_bytes);
    clean(text, &cleaned);
    cp_str trimmed = trim(cp_strbuf_str(&cleaned));
    cp_strbuf_append(out, trimmed.data, trimmed.n);
    if (cleaned.failed != CP_OK)
        out->failed = cleaned.failed;
    cp_strbuf_deinit(&cleaned);
}

void cp_triage_cleaner_init(cp_triage_cleaner *c) {
    cp_strbuf_init(&c->held, MAX_HELD_BYTES);
}

void cp_triage_cleaner_deinit(cp_triage_cleaner *c) {
    cp_strbuf_deinit(&c->held);
}

/* Bytes at the end that begin a character without ending it. */
static size_t half_character(cp_str text) {
    for (size_t n = 1; n <= 3 && n <= text.n; n++) {
        unsigned char c = (unsigned char)text.data[text.n - n];
        if (c >= 0xc0)
            return n < (c >= 0xf0 ? 4u : c >= 0xe0 ? 3u : 2u) ? n : 0;
        if (c < 0x80)
            break;
    }
    return 0;
}

/* From where on cleaned text could still become a token: its first '<' that is near the end. Not
 * the last: what was nested in it may be taken out later. */
static size_t certain_bytes(cp_str text) {
    size_t from = text.n > LONGEST_TOKEN ? text.n - LONGEST_TOKEN : 0;
    const char *mark = from < text.n ? memchr(text.data + from, '<', text.n - from) : NULL;
    return mark ? (size_t)(mark - text.data) : text.n;
}

void cp_triage_cleaner_push(cp_triage_cleaner *c, cp_str text, bool last, cp_strbuf *out) {
    cp_strbuf cleaned;
    cp_strbuf_init(&cleaned, MAX_HELD_BYTES);
    cp_strbuf_append(&c->held, text.data, text.n);
    cp_str all = cp_strbuf_str(&c->held);
    size_t n_half = last ? 0 : half_character(all);
    clean((cp_str){all.data, all.n - n_half}, &cleaned);
    size_t n = last ? cleaned.n : certain_bytes(cp_strbuf_str(&cleaned));
    cp_strbuf_append(out, cp_strbuf_text(&cleaned), n);
    cp_strbuf_append(&cleaned, all.data + all.n - n_half, n_half);
    if (c->held.failed != CP_OK || cleaned.failed != CP_OK)
        out->failed = c->held.failed != CP_OK ? c->held.failed : cleaned.failed;
    cp_strbuf_clear(&c->held);
    cp_strbuf_append(&c->held, cp_strbuf_text(&cleaned) + n, cleaned.n - n);
    cp_strbuf_deinit(&cleaned);
}
