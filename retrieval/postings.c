#include "retrieval/segment_read.h"

#include <string.h>

static uint32_t get_u32(const unsigned char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

uint32_t cp_postings_seek(const cp_postings *postings, uint32_t number) {
    uint32_t low = 0, high = postings->n_blocks;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (get_u32(postings->bytes + (size_t)middle * CP_BLOCK_HEAD_BYTES) <= number)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Sums of deltas; false when one is 0 or runs past `end`. */
static bool get_numbers(const unsigned char *at, unsigned width, uint32_t first, size_t n,
                        uint32_t end, uint32_t *numbers) {
    uint64_t number = first;
    bool ascends = true;
    numbers[0] = first;
    for (size_t i = 1; i < n; i++) {
        uint32_t delta = 0;
        if (width == 1)
            delta = at[i - 1];
        else if (width == 2)
            delta = (uint32_t)at[2 * i - 2] | (uint32_t)at[2 * i - 1] << 8;
        else
            delta = get_u32(at + 4 * (i - 1));
        ascends = ascends && delta > 0;
        number += delta;
        numbers[i] = (uint32_t)number;
    }
    return ascends && number < end;
}

static void get_counts(const unsigned char *at, unsigned width, size_t n, uint32_t *counts) {
    if (width == 1)
        for (size_t i = 0; i < n; i++)
            counts[i] = at[i];
    else if (width == 2)
        for (size_t i = 0; i < n; i++)
            counts[i] = (uint32_t)at[2 * i] | (uint32_t)at[2 * i + 1] << 8;
    else
        memcpy(counts, at, n * sizeof *counts);
}

static bool is_width(unsigned width) {
    return width == 1 || width == 2 || width == 4;
}

size_t cp_postings_block(const cp_postings *postings, uint32_t block, uint32_t *numbers,
                         uint32_t *counts) {
    const unsigned char *head = postings->bytes + (size_t)block * CP_BLOCK_HEAD_BYTES;
    uint32_t first = get_u32(head), offset = get_u32(head + 4);
    size_t n = postings->df - block * CP_POSTINGS_BLOCK;
    n = n < CP_POSTINGS_BLOCK ? n : CP_POSTINGS_BLOCK;
    if (offset >= postings->n_bytes)
        return 0;
    const unsigned char *at = postings->bytes + offset;
    unsigned delta_width = *at & 15, count_width = *at >> 4;
    if (!is_width(delta_width) || !is_width(count_width) ||
        1 + (n - 1) * delta_width + n * count_width > postings->n_bytes - offset)
        return 0;
    if (!get_numbers(at + 1, delta_width, first, n, postings->n_chunks, numbers))
        return 0;
    get_counts(at + 1 + (n - 1) * delta_width, count_width, n, counts);
    return n;
}
