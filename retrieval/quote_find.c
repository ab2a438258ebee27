#include "retrieval/quote_find.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define CONTEXT 64 /* bytes around a passage */
#define LOOK    96 /* folded bytes in which a negation is looked for */

/* ---- what was shown -------------------------------------------------------------------------- */

cp_status cp_shown_init(cp_shown *shown, const cp_passage *passage, cp_error *err) {
    cp_str text = passage->doc->text;
    *shown = (cp_shown){.passage = passage};
    if (passage->begin > text.n || passage->n > text.n - passage->begin)
        return cp_error_set(err, CP_ERR_USAGE, "passage: bytes %u to %zu, its document has %zu",
                            (unsigned)passage->begin, (size_t)passage->begin + passage->n, text.n);
    size_t begin = passage->begin, end = begin + passage->n;
    size_t from = begin > CONTEXT ? begin - CONTEXT : 0;
    size_t to = text.n - end > CONTEXT ? end + CONTEXT : text.n;
    while (from < begin && ((unsigned char)text.data[from] & 0xc0) == 0x80)
        from++;
    cp_status status = cp_fold((cp_str){text.data + from, to - from}, &shown->folded, err);
    if (status)
        return status;
    const cp_folded *f = &shown->folded;
    shown->origin = from;
    shown->end = f->n;
    while (shown->end > 0 && from + f->end[shown->end - 1] > end)
        shown->end--;
    while (shown->first < shown->end && from + f->begin[shown->first] < begin)
        shown->first++;
    return CP_OK;
}

void cp_shown_deinit(cp_shown *shown) {
    cp_folded_deinit(&shown->folded);
}

cp_span cp_shown_span(const cp_shown *shown, size_t at, size_t n) {
    cp_span span = cp_folded_span(&shown->folded, at, n);
    span.begin += shown->origin;
    return span;
}

/* ---- negations beside a place ---------------------------------------------------------------- */

static bool is_one_of(cp_str word, const char *const *list) {
    for (; *list; list++)
        if (cp_str_is(word, *list))
            return true;
    return false;
}

static bool is_negation(cp_str word) {
    static const char *const negations[] = {"no",      "not",    "never",   "nor",
                                            "neither", "none",   "without", "cannot",
                                            "avoid",   "denies", "denied",  NULL};
    while (word.n > 0 && (*word.data == '\'' || *word.data == '(')) {
        word.data++;
        word.n--;
    }
    return is_one_of(word, negations) ||
           (word.n > 3 && memcmp(word.data + word.n - 3, "n't", 3) == 0);
}

/* "<" and its like with a space before the number. */
static bool is_comparison(cp_str word) {
    static const char *const signs[] = {"<", ">", "\xe2\x89\xa4", "\xe2\x89\xa5", NULL};
    return is_one_of(word, signs);
}

static bool ends_clause(cp_str word) {
    return cp_str_is(word, "-") || memchr(".,;:!?", word.data[word.n - 1], 6);
}

/* A line that begins with anything but a small letter is no wrapped sentence. */
static bool is_line_border(const cp_shown *shown, size_t space) {
    cp_str doc = shown->passage->doc->text;
    size_t begin = shown->origin + shown->folded.begin[space];
    size_t end = shown->origin + shown->folded.end[space];
    return memchr(doc.data + begin, '\n', end - begin) &&
           (end == doc.n || doc.data[end] < 'a' || doc.data[end] > 'z');
}

static bool negated_before(const cp_shown *shown, cp_str text, size_t at) {
    size_t end = at, n_words = 0, least = at > LOOK ? at - LOOK : 0;
    while (end > least && n_words < 3) {
        if (text.data[end - 1] == ' ') {
            end--;
            if (is_line_border(shown, end))
                return false;
        }
        size_t begin = end;
        while (begin > least && text.data[begin - 1] != ' ')
            begin--;
        cp_str word = {text.data + begin, end - begin};
        if (word.n == 0 || ends_clause(word))
            return false;
        if (is_negation(word) || (n_words == 0 && is_comparison(word)))
            return true;
        n_words++;
        end = begin;
    }
    return false;
}

/* The word that ends at `at`. */
static cp_str word_before(cp_str text, size_t at) {
    size_t begin = at;
    while (begin > 0 && at - begin < LOOK && text.data[begin - 1] != ' ')
        begin--;
    return (cp_str){text.data + begin, at - begin};
}

/* What is said, and then taken back: "pain at rest denied". Behind "and" something new begins:
 * "hard and cannot be pushed back". */
