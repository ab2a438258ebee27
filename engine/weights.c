#include "engine/weights.h"

#include "base/mem.h"
#include "engine/kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TENSOR_NAME 128

/* What a lookup needs, and where the next norm vector goes. */
typedef struct loader {
    const cp_checkpoint *checkpoint;
    const char *dir, *prefix; /* "model." or "" (Qwen3-Embedding) */
    float *next_norm;
    cp_error *err;
} loader;

/* Finds `prefix` + `name`; full is [MAX_TENSOR_NAME] and gets the whole name. */
static cp_status find(const loader *l, const char *prefix, const char *name, char *full,
                      const cp_tensor **out, const char **path) {
    snprintf(full, MAX_TENSOR_NAME, "%s%s", prefix, name);
    *out = cp_checkpoint_find(l->checkpoint, full, path);
    if (!*out)
        return cp_error_set(l->err, CP_ERR_FORMAT, "%s: tensor %s is missing", l->dir, full);
    return CP_OK;
}

static cp_status wrong_shape(const loader *l, const char *path, const cp_tensor *t, size_t n_dims,
                             size_t a, size_t b) {
    return cp_error_set(
        l->err, CP_ERR_FORMAT,
        "%s: tensor %s has %zu dimensions [%zu, %zu], config.json wants %zu [%zu, %zu]", path,
        t->name, t->n_dims, t->shape[0], t->shape[1], n_dims, a, b);
}

static cp_status wrong_type(const loader *l, const char *path, const cp_tensor *t) {
    return cp_error_set(
        l->err, CP_ERR_UNSUPPORTED,
        "%s: tensor %s is neither F32, F16 nor BF16, nor a matrix that carepath convert made", path,
        t->name);
}

/* The tiles of quant.h: U8 [tiles, superblocks, bytes of one], the last telling the type. */
static cp_status quantized(const loader *l, const char *path, const cp_tensor *t, size_t rows,
                           size_t cols, cp_matrix *out) {
    cp_quant quant;
    if (t->n_dims != 3 || !cp_quant_of_bytes(t->shape[2], &quant))
        return wrong_type(l, path, t);
    if (t->shape[0] != cp_quant_tiles(rows) || t->shape[1] != cp_quant_supers(cols))
        return wrong_shape(l, path, t, 3, cp_quant_tiles(rows), cp_quant_supers(cols));
    *out = (cp_matrix){t->data, CP_U8, quant, rows, cols};
    return CP_OK;
}

static cp_status matrix(const loader *l, const char *prefix, const char *name, size_t rows,
                        size_t cols, cp_matrix *out) {
    char full[MAX_TENSOR_NAME];
    const cp_tensor *t;
    const char *path = NULL;
    cp_status status = find(l, prefix, name, full, &t, &path);
    if (status != CP_OK)
        return status;
    if (t->dtype == CP_U8)
        return quantized(l, path, t, rows, cols, out);
    if (t->n_dims != 2 || t->shape[0] != rows || t->shape[1] != cols)
        return wrong_shape(l, path, t, 2, rows, cols);
    if (t->dtype >= CP_N_FLOAT_DTYPES)
        return wrong_type(l, path, t);
    *out = (cp_matrix){t->data, t->dtype, CP_INT8, rows, cols};
    return CP_OK;
}

static cp_status norm(loader *l, const char *prefix, const char *name, size_t n, float **out) {
    char full[MAX_TENSOR_NAME];
    const cp_tensor *t;
    const char *path = NULL;
    cp_status status = find(l, prefix, name, full, &t, &path);
    if (status != CP_OK)
        return status;
    if (t->n_dims != 1 || t->shape[0] != n)
        return wrong_shape(l, path, t, 1, n, 0);
    if (t->dtype >= CP_N_FLOAT_DTYPES)
        return wrong_type(l, path, t);
    cp_kernels_scalar()->widen[t->dtype](t->data, n, l->next_norm);
    *out = l->next_norm;
    l->next_norm += n;
    return CP_OK;
}

static cp_status load_layer(loader *l, const cp_model_config *c, size_t index,
                            cp_layer_weights *w) {
    char prefix[64];
    size_t q_dim = cp_config_q_dim(c), kv_dim = cp_config_kv_dim(c);
    snprintf(prefix, sizeof prefix, "%slayers.%zu.", l->prefix, index);
    struct {
        const char *name;
        size_t rows, cols;
        cp_matrix *out;
    } matrices[] = {
        {"self_attn.q_proj.weight", q_dim, c->hidden_size, &w->q_proj},
        {"self_attn.k_proj.weight", kv_dim, c->hidden_size, &w->k_proj},
        {"self_attn.v_proj.weight", kv_dim, c->hidden_size, &w->v_proj},
        {"self_attn.o_proj.weight", c->hidden_size, q_dim, &w->o_proj},
        {"mlp.gate_proj.weight", c->ffn_size, c->hidden_size, &w->gate_proj},
        {"mlp.up_proj.weight", c->ffn_size, c->hidden_size, &w->up_proj},
        {"mlp.down_proj.weight", c->hidden_size, c->ffn_size, &w->down_proj},
    };
    struct {
        const char *name;
        size_t n;
        float **out;
    } norms[] = {
        {"input_layernorm.weight", c->hidden_size, &w->attn_norm},
        {"post_attention_layernorm.weight", c->hidden_size, &w->mlp_norm},
        {"self_attn.q_norm.weight", c->head_dim, &w->q_norm},
        {"self_attn.k_norm.weight", c->head_dim, &w->k_norm},
    };
    for (size_t i = 0; i < CP_COUNT_OF(matrices); i++) {
        cp_status status = matrix(l, prefix, matrices[i].name, matrices[i].rows, matrices[i].cols,
                                  matrices[i].out);
        if (status != CP_OK)
            return status;
    }
    size_t n_norms = c->qk_norm ? 4 : 2;
    for (size_t i = 0; i < n_norms; i++) {
        cp_status status = norm(l, prefix, norms[i].name, norms[i].n, norms[i].out);
        if (status != CP_OK)
            return status;
    }
    return CP_OK;
}

