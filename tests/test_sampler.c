/* The sampler: its specified generator, each filter, and the penalties. */
#include "tests/test.h"

#include "engine/sampler.h"

#include <math.h>

#define VOCAB 200

static cp_sampler *make(const cp_sampling *sampling) {
    cp_sampler *s;
    cp_error err;
    assert_cp_ok(cp_sampler_create(VOCAB, &s, &err));
    cp_sampler_start(s, sampling);
    return s;
}

/* The published example: pcg32 seeded with 42, stream 54, begins with these six numbers. A uniform
 * distribution over 2^k tokens shows the top k bits of each. */
static void the_generator_is_pcg32(void **state) {
    (void)state;
    static const uint32_t reference[] = {0xa15c02b7, 0x7b47f409, 0xba1d3330,
                                         0x83d2f293, 0xbfa4784b, 0xcbed606e};
    float logits[VOCAB];
    for (size_t i = 0; i < VOCAB; i++)
        logits[i] = i < 128 ? 0 : -INFINITY;
    cp_sampler *s = make(&(cp_sampling){.temperature = 1, .top_k = 128, .top_p = 1, .seed = 42});
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(cp_sampler_next(s, logits), reference[i] >> 25);
    cp_sampler_free(s);
}

static void greedy_takes_the_first_of_equals(void **state) {
    (void)state;
    float logits[VOCAB] = {0};
    logits[7] = logits[9] = 5;
    logits[3] = NAN;
    cp_sampler *s = make(&(cp_sampling){.temperature = 0});
    assert_int_equal(cp_sampler_next(s, logits), 7);
    cp_sampler_free(s);
}

/* Draws many times and counts. */
static void draw_counts(const cp_sampling *sampling, const float *logits, int n,
                        int counts[VOCAB]) {
    cp_sampler *s = make(sampling);
    memset(counts, 0, VOCAB * sizeof *counts);
    for (int i = 0; i < n; i++)
        counts[cp_sampler_next(s, logits)]++;
    cp_sampler_free(s);
}

static int n_different(const int counts[VOCAB]) {
    int n = 0;
    for (int i = 0; i < VOCAB; i++)
        n += counts[i] > 0;
    return n;
}

static void filters_keep_what_they_say(void **state) {
    (void)state;
    int counts[VOCAB];
    float logits[VOCAB];
    for (int i = 0; i < VOCAB; i++)
        logits[i] = -(float)i; /* probabilities fall by e */
    draw_counts(&(cp_sampling){.temperature = 100, .top_k = 5, .top_p = 1}, logits, 5000, counts);
    assert_int_equal(n_different(counts), 5);
    assert_true(counts[4] > 0);
    /* p = 0.632, 0.233, 0.086, ...: 0.8 needs two tokens, 0.9 three. */
    draw_counts(&(cp_sampling){.temperature = 1, .top_p = 0.8}, logits, 5000, counts);
    assert_int_equal(n_different(counts), 2);
    draw_counts(&(cp_sampling){.temperature = 1, .top_p = 0.9}, logits, 5000, counts);
    assert_int_equal(n_different(counts), 3);
    /* e^-2 = 0.135, e^-3 = 0.05: min_p 0.1 keeps three. */
    draw_counts(&(cp_sampling){.temperature = 1, .top_p = 1, .min_p = 0.1}, logits, 5000, counts);
    assert_int_equal(n_different(counts), 3);
    draw_counts(&(cp_sampling){.temperature = 1, .top_p = 0}, logits, 100, counts);
    assert_int_equal(counts[0], 100);
}

static void frequencies_follow_the_softmax(void **state) {
    (void)state;
    int counts[VOCAB];
    float logits[VOCAB];
    double total = 0;
    for (int i = 0; i < VOCAB; i++)
        logits[i] = sinf((float)i);
    for (int i = 0; i < VOCAB; i++)
        total += exp(logits[i] / 0.7);
    draw_counts(&(cp_sampling){.temperature = 0.7, .top_p = 1, .seed = 3}, logits, 200000, counts);
    for (int i = 0; i < VOCAB; i++) {
        double expected = 200000 * exp(logits[i] / 0.7) / total;
        assert_true(fabs(counts[i] - expected) < 6 * sqrt(expected) + 1);
    }
}

