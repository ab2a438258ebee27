/* The kernels on quantized weights: every instruction set against scalar, bit for bit, with partial
 * tiles, ragged and padded groups, extreme integers and scales, weights at any byte, and guard
 * bands of NaN around the outputs. The seed is printed; CP_TEST_SEED repeats a run. */
#include "tests/test.h"

#include "engine/kernels/kernels.h"
#include "engine/kernels/lanes.h"

#include <math.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAX_ROWS   70
#define MAX_COLS   1300
#define MAX_TOKENS 40
#define MAX_SUPERS ((MAX_COLS + CP_SUPER - 1) / CP_SUPER)
#define MAX_STRIDE (MAX_ROWS + 8)
#define GUARD      40
#define ROUNDS     150

static uint64_t seed;

static size_t up_to(size_t n) {
    return test_random(&seed) % n;
}

static void start_seed(void) {
    const char *given = getenv("CP_TEST_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("             seed %llu\n", (unsigned long long)seed);
}

static const char *const names[] = {"avx512", "avx2", "neon"};
#define N_NAMES (sizeof names / sizeof names[0])

static const cp_kernels *table_named(const char *name) {
    const cp_kernels *table;
    cp_error err;
    if (cp_kernels_choose(name, &table, &err) == CP_OK)
        return table;
    printf("             not on this machine: %s\n", name);
    return NULL;
}

/* ---- the format ---------------------------------------------------------------------------------
 */

static int8_t random_weight(cp_quant quant, size_t kind) {
    int low = quant == CP_INT8 ? -127 : -cp_quant_bias(quant),
        high = quant == CP_INT8 ? 127 : -1 - low;
    if (kind == 0)
        return (int8_t)low;
    if (kind == 1)
        return (int8_t)high;
    if (kind == 2)
        return (int8_t)(test_random(&seed) % 2 ? low : high);
    return (int8_t)(low + (int)up_to((size_t)(high - low + 1)));
}

/* Ordinary, zero, subnormal, the largest; never an infinity, which `convert` does not write. */
static uint16_t random_scale(void) {
    switch (up_to(8)) {
    case 0:
        return 0;
    case 1:
        return (uint16_t)(up_to(1023) + 1);
    case 2:
        return 0x7bff;
    default:
        return (uint16_t)(0x2000 + up_to(0x1000));
    }
}

/* The matrix; inputs beyond the last column are zero as the format says. */
static void random_matrix(cp_quant quant, size_t rows, size_t cols, unsigned char *out) {
    size_t kind = up_to(5), super_bytes = cp_quant_super_bytes(quant),
           supers = cp_quant_supers(cols);
    for (size_t s = 0; s < cp_quant_tiles(rows) * supers; s++)
        cp_quant_clear(quant, out + s * super_bytes);
    for (size_t r = 0; r < rows; r++)
        for (size_t at = 0; at < cols; at += CP_GROUP) {
            int8_t values[CP_GROUP] = {0};
            for (size_t i = 0; i < CP_GROUP && at + i < cols; i++)
                values[i] = random_weight(quant, kind);
            size_t super = r / CP_TILE_ROWS * supers + at / CP_SUPER;
            cp_quant_pack(quant, out + super * super_bytes, r % CP_TILE_ROWS,
                          at / CP_GROUP % CP_GROUPS_A_SUPER, values, random_scale());
        }
}

static void pack_and_unpack_round_trip(void **state) {
    (void)state;
    start_seed();
    static int8_t values[CP_TILE_ROWS][CP_GROUPS_A_SUPER][CP_GROUP];
    static uint16_t scales[CP_TILE_ROWS][CP_GROUPS_A_SUPER];
    for (cp_quant q = 0; q < CP_N_QUANTS; q++) {
        unsigned char super[CP_INT8_SUPER_BYTES + 1];
        super[cp_quant_super_bytes(q)] = 0xa5;
        cp_quant_clear(q, super);
        for (size_t r = 0; r < CP_TILE_ROWS; r++)
            for (size_t g = 0; g < CP_GROUPS_A_SUPER; g++) {
                for (size_t i = 0; i < CP_GROUP; i++)
                    values[r][g][i] = random_weight(q, 3);
                scales[r][g] = (uint16_t)test_random(&seed);
                cp_quant_pack(q, super, r, g, values[r][g], scales[r][g]);
            }
        for (size_t r = 0; r < CP_TILE_ROWS; r++)
            for (size_t g = 0; g < CP_GROUPS_A_SUPER; g++) {
                int8_t got[CP_GROUP];
                uint16_t scale;
                cp_quant_unpack(q, super, r, g, got, &scale);
                assert_memory_equal(got, values[r][g], CP_GROUP);
                assert_int_equal(scale, scales[r][g]);
            }
        assert_int_equal(super[cp_quant_super_bytes(q)], 0xa5);
    }
}

/* The documented places, so that a change of the layout cannot pass by being consistent. */
static void the_layout_is_the_documented_one(void **state) {
    (void)state;
    unsigned char super[CP_INT8_SUPER_BYTES];
    int8_t values[CP_GROUP] = {0};
    values[9] = 5; /* input 32 + 9 = 41 of row 3 */
    cp_quant_clear(CP_INT8, super);
    cp_quant_pack(CP_INT8, super, 3, 1, values, 0x1234);
    assert_int_equal(super[41 / 4 * 64 + 3 * 4 + 41 % 4], 5);
    assert_int_equal(super[16 * 64 + (16 + 3) * 2], 0x34);
    cp_quant_clear(CP_INT4, super);
    assert_int_equal(super[0], 0x88);
    cp_quant_pack(CP_INT4, super, 3, 1, values, 0x1234);
    assert_int_equal(super[41 / 8 * 64 + 3 * 4 + 1], 0x80 | (5 + 8)); /* 41 = 40 + 1: low nibble */
    assert_int_equal(super[8 * 64 + (16 + 3) * 2 + 1], 0x12);
    cp_quant_clear(CP_INT5, super);
    assert_int_equal(super[0], 0);
    assert_int_equal(super[4 * 64], 0xff);
    cp_quant_pack(CP_INT5, super, 3, 1, values, 0x1234); /* 5 + 16 = 0x15: 5 and the fifth bit */
    assert_int_equal(super[5 * 64 + 9 / 8 * 64 + 3 * 4 + 1], 0x05); /* beside 0's nibble, 0 */
    assert_int_equal(super[5 * 64 + 4 * 64 + 3 * 4 + 1], 0xff);
    values[9] = -3; /* 13: the fifth bit is off, that of inputs 8..11 */
    cp_quant_pack(CP_INT5, super, 3, 1, values, 0x1234);
    assert_int_equal(super[5 * 64 + 9 / 8 * 64 + 3 * 4 + 1], 0x0d);
    assert_int_equal(super[5 * 64 + 4 * 64 + 3 * 4 + 1], 0xff - (1 << 9 / 4));
    assert_int_equal(super[10 * 64 + (16 + 3) * 2 + 1], 0x12);
}

static void a_widened_row_is_integer_times_scale(void **state) {
    (void)state;
    start_seed();
    static unsigned char w[(MAX_ROWS / CP_TILE_ROWS + 1) * MAX_SUPERS * CP_INT8_SUPER_BYTES];
    static float out[MAX_COLS + 1];
    for (int round = 0; round < 20; round++) {
        cp_quant q = (cp_quant)up_to(CP_N_QUANTS);
        size_t rows = up_to(MAX_ROWS) + 1, cols = up_to(MAX_COLS) + 1, row = up_to(rows);
        random_matrix(q, rows, cols, w);
        out[cols] = NAN;
        cp_quant_widen_row(q, w, row, cols, out);
        assert_true(isnan(out[cols]));
        for (size_t i = 0; i < cols; i++) {
            int8_t values[CP_GROUP];
            uint16_t scale;
            size_t super = row / CP_TILE_ROWS * cp_quant_supers(cols) + i / CP_SUPER;
            cp_quant_unpack(q, w + super * cp_quant_super_bytes(q), row % CP_TILE_ROWS,
                            i / CP_GROUP % 2, values, &scale);
            assert_true(out[i] == (float)values[i % CP_GROUP] * cp_float_of_f16(scale));
        }
    }
}

/* ---- memory that ends where reading must end
 * ------------------------------------------------------- */

/* `n` bytes whose last one lies before an unreadable page. unfence() gives them back. */
static void *fence(size_t n) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (n + page - 1) / page * page;
    char *at = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(at != MAP_FAILED);
    assert_int_equal(mprotect(at + whole, page, PROT_NONE), 0);
    return at + whole - n;
}

