/* Many generations on one engine: each writes what it would write alone, whatever the company, the
 * cache and the guesses; places, chunks and deadlines are kept (on a clock of our own). */
#include "tests/test.h"

#include "base/clock.h"
#include "llm/lookup.h"
#include "llm/scheduler.h"
#include "llm/thinking_plan.h"

#define SOURCE    "tied-gqa2"
#define N_COMPANY 8
#define N_NEW     48

static const char *const levels[] = {"int8", "int4", "int4-mixed"};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static cp_llm *open_llm(const char *dir, cp_kv kv) {
    cp_llm *llm;
    cp_error err;
    assert_cp_ok(cp_llm_open(dir, &(cp_llm_options){.n_threads = 2, .context_cap = 400, .kv = kv},
                             &llm, &err));
    return llm;
}

static cp_scheduler *open_scheduler(cp_llm *llm, cp_scheduler_options options) {
    cp_scheduler *s;
    cp_error err;
    assert_cp_ok(cp_scheduler_create(llm, &options, &s, &err));
    return s;
}

static uint64_t fake_ns;
static uint64_t fake_step_ns; /* that each look at the clock takes */

static uint64_t fake_clock(void) {
    return fake_ns += fake_step_ns;
}

/* ---- questions ------------------------------------------------------------------------------- */

typedef struct question {
    int32_t ids[200];
    size_t n;
    double temperature;
    cp_ids answer; /* alone, with nothing cached */
} question;

/* All begin alike, for a different length; half are greedy; some repeat themselves, so that drafts
 * are tried. */
static void make_questions(const cp_llm *llm, question *q) {
    size_t vocab = cp_engine_config(cp_llm_engine((cp_llm *)(uintptr_t)llm))->vocab_size - 40;
    for (size_t k = 0; k < N_COMPANY; k++) {
        uint64_t common = 11, own = 100 + k;
        size_t n_common = 40 + 13 * k;
        q[k] = (question){.n = n_common + 5 + k, .temperature = k % 2 ? 0.9 : 0};
        for (size_t i = 0; i < q[k].n; i++) {
            int32_t id = (int32_t)(test_random(&common) % vocab);
            q[k].ids[i] = i < n_common ? id : (int32_t)(test_random(&own) % vocab);
        }
        if (k >= 4)
            memcpy(q[k].ids + 20, q[k].ids, 20 * sizeof q[k].ids[0]);
    }
}

static cp_llm_request request_of(const question *q, size_t seed) {
    return (cp_llm_request){
        .ids = q->ids,
        .n_ids = q->n,
        .max_new_tokens = N_NEW,
        .sampling = {.temperature = q->temperature, .top_p = 0.95, .top_k = 20, .seed = seed}};
}

static cp_generation *start(const cp_llm *llm, cp_scheduler *s, const cp_llm_request *request) {
    cp_generation *g;
    cp_error err;
    assert_cp_ok(cp_generation_create(llm, request, &g, &err));
    cp_scheduler_add(s, g);
    return g;
}

/* Steps until all n are done, whatever the order. */
static void run_all(cp_scheduler *s, size_t n) {
    for (size_t done = 0, steps = 0; done < n; steps++) {
        assert_true(steps < 100000);
        (void)cp_scheduler_step(s);
        while (cp_scheduler_take_done(s))
            done++;
    }
    assert_false(cp_scheduler_step(s));
}

static void free_questions(question *q) {
    for (size_t k = 0; k < N_COMPANY; k++)
        cp_ids_deinit(&q[k].answer);
}

static void answer_alone(cp_llm *llm, question *q) {
    for (size_t k = 0; k < N_COMPANY; k++) {
        cp_scheduler *s = open_scheduler(llm, (cp_scheduler_options){.no_speculation = true});
        const cp_llm_request request = request_of(&q[k], k);
        cp_generation *g = start(llm, s, &request);
        run_all(s, 1);
        cp_llm_result *result = cp_generation_result(g);
        assert_int_equal(cp_generation_status(g, NULL), CP_OK);
        assert_int_equal(result->cached_tokens, 0);
        q[k].answer = result->ids;
        result->ids = (cp_ids){0};
        cp_generation_free(g);
        cp_scheduler_free(s);
    }
}

/* Asks all together; every answer must be the lonely one. Returns how many prompt tokens came from
 * the cache and how many drafts were right. */
