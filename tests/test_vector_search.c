/* Nearest vectors: products on every instruction set against plain sums, hits against a sort of all
 * scores, with any number of threads. The seed is printed; CP_TEST_SEED repeats a run. */
#include "tests/test.h"

#include "engine/kernels/kernels.h"
#include "engine/vector_search.h"

#include <math.h>
#include <time.h>

#define WIDTH 96
#define ROWS  90000 /* enough for four threads */

static uint64_t seed;

static void begin_random(void) {
    const char *given = getenv("CP_TEST_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("             seed %llu\n", (unsigned long long)seed);
}

static size_t draw(size_t n) {
    return (size_t)(test_random(&seed) % n);
}

/* Whole bytes, and with `extreme` only -128, -127 and 127: the largest sums, and the products that
 * saturate where two are added in 16 bits. */
static void draw_bytes(int8_t *out, size_t n, bool extreme) {
    static const int8_t ends[] = {-128, 127, -127};
    for (size_t i = 0; i < n; i++)
        out[i] = extreme ? ends[draw(3)] : (int8_t)((int)draw(256) - 128);
}

static void products_are_exact_everywhere(void **state) {
    (void)state;
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
    static int8_t rows[9 * CP_VECTOR_MAX_WIDTH + 64], query[CP_VECTOR_MAX_WIDTH + 64];
    begin_random();
    for (int round = 0; round < 300; round++) {
        size_t n = draw(10), from = draw(64), query_from = draw(64);
        size_t width = round % 3 ? draw(200) + 1 : draw(CP_VECTOR_MAX_WIDTH) + 1;
        width = round % 50 ? width : CP_VECTOR_MAX_WIDTH;
        draw_bytes(rows, sizeof rows, round % 2);
        draw_bytes(query, sizeof query, round % 2);
        if (round == 0) { /* the largest that there is */
            memset(rows, -128, sizeof rows);
            memset(query, -128, sizeof query);
        }
        for (size_t k = 0; k < 4; k++) {
            const cp_kernels *table;
            int32_t out[11];
            if (cp_kernels_choose(isas[k], &table, NULL) != CP_OK)
                continue;
            for (size_t i = 0; i < 11; i++)
                out[i] = 77;
            table->int8_dots(rows + from, n, width, query + query_from, out + 1);
            assert_true(out[0] == 77 && out[n + 1] == 77);
            for (size_t r = 0; r < n; r++) {
                int32_t sum = 0;
                for (size_t i = 0; i < width; i++)
                    sum += rows[from + r * width + i] * query[query_from + i];
                if (out[r + 1] != sum)
                    fail_msg("%s: row %zu of width %zu is %d, expected %d", isas[k], r, width,
                             out[r + 1], sum);
            }
        }
    }
}

/* ---- searching ------------------------------------------------------------------------------- */

static int8_t values[ROWS * WIDTH], query[WIDTH];
static float scales[ROWS];
static bool skipped[ROWS];
static cp_vector_hit expected[ROWS];

static bool leave_out(const void *user, size_t row) {
    (void)user;
    return skipped[row];
}

static int by_score(const void *a, const void *b) {
    const cp_vector_hit *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Few values and scales, so that many scores are equal. */
static void draw_rows(void) {
    begin_random();
    for (size_t i = 0; i < sizeof values; i++)
        values[i] = (int8_t)((int)draw(3) - 1);
    for (size_t i = 0; i < WIDTH; i++)
        query[i] = (int8_t)((int)draw(3) - 1);
    for (size_t i = 0; i < ROWS; i++) {
        scales[i] = draw(100) ? 0.5f : draw(2) ? 1 : NAN;
        skipped[i] = draw(10) == 0 || (i / 1000) % 4 == 1;
    }
}

/* All scores, sorted; how many there are. */
static size_t sort_all(const cp_vector_scan *scan, float query_scale) {
    size_t n = 0;
    for (size_t row = scan->begin; row < scan->end; row++) {
        int32_t sum = 0;
        for (size_t i = 0; i < WIDTH; i++)
            sum += values[row * WIDTH + i] * query[i];
        float score = (float)sum * (scales[row] * query_scale);
        if (!isnan(score) && !(scan->is_left_out && skipped[row]))
            expected[n++] = (cp_vector_hit){row, score};
    }
    qsort(expected, n, sizeof *expected, by_score);
    return n;
}

static void check_search(const cp_vector_scan *scan, size_t n_threads, size_t k, size_t n_all) {
    static cp_vector_hit hits[2000];
    cp_error err;
    size_t n;
    assert_cp_ok(cp_vector_search(scan, query, 0.25f, n_threads, k, hits, &n, &err));
    assert_int_equal(n, k < n_all ? k : n_all);
    for (size_t i = 0; i < n; i++)
        if (hits[i].row != expected[i].row || hits[i].score != expected[i].score)
            fail_msg("hit %zu of %zu with %zu threads is row %zu (%g), expected %zu (%g)", i, k,
                     n_threads, hits[i].row, (double)hits[i].score, expected[i].row,
                     (double)expected[i].score);
}

static void hits_are_the_first_of_all(void **state) {
    (void)state;
    static const size_t ks[] = {1, 7, 1999};
    draw_rows();
    cp_vector_scan scan = {.values = values, .scales = scales, .width = WIDTH};
    const struct {
        size_t begin, end;
    } ranges[] = {{0, ROWS}, {1, 1}, {5, 6}, {63, 129}, {1000, 1500}, {17, ROWS - 3}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        for (int filtered = 0; filtered < 2; filtered++) {
            scan.begin = ranges[i].begin;
            scan.end = ranges[i].end;
            scan.is_left_out = filtered ? leave_out : NULL;
            size_t n_all = sort_all(&scan, 0.25f);
            for (size_t k = 0; k < sizeof ks / sizeof *ks; k++)
                for (size_t n_threads = 1; n_threads <= 4; n_threads++)
                    check_search(&scan, n_threads, ks[k], n_all);
        }
}

static void every_instruction_set_finds_the_same(void **state) {
    (void)state;
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
    const cp_kernels *table;
    draw_rows();
    cp_vector_scan scan = {.values = values, .scales = scales, .width = WIDTH, .end = 9000};
    size_t n_all = sort_all(&scan, 0.25f);
    for (size_t i = 0; i < 4; i++)
        if (cp_kernels_choose(isas[i], &table, NULL) == CP_OK) {
            setenv("CAREPATH_ISA", isas[i], 1);
            check_search(&scan, 2, 50, n_all);
        }
    unsetenv("CAREPATH_ISA");
}

static void what_cannot_be_searched_is_told(void **state) {
    (void)state;
    cp_vector_scan scan = {.values = values, .scales = scales, .width = WIDTH, .end = 10};
    cp_vector_hit hits[1];
    cp_error err;
    size_t n = 9;
    assert_cp_ok(cp_vector_search(&scan, query, 1, 2, 0, hits, &n, &err));
    assert_int_equal(n, 0);
    assert_int_equal(cp_vector_search(&scan, query, 1, 2, CP_VECTOR_MAX_HITS + 1, hits, &n, &err),
                     CP_ERR_USAGE);
    assert_non_null(strstr(err.message, "65537"));
    assert_int_equal(cp_vector_search(&scan, query, 1, 0, 1, hits, &n, &err), CP_ERR_USAGE);
    for (size_t width = 0; width <= CP_VECTOR_MAX_WIDTH + 1; width += CP_VECTOR_MAX_WIDTH + 1) {
        scan.width = width;
        assert_int_equal(cp_vector_search(&scan, query, 1, 2, 1, hits, &n, &err), CP_ERR_USAGE);
        assert_non_null(strstr(err.message, "expected 1 to 4096"));
    }
}

/* Each allocation of a search failed in turn. */
static void searching_without_memory_is_told(void **state) {
    (void)state;
    cp_vector_scan scan = {.values = values, .scales = scales, .width = WIDTH, .end = ROWS};
    cp_vector_hit hits[5];
    cp_error err = {0};
    size_t n, failed = 0;
    for (long at = 1; at < 20; at++) {
        test_alloc_fail_at(at, 0);
        cp_status status = cp_vector_search(&scan, query, 1, 3, 5, hits, &n, &err);
        test_alloc_fail_at(0, 0);
        if (status == CP_OK)
            break;
        assert_int_equal(status, CP_ERR_NO_MEMORY);
        failed++;
    }
    assert_true(failed >= 3);
}

/* ---- vectors --------------------------------------------------------------------------------- */

static void rounding_is_to_nearest_even(void **state) {
    (void)state;
    const float v[] = {127, 2.5f, 3.5f, -2.5f, -126.6f, 0, 0.5f, -127};
    const int8_t want[] = {127, 2, 4, -2, -127, 0, 0, -127};
    int8_t out[8];
    float scale;
    cp_vector_quantize(v, 8, out, &scale);
    assert_true(scale == 1);
    assert_memory_equal(out, want, 8);
}

static void quantized_vectors_are_close(void **state) {
    (void)state;
    float v[1024], scale;
    int8_t out[1024];
    begin_random();
    for (int round = 0; round < 20; round++) {
        double error = 0;
        for (size_t i = 0; i < 1024; i++)
            v[i] = (float)((double)draw(2001) - 1000) * (round % 2 ? 1e-20f : 1e10f);
        cp_vector_truncate(v, 1024);
        cp_vector_quantize(v, 1024, out, &scale);
        for (size_t i = 0; i < 1024; i++) {
            assert_true(out[i] >= -127);
            error = fmax(error, fabs((double)v[i] - (double)((float)out[i] * scale)));
        }
        assert_true(error <= (double)scale * 0.5001 && scale > 0);
    }
}

static void vectors_without_length_become_zeros(void **state) {
    (void)state;
    const float bad[][3] = {{0, 0, 0}, {1, NAN, 2}, {NAN, 5, 6}, {1, 2, INFINITY}, {1e-40f, 0, 0}};
    const int8_t zeros[3] = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int8_t out[3];
        float scale, v[3];
        cp_vector_quantize(bad[i], 3, out, &scale);
        assert_memory_equal(out, zeros, 3);
        assert_true(scale == 0);
        memcpy(v, bad[i], sizeof v);
        cp_vector_truncate(v, 3);
        if (i < 4)
            assert_true(v[0] == 0 && v[1] == 0 && v[2] == 0);
    }
}

static void fewer_dimensions_have_length_one(void **state) {
    (void)state;
    float v[] = {3, 4, 12, 7};
    cp_vector_truncate(v, 2);
    assert_true(v[0] == 0.6f && v[1] == 0.8f);
    assert_true(v[2] == 12 && v[3] == 7); /* not its own to change */
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(products_are_exact_everywhere),
    cmocka_unit_test(hits_are_the_first_of_all),
    cmocka_unit_test(every_instruction_set_finds_the_same),
    cmocka_unit_test(what_cannot_be_searched_is_told),
    cmocka_unit_test(searching_without_memory_is_told),
    cmocka_unit_test(rounding_is_to_nearest_even),
    cmocka_unit_test(quantized_vectors_are_close),
    cmocka_unit_test(vectors_without_length_become_zeros),
    cmocka_unit_test(fewer_dimensions_have_length_one),
};
CP_TEST_GROUP(vector_search, tests)
