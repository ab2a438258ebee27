/* Finding added tokens ("<|im_start|>") in text: the leftmost, and of those the longest.
 *
 * Ids sorted by their bytes' first byte, then by length, longest first, so that a scan touches only
 * candidates. Built once, constant afterwards. The bytes themselves are the vocabulary's. Which
 * part of a text may be searched is the caller's decision. */
#ifndef CP_TOKENIZER_ADDED_TOKENS_H
#define CP_TOKENIZER_ADDED_TOKENS_H

#include "tokenizer/vocab.h"

#define CP_ADDED_TOKENS_MAX 16384

typedef struct cp_added_tokens { /* zeroed: none */
    int32_t *ids;
    size_t n, cap;
    uint32_t first[257]; /* ids[first[b] .. first[b + 1]) start with byte b */
} cp_added_tokens;
void cp_added_tokens_deinit(cp_added_tokens *added);

/* Collects the added tokens of the vocabulary. */
cp_status cp_added_tokens_build(cp_added_tokens *added, const cp_vocab *vocab,
                                cp_error *err) CP_MUST_CHECK;

/* The next added token that lies in text[from..end): its place and id. False when there is none. */
bool cp_added_tokens_find(const cp_added_tokens *added, const cp_vocab *vocab, const char *text,
                          size_t from, size_t end, size_t *at, int32_t *id);
/* The added token with exactly this text, or -1. */
int32_t cp_added_tokens_id(const cp_added_tokens *added, const cp_vocab *vocab, cp_str text);

#endif