static void ask_together(const char *what, cp_llm *llm, cp_scheduler *s, const question *q,
                         size_t *n_cached, size_t *n_accepted) {
    cp_generation *g[N_COMPANY];
    for (size_t k = 0; k < N_COMPANY; k++) {
        const cp_llm_request request = request_of(&q[k], k);
        g[k] = start(llm, s, &request);
    }
    run_all(s, N_COMPANY);
    for (size_t k = 0; k < N_COMPANY; k++) {
        const cp_llm_result *r = cp_generation_result(g[k]);
        assert_int_equal(cp_generation_status(g[k], NULL), CP_OK);
        if (r->ids.n != q[k].answer.n ||
            memcmp(r->ids.ids, q[k].answer.ids, r->ids.n * sizeof(int32_t)) != 0)
            fail_msg("%s: question %zu is answered otherwise than alone", what, k);
        *n_cached += r->cached_tokens;
        *n_accepted += r->accepted_tokens;
        cp_generation_free(g[k]);
    }
}

static void compare(const char *dir, cp_kv kv) {
    question q[N_COMPANY];
    cp_llm *llm = open_llm(dir, kv);
    size_t cold = 0, warm = 0, tight = 0, accepted = 0, none = 0;
    make_questions(llm, q);
    answer_alone(llm, q);

    cp_scheduler *s =
        open_scheduler(llm, (cp_scheduler_options){.max_running = N_COMPANY, .kv_tokens = 4000});
    ask_together("cold", llm, s, q, &cold, &accepted);
    ask_together("warm", llm, s, q, &warm, &accepted);
    assert_true(warm > 400);
    assert_true(warm > cold);
    cp_scheduler_free(s);

    /* One context's memory: sequences take turns and evict each other's blocks. */
    s = open_scheduler(llm, (cp_scheduler_options){.max_running = 3, .kv_tokens = 400});
    for (int round = 0; round < 2; round++)
        ask_together("evicted", llm, s, q, &tight, &accepted);
    assert_true(cp_scheduler_get_stats(s).kv.n_evicted > 0);
    cp_scheduler_free(s);

    s = open_scheduler(llm, (cp_scheduler_options){.max_running = N_COMPANY,
                                                   .kv_tokens = 4000,
                                                   .no_speculation = true});
    ask_together("without drafts", llm, s, q, &cold, &none);
    assert_int_equal(none, 0);
    assert_true(accepted > 0); /* or drafts were not tried */
    cp_scheduler_free(s);
    free_questions(q);
    cp_llm_close(llm);
}

#if defined(__SANITIZE_THREAD__) || !defined(__x86_64__)
#define N_LEVELS 1
#else
#define N_LEVELS COUNT(levels)
#endif

static void company_cache_and_drafts_change_no_answer(void **state) {
    (void)state;
    for (size_t l = 0; l < N_LEVELS; l++) {
        compare(test_quantized(SOURCE, levels[l]), CP_KV_F16);
        compare(test_quantized(SOURCE, levels[l]), CP_KV_INT8);
    }
}

/* ---- owners ---------------------------------------------------------------------------------- */

static size_t cached_of(cp_llm *llm, cp_scheduler *s, const question *q, const char *owner) {
    cp_llm_request request = request_of(q, 0);
    request.owner = owner;
    cp_generation *g = start(llm, s, &request);
    run_all(s, 1);
    size_t cached = cp_generation_result(g)->cached_tokens;
    cp_generation_free(g);
    return cached;
}

static void prefixes_stay_with_their_owner(void **state) {
    question q[N_COMPANY];
    cp_llm *llm = open_llm(test_quantized(SOURCE, "int8"), CP_KV_AUTO);
    cp_scheduler *s = open_scheduler(llm, (cp_scheduler_options){.kv_tokens = 2000});
    (void)state;
    make_questions(llm, q);
    assert_int_equal(cached_of(llm, s, &q[0], "a"), 0);
    assert_int_equal(cached_of(llm, s, &q[0], "b"), 0);
    assert_int_equal(cached_of(llm, s, &q[0], "a"), q[0].n - 1); /* the last must be computed */
    assert_int_equal(cached_of(llm, s, &q[1], "b"), 40);         /* what the two have in common */
    assert_int_equal(cached_of(llm, s, &q[0], NULL), 0);
    cp_scheduler_free(s);
    cp_llm_close(llm);
}

