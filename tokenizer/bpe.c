#include "tokenizer/bpe.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define SHORT_MAX 48 /* up to here a scan for the lowest rank beats a heap */
#define END       UINT32_MAX

void cp_bpe_scratch_deinit(cp_bpe_scratch *scratch) {
    free(scratch->symbols);
    free(scratch->heap);
    *scratch = (cp_bpe_scratch){0};
}

/* ---- short pieces -------------------------------------------------------------------------- */

static cp_status encode_short(const cp_vocab *vocab, const char *piece, size_t n, cp_ids *out,
                              cp_error *err) {
    int32_t ids[SHORT_MAX];
    uint32_t ranks[SHORT_MAX]; /* ranks[i]: of the merge of i and i + 1; the last has none */
    size_t n_known = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t id = vocab->byte_ids[(unsigned char)piece[i]];
        if (id >= 0)
            ids[n_known++] = id;
    }
    n = n_known;
    for (size_t i = 0; i + 1 < n; i++)
        ranks[i] = cp_vocab_merge_rank(vocab, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t at = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[at])
                at = i;
        if (ranks[at] == CP_RANK_NONE)
            break;
        ids[at] = vocab->results[ranks[at]];
        n--;
        memmove(ids + at + 1, ids + at + 2, (n - at - 1) * sizeof *ids);
        if (at + 1 < n) {
            memmove(ranks + at + 1, ranks + at + 2, (n - at - 2) * sizeof *ranks);
            ranks[at] = cp_vocab_merge_rank(vocab, ids[at], ids[at + 1]);
        }
        if (at > 0)
            ranks[at - 1] = cp_vocab_merge_rank(vocab, ids[at - 1], ids[at]);
    }
    for (size_t i = 0; i < n; i++) {
        cp_status status = cp_ids_push(out, ids[i], err);
        if (status != CP_OK)
            return status;
    }
    return CP_OK;
}

/* ---- long pieces --------------------------------------------------------------------------- */

static void sift_down(uint64_t *heap, size_t n, size_t i) {
    uint64_t moving = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (moving <= heap[child])
            break;
        heap[i] = heap[child];
    }
    heap[i] = moving;
}

static bool heap_push(cp_bpe_scratch *s, uint64_t entry) {
    if (!cp_grow((void **)&s->heap, &s->cap_heap, s->n_heap + 1, sizeof *s->heap))
        return false;
    size_t i = s->n_heap++;
    for (; i > 0 && entry < s->heap[(i - 1) / 2]; i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = entry;
    return true;
}

static uint64_t heap_pop(cp_bpe_scratch *s) {
    uint64_t lowest = s->heap[0];
    s->heap[0] = s->heap[--s->n_heap];
    if (s->n_heap > 1)
        sift_down(s->heap, s->n_heap, 0);
    return lowest;
}

/* Lists one symbol a byte and heaps the merges that apply at the start. *n_symbols counts them. */
static cp_status start_long(const cp_vocab *vocab, const char *piece, size_t n, cp_bpe_scratch *s,
                            size_t *n_symbols, cp_error *err) {
    if (!cp_grow((void **)&s->symbols, &s->cap_symbols, n, sizeof *s->symbols) ||
        !cp_grow((void **)&s->heap, &s->cap_heap, n, sizeof *s->heap))
        return cp_error_no_memory(err, "encoding a long word");
    uint32_t m = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t id = vocab->byte_ids[(unsigned char)piece[i]];
        if (id < 0)
            continue;
        s->symbols[m] = (cp_bpe_symbol){id, m ? m - 1 : END, m + 1, CP_RANK_NONE};
        m++;
    }
    if (m > 0)
        s->symbols[m - 1].next = END;
    *n_symbols = m;
    s->n_heap = 0;
    for (uint32_t i = 0; i + 1 < m; i++) {
        uint32_t rank = cp_vocab_merge_rank(vocab, s->symbols[i].id, s->symbols[i + 1].id);
        s->symbols[i].rank = rank;
        if (rank != CP_RANK_NONE)
            s->heap[s->n_heap++] = (uint64_t)rank << 32 | i;
    }
    for (size_t i = s->n_heap / 2; i-- > 0;)
        sift_down(s->heap, s->n_heap, i);
    return CP_OK;
}

/* Looks up the merge of symbol i and its neighbour anew and heaps it. */
static bool refresh(const cp_vocab *vocab, cp_bpe_scratch *s, uint32_t i) {
    cp_bpe_symbol *symbol = &s->symbols[i];
    symbol->rank = symbol->next == END
                       ? CP_RANK_NONE
                       : cp_vocab_merge_rank(vocab, symbol->id, s->symbols[symbol->next].id);
    return symbol->rank == CP_RANK_NONE || heap_push(s, (uint64_t)symbol->rank << 32 | i);
}

static cp_status encode_long(const cp_vocab *vocab, const char *piece, size_t n, cp_bpe_scratch *s,
                             cp_ids *out, cp_error *err) {
    size_t n_symbols = 0;
    cp_status status = start_long(vocab, piece, n, s, &n_symbols, err);
    while (status == CP_OK && s->n_heap > 0) {
        uint64_t entry = heap_pop(s);
        uint32_t rank = (uint32_t)(entry >> 32), left = (uint32_t)entry;
        cp_bpe_symbol *symbol = &s->symbols[left];
        if (symbol->rank != rank)
            continue; /* one of the two has been merged since this entry was made */
        cp_bpe_symbol *right = &s->symbols[symbol->next];
        symbol->id = vocab->results[rank];
        symbol->next = right->next;
        right->rank = CP_RANK_NONE;
        if (symbol->next != END)
            s->symbols[symbol->next].prev = left;
        if (!refresh(vocab, s, left) || (symbol->prev != END && !refresh(vocab, s, symbol->prev)))
            status = cp_error_no_memory(err, "encoding a long word");
    }
    for (uint32_t i = n_symbols ? 0 : END; status == CP_OK && i != END; i = s->symbols[i].next)
        status = cp_ids_push(out, s->symbols[i].id, err);
    return status;
}

cp_status cp_bpe_encode(const cp_vocab *vocab, const char *piece, size_t n, cp_bpe_scratch *scratch,
                        cp_ids *out, cp_error *err) {
    if (n == 0)
        return CP_OK;
    return n <= SHORT_MAX ? encode_short(vocab, piece, n, out, err)
                          : encode_long(vocab, piece, n, scratch, out, err);
}