static void penalties_push_repeated_tokens_down(void **state) {
    (void)state;
    float logits[VOCAB] = {0};
    logits[0] = 3, logits[1] = 2.5f, logits[2] = 2.2f;
    cp_sampler *s = make(&(cp_sampling){.temperature = 0, .presence_penalty = 0.6});
    assert_int_equal(cp_sampler_next(s, logits), 0); /* then 2.4 */
    assert_int_equal(cp_sampler_next(s, logits), 1); /* then 1.9 */
    assert_int_equal(cp_sampler_next(s, logits), 0); /* presence counts once */
    cp_sampler_start(s, &(cp_sampling){.temperature = 0, .frequency_penalty = 0.6});
    assert_int_equal(cp_sampler_next(s, logits), 0); /* 2.4; a start forgets the counts */
    assert_int_equal(cp_sampler_next(s, logits), 1); /* 1.9 */
    assert_int_equal(cp_sampler_next(s, logits), 0); /* 1.8 */
    assert_int_equal(cp_sampler_next(s, logits), 2);
    cp_sampler_free(s);
}

static void infinite_and_nan_logits_do_no_harm(void **state) {
    (void)state;
    float logits[VOCAB];
    for (int i = 0; i < VOCAB; i++)
        logits[i] = NAN;
    cp_sampler *s = make(&(cp_sampling){.temperature = 1, .top_p = 0.9, .top_k = 10});
    assert_int_equal(cp_sampler_next(s, logits), 0);
    logits[5] = INFINITY, logits[6] = INFINITY, logits[7] = 1;
    for (int i = 0; i < 50; i++) {
        int32_t id = cp_sampler_next(s, logits);
        assert_true(id == 5 || id == 6);
    }
    cp_sampler_free(s);
}

/* Only allowed tokens, whatever the filters would have kept; among them as the softmax says. */
static void what_is_not_allowed_is_never_drawn(void **state) {
    (void)state;
    float logits[VOCAB];
    uint64_t allowed[(VOCAB + 63) / 64] = {0};
    for (int i = 0; i < VOCAB; i++)
        logits[i] = -(float)i;
    allowed[190 / 64] = (uint64_t)7 << 190 % 64; /* 190 to 192: the cut of two words */
    static const cp_sampling settings[] = {{.temperature = 0},
                                           {.temperature = 2, .top_k = 1, .top_p = 1},
                                           {.temperature = 2, .top_k = 20, .top_p = 0.5},
                                           {.temperature = 0.1, .top_p = 1, .min_p = 0.9},
                                           {.temperature = 100, .top_p = 1}};
    allowed[3] = 1;
    for (size_t k = 0; k < sizeof settings / sizeof settings[0]; k++) {
        cp_sampler *s = make(&settings[k]);
        int counts[VOCAB] = {0};
        for (int i = 0; i < 500; i++)
            counts[cp_sampler_next_allowed(s, logits, allowed)]++;
        assert_int_equal(counts[190] + counts[191] + counts[192], 500);
        assert_true(k < 4 ? counts[190] > 250 : n_different(counts) == 3);
        cp_sampler_free(s);
    }
    for (int i = 0; i < VOCAB; i++)
        logits[i] = i == 5 ? 1 : NAN;
    cp_sampler *s = make(&settings[2]);
    assert_int_equal(cp_sampler_next_allowed(s, logits, allowed), 190);
    assert_int_equal(cp_sampler_next_allowed(s, logits, NULL), 5);
    cp_sampler_start(s, &settings[0]);
    assert_int_equal(cp_sampler_next_allowed(s, logits, allowed), 190);
    cp_sampler_free(s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_generator_is_pcg32),
    cmocka_unit_test(greedy_takes_the_first_of_equals),
    cmocka_unit_test(filters_keep_what_they_say),
    cmocka_unit_test(frequencies_follow_the_softmax),
    cmocka_unit_test(penalties_push_repeated_tokens_down),
    cmocka_unit_test(infinite_and_nan_logits_do_no_harm),
    cmocka_unit_test(what_is_not_allowed_is_never_drawn),
};
CP_TEST_GROUP(sampler, tests)
