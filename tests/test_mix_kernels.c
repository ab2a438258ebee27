/* Attention's weighted sums: every instruction set against scalar, bit for bit, and scalar against
 * the plain definition. The seed is printed; CP_TEST_SEED repeats a run. */
#include "tests/test.h"

#include "engine/kernels/kernels.h"
#include "engine/kernels/lanes.h"
#include "engine/kernels/mix_kernels.h"

#include <math.h>
#include <time.h>

#define MAX_WIDTH     192
#define MAX_POSITIONS 90
#define MAX_QUERIES   5
#define GUARD         32

static uint64_t seed;

static float random_float(void) {
    return (float)((double)(test_random(&seed) >> 11) * 0x1p-53 * 4 - 2);
}

typedef struct input {
    size_t n, width, row, stride, n_queries;
    bool go_on; /* from `start` */
    float start;
    float weights[MAX_QUERIES * (MAX_POSITIONS + 7)];
    float f32[MAX_POSITIONS * MAX_WIDTH];
    uint16_t f16[MAX_POSITIONS * MAX_WIDTH];
    int8_t int8[MAX_POSITIONS * MAX_WIDTH];
    float scales[MAX_POSITIONS * MAX_WIDTH / 32];
} input;

static void draw(input *in) {
    in->n = test_random(&seed) % MAX_POSITIONS + 1;
    in->width = test_random(&seed) % (MAX_WIDTH - 32) + 1;
    in->row = (in->width + 31) / 32 * 32;
    in->stride = in->n + test_random(&seed) % 7;
    in->n_queries = test_random(&seed) % MAX_QUERIES + 1;
    in->go_on = test_random(&seed) % 2;
    in->start = random_float();
    for (size_t i = 0; i < sizeof in->weights / sizeof in->weights[0]; i++)
        in->weights[i] = fabsf(random_float());
    for (size_t i = 0; i < MAX_POSITIONS * MAX_WIDTH; i++) {
        in->f32[i] = random_float();
        in->f16[i] = (uint16_t)(test_random(&seed) & 0xbbff); /* finite */
        in->int8[i] = (int8_t)((int)(test_random(&seed) % 255) - 127);
    }
    for (size_t i = 0; i < sizeof in->scales / sizeof in->scales[0]; i++)
        in->scales[i] = fabsf(random_float()) / 100;
}

/* Runs one kind of a table into out, with NaN around the result. */
static void run(const cp_mix_kernels *k, int kind, const input *in, float *out) {
    size_t n_out = in->n_queries * in->width;
    for (size_t i = 0; i < n_out + 2 * GUARD; i++)
        out[i] = NAN;
    for (size_t i = 0; i < n_out && in->go_on; i++)
        out[GUARD + i] = in->start;
    if (kind == 0)
        k->f32(in->f32, in->n, in->width, in->weights, in->stride, in->n_queries, in->go_on,
               out + GUARD);
    else if (kind == 1)
        k->f16(in->f16, in->n, in->width, in->weights, in->stride, in->n_queries, in->go_on,
               out + GUARD);
    else
        k->int8(in->int8, in->scales, in->n, in->width, in->row, in->weights, in->stride,
                in->n_queries, in->go_on, out + GUARD);
    for (size_t i = 0; i < GUARD; i++)
        assert_true(isnan(out[i]) && isnan(out[GUARD + n_out + i]));
}

static float plain(int kind, const input *in, size_t q, size_t d) {
    float acc = in->go_on ? in->start : 0;
    for (size_t p = 0; p < in->n; p++) {
        float weight = in->weights[q * in->stride + p];
        if (kind == 0)
            acc = fmaf(weight, in->f32[p * in->width + d], acc);
        else if (kind == 1)
            acc = fmaf(weight, cp_float_of_f16(in->f16[p * in->width + d]), acc);
        else
            acc = fmaf(weight * in->scales[p * in->row / 32 + d / 32],
                       (float)in->int8[p * in->row + d], acc);
    }
    return acc;
}

