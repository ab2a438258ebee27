#include "server/safety_words.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define MIN_MEANT   5 /* letters of a rule word that may be misspelled */
#define MIN_WRITTEN 4 /* letters of what is written: one may be missing */

/* ---- exact ------------------------------------------------------------------------------ */

static uint32_t hash(const char *text, size_t n) { /* FNV-1a */
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)text[i]) * 16777619u;
    return h ^ h >> 15;
}

/* The slot that holds the word, or the empty one where it belongs. There is always an empty one. */
static size_t find_slot(const cp_vocabulary *v, const char *text, size_t n) {
    size_t slot = hash(text, n) & (v->n_slots - 1);
    for (; v->slots[slot]; slot = (slot + 1) & (v->n_slots - 1)) {
        const cp_vocabulary_word *word = &v->words[v->slots[slot]];
        if (word->n == n && memcmp(word->text, text, n) == 0)
            break;
    }
    return slot;
}

/* Keeps the table at most half full. */
static bool grow_slots(cp_vocabulary *v) {
    if (v->n_slots > 2 * (v->n + 1))
        return true;
    size_t n_slots = v->n_slots ? v->n_slots * 2 : 256;
    int32_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots)
        return false;
    free(v->slots);
    v->slots = slots;
    v->n_slots = n_slots;
    for (size_t id = 1; id <= v->n; id++)
        slots[find_slot(v, v->words[id].text, v->words[id].n)] = (int32_t)id;
    return true;
}

int32_t cp_vocabulary_add(cp_vocabulary *v, const cp_word *word) {
    if (!grow_slots(v) || !cp_grow((void **)&v->words, &v->cap, v->n + 2, sizeof *v->words))
        return CP_WORD_UNKNOWN;
    size_t slot = find_slot(v, word->text, word->n);
    if (v->slots[slot])
        return v->slots[slot];
    int32_t id = (int32_t)++v->n;
    v->words[id] = (cp_vocabulary_word){.n = (uint8_t)word->n, .meaning = id};
    memcpy(v->words[id].text, word->text, word->n + 1);
    v->slots[slot] = id;
    return id;
}

void cp_vocabulary_deinit(cp_vocabulary *v) {
    free(v->words);
    free(v->slots);
    free(v->by_first.ids);
    free(v->by_last.ids);
    *v = (cp_vocabulary){0};
}

/* ---- misspellings ----------------------------------------------------------------------- */

static bool all_letters(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (text[i] < 'a' || text[i] > 'z')
            return false;
    return true;
}

static bool can_be_meant(const cp_vocabulary_word *word) {
    return word->n >= MIN_MEANT && !(word->roles & CP_ROLE_KNOWN) &&
           all_letters(word->text, word->n);
}

static size_t key_letter(const cp_vocabulary_word *word, bool last) {
    return (size_t)(word->text[last ? word->n - 1 : 0] - 'a');
}

/* A counting sort by (letter, length). */
static bool fill_index(const cp_vocabulary *v, struct cp_spelling_index *index, bool last) {
    uint32_t place[26][CP_WORD_CAP + 2] = {{0}}, total = 0;
    index->ids = calloc(v->n + 1, sizeof *index->ids);
    if (!index->ids)
        return false;
    for (size_t id = 1; id <= v->n; id++)
        if (can_be_meant(&v->words[id]))
            place[key_letter(&v->words[id], last)][v->words[id].n]++;
    for (size_t letter = 0; letter < 26; letter++)
        for (size_t n = 0; n < CP_WORD_CAP + 2; n++) {
            index->from[letter][n] = total;
            total += place[letter][n];
            place[letter][n] = index->from[letter][n];
        }
    for (size_t id = 1; id <= v->n; id++)
        if (can_be_meant(&v->words[id]))
            index->ids[place[key_letter(&v->words[id], last)][v->words[id].n]++] = (int32_t)id;
    return true;
}

/* Plurals in "-ies" are read as "-y", but a misspelled ending is not: "batterees". So these words
 * stand in the index with that ending, too. */
