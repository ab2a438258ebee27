/* A sequence: its memory, and evaluating tokens in chunks. */
#include "engine/engine.h"

#include "base/mem.h"
#include "engine/engine_internal.h"

#include <stdlib.h>

/* One buffer of a session: where its pointer goes, and its two or three dimensions in floats. */
typedef struct buffer {
    float **at;
    size_t a, b, c;
} buffer;

#define N_BUFFERS 16

/* Where each buffer begins in one run of pages, each on a cache line, and the bytes of the whole.
 */
static cp_status plan(cp_session *s, buffer buffers[N_BUFFERS], size_t offsets[N_BUFFERS],
                      size_t *total, cp_error *err) {
    const cp_model_config *c = &s->engine->config;
    size_t q_dim = cp_config_q_dim(c), kv_dim = cp_config_kv_dim(c), t = s->step_cap;
    size_t n_threads = cp_threads_count(s->engine->threads);
    const buffer all[N_BUFFERS] = {
        {&s->k, c->n_layers, s->max_tokens, kv_dim},
        {&s->v, c->n_layers, s->max_tokens, kv_dim},
        {&s->x, t, c->hidden_size, 1},
        {&s->normed, t, c->hidden_size, 1},
        {&s->q, t, q_dim, 1},
        {&s->k_new, t, kv_dim, 1},
        {&s->v_new, t, kv_dim, 1},
        {&s->heads, t, q_dim, 1},
        {&s->projected, t, c->hidden_size, 1},
        {&s->gate, t, c->ffn_size, 1},
        {&s->up, t, c->ffn_size, 1},
        {&s->cosine, t, c->head_dim / 2, 1},
        {&s->sine, t, c->head_dim / 2, 1},
        {&s->scores, n_threads, c->n_heads / c->n_kv_heads, s->max_tokens},
        {&s->final, CP_LOGITS_BLOCK, c->hidden_size, 1},
        {&s->logits, CP_LOGITS_BLOCK, c->vocab_size, 1},
    };
    *total = 0;
    for (size_t i = 0; i < N_BUFFERS; i++) {
        size_t bytes = sizeof(float);
        buffers[i] = all[i];
        offsets[i] = *total;
        if (!cp_size_mul(bytes, all[i].a, &bytes) || !cp_size_mul(bytes, all[i].b, &bytes) ||
            !cp_size_mul(bytes, all[i].c, &bytes) ||
            !cp_size_add(bytes, CP_CACHE_LINE - 1, &bytes) ||
            !cp_size_add(*total, bytes / CP_CACHE_LINE * CP_CACHE_LINE, total))
            return cp_error_set(err, CP_ERR_LIMIT, "a session of %zu tokens does not fit in memory",
                                s->max_tokens);
    }
    return CP_OK;
}

/* Checks the size and sets what the plan depends on. */
static cp_status prepare(cp_session *s, cp_engine *engine, size_t max_tokens, cp_error *err) {
    if (max_tokens == 0 || max_tokens > engine->config.max_positions)
        return cp_error_set(err, CP_ERR_USAGE,
                            "context is %zu tokens, expected 1 to the model's %zu", max_tokens,
                            engine->config.max_positions);
    s->engine = engine;
    s->max_tokens = max_tokens;
    s->step_cap = max_tokens < CP_STEP_MAX_TOKENS ? max_tokens : CP_STEP_MAX_TOKENS;
    return CP_OK;
}

static cp_status allocate(cp_session *s, cp_error *err) {
    buffer buffers[N_BUFFERS];
    size_t offsets[N_BUFFERS];
    cp_status status = plan(s, buffers, offsets, &s->memory_bytes, err);
    if (status != CP_OK)
        return status;
    s->memory = cp_pages_alloc(s->memory_bytes);
    if (!s->memory)
        return cp_error_no_memory(err, "session");
    for (size_t i = 0; i < N_BUFFERS; i++)
        *buffers[i].at = (float *)(void *)((char *)s->memory + offsets[i]);
    return CP_OK;
}

