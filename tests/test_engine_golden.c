/* The forward pass against the reference logits, hidden states and traces of tests/golden/expected.
 */
#include "tests/test.h"

#include "engine/engine.h"
#include "tests/npy.h"

#include <math.h>

/* A right float32 engine is near 1e-5 of the largest logit (tests/golden/README.md): far inside the
 * reference's own tolerance of 2e-3, so that a wrong rounding shows. */
#define LOGIT_TOLERANCE 5e-5
#define TRACE_TOLERANCE 5e-5

static const char *const models[] = {"tied-gqa2", "untied-gqa4-sharded", "embedding-gqa1", "llama"};
#define N_MODELS (sizeof models / sizeof models[0])

typedef struct fixture {
    cp_engine *engine;
    cp_session *session;
    cJSON *golden;
    char expected[256];
} fixture;

static fixture open_model(const char *name, size_t n_threads) {
    fixture f = {0};
    cp_error err;
    char dir[256];
    snprintf(dir, sizeof dir, GOLDEN "/models/%s", name);
    snprintf(f.expected, sizeof f.expected, GOLDEN "/expected/%s", name);
    assert_cp_ok(
        cp_engine_open(dir, &(cp_engine_options){.n_threads = n_threads}, &f.engine, &err));
    assert_cp_ok(cp_session_create(f.engine, 600, &f.session, &err));
    f.golden = test_read_json(test_path(f.expected, "golden.json"));
    return f;
}

static void close_model(fixture *f) {
    cJSON_Delete(f->golden);
    cp_session_free(f->session);
    cp_engine_close(f->engine);
}

static size_t read_ids(const cJSON *list, int32_t *ids, size_t cap) {
    size_t n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        assert_true(n < cap);
        ids[n++] = (int32_t)item->valuedouble;
    }
    return n;
}

typedef struct collected {
    float *logits; /* [cap, vocab] */
    size_t vocab, n, cap;
} collected;

static void collect(void *user, size_t position, const float *logits) {
    collected *c = user;
    assert_true(position < c->cap);
    memcpy(c->logits + position * c->vocab, logits, c->vocab * sizeof *logits);
    c->n = position + 1;
}

static void check_prompt_logits(fixture *f, const cJSON *prompt, const char *label) {
    cp_error err;
    int32_t ids[256];
    size_t vocab = cp_engine_config(f->engine)->vocab_size, n_expected;
    size_t n = read_ids(cJSON_GetObjectItem(prompt, "ids"), ids, 256);
    const cJSON *logits = cJSON_GetObjectItem(prompt, "logits");
    if (!logits)
        return;
    float *expected = test_read_npy(
        test_path(f->expected, cJSON_GetObjectItem(logits, "file")->valuestring), &n_expected);
    int all = strcmp(cJSON_GetObjectItem(logits, "positions")->valuestring, "all") == 0;
    collected c = {malloc(n * vocab * sizeof(float)), vocab, 0, n};
    assert_non_null(c.logits);
    cp_session_rewind(f->session, 0);
    assert_cp_ok(cp_session_eval(
        f->session, ids, n, &(cp_eval_hooks){.on_logits = all ? collect : NULL, .user = &c}, &err));
    if (all) {
        assert_int_equal(c.n, n);
        assert_int_equal(n_expected, n * vocab);
        test_close_to(label, c.logits, expected, n_expected, LOGIT_TOLERANCE);
    } else {
        test_close_to(label, cp_session_logits(f->session), expected, vocab, LOGIT_TOLERANCE);
    }
    free(c.logits);
    free(expected);
}

static void logits_match(void **state) {
    (void)state;
    for (size_t m = 0; m < N_MODELS; m++) {
        fixture f = open_model(models[m], 2);
        const cJSON *prompt;
        cJSON_ArrayForEach(prompt, cJSON_GetObjectItem(f.golden, "prompts"))
            check_prompt_logits(&f, prompt, models[m]);
        close_model(&f);
    }
}

static void greedy_continuations_match(void **state) {
    (void)state;
    size_t n_prompts = 0;
    for (size_t m = 0; m < N_MODELS; m++) {
        fixture f = open_model(models[m], 2);
        cp_sampler *sampler;
        cp_error err;
        assert_cp_ok(cp_sampler_create(cp_engine_config(f.engine)->vocab_size, &sampler, &err));
        const cJSON *prompt;
        cJSON_ArrayForEach(prompt, cJSON_GetObjectItem(f.golden, "prompts")) {
            int32_t ids[256], expected[64];
            size_t n = read_ids(cJSON_GetObjectItem(prompt, "ids"), ids, 256);
            const cJSON *greedy = cJSON_GetObjectItem(prompt, "greedy");
            if (!greedy)
                continue;
            size_t n_expected = read_ids(cJSON_GetObjectItem(greedy, "ids"), expected, 64);
            assert_true(n_expected > 0);
            cp_session_rewind(f.session, 0);
            cp_sampler_start(sampler, &(cp_sampling){.temperature = 0});
            assert_cp_ok(cp_session_eval(f.session, ids, n, NULL, &err));
            for (size_t i = 0; i < n_expected; i++) {
                int32_t next = cp_sampler_next(sampler, cp_session_logits(f.session));
                assert_int_equal(next, expected[i]);
                assert_cp_ok(cp_session_eval(f.session, &next, 1, NULL, &err));
            }
            n_prompts++;
        }
        cp_sampler_free(sampler);
        close_model(&f);
    }
    assert_true(n_prompts >= 16);
}

