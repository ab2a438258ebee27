/* A whole model folder: generation, its text, what it allocates, and what happens without memory.
 */
#include "tests/test.h"

#include "llm/llm.h"
#include "llm/text_splitter.h"

#define MODEL GOLDEN "/models/tied-gqa2"

static cp_llm *open_llm(const char *dir) {
    cp_llm *llm;
    cp_error err;
    assert_cp_ok(
        cp_llm_open(dir, &(cp_llm_options){.n_threads = 2, .context_cap = 512}, &llm, &err));
    return llm;
}

static cp_llm_result generate(cp_llm *llm, const cp_llm_request *request) {
    cp_llm_result result;
    cp_error err;
    cp_llm_result_init(&result);
    assert_cp_ok(cp_llm_generate(llm, request, &result, &err));
    return result;
}

static const int32_t some_ids[] = {5, 17, 29, 101};

static cp_llm_request plain_request(size_t max_new, double temperature, uint64_t seed) {
    return (cp_llm_request){
        .ids = some_ids,
        .n_ids = 4,
        .max_new_tokens = max_new,
        .sampling = {.temperature = temperature, .top_p = 0.95, .top_k = 20, .seed = seed}};
}

static void the_same_seed_gives_the_same_tokens(void **state) {
    (void)state;
    cp_llm *llm = open_llm(MODEL);
    cp_llm_request request = plain_request(60, 1.0, 7), other = plain_request(60, 1.0, 8);
    cp_llm_result a = generate(llm, &request), b = generate(llm, &other),
                  c = generate(llm, &request);
    assert_int_equal(a.ids.n, c.ids.n);
    assert_memory_equal(a.ids.ids, c.ids.ids, a.ids.n * sizeof(int32_t));
    assert_true(b.ids.n != a.ids.n || memcmp(a.ids.ids, b.ids.ids, a.ids.n * sizeof(int32_t)) != 0);
    cp_llm_result_deinit(&a);
    cp_llm_result_deinit(&b);
    cp_llm_result_deinit(&c);
    cp_llm_close(llm);
}

static void lengths_are_kept(void **state) {
    (void)state;
    cp_llm *llm = open_llm(MODEL);
    cp_llm_request request = plain_request(5, 0, 0);
    cp_llm_result five = generate(llm, &request);
    assert_int_equal(five.ids.n, 5);
    assert_int_equal(five.finish, CP_FINISH_LENGTH);
    assert_int_equal(five.prompt_tokens, 4);
    cp_llm_result_deinit(&five);
    request.max_new_tokens =
        100000; /* the context ends it: 512 - 4 evaluated, and one more drawn */
    cp_llm_result all = generate(llm, &request);
    assert_true(all.finish == CP_FINISH_STOP || all.ids.n == 509);
    cp_llm_result_deinit(&all);

    int32_t full[512] = {0};
    cp_error err;
    cp_llm_result none;
    cp_llm_result_init(&none);
    request.ids = full;
    request.n_ids = 512;
    assert_int_equal(cp_llm_generate(llm, &request, &none, &err), CP_ERR_LIMIT);
    request.n_ids = 0;
    assert_int_equal(cp_llm_generate(llm, &request, &none, &err), CP_ERR_USAGE);
    cp_llm_result_deinit(&none);
    cp_llm_close(llm);
}

static long allocations_before;
static long allocations_seen;

/* Counts at the first and at every later piece of text; whatever lies between them was allocated by
 * decoding. */
static void watch_allocations(void *user, cp_text_part part, const char *text, size_t n) {
    (void)part, (void)text, (void)n;
    int *n_calls = user;
    if ((*n_calls)++ == 0)
        allocations_before = test_alloc_count();
    allocations_seen = test_alloc_count();
}

static void decoding_allocates_nothing(void **state) {
    (void)state;
    cp_llm *llm = open_llm(MODEL);
    int n_calls = 0;
    cp_llm_request request = plain_request(300, 0.8, 1);
    request.sampling.top_k = 0; /* the sampler's largest case */
    request.on_text = watch_allocations;
    request.user = &n_calls;
    cp_llm_result result = generate(llm, &request);
    assert_true(n_calls > 50);
    assert_int_equal(allocations_seen - allocations_before, 0);
    cp_llm_result_deinit(&result);
    cp_llm_close(llm);
}

static bool cancel_after_three(void *user) {
    return ++*(int *)user > 3;
}

static void a_cancelled_request_stops_within_a_token(void **state) {
    (void)state;
    cp_llm *llm = open_llm(MODEL);
    int asked = 0;
    cp_llm_request request = plain_request(200, 1, 2);
    request.is_cancelled = cancel_after_three;
    request.user = &asked;
    cp_llm_result result = generate(llm, &request);
    assert_int_equal(result.finish, CP_FINISH_CANCELLED);
    assert_true(result.ids.n <= 4);
    cp_llm_result_deinit(&result);
    asked = 10; /* cancelled already when it starts: nothing is drawn */
    result = generate(llm, &request);
    assert_int_equal(result.finish, CP_FINISH_CANCELLED);
    assert_int_equal(result.ids.n, 0);
    cp_llm_result_deinit(&result);
    cp_llm_close(llm);
}

