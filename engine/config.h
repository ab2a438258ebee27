/* A model's config.json, checked as a whole, and what generation_config.json adds.
 *
 * Every dimension is bounded here, so that later products of two of them fit in 64 bits and nothing
 * is allocated on a stranger's word. Only architectures and settings that the forward pass computes
 * exactly are accepted; the rest is refused by name. A plain value: no ownership, no threads. */
#ifndef CP_ENGINE_CONFIG_H
#define CP_ENGINE_CONFIG_H

#include "base/error.h"
#include "engine/sampler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CP_MAX_EOS      8
#define CP_MAX_WIDTH    (1 << 18) /* values in one row of any matrix */
#define CP_MAX_HEAD_DIM 1024

typedef struct cp_model_config {
    char architecture[32]; /* "Qwen3ForCausalLM", "LlamaForCausalLM" */
    size_t n_layers, hidden_size, ffn_size;
    size_t n_heads, n_kv_heads, head_dim; /* n_heads * head_dim need not be hidden_size */
    size_t vocab_size;                    /* embedding rows; some ids have no text */
    size_t max_positions;
    bool qk_norm;      /* RMSNorm over head_dim on q and k, before RoPE (Qwen3) */
    bool tied;         /* the head is the embedding matrix */
    float norm_eps;    /* RMSNorm */
    double rope_theta; /* RoPE, rotate-half form */
    int32_t eos_ids[CP_MAX_EOS];
    size_t n_eos;
} cp_model_config;

/* Reads DIR/config.json. */
cp_status cp_config_read(const char *dir, cp_model_config *out, cp_error *err) CP_MUST_CHECK;

/* Reads DIR/generation_config.json if there is one: sampling defaults into *sampling, and its eos
 * ids, which then replace those of the config. */
cp_status cp_config_read_generation(const char *dir, cp_model_config *config, cp_sampling *sampling,
                                    cp_error *err) CP_MUST_CHECK;

static inline size_t cp_config_q_dim(const cp_model_config *c) {
    return c->n_heads * c->head_dim;
}
static inline size_t cp_config_kv_dim(const cp_model_config *c) {
    return c->n_kv_heads * c->head_dim;
}
bool cp_config_is_eos(const cp_model_config *config, int32_t id);

#endif
