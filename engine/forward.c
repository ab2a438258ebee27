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
 * The rows of a step (tokens of one or more sequences) go through together, each stage shared among
 * the threads; only attention asks whose row it is. */
#include "base/mem.h"
#include "engine/engine_internal.h"
#include "engine/mathfn.h"

/* What the stages of one step share. */
typedef struct step {
    cp_engine *e;
    cp_workspace *ws;
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
        cp_threads_run(p->e->threads, stage, p);
}

static void products(const cp_engine *e, const cp_product *list, size_t n, const float *x,
                     size_t n_rows) {
    const cp_workspace *ws = &e->workspace;
    cp_products_run(
        &(cp_product_context){
            e->threads, e->kernels, e->tiles, {ws->values, ws->scales, ws->sums, 0}},
        list, n, x, n_rows);
}

static void embed(const cp_engine *e) {
    const cp_workspace *ws = &e->workspace;
    for (size_t t = 0; t < ws->n_rows; t++)
        cp_matrix_widen_row(&e->weights.embedding, e->kernels, (size_t)ws->rows[t].id,
                            ws->x + t * e->config.hidden_size);
}

/* The angles of the rows' positions, the same for every layer and head. */
static void make_angles(const cp_engine *e) {
    const cp_workspace *ws = &e->workspace;
    size_t half = e->config.head_dim / 2;
    for (size_t t = 0; t < ws->n_rows; t++)
        for (size_t i = 0; i < half; i++) {
            double sine, cosine;
            cp_sincos((double)ws->rows[t].position * e->frequencies[i], &sine, &cosine);
            ws->cosine[t * half + i] = (float)cosine;
            ws->sine[t * half + i] = (float)sine;
        }
}

static void norm_rows(step *p, const float *weight, size_t thread, size_t n_threads) {
    size_t begin, end, width = p->c->hidden_size;
    cp_threads_share(p->n, 1, thread, n_threads, &begin, &end);
    for (size_t t = begin; t < end; t++)
        p->kernels->rms_norm(p->ws->x + t * width, weight, p->c->norm_eps, width,
                             p->ws->normed + t * width);
}

static void attn_norm(void *arg, size_t thread, size_t n_threads) {
    step *p = arg;
    norm_rows(p, p->w->attn_norm, thread, n_threads);
}

static void add_projected(step *p, size_t thread, size_t n_threads) {
    size_t begin, end, width = p->c->hidden_size;
    cp_threads_share(p->n, 1, thread, n_threads, &begin, &end);
    for (size_t i = begin * width; i < end * width; i++)
        p->ws->x[i] += p->ws->projected[i];
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
        norm_heads(p, p->ws->q + t * cp_config_q_dim(p->c), p->c->n_heads, p->w->q_norm);
        norm_heads(p, p->ws->k + t * cp_config_kv_dim(p->c), p->c->n_kv_heads, p->w->k_norm);
    }
}

static void rotate_heads(const step *p, size_t t, float *heads, size_t n_heads) {
    size_t half = p->c->head_dim / 2;
    for (size_t h = 0; h < n_heads; h++)
        p->kernels->rope(heads + h * p->c->head_dim, p->ws->cosine + t * half,
                         p->ws->sine + t * half, half);
}

static void rope(void *arg, size_t thread, size_t n_threads) {
    step *p = arg;
    size_t begin, end;
    cp_threads_share(p->n, 1, thread, n_threads, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        rotate_heads(p, t, p->ws->q + t * cp_config_q_dim(p->c), p->c->n_heads);
        rotate_heads(p, t, p->ws->k + t * cp_config_kv_dim(p->c), p->c->n_kv_heads);
    }
}

/* The new keys and values to their places in their sessions' caches. */
static void store(void *arg, size_t thread, size_t n_threads) {
    step *p = arg;
    size_t begin, end;
    cp_threads_share(p->n * p->c->n_kv_heads, 1, thread, n_threads, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        const cp_row *row = &p->ws->rows[i / p->c->n_kv_heads];
        cp_kv_store(&p->e->kv, p->kernels, p->e->mix,
                    row->session->memory[row->position / CP_KV_BLOCK], p->layer,
                    i % p->c->n_kv_heads, row->position % CP_KV_BLOCK,
                    p->ws->k + i * p->c->head_dim, p->ws->v + i * p->c->head_dim);
    }
}

static void swiglu(void *arg, size_t thread, size_t n_threads) {
    step *p = arg;
    size_t begin, end;
    cp_threads_share(p->n * p->c->ffn_size, CP_CACHE_LINE, thread, n_threads, &begin, &end);
    p->kernels->swiglu(p->ws->gate + begin, p->ws->up + begin, end - begin, p->ws->gate + begin);
}

