/* A sequence: its cache, the outputs of its last token, and attention's scratch. */
#include "engine/engine.h"

#include "base/mem.h"
#include "engine/engine_internal.h"

#include <stdlib.h>

static cp_status check_size(const cp_engine *engine, size_t max_tokens, cp_error *err) {
    if (max_tokens == 0 || max_tokens > engine->config.max_positions)
        return cp_error_set(err, CP_ERR_USAGE,
                            "context is %zu tokens, expected 1 to the model's %zu", max_tokens,
                            engine->config.max_positions);
    return CP_OK;
}

/* Queries that attention items hold at a time, over all threads. */
static size_t n_query_slots(const cp_engine *e) {
    return cp_threads_count(e->threads) * CP_ATTENTION_ROWS *
           (e->config.n_heads / e->config.n_kv_heads);
}

static cp_status allocate(cp_session *s, cp_error *err) {
    const cp_engine *e = s->engine;
    size_t slots = n_query_slots(e), supers = cp_quant_supers(e->config.head_dim);
    cp_status status = cp_kv_cache_create(&e->config, e->kv, s->max_tokens, &s->cache, err);
    if (status != CP_OK)
        return status;
    s->logits = cp_alloc_aligned(e->config.vocab_size, sizeof(float));
    s->hidden = cp_alloc_aligned(e->config.hidden_size, sizeof(float));
    s->gathered = cp_alloc_aligned(2 * slots * e->config.head_dim, sizeof(float));
    s->query_values = cp_alloc_aligned(slots * supers, CP_SUPER);
    s->query_scales = cp_alloc_aligned(slots * supers, CP_GROUPS_A_SUPER * sizeof(float));
    s->query_sums = cp_alloc_aligned(slots * supers, CP_GROUPS_A_SUPER * sizeof(int32_t));
    s->scores =
        cp_pages_alloc(slots * s->max_tokens * sizeof(float)); /* 2^20 slots of 2^24 tokens fit */
    if (!s->logits || !s->hidden || !s->gathered || !s->query_values || !s->query_scales ||
        !s->query_sums || !s->scores)
        return cp_error_no_memory(err, "session");
    return CP_OK;
}

cp_status cp_session_bytes(cp_engine *e, size_t max_tokens, size_t *bytes, cp_error *err) {
    size_t slots = n_query_slots(e), per_super = CP_SUPER + CP_GROUPS_A_SUPER * 8;
    cp_status status = check_size(e, max_tokens, err);
    if (status == CP_OK)
        status = cp_kv_cache_bytes(&e->config, e->kv, max_tokens, bytes, err);
    if (status == CP_OK)
        *bytes +=
            (e->config.vocab_size + e->config.hidden_size + slots * max_tokens) * sizeof(float) +
            slots * (cp_quant_supers(e->config.head_dim) * per_super +
                     2 * e->config.head_dim * sizeof(float));
    return status;
}

cp_status cp_session_create(cp_engine *engine, size_t max_tokens, cp_session **out, cp_error *err) {
    *out = NULL;
    cp_status status = check_size(engine, max_tokens, err);
    if (status != CP_OK)
        return status;
    cp_session *s = calloc(1, sizeof *s);
    if (!s)
        return cp_error_no_memory(err, "session");
    s->engine = engine;
    s->max_tokens = max_tokens;
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
    cp_pages_free(s->scores, n_query_slots(s->engine) * s->max_tokens * sizeof(float));
    cp_kv_cache_free(&s->cache);
    free(s->logits);
    free(s->hidden);
    free(s->gathered);
    free(s->query_values);
    free(s->query_scales);
    free(s->query_sums);
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

const float *cp_session_logits(const cp_session *s) {
    return s->logits;
}

const float *cp_session_hidden(const cp_session *s) {
    return s->hidden;
}
