#include "retrieval/everyday_names.h"

#include "base/json.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES ((size_t)4 << 20)

typedef struct said_phrase {
    uint32_t phrase, meaning; /* numbers */
} said_phrase;

typedef struct meaning {
    uint32_t first, n; /* phrases */
    bool same;
} meaning;

struct cp_everyday_names {
    cp_phrase *phrases;
    size_t n_phrases, cap_phrases;
    meaning *meanings;
    size_t n_meanings, cap_meanings;
    said_phrase *said; /* by first term, longer phrases first */
    size_t n_said, cap_said;
};

/* ---- reading ------------------------------------------------------------------------------- */

typedef struct reader {
    const char *path;
    uint64_t salt;
    cp_known_words *vocabulary;
    cp_everyday_names *list;
    cp_error *err;
} reader;

/* The phrase owns one block: terms, then what is a stop word. */
static bool make_phrase(const reader *r, const cp_words *words, cp_phrase *out) {
    uint64_t *terms = malloc(words->n * (sizeof *terms + sizeof(bool)));
    if (!terms)
        return false;
    bool *stop = (bool *)(terms + words->n);
    for (size_t i = 0; i < words->n; i++) {
        terms[i] = cp_term_hash(cp_word_stem(words, i), r->salt);
        stop[i] = words->items[i].stop;
    }
    *out = (cp_phrase){terms, stop, words->n};
    return true;
}

static cp_status add_words(const reader *r, const cJSON *item, const cp_words *words) {
    cp_everyday_names *list = r->list;
    if (words->n < 1 || words->n > CP_MAX_PHRASE_WORDS)
        return cp_error_set(r->err, CP_ERR_FORMAT, "%s: \"%s\": expected 1 to %d words", r->path,
                            item->valuestring, CP_MAX_PHRASE_WORDS);
    cp_status status = cp_known_words_add(r->vocabulary, words, r->err);
    if (status != CP_OK)
        return status;
    if (!cp_grow((void **)&list->phrases, &list->cap_phrases, list->n_phrases + 1,
                 sizeof *list->phrases) ||
        !make_phrase(r, words, &list->phrases[list->n_phrases]))
        return cp_error_no_memory(r->err, "everyday names");
    list->n_phrases++;
    return CP_OK;
}

static cp_status add_phrase(const reader *r, const cJSON *item) {
    cp_words words;
    if (!cJSON_IsString(item))
        return cp_error_set(r->err, CP_ERR_FORMAT, "%s: expected each phrase to be a text",
                            r->path);
    cp_status status =
        cp_words_split((cp_str){item->valuestring, strlen(item->valuestring)}, &words, r->err);
    if (status == CP_OK)
        status = add_words(r, item, &words);
    cp_words_deinit(&words);
    return status;
}

static cp_status add_phrases(const reader *r, const cJSON *items, const char *what, int least) {
    const cJSON *item;
    if (!cJSON_IsArray(items) || cJSON_GetArraySize(items) < least)
        return cp_error_set(r->err, CP_ERR_FORMAT, "%s: %s: expected a list of %d or more phrases",
                            r->path, what, least);
    cJSON_ArrayForEach(item, items) {
        cp_status status = add_phrase(r, item);
        if (status != CP_OK)
            return status;
    }
    return CP_OK;
}

static cp_status add_meaning(const reader *r, size_t first, bool same) {
    cp_everyday_names *list = r->list;
    if (!cp_grow((void **)&list->meanings, &list->cap_meanings, list->n_meanings + 1,
                 sizeof *list->meanings))
        return cp_error_no_memory(r->err, "everyday names");
    list->meanings[list->n_meanings++] =
        (meaning){(uint32_t)first, (uint32_t)(list->n_phrases - first), same};
    return CP_OK;
}

/* Phrases first..end are said for the last meaning. */
static cp_status add_said(const reader *r, size_t first, size_t end) {
    cp_everyday_names *list = r->list;
    if (!cp_grow((void **)&list->said, &list->cap_said, list->n_said + end - first,
                 sizeof *list->said))
        return cp_error_no_memory(r->err, "everyday names");
    for (size_t i = first; i < end; i++)
        list->said[list->n_said++] = (said_phrase){(uint32_t)i, (uint32_t)(list->n_meanings - 1)};
    return CP_OK;
}

static cp_status read_same(const reader *r, const cJSON *group) {
    const size_t first = r->list->n_phrases;
    cp_status status = add_phrases(r, group, "same", 2);
    if (status == CP_OK)
        status = add_meaning(r, first, true);
    return status == CP_OK ? add_said(r, first, r->list->n_phrases) : status;
}

