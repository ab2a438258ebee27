#include "tests/npy.h"

#include "tests/test.h"

#include <math.h>

#define DATA_AT 128

float *test_read_npy(const char *path, size_t *n) {
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: cannot open", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long bytes = ftell(file) - DATA_AT;
    assert_true(bytes > 0 && bytes % 4 == 0);
    assert_int_equal(fseek(file, DATA_AT, SEEK_SET), 0);
    float *values = malloc((size_t)bytes);
    assert_non_null(values);
    *n = (size_t)bytes / 4;
    assert_int_equal(fread(values, 4, *n, file), *n);
    fclose(file);
    return values;
}

void test_close_to(const char *what, const float *actual, const float *expected, size_t n,
                   double tolerance) {
    double largest = 0, worst = -1;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        double gap = fabs((double)actual[i] - expected[i]);
        largest = fmax(largest, fabs(expected[i]));
        if (!(gap <= worst)) { /* a NaN counts as the worst */
            worst = gap;
            at = i;
        }
    }
    if (!(worst <= tolerance * largest))
        fail_msg("%s: value %zu is %.9g, expected %.9g; allowed difference %.3g", what, at,
                 actual[at], expected[at], tolerance * largest);
}
