#include "tokenizer/nfc.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Large ranges in which every code point is a starter (combining class 0) that NFC neither changes
 * nor composes with what stands before it, in every Unicode version so far (NFC_Quick_Check=Yes).
 * Text made of these alone is NFC. What is missing here only costs time. */
static const struct {
    uint32_t first, last;
} plain_ranges[] = {
    {0x0000, 0x02ff},   /* Latin */
    {0x0388, 0x0482},   /* Greek, Cyrillic */
    {0x1e00, 0x1f70},   /* Latin and Greek extended */
    {0x2002, 0x20cf},   /* punctuation, currency */
    {0x212c, 0x2328},   /* arrows, mathematics */
    {0x232b, 0x2adb},   /* technical, boxes, dingbats, mathematics */
    {0x3000, 0x3029},   /* CJK punctuation */
    {0x3030, 0x3098},   /* Hiragana */
    {0x309b, 0xa66e},   /* Katakana, CJK, Yi */
    {0xac00, 0xd7a3},   /* Hangul syllables */
    {0xff00, 0xffff},   /* full width, U+FFFD */
    {0x1f000, 0x1fbff}, /* emoji */
    {0x20000, 0x2f7ff}, /* CJK extensions */
};

static bool is_plain(uint32_t c) {
    for (size_t i = 0; i < CP_COUNT_OF(plain_ranges) && c >= plain_ranges[i].first; i++)
        if (c <= plain_ranges[i].last)
            return true;
    return false;
}

size_t cp_nfc_plain_prefix(const char *text, size_t n) {
    size_t i = 0;
    while (i < n) {
        if ((unsigned char)text[i] < 0x80) {
            i++;
            continue;
        }
        cp_utf8_step step = cp_utf8_decode(text + i, n - i);
        if (!step.valid || !is_plain(step.code_point))
            break;
        i += step.n_bytes;
    }
    return i;
}

/* ---- a run that may change ----------------------------------------------------------------- */

typedef struct run_buffers {
    utf8proc_int32_t *points, *sorted; /* [n_points], [n_sorted] */
    size_t n, cap_points, cap_sorted;
} run_buffers;

static unsigned combining_class(utf8proc_int32_t c) {
    return (unsigned)utf8proc_get_property(c)->combining_class;
}

#define DECOMPOSED_MAX 18 /* of one code point, by the library's promise */

static bool decompose(run_buffers *b, const char *text, size_t n) {
    b->n = 0;
    for (size_t i = 0; i < n;) {
        cp_utf8_step step = cp_utf8_decode(text + i, n - i);
        if (!cp_grow((void **)&b->points, &b->cap_points, b->n + DECOMPOSED_MAX, sizeof *b->points))
            return false;
        utf8proc_ssize_t got =
            utf8proc_decompose_char((utf8proc_int32_t)step.code_point, b->points + b->n,
                                    DECOMPOSED_MAX, UTF8PROC_STABLE | UTF8PROC_COMPOSE, NULL);
        if (got < 0 || got > DECOMPOSED_MAX) /* cannot be, for a scalar value */
            b->points[b->n++] = (utf8proc_int32_t)step.code_point;
        else
            b->n += (size_t)got;
        i += step.n_bytes;
    }
    return true;
}

/* Sorts points[0..n), all with a class above 0, by class, keeping the order within a class. */
static bool sort_marks(run_buffers *b, utf8proc_int32_t *points, size_t n) {
    size_t start[257] = {0};
    if (!cp_grow((void **)&b->sorted, &b->cap_sorted, n, sizeof *b->sorted))
        return false;
    for (size_t i = 0; i < n; i++)
        start[combining_class(points[i]) + 1]++;
    for (unsigned k = 1; k < 257; k++)
        start[k] += start[k - 1];
    for (size_t i = 0; i < n; i++)
        b->sorted[start[combining_class(points[i])]++] = points[i];
    memcpy(points, b->sorted, n * sizeof *points);
    return true;
}

/* Canonical ordering: each run of marks by class. */
static bool order(run_buffers *b) {
    for (size_t i = 0; i < b->n;) {
        size_t end = i;
        bool sorted = true;
        unsigned last = 0, class;
        while (end < b->n && (class = combining_class(b->points[end])) > 0) {
            sorted &= class >= last;
            last = class;
            end++;
        }
        if (!sorted && !sort_marks(b, b->points + i, end - i))
            return false;
        i = end > i ? end : i + 1;
    }
    return true;
}

static cp_status append_run(run_buffers *b, cp_strbuf *out, const char *text, size_t n,
                            cp_error *err) {
    if (!decompose(b, text, n) || !order(b))
        return cp_error_no_memory(err, "normalising text");
    utf8proc_ssize_t composed = utf8proc_normalize_utf32(b->points, (utf8proc_ssize_t)b->n,
                                                         UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (utf8proc_ssize_t i = 0; i < composed; i++) {
        char bytes[4];
        cp_strbuf_append(out, bytes, cp_utf8_encode((uint32_t)b->points[i], bytes));
    }
    return CP_OK;
}

/* The end of the run of not plain characters at text[i]. */
static size_t run_end(const char *text, size_t n, size_t i) {
    while (i < n) {
        cp_utf8_step step = cp_utf8_decode(text + i, n - i);
        if (is_plain(step.code_point))
            break;
        i += step.n_bytes;
    }
    return i;
}

cp_status cp_nfc_append(cp_strbuf *out, const char *text, size_t n, cp_error *err) {
    run_buffers buffers = {0};
    cp_status status = CP_OK;
    size_t copied = 0, last = 0; /* `last`: the plain character that a mark after it could change */
    for (size_t i = 0; i < n && status == CP_OK;) {
        cp_utf8_step step = cp_utf8_decode(text + i, n - i);
        if (is_plain(step.code_point)) {
            last = i;
            i += step.n_bytes;
            continue;
        }
        size_t end = run_end(text, n, i);
        cp_strbuf_append(out, text + copied, last - copied);
        status = append_run(&buffers, out, text + last, end - last, err);
        copied = last = i = end;
    }
    cp_strbuf_append(out, text + copied, n - copied);
    free(buffers.points);
    free(buffers.sorted);
    return status == CP_OK ? cp_strbuf_check(out, "normalised text", err) : status;
}
