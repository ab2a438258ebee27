/* The engine's promise: with quantized weights the same tokens give the same bits, whatever the
 * instruction set, the number of threads, the chunks of the prefill and the company in the batch.
 */
#include "tests/test.h"

#include "engine/engine.h"
#include "engine/kernels/kernels.h"

#include <math.h>

#define N_PROMPT  70
#define N_DECODED 12

static const char *const levels[] = {"int8", "int4", "int4-mixed"};
static const char *const sources[] = {"tied-gqa2", "untied-gqa4-sharded", "llama"};
static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *quantized(size_t source, size_t level) {
    return test_quantized(sources[source], levels[level]);
}

static cp_engine *open_engine(const char *dir, const char *isa, size_t n_threads, cp_kv kv) {
    cp_engine *engine;
    cp_error err;
    setenv("CAREPATH_ISA", isa, 1);
    assert_cp_ok(
        cp_engine_open(dir, &(cp_engine_options){.n_threads = n_threads, .kv = kv}, &engine, &err));
    unsetenv("CAREPATH_ISA");
    return engine;
}

static int has_isa(const char *isa) {
    const cp_kernels *table;
    return cp_kernels_choose(isa, &table, NULL) == CP_OK;
}

static void make_prompt(const cp_engine *engine, uint64_t seed, int32_t ids[N_PROMPT]) {
    for (size_t i = 0; i < N_PROMPT; i++)
        ids[i] = (int32_t)(test_random(&seed) % cp_engine_config(engine)->vocab_size);
}

static int32_t best(const float *logits, size_t n) {
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        at = logits[i] > logits[at] ? i : at;
    return (int32_t)at;
}

static void prefill(cp_session *s, const int32_t *ids, size_t chunk) {
    cp_error err;
    for (size_t done = 0; done < N_PROMPT; done += chunk) {
        size_t n = N_PROMPT - done < chunk ? N_PROMPT - done : chunk;
        assert_cp_ok(cp_session_eval(s, ids + done, n, NULL, &err));
    }
}

/* Greedy decoding of `n` sequences together; the logits of the first after every token go to out
 * [N_DECODED + 1, vocab]. */
static void decode(cp_session *const *sessions, size_t n, float *out) {
    cp_error err;
    size_t vocab = cp_engine_config(cp_session_engine(sessions[0]))->vocab_size;
    for (size_t i = 0; i <= N_DECODED; i++) {
        int32_t ids[4];
        memcpy(out + i * vocab, cp_session_logits(sessions[0]), vocab * sizeof *out);
        for (size_t k = 0; k < n; k++)
            ids[k] = best(cp_session_logits(sessions[k]), vocab);
        if (i < N_DECODED)
            assert_cp_ok(cp_sessions_decode(sessions, ids, n, &err));
    }
}

/* One way to compute the same thing. */
typedef struct way {
    const char *isa;
    size_t n_threads, chunk, batch;
} way;

static float *run_way(const char *dir, cp_kv kv, way w, size_t *n) {
    cp_error err;
    cp_engine *engine = open_engine(dir, w.isa, w.n_threads, kv);
    cp_session *sessions[4] = {0};
    int32_t ids[N_PROMPT];
    *n = (N_DECODED + 1) * cp_engine_config(engine)->vocab_size;
    float *logits = malloc(*n * sizeof *logits);
    assert_non_null(logits);
    for (size_t k = 0; k < w.batch; k++) {
        assert_cp_ok(cp_session_create(engine, N_PROMPT + N_DECODED + k, &sessions[k], &err));
        make_prompt(engine, 100 + k, ids);
        prefill(sessions[k], ids, k == 0 ? w.chunk : N_PROMPT);
    }
    decode(sessions, w.batch, logits);
    for (size_t k = 0; k < w.batch; k++)
        cp_session_free(sessions[k]);
    cp_engine_close(engine);
    return logits;
}

