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

bool cp_vocabulary_index_spelling(cp_vocabulary *v) {
    return fill_index(v, &v->by_first, false) && fill_index(v, &v->by_last, true);
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
    if (reading->id == CP_WORD_UNKNOWN) {
        reading->id = word->meaning;
        reading->roles = word->roles & CP_ROLE_IGNORED;
    } else if (reading->id != word->meaning) {
        reading->roles = 0;
        if (reading->other == CP_WORD_UNKNOWN)
            reading->other = word->meaning;
    }
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

static cp_reading correct(const cp_vocabulary *v, const cp_word *word) {
    cp_reading reading = {.id = CP_WORD_UNKNOWN, .other = CP_WORD_UNKNOWN};
    if (word->n < MIN_WRITTEN || !all_letters(word->text, word->n))
        return reading;
    find_candidates(v, &v->by_first, word->text[0], word, &reading);
    find_candidates(v, &v->by_last, word->text[word->n - 1], word, &reading);
    return reading;
}

/* A word that is listed only so that it is not corrected, and means nothing to the rules. */
static bool is_real_but_unused(const cp_vocabulary_word *word, int32_t id) {
    return word->roles == CP_ROLE_KNOWN && word->meaning == id;
}

cp_reading cp_vocabulary_read(const cp_vocabulary *v, const cp_word *word) {
    if (v->n_slots == 0 || word->cut)
        return (cp_reading){.id = CP_WORD_UNKNOWN, .other = CP_WORD_UNKNOWN};
    int32_t id = v->slots[find_slot(v, word->text, word->n)];
    if (!id)
        return correct(v, word);
    const cp_vocabulary_word *known = &v->words[id];
    if (!is_real_but_unused(known, id))
        return (cp_reading){.id = known->meaning, .roles = known->roles, .exact = true};
    cp_reading reading = correct(v, word);
    reading.doubtful = true;
    reading.roles = 0; /* it is there: it separates what it stands between */
    return reading;
}