cp_status cp_session_bytes(cp_engine *engine, size_t max_tokens, size_t *bytes, cp_error *err) {
    cp_session planned = {0};
    buffer buffers[N_BUFFERS];
    size_t offsets[N_BUFFERS];
    cp_status status = prepare(&planned, engine, max_tokens, err);
    return status == CP_OK ? plan(&planned, buffers, offsets, bytes, err) : status;
}

cp_status cp_session_create(cp_engine *engine, size_t max_tokens, cp_session **out, cp_error *err) {
    *out = NULL;
    cp_session *s = calloc(1, sizeof *s);
    if (!s)
        return cp_error_no_memory(err, "session");
    cp_status status = prepare(s, engine, max_tokens, err);
    if (status == CP_OK)
        status = allocate(s, err);
    if (status != CP_OK) {
        cp_session_free(s);
        return status;
    }
    *out = s;
    return CP_OK;
}

void cp_session_free(cp_session *s) {
    if (!s)
        return;
    cp_pages_free(s->memory, s->memory_bytes);
    free(s);
}

cp_engine *cp_session_engine(const cp_session *s) {
    return s->engine;
}

size_t cp_session_n_tokens(const cp_session *s) {
    return s->n_tokens;
}

size_t cp_session_max_tokens(const cp_session *s) {
    return s->max_tokens;
}

void cp_session_rewind(cp_session *s, size_t n_tokens) {
    if (n_tokens < s->n_tokens)
        s->n_tokens = n_tokens;
}

static cp_status check_input(const cp_session *s, const int32_t *ids, size_t n, cp_error *err) {
    if (n == 0)
        return cp_error_set(err, CP_ERR_USAGE, "no token ids to evaluate");
    if (n > s->max_tokens - s->n_tokens)
        return cp_error_set(err, CP_ERR_LIMIT,
                            "%zu tokens after %zu do not fit in a context of %zu", n, s->n_tokens,
                            s->max_tokens);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= s->engine->config.vocab_size)
            return cp_error_set(err, CP_ERR_USAGE, "token id %d at place %zu, expected 0 to %zu",
                                ids[i], i, s->engine->config.vocab_size - 1);
    return CP_OK;
}

/* The logits of every position of the chunk that was just run, a block at a time. */
static void report_logits(cp_session *s, size_t n, const cp_eval_hooks *hooks) {
    size_t first = s->n_tokens - n, vocab = s->engine->config.vocab_size;
    for (size_t row = 0; row < n; row += CP_LOGITS_BLOCK) {
        size_t block = n - row < CP_LOGITS_BLOCK ? n - row : CP_LOGITS_BLOCK;
        cp_forward_head(s, row, block, hooks);
        for (size_t i = 0; i < block; i++)
            hooks->on_logits(hooks->user, first + row + i, s->logits + i * vocab);
        s->last_row = block - 1;
    }
}

cp_status cp_session_eval(cp_session *s, const int32_t *ids, size_t n, const cp_eval_hooks *hooks,
                          cp_error *err) {
    cp_status status = check_input(s, ids, n, err);
    if (status != CP_OK)
        return status;
    for (size_t done = 0; done < n;) {
        size_t chunk = n - done < s->step_cap ? n - done : s->step_cap;
        if (hooks && hooks->is_cancelled && hooks->is_cancelled(hooks->user))
            return cp_error_set(err, CP_ERR_CANCELLED, "cancelled after %zu of %zu tokens", done,
                                n);
        cp_forward_step(s, ids + done, chunk, hooks);
        s->n_tokens += chunk;
        done += chunk;
        if (hooks && hooks->on_logits) {
            report_logits(s, chunk, hooks);
        } else if (done == n) {
            cp_forward_head(s, chunk - 1, 1, hooks);
            s->last_row = 0;
        }
    }
    return CP_OK;
}

const float *cp_session_logits(const cp_session *s) {
    return s->logits + s->last_row * s->engine->config.vocab_size;
}

const float *cp_session_hidden(const cp_session *s) {
    return s->final + s->last_row * s->engine->config.hidden_size;
}