static void prefixes_expire(void **state) {
    question q[N_COMPANY];
    cp_llm *llm = open_llm(test_quantized(SOURCE, "int8"), CP_KV_AUTO);
    const uint64_t second = 1000000000u;
    (void)state;
    fake_ns = 5 * second;
    fake_step_ns = 0;
    cp_scheduler *s = open_scheduler(
        llm, (cp_scheduler_options){.kv_tokens = 2000, .kv_ttl_s = 60, .now_ns = fake_clock});
    make_questions(llm, q);
    assert_false(cp_scheduler_expire(s)); /* nothing to wait for */
    assert_int_equal(cached_of(llm, s, &q[0], "a"), 0);
    fake_ns += 59 * second;
    assert_true(cp_scheduler_expire(s));
    assert_int_equal(cached_of(llm, s, &q[0], "a"), q[0].n - 1); /* used: it stays another minute */
    fake_ns += 59 * second;
    assert_true(cp_scheduler_expire(s));
    assert_true(cp_scheduler_get_stats(s).kv.n_cached > 0);
    fake_ns += second;
    assert_false(cp_scheduler_expire(s));
    assert_int_equal(cp_scheduler_get_stats(s).kv.n_cached, 0);
    assert_true(cp_scheduler_get_stats(s).kv.n_expired > 0);
    assert_int_equal(cached_of(llm, s, &q[0], "a"), 0);
    cp_scheduler_free(s);
    cp_llm_close(llm);
}

/* ---- places ---------------------------------------------------------------------------------- */

/* Ends of generations in the order in which they came: two of owner "a" before one of "b". */
static void places_are_shared_between_owners(void **state) {
    question q[N_COMPANY];
    cp_llm *llm = open_llm(test_quantized(SOURCE, "int8"), CP_KV_AUTO);
    cp_scheduler *s =
        open_scheduler(llm, (cp_scheduler_options){.max_running = 2, .kv_tokens = 4000});
    cp_generation *g[4];
    static const char *const owners[] = {"a", "a", "a", "b"};
    (void)state;
    make_questions(llm, q);
    for (size_t k = 0; k < 4; k++) {
        cp_llm_request request = request_of(&q[k], k);
        request.owner = owners[k];
        g[k] = start(llm, s, &request);
    }
    assert_true(cp_scheduler_step(s));
    assert_int_equal(cp_scheduler_get_stats(s).n_running, 2);
    assert_int_equal(cp_scheduler_get_stats(s).n_waiting, 2);
    cp_generation *order[4];
    for (size_t done = 0; done < 4;) {
        (void)cp_scheduler_step(s);
        for (cp_generation *one; (one = cp_scheduler_take_done(s));)
            order[done++] = one;
    }
    /* The first of "a" and the one of "b" ran first; then the others, as they came. */
    assert_true((order[0] == g[0] && order[1] == g[3]) || (order[0] == g[3] && order[1] == g[0]));
    assert_true(cp_generation_result(g[1])->queue_ms >= cp_generation_result(g[3])->queue_ms);
    for (size_t k = 0; k < 4; k++)
        cp_generation_free(g[k]);
    cp_scheduler_free(s);
    cp_llm_close(llm);
}

static bool said_so(void *user) {
    return *(const bool *)user;
}

