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

/* ---- layout -------------------------------------------------------------------------------------
 */

static size_t groups(size_t head_dim) {
    return (head_dim + CP_GROUP - 1) / CP_GROUP;
}

/* Width of an int8 value row: whole groups. */
static size_t padded(size_t head_dim) {
    return groups(head_dim) * CP_GROUP;
}

/* Bytes of the keys and the values of one head of one layer. head_dim is at most 1024 and
 * max_tokens at most 2^24, so these products fit. */
static void head_bytes(const cp_model_config *c, cp_kv kind, size_t max_tokens, size_t *key,
                       size_t *value) {
    if (kind == CP_KV_INT8) {
        *key = cp_quant_bytes(CP_INT8, max_tokens, c->head_dim);
        *value = max_tokens * (padded(c->head_dim) + groups(c->head_dim) * sizeof(float));
    } else {
        *key = *value = max_tokens * c->head_dim * (kind == CP_KV_F16 ? 2 : 4);
    }
    *key = (*key + CP_CACHE_LINE - 1) / CP_CACHE_LINE * CP_CACHE_LINE;
    *value = (*value + CP_CACHE_LINE - 1) / CP_CACHE_LINE * CP_CACHE_LINE;
}

cp_status cp_kv_cache_bytes(const cp_model_config *config, cp_kv kind, size_t max_tokens,
                            size_t *bytes, cp_error *err) {
    size_t key, value;
    head_bytes(config, kind, max_tokens, &key, &value);
    if (!cp_size_mul(key + value, config->n_layers * config->n_kv_heads, bytes))
        return cp_error_set(err, CP_ERR_LIMIT, "a context of %zu tokens does not fit in memory",
                            max_tokens);
    return CP_OK;
}

cp_status cp_kv_cache_create(const cp_model_config *config, cp_kv kind, size_t max_tokens,
                             cp_kv_cache *out, cp_error *err) {
    *out = (cp_kv_cache){.kind = kind,
                         .n_layers = config->n_layers,
                         .n_kv_heads = config->n_kv_heads,
                         .head_dim = config->head_dim,
                         .max_tokens = max_tokens};
    head_bytes(config, kind, max_tokens, &out->key_bytes, &out->value_bytes);
    cp_status status = cp_kv_cache_bytes(config, kind, max_tokens, &out->memory_bytes, err);
    if (status != CP_OK)
        return status;
    out->memory = cp_pages_alloc(out->memory_bytes);
    return out->memory ? CP_OK : cp_error_no_memory(err, "KV cache");
}

void cp_kv_cache_free(cp_kv_cache *cache) {
    cp_pages_free(cache->memory, cache->memory_bytes);
    *cache = (cp_kv_cache){0};
}

static unsigned char *keys_of(const cp_kv_cache *c, size_t layer, size_t head) {
    return c->memory + (layer * c->n_kv_heads + head) * (c->key_bytes + c->value_bytes);
}

static unsigned char *values_of(const cp_kv_cache *c, size_t layer, size_t head) {
    return keys_of(c, layer, head) + c->key_bytes;
}

/* The scales of int8 values stand behind all of the head's values. */
static float *value_scales(const cp_kv_cache *c, unsigned char *values) {
    return (float *)(void *)(values + c->max_tokens * padded(c->head_dim));
}

/* ---- storing ------------------------------------------------------------------------------------
 */

static void store_int8(cp_kv_cache *c, const cp_kernels *kernels, size_t layer, size_t head,
                       size_t position, const float *key, const float *value) {
    unsigned char *tile = keys_of(c, layer, head) +
                          position / CP_TILE_ROWS * cp_quant_tile_bytes(CP_INT8, c->head_dim);
    unsigned char *values = values_of(c, layer, head);
    int8_t quantized[CP_MAX_HEAD_DIM];
    float scales[CP_MAX_HEAD_DIM / CP_GROUP];
    int32_t sums[CP_MAX_HEAD_DIM / CP_GROUP];
    cp_activations one = {quantized, scales, sums, cp_quant_supers(c->head_dim)};

    kernels->quantize(key, c->head_dim, &one);
    for (size_t g = 0; g < groups(c->head_dim); g++)
        cp_quant_pack(CP_INT8, tile + g / CP_GROUPS_A_SUPER * CP_INT8_SUPER_BYTES,
                      position % CP_TILE_ROWS, g % CP_GROUPS_A_SUPER, quantized + g * CP_GROUP,
                      cp_f16_of_float(scales[g]));
    kernels->quantize(value, c->head_dim, &one);
    memcpy(values + position * padded(c->head_dim), quantized, padded(c->head_dim));
    memcpy(value_scales(c, values) + position * groups(c->head_dim), scales,
           groups(c->head_dim) * sizeof *scales);
}

