#include "engine/kv_cache.h"

#include "base/mem.h"
#include "engine/kernels/lanes.h"

#include <math.h>
#include <string.h>

static const char *const names[] = {"auto", "f32", "f16", "int8"};

const char *cp_kv_name(cp_kv kv) {
    return names[kv];
}

bool cp_kv_parse(const char *word, cp_kv *out) {
    for (size_t i = 0; i < CP_COUNT_OF(names); i++)
        if (strcmp(word, names[i]) == 0) {
            *out = (cp_kv)i;
            return true;
        }
    return false;
}

/* ---- layout ---------------------------------------------------------------------------------- */

static size_t groups(size_t head_dim) {
    return (head_dim + CP_GROUP - 1) / CP_GROUP;
}

/* Width of an int8 value row: whole groups. */
static size_t padded(size_t head_dim) {
    return groups(head_dim) * CP_GROUP;
}

static size_t whole_lines(size_t bytes) {
    return (bytes + CP_CACHE_LINE - 1) / CP_CACHE_LINE * CP_CACHE_LINE;
}

void cp_kv_layout_make(const cp_model_config *c, cp_kv kind, cp_kv_layout *out) {
    size_t key, value, n = CP_KV_BLOCK;
    if (kind == CP_KV_INT8) {
        key = cp_quant_bytes(CP_INT8, n, c->head_dim);
        value = n * (padded(c->head_dim) + groups(c->head_dim) * sizeof(float));
    } else {
        key = value = n * c->head_dim * (kind == CP_KV_F16 ? 2 : 4);
    }
    *out = (cp_kv_layout){.kind = kind,
                          .n_layers = c->n_layers,
                          .n_kv_heads = c->n_kv_heads,
                          .head_dim = c->head_dim,
                          .key_bytes = whole_lines(key),
                          .value_bytes = whole_lines(value)};
    /* cp_config_read bounds each factor: far from overflow. */
    out->block_bytes = (out->key_bytes + out->value_bytes) * c->n_layers * c->n_kv_heads;
}

static unsigned char *keys_of(const cp_kv_layout *l, unsigned char *block, size_t layer,
                              size_t head) {
    return block + (layer * l->n_kv_heads + head) * (l->key_bytes + l->value_bytes);
}

static unsigned char *values_of(const cp_kv_layout *l, unsigned char *block, size_t layer,
                                size_t head) {
    return keys_of(l, block, layer, head) + l->key_bytes;
}

/* The scales of int8 values stand behind the block's values. */
static float *value_scales(const cp_kv_layout *l, unsigned char *values) {
    return (float *)(void *)(values + CP_KV_BLOCK * padded(l->head_dim));
}

/* ---- storing --------------------------------------------------------------------------------- */

static void store_int8(const cp_kv_layout *l, const cp_kernels *kernels, unsigned char *keys,
                       unsigned char *values, size_t slot, const float *key, const float *value) {
    unsigned char *tile = keys + slot / CP_TILE_ROWS * cp_quant_tile_bytes(CP_INT8, l->head_dim);
    int8_t quantized[CP_MAX_HEAD_DIM];
    float scales[CP_MAX_HEAD_DIM / CP_GROUP];
    int32_t sums[CP_MAX_HEAD_DIM / CP_GROUP];
    cp_activations one = {quantized, scales, sums, cp_quant_supers(l->head_dim)};

    kernels->quantize(key, l->head_dim, &one);
    for (size_t g = 0; g < groups(l->head_dim); g++)
        cp_quant_pack(CP_INT8, tile + g / CP_GROUPS_A_SUPER * CP_INT8_SUPER_BYTES,
                      slot % CP_TILE_ROWS, g % CP_GROUPS_A_SUPER, quantized + g * CP_GROUP,
                      cp_f16_of_float(scales[g]));
    kernels->quantize(value, l->head_dim, &one);
    memcpy(values + slot * padded(l->head_dim), quantized, padded(l->head_dim));
    memcpy(value_scales(l, values) + slot * groups(l->head_dim), scales,
           groups(l->head_dim) * sizeof *scales);
}

static void store_row(const cp_kv_layout *l, const cp_mix_kernels *mix, unsigned char *rows,
                      size_t slot, const float *x) {
    if (l->kind == CP_KV_F32)
        memcpy(rows + slot * l->head_dim * sizeof *x, x, l->head_dim * sizeof *x);
    else
        mix->to_f16(x, l->head_dim, (uint16_t *)(void *)rows + slot * l->head_dim);
}