static void unfence(void *from, size_t n) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (n + page - 1) / page * page;
    munmap((char *)from + n - whole, whole + page);
}

/* ---- products -----------------------------------------------------------------------------------
 */

static int8_t act_values[MAX_TOKENS * MAX_SUPERS * CP_SUPER + 64];
static float act_scales[MAX_TOKENS * MAX_SUPERS * CP_GROUPS_A_SUPER];
static int32_t act_sums[MAX_TOKENS * MAX_SUPERS * CP_GROUPS_A_SUPER];

static float random_act_scale(int extreme) {
    static const float unusual[] = {0, 1e-38f, 1e-42f, 3e35f};
    if (extreme && up_to(8) == 0)
        return up_to(16) == 0 ? NAN : unusual[up_to(4)];
    return (float)(up_to(1000) + 1) * 1e-3f;
}

/* Not through `quantize`: kernels must be right for every value -127..127, at any alignment. */
static cp_activations random_activations(size_t n_tokens, size_t cols) {
    size_t supers = cp_quant_supers(cols), groups = supers * CP_GROUPS_A_SUPER, kind = up_to(4);
    int extreme = up_to(4) == 0;
    cp_activations x = {act_values + up_to(64), act_scales, act_sums, supers};
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t g = 0; g < groups; g++) {
            int32_t sum = 0;
            for (size_t i = 0; i < CP_GROUP; i++) {
                size_t at = (t * groups + g) * CP_GROUP + i;
                int value = kind == 0 ? 127 : kind == 1 ? -127 : (int)up_to(255) - 127;
                x.values[at] = (int8_t)(g * CP_GROUP + i < cols ? value : 0);
                sum += x.values[at];
            }
            x.scales[t * groups + g] = random_act_scale(extreme);
            x.sums[t * groups + g] = sum;
        }
    return x;
}

