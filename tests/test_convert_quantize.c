/* Float32 to quantized tiles: against definitions computed here, naively and in double. */
#include "tests/test.h"

#include "convert/quantize.h"

#include <math.h>

#define MAX_COLS 200
#define N_ROWS   CP_TILE_ROWS

static double uniform(uint64_t *random) {
    return ((double)(test_random(random) >> 11) + 0.5) * 0x1p-53;
}

static double normal(uint64_t *random) {
    return sqrt(-2 * log(uniform(random))) * cos(6.283185307179586 * uniform(random));
}

/* Weights as they occur and as they should not: by the draw's number. */
static void draw_rows(uint64_t *random, size_t draw, float *rows, size_t n) {
    double scale = pow(10, -5 + 6 * uniform(random));
    for (size_t i = 0; i < n; i++) {
        double x = normal(random);
        switch (draw % 6) {
        case 1: /* heavy tails */
            x = x * x * x;
            break;
        case 2: /* mostly zeros */
            x = uniform(random) < 0.9 ? 0 : x;
            break;
        case 3: /* equal magnitudes */
            x = x < 0 ? -1 : 1;
            break;
        case 4: /* one-sided, so that the sign of the scale matters */
            x = fabs(x);
            break;
        default:
            break;
        }
        rows[i] = (float)(x * scale);
    }
}

static double least_integer(cp_quant quant) {
    return quant == CP_INT8 ? -127 : -cp_quant_bias(quant);
}
static double largest_integer(cp_quant quant) {
    return quant == CP_INT8 ? 127 : cp_quant_bias(quant) - 1;
}

/* The group of `row` at column `at`, padded with zeros. */
static void group_of(const float *rows, size_t cols, size_t row, size_t at, double w[CP_GROUP]) {
    for (size_t i = 0; i < CP_GROUP; i++)
        w[i] = at + i < cols ? (double)rows[row * cols + at + i] : 0;
}

static double scale_at(cp_quant quant, const void *tile, size_t row, size_t at,
                       int8_t values[CP_GROUP]) {
    uint16_t half;
    cp_quant_unpack(quant, (const char *)tile + at / CP_SUPER * cp_quant_super_bytes(quant), row,
                    at / CP_GROUP % CP_GROUPS_A_SUPER, values, &half);
    return (double)cp_float_of_half(half);
}

/* What a weight's squared error counts (convert/quantize.h). */
static void count(const double w[CP_GROUP], double counts[CP_GROUP]) {
    double energy = 0;
    for (size_t i = 0; i < CP_GROUP; i++)
        energy += w[i] * w[i];
    for (size_t i = 0; i < CP_GROUP; i++)
        counts[i] = sqrt(energy / CP_GROUP) + fabs(w[i]);
}

/* The squared errors, as they count, when w is rounded onto this scale. */
static double cost_at(cp_quant quant, const double w[CP_GROUP], double scale) {
    double sum = 0, counts[CP_GROUP];
    count(w, counts);
    for (size_t i = 0; i < CP_GROUP; i++) {
        double q = scale != 0 ? rint(w[i] / scale) : 0;
        q = fmin(fmax(q, least_integer(quant)), largest_integer(quant));
        sum += counts[i] * (w[i] - q * scale) * (w[i] - q * scale);
    }
    return sum;
}

/* ---- half precision ---------------------------------------------------------------------------
 */

static void every_half_survives_the_way_through_float(void **state) {
    (void)state;
    for (uint32_t half = 0; half < 0x10000; half++) {
        uint16_t back = cp_half_of_float(cp_float_of_half((uint16_t)half));
        if ((half & 0x7fff) > 0x7c00)
            assert_true((back & 0x7fff) > 0x7c00);
        else
            assert_int_equal(back, half);
    }
}

/* Between two neighbours the nearer one is taken, halfway the even one. */
static void floats_round_to_the_nearest_half(void **state) {
    (void)state;
    for (uint16_t half = 0; half < 0x7bff; half++) {
        double low = (double)cp_float_of_half(half),
               high = (double)cp_float_of_half((uint16_t)(half + 1));
        float middle = (float)((low + high) / 2);
        assert_int_equal(cp_half_of_float(nextafterf(middle, 0)), half);
        assert_int_equal(cp_half_of_float(nextafterf(middle, 1e9f)), half + 1);
        assert_int_equal(cp_half_of_float(middle), half % 2 ? half + 1 : half);
        assert_int_equal(cp_half_of_float(-middle), 0x8000 | (half % 2 ? half + 1 : half));
    }
    assert_int_equal(cp_half_of_float(65519.0f), 0x7bff);
    assert_int_equal(cp_half_of_float(65520.0f), 0x7c00);
    assert_int_equal(cp_half_of_float(1e30f), 0x7c00);
}

static void floats_round_to_the_nearest_bfloat(void **state) {
    (void)state;
    static const struct {
        uint32_t bits;
        uint16_t want;
    } cases[] = {{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81},
                 {0x3f818000, 0x3f82}, {0xbf817fff, 0xbf81}, {0x7f7fffff, 0x7f80},
                 {0x7f800000, 0x7f80}, {0x7f800001, 0x7fc0}, {0x00008001, 0x0001}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float value;
        memcpy(&value, &cases[i].bits, sizeof value);
        assert_int_equal(cp_bfloat_of_float(value), cases[i].want);
    }
}

