/* The engine: token ids in, logits and token ids out. It knows no text and no HTTP.
 *
 * An engine is a model opened from a Hugging Face folder (weights mapped, borrowed, read-only) and
 * the threads that compute it. A session is one sequence: its place in a KV cache and its position;
 * evaluating tokens allocates nothing. Sessions have a cache of their own, or share a pool of
 * blocks, where one that begins like an earlier one takes over what that computed. Sessions of one
 * engine are created and evaluated by one thread, because they share its threads and buffers.
 * Engines are independent of each other. */
#ifndef CP_ENGINE_ENGINE_H
#define CP_ENGINE_ENGINE_H

#include "base/error.h"
#include "engine/config.h"
#include "engine/kv_pool.h"
#include "engine/sampler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cp_engine cp_engine;
typedef struct cp_session cp_session;

/* How keys and values are kept. int8 (a scale a group of 32) takes half of f16's memory and
 * bandwidth. AUTO is f32 for weights that are not quantized (the accuracy reference) and f16 for
 * those that are. */
typedef enum cp_kv { CP_KV_AUTO, CP_KV_F32, CP_KV_F16, CP_KV_INT8 } cp_kv;
const char *cp_kv_name(cp_kv kv); /* "auto", "f32", "f16", "int8" */
bool cp_kv_parse(const char *word, cp_kv *out);

typedef struct cp_engine_options {
    size_t n_threads; /* 0: one a processor this process may use */
    cp_kv kv;
    size_t plan_tokens; /* AUTO takes int8 when f16 for this many tokens would not fit beside the
                           weights */
} cp_engine_options;

cp_status cp_engine_open(const char *dir, const cp_engine_options *options, cp_engine **out,
                         cp_error *err) CP_MUST_CHECK;
void cp_engine_close(cp_engine *engine);
const cp_model_config *cp_engine_config(const cp_engine *engine);
/* generation_config.json over our defaults; the seed is 0. */
const cp_sampling *cp_engine_sampling(const cp_engine *engine);
size_t cp_engine_n_threads(const cp_engine *engine);
size_t cp_engine_weight_bytes(const cp_engine *engine); /* mapped */
/* The level of the matrices: "f32", "f16", "bf16", "int8", "int4", or "int4-mixed" where there
 * are several or int5. */
const char *cp_engine_quant(const cp_engine *engine);
cp_kv cp_engine_kv(const cp_engine *engine); /* never AUTO */
/* KV cache bytes for one token, all layers. */
size_t cp_engine_kv_bytes(const cp_engine *engine);
/* The buffers of a step, as far as generation comes to use them. */
size_t cp_engine_workspace_bytes(const cp_engine *engine);
const char *cp_engine_isa(const cp_engine *engine); /* "scalar", "avx2" */

/* With a cache of its own for up to max_tokens tokens; what no token has reached yet costs no
 * memory. */
cp_status cp_session_create(cp_engine *engine, size_t max_tokens, cp_session **out,
                            cp_error *err) CP_MUST_CHECK;
void cp_session_free(cp_session *session);

/* A pool for sessions of this engine that holds at least n_tokens of one sequence. */
cp_status cp_engine_make_pool(const cp_engine *engine, size_t n_tokens, cp_kv_pool **out,
                              cp_error *err) CP_MUST_CHECK;
/* In a pool, which must outlive it. Such a session takes part in cp_engine_step only: it keeps no
 * logits of its own. */
cp_status cp_session_create_in(cp_engine *engine, cp_kv_pool *pool, const char *owner,
                               size_t max_tokens, cp_session **out, cp_error *err) CP_MUST_CHECK;
/* An empty session takes over what sessions of the same owner published for a beginning of ids [n],
 * at most n - 1 tokens, since the last one's logits must be computed. Returns how many. */
size_t cp_session_adopt(cp_session *session, const int32_t *ids, size_t n);
/* Lets later sessions find this one's tokens: whole blocks, and with `rest` the begun one too,
 * after which the session should not go on. */
void cp_session_publish(cp_session *session, bool rest);

/* The bytes that such a session takes once all its pages have been used. */
cp_status cp_session_bytes(cp_engine *engine, size_t max_tokens, size_t *bytes,
                           cp_error *err) CP_MUST_CHECK;
