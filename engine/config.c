#include "engine/config.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define MAX_CONFIG_BYTES ((size_t)1 << 20)
#define QWEN3_HEAD_DIM   128 /* what a Qwen3 config without head_dim means */

/* The dimensions: where they go, their key, and the largest that is believed. */
typedef struct dimension {
    const char *key;
    size_t offset;
    int64_t max;
} dimension;

static const dimension dimensions[] = {
    {"num_hidden_layers", offsetof(cp_model_config, n_layers), 1024},
    {"hidden_size", offsetof(cp_model_config, hidden_size), CP_MAX_WIDTH},
    {"intermediate_size", offsetof(cp_model_config, ffn_size), CP_MAX_WIDTH},
    {"num_attention_heads", offsetof(cp_model_config, n_heads), 1024},
    {"vocab_size", offsetof(cp_model_config, vocab_size), 1 << 22},
    {"max_position_embeddings", offsetof(cp_model_config, max_positions), 1 << 24},
};

static cp_status read_dimensions(const cJSON *json, const char *path, cp_model_config *out,
                                 cp_error *err) {
    int64_t value = 0;
    for (size_t i = 0; i < CP_COUNT_OF(dimensions); i++) {
        const dimension *d = &dimensions[i];
        cp_status status = cp_json_get_int(json, path, d->key, 1, d->max, &value, err);
        if (status != CP_OK)
            return status;
        *(size_t *)((char *)out + d->offset) = (size_t)value;
    }
    value = (int64_t)out->n_heads; /* absent: every query head has its own */
    cp_status status =
        cp_json_optional(cp_json_get_int(json, path, "num_key_value_heads", 1, 1024, &value, err));
    if (status != CP_OK)
        return status;
    out->n_kv_heads = (size_t)value;
    if (out->n_heads % out->n_kv_heads != 0)
        return cp_error_set(
            err, CP_ERR_FORMAT,
            "%s: num_attention_heads %zu is not a multiple of num_key_value_heads %zu", path,
            out->n_heads, out->n_kv_heads);

    value = out->qk_norm ? QWEN3_HEAD_DIM : (int64_t)(out->hidden_size / out->n_heads);
    status =
        cp_json_optional(cp_json_get_int(json, path, "head_dim", 2, CP_MAX_HEAD_DIM, &value, err));
    if (status != CP_OK)
        return status;
    if (value < 2 || value > CP_MAX_HEAD_DIM || value % 2 != 0)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: head_dim is %lld, expected an even number from 2 to %d", path,
                            (long long)value, CP_MAX_HEAD_DIM);
    out->head_dim = (size_t)value;
    if (cp_config_q_dim(out) > CP_MAX_WIDTH)
        return cp_error_set(err, CP_ERR_LIMIT,
                            "%s: num_attention_heads %zu x head_dim %zu is over %d", path,
                            out->n_heads, out->head_dim, CP_MAX_WIDTH);
    return CP_OK;
}

/* "architectures": exactly one, of those that the forward pass knows. */
static cp_status read_architecture(const cJSON *json, const char *path, cp_model_config *out,
                                   cp_error *err) {
    const cJSON *list = cp_json_member(json, "architectures");
    const cJSON *name = cJSON_IsArray(list) ? cJSON_GetArrayItem(list, 0) : NULL;
    if (!cJSON_IsString(name))
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: architectures is missing or not a list of names", path);
    out->qk_norm = strcmp(name->valuestring, "Qwen3ForCausalLM") == 0;
    if (!out->qk_norm && strcmp(name->valuestring, "LlamaForCausalLM") != 0)
        return cp_error_set(
            err, CP_ERR_UNSUPPORTED,
            "%s: architectures is \"%.64s\", expected Qwen3ForCausalLM or LlamaForCausalLM", path,
            name->valuestring);
    snprintf(out->architecture, sizeof out->architecture, "%s", name->valuestring);
    return CP_OK;
}

/* A switch that changes the arithmetic in a way the forward pass does not compute must be off. */
static cp_status must_be_off(const cJSON *json, const char *path, const char *key, cp_error *err) {
    bool on = false;
    cp_status status = cp_json_optional(cp_json_get_bool(json, path, key, &on, err));
    if (status == CP_OK && on)
        return cp_error_set(err, CP_ERR_UNSUPPORTED, "%s: %s is true, which is not supported", path,
                            key);
    return status;
}

static cp_status check_variant(const cJSON *json, const char *path, cp_error *err) {
    static const char *const switches[] = {"attention_bias", "mlp_bias", "use_sliding_window"};
    for (size_t i = 0; i < CP_COUNT_OF(switches); i++) {
        cp_status status = must_be_off(json, path, switches[i], err);
        if (status != CP_OK)
            return status;
    }
    const char *activation = "silu";
    cp_status status =
        cp_json_optional(cp_json_get_string(json, path, "hidden_act", &activation, err));
    if (status != CP_OK)
        return status;
    if (strcmp(activation, "silu") != 0)
        return cp_error_set(err, CP_ERR_UNSUPPORTED,
                            "%s: hidden_act is \"%.32s\", expected \"silu\"", path, activation);
    static const char *const absent[] = {"rope_scaling", "quantization_config"};
    for (size_t i = 0; i < CP_COUNT_OF(absent); i++)
        if (cp_json_member(json, absent[i]))
            return cp_error_set(err, CP_ERR_UNSUPPORTED, "%s: %s is set, which is not supported",
                                path, absent[i]);
    return CP_OK;
}