static cp_status read_means(const reader *r, const cJSON *entry) {
    const size_t first = r->list->n_phrases;
    cp_status status = add_phrases(r, cp_json_member(entry, "said"), "said", 1);
    const size_t end = r->list->n_phrases;
    if (status == CP_OK)
        status = add_phrases(r, cp_json_member(entry, "meant"), "meant", 1);
    if (status == CP_OK)
        status = add_meaning(r, end, false);
    return status == CP_OK ? add_said(r, first, end) : status;
}

static cp_status read_list(const reader *r, const cJSON *tree, const char *key,
                           cp_status (*read)(const reader *, const cJSON *)) {
    const cJSON *item, *items = cp_json_member(tree, key);
    if (!cJSON_IsArray(items))
        return cp_error_set(r->err, CP_ERR_FORMAT, "%s: expected a list \"%s\"", r->path, key);
    cJSON_ArrayForEach(item, items) {
        cp_status status = read(r, item);
        if (status != CP_OK)
            return status;
    }
    return CP_OK;
}

static int by_first_term(const void *a, const void *b, void *user) {
    const cp_everyday_names *list = user;
    const said_phrase *x = a, *y = b;
    const cp_phrase *p = &list->phrases[x->phrase], *q = &list->phrases[y->phrase];
    if (p->terms[0] != q->terms[0])
        return p->terms[0] < q->terms[0] ? -1 : 1;
    if (p->n != q->n)
        return p->n > q->n ? -1 : 1;
    return x->phrase < y->phrase ? -1 : x->phrase > y->phrase;
}

cp_status cp_everyday_names_open(const char *path, uint64_t salt, cp_known_words *vocabulary,
                                 cp_everyday_names **out, cp_error *err) {
    cJSON *tree = NULL;
    *out = NULL;
    cp_status status = cp_json_parse_file(path, MAX_FILE_BYTES, &tree, err);
    if (status != CP_OK)
        return status;
    cp_everyday_names *list = calloc(1, sizeof *list);
    reader r = {path, salt, vocabulary, list, err};
    status = list ? CP_OK : cp_error_no_memory(err, "everyday names");
    if (status == CP_OK)
        status = read_list(&r, tree, "same", read_same);
    if (status == CP_OK)
        status = read_list(&r, tree, "means", read_means);
    cJSON_Delete(tree);
    if (status != CP_OK) {
        cp_everyday_names_close(list);
        return status;
    }
    if (list->n_said > 0)
        qsort_r(list->said, list->n_said, sizeof *list->said, by_first_term, list);
    *out = list;
    return CP_OK;
}

void cp_everyday_names_close(cp_everyday_names *list) {
    if (!list)
        return;
    for (size_t i = 0; i < list->n_phrases; i++)
        free((void *)list->phrases[i].terms);
    free(list->phrases);
    free(list->meanings);
    free(list->said);
    free(list);
}

/* ---- asking -------------------------------------------------------------------------------- */

/* The first said phrase that begins with this term. */
static size_t first_said(const cp_everyday_names *list, uint64_t term) {
    size_t lo = 0, hi = list->n_said;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (list->phrases[list->said[middle].phrase].terms[0] < term)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

static bool is_asked(const cp_asked_word *word, uint64_t term) {
    for (size_t i = 0; i < word->n; i++)
        if (word->terms[i] == term)
            return true;
    return false;
}

static bool begins_with(const cp_asked_word *words, size_t n, const cp_phrase *phrase) {
    if (phrase->n > n)
        return false;
    for (size_t i = 1; i < phrase->n; i++)
        if (!is_asked(&words[i], phrase->terms[i]))
            return false;
    return true;
}

size_t cp_everyday_names_match(const cp_everyday_names *list, const cp_asked_word *words, size_t n,
                               void (*found)(void *user, size_t n_words, cp_meaning meaning),
                               void *user) {
    size_t longest = 0;
    for (int pass = 0; pass < 2; pass++) /* the length first, then what has it */
        for (size_t s = 0; s < words[0].n; s++)
            for (size_t i = first_said(list, words[0].terms[s]); i < list->n_said; i++) {
                const cp_phrase *phrase = &list->phrases[list->said[i].phrase];
                if (phrase->terms[0] != words[0].terms[s])
                    break;
                if (phrase->n < longest || !begins_with(words, n, phrase))
                    continue;
                if (pass == 0) {
                    longest = phrase->n;
                    break; /* the rest is no longer */
                }
                const meaning *m = &list->meanings[list->said[i].meaning];
                found(user, phrase->n, (cp_meaning){&list->phrases[m->first], m->n, m->same});
            }
    return longest;
}