static cp_status load_all(cp_weights *w, const cp_model_config *c, const char *dir, cp_error *err) {
    loader l = {&w->checkpoint, dir, "model.", w->norms, err};
    if (!cp_checkpoint_find(&w->checkpoint, "model.embed_tokens.weight", NULL) &&
        cp_checkpoint_find(&w->checkpoint, "embed_tokens.weight", NULL))
        l.prefix = "";
    cp_status status =
        matrix(&l, l.prefix, "embed_tokens.weight", c->vocab_size, c->hidden_size, &w->embedding);
    w->head =
        w->embedding; /* a tied model may carry lm_head.weight as well: it is the same, ignored */
    if (status == CP_OK && !c->tied)
        status = matrix(&l, "", "lm_head.weight", c->vocab_size, c->hidden_size, &w->head);
    if (status == CP_OK)
        status = norm(&l, l.prefix, "norm.weight", c->hidden_size, &w->final_norm);
    for (size_t i = 0; i < c->n_layers && status == CP_OK; i++)
        status = load_layer(&l, c, i, &w->layers[i]);
    return status;
}

cp_status cp_weights_open(const char *dir, const cp_model_config *config, cp_weights *out,
                          cp_error *err) {
    *out = (cp_weights){0};
    cp_status status = cp_checkpoint_open(dir, &out->checkpoint, err);
    if (status != CP_OK)
        return status;
    /* At most 2^10 layers of 2^18 + 2^11 floats: the products fit. The vectors are in the files,
     * two bytes a value or more: a config must not make us hold more than that. */
    size_t n_layer = 2 * (config->hidden_size + (config->qk_norm ? config->head_dim : 0));
    size_t n_norms = config->hidden_size + config->n_layers * n_layer;
    if (n_norms > cp_checkpoint_bytes(&out->checkpoint) / sizeof(uint16_t)) {
        cp_checkpoint_close(&out->checkpoint);
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: config.json wants %zu layers of hidden_size %zu, for which the "
                            "weights are too few",
                            dir, config->n_layers, config->hidden_size);
    }
    out->layers = calloc(config->n_layers, sizeof *out->layers);
    out->norms = cp_alloc_aligned(n_norms, sizeof(float));
    if (!out->layers || !out->norms)
        status = cp_error_no_memory(err, "weights");
    else
        status = load_all(out, config, dir, err);
    status = cp_checkpoint_check_whole(&out->checkpoint, status, err);
    cp_checkpoint_trust(&out->checkpoint);
    if (status != CP_OK)
        cp_weights_close(out);
    return status;
}

void cp_matrix_widen_row(const cp_matrix *w, const cp_kernels *kernels, size_t row, float *out) {
    if (w->dtype == CP_U8)
        cp_quant_widen_row(w->quant, w->data, row, w->cols, out);
    else
        kernels->widen[w->dtype]((const char *)w->data + row * w->cols * cp_dtype_bytes(w->dtype),
                                 w->cols, out);
}

/* Notes which levels occur: a bit for each cp_quant, and the name of a float type. */
static void note(const cp_matrix *w, unsigned *quants, const char **float_name) {
    static const char *const names[] = {[CP_F32] = "f32", [CP_F16] = "f16", [CP_BF16] = "bf16"};
    if (w->dtype == CP_U8)
        *quants |= 1u << w->quant;
    else
        *float_name = names[w->dtype];
}

const char *cp_weights_level(const cp_weights *w, size_t n_layers) {
    unsigned quants = 0;
    const char *float_name = "f32";
    for (size_t i = 0; i < n_layers; i++) {
        const cp_layer_weights *l = &w->layers[i];
        const cp_matrix *all[] = {&l->q_proj,    &l->k_proj,  &l->v_proj,   &l->o_proj,
                                  &l->gate_proj, &l->up_proj, &l->down_proj};
        for (size_t m = 0; m < CP_COUNT_OF(all); m++)
            note(all[m], &quants, &float_name);
    }
    if (quants == 0)
        return float_name;
    if (quants == 1u << CP_INT8 || quants == 1u << CP_INT4)
        return cp_quant_name(quants == 1u << CP_INT8 ? CP_INT8 : CP_INT4);
    return "int4-mixed";
}

void cp_weights_close(cp_weights *w) {
    free(w->layers);
    free(w->norms);
    cp_checkpoint_close(&w->checkpoint);
    *w = (cp_weights){0};
}