/* eos_token_id: a number or a list of numbers; absent leaves what was there. */
static cp_status read_eos(const cJSON *json, const char *path, cp_model_config *config,
                          cp_error *err) {
    const cJSON *eos = cp_json_member(json, "eos_token_id");
    if (!eos)
        return CP_OK;
    int n = cJSON_IsArray(eos) ? cJSON_GetArraySize(eos) : 1;
    if (n > CP_MAX_EOS)
        return cp_error_set(err, CP_ERR_LIMIT, "%s: eos_token_id has %d entries, at most %d", path,
                            n, CP_MAX_EOS);
    config->n_eos = 0;
    for (int i = 0; i < n; i++) {
        const cJSON *item = cJSON_IsArray(eos) ? cJSON_GetArrayItem(eos, i) : eos;
        double id = cJSON_IsNumber(item) ? item->valuedouble : -1;
        if (!(id >= 0 && id < (double)config->vocab_size) || id != (double)(int32_t)id)
            return cp_error_set(err, CP_ERR_FORMAT,
                                "%s: eos_token_id is not a token id below vocab_size %zu", path,
                                config->vocab_size);
        config->eos_ids[config->n_eos++] = (int32_t)id;
    }
    return CP_OK;
}

static cp_status parse(const cJSON *json, const char *path, cp_model_config *out, cp_error *err) {
    cp_status status = read_architecture(json, path, out, err);
    if (status == CP_OK)
        status = read_dimensions(json, path, out, err);
    if (status == CP_OK)
        status = check_variant(json, path, err);
    double eps = 1e-6;
    if (status == CP_OK)
        status =
            cp_json_optional(cp_json_get_number(json, path, "rms_norm_eps", 1e-12, 0.1, &eps, err));
    out->norm_eps = (float)eps;
    out->rope_theta = 10000;
    if (status == CP_OK)
        status = cp_json_optional(
            cp_json_get_number(json, path, "rope_theta", 1, 1e12, &out->rope_theta, err));
    if (status == CP_OK)
        status =
            cp_json_optional(cp_json_get_bool(json, path, "tie_word_embeddings", &out->tied, err));
    if (status == CP_OK)
        status = read_eos(json, path, out, err);
    return status;
}

cp_status cp_config_read(const char *dir, cp_model_config *out, cp_error *err) {
    char path[CP_PATH_CAP];
    cJSON *json;
    *out = (cp_model_config){0};
    cp_status status = cp_path_join(dir, "config.json", path, sizeof path, err);
    if (status == CP_OK)
        status = cp_json_parse_file(path, MAX_CONFIG_BYTES, &json, err);
    if (status != CP_OK)
        return status;
    status = parse(json, path, out, err);
    cJSON_Delete(json);
    return status == CP_ERR_NOT_FOUND ? CP_ERR_FORMAT : status; /* a key is missing, not the file */
}

static cp_status parse_generation(const cJSON *json, const char *path, cp_model_config *config,
                                  cp_sampling *s, cp_error *err) {
    bool do_sample = true;
    cp_status status = cp_json_optional(cp_json_get_bool(json, path, "do_sample", &do_sample, err));
    if (status == CP_OK)
        status = cp_json_optional(
            cp_json_get_number(json, path, "temperature", 0, 100, &s->temperature, err));
    if (status == CP_OK)
        status = cp_json_optional(cp_json_get_number(json, path, "top_p", 0, 1, &s->top_p, err));
    if (status == CP_OK)
        status = cp_json_optional(cp_json_get_number(json, path, "min_p", 0, 1, &s->min_p, err));
    if (status == CP_OK)
        status = cp_json_optional(cp_json_get_int(json, path, "top_k", 0, 1 << 22, &s->top_k, err));
    if (!do_sample)
        s->temperature = 0;
    return status == CP_OK ? read_eos(json, path, config, err) : status;
}

cp_status cp_config_read_generation(const char *dir, cp_model_config *config, cp_sampling *sampling,
                                    cp_error *err) {
    char path[CP_PATH_CAP];
    cJSON *json;
    cp_status status = cp_path_join(dir, "generation_config.json", path, sizeof path, err);
    if (status != CP_OK)
        return status;
    if (!cp_file_exists(path))
        return CP_OK;
    status = cp_json_parse_file(path, MAX_CONFIG_BYTES, &json, err);
    if (status != CP_OK)
        return status;
    status = parse_generation(json, path, config, sampling, err);
    cJSON_Delete(json);
    return status;
}

bool cp_config_is_eos(const cp_model_config *config, int32_t id) {
    for (size_t i = 0; i < config->n_eos; i++)
        if (config->eos_ids[i] == id)
            return true;
    return false;
}
