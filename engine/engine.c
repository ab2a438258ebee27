#include "engine/engine.h"

#include "base/mem.h"
#include "engine/engine_internal.h"
#include "engine/mathfn.h"
#include "engine/sysinfo.h"

#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 256

/* Qwen3's recommendation for thinking; generation_config.json may say otherwise. */
static const cp_sampling default_sampling = {.temperature = 0.6, .top_p = 0.95, .top_k = 20};

/* RoPE (Su et al. 2021): pair i of a head turns by theta^(-2i / head_dim) per position. */
static cp_status make_frequencies(cp_engine *e, cp_error *err) {
    size_t half = e->config.head_dim / 2;
    double log_theta = cp_log(e->config.rope_theta);
    e->frequencies = calloc(half, sizeof *e->frequencies);
    if (!e->frequencies)
        return cp_error_no_memory(err, "RoPE frequencies");
    for (size_t i = 0; i < half; i++)
        e->frequencies[i] = cp_exp(-(double)i / (double)half * log_theta);
    return CP_OK;
}

/* All matrices are in tiles: none needs widening. */
static bool is_quantized(const cp_engine *e) {
    const cp_weights *w = &e->weights;
    return strncmp(cp_weights_level(w, e->config.n_layers), "int", 3) == 0 &&
           w->head.dtype == CP_U8;
}

static cp_status start_threads(cp_engine *e, size_t wanted, cp_error *err) {
    size_t n = wanted ? wanted : cp_sysinfo_cpus();
    if (n > MAX_THREADS) {
        if (wanted)
            return cp_error_set(err, CP_ERR_USAGE, "threads is %zu, expected 1 to %d", n,
                                MAX_THREADS);
        n = MAX_THREADS;
    }
    cp_status status = cp_threads_create(n, &e->threads, err);
    if (status != CP_OK)
        return status;
    if (is_quantized(e))
        return CP_OK;
    e->tiles = cp_alloc_aligned(n * CP_PRODUCT_TILE_FLOATS, sizeof(float));
    return e->tiles ? CP_OK : cp_error_no_memory(err, "weight tiles");
}

static cp_kv choose_kv(const cp_engine *e, const cp_engine_options *options) {
    if (options && options->kv != CP_KV_AUTO)
        return options->kv;
    if (!is_quantized(e))
        return CP_KV_F32;
    cp_kv_layout layout;
    size_t bytes = 0;
    cp_kv_layout_make(&e->config, CP_KV_F16, &layout);
    if (options && !cp_size_mul(cp_kv_blocks(options->plan_tokens), layout.block_bytes, &bytes))
        return CP_KV_INT8;
    size_t needed = cp_engine_weight_bytes(e) + e->workspace.memory_bytes + bytes;
    return needed <= cp_sysinfo_memory_available() ? CP_KV_F16 : CP_KV_INT8;
}

cp_status cp_engine_open(const char *dir, const cp_engine_options *options, cp_engine **out,
                         cp_error *err) {
    *out = NULL;
    cp_engine *e = calloc(1, sizeof *e);
    if (!e)
        return cp_error_no_memory(err, "engine");
    e->sampling = default_sampling;
    cp_status status = cp_kernels_choose(getenv("CAREPATH_ISA"), &e->kernels, err);
    if (status == CP_OK)
        status = cp_config_read(dir, &e->config, err);
    if (status == CP_OK)
        status = cp_config_read_generation(dir, &e->config, &e->sampling, err);
    if (status == CP_OK)
        status = cp_weights_open(dir, &e->config, &e->weights, err);
    if (status == CP_OK)
        status = make_frequencies(e, err);
    if (status == CP_OK)
        status = cp_workspace_create(&e->config, &e->workspace, err);
    if (status == CP_OK)
        status = start_threads(e, options ? options->n_threads : 0, err);
    if (status != CP_OK) {
        cp_engine_close(e);
        return status;
    }
    cp_product_init();
    e->mix = cp_mix_kernels_for(e->kernels->name);
    cp_kv_layout_make(&e->config, choose_kv(e, options), &e->kv);
    *out = e;
    return CP_OK;
}

void cp_engine_close(cp_engine *e) {
    if (!e)
        return;
    cp_attention_free(e);
    cp_threads_free(e->threads);
    cp_workspace_free(&e->workspace);
    cp_weights_close(&e->weights);
    free(e->tiles);
    free(e->frequencies);
    free(e);
}

const cp_model_config *cp_engine_config(const cp_engine *e) {
    return &e->config;
}

const cp_sampling *cp_engine_sampling(const cp_engine *e) {
    return &e->sampling;
}

size_t cp_engine_n_threads(const cp_engine *e) {
    return cp_threads_count(e->threads);
}

size_t cp_engine_weight_bytes(const cp_engine *e) {
    return cp_checkpoint_bytes(&e->weights.checkpoint);
}

const char *cp_engine_quant(const cp_engine *e) {
    return cp_weights_level(&e->weights, e->config.n_layers);
}

size_t cp_engine_workspace_bytes(const cp_engine *e) {
    /* Of the block of logits generation uses one row; pages that are never touched cost nothing. */
    size_t unused = (CP_LOGITS_BLOCK - 1) * e->config.vocab_size * sizeof(float);
    return e->workspace.memory_bytes - unused;
}

cp_kv cp_engine_kv(const cp_engine *e) {
    return e->kv.kind;
}

size_t cp_engine_kv_bytes(const cp_engine *e) {
    return e->kv.block_bytes / CP_KV_BLOCK;
}

const char *cp_engine_isa(const cp_engine *e) {
    return e->kernels->name;
}