static bool add_ies_forms(cp_vocabulary *v) {
    for (size_t id = 1, n = v->n; id <= n; id++) {
        cp_vocabulary_word word = v->words[id];
        if (!can_be_meant(&word) || word.text[word.n - 1] != 'y' || word.n + 2u >= CP_WORD_CAP)
            continue;
        for (size_t more = 1; more <= 2; more++) {
            cp_word form = {.n = word.n + more};
            memcpy(form.text, word.text, word.n);
            memcpy(form.text + word.n - 1, "ies", more + 1);
            size_t before = v->n;
            int32_t added = cp_vocabulary_add(v, &form);
            if (added == CP_WORD_UNKNOWN)
                return false;
            if (v->n == before) /* it was there, and keeps its own meaning */
                continue;
            v->words[added].meaning = word.meaning;
            v->words[added].roles = word.roles;
        }
    }
    return true;
}

bool cp_vocabulary_index_spelling(cp_vocabulary *v) {
    return add_ies_forms(v) && fill_index(v, &v->by_first, false) &&
           fill_index(v, &v->by_last, true);
}

/* What is left of both words without their common start and end tells the edit. */
static bool is_one_edit(const cp_word *a, const cp_vocabulary_word *b) {
    size_t start = 0, end = 0, shorter = a->n < b->n ? a->n : b->n;
    while (start < shorter && a->text[start] == b->text[start])
        start++;
    while (end < shorter - start && a->text[a->n - 1 - end] == b->text[b->n - 1 - end])
        end++;
    size_t left_a = a->n - start - end, left_b = b->n - start - end;
    if (left_a == 2 && left_b == 2)
        return a->text[start] == b->text[start + 1] && a->text[start + 1] == b->text[start];
    return left_a <= 1 && left_b <= 1;
}

static void add_candidate(const cp_vocabulary_word *word, cp_reading *reading) {
    for (uint8_t i = 0; i < reading->n; i++)
        if (reading->ids[i] == word->meaning)
            return;
    if (reading->n == CP_READING_MAX)
        return;
    reading->roles = reading->n == 0 ? word->roles & CP_ROLE_IGNORED : 0;
    reading->ids[reading->n++] = word->meaning;
}

static void find_candidates(const cp_vocabulary *v, const struct cp_spelling_index *index,
                            char letter, const cp_word *word, cp_reading *reading) {
    const uint32_t *from = index->from[letter - 'a'];
    for (uint32_t i = from[word->n - 1]; i < from[word->n + 2]; i++) {
        const cp_vocabulary_word *candidate = &v->words[index->ids[i]];
        if (is_one_edit(word, candidate))
            add_candidate(candidate, reading);
    }
}

static void find_both(const cp_vocabulary *v, const cp_word *word, cp_reading *reading) {
    if (word->n < MIN_WRITTEN || !all_letters(word->text, word->n))
        return;
    find_candidates(v, &v->by_first, word->text[0], word, reading);
    find_candidates(v, &v->by_last, word->text[word->n - 1], word, reading);
}

/* As it is, and as it was written before a final "s" was taken for a plural ("numbnes"). */
static cp_reading correct(const cp_vocabulary *v, const cp_word *word) {
    cp_reading reading = {.n = 0};
    find_both(v, word, &reading);
    if (word->lost_s && word->n + 1 < CP_WORD_CAP) {
        cp_word whole = *word;
        whole.text[whole.n++] = 's';
        whole.text[whole.n] = '\0';
        find_both(v, &whole, &reading);
    }
    return reading;
}

/* A word that is listed only so that it is not corrected, and means nothing to the rules. */
static bool is_real_but_unused(const cp_vocabulary_word *word, int32_t id) {
    return word->roles == CP_ROLE_KNOWN && word->meaning == id;
}

cp_reading cp_vocabulary_read(const cp_vocabulary *v, const cp_word *word) {
    if (v->n_slots == 0 || word->cut)
        return (cp_reading){.n = 0};
    int32_t id = v->slots[find_slot(v, word->text, word->n)];
    if (!id)
        return correct(v, word);
    const cp_vocabulary_word *known = &v->words[id];
    if (!is_real_but_unused(known, id))
        return (cp_reading){.ids = {known->meaning}, .n = 1, .roles = known->roles, .exact = true};
    cp_reading reading = correct(v, word);
    reading.doubtful = true;
    reading.roles = 0; /* it is there: it separates what it stands between */
    return reading;
}
