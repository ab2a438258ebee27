/* The ordinary tokens of a vocabulary as byte tries, for finding those that a grammar allows.
 *
 * Built once from a tokenizer, immutable afterwards, shared by threads. Added tokens (control
 * tokens, <think>) and tokens longer than CP_TRIE_MAX_DEPTH bytes are not in it. A trie is its
 * nodes in the order of a depth-first walk, each with the place where the walk goes on when its
 * subtree is passed over: one loop visits it front to back. Tokens that lie whole inside a JSON
 * string, which are most, are also kept as ready bitsets by their number of characters, and a
 * second trie holds the others that can come in a string (they end it, or end inside a character or
 * escape). */
#ifndef CP_LLM_TOKEN_TRIE_H
#define CP_LLM_TOKEN_TRIE_H

#include "tokenizer/tokenizer.h"

#define CP_TRIE_MAX_DEPTH 128
#define CP_TRIE_TEXT_SETS 16 /* ready bitsets for up to so many characters */

typedef struct cp_trie_node {
    uint32_t skip;       /* index of the next node that is not below this one */
    int32_t id;          /* of the token that ends here, or -1 */
    uint8_t byte, depth; /* depth 1: the first byte of a token */
} cp_trie_node;

typedef struct cp_trie {
    cp_trie_node *nodes;
    size_t n;
} cp_trie;

typedef struct cp_token_text {
    int32_t id;
    uint32_t chars;
} cp_token_text;

typedef struct cp_token_trie {
    size_t n_words; /* 64-bit words of a bitset over the logits */
    cp_trie all;
    cp_trie edge;    /* legal in a string, but not whole inside it */
    uint64_t *texts; /* [CP_TRIE_TEXT_SETS + 1][n_words]: tokens whole inside a string with at
                        most 0, 1, 2, ... characters; the last: with any number */
    cp_token_text *long_texts; /* [n_long_texts], those with more than CP_TRIE_TEXT_SETS - 1 */
    size_t n_long_texts;
    uint32_t max_chars;    /* in any token */
    uint32_t max_elements; /* commas in any token, neighbours counted once */
} cp_token_trie;

/* vocab_size is the number of logits; ids from there on are left out. */
cp_status cp_token_trie_build(const cp_tokenizer *tok, size_t vocab_size, cp_token_trie *out,
                              cp_error *err) CP_MUST_CHECK;
void cp_token_trie_deinit(cp_token_trie *trie);

/* Sets bits[n_words] to the tokens whole inside a string with at most `chars` characters. */
void cp_token_trie_texts(const cp_token_trie *trie, uint32_t chars, uint64_t *bits);

/* The child of a node for a byte, UINT32_MAX for none; node UINT32_MAX is the root. */
uint32_t cp_trie_child(const cp_trie *trie, uint32_t node, unsigned char byte);

static inline void cp_bit_set(uint64_t *bits, int32_t id) {
    bits[(uint32_t)id >> 6] |= (uint64_t)1 << (id & 63);
}
static inline void cp_bit_clear(uint64_t *bits, int32_t id) {
    bits[(uint32_t)id >> 6] &= ~((uint64_t)1 << (id & 63));
}
static inline bool cp_bit_get(const uint64_t *bits, int32_t id) {
    return bits[(uint32_t)id >> 6] >> (id & 63) & 1;
}

#endif