static void store_row(const cp_kv_cache *c, const cp_mix_kernels *mix, unsigned char *rows,
                      size_t position, const float *x) {
    if (c->kind == CP_KV_F32)
        memcpy(rows + position * c->head_dim * sizeof *x, x, c->head_dim * sizeof *x);
    else
        mix->to_f16(x, c->head_dim, (uint16_t *)(void *)rows + position * c->head_dim);
}

void cp_kv_cache_store(cp_kv_cache *c, const cp_kernels *kernels, const cp_mix_kernels *mix,
                       size_t layer, size_t head, size_t position, const float *key,
                       const float *value) {
    if (c->kind == CP_KV_INT8) {
        store_int8(c, kernels, layer, head, position, key, value);
    } else {
        store_row(c, mix, keys_of(c, layer, head), position, key);
        store_row(c, mix, values_of(c, layer, head), position, value);
    }
}

/* ---- attention ----------------------------------------------------------------------------------
 */

/* scores[i * stride + p] = query i . key p, for all positions below n. */
static void score(const cp_kv_cache *c, const cp_kernels *kernels, const cp_mix_kernels *mix,
                  const unsigned char *keys, size_t n, const float *q, size_t n_queries,
                  const cp_attention_scratch *s) {
    if (c->kind == CP_KV_F32) {
        mix->score_f32(keys, n, c->head_dim, q, n_queries, s->scores, s->stride);
        return;
    }
    if (c->kind == CP_KV_F16) {
        mix->score_f16(keys, n, c->head_dim, q, n_queries, s->scores, s->stride);
        return;
    }
    size_t supers = cp_quant_supers(c->head_dim);
    for (size_t i = 0; i < n_queries; i++) {
        cp_activations one = {s->queries.values + i * supers * CP_SUPER,
                              s->queries.scales + i * supers * CP_GROUPS_A_SUPER,
                              s->queries.sums + i * supers * CP_GROUPS_A_SUPER, supers};
        kernels->quantize(q + i * c->head_dim, c->head_dim, &one);
    }
    cp_activations all = s->queries;
    all.n_super = supers;
    kernels->quant_product[CP_INT8](keys, n, &all, n_queries, s->scores, s->stride);
}

/* Adds positions [from, to) of the values, weighted, to n_queries outputs; from 0 starts them. */
static void mix_values(const cp_kv_cache *c, const cp_mix_kernels *mix, unsigned char *values,
                       size_t from, size_t to, const float *weights, size_t stride,
                       size_t n_queries, float *out) {
    bool go_on = from > 0;
    size_t width = c->head_dim, row = padded(width), n = to - from;
    if (c->kind == CP_KV_F32)
        mix->f32(values + from * width * 4, n, width, weights + from, stride, n_queries, go_on,
                 out);
    else if (c->kind == CP_KV_F16)
        mix->f16(values + from * width * 2, n, width, weights + from, stride, n_queries, go_on,
                 out);
    else
        mix->int8((const int8_t *)values + from * row,
                  value_scales(c, values) + from * groups(width), n, width, row, weights + from,
                  stride, n_queries, go_on, out);
}

void cp_kv_cache_attend(const cp_kv_cache *c, const cp_kernels *kernels, const cp_mix_kernels *mix,
                        size_t layer, size_t head, size_t first_n, size_t n_rows, size_t group,
                        const float *q, const cp_attention_scratch *s, float *out) {
    float scale = 1.0f / sqrtf((float)c->head_dim);
    unsigned char *values = values_of(c, layer, head);
    score(c, kernels, mix, keys_of(c, layer, head), first_n + n_rows - 1, q, n_rows * group, s);
    for (size_t i = 0; i < n_rows * group; i++) {
        float *row = s->scores + i * s->stride;
        size_t n = first_n + i / group; /* the positions that this query sees */
        for (size_t p = 0; p < n; p++)
            row[p] *= scale;
        kernels->softmax(row, n);
    }
    /* What all rows see goes together, the rest row by row. */
    mix_values(c, mix, values, 0, first_n, s->scores, s->stride, n_rows * group, out);
    for (size_t r = 1; r < n_rows; r++)
        mix_values(c, mix, values, first_n, first_n + r, s->scores + r * group * s->stride,
                   s->stride, group, out + r * group * c->head_dim);
}
