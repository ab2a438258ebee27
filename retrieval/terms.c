#include "retrieval/terms.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <libstemmer.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <xxhash.h>

#define RIGHT_QUOTE       0x2019
#define MOST_PARTS        32 /* code points that one is decomposed to; NFKC's longest has 18 */
#define LEAST_EDITABLE    4
#define LONGEST_STOP_WORD 7

/* Sorted; folded. */
static const char *const stop_words[] = {
    "a",      "about", "after", "again", "all",     "also",  "am",     "an",    "and",    "any",
    "are",    "as",    "at",    "be",    "because", "been",  "before", "being", "but",    "by",
    "can",    "could", "did",   "do",    "does",    "doing", "done",   "down",  "each",   "for",
    "from",   "get",   "gets",  "give",  "go",      "goes",  "got",    "had",   "has",    "have",
    "having", "he",    "her",   "here",  "hers",    "him",   "his",    "how",   "i",      "id",
    "if",     "ill",   "im",    "in",    "into",    "is",    "it",     "its",   "ive",    "just",
    "may",    "me",    "mine",  "more",  "must",    "my",    "no",     "not",   "now",    "of",
    "on",     "or",    "our",   "out",   "over",    "s",     "shall",  "she",   "should", "so",
    "some",   "such",  "t",     "than",  "that",    "the",   "their",  "them",  "then",   "there",
    "these",  "they",  "this",  "those", "to",      "too",   "up",     "us",    "very",   "was",
    "we",     "were",  "what",  "whats", "when",    "where", "which",  "who",   "whom",   "why",
    "will",   "with",  "would", "you",   "your",    "yours"};

static int compare_stop(const void *key, const void *item) {
    const cp_str *word = key;
    const char *stop = *(const char *const *)item;
    int order = strncmp(word->data, stop, word->n);
    return order != 0 ? order : stop[word->n] ? -1 : 0;
}

static bool is_stop_word(cp_str word) {
    return word.n <= LONGEST_STOP_WORD &&
           bsearch(&word, stop_words, CP_COUNT_OF(stop_words), sizeof *stop_words, compare_stop);
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_ascii_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ---- one character ------------------------------------------------------------------------- */

/* What a character does to the word before it. */
typedef enum cp_char_role { BETWEEN, PART, JOINS, UNSEEN } cp_char_role;

static cp_char_role role_of(uint32_t c) {
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO)
        return PART;
    if (category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL)
        return PART;
    if (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME)
        return UNSEEN;
    if (category == UTF8PROC_CATEGORY_CF || cp_utf8_is_unseen(c))
        return UNSEEN;
    return c == RIGHT_QUOTE ? JOINS : BETWEEN;
}

static cp_char_role ascii_role(const char *text, size_t n, size_t at) {
    const char c = text[at], next = at + 1 < n ? text[at + 1] : ' ';
    if (is_digit(c) || is_ascii_letter(c))
        return PART;
    if (c == '\'')
        return JOINS;
    if (c == '.' && at > 0 && is_digit(text[at - 1]) && is_digit(next))
        return PART;
    return BETWEEN;
}

typedef struct splitter {
    cp_words *out;
    struct sb_stemmer *stemmer;
    bool inside, full, digits; /* in a word; which has all it may have; which has digits only */
} splitter;

static void put(splitter *s, const char *bytes, size_t n) {
    cp_word *word = &s->out->items[s->out->n - 1];
    s->full = s->full || word->n_folded + n > CP_WORD_BYTES;
    if (s->full)
        return;
    cp_strbuf_append(&s->out->bytes, bytes, n);
    word->n_folded = (uint8_t)(word->n_folded + n);
    s->digits = s->digits && (is_digit(*bytes) || *bytes == '.');
}

static void put_folded(splitter *s, uint32_t c) {
    utf8proc_int32_t parts[MOST_PARTS];
    char bytes[4];
    int bound = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)c, parts, MOST_PARTS,
                                UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
                                    UTF8PROC_STRIPMARK | UTF8PROC_IGNORE | UTF8PROC_STABLE,
                                &bound);
    for (utf8proc_ssize_t i = 0; i < n && i < MOST_PARTS; i++)
        if (role_of((uint32_t)parts[i]) == PART)
            put(s, bytes, cp_utf8_encode((uint32_t)parts[i], bytes));
}

/* ---- words --------------------------------------------------------------------------------- */

static bool begin_word(splitter *s, size_t at) {
    cp_words *w = s->out;
    if (!cp_grow((void **)&w->items, &w->cap, w->n + 1, sizeof *w->items))
        return false;
    w->items[w->n++] = (cp_word){.begin = (uint32_t)at, .folded = (uint32_t)w->bytes.n};
    s->inside = s->digits = true;
    s->full = false;
    return true;
}