static bool negated_after(const cp_shown *shown, cp_str text, size_t at) {
    static const char *const turning[] = {"not",    "never",  "nor",      "cannot", "none",
                                          "denied", "absent", "negative", NULL};
    static const char *const joining[] = {"and", "or", "but", NULL};
    if (at >= text.n || text.data[at] != ' ' || is_line_border(shown, at))
        return false;
    size_t begin = at + 1, end = begin + 1;
    while (end < text.n && end - begin < LOOK && !cp_fold_is_border(text, end))
        end++;
    cp_str word = {text.data + begin, end - begin};
    bool is_short = word.n > 3 && memcmp(word.data + word.n - 3, "n't", 3) == 0;
    return begin < text.n && (is_short || is_one_of(word, turning)) &&
           !is_one_of(word_before(text, at), joining);
}

static cp_str folded_text(const cp_shown *shown) {
    return (cp_str){shown->folded.text, shown->folded.n};
}

static bool may_begin(const cp_shown *shown, size_t at, unsigned negations) {
    cp_str text = folded_text(shown);
    return cp_fold_is_border(text, at) &&
           !((negations & CP_NOT_BEFORE) && negated_before(shown, text, at));
}

static bool may_end(const cp_shown *shown, size_t at, unsigned negations) {
    cp_str text = folded_text(shown);
    return cp_fold_is_border(text, at) &&
           !((negations & CP_NOT_AFTER) && negated_after(shown, text, at));
}

/* ---- searching ------------------------------------------------------------------------------- */

cp_status cp_needle_init(cp_needle *needle, cp_str text, cp_error *err) {
    uint32_t *tables = calloc(2 * (text.n + 1), sizeof *tables);
    *needle = (cp_needle){.text = text, .next = tables};
    if (!tables)
        return cp_error_no_memory(err, "quotation to look for");
    needle->border = tables + text.n + 1;
    for (size_t i = 1, same = 0; i < text.n; i++) {
        while (same > 0 && text.data[i] != text.data[same])
            same = needle->next[same];
        same += text.data[i] == text.data[same];
        needle->next[i + 1] = (uint32_t)same;
    }
    for (size_t i = 1; i <= text.n; i++)
        needle->border[i] = text.data[i - 1] != ' ' && cp_fold_is_border(text, i)
                                ? (uint32_t)i
                                : needle->border[i - 1];
    return CP_OK;
}

void cp_needle_deinit(cp_needle *needle) {
    free(needle->next);
    *needle = (cp_needle){0};
}

bool cp_needle_find(const cp_needle *needle, const cp_shown *shown, size_t from, size_t to,
                    unsigned negations, size_t *at) {
    cp_str text = needle->text;
    size_t same = 0;
    from = from > shown->first ? from : shown->first;
    to = to < shown->end ? to : shown->end;
    for (size_t i = from; i < to && text.n > 0; i++) {
        char c = shown->folded.text[i];
        while (same > 0 && (same == text.n || c != text.data[same]))
            same = needle->next[same];
        same += c == text.data[same];
        if (same < text.n)
            continue;
        size_t begin = i + 1 - same;
        if (may_begin(shown, begin, negations) && may_end(shown, i + 1, negations)) {
            *at = begin;
            return true;
        }
    }
    return false;
}

/* A longer start of the n matched bytes at `at` that stands whole, else `best`. */
static size_t whole_start(const cp_needle *needle, const cp_shown *shown, size_t at, size_t n,
                          size_t best) {
    unsigned both = CP_NOT_BEFORE | CP_NOT_AFTER;
    if (needle->border[n] <= best || !may_begin(shown, at, both))
        return best;
    n = needle->border[n];
    for (int tries = 0; tries < 8 && n > best; tries++) {
        if (may_end(shown, at + n, both))
            return n;
        n = needle->border[n - 1];
    }
    return best;
}

size_t cp_needle_find_start(const cp_needle *needle, const cp_shown *shown, size_t *at) {
    cp_str text = needle->text;
    size_t same = 0, best = 0;
    for (size_t i = shown->first; text.n > 0; i++) {
        bool at_end = i == shown->end;
        char c = at_end ? '\0' : shown->folded.text[i];
        if (same > best && (at_end || same == text.n || c != text.data[same])) {
            size_t n = whole_start(needle, shown, i - same, same, best);
            if (n > best)
                *at = i - same;
            best = n;
        }
        if (at_end)
            break;
        while (same > 0 && (same == text.n || c != text.data[same]))
            same = needle->next[same];
        same += c == text.data[same];
    }
    return best;
}