typedef struct traced {
    fixture *f;
    float *hidden; /* [layers + 2, 7, hidden] */
    size_t n_hidden, n_checked;
} traced;

static void check_trace(void *user, const char *name, size_t layer, const float *values,
                        size_t n_tokens, size_t width) {
    traced *t = user;
    char file[300];
    if (strcmp(name, "hidden") == 0) {
        size_t n_layers = cp_engine_config(t->f->engine)->n_layers;
        if (layer ==
            n_layers + 1) { /* after the final norm: only the last token's, in an ordinary eval */
            n_tokens = 1;
            test_close_to(name, values, t->hidden + ((layer + 1) * 7 - 1) * width, width,
                          TRACE_TOLERANCE);
        } else {
            test_close_to(name, values, t->hidden + layer * 7 * width, n_tokens * width,
                          TRACE_TOLERANCE);
        }
        t->n_hidden++;
        return;
    }
    if (layer != 0)
        return;
    snprintf(file, sizeof file, "%s/trace_len7/layer0_%s.npy", t->f->expected, name);
    size_t n;
    float *expected = test_read_npy(file, &n);
    assert_int_equal(n, n_tokens * width);
    test_close_to(name, values, expected, n, TRACE_TOLERANCE);
    free(expected);
    t->n_checked++;
}

static void every_stage_of_a_layer_matches(void **state) {
    (void)state;
    for (size_t m = 0; m < N_MODELS; m++) {
        fixture f = open_model(models[m], 2);
        cp_error err;
        size_t n_hidden;
        traced t = {&f, test_read_npy(test_path(f.expected, "hidden_len7.npy"), &n_hidden), 0, 0};
        const cJSON *prompt;
        cJSON_ArrayForEach(prompt, cJSON_GetObjectItem(f.golden, "prompts")) {
            int32_t ids[256];
            size_t n = read_ids(cJSON_GetObjectItem(prompt, "ids"), ids, 256);
            if (strcmp(cJSON_GetObjectItem(prompt, "name")->valuestring, "len7") != 0)
                continue;
            assert_int_equal(n, 7);
            assert_cp_ok(cp_session_eval(
                f.session, ids, n, &(cp_eval_hooks){.on_trace = check_trace, .user = &t}, &err));
        }
        const cp_model_config *c = cp_engine_config(f.engine);
        assert_int_equal(t.n_hidden, c->n_layers + 2);
        assert_int_equal(t.n_checked, c->qk_norm ? 14 : 12);
        free(t.hidden);
        close_model(&f);
    }
}

/* Whole, in chunks of every kind, and token by token: the same logits up to float32 rounding. */
static void chunking_does_not_matter(void **state) {
    (void)state;
    static const size_t chunks[] = {1, 2, 5, 33, 64, 129};
    for (size_t m = 0; m < N_MODELS; m++) {
        fixture f = open_model(models[m], 2);
        cp_error err;
        int32_t ids[520];
        size_t vocab = cp_engine_config(f.engine)->vocab_size;
        uint64_t seed = 7;
        for (size_t i = 0; i < 520; i++) /* longer than two steps */
            ids[i] = (int32_t)(test_random(&seed) % vocab);
        assert_cp_ok(cp_session_eval(f.session, ids, 520, NULL, &err));
        float *whole = malloc(vocab * sizeof *whole);
        assert_non_null(whole);
        memcpy(whole, cp_session_logits(f.session), vocab * sizeof *whole);
        for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++) {
            cp_session_rewind(f.session, 0);
            for (size_t done = 0; done < 520; done += chunks[c]) {
                size_t n = 520 - done < chunks[c] ? 520 - done : chunks[c];
                assert_cp_ok(cp_session_eval(f.session, ids + done, n, NULL, &err));
            }
            test_close_to("chunked", cp_session_logits(f.session), whole, vocab, LOGIT_TOLERANCE);
        }
        free(whole);
        close_model(&f);
    }
}

/* Threads divide rows and heads, never a sum: their number changes no bit of a vector product. */
static void threads_do_not_matter(void **state) {
    (void)state;
    int32_t ids[] = {3, 41, 59, 26};
    cp_error err;
    for (size_t m = 0; m < N_MODELS; m++) {
        float *first = NULL;
        for (size_t n_threads = 1; n_threads <= 3; n_threads++) {
            fixture f = open_model(models[m], n_threads);
            size_t bytes = cp_engine_config(f.engine)->vocab_size * sizeof(float);
            assert_cp_ok(cp_session_eval(f.session, ids, 4, NULL, &err));
            if (!first) {
                first = malloc(bytes);
                assert_non_null(first);
                memcpy(first, cp_session_logits(f.session), bytes);
            }
            assert_memory_equal(first, cp_session_logits(f.session), bytes);
            close_model(&f);
        }
        free(first);
    }
}