void cp_kv_store(const cp_kv_layout *l, const cp_kernels *kernels, const cp_mix_kernels *mix,
                 unsigned char *block, size_t layer, size_t head, size_t slot, const float *key,
                 const float *value) {
    unsigned char *keys = keys_of(l, block, layer, head),
                  *values = values_of(l, block, layer, head);
    if (l->kind == CP_KV_INT8) {
        store_int8(l, kernels, keys, values, slot, key, value);
    } else {
        store_row(l, mix, keys, slot, key);
        store_row(l, mix, values, slot, value);
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

/* One kv head of one layer of a sequence's blocks, and how to compute with it. */
typedef struct head_view {
    const cp_kv_layout *l;
    const cp_kernels *kernels;
    const cp_mix_kernels *mix;
    unsigned char *const *blocks;
    size_t layer, head;
} head_view;

/* Asks for n bytes that are wanted soon: keys and values of a head lie in small pieces, too short
 * for the processor to see by itself where it goes on. */
static void ask_for(const unsigned char *at, size_t n) {
    for (size_t i = 0; i < n; i += CP_CACHE_LINE)
        __builtin_prefetch(at + i);
}

/* Keys of block `b` of n positions' blocks; behind the last, the first block's values. */
static void ask_for_keys(const head_view *v, size_t b, size_t n) {
    bool is_key = b * CP_KV_BLOCK < n;
    unsigned char *block = v->blocks[is_key ? b : 0];
    if (is_key)
        ask_for(keys_of(v->l, block, v->layer, v->head), v->l->key_bytes);
    else
        ask_for(values_of(v->l, block, v->layer, v->head), v->l->value_bytes);
}

static void quantize_queries(const head_view *v, const float *q, size_t n_queries,
                             const cp_attention_scratch *s) {
    size_t supers = cp_quant_supers(v->l->head_dim);
    for (size_t i = 0; i < n_queries; i++) {
        cp_activations one = {s->queries.values + i * supers * CP_SUPER,
                              s->queries.scales + i * supers * CP_GROUPS_A_SUPER,
                              s->queries.sums + i * supers * CP_GROUPS_A_SUPER, supers};
        v->kernels->quantize(q + i * v->l->head_dim, v->l->head_dim, &one);
    }
}

/* scores[i * stride + p] = query i . key p, for all positions below n. */
static void score(const head_view *v, size_t n, const float *q, size_t n_queries,
                  const cp_attention_scratch *s) {
    cp_activations queries = s->queries;
    queries.n_super = cp_quant_supers(v->l->head_dim);
    if (v->l->kind == CP_KV_INT8)
        quantize_queries(v, q, n_queries, s);
    for (size_t p = 0; p < n; p += CP_KV_BLOCK) {
        size_t m = n - p < CP_KV_BLOCK ? n - p : CP_KV_BLOCK;
        ask_for_keys(v, p / CP_KV_BLOCK + 1, n);
        const void *keys = keys_of(v->l, v->blocks[p / CP_KV_BLOCK], v->layer, v->head);
        float *to = s->scores + p;
        if (v->l->kind == CP_KV_F32)
            v->mix->score_f32(keys, m, v->l->head_dim, q, n_queries, to, s->stride);
        else if (v->l->kind == CP_KV_F16)
            v->mix->score_f16(keys, m, v->l->head_dim, q, n_queries, to, s->stride);
        else
            v->kernels->quant_product[CP_INT8](keys, m, &queries, n_queries, to, s->stride);
    }
}

/* Adds positions [from, to) of the values, weighted, to n_queries outputs; from 0 starts them. */
static void mix_values(const head_view *v, size_t from, size_t to, const float *weights,
                       size_t stride, size_t n_queries, float *out) {
    size_t width = v->l->head_dim, row = padded(width);
    for (size_t n; from < to; from += n) {
        size_t slot = from % CP_KV_BLOCK;
        bool go_on = from > 0;
        n = to - from < CP_KV_BLOCK - slot ? to - from : CP_KV_BLOCK - slot;
        unsigned char *values = values_of(v->l, v->blocks[from / CP_KV_BLOCK], v->layer, v->head);
        if (from + n < to)
            ask_for(values_of(v->l, v->blocks[(from + n) / CP_KV_BLOCK], v->layer, v->head),
                    v->l->value_bytes);
        if (v->l->kind == CP_KV_F32)
            v->mix->f32(values + slot * width * 4, n, width, weights + from, stride, n_queries,
                        go_on, out);
        else if (v->l->kind == CP_KV_F16)
            v->mix->f16(values + slot * width * 2, n, width, weights + from, stride, n_queries,
                        go_on, out);
        else
            v->mix->int8((const int8_t *)values + slot * row,
                         value_scales(v->l, values) + slot * groups(width), n, width, row,
                         weights + from, stride, n_queries, go_on, out);
    }
}

void cp_kv_attend(const cp_kv_layout *l, const cp_kernels *kernels, const cp_mix_kernels *mix,
                  unsigned char *const *blocks, size_t layer, size_t head, size_t first_n,
                  size_t n_rows, size_t group, const float *q, const cp_attention_scratch *s,
                  float *out) {
    const head_view v = {l, kernels, mix, blocks, layer, head};
    float scale = 1.0f / sqrtf((float)l->head_dim);
    score(&v, first_n + n_rows - 1, q, n_rows * group, s);
    for (size_t i = 0; i < n_rows * group; i++) {
        float *row = s->scores + i * s->stride;
        size_t n = first_n + i / group; /* the positions that this query sees */
        for (size_t p = 0; p < n; p++)
            row[p] *= scale;
        kernels->softmax(row, n);
    }
    /* What all rows see goes together, the rest row by row. */
    mix_values(&v, 0, first_n, s->scores, s->stride, n_rows * group, out);
    for (size_t r = 1; r < n_rows; r++)
        mix_values(&v, first_n, first_n + r, s->scores + r * group * s->stride, s->stride, group,
                   out + r * group * l->head_dim);
}