/* Stems the word that has ended; one of which nothing was left is dropped. */
static bool end_word(splitter *s) {
    cp_words *w = s->out;
    cp_word *word = &w->items[w->n - 1];
    s->inside = false;
    word->stem = word->folded;
    word->n_stem = word->n_folded;
    if (word->n_folded == 0) {
        w->n--;
        return true;
    }
    word->stop = is_stop_word(cp_word_folded(w, w->n - 1));
    if (s->digits)
        return true;
    const sb_symbol *stem = sb_stemmer_stem(
        s->stemmer, (const sb_symbol *)w->bytes.data + word->folded, word->n_folded);
    int n = stem ? sb_stemmer_length(s->stemmer) : -1;
    if (n < 0)
        return false;
    if (n == 0 || n > UINT8_MAX ||
        (n <= word->n_folded && memcmp(stem, w->bytes.data + word->folded, (size_t)n) == 0)) {
        word->n_stem = n > 0 && n <= word->n_folded ? (uint8_t)n : word->n_folded;
        return true;
    }
    word->stem = (uint32_t)w->bytes.n;
    word->n_stem = (uint8_t)n;
    cp_strbuf_append(&w->bytes, stem, (size_t)n);
    return true;
}

/* False without memory. */
static bool take_char(splitter *s, cp_str text, size_t at, const cp_utf8_step *step) {
    const bool ascii = step->valid && step->code_point < 0x80;
    cp_char_role role = !step->valid ? BETWEEN
                        : ascii      ? ascii_role(text.data, text.n, at)
                                     : role_of(step->code_point);
    if (role == UNSEEN || (role == JOINS && s->inside))
        return true;
    /* "20mg": the number ends before its unit. */
    if (role == PART && s->inside && s->digits && !(ascii && !is_ascii_letter(text.data[at])) &&
        utf8proc_category((utf8proc_int32_t)step->code_point) != UTF8PROC_CATEGORY_ND &&
        !end_word(s))
        return false;
    if (role != PART)
        return !s->inside || end_word(s);
    if (!s->inside && !begin_word(s, at))
        return false;
    if (ascii) {
        char c = text.data[at];
        c = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        put(s, &c, 1);
    } else {
        put_folded(s, step->code_point);
    }
    s->out->items[s->out->n - 1].end = (uint32_t)(at + step->n_bytes);
    return s->out->bytes.failed == CP_OK;
}

cp_status cp_words_split(cp_str text, cp_words *out, cp_error *err) {
    splitter s = {.out = out};
    *out = (cp_words){0};
    /* A character of two bytes may become 18 of three; a stem is no longer than its word but for a
     * letter. */
    cp_strbuf_init(&out->bytes, 64 * text.n + 64);
    if (text.n > CP_WORDS_MAX_BYTES)
        return cp_error_set(err, CP_ERR_LIMIT, "a text of %zu bytes, expected at most %zu", text.n,
                            CP_WORDS_MAX_BYTES);
    s.stemmer = sb_stemmer_new("english", "UTF_8");
    bool good = s.stemmer != NULL;
    for (size_t i = 0; i < text.n && good;) {
        cp_utf8_step step = cp_utf8_decode(text.data + i, text.n - i);
        good = take_char(&s, text, i, &step);
        i += step.n_bytes;
    }
    good = good && (!s.inside || end_word(&s)) && out->bytes.failed == CP_OK;
    sb_stemmer_delete(s.stemmer);
    return good ? CP_OK : cp_error_no_memory(err, "words of a text");
}

void cp_words_deinit(cp_words *words) {
    free(words->items);
    cp_strbuf_deinit(&words->bytes);
    *words = (cp_words){0};
}

cp_str cp_word_folded(const cp_words *words, size_t i) {
    return (cp_str){words->bytes.data + words->items[i].folded, words->items[i].n_folded};
}

cp_str cp_word_stem(const cp_words *words, size_t i) {
    return (cp_str){words->bytes.data + words->items[i].stem, words->items[i].n_stem};
}

uint64_t cp_term_hash(cp_str stem, uint64_t salt) {
    return XXH3_64bits_withSeed(stem.data, stem.n, salt);
}

bool cp_is_one_edit(cp_str a, cp_str b) {
    if (a.n < b.n) {
        cp_str swap = a;
        a = b;
        b = swap;
    }
    if (b.n < LEAST_EDITABLE || a.n - b.n > 1)
        return false;
    size_t head = 0, tail = 0; /* bytes that agree at either end */
    while (head < b.n && a.data[head] == b.data[head])
        head++;
    while (tail < b.n - head && a.data[a.n - 1 - tail] == b.data[b.n - 1 - tail])
        tail++;
    const size_t rest = a.n - head - tail; /* of the longer one */
    if (a.n != b.n)
        return rest == 1;
    return rest == 1 ||
           (rest == 2 && a.data[head] == b.data[head + 1] && a.data[head + 1] == b.data[head]);
}