/* Outputs with NaN before, behind and between the rows of tokens. */
typedef struct outputs {
    float memory[2 * GUARD + MAX_TOKENS * MAX_STRIDE];
    float *at;
} outputs;

/* A NaN that no arithmetic makes marks what must stay untouched. */
#define UNTOUCHED 0x7fabcdefu

static void prepare_outputs(outputs *o, size_t shift) {
    for (size_t i = 0; i < sizeof o->memory / sizeof o->memory[0]; i++)
        o->memory[i] = cp_float_of_bits(UNTOUCHED);
    o->at = o->memory + GUARD / 2 + shift;
}

static int untouched(const float *value) {
    uint32_t bits;
    memcpy(&bits, value, sizeof bits);
    return bits == UNTOUCHED;
}

/* Both hold the same bits where scalar wrote, and nothing anywhere else. */
static void same_outputs(const char *what, const outputs *mine, const outputs *scalar) {
    for (size_t i = 0; i < sizeof mine->memory / sizeof mine->memory[0]; i++) {
        const float *a = mine->memory + i, *b = scalar->memory + i;
        if (untouched(a) != untouched(b))
            fail_msg("%s: output %zd %s", what, a - mine->at,
                     untouched(a) ? "was not written" : "is not its own but was written");
        if (memcmp(a, b, sizeof *a) != 0 && !(isnan(*a) && isnan(*b)))
            fail_msg("%s: output %zd is %a, scalar has %a", what, a - mine->at, *a, *b);
    }
}

