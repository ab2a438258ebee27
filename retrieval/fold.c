#include "retrieval/fold.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define MAX_PARTS 32 /* of one character: U+FDFA has 18 */

/* ---- characters ------------------------------------------------------------------------------ */

static bool is_unseen(uint32_t c) {
    return cp_utf8_is_unseen(c) || c == 0x200c || c == 0x200d || c == 0xfe0f;
}

static bool is_quote(uint32_t c) {
    switch (c) {
    case '\'':
    case '"':
    case '`':
    case 0xab:
    case 0xb4:
    case 0xbb:
    case 0x2b9:
    case 0x2ba:
    case 0x2bc:
    case 0x300c:
    case 0x300d:
    case 0xff02:
    case 0xff07:
        return true;
    default:
        return (c >= 0x2018 && c <= 0x201f) || (c >= 0x2032 && c <= 0x2037) || c == 0x2039 ||
               c == 0x203a;
    }
}

static bool is_dash(uint32_t c) {
    return c == '-' || c == 0x2212 || c == 0x2043 || c == 0x2d7 ||
           utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_PD;
}

static bool is_space(uint32_t c) {
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return c == 0x85 || category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

/* Forms whose plain letters or digits would be another number. */
static bool keeps_form(uint32_t c) {
    unsigned type = utf8proc_get_property((utf8proc_int32_t)c)->decomp_type;
    return type == UTF8PROC_DECOMP_TYPE_SUPER || type == UTF8PROC_DECOMP_TYPE_SUB ||
           type == UTF8PROC_DECOMP_TYPE_FRACTION || type == UTF8PROC_DECOMP_TYPE_CIRCLE;
}

static unsigned combining_class(int32_t c) {
    return (unsigned)utf8proc_get_property(c)->combining_class;
}

/* What the character becomes; the number of parts. */
static size_t fold_char(uint32_t c, int32_t parts[MAX_PARTS]) {
    int bound = 0;
    int options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | UTF8PROC_CASEFOLD;
    if (c >= 'A' && c <= 'Z')
        c += 32;
    parts[0] = is_quote(c) ? '\'' : (int32_t)c;
    if (c < 0x80 || is_quote(c))
        return 1;
    if (!keeps_form(c))
        options |= UTF8PROC_COMPAT;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)c, parts, MAX_PARTS, options, &bound);
    if (n < 0 || n > MAX_PARTS) {
        parts[0] = (int32_t)c;
        return 1;
    }
    return (size_t)n;
}

/* ---- folding --------------------------------------------------------------------------------- */

typedef struct mark {
    int32_t code_point;
    uint32_t place;
} mark;

typedef struct folder {
    cp_folded out;
    size_t cap;
    uint32_t begin, end; /* the original character that is being folded */
    bool gap;            /* white space is due before the next character */
    uint32_t gap_begin, gap_end;
    /* Marks behind a letter wait until all are there: they are sorted by their class. */
    mark *marks;
    size_t n_marks, marks_cap, cluster; /* where the letter's bytes begin in `out` */
    bool failed;
} folder;

static void put_bytes(folder *f, const char *bytes, size_t n, uint32_t begin, uint32_t end) {
    size_t need = f->out.n + n;
    size_t cap = f->cap, begin_cap = cap, end_cap = cap; /* all three grow alike */
    if (f->failed || !cp_grow((void **)&f->out.text, &cap, need, 1) ||
        !cp_grow((void **)&f->out.begin, &begin_cap, need, sizeof *f->out.begin) ||
        !cp_grow((void **)&f->out.end, &end_cap, need, sizeof *f->out.end)) {
        f->failed = true;
        return;
    }
    f->cap = cap;
    memcpy(f->out.text + f->out.n, bytes, n);
    for (size_t i = f->out.n; i < need; i++) {
        f->out.begin[i] = begin;
        f->out.end[i] = end;
    }
    f->out.n = need;
}

static void put_code_point(folder *f, int32_t c) {
    char bytes[4] = {0};
    size_t n = cp_utf8_encode((uint32_t)c, bytes);
    put_bytes(f, bytes, n, f->begin, f->end);
}

