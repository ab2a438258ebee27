/* The forward pass: a decoder-only transformer, pre-norm, with RoPE, grouped-query attention and
 * SwiGLU.
 *
 *     x = embedding[ids]
 *     for each layer:
 *         q, k, v = attn_norm(x) Wq, Wk, Wv        a product of three
 *         q, k = rope(q_norm(q)), rope(k_norm(k))  per head; the norms are Qwen3's, Llama has none
 *         x += attention(q, cache + k, cache + v) Wo
 *         x += (silu(mlp_norm(x) Wgate) * (mlp_norm(x) Wup)) Wdown
 *     logits = final_norm(x) Whead
 *
 * T tokens of one sequence at a time, each stage shared among the threads. */
#include "base/mem.h"
#include "engine/engine_internal.h"
#include "engine/mathfn.h"

#include <string.h>

/* What the stages of one step share. */
typedef struct step {
    cp_session *s;
    const cp_kernels *kernels;
    const cp_model_config *c;
    const cp_layer_weights *w;
    size_t layer, n;
} step;

static void trace(const cp_eval_hooks *hooks, const char *name, size_t layer, const float *values,
                  size_t n, size_t width) {
    if (hooks && hooks->on_trace)
        hooks->on_trace(hooks->user, name, layer, values, n, width);
}

/* Runs a stage on all threads; each takes a range of the step's tokens. A single token is not worth
 * a barrier. */
static void run(step *p, cp_task_fn stage) {
    if (p->n == 1)
        stage(p, 0, 1);
    else
        cp_threads_run(p->s->engine->threads, stage, p);
}

static void products(step *p, const cp_product *list, size_t n, const float *x) {
    cp_engine *e = p->s->engine;
    cp_products_run(e->threads, e->kernels, list, n, x, p->n, e->tiles);
}

static void embed(cp_session *s, const int32_t *ids, size_t n) {
    const cp_matrix *w = &s->engine->weights.embedding;
    size_t row_bytes = w->cols * cp_dtype_bytes(w->dtype);
    for (size_t t = 0; t < n; t++)
        s->engine->kernels->widen[w->dtype]((const char *)w->data + (size_t)ids[t] * row_bytes,
                                            w->cols, s->x + t * w->cols);
}

/* The angles of the step's positions, the same for every layer and head. */
static void make_angles(cp_session *s, size_t n) {
    size_t half = s->engine->config.head_dim / 2;
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < half; i++) {
            double sine, cosine;
            cp_sincos((double)(s->n_tokens + t) * s->engine->frequencies[i], &sine, &cosine);
            s->cosine[t * half + i] = (float)cosine;
            s->sine[t * half + i] = (float)sine;
        }
}

static void norm_rows(step *p, const float *weight, size_t thread, size_t n_threads) {
    size_t begin, end, width = p->c->hidden_size;
    cp_threads_share(p->n, 1, thread, n_threads, &begin, &end);
    for (size_t t = begin; t < end; t++)
        p->kernels->rms_norm(p->s->x + t * width, weight, p->c->norm_eps, width,
                             p->s->normed + t * width);
}

static void attn_norm(void *arg, size_t thread, size_t n_threads) {
    step *p = arg;
    norm_rows(p, p->w->attn_norm, thread, n_threads);
}

static void add_projected(step *p, size_t thread, size_t n_threads) {
    size_t begin, end, width = p->c->hidden_size;
    cp_threads_share(p->n, 1, thread, n_threads, &begin, &end);
    for (size_t i = begin * width; i < end * width; i++)
        p->s->x[i] += p->s->projected[i];
}

/* x += attention's output, then the MLP's norm, token by token while it is in the cache. */
static void add_and_mlp_norm(void *arg, size_t thread, size_t n_threads) {
    step *p = arg;
    add_projected(p, thread, n_threads);
    norm_rows(p, p->w->mlp_norm, thread, n_threads);
}

static void add_mlp(void *arg, size_t thread, size_t n_threads) {
    add_projected(arg, thread, n_threads);
}

static void norm_heads(const step *p, float *heads, size_t n_heads, const float *weight) {
    for (size_t h = 0; h < n_heads; h++) {
        float *head = heads + h * p->c->head_dim;
        p->kernels->rms_norm(head, weight, p->c->norm_eps, p->c->head_dim, head);
    }
}

static void qk_norm(void *arg, size_t thread, size_t n_threads) {
    step *p = arg;
    size_t begin, end;
    cp_threads_share(p->n, 1, thread, n_threads, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        norm_heads(p, p->s->q + t * cp_config_q_dim(p->c), p->c->n_heads, p->w->q_norm);
        norm_heads(p, p->s->k_new + t * cp_config_kv_dim(p->c), p->c->n_kv_heads, p->w->k_norm);
    }
}

static void rotate_heads(const step *p, size_t t, float *heads, size_t n_heads) {
    size_t half = p->c->head_dim / 2;
    for (size_t h = 0; h < n_heads; h++)
        p->kernels->rope(heads + h * p->c->head_dim, p->s->cosine + t * half, p->s->sine + t * half,
                         half);
}

static void rope(void *arg, size_t thread, size_t n_threads) {
    step *p = arg;
    size_t begin, end;
    cp_threads_share(p->n, 1, thread, n_threads, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        rotate_heads(p, t, p->s->q + t * cp_config_q_dim(p->c), p->c->n_heads);
        rotate_heads(p, t, p->s->k_new + t * cp_config_kv_dim(p->c), p->c->n_kv_heads);
    }
}

