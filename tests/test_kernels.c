/* Every instruction set's kernels against scalar, bit for bit: ragged sizes, misaligned pointers,
 * extreme values, and guard bands of NaN around every output. The seed is printed; CP_TEST_SEED
 * repeats a run. */
#include "tests/test.h"

#include "engine/kernels/kernels.h"
#include "engine/kernels/lanes.h"
#include "engine/mathfn.h"

#include <math.h>
#include <time.h>

#define MAX_N  700
#define GUARD  32
#define ROUNDS 300

static uint64_t seed;

static float random_float(int extreme) {
    uint64_t r = test_random(&seed);
    if (extreme && r % 16 == 0)
        return (r >> 8 & 1) ? 3e18f : -1e-30f;
    return (float)((double)(r >> 11) * 0x1p-53 * 8 - 4);
}

static void fill(float *out, size_t n, int extreme) {
    for (size_t i = 0; i < n; i++)
        out[i] = random_float(extreme);
}

/* An output buffer with NaN on both sides of its n values, at any of 16 misalignments. */
typedef struct guarded {
    float memory[2 * GUARD + MAX_N + 16];
    float *at;
    size_t n;
} guarded;

static void guard(guarded *g, size_t n, size_t shift) {
    for (size_t i = 0; i < sizeof g->memory / sizeof g->memory[0]; i++)
        g->memory[i] = NAN;
    g->at = g->memory + GUARD + shift;
    g->n = n;
}

static void check_guard(const char *what, const guarded *g) {
    for (const float *p = g->memory; p < g->at; p++)
        if (!isnan(*p))
            fail_msg("%s wrote before its output (n = %zu)", what, g->n);
    for (const float *p = g->at + g->n; p < g->memory + sizeof g->memory / sizeof g->memory[0]; p++)
        if (!isnan(*p))
            fail_msg("%s wrote behind its output (n = %zu)", what, g->n);
}

static void same_bits(const char *what, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
            fail_msg("%s: value %zu of %zu is %a, scalar has %a", what, i, n, a[i], b[i]);
}

static void compare_vectors(const cp_kernels *k, const cp_kernels *scalar) {
    static float a[MAX_N + 16], b[MAX_N + 16], c[MAX_N + 16];
    static guarded mine, theirs;
    size_t n = test_random(&seed) % (MAX_N / 2) + 1, shift = test_random(&seed) % 16;
    int extreme = test_random(&seed) % 4 == 0;
    fill(a, MAX_N + 16, extreme);
    fill(b, MAX_N + 16, extreme);
    fill(c, MAX_N + 16, 0);
    float dots[2] = {k->dot(a + shift, b, n), scalar->dot(a + shift, b, n)};
    same_bits("dot", dots, dots + 1, 1);

    const cp_kernels *both[2] = {k, scalar};
    guarded *out[2] = {&mine, &theirs};
#define COMPARE(name, size, prepare, call)                                                         \
    for (int i = 0; i < 2; i++) {                                                                  \
        const cp_kernels *t = both[i];                                                             \
        guard(out[i], size, shift);                                                                \
        float *y = out[i]->at;                                                                     \
        prepare;                                                                                   \
        call;                                                                                      \
        check_guard(name, out[i]);                                                                 \
    }                                                                                              \
    same_bits(name, mine.at, theirs.at, size)

    COMPARE("axpy", n, memcpy(y, c, n * sizeof *y), t->axpy(a[0], b + shift, y, n));
    COMPARE("rms_norm", n, (void)0, t->rms_norm(a + shift, b, 1e-6f, n, y));
    COMPARE("rope", 2 * n, memcpy(y, c, 2 * n * sizeof *y), t->rope(y, a + shift, b, n));
    COMPARE("softmax", n, memcpy(y, a, n * sizeof *y), t->softmax(y, n));
    COMPARE("swiglu", n, (void)0, t->swiglu(a, b + shift, n, y));
}

