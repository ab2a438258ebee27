/* The tables of a byte-level BPE: the bytes of every id, ids by bytes, merges by pair.
 *
 * Filled once by the loader, constant afterwards, then shared by threads. All tables are flat: one
 * block of bytes, one row an id, and two open-addressing hash tables (ids by bytes; ranks by pair
 * of ids). Their entries are packed into 4 and 8 bytes: they stay in memory as long as the model
 * does, and every word of every text looks into them. Everything added is checked against what is
 * there already, because the file is not trusted: an error names the token and the rule, the loader
 * puts the file's name in front. It does not know JSON. */
#ifndef CP_TOKENIZER_VOCAB_H
#define CP_TOKENIZER_VOCAB_H

#include "base/strbuf.h"

#include <stdint.h>

/* Ids are array indices, so a hostile id must not reserve memory out of proportion: 2 Mi ids are
 * eight times the largest published vocabulary. */
#define CP_VOCAB_MAX_IDS    2097152
#define CP_VOCAB_MAX_MERGES 4194303 /* what fits beside two ids in 64 bits */
#define CP_RANK_NONE        UINT32_MAX

typedef enum cp_token_kind {
    CP_TOKEN_NONE = 0,
    CP_TOKEN_BASE = 1,    /* of the BPE vocabulary */
    CP_TOKEN_ADDED = 2,   /* of added_tokens; may be base too */
    CP_TOKEN_SPECIAL = 4, /* an added token with "special": true */
} cp_token_kind;

typedef struct cp_token {
    uint32_t offset;    /* in cp_vocab.bytes */
    unsigned n : 29;    /* bytes; a whole tokenizer.json has fewer */
    unsigned kinds : 3; /* cp_token_kind bits */
} cp_token;

typedef struct cp_vocab {
    char *bytes;
    size_t n_bytes, cap_bytes;
    cp_token *tokens; /* [n_ids] */
    size_t n_ids, cap_ids;
    uint32_t *slots; /* [n_slots], base tokens only: 10 bits of the hash, 22 of id + 1; 0 is free */
    size_t n_slots, n_indexed;
    uint64_t *merges; /* [n_merge_slots]: 21 bits each of left and right, 22 of rank + 1; 0: free */
    size_t n_merge_slots;
    int32_t *results; /* [n_merges]: the id that the merge of this rank makes */
    size_t n_merges, cap_results;
    int32_t byte_ids[256]; /* the id of each single byte, -1 for none; after cp_vocab_finish */
} cp_vocab;

void cp_vocab_deinit(cp_vocab *vocab); /* a zeroed struct is an empty vocabulary */

/* A token of the BPE vocabulary: `id` must be new, and so must be the bytes. */
cp_status cp_vocab_add_base(cp_vocab *vocab, cp_str bytes, int64_t id, cp_error *err) CP_MUST_CHECK;
/* An added token; its id must be new, or that of a base token with the same bytes. */
cp_status cp_vocab_add_added(cp_vocab *vocab, cp_str bytes, int64_t id, bool special,
                             cp_error *err) CP_MUST_CHECK;
/* The next merge in rank order, by the bytes of its two sides; they and their sum must be base
 * tokens. */
cp_status cp_vocab_add_merge(cp_vocab *vocab, cp_str left, cp_str right,
                             cp_error *err) CP_MUST_CHECK;
/* Checks that each of the 256 bytes is a token, so that no text is left without ids; only bytes
 * that text hardly has (control characters, lead bytes of no assigned character) may be missing. */
cp_status cp_vocab_finish(cp_vocab *vocab, cp_error *err) CP_MUST_CHECK;

/* The base token with these bytes, or -1. */
int32_t cp_vocab_find(const cp_vocab *vocab, cp_str bytes);
/* The rank of the merge of two adjacent tokens, or CP_RANK_NONE. */
uint32_t cp_vocab_merge_rank(const cp_vocab *vocab, int32_t left, int32_t right);

static inline cp_str cp_vocab_bytes(const cp_vocab *vocab, int32_t id) {
    const cp_token *token = &vocab->tokens[id];
    return (cp_str){vocab->bytes + token->offset, token->n};
}

#endif