static void every_table_equals_the_definition(void **state) {
    (void)state;
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
    static input in;
    static float out[MAX_QUERIES * MAX_WIDTH + 2 * GUARD];
    const char *given = getenv("CP_TEST_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("             seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 60; round++) {
        draw(&in);
        for (size_t i = 0; i < 4; i++) {
            const cp_kernels *table;
            if (cp_kernels_choose(isas[i], &table, NULL) != CP_OK)
                continue;
            for (int kind = 0; kind < 3; kind++) {
                run(cp_mix_kernels_for(isas[i]), kind, &in, out);
                for (size_t q = 0; q < in.n_queries; q++)
                    for (size_t d = 0; d < in.width; d++) {
                        float want = plain(kind, &in, q, d);
                        if (memcmp(&want, &out[GUARD + q * in.width + d], sizeof want) != 0)
                            fail_msg("%s kind %d: query %zu dimension %zu is %a, expected %a",
                                     isas[i], kind, q, d, out[GUARD + q * in.width + d], want);
                    }
            }
        }
    }
}

/* Scores are gemv's, key by key, whatever the number of queries. */
static void scores_equal_single_products(void **state) {
    (void)state;
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
    static input in;
    static float queries[MAX_QUERIES * MAX_WIDTH], scores[MAX_QUERIES * (MAX_POSITIONS + 7)],
        one[MAX_POSITIONS];
    const cp_kernels *scalar = cp_kernels_scalar();
    seed = 99;
    for (int round = 0; round < 60; round++) {
        draw(&in);
        for (size_t i = 0; i < MAX_QUERIES * MAX_WIDTH; i++)
            queries[i] = random_float();
        for (size_t i = 0; i < 4; i++) {
            const cp_kernels *table;
            if (cp_kernels_choose(isas[i], &table, NULL) != CP_OK)
                continue;
            for (cp_dtype kind = CP_F32; kind <= CP_F16; kind++) {
                const void *keys = kind == CP_F32 ? (const void *)in.f32 : in.f16;
                const cp_mix_kernels *mix = cp_mix_kernels_for(isas[i]);
                (kind == CP_F32 ? mix->score_f32 : mix->score_f16)(keys, in.n, in.width, queries,
                                                                   in.n_queries, scores, in.stride);
                for (size_t q = 0; q < in.n_queries; q++) {
                    scalar->gemv[kind](keys, in.n, in.width, queries + q * in.width, one);
                    assert_memory_equal(one, scores + q * in.stride, in.n * sizeof *one);
                }
            }
        }
    }
}

/* Every float whose neighbourhood decides a rounding: halves and their midpoints, one bit either
 * side. */
static void narrowing_rounds_to_nearest_even(void **state) {
    (void)state;
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float low = cp_float_of_f16((uint16_t)h), high = cp_float_of_f16((uint16_t)(h + 1));
        if (h + 1 == 0x7c00)
            high = 65536; /* where infinity would stand */
        float middle = (float)(((double)low + high) / 2);
        assert_int_equal(cp_f16_of_float(low), h);
        assert_int_equal(cp_f16_of_float(-low), h | 0x8000);
        assert_int_equal(cp_f16_of_float(nextafterf(middle, 0)), h);
        assert_int_equal(cp_f16_of_float(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(cp_f16_of_float(middle), h % 2 ? h + 1 : h);
    }
    for (size_t i = 1; i < 4; i++) {
        const cp_kernels *table;
        if (cp_kernels_choose(isas[i], &table, NULL) != CP_OK)
            continue;
        for (int round = 0; round < 2000; round++) {
            float x[37];
            uint16_t narrow[37];
            for (size_t k = 0; k < 37; k++) {
                uint32_t bits = (uint32_t)test_random(&seed);
                x[k] = (bits & 0x7f800000) == 0x7f800000 ? INFINITY : cp_float_of_bits(bits);
            }
            cp_mix_kernels_for(isas[i])->to_f16(x, 37, narrow);
            for (size_t k = 0; k < 37; k++)
                assert_int_equal(narrow[k], cp_f16_of_float(x[k]));
        }
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_table_equals_the_definition),
    cmocka_unit_test(scores_equal_single_products),
    cmocka_unit_test(narrowing_rounds_to_nearest_even),
};
CP_TEST_GROUP(mix_kernels, tests)