static void compare_matrices(const cp_kernels *k, const cp_kernels *scalar, cp_dtype dtype) {
    static unsigned char w[9 * MAX_N * 4 + 16];
    static float x[MAX_N + 16];
    static guarded mine, theirs;
    size_t cols = test_random(&seed) % 200 + 1, rows = test_random(&seed) % 9 + 1;
    size_t odd = test_random(&seed) % 3; /* weights lie at any byte */
    for (size_t i = 0; i < rows * cols; i++) {
        float value = random_float(0);
        uint32_t bits;
        memcpy(&bits, &value, 4);
        uint16_t half =
            dtype == CP_BF16 ? (uint16_t)(bits >> 16) : (uint16_t)(test_random(&seed) & 0xbfff);
        if (dtype == CP_F32)
            memcpy(w + odd + 4 * i, &value, 4);
        else
            memcpy(w + odd + 2 * i, &half, 2);
    }
    fill(x, MAX_N + 16, 0);
    const cp_kernels *both[2] = {k, scalar};
    guarded *out[2] = {&mine, &theirs};
    size_t shift = test_random(&seed) % 16;
    COMPARE("gemv", rows, (void)0, t->gemv[dtype](w + odd, rows, cols, x + shift, y));
    COMPARE("widen", cols, (void)0, t->widen[dtype](w + odd, cols, y));
}

static void every_table_equals_scalar(void **state) {
    (void)state;
    const char *given = getenv("CP_TEST_SEED");
    static const char *const names[] = {"avx512", "avx2", "neon"};
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("             seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const cp_kernels *table;
        cp_error err;
        if (cp_kernels_choose(names[i], &table, &err) != CP_OK) {
            printf("             not on this machine: %s\n", names[i]);
            continue;
        }
        assert_string_equal(table->name, names[i]);
        for (int round = 0; round < ROUNDS; round++) {
            compare_vectors(table, cp_kernels_scalar());
            for (cp_dtype d = CP_F32; d < CP_N_FLOAT_DTYPES; d++)
                compare_matrices(table, cp_kernels_scalar(), d);
        }
    }
}

static void an_unknown_isa_is_refused(void **state) {
    (void)state;
    const cp_kernels *table;
    cp_error err;
    assert_int_equal(cp_kernels_choose("mmx", &table, &err), CP_ERR_USAGE);
    assert_non_null(strstr(err.message, "mmx"));
}

/* Every one of the 65,536 halves, against the definition by powers of two. */
static void half_precision_is_exact(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        int exponent = (int)(h >> 10 & 31), fraction = (int)(h & 1023);
        double want = exponent == 31 ? (fraction ? NAN : INFINITY)
                      : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                     : ldexp(fraction, -24);
        float got = cp_float_of_f16((uint16_t)h);
        want = h & 0x8000 ? -want : want;
        assert_true(isnan(want) ? isnan(got)
                                : got == (float)want && signbit(got) == signbit((float)want));
    }
}

static void own_functions_are_accurate(void **state) {
    (void)state;
    uint64_t s = 11;
    for (int i = 0; i < 200000; i++) {
        double u = (double)(test_random(&s) >> 11) * 0x1p-53;
        double x = (u - 0.5) * 1200, angle = u * 300000, positive = exp((u - 0.5) * 100);
        double sine, cosine;
        assert_true(fabs(cp_exp(x) - exp(x)) <= 2e-15 * exp(x));
        assert_true(fabs(cp_log(positive) - log(positive)) <= 1e-14 * fmax(1, fabs(log(positive))));
        cp_sincos(angle, &sine, &cosine);
        assert_true(fabs(sine - sin(angle)) < 1e-13 && fabs(cosine - cos(angle)) < 1e-13);
        float f = (float)((u - 0.5) * 170);
        assert_true(fabs(cp_expf(f) - exp(f)) <= 4e-7 * exp(f));
    }
    assert_true(cp_exp(-1e9) == 0 && isinf(cp_exp(1e9)) && isnan(cp_exp(NAN)));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_table_equals_scalar),
    cmocka_unit_test(an_unknown_isa_is_refused),
    cmocka_unit_test(half_precision_is_exact),
    cmocka_unit_test(own_functions_are_accurate),
};
CP_TEST_GROUP(kernels, tests)
