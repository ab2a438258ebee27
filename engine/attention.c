#include "engine/engine_internal.h"

#include <math.h>
#include <string.h>

typedef struct job {
    cp_session *s;
    size_t layer, n;
} job;

/* One token's queries of one kv head's group, over positions 0..position. */
static void attend(const cp_session *s, size_t layer, size_t kv_head, size_t t, float *scores) {
    const cp_model_config *c = &s->engine->config;
    const cp_kernels *kernels = s->engine->kernels;
    size_t d = c->head_dim, group = c->n_heads / c->n_kv_heads;
    size_t n_positions = s->n_tokens + t + 1;
    size_t base = (layer * c->n_kv_heads + kv_head) * s->max_tokens * d;
    const float *keys = s->k + base, *values = s->v + base;
    size_t first_head = t * c->n_heads + kv_head * group;
    const float *q = s->q + first_head * d;
    float *out = s->heads + first_head * d;
    float scale = 1.0f / sqrtf((float)d);

    for (size_t p = 0; p < n_positions;
         p++) /* the group shares each key while it is in the cache */
        for (size_t g = 0; g < group; g++)
            scores[g * s->max_tokens + p] = kernels->dot(q + g * d, keys + p * d, d) * scale;
    for (size_t g = 0; g < group; g++)
        kernels->softmax(scores + g * s->max_tokens, n_positions);
    memset(out, 0, group * d * sizeof *out);
    for (size_t p = 0; p < n_positions; p++)
        for (size_t g = 0; g < group; g++)
            kernels->axpy(scores[g * s->max_tokens + p], values + p * d, out + g * d, d);
}

/* Items (kv head, token) go to the threads in turn: later tokens, which cost more, are spread
 * evenly. */
static void share(void *arg, size_t thread, size_t n_threads) {
    const job *j = arg;
    const cp_model_config *c = &j->s->engine->config;
    float *scores = j->s->scores + thread * (c->n_heads / c->n_kv_heads) * j->s->max_tokens;
    for (size_t item = thread; item < c->n_kv_heads * j->n; item += n_threads)
        attend(j->s, j->layer, item / j->n, item % j->n, scores);
}

void cp_attention_run(cp_session *s, size_t layer, size_t n) {
    cp_threads_run(s->engine->threads, share, &(job){s, layer, n});
}
