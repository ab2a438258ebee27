/* Byte-pair encoding of one piece of text: bytes in, token ids out.
 *
 * Starts from one token a byte and always applies the merge with the lowest rank, the leftmost
 * first among equals, until none applies. Pieces are mostly words, for which a scan over a small
 * array is fastest; long ones (a megabyte without a space) go through a heap over a linked list, n
 * log n. Constant vocabulary; each caller brings its own scratch, which may be used again and is
 * freed at the end. */
#ifndef CP_TOKENIZER_BPE_H
#define CP_TOKENIZER_BPE_H

#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab.h"

typedef struct cp_bpe_symbol {
    int32_t id;
    uint32_t prev, next; /* indices; UINT32_MAX at the ends */
    uint32_t rank;       /* of the merge with `next`, CP_RANK_NONE for none or when merged away */
} cp_bpe_symbol;

typedef struct cp_bpe_scratch { /* zeroed: empty */
    cp_bpe_symbol *symbols;
    size_t cap_symbols;
    uint64_t *heap; /* rank << 32 | index of the left symbol */
    size_t n_heap, cap_heap;
} cp_bpe_scratch;
void cp_bpe_scratch_deinit(cp_bpe_scratch *scratch);

/* Appends the ids of piece[0..n) to `out`. n is below UINT32_MAX. A byte that is no token is left
 * out, as the reference does; its neighbours become neighbours. */
cp_status cp_bpe_encode(const cp_vocab *vocab, const char *piece, size_t n, cp_bpe_scratch *scratch,
                        cp_ids *out, cp_error *err) CP_MUST_CHECK;

#endif