static void perplexity_matches(void **state) {
    (void)state;
    for (size_t m = 0; m < N_MODELS; m++) {
        fixture f = open_model(models[m], 2);
        cp_error err;
        int32_t ids[256];
        const cJSON *expected = cJSON_GetObjectItem(f.golden, "perplexity");
        size_t n = read_ids(cJSON_GetObjectItem(expected, "ids"), ids, 256);
        double nll;
        assert_cp_ok(cp_session_nll(f.session, ids, n, &nll, &err));
        double ppl = exp(nll / (double)(n - 1)),
               want = cJSON_GetObjectItem(expected, "ppl")->valuedouble;
        if (fabs(ppl - want) > 1e-5 * want)
            fail_msg("%s: perplexity %.9g, expected %.9g", models[m], ppl, want);
        close_model(&f);
    }
}

static void embeddings_match(void **state) {
    (void)state;
    fixture f = open_model("embedding-gqa1", 2);
    cp_error err;
    size_t n_checked = 0, hidden = cp_engine_config(f.engine)->hidden_size;
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(f.golden, "embeddings")) {
        int32_t ids[256];
        float expected[1024], actual[1024];
        size_t n = read_ids(cJSON_GetObjectItem(item, "ids"), ids, 256), i = 0;
        const cJSON *value;
        cJSON_ArrayForEach(value, cJSON_GetObjectItem(item, "embedding")) {
            assert_true(i < hidden);
            expected[i++] = (float)value->valuedouble;
        }
        assert_int_equal(i, hidden);
        cp_session_rewind(f.session, 0);
        assert_cp_ok(cp_session_eval(f.session, ids, n, NULL, &err));
        cp_session_embedding(f.session, actual);
        for (i = 0; i < hidden; i++)
            if (fabsf(actual[i] - expected[i]) > 1e-5f)
                fail_msg("embedding %zu value %zu is %.9g, expected %.9g", n_checked, i, actual[i],
                         expected[i]);
        n_checked++;
    }
    assert_true(n_checked >= 3);
    close_model(&f);
}

/* Unusual but right folders: the same greedy ids and best logits in each. */
static void unusual_folders_load(void **state) {
    (void)state;
    cJSON *cases = test_read_jsonl(GOLDEN "/valid-edge/manifest.jsonl");
    const cJSON *item;
    size_t n_cases = 0;
    cJSON_ArrayForEach(item, cases) {
        char dir[256];
        cp_engine *engine;
        cp_session *session;
        cp_error err;
        int32_t ids[64], greedy[64];
        snprintf(dir, sizeof dir, GOLDEN "/valid-edge/%s",
                 cJSON_GetObjectItem(item, "case")->valuestring);
        size_t n = read_ids(cJSON_GetObjectItem(item, "ids"), ids, 64);
        size_t n_greedy = read_ids(cJSON_GetObjectItem(item, "greedy"), greedy, 64);
        assert_cp_ok(cp_engine_open(dir, NULL, &engine, &err));
        assert_cp_ok(cp_session_create(engine, 128, &session, &err));
        assert_cp_ok(cp_session_eval(session, ids, n, NULL, &err));
        const cJSON *best;
        cJSON_ArrayForEach(best, cJSON_GetObjectItem(item, "last_top10")) {
            int id = cJSON_GetArrayItem(best, 0)->valueint;
            double want = cJSON_GetArrayItem(best, 1)->valuedouble;
            assert_true(fabs(cp_session_logits(session)[id] - want) < 2e-4);
        }
        cp_sampler *sampler;
        assert_cp_ok(cp_sampler_create(cp_engine_config(engine)->vocab_size, &sampler, &err));
        cp_sampler_start(sampler, &(cp_sampling){.temperature = 0});
        for (size_t i = 0; i < n_greedy; i++) {
            int32_t next = cp_sampler_next(sampler, cp_session_logits(session));
            assert_int_equal(next, greedy[i]);
            assert_cp_ok(cp_session_eval(session, &next, 1, NULL, &err));
        }
        cp_sampler_free(sampler);
        cp_session_free(session);
        cp_engine_close(engine);
        n_cases++;
    }
    assert_int_equal(n_cases, 9);
    cJSON_Delete(cases);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(logits_match),
    cmocka_unit_test(greedy_continuations_match),
    cmocka_unit_test(every_stage_of_a_layer_matches),
    cmocka_unit_test(chunking_does_not_matter),
    cmocka_unit_test(threads_do_not_matter),
    cmocka_unit_test(perplexity_matches),
    cmocka_unit_test(embeddings_match),
    cmocka_unit_test(unusual_folders_load),
};
CP_TEST_GROUP(engine_golden, tests)
