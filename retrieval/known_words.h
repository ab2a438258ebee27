/* Words that are known to be spelled right, and those that a misspelled one may have meant.
 *
 * Holds public words only (the knowledge base, everyday names), or those of one record for one
 * question: what a question is mended with shows in its answer. Filled by one thread, then constant
 * and for any. */
#ifndef CP_RETRIEVAL_KNOWN_WORDS_H
#define CP_RETRIEVAL_KNOWN_WORDS_H

#include "retrieval/terms.h"

typedef struct cp_known_word {
    uint32_t folded, stem; /* where they stand in bytes */
    uint8_t n_folded, n_stem;
} cp_known_word;

typedef struct cp_known_words {
    cp_known_word *words;
    size_t n, cap;
    uint32_t *slots; /* [n_slots] hash table of folded words, number + 1 */
    size_t n_slots;
    cp_strbuf bytes;
    uint32_t *stem_slots; /* the same of stems */
} cp_known_words;
void cp_known_words_init(cp_known_words *vocabulary);
void cp_known_words_deinit(cp_known_words *vocabulary);
/* CP_ERR_NO_MEMORY, CP_ERR_LIMIT (64 MiB of words). */
cp_status cp_known_words_add(cp_known_words *vocabulary, const cp_words *words,
                             cp_error *err) CP_MUST_CHECK;
/* Is the word there, or another of its stem? */
bool cp_known_words_has(const cp_known_words *vocabulary, cp_str folded, cp_str stem);

/* Stems of words that are one edit away from this one, with the same first letter: up to n of them,
 * each once. Returns how many. Borrowed from the vocabulary. */
size_t cp_known_words_near(const cp_known_words *vocabulary, cp_str folded, cp_str stem,
                           cp_str *out, size_t n);

#endif