/* ---- tiles --------------------------------------------------------------------------------------
 */

/* Integers that are not at the end of their range are the nearest ones; those at the end are never
 * on the wrong side of it. */
static void check_nearest(cp_quant quant, const double w[CP_GROUP], const int8_t q[CP_GROUP],
                          double scale) {
    for (size_t i = 0; i < CP_GROUP; i++) {
        double off = w[i] - scale * q[i], half_step = fabs(scale) * 0.5 * (1 + 1e-5);
        assert_true(q[i] >= least_integer(quant) && q[i] <= largest_integer(quant));
        if (q[i] == largest_integer(quant) && scale != 0)
            assert_true(off / scale >= -0.5 * (1 + 1e-5));
        else if (q[i] == least_integer(quant) && scale != 0)
            assert_true(off / scale <= 0.5 * (1 + 1e-5));
        else if (scale != 0)
            assert_true(fabs(off) <= half_step);
    }
}

/* The plain scale: the largest weight on the largest integer, as the simplest quantizers do. */
static double plain_cost(cp_quant quant, const double w[CP_GROUP]) {
    double top = 0;
    for (size_t i = 0; i < CP_GROUP; i++)
        top = fabs(w[i]) > fabs(top) ? w[i] : top;
    float scale = (float)(top / (quant == CP_INT8 ? 127 : least_integer(quant)));
    return cost_at(quant, w, (double)cp_float_of_half(cp_half_of_float(scale)));
}

static double check_tile(cp_quant quant, const float *rows, size_t n_rows, size_t cols,
                         const void *tile) {
    double total = 0;
    for (size_t row = 0; row < N_ROWS; row++)
        for (size_t at = 0; at < cp_quant_supers(cols) * CP_SUPER; at += CP_GROUP) {
            double w[CP_GROUP] = {0}, counts[CP_GROUP], cost = 0;
            int8_t q[CP_GROUP];
            double scale = scale_at(quant, tile, row, at, q);
            if (row < n_rows)
                group_of(rows, cols, row, at, w);
            if (row >= n_rows || at >= cols)
                assert_true(scale == 0);
            check_nearest(quant, w, q, scale);
            count(w, counts);
            for (size_t i = 0; i < CP_GROUP; i++) {
                double error = (w[i] - scale * q[i]) * (w[i] - scale * q[i]);
                cost += counts[i] * error;
                total += error;
            }
            double plain = plain_cost(quant, w);
            if (cost > plain * (1 + 1e-4) + 1e-30)
                fail_msg("cost %g, the plain scale's is %g", cost, plain);
        }
    return total;
}

static void tiles_are_nearest_and_never_worse_than_plain(void **state) {
    (void)state;
    uint64_t random = 20260314;
    print_message("seed %llu\n", (unsigned long long)random);
    for (size_t draw = 0; draw < 240; draw++) {
        float rows[N_ROWS * MAX_COLS];
        unsigned char tile[4 * CP_INT8_SUPER_BYTES];
        cp_quant quant = (cp_quant)(draw % CP_N_QUANTS);
        size_t cols = 1 + test_random(&random) % MAX_COLS,
               n_rows = 1 + test_random(&random) % N_ROWS;
        draw_rows(&random, draw / CP_N_QUANTS, rows, n_rows * cols);
        cp_quantized_tile result = cp_quantize_tile(quant, rows, n_rows, cols, tile);
        assert_int_equal(result.bad_row, n_rows);
        double error = check_tile(quant, rows, n_rows, cols, tile);
        if (fabs(error - result.error) > 1e-4 * error + 1e-30)
            fail_msg("reports the error %g, it is %g", result.error, error);
    }
}

static void wider_vectors_give_the_same_bytes(void **state) {
    (void)state;
    uint64_t random = 7;
    for (size_t draw = 0; draw < 120; draw++) {
        float rows[N_ROWS * MAX_COLS];
        unsigned char a[4 * CP_INT8_SUPER_BYTES], b[4 * CP_INT8_SUPER_BYTES];
        cp_quant quant = (cp_quant)(draw % CP_N_QUANTS);
        size_t cols = 1 + test_random(&random) % MAX_COLS;
        draw_rows(&random, draw / CP_N_QUANTS, rows, N_ROWS * cols);
        cp_quantized_tile x = cp_quantize_tile(quant, rows, N_ROWS, cols, a),
                          y = cp_quantize_tile_baseline(quant, rows, N_ROWS, cols, b);
        assert_memory_equal(a, b, cp_quant_tile_bytes(quant, cols));
        assert_true(x.error == y.error && x.energy == y.energy);
    }
}

/* ---- the least error there is
 * --------------------------------------------------------------------- */

typedef struct crossing {
    double at; /* where 1 / scale makes this weight's integer one larger */
    double weight, counts;
    int integer;
} crossing;

