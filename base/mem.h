/* Checked sizes and aligned memory.
 *
 * Every size that comes from a file, a request or a product of two such numbers goes through these
 * helpers before it is used. Memory is otherwise malloc/calloc/free. */
#ifndef CP_BASE_MEM_H
#define CP_BASE_MEM_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define CP_CACHE_LINE      64
#define CP_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* *out = a * b (or a + b); false, with *out untouched, when it does not fit. */
static inline bool cp_size_mul(size_t a, size_t b, size_t *out) {
    size_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

static inline bool cp_size_add(size_t a, size_t b, size_t *out) {
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

/* n elements of `size` bytes, zeroed, aligned to a cache line; NULL on overflow or when there is
 * none. Freed with free(). */
void *cp_alloc_aligned(size_t n, size_t size) CP_MUST_CHECK;

/* Grows *array (elements of `size` bytes, capacity *cap) to hold at least `need`, by doubling.
 * False leaves everything as it was. */
bool cp_grow(void **array, size_t *cap, size_t need, size_t size) CP_MUST_CHECK;

/* A copy of `n` bytes with a NUL behind them; NULL when there is no memory. */
char *cp_copy_bytes(const char *bytes, size_t n) CP_MUST_CHECK;

/* Zero-filled pages from the kernel, for buffers that are large and filled slowly (KV cache): pages
 * that were never touched cost nothing. Not in core dumps. NULL when there is no memory. */
void *cp_pages_alloc(size_t bytes) CP_MUST_CHECK;
void cp_pages_free(void *pages, size_t bytes);
/* A wish for large pages, where many of them are read at random: up to 2 MiB more may be held. */
void cp_pages_want_large(void *pages, size_t bytes);
/* Zeroes a part of such pages; whole pages in it go back to the kernel. */
void cp_pages_clear(void *bytes, size_t n);

#endif