static void compare_products(const cp_kernels *k, cp_quant quant) {
    static outputs mine, theirs;
    size_t rows = up_to(MAX_ROWS) + 1, cols = up_to(up_to(4) == 0 ? MAX_COLS : 200) + 1;
    size_t n_tokens = up_to(up_to(2) ? 8 : MAX_TOKENS) + 1;
    size_t stride = rows + up_to(9), odd = up_to(64), shift = up_to(GUARD / 2);
    size_t n_bytes = cp_quant_bytes(quant, rows, cols) + odd;
    unsigned char *w = fence(n_bytes); /* any byte is a beginning; none behind the end is read */
    random_matrix(quant, rows, cols, w);
    cp_activations x = random_activations(n_tokens, cols);
    prepare_outputs(&mine, shift);
    prepare_outputs(&theirs, shift);
    k->quant_product[quant](w, rows, &x, n_tokens, mine.at, stride);
    cp_kernels_scalar()->quant_product[quant](w, rows, &x, n_tokens, theirs.at, stride);
    char what[160];
    snprintf(what, sizeof what, "%s %s: %zu rows, %zu inputs, %zu tokens, stride %zu", k->name,
             cp_quant_name(quant), rows, cols, n_tokens, stride);
    same_outputs(what, &mine, &theirs);
    unfence(w, n_bytes);
}

static void every_product_equals_scalar(void **state) {
    (void)state;
    start_seed();
    for (size_t i = 0; i < N_NAMES; i++) {
        const cp_kernels *k = table_named(names[i]);
        for (int round = 0; k && round < ROUNDS; round++)
            for (cp_quant q = 0; q < CP_N_QUANTS; q++)
                compare_products(k, q);
    }
}

/* No token, no output. */
static void no_tokens_write_nothing(void **state) {
    (void)state;
    static outputs mine;
    unsigned char w[CP_INT8_SUPER_BYTES] = {0};
    cp_activations x = {act_values, act_scales, act_sums, 1};
    for (size_t i = 0; i < N_NAMES; i++) {
        const cp_kernels *k = table_named(names[i]);
        prepare_outputs(&mine, 0);
        for (cp_quant q = 0; k && q < CP_N_QUANTS; q++)
            k->quant_product[q](w, 16, &x, 0, mine.at, 16);
        for (size_t j = 0; j < sizeof mine.memory / sizeof mine.memory[0]; j++)
            assert_true(untouched(mine.memory + j));
    }
}

/* More tokens than a call's blocks hold, and more inputs than a chunk: against one token at a time.
 */
static void many_tokens_equal_one_at_a_time(void **state) {
    (void)state;
    start_seed();
    enum { ROWS = 33, COLS = 1100, TOKENS = 300 };
    static unsigned char w[3 * MAX_SUPERS * CP_INT8_SUPER_BYTES];
    static int8_t values[TOKENS][(COLS + CP_SUPER - 1) / CP_SUPER * CP_SUPER];
    static float scales[TOKENS][sizeof values[0] / CP_GROUP], all[TOKENS * ROWS], one[ROWS],
        in[COLS];
    static int32_t sums[TOKENS][sizeof values[0] / CP_GROUP];
    for (size_t i = 0; i < N_NAMES; i++) {
        const cp_kernels *k = table_named(names[i]);
        for (cp_quant q = 0; k && q < CP_N_QUANTS; q++) {
            random_matrix(q, ROWS, COLS, w);
            for (size_t t = 0; t < TOKENS; t++) {
                for (size_t c = 0; c < COLS; c++)
                    in[c] = (float)up_to(2000) - 1000;
                cp_activations x = {values[t], scales[t], sums[t], cp_quant_supers(COLS)};
                k->quantize(in, COLS, &x);
            }
            cp_activations x = {values[0], scales[0], sums[0], cp_quant_supers(COLS)};
            k->quant_product[q](w, ROWS, &x, TOKENS, all, ROWS);
            for (size_t t = 0; t < TOKENS; t++) {
                cp_activations single = {values[t], scales[t], sums[t], cp_quant_supers(COLS)};
                k->quant_product[q](w, ROWS, &single, 1, one, ROWS);
                assert_memory_equal(one, all + t * ROWS, sizeof one);
            }
        }
    }
}

