/* Stands in front of our allocations (linked with --wrap): counts them, and fails the chosen one.
 */
#include "tests/test.h"

#include <stdatomic.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);
char *__wrap_strdup(const char *text);

static atomic_long countdown; /* 0: off */
static atomic_int persistent;
static atomic_long count;

void test_alloc_fail_at(long n, int persist) {
    atomic_store(&persistent, persist);
    atomic_store(&countdown, n);
}

long test_alloc_count(void) {
    return atomic_load(&count);
}

void test_alloc_reset(void) {
    atomic_store(&count, 0);
}

static int must_fail(void) {
    atomic_fetch_add(&count, 1);
    if (atomic_load(&countdown) == 0)
        return 0;
    if (atomic_load(&countdown) == 1) {
        if (!atomic_load(&persistent))
            atomic_store(&countdown, 0);
        return 1;
    }
    atomic_fetch_sub(&countdown, 1);
    return 0;
}

void *__wrap_malloc(size_t n) {
    return must_fail() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    return must_fail() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t n) {
    return must_fail() ? NULL : __real_realloc(old, n);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n) {
    return must_fail() ? NULL : __real_aligned_alloc(alignment, n);
}

char *__wrap_strdup(const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = __wrap_malloc(n);
    return copy ? memcpy(copy, text, n) : NULL;
}