/* ---- text -------------------------------------------------------------------------------------
 */

typedef struct streamed {
    cp_strbuf answer, thinking;
} streamed;

static void collect(void *user, cp_text_part part, const char *text, size_t n) {
    streamed *s = user;
    cp_strbuf_append(part == CP_TEXT_ANSWER ? &s->answer : &s->thinking, text, n);
}

/* Feeds the tokens of `text` to a splitter as if the model had drawn them. */
static void split(const char *text, bool in_thought, const char *stop, const char *answer,
                  const char *thinking) {
    cp_llm *llm = open_llm(MODEL);
    cp_error err;
    cp_ids ids = {0};
    streamed s;
    cp_strbuf_init(&s.answer, 4096);
    cp_strbuf_init(&s.thinking, 4096);
    cp_chat_message message = {.role = CP_ROLE_USER, .content = "x"};
    cp_llm_request request = {
        .messages = &message, .n_messages = 1, .on_text = collect, .user = &s, .stops = {stop}};
    cp_llm_result result;
    cp_text_splitter splitter;
    cp_llm_result_init(&result);
    assert_cp_ok(cp_tokenizer_encode(cp_llm_tokenizer(llm), text, strlen(text),
                                     &(cp_encode_options){.parse_special = true}, &ids, &err));
    assert_cp_ok(cp_text_splitter_init(&splitter, llm, &request, &result, ids.n, in_thought, &err));
    for (size_t i = 0; i < ids.n && !splitter.stopped; i++)
        cp_text_splitter_push(&splitter, ids.ids[i]);
    cp_text_splitter_finish(&splitter);
    assert_string_equal(cp_strbuf_text(&result.answer), answer);
    assert_string_equal(cp_strbuf_text(&result.thinking), thinking);
    assert_string_equal(cp_strbuf_text(&s.answer), answer);
    assert_int_equal(strncmp(cp_strbuf_text(&s.thinking), thinking, strlen(thinking)), 0);
    cp_text_splitter_deinit(&splitter);
    cp_llm_result_deinit(&result);
    cp_strbuf_deinit(&s.answer);
    cp_strbuf_deinit(&s.thinking);
    cp_ids_deinit(&ids);
    cp_llm_close(llm);
}

static void thinking_is_split_off(void **state) {
    (void)state;
    split("<think>\nwhy\n</think>\n\nso", false, NULL, "so", "why");
    split("why\n\n</think>\n\nso it is", true, NULL, "so it is", "why");
    split("still at it", true, NULL, "", "still at it");
    split("plain answer", false, NULL, "plain answer", "");
    split("a </think> b", false, NULL, "a </think> b", ""); /* closes nothing that was open */
    split("<think>a</think>b<think>c", false, NULL, "b<think>c", "a");
}

static void stop_strings_cut_the_answer_only(void **state) {
    (void)state;
    split("one two END three", false, "END", "one two ", "");
    split("x END y</think>\n\nanswer END z", true, "END", "answer ", "x END y");
    split("almost EN", false, "END", "almost EN", ""); /* held back, then given out */
    split("aaab", false, "aab", "a", "");
}

/* ---- without memory ---------------------------------------------------------------------------
 */

/* Opens a folder and generates three tokens; every step may fail, none may crash or leak. */
static cp_status open_and_generate(cp_error *err) {
    cp_llm *llm;
    cp_llm_result result;
    cp_llm_request request = plain_request(3, 0, 0);
    cp_llm_result_init(&result);
    cp_status status =
        cp_llm_open(MODEL, &(cp_llm_options){.n_threads = 2, .context_cap = 64}, &llm, err);
    if (status == CP_OK)
        status = cp_llm_generate(llm, &request, &result, err);
    cp_llm_result_deinit(&result);
    cp_llm_close(llm);
    return status;
}

static void no_allocation_failure_hurts(void **state) {
    (void)state;
    cp_error err;
    test_alloc_reset();
    assert_int_equal(open_and_generate(&err), CP_OK);
    long n = test_alloc_count();
    assert_true(n > 100);
    long step =
        n > 1500 ? n / 750 : 1; /* all of the first and the last hundred, a sample between */
    for (long i = 1; i <= n; i += i < 100 || i > n - 100 ? 1 : step) {
        memset(&err, 0, sizeof err);
        test_alloc_fail_at(i, i % 2);
        cp_status status = open_and_generate(&err);
        test_alloc_fail_at(0, 0);
        if (status == CP_OK)
            continue; /* a library below us made do without */
        if (status != CP_ERR_NO_MEMORY && !strstr(err.message, "memory"))
            fail_msg("allocation %ld of %ld failed: status %d, \"%s\"", i, n, status, err.message);
    }
    assert_int_equal(open_and_generate(&err), CP_OK);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_same_seed_gives_the_same_tokens),
    cmocka_unit_test(lengths_are_kept),
    cmocka_unit_test(decoding_allocates_nothing),
    cmocka_unit_test(a_cancelled_request_stops_within_a_token),
    cmocka_unit_test(thinking_is_split_off),
    cmocka_unit_test(stop_strings_cut_the_answer_only),
    cmocka_unit_test(no_allocation_failure_hurts),
};
CP_TEST_GROUP(generation, tests)