static void who_leaves_is_dropped_within_a_step(void **state) {
    question q[N_COMPANY];
    cp_llm *llm = open_llm(test_quantized(SOURCE, "int8"), CP_KV_AUTO);
    cp_scheduler *s =
        open_scheduler(llm, (cp_scheduler_options){.max_running = 1, .now_ns = fake_clock});
    fake_ns = 1;
    fake_step_ns = 160000000u; /* slow: the prompt's 143 tokens take three steps */
    bool leaves[2] = {false, false};
    cp_generation *g[2];
    (void)state;
    make_questions(llm, q);
    for (size_t k = 0; k < 2; k++) {
        cp_llm_request request = request_of(&q[7], k);
        request.is_cancelled = said_so;
        request.user = &leaves[k];
        g[k] = start(llm, s, &request);
    }
    assert_true(cp_scheduler_step(s));
    leaves[1] = true; /* while it waits */
    assert_true(cp_scheduler_step(s));
    assert_ptr_equal(cp_scheduler_take_done(s), g[1]);
    assert_int_equal(cp_generation_result(g[1])->finish, CP_FINISH_CANCELLED);
    leaves[0] = true; /* while its prompt is read */
    assert_true(cp_scheduler_step(s));
    assert_ptr_equal(cp_scheduler_take_done(s), g[0]);
    assert_int_equal(cp_generation_result(g[0])->finish, CP_FINISH_CANCELLED);
    assert_int_equal(cp_generation_result(g[0])->sampled_tokens, 0);
    assert_int_equal(cp_scheduler_get_stats(s).kv.n_held, 0);
    assert_false(cp_scheduler_step(s));
    cp_generation_free(g[0]);
    cp_generation_free(g[1]);
    cp_scheduler_free(s);
    cp_llm_close(llm);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* With a step of a second and a deadline of some: the answer is cut there, and has what it has. */
static void a_deadline_cuts_and_keeps_what_there_is(void **state) {
    question q[N_COMPANY];
    cp_llm *llm = open_llm(test_quantized(SOURCE, "int8"), CP_KV_AUTO);
    cp_scheduler *s =
        open_scheduler(llm, (cp_scheduler_options){.max_running = 2, .now_ns = fake_clock});
    (void)state;
    make_questions(llm, q);
    fake_ns = 1;
    fake_step_ns = 1000000000u;
    cp_llm_request request = request_of(&q[0], 0), late = request;
    request.deadline_ns = 40000000000u;
    late.deadline_ns = 2;
    cp_generation *g = start(llm, s, &request), *none = start(llm, s, &late);
    run_all(s, 2);
    const cp_llm_result *r = cp_generation_result(g), *nothing = cp_generation_result(none);
    assert_int_equal(r->finish, CP_FINISH_LENGTH);
    assert_true(r->sampled_tokens > 2 && r->sampled_tokens < N_NEW);
    assert_int_equal(nothing->finish, CP_FINISH_LENGTH);
    assert_int_equal(nothing->sampled_tokens, 0);
    cp_generation_free(g);
    cp_generation_free(none);
    cp_scheduler_free(s);
    cp_llm_close(llm);
}

/* Tokens a step, while the clock says that a prompt's token takes `ms`. */
static void chunks_follow_the_measured_speed(void **state) {
    question q[N_COMPANY];
    cp_llm *llm = open_llm(test_quantized(SOURCE, "int8"), CP_KV_AUTO);
    cp_scheduler *s = open_scheduler(
        llm, (cp_scheduler_options){.max_running = 2, .kv_tokens = 2000, .now_ns = fake_clock});
    (void)state;
    make_questions(llm, q);
    fake_ns = 1;
    fake_step_ns = 160000000u; /* 160 ms: 5 ms for each token of the first chunk of 32 */
    const cp_llm_request request = request_of(&q[7], 0);
    cp_generation *g = start(llm, s, &request);
    assert_true(cp_scheduler_step(s));
    assert_int_equal(cp_scheduler_get_stats(s).n_rows, 32);
    assert_true(cp_scheduler_step(s)); /* alone: half a second's worth */
    assert_int_equal(cp_scheduler_get_stats(s).n_rows, 32 + 100);
    fake_step_ns = 50000000u; /* a step that only writes */
    while (cp_scheduler_get_stats(s).token_ms == 0)
        assert_true(cp_scheduler_step(s));
    cp_scheduler_stats stats = cp_scheduler_get_stats(s);
    cp_llm_request second = request_of(&q[6], 1);
    second.owner = "other"; /* with nothing in the cache */
    cp_generation *other = start(llm, s, &second);
    assert_true(cp_scheduler_step(s)); /* beside another: a pause of at most 200 ms */
    size_t rows = (size_t)(cp_scheduler_get_stats(s).n_rows - stats.n_rows);
    assert_true((double)(rows - 1) * stats.prompt_token_ms + stats.token_ms <= 200);
    assert_true((double)(rows + 1) * stats.prompt_token_ms + stats.token_ms > 150);
    run_all(s, 2);
    cp_generation_free(g);
    cp_generation_free(other);
    cp_scheduler_free(s);
    cp_llm_close(llm);
}

/* ---- thinking -------------------------------------------------------------------------------- */

static cp_llm_result think(const char *text_asked, size_t max_new, bool has_budget, size_t budget) {
    cp_llm *llm = open_llm(GOLDEN "/models/" SOURCE, CP_KV_AUTO);
    const cp_chat_message message = {.role = CP_ROLE_USER, .content = text_asked};
    const cp_llm_request request = {.messages = &message,
                                    .n_messages = 1,
                                    .thinking = CP_THINKING_ON,
                                    .sampling = {.temperature = 1, .top_k = 50, .seed = 3},
                                    .max_new_tokens = max_new,
                                    .has_thinking_budget = has_budget,
                                    .thinking_budget = budget};
    cp_schema *schema;
    cp_llm_result result;
    cp_error err;
    cp_llm_request under_schema = request;
    static const char text[] = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},"
                               "\"required\":[\"a\"],\"additionalProperties\":false}";
    assert_cp_ok(cp_schema_compile_text("schema", text, strlen(text), &schema, &err));
    under_schema.schema = schema; /* which makes the model open a thought */
    cp_llm_result_init(&result);
    assert_cp_ok(cp_llm_generate(llm, &under_schema, &result, &err));
    cp_schema_free(schema);
    cp_llm_close(llm);
    return result;
}

