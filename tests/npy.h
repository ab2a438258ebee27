/* The reference arrays: .npy files of little-endian float32 with their data at byte 128. */
#ifndef CP_TESTS_NPY_H
#define CP_TESTS_NPY_H

#include <stddef.h>

/* The values, *n of them; free(). Asserts that the file is there. */
float *test_read_npy(const char *path, size_t *n);
/* Asserts that n values agree within `tolerance` x the largest expected one; shows the worst. */
void test_close_to(const char *what, const float *actual, const float *expected, size_t n,
                   double tolerance);

#endif