static int by_class(const void *a, const void *b) {
    const mark *x = a, *y = b;
    unsigned cx = combining_class(x->code_point), cy = combining_class(y->code_point);
    if (cx != cy)
        return cx < cy ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

/* A letter and its marks are one character to whoever quotes: all their bytes have one span. */
static void end_cluster(folder *f) {
    if (f->n_marks == 0 || f->failed)
        return;
    qsort(f->marks, f->n_marks, sizeof *f->marks, by_class);
    for (size_t i = 0; i < f->n_marks; i++)
        put_code_point(f, f->marks[i].code_point);
    for (size_t i = f->cluster; i < f->out.n; i++) {
        f->out.begin[i] = f->out.begin[f->cluster];
        f->out.end[i] = f->end;
    }
    f->n_marks = 0;
}

static void add_mark(folder *f, int32_t c) {
    if (!cp_grow((void **)&f->marks, &f->marks_cap, f->n_marks + 1, sizeof *f->marks)) {
        f->failed = true;
        return;
    }
    f->marks[f->n_marks] = (mark){c, (uint32_t)f->n_marks};
    f->n_marks++;
}

static void add_space(folder *f, uint32_t begin, uint32_t end) {
    if (!f->gap)
        f->gap_begin = begin;
    f->gap = f->out.n > 0;
    f->gap_end = end;
}

static bool follows_dash(const folder *f) {
    return !f->gap && f->out.n > 0 && f->out.text[f->out.n - 1] == '-';
}

/* A character that is seen. */
static void add_char(folder *f, uint32_t c, uint32_t begin, uint32_t end) {
    int32_t parts[MAX_PARTS];
    bool dash = is_dash(c);
    size_t n = dash ? 1 : fold_char(c, parts);
    if (dash)
        parts[0] = '-';
    for (size_t i = 0; i < n; i++) {
        bool is_mark = combining_class(parts[i]) != 0 && f->out.n > 0 && !f->gap;
        if (!is_mark)
            end_cluster(f);
        if (is_space((uint32_t)parts[i])) { /* some signs fold to a space and a mark */
            add_space(f, begin, end);
            continue;
        }
        if (dash && follows_dash(f)) {
            f->out.end[f->out.n - 1] = end;
            continue;
        }
        if (f->gap) {
            put_bytes(f, " ", 1, f->gap_begin, f->gap_end);
            f->gap = false;
        }
        f->end = end;
        if (is_mark) {
            add_mark(f, parts[i]);
            continue;
        }
        f->begin = begin;
        f->cluster = f->out.n;
        put_code_point(f, parts[i]);
    }
}

cp_status cp_fold(cp_str text, cp_folded *out, cp_error *err) {
    folder f = {.failed = false};
    *out = (cp_folded){0};
    if (text.n > UINT32_MAX / 2)
        return cp_error_set(err, CP_ERR_LIMIT, "text to compare: %zu bytes, %u are allowed", text.n,
                            UINT32_MAX / 2);
    for (size_t i = 0; i < text.n && !f.failed;) {
        cp_utf8_step step = cp_utf8_decode(text.data + i, text.n - i);
        uint32_t c = step.valid ? step.code_point : 0xfffd;
        uint32_t begin = (uint32_t)i, end = (uint32_t)(i + step.n_bytes);
        i += step.n_bytes;
        if (is_unseen(c))
            continue;
        if (is_space(c)) {
            end_cluster(&f);
            add_space(&f, begin, end);
        } else {
            add_char(&f, c, begin, end);
        }
    }
    end_cluster(&f);
    free(f.marks);
    *out = f.out;
    if (!f.failed)
        return CP_OK;
    cp_folded_deinit(out);
    return cp_error_no_memory(err, "text to compare");
}

void cp_folded_deinit(cp_folded *folded) {
    free(folded->text);
    free(folded->begin);
    free(folded->end);
    *folded = (cp_folded){0};
}

cp_span cp_folded_span(const cp_folded *folded, size_t at, size_t n) {
    size_t begin = folded->begin[at];
    return (cp_span){begin, folded->end[at + n - 1] - begin};
}

/* ---- borders --------------------------------------------------------------------------------- */

/* The code point that ends before `at`, or 0. */
static uint32_t code_before(cp_str text, size_t at) {
    size_t from = at;
    while (from > 0 && at - from < 4 && ((unsigned char)text.data[--from] & 0xc0) == 0x80) {
    }
    return from < at ? cp_utf8_decode(text.data + from, at - from).code_point : 0;
}

static uint32_t code_at(cp_str text, size_t at) {
    return at < text.n ? cp_utf8_decode(text.data + at, text.n - at).code_point : 0;
}

static bool is_digit(uint32_t c) {
    return c < 0x80 ? c >= '0' && c <= '9'
                    : utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND ||
                          utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_NO;
}

static bool is_mark_char(uint32_t c) {
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return c >= 0x80 && category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

static bool is_word_char(uint32_t c) {
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO;
}

/* Whether `sign` with `before` and `after` beside it is one word or number. */
static bool joins(uint32_t before, uint32_t sign, uint32_t after) {
    switch (sign) {
    case '-':
    case '\'':
    case '/':
    case '_':
    case 0x2044: /* fraction slash */
        return is_word_char(before) && is_word_char(after);
    case '.':
    case ',':
    case ':':
    case 0xb7: /* decimal points of other hands: the middle dot, */
    case 0x2219:
    case 0x66b: /* the Arabic one */
        return is_digit(before) && is_digit(after);
    default:
        return false;
    }
}

/* Signs that change the number behind them. */
static bool is_sign(uint32_t c) {
    return c == '-' || c == '+' || c == '<' || c == '>' || c == '.' || c == '~' || c == 0xb1 ||
           c == 0x2264 || c == 0x2265 || c == 0x2248 || c == 0xd7;
}

bool cp_fold_is_border(cp_str folded, size_t at) {
    if (at == 0 || at >= folded.n)
        return true;
    if (((unsigned char)folded.data[at] & 0xc0) == 0x80)
        return false;
    uint32_t before = code_before(folded, at), after = code_at(folded, at);
    if (is_mark_char(after) || (is_word_char(before) && is_word_char(after)))
        return false;
    if (is_digit(before) && (after == '%' || after == 0x2030 || after == 0xb0))
        return false;
    if (is_digit(after) && is_sign(before))
        return false;
    size_t behind = at + cp_utf8_decode(folded.data + at, folded.n - at).n_bytes;
    if (is_word_char(before) && joins(before, after, code_at(folded, behind)))
        return false;
    if (!is_word_char(after))
        return true;
    size_t ahead = at;
    do
        ahead--;
    while (ahead > 0 && ((unsigned char)folded.data[ahead] & 0xc0) == 0x80);
    return !joins(code_before(folded, ahead), before, after);
}
