/* The tables of the tokenizer alone: packed entries at their limits, and what they weigh. */
#include "tests/test.h"
#include "tokenizer/tokenizer_state.h"

#include <stdio.h>
#include <string.h>

#define N_WORDS 3000 /* makes the tables grow more than once */

static cp_str word(size_t i, char out[16]) {
    return (cp_str){out, (size_t)snprintf(out, 16, "%zx.", i)};
}

/* Every third id is left out, so that ids are not places. */
static void what_is_added_is_found_and_nothing_else(void **state) {
    (void)state;
    cp_vocab v = {0};
    cp_error err;
    char text[16];
    for (size_t i = 0; i < N_WORDS; i++)
        assert_cp_ok(cp_vocab_add_base(&v, word(i, text), (int64_t)(i + i / 2), &err));
    for (size_t i = 0; i < 2 * N_WORDS; i++)
        assert_int_equal(cp_vocab_find(&v, word(i, text)), i < N_WORDS ? (int)(i + i / 2) : -1);
    assert_int_equal(cp_vocab_add_base(&v, word(7, text), 2, &err), CP_ERR_FORMAT);
    assert_string_equal(err.message, "token \"7.\" is in the vocabulary twice, as 10 and 2");
    cp_vocab_deinit(&v);
}

/* The greatest id fills its bits in both tables; it must not run over into its neighbours. */
static void the_greatest_ids_and_ranks_fit(void **state) {
    (void)state;
    cp_vocab v = {0};
    cp_error err;
    const int32_t last = CP_VOCAB_MAX_IDS - 1;
    assert_cp_ok(cp_vocab_add_base(&v, (cp_str){"a", 1}, 0, &err));
    assert_cp_ok(cp_vocab_add_base(&v, (cp_str){"b", 1}, last, &err));
    assert_cp_ok(cp_vocab_add_base(&v, (cp_str){"aa", 2}, 1, &err));
    assert_cp_ok(cp_vocab_add_base(&v, (cp_str){"ab", 2}, 2, &err));
    assert_cp_ok(cp_vocab_add_base(&v, (cp_str){"bb", 2}, 3, &err));
    assert_int_equal(cp_vocab_find(&v, (cp_str){"b", 1}), last);
    assert_int_equal(cp_vocab_add_base(&v, (cp_str){"c", 1}, last + 1, &err), CP_ERR_FORMAT);

    assert_cp_ok(cp_vocab_add_merge(&v, (cp_str){"a", 1}, (cp_str){"a", 1}, &err));
    assert_cp_ok(cp_vocab_add_merge(&v, (cp_str){"a", 1}, (cp_str){"b", 1}, &err));
    v.n_merges = CP_VOCAB_MAX_MERGES - 1; /* the last rank there is; nothing reads those between */
    assert_cp_ok(cp_vocab_add_merge(&v, (cp_str){"b", 1}, (cp_str){"b", 1}, &err));
    assert_int_equal(cp_vocab_merge_rank(&v, 0, 0), 0);
    assert_int_equal(cp_vocab_merge_rank(&v, 0, last), 1);
    assert_int_equal(cp_vocab_merge_rank(&v, last, last), CP_VOCAB_MAX_MERGES - 1);
    assert_true(cp_vocab_merge_rank(&v, last, 0) == CP_RANK_NONE);
    assert_true(cp_vocab_merge_rank(&v, 1, 0) == CP_RANK_NONE);
    assert_int_equal(cp_vocab_add_merge(&v, (cp_str){"a", 1}, (cp_str){"a", 1}, &err),
                     CP_ERR_LIMIT);
    assert_string_equal(err.message, "more than 4194303 merges");
    cp_vocab_deinit(&v);
}

/* What the tables of Qwen3's 151,669 ids hold as long as the model is open. */
static void a_token_weighs_less_than_48_bytes(void **state) {
    (void)state;
    cp_tokenizer *tok = NULL;
    cp_error err;
    assert_cp_ok(cp_tokenizer_open("models/qwen3-tokenizer", &tok, &err));
    const cp_vocab *v = &tok->vocab;
    size_t bytes = v->n_bytes + v->n_ids * sizeof *v->tokens + v->n_slots * sizeof *v->slots +
                   v->n_merge_slots * sizeof *v->merges + v->n_merges * sizeof *v->results;
    assert_int_equal(v->n_ids, 151669);
    assert_true(bytes < 48 * v->n_ids);
    cp_tokenizer_close(tok);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_added_is_found_and_nothing_else),
    cmocka_unit_test(the_greatest_ids_and_ranks_fit),
    cmocka_unit_test(a_token_weighs_less_than_48_bytes),
};
CP_TEST_GROUP(vocab, tests)
