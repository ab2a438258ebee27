/* Everyday names: the phrases of data/knowledge/words.json, read once and kept as terms.
 *
 *     {"note": "...", "lang": "en",
 *      "same":  [["warfarin", "coumadin"], ...]                 each stands for each
 *      "means": [{"said": ["blood thinner"], "meant": ["warfarin", "apixaban"]}, ...]}   one way
 *
 * A phrase is one to eight words, compared by their stems, one right behind the other. Constant
 * after opening; any thread. */
#ifndef CP_RETRIEVAL_EVERYDAY_NAMES_H
#define CP_RETRIEVAL_EVERYDAY_NAMES_H

#include "retrieval/known_words.h"

#define CP_MAX_PHRASE_WORDS 8

typedef struct cp_everyday_names cp_everyday_names;
/* `salt`: of the terms' hashes. All words also go into `vocabulary`. Errors name file and phrase.
 */
cp_status cp_everyday_names_open(const char *path, uint64_t salt, cp_known_words *vocabulary,
                                 cp_everyday_names **out, cp_error *err) CP_MUST_CHECK;
void cp_everyday_names_close(cp_everyday_names *list); /* NULL is allowed */

/* The terms of a phrase; words that are stop words carry false. Borrowed. */
typedef struct cp_phrase {
    const uint64_t *terms; /* [n] */
    const bool *stop;      /* [n] */
    size_t n;
} cp_phrase;

/* A place of a question: its term, and those that a misspelled word may have meant. */
#define CP_MAX_SPELLINGS 6
typedef struct cp_asked_word {
    uint64_t terms[CP_MAX_SPELLINGS];
    size_t n; /* at least 1 */
    bool stop;
} cp_asked_word;

/* Calls `found` for each meaning of the longest phrase that begins with words[0]. Returns how many
 * words that phrase has, 0: none begins here. */
typedef struct cp_meaning {
    const cp_phrase *phrases; /* [n]; those of a "same" group have the phrase itself among them */
    size_t n;
    bool same;
} cp_meaning;
size_t cp_everyday_names_match(const cp_everyday_names *list, const cp_asked_word *words, size_t n,
                               void (*found)(void *user, size_t n_words, cp_meaning meaning),
                               void *user);

#endif