static void attention_block(step *p, const cp_eval_hooks *hooks) {
    cp_workspace *ws = p->ws;
    const cp_layer_weights *w = p->w;
    size_t q_dim = cp_config_q_dim(p->c), kv_dim = cp_config_kv_dim(p->c),
           hidden = p->c->hidden_size;

    run(p, attn_norm);
    trace(hooks, "attn_norm", p->layer, ws->normed, p->n, hidden);
    const cp_product qkv[] = {
        {&w->q_proj, ws->q, q_dim}, {&w->k_proj, ws->k, kv_dim}, {&w->v_proj, ws->v, kv_dim}};
    products(p->e, qkv, 3, ws->normed, p->n);
    trace(hooks, "q_proj", p->layer, ws->q, p->n, q_dim);
    trace(hooks, "k_proj", p->layer, ws->k, p->n, kv_dim);
    trace(hooks, "v_proj", p->layer, ws->v, p->n, kv_dim);

    if (p->c->qk_norm) {
        run(p, qk_norm);
        trace(hooks, "q_norm", p->layer, ws->q, p->n, q_dim);
        trace(hooks, "k_norm", p->layer, ws->k, p->n, kv_dim);
    }
    run(p, rope);
    trace(hooks, "q_rope", p->layer, ws->q, p->n, q_dim);
    trace(hooks, "k_rope", p->layer, ws->k, p->n, kv_dim);

    run(p, store);
    cp_attention_run(p->e, p->layer);
    trace(hooks, "attn_heads", p->layer, ws->heads, p->n, q_dim);
    products(p->e, &(cp_product){&w->o_proj, ws->projected, hidden}, 1, ws->heads, p->n);
    trace(hooks, "attn_out", p->layer, ws->projected, p->n, hidden);
}

static void mlp_block(step *p, const cp_eval_hooks *hooks) {
    cp_workspace *ws = p->ws;
    const cp_layer_weights *w = p->w;
    size_t ffn = p->c->ffn_size, hidden = p->c->hidden_size;

    run(p, add_and_mlp_norm);
    trace(hooks, "mlp_norm", p->layer, ws->normed, p->n, hidden);
    const cp_product gate_up[] = {{&w->gate_proj, ws->gate, ffn}, {&w->up_proj, ws->up, ffn}};
    products(p->e, gate_up, 2, ws->normed, p->n);
    trace(hooks, "mlp_gate", p->layer, ws->gate, p->n, ffn);
    trace(hooks, "mlp_up", p->layer, ws->up, p->n, ffn);
    run(p, swiglu);
    products(p->e, &(cp_product){&w->down_proj, ws->projected, hidden}, 1, ws->gate, p->n);
    trace(hooks, "mlp_out", p->layer, ws->projected, p->n, hidden);
    run(p, add_mlp);
}

void cp_forward_step(cp_engine *e, const cp_eval_hooks *hooks) {
    step p = {.e = e,
              .ws = &e->workspace,
              .kernels = e->kernels,
              .c = &e->config,
              .n = e->workspace.n_rows};
    embed(e);
    make_angles(e);
    trace(hooks, "hidden", 0, p.ws->x, p.n, p.c->hidden_size);
    for (p.layer = 0; p.layer < p.c->n_layers; p.layer++) {
        p.w = &e->weights.layers[p.layer];
        attention_block(&p, hooks);
        mlp_block(&p, hooks);
        trace(hooks, "hidden", p.layer + 1, p.ws->x, p.n, p.c->hidden_size);
    }
}

void cp_forward_norm(cp_engine *e, const size_t *rows, size_t n) {
    cp_workspace *ws = &e->workspace;
    size_t hidden = e->config.hidden_size;
    for (size_t t = 0; t < n; t++)
        e->kernels->rms_norm(ws->x + rows[t] * hidden, e->weights.final_norm, e->config.norm_eps,
                             hidden, ws->final + t * hidden);
}

void cp_forward_head(cp_engine *e, const size_t *rows, size_t n, const cp_eval_hooks *hooks) {
    cp_workspace *ws = &e->workspace;
    size_t hidden = e->config.hidden_size;
    cp_forward_norm(e, rows, n);
    trace(hooks, "hidden", e->config.n_layers + 1, ws->final, n, hidden);
    products(e, &(cp_product){&e->weights.head, ws->logits, e->config.vocab_size}, 1, ws->final, n);
}