static void compare_ways(const char *dir, cp_kv kv) {
    size_t n, m;
    float *reference = run_way(dir, kv, (way){"scalar", 1, N_PROMPT, 1}, &n);
    for (size_t i = 0; i < n; i++)
        assert_true(isfinite(reference[i]));
    for (size_t i = 0; i < COUNT(isas); i++) {
        if (!has_isa(isas[i]))
            continue;
        const way ways[] = {
            {isas[i], 3, 7, 1}, {isas[i], 2, 64, 4}, {isas[i], 1, N_PROMPT, 1},
            {isas[i], 2, 1, 1}, {isas[i], 1, 13, 2}, {isas[i], 3, N_PROMPT, 3},
        };
        /* The definition is slow; what it is compared with is not. */
        size_t n_ways = strcmp(isas[i], "scalar") == 0 ? 2 : COUNT(ways);
        for (size_t w = 0; w < n_ways; w++) {
            float *other = run_way(dir, kv, ways[w], &m);
            assert_int_equal(n, m);
            for (size_t k = 0; k < n; k++)
                if (memcmp(reference + k, other + k, sizeof *other) != 0)
                    fail_msg("%s, kv %s, %s, %zu threads, chunks of %zu, batch of %zu: logit %zu "
                             "is %a, reference %a",
                             dir, cp_kv_name(kv), ways[w].isa, ways[w].n_threads, ways[w].chunk,
                             ways[w].batch, k, other[k], reference[k]);
            free(other);
        }
    }
    free(reference);
}

/* On emulated processors and under sanitizers one model of them stands for all; under the thread
 * sanitizer one level too: what threads do is the same at all. */
#if defined(__SANITIZE_THREAD__)
#define N_COMPARED 1
#define N_LEVELS   1
#elif !defined(__x86_64__) || defined(__SANITIZE_ADDRESS__)
#define N_COMPARED 1
#define N_LEVELS   COUNT(levels)
#else
#define N_COMPARED COUNT(sources)
#define N_LEVELS   COUNT(levels)
#endif

static void the_same_bits_every_way(void **state) {
    (void)state;
    for (size_t s = 0; s < N_COMPARED; s++)
        for (size_t l = 0; l < N_LEVELS; l++) {
            compare_ways(quantized(s, l), CP_KV_F16);
            compare_ways(quantized(s, l), CP_KV_INT8);
        }
    compare_ways(quantized(0, 0), CP_KV_F32);
}

/* How far the quantized model's logits are from the reference, as the root mean square over that of
 * the logits. Random weights suffer far more than trained ones: rounding the weights alone costs
 * these models 3-7% (int8) and 43-84% (int4) of the largest logit (expected/MODEL/golden.json,
 * weight_rounding). Seen here: 5-8%, 41-72%, 35-68%. */
static void quantized_logits_stay_near(void **state) {
    (void)state;
    static const double bounds[] = {0.12, 0.85, 0.80};
    for (size_t s = 0; s < COUNT(sources); s++)
        for (size_t l = 0; l < N_LEVELS; l++) {
            char dir[256];
            size_t n, m;
            snprintf(dir, sizeof dir, GOLDEN "/models/%s", sources[s]);
            /* The prompt's last logits only: later ones follow other tokens. */
            float *exact = run_way(dir, CP_KV_F32, (way){"scalar", 2, N_PROMPT, 1}, &n);
            float *rounded =
                run_way(quantized(s, l), CP_KV_F16, (way){"scalar", 2, N_PROMPT, 1}, &m);
            double gap = 0, size = 0;
            for (size_t i = 0; i < n / (N_DECODED + 1); i++) {
                gap += pow(rounded[i] - exact[i], 2);
                size += pow(exact[i], 2);
            }
            if (!(sqrt(gap / size) < bounds[l]))
                fail_msg("%s %s: relative error %.4f", sources[s], levels[l], sqrt(gap / size));
            free(exact);
            free(rounded);
        }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_same_bits_every_way),
    cmocka_unit_test(quantized_logits_stay_near),
};
CP_TEST_GROUP(bit_equality, tests)