/* The new keys and values to their places in the cache: [layer][kv head][position]. */
static void store(step *p) {
    const cp_model_config *c = p->c;
    cp_session *s = p->s;
    size_t head_bytes = c->head_dim * sizeof(float);
    for (size_t t = 0; t < p->n; t++)
        for (size_t h = 0; h < c->n_kv_heads; h++) {
            size_t from = (t * c->n_kv_heads + h) * c->head_dim;
            size_t row = (p->layer * c->n_kv_heads + h) * s->max_tokens + s->n_tokens + t;
            memcpy(s->k + row * c->head_dim, s->k_new + from, head_bytes);
            memcpy(s->v + row * c->head_dim, s->v_new + from, head_bytes);
        }
}

static void swiglu(void *arg, size_t thread, size_t n_threads) {
    step *p = arg;
    size_t begin, end;
    cp_threads_share(p->n * p->c->ffn_size, CP_CACHE_LINE, thread, n_threads, &begin, &end);
    p->kernels->swiglu(p->s->gate + begin, p->s->up + begin, end - begin, p->s->gate + begin);
}

static void attention_block(step *p, const cp_eval_hooks *hooks) {
    cp_session *s = p->s;
    const cp_layer_weights *w = p->w;
    size_t q_dim = cp_config_q_dim(p->c), kv_dim = cp_config_kv_dim(p->c),
           hidden = p->c->hidden_size;

    run(p, attn_norm);
    trace(hooks, "attn_norm", p->layer, s->normed, p->n, hidden);
    const cp_product qkv[] = {
        {&w->q_proj, s->q, q_dim}, {&w->k_proj, s->k_new, kv_dim}, {&w->v_proj, s->v_new, kv_dim}};
    products(p, qkv, 3, s->normed);
    trace(hooks, "q_proj", p->layer, s->q, p->n, q_dim);
    trace(hooks, "k_proj", p->layer, s->k_new, p->n, kv_dim);
    trace(hooks, "v_proj", p->layer, s->v_new, p->n, kv_dim);

    if (p->c->qk_norm) {
        run(p, qk_norm);
        trace(hooks, "q_norm", p->layer, s->q, p->n, q_dim);
        trace(hooks, "k_norm", p->layer, s->k_new, p->n, kv_dim);
    }
    run(p, rope);
    trace(hooks, "q_rope", p->layer, s->q, p->n, q_dim);
    trace(hooks, "k_rope", p->layer, s->k_new, p->n, kv_dim);

    store(p);
    cp_attention_run(s, p->layer, p->n);
    trace(hooks, "attn_heads", p->layer, s->heads, p->n, q_dim);
    products(p, &(cp_product){&w->o_proj, s->projected, hidden}, 1, s->heads);
    trace(hooks, "attn_out", p->layer, s->projected, p->n, hidden);
}

static void mlp_block(step *p, const cp_eval_hooks *hooks) {
    cp_session *s = p->s;
    const cp_layer_weights *w = p->w;
    size_t ffn = p->c->ffn_size, hidden = p->c->hidden_size;

    run(p, add_and_mlp_norm);
    trace(hooks, "mlp_norm", p->layer, s->normed, p->n, hidden);
    const cp_product gate_up[] = {{&w->gate_proj, s->gate, ffn}, {&w->up_proj, s->up, ffn}};
    products(p, gate_up, 2, s->normed);
    trace(hooks, "mlp_gate", p->layer, s->gate, p->n, ffn);
    trace(hooks, "mlp_up", p->layer, s->up, p->n, ffn);
    cp_threads_run(s->engine->threads, swiglu, p);
    products(p, &(cp_product){&w->down_proj, s->projected, hidden}, 1, s->gate);
    trace(hooks, "mlp_out", p->layer, s->projected, p->n, hidden);
    run(p, add_mlp);
}

void cp_forward_step(cp_session *s, const int32_t *ids, size_t n, const cp_eval_hooks *hooks) {
    cp_engine *e = s->engine;
    step p = {.s = s, .kernels = e->kernels, .c = &e->config, .n = n};
    embed(s, ids, n);
    make_angles(s, n);
    trace(hooks, "hidden", 0, s->x, n, p.c->hidden_size);
    for (p.layer = 0; p.layer < p.c->n_layers; p.layer++) {
        p.w = &e->weights.layers[p.layer];
        attention_block(&p, hooks);
        mlp_block(&p, hooks);
        trace(hooks, "hidden", p.layer + 1, s->x, n, p.c->hidden_size);
    }
}

void cp_forward_head(cp_session *s, size_t row, size_t n, const cp_eval_hooks *hooks) {
    cp_engine *e = s->engine;
    size_t hidden = e->config.hidden_size;
    for (size_t t = 0; t < n; t++)
        e->kernels->rms_norm(s->x + (row + t) * hidden, e->weights.final_norm, e->config.norm_eps,
                             hidden, s->final + t * hidden);
    trace(hooks, "hidden", e->config.n_layers + 1, s->final, n, hidden);
    cp_products_run(e->threads, e->kernels,
                    &(cp_product){&e->weights.head, s->logits, e->config.vocab_size}, 1, s->final,
                    n, e->tiles);
}