/* ---- activations --------------------------------------------------------------------------------
 */

static float random_input(size_t kind) {
    static const float unusual[] = {0, -0.0f, 1e-42f, -3.4e38f, 7e-31f, 8e-31f, 0.5f, 127};
    if (kind == 0)
        return unusual[up_to(8)];
    if (kind == 1)
        return ((float)up_to(255) - 127) / 2; /* halves: ties to even */
    if (kind == 2 && up_to(64) == 0)
        return up_to(2) ? (up_to(2) ? INFINITY : -INFINITY) : (up_to(2) ? NAN : -NAN);
    if (kind == 3) /* about 2^-100, below which a group is zero */
        return cp_float_of_bits((uint32_t)(0x0d7fffc0 + up_to(66)));
    return ldexpf((float)up_to(20001) - 10000, (int)up_to(20) - 30);
}

typedef struct quantized {
    int8_t values[MAX_SUPERS * CP_SUPER + 2 * GUARD];
    float scales[MAX_SUPERS * CP_GROUPS_A_SUPER + 1];
    int32_t sums[MAX_SUPERS * CP_GROUPS_A_SUPER + 1];
} quantized;

static void quantize_into(const cp_kernels *k, const float *x, size_t n, size_t n_super,
                          size_t shift, quantized *out) {
    memset(out, 0x5a, sizeof *out);
    k->quantize(
        x, n, &(cp_activations){out->values + GUARD + shift % 16, out->scales, out->sums, n_super});
}

static void every_quantize_equals_scalar(void **state) {
    (void)state;
    start_seed();
    static quantized mine, theirs;
    for (size_t i = 0; i < N_NAMES; i++) {
        const cp_kernels *k = table_named(names[i]);
        for (int round = 0; k && round < 4 * ROUNDS; round++) {
            size_t n = up_to(up_to(2) ? MAX_COLS : 100) + 1, shift = up_to(16), kind = up_to(6);
            size_t supers = cp_quant_supers(n);
            supers += supers < MAX_SUPERS ? up_to(2) : 0; /* a whole superblock of padding */
            float *x = fence(n * sizeof *x);
            for (size_t j = 0; j < n; j++)
                x[j] = random_input(kind);
            quantize_into(k, x, n, supers, shift, &mine);
            quantize_into(cp_kernels_scalar(), x, n, supers, shift, &theirs);
            unfence(x, n * sizeof *x);
            if (memcmp(&mine, &theirs, sizeof mine) != 0)
                fail_msg("%s: quantize of %zu inputs of kind %zu differs", k->name, n, kind);
        }
    }
}

/* What the contract says, on the definition itself. */
static void quantize_keeps_its_contract(void **state) {
    (void)state;
    static quantized q;
    float x[96] = {1, -2, 0.5f};
    x[32] = INFINITY;
    x[64] = 1e-31f; /* below 2^-100 */
    quantize_into(cp_kernels_scalar(), x, 96, 2, 0, &q);
    const int8_t *values = q.values + GUARD;
    assert_int_equal(values[0], 64); /* 63.5 to even */
    assert_int_equal(values[1], -127);
    assert_int_equal(values[2], 32);
    assert_int_equal(q.sums[0], 64 - 127 + 32);
    assert_true(q.scales[0] == 2.0f / 127.0f);
    assert_true(isnan(q.scales[1]) && q.sums[1] == 0 && values[32] == 0);
    assert_true(q.scales[2] == 0 && values[64] == 0);
    assert_true(q.scales[3] == 0 && q.sums[3] == 0 && values[127] == 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(pack_and_unpack_round_trip),
    cmocka_unit_test(the_layout_is_the_documented_one),
    cmocka_unit_test(a_widened_row_is_integer_times_scale),
    cmocka_unit_test(every_product_equals_scalar),
    cmocka_unit_test(no_tokens_write_nothing),
    cmocka_unit_test(many_tokens_equal_one_at_a_time),
    cmocka_unit_test(every_quantize_equals_scalar),
    cmocka_unit_test(quantize_keeps_its_contract),
};
CP_TEST_GROUP(quant_kernels, tests)
