#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *cp_alloc_aligned(size_t n, size_t size) {
    size_t bytes;
    if (!cp_size_mul(n, size, &bytes) || !cp_size_add(bytes, CP_CACHE_LINE - 1, &bytes))
        return NULL;
    bytes &= ~(size_t)(CP_CACHE_LINE - 1);
    if (bytes == 0)
        bytes = CP_CACHE_LINE;
    void *block = aligned_alloc(CP_CACHE_LINE, bytes);
    if (block)
        memset(block, 0, bytes);
    return block;
}

bool cp_grow(void **array, size_t *cap, size_t need, size_t size) {
    if (need <= *cap)
        return true;
    size_t wanted = *cap ? *cap : 16, bytes;
    while (wanted < need)
        if (!cp_size_mul(wanted, 2, &wanted))
            return false;
    if (!cp_size_mul(wanted, size, &bytes))
        return false;
    void *grown = realloc(*array, bytes);
    if (!grown)
        return false;
    *array = grown;
    *cap = wanted;
    return true;
}

char *cp_copy_bytes(const char *bytes, size_t n) {
    size_t with_nul;
    if (!cp_size_add(n, 1, &with_nul))
        return NULL;
    char *copy = malloc(with_nul);
    if (!copy)
        return NULL;
    memcpy(copy, bytes, n);
    copy[n] = '\0';
    return copy;
}

void *cp_pages_alloc(size_t bytes) {
    if (bytes == 0)
        return NULL;
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED)
        return NULL;
    (void)madvise(pages, bytes, MADV_DONTDUMP); /* a hint: older kernels may refuse it */
    return pages;
}

void cp_pages_free(void *pages, size_t bytes) {
    if (pages)
        munmap(pages, bytes);
}

void cp_pages_want_large(void *pages, size_t bytes) {
    (void)madvise(pages, bytes, MADV_HUGEPAGE);
}

void cp_pages_clear(void *bytes, size_t n) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *begin = bytes, *end = begin + n;
    size_t before = (page - (uintptr_t)begin % page) % page, behind = (uintptr_t)end % page;
    bool has_whole = n > before && n - before >= page;
    if (!has_whole || madvise(begin + before, n - before - behind, MADV_DONTNEED) != 0) {
        memset(begin, 0, n);
        return;
    }
    memset(begin, 0, before);
    memset(end - behind, 0, behind);
}
