/* Text to words, as both sides of the lexical search know them: documents and questions.
 *
 * A word is a run of letters and digits, folded (NFKC, case, accents; what nobody sees is passed
 * over) and cut to its stem by Snowball's English stemmer. Apostrophes join ("can't" is "cant"), a
 * point between digits does, too; a number and its unit are two words ("20mg"). Any bytes may come:
 * what is not UTF-8 stands between words. Time is linear in the text. Pure but for memory; any
 * thread. */
#ifndef CP_RETRIEVAL_TERMS_H
#define CP_RETRIEVAL_TERMS_H

#include "base/strbuf.h"

#include <stdint.h>

#define CP_WORD_BYTES      64                 /* of a folded word; the rest is not looked at */
#define CP_WORDS_MAX_BYTES ((size_t)64 << 20) /* longest text */

typedef struct cp_word {
    uint32_t begin, end;   /* bytes of the text it was read from */
    uint32_t folded, stem; /* where they stand in cp_words.bytes */
    uint8_t n_folded, n_stem;
    bool stop; /* says nothing by itself: "the", "what", "does" */
} cp_word;

typedef struct cp_words {
    cp_word *items;
    size_t n, cap;
    cp_strbuf bytes;
} cp_words;
/* CP_ERR_LIMIT: over CP_WORDS_MAX_BYTES. Deinit also after failure. */
cp_status cp_words_split(cp_str text, cp_words *out, cp_error *err) CP_MUST_CHECK;
void cp_words_deinit(cp_words *words);
/* Borrowed from `words`. */
cp_str cp_word_folded(const cp_words *words, size_t i);
cp_str cp_word_stem(const cp_words *words, size_t i);
/* cp_term.hash of a stem. */
uint64_t cp_term_hash(cp_str stem, uint64_t salt);

/* One letter more, less or another, or two neighbours swapped; both longer than three bytes. */
bool cp_is_one_edit(cp_str a, cp_str b);

#endif
