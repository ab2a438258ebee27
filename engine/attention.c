#include "base/mem.h"
#include "engine/engine_internal.h"

#include <stdlib.h>
#include <string.h>

/* The rows of a step are cut into items: runs of neighbouring positions of one session, a kv head
 * each. Items go to the threads in turn: later rows, which cost more, are spread evenly. */
typedef struct job {
    cp_engine *engine;
    size_t layer;
} job;

/* How many rows from `row` on go together. */
static size_t run_length(const cp_workspace *w, size_t row) {
    size_t n = 1;
    while (n < CP_ATTENTION_ROWS && row + n < w->n_rows &&
           w->rows[row + n].session == w->rows[row].session &&
           w->rows[row + n].position == w->rows[row].position + n)
        n++;
    return n;
}

/* ---- scratch --------------------------------------------------------------------------------- */

/* Queries that one item holds. */
static size_t item_queries(const cp_engine *e) {
    return CP_ATTENTION_ROWS * (e->config.n_heads / e->config.n_kv_heads);
}

static size_t n_slots(const cp_engine *e) {
    return cp_threads_count(e->threads) * item_queries(e);
}

static size_t scores_bytes(const cp_engine *e, size_t max_tokens) {
    return n_slots(e) * max_tokens * sizeof(float); /* 2^20 slots of 2^24 tokens fit */
}

size_t cp_attention_bytes(const cp_engine *e, size_t max_tokens) {
    size_t per_super = CP_SUPER + CP_GROUPS_A_SUPER * (sizeof(float) + sizeof(int32_t));
    return scores_bytes(e, max_tokens) +
           n_slots(e) * (cp_quant_supers(e->config.head_dim) * per_super +
                         2 * e->config.head_dim * sizeof(float));
}

cp_status cp_attention_reserve(cp_engine *e, size_t max_tokens, cp_error *err) {
    cp_attention_buffers *a = &e->attention;
    size_t slots = n_slots(e), supers = cp_quant_supers(e->config.head_dim);
    if (!a->gathered) {
        a->gathered = cp_alloc_aligned(2 * slots * e->config.head_dim, sizeof(float));
        a->query_values = cp_alloc_aligned(slots * supers, CP_SUPER);
        a->query_scales = cp_alloc_aligned(slots * supers, CP_GROUPS_A_SUPER * sizeof(float));
        a->query_sums = cp_alloc_aligned(slots * supers, CP_GROUPS_A_SUPER * sizeof(int32_t));
        if (!a->gathered || !a->query_values || !a->query_scales || !a->query_sums) {
            cp_attention_free(e);
            return cp_error_no_memory(err, "attention");
        }
    }
    if (max_tokens <= a->max_tokens)
        return CP_OK;
    float *scores = cp_pages_alloc(scores_bytes(e, max_tokens));
    if (!scores)
        return cp_error_no_memory(err, "attention");
    cp_pages_free(a->scores, scores_bytes(e, a->max_tokens));
    a->scores = scores;
    a->max_tokens = max_tokens;
    return CP_OK;
}

void cp_attention_free(cp_engine *e) {
    cp_attention_buffers *a = &e->attention;
    if (a->scores)
        cp_pages_free(a->scores, scores_bytes(e, a->max_tokens));
    free(a->gathered);
    free(a->query_values);
    free(a->query_scales);
    free(a->query_sums);
    *a = (cp_attention_buffers){0};
}

static cp_attention_scratch scratch_of(const cp_engine *e, size_t thread) {
    const cp_attention_buffers *a = &e->attention;
    size_t supers = cp_quant_supers(e->config.head_dim), first = thread * item_queries(e);
    return (cp_attention_scratch){
        .queries = {a->query_values + first * supers * CP_SUPER,
                    a->query_scales + first * supers * CP_GROUPS_A_SUPER,
                    a->query_sums + first * supers * CP_GROUPS_A_SUPER, supers},
        .scores = a->scores + first * a->max_tokens,
        .stride = a->max_tokens,
    };
}

/* ---- the work -------------------------------------------------------------------------------- */

/* One item: the queries of its rows are gathered, since a row holds all heads. */
static void attend(const cp_engine *e, size_t layer, size_t kv_head, size_t row, size_t n_rows,
                   size_t thread) {
    const cp_model_config *c = &e->config;
    const cp_workspace *w = &e->workspace;
    size_t group = c->n_heads / c->n_kv_heads, part = group * c->head_dim,
           q_dim = cp_config_q_dim(c);
    cp_attention_scratch scratch = scratch_of(e, thread);
    float *gathered = e->attention.gathered + thread * 2 * CP_ATTENTION_ROWS * part;
    float *out = gathered + CP_ATTENTION_ROWS * part;

    for (size_t r = 0; r < n_rows; r++)
        memcpy(gathered + r * part, w->q + (row + r) * q_dim + kv_head * part, part * sizeof *out);
    cp_kv_attend(&e->kv, e->kernels, e->mix, w->rows[row].session->memory, layer, kv_head,
                 w->rows[row].position + 1, n_rows, group, gathered, &scratch, out);
    for (size_t r = 0; r < n_rows; r++)
        memcpy(w->heads + (row + r) * q_dim + kv_head * part, out + r * part, part * sizeof *out);
}

static void share(void *arg, size_t thread, size_t n_threads) {
    const job *j = arg;
    const cp_workspace *w = &j->engine->workspace;
    size_t item = 0, n_rows;
    for (size_t row = 0; row < w->n_rows; row += n_rows) {
        n_rows = run_length(w, row);
        for (size_t head = 0; head < j->engine->config.n_kv_heads; head++, item++)
            if (item % n_threads == thread)
                attend(j->engine, j->layer, head, row, n_rows, thread);
    }
}

void cp_attention_run(cp_engine *engine, size_t layer) {
    cp_threads_run(engine->threads, share, &(job){engine, layer});
}