static int by_place(const void *a, const void *b) {
    double x = ((const crossing *)a)->at, y = ((const crossing *)b)->at;
    return x < y ? -1 : x > y;
}

/* Exact, by passing over all places where any integer changes: for fixed integers q the best scale
 * leaves <w, w> - <w, q>^2 / <q, q>, each product as it counts. */
static double least_cost(cp_quant quant, const double w[CP_GROUP]) {
    static crossing places[CP_GROUP * 128];
    double energy = 0, best = 0, counts[CP_GROUP];
    count(w, counts);
    for (size_t i = 0; i < CP_GROUP; i++)
        energy += counts[i] * w[i] * w[i];
    for (int sign = -1; sign <= 1; sign += 2) {
        size_t n = 0;
        for (size_t i = 0; i < CP_GROUP; i++) {
            double x = w[i] * sign, end = x > 0 ? largest_integer(quant) : -least_integer(quant);
            for (int k = 1; x != 0 && k <= (int)end; k++)
                places[n++] = (crossing){(k - 0.5) / fabs(x), fabs(x), counts[i], k};
        }
        qsort(places, n, sizeof places[0], by_place);
        double wq = 0, qq = 0;
        for (size_t i = 0; i < n; i++) {
            wq += places[i].counts * places[i].weight;
            qq += places[i].counts * (2 * places[i].integer - 1);
            best = fmax(best, wq * wq / qq);
        }
    }
    return energy - best;
}

static void errors_are_close_to_the_least(void **state) {
    (void)state;
    uint64_t random = 99;
    static const double allowed[CP_N_QUANTS] = {
        [CP_INT8] = 1.02, [CP_INT5] = 1.002, [CP_INT4] = 1.002};
    for (cp_quant quant = 0; quant < CP_N_QUANTS; quant++) {
        double found = 0, least = 0;
        for (size_t draw = 0; draw < 20; draw++) {
            float rows[N_ROWS * CP_GROUP];
            unsigned char tile[CP_INT8_SUPER_BYTES];
            for (size_t i = 0; i < N_ROWS * CP_GROUP; i++)
                rows[i] = (float)(0.02 * normal(&random));
            (void)cp_quantize_tile(quant, rows, N_ROWS, CP_GROUP, tile);
            for (size_t row = 0; row < N_ROWS; row++) {
                double w[CP_GROUP];
                int8_t q[CP_GROUP];
                group_of(rows, CP_GROUP, row, 0, w);
                found += cost_at(quant, w, scale_at(quant, tile, row, 0, q));
                least += least_cost(quant, w);
            }
        }
        print_message("%s: %.4f of the least\n", cp_quant_name(quant), found / least);
        if (found > least * allowed[quant])
            fail_msg("%s: cost %g, the least is %g", cp_quant_name(quant), found, least);
    }
}

/* ---- what has no quantized form
 * ------------------------------------------------------------------- */

static void impossible_weights_name_their_row(void **state) {
    (void)state;
    static const float bad[] = {INFINITY, -INFINITY, NAN, 1e9f, -3e38f};
    for (size_t b = 0; b < sizeof bad / sizeof bad[0]; b++)
        for (int quant = 0; quant < CP_N_QUANTS; quant++)
            for (size_t at = 0; at < 70; at += 23) {
                float rows[4 * 70] = {0};
                unsigned char tile[2 * CP_INT8_SUPER_BYTES];
                rows[2 * 70 + at] = bad[b];
                rows[3 * 70] = bad[b];
                cp_quantized_tile result = cp_quantize_tile((cp_quant)quant, rows, 4, 70, tile);
                assert_int_equal(result.bad_row, 2);
            }
}

/* The largest weights and the smallest: still within a step of their scale, or zero. */
static void extremes_of_the_scale_hold(void **state) {
    (void)state;
    static const float tops[] = {400000.0f, 1e-3f, 1e-5f, 1e-7f, 1e-12f, 1e-38f, 1e-44f};
    for (size_t i = 0; i < sizeof tops / sizeof tops[0]; i++)
        for (int quant = 0; quant < CP_N_QUANTS; quant++) {
            float rows[CP_GROUP];
            unsigned char tile[CP_INT8_SUPER_BYTES];
            for (size_t k = 0; k < CP_GROUP; k++)
                rows[k] = tops[i] * (float)((int)k - 16) / 16;
            assert_int_equal(cp_quantize_tile((cp_quant)quant, rows, 1, CP_GROUP, tile).bad_row, 1);
            (void)check_tile((cp_quant)quant, rows, 1, CP_GROUP, tile);
        }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_half_survives_the_way_through_float),
    cmocka_unit_test(floats_round_to_the_nearest_half),
    cmocka_unit_test(floats_round_to_the_nearest_bfloat),
    cmocka_unit_test(tiles_are_nearest_and_never_worse_than_plain),
    cmocka_unit_test(wider_vectors_give_the_same_bytes),
    cmocka_unit_test(errors_are_close_to_the_least),
    cmocka_unit_test(impossible_weights_name_their_row),
    cmocka_unit_test(extremes_of_the_scale_hold),
};
CP_TEST_GROUP(convert_quantize, tests)