static void a_thought_ends_in_its_budget_and_an_answer_follows(void **state) {
    (void)state;
    for (size_t budget = 0; budget <= 40; budget += 20) {
        cp_llm_result r = think("Hello", 100, true, budget);
        assert_true(r.has_thinking);
        assert_int_equal(r.thinking_planned, budget);
        assert_true(r.thinking_tokens <= budget);
        assert_true(r.answer.n > 6);
        const char *farewell = strstr(cp_strbuf_text(&r.thinking), "limited time by the user");
        assert_int_equal(r.thinking_truncated, farewell != NULL);
        assert_true(r.thinking_truncated || r.thinking_tokens < budget || budget == 40);
        assert_true(r.sampled_tokens <= 100);
        assert_int_equal(r.sampled_tokens + r.appended_tokens, r.ids.n);
        cp_llm_result_deinit(&r);
    }
    for (size_t max_new = 1; max_new <= 64; max_new *= 4) { /* without a budget: by its length */
        cp_llm_result r = think("Hello", max_new, false, 0);
        assert_true(r.thinking_tokens < max_new);
        assert_true(r.answer.n > 0);
        cp_llm_result_deinit(&r);
    }
}

static void the_plan_keeps_a_reserve(void **state) {
    (void)state;
    for (size_t max_new = 0; max_new < 5000; max_new = max_new * 3 / 2 + 1)
        for (double token_ms = 0; token_ms < 100; token_ms = token_ms * 2 + 1)
            for (double left_ms = 0; left_ms < 100000; left_ms = left_ms * 3 + 7) {
                cp_thinking_limits l = {.max_new = max_new,
                                        .budget = CP_LLM_NO_LIMIT,
                                        .has_deadline = true,
                                        .left_ms = left_ms,
                                        .token_ms = token_ms};
                size_t plan = cp_thinking_plan(&l);
                assert_true(plan < max_new || plan == 0);
                if (token_ms > 0) /* thought and at least one token in time */
                    assert_true(plan == 0 || (double)(plan + 1) * token_ms <= left_ms);
                l.budget = 3;
                assert_true(cp_thinking_plan(&l) <= 3);
            }
    assert_int_equal(cp_thinking_plan(&(cp_thinking_limits){.max_new = CP_LLM_NO_LIMIT,
                                                            .budget = CP_LLM_NO_LIMIT}),
                     CP_LLM_NO_LIMIT);
    assert_true(cp_thinking_is_late(99, 1, 100));
    assert_false(cp_thinking_is_late(1000, 1, 100));
}

/* ---- drafts ---------------------------------------------------------------------------------- */

static void drafts_continue_the_latest_likeness(void **state) {
    static const int32_t ids[] = {1, 2, 3, 9, 8, 1, 2, 3, 7, 6, 5, 1, 2, 3};
    cp_lookup lookup;
    size_t n;
    (void)state;
    cp_lookup_init(&lookup);
    const int32_t *draft = cp_lookup_draft(&lookup, ids, COUNT(ids), 3, &n);
    assert_int_equal(n, 3);
    assert_memory_equal(draft, ((int32_t[]){7, 6, 5}), 3 * sizeof *draft);
    cp_lookup_note(&lookup, 3);
    cp_lookup_draft(&lookup, ids, 5, 3, &n); /* 9 8 came once */
    assert_int_equal(n, 0);
    for (int i = 0; i < 100 && lookup.pause == 0; i++) { /* wrong guesses end the guessing */
        cp_lookup_draft(&lookup, ids, COUNT(ids), 3, &n);
        cp_lookup_note(&lookup, 0);
    }
    assert_true(lookup.pause > 0);
    size_t pause = lookup.pause;
    for (size_t i = 0; i < pause; i++) {
        cp_lookup_draft(&lookup, ids, COUNT(ids), 3, &n);
        assert_int_equal(n, 0);
    }
    cp_lookup_draft(&lookup, ids, COUNT(ids), 3, &n);
    assert_int_equal(n, 3);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(company_cache_and_drafts_change_no_answer),
    cmocka_unit_test(prefixes_stay_with_their_owner),
    cmocka_unit_test(prefixes_expire),
    cmocka_unit_test(places_are_shared_between_owners),
    cmocka_unit_test(who_leaves_is_dropped_within_a_step),
    cmocka_unit_test(a_deadline_cuts_and_keeps_what_there_is),
    cmocka_unit_test(chunks_follow_the_measured_speed),
    cmocka_unit_test(a_thought_ends_in_its_budget_and_an_answer_follows),
    cmocka_unit_test(the_plan_keeps_a_reserve),
    cmocka_unit_test(drafts_continue_the_latest_likeness),
};
CP_TEST_GROUP(scheduler, tests)
