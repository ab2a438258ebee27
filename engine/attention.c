#include "engine/engine_internal.h"

typedef struct job {
    cp_engine *engine;
    size_t layer;
} job;

/* One row's queries of one kv head's group, over positions 0..its own. */
static void attend(const cp_engine *e, size_t layer, size_t kv_head, size_t row, size_t thread) {
    const cp_model_config *c = &e->config;
    const cp_workspace *w = &e->workspace;
    const cp_session *s = w->rows[row].session;
    size_t group = c->n_heads / c->n_kv_heads, supers = cp_quant_supers(c->head_dim);
    size_t first_head = row * c->n_heads + kv_head * group, item = thread * group;
    cp_attention_scratch scratch = {
        .queries = {s->query_values + item * supers * CP_SUPER,
                    s->query_scales + item * supers * CP_GROUPS_A_SUPER,
                    s->query_sums + item * supers * CP_GROUPS_A_SUPER, supers},
        .scores = s->scores + item * s->max_tokens,
        .stride = s->max_tokens,
    };
    cp_kv_cache_attend(&s->cache, e->kernels, e->mix, layer, kv_head, w->rows[row].position + 1,
                       w->q + first_head * c->head_dim, group, &scratch,
                       w->heads + first_head * c->head_dim);
}

/* Items (kv head, row) go to the threads in turn: later rows, which cost more, are spread evenly.
 */
static void share(void *arg, size_t thread, size_t n_threads) {
    const job *j = arg;
    size_t n_rows = j->engine->workspace.n_rows;
    for (size_t item = thread; item < j->engine->config.n_kv_heads * n_rows; item += n_threads)
        attend(j->engine, j->layer, item / n_rows, item % n_rows, thread);
}

void cp_attention_run(cp_engine *engine, size_t layer) {
    cp_threads_run(engine->threads, share, &(job){engine, layer});
}