cp_engine *cp_session_engine(const cp_session *session);
size_t cp_session_n_tokens(const cp_session *session);
size_t cp_session_max_tokens(const cp_session *session);
/* Forgets all tokens from position n on. */
void cp_session_rewind(cp_session *session, size_t n_tokens);

/* Longest run of tokens that one step takes; longer inputs are cut into chunks of it. */
#define CP_STEP_MAX_TOKENS 192

typedef struct cp_eval_hooks {
    /* Called with the logits [vocab_size] of each position in turn (asking for them costs a head
     * product for every token). NULL: only the last position's are computed. */
    void (*on_logits)(void *user, size_t position, const float *logits);
    /* Asked before each chunk; true stops with CP_ERR_CANCELLED, the session then holds the chunks
     * done. */
    bool (*is_cancelled)(void *user);
    /* Intermediate values, for comparison with a reference: `name` as in tests/golden
     * ("layer0_attn_norm", "hidden"), values [n_tokens, width]. NULL outside tests. */
    void (*on_trace)(void *user, const char *name, size_t layer, const float *values,
                     size_t n_tokens, size_t width);
    void *user;
} cp_eval_hooks;

/* Appends the ids to the sequence. An id outside 0..vocab_size, or more tokens than fit, is refused
 * before anything changes. hooks may be NULL. */
cp_status cp_session_eval(cp_session *session, const int32_t *ids, size_t n,
                          const cp_eval_hooks *hooks, cp_error *err) CP_MUST_CHECK;

/* A part of a step: tokens that are appended to one session. */
typedef struct cp_step_part {
    cp_session *session;
    const int32_t *ids; /* [n], n at least 1 */
    size_t n;
    size_t n_logits;   /* the logits of its last n_logits tokens are wanted */
    bool wants_hidden; /* the hidden state of its last token is */
} cp_step_part;

typedef struct cp_step_hooks {
    /* Called after all tokens went through, with the logits [vocab_size] of `token` (0..n) of each
     * part, in order. May rewind sessions; must not evaluate. */
    void (*on_logits)(void *user, size_t part, size_t token, const float *logits);
    /* The same with the hidden state [hidden_size] after the final norm of the parts that want it,
     * before all logits. */
    void (*on_hidden)(void *user, size_t part, const float *hidden);
    void *user;
} cp_step_hooks;

/* One step for parts of different sessions, CP_STEP_MAX_TOKENS tokens at most together: weights are
 * read once for all, and each session gets the same bits as alone (quantized weights). Refuses
 * before anything changes; CP_ERR_BUSY when the pool has no free block. */
cp_status cp_engine_step(cp_engine *engine, const cp_step_part *parts, size_t n_parts,
                         const cp_step_hooks *hooks, cp_error *err) CP_MUST_CHECK;

/* One token of each of n sessions of the same engine in one step: weights are read once for all,
 * and each session gets the same bits as alone (quantized weights). n is at most
 * CP_STEP_MAX_TOKENS; a session may appear once. Checks as cp_session_eval does, before anything
 * changes. */
cp_status cp_sessions_decode(cp_session *const *sessions, const int32_t *ids, size_t n,
                             cp_error *err) CP_MUST_CHECK;

/* After an eval of a session with its own cache: logits [vocab_size] of the last token; its hidden
 * state [hidden_size] after the final norm. Valid until the next eval. */
const float *cp_session_logits(const cp_session *session);
const float *cp_session_hidden(const cp_session *session);

/* ln of the sum of exp(logits): a token's log probability is its logit minus this. Double
 * precision, shifted by the largest. */
double cp_log_sum_exp(const float *logits, size_t n);
/* Evaluates ids from an empty sequence and sums -ln p(ids[t] | ids[0..t)) over t = 1..n-1, in
 * double precision; n is at least 2. Perplexity is exp(*nll / (n - 1)). */
cp_status cp_session_nll(cp_session *session, const int32_t *ids, size_t n, double *nll,
                         cp_error *err) CP_MUST_CHECK;
/* A last token's hidden state [n] divided by its L2 norm (Qwen3-Embedding's pooling). */
void cp_embedding_of_hidden(const float *hidden, size_t n, float *out);
void cp_session_embedding(const cp_session *session, float *out); /* [hidden_size] */

#endif
