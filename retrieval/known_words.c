#include "retrieval/known_words.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define MAX_BYTES   ((size_t)64 << 20)
#define FIRST_SLOTS 256

void cp_known_words_init(cp_known_words *v) {
    *v = (cp_known_words){0};
    cp_strbuf_init(&v->bytes, MAX_BYTES);
}

void cp_known_words_deinit(cp_known_words *v) {
    free(v->words);
    free(v->slots);
    free(v->stem_slots);
    cp_strbuf_deinit(&v->bytes);
    *v = (cp_known_words){0};
}

static cp_str folded_of(const cp_known_words *v, const cp_known_word *word) {
    return (cp_str){v->bytes.data + word->folded, word->n_folded};
}

static cp_str stem_of(const cp_known_words *v, const cp_known_word *word) {
    return (cp_str){v->bytes.data + word->stem, word->n_stem};
}

/* The slot that has this text, or the empty one where it would stand. */
static uint32_t *find_slot(const cp_known_words *v, uint32_t *slots, cp_str text,
                           cp_str (*part)(const cp_known_words *, const cp_known_word *)) {
    const size_t mask = v->n_slots - 1;
    for (size_t at = XXH3_64bits(text.data, text.n) & mask;; at = (at + 1) & mask)
        if (slots[at] == 0 || cp_str_equal(part(v, &v->words[slots[at] - 1]), text))
            return &slots[at];
}

static void enter(cp_known_words *v, uint32_t number) {
    const cp_known_word *word = &v->words[number];
    *find_slot(v, v->slots, folded_of(v, word), folded_of) = number + 1;
    uint32_t *stem = find_slot(v, v->stem_slots, stem_of(v, word), stem_of);
    if (*stem == 0)
        *stem = number + 1;
}

static bool make_room(cp_known_words *v) {
    if (v->n_slots >= 2 * (v->n + 1))
        return true;
    const size_t n = v->n_slots > 0 ? 2 * v->n_slots : FIRST_SLOTS;
    uint32_t *slots = calloc(n, sizeof *slots), *stem_slots = calloc(n, sizeof *stem_slots);
    if (!slots || !stem_slots) {
        free(slots);
        free(stem_slots);
        return false;
    }
    free(v->slots);
    free(v->stem_slots);
    v->slots = slots;
    v->stem_slots = stem_slots;
    v->n_slots = n;
    for (size_t i = 0; i < v->n; i++)
        enter(v, (uint32_t)i);
    return true;
}

static bool add_word(cp_known_words *v, cp_str folded, cp_str stem) {
    if (!make_room(v) || !cp_grow((void **)&v->words, &v->cap, v->n + 1, sizeof *v->words))
        return false;
    if (*find_slot(v, v->slots, folded, folded_of) != 0)
        return true;
    cp_known_word word = {.folded = (uint32_t)v->bytes.n, .n_folded = (uint8_t)folded.n};
    cp_strbuf_append(&v->bytes, folded.data, folded.n);
    word.stem = (uint32_t)v->bytes.n;
    word.n_stem = (uint8_t)stem.n;
    cp_strbuf_append(&v->bytes, stem.data, stem.n);
    if (v->bytes.failed != CP_OK)
        return false;
    v->words[v->n++] = word;
    enter(v, (uint32_t)(v->n - 1));
    return true;
}

cp_status cp_known_words_add(cp_known_words *v, const cp_words *words, cp_error *err) {
    for (size_t i = 0; i < words->n; i++)
        if (!add_word(v, cp_word_folded(words, i), cp_word_stem(words, i))) {
            cp_status status = cp_strbuf_check(&v->bytes, "vocabulary", err);
            return status != CP_OK ? status : cp_error_no_memory(err, "vocabulary");
        }
    return CP_OK;
}

bool cp_known_words_has(const cp_known_words *v, cp_str folded, cp_str stem) {
    return v->n > 0 && (*find_slot(v, v->slots, folded, folded_of) != 0 ||
                        *find_slot(v, v->stem_slots, stem, stem_of) != 0);
}

size_t cp_known_words_near(const cp_known_words *v, cp_str folded, cp_str stem, cp_str *out,
                           size_t n) {
    size_t found = 0;
    for (size_t i = 0; i < v->n && found < n; i++) {
        const cp_known_word *word = &v->words[i];
        if (v->bytes.data[word->folded] != folded.data[0] ||
            (!cp_is_one_edit(folded, folded_of(v, word)) &&
             !cp_is_one_edit(stem, stem_of(v, word))))
            continue;
        bool is_new = true;
        for (size_t j = 0; j < found; j++)
            is_new = is_new && !cp_str_equal(out[j], stem_of(v, word));
        if (is_new)
            out[found++] = stem_of(v, word);
    }
    return found;
}
