#include "engine/engine_internal.h"

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

static cp_attention_scratch scratch_of(const cp_session *s, size_t slots, size_t thread) {
    size_t supers = cp_quant_supers(s->engine->config.head_dim), first = thread * slots;
    return (cp_attention_scratch){
        .queries = {s->query_values + first * supers * CP_SUPER,
                    s->query_scales + first * supers * CP_GROUPS_A_SUPER,
                    s->query_sums + first * supers * CP_GROUPS_A_SUPER, supers},
        .scores = s->scores + first * s->max_tokens,
        .stride = s->max_tokens,
    };
}

/* One item: the queries of its rows are gathered, since a row holds all heads. */
static void attend(const cp_engine *e, size_t layer, size_t kv_head, size_t row, size_t n_rows,
                   size_t thread) {
    const cp_model_config *c = &e->config;
    const cp_workspace *w = &e->workspace;
    const cp_session *s = w->rows[row].session;
    size_t group = c->n_heads / c->n_kv_heads, part = group * c->head_dim,
           q_dim = cp_config_q_dim(c);
    cp_attention_scratch scratch = scratch_of(s, CP_ATTENTION_ROWS * group, thread);
    float *gathered = s->gathered + thread * 2 * CP_ATTENTION_ROWS * part;
    float *out = gathered + CP_ATTENTION_ROWS * part;

    for (size_t r = 0; r < n_rows; r++)
        memcpy(gathered + r * part, w->q + (row + r) * q_dim + kv_head * part, part * sizeof *out);
    cp_kv_cache_attend(&s->cache, e->kernels, e->mix, layer, kv_head, w->rows[row].position + 1,
                       n_rows, group, gathered, &scratch, out);
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
