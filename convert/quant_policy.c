#include "convert/quant_policy.h"

#include "base/mem.h"

#include <string.h>

static const char *const level_names[CP_N_LEVELS] = {"f32", "bf16", "int8", "int4", "int4-mixed"};

const char *cp_quant_level_name(cp_quant_level level) {
    return level_names[level];
}

bool cp_quant_level_of(const char *name, cp_quant_level *out) {
    for (int i = 0; i < CP_N_LEVELS; i++)
        if (strcmp(name, level_names[i]) == 0) {
            *out = (cp_quant_level)i;
            return true;
        }
    return false;
}

const char *cp_storage_name(cp_storage storage) {
    static const char *const names[CP_N_STORAGES] = {"f32", "bf16", "int8", "int5", "int4"};
    return names[storage];
}

uint64_t cp_storage_bytes(cp_storage storage, size_t rows, size_t cols) {
    if (cp_storage_is_quantized(storage))
        return cp_quant_bytes(cp_storage_quant(storage), rows, cols);
    return (uint64_t)rows * cols * (storage == CP_STORE_F32 ? 4 : 2);
}

/* ---- the budget -------------------------------------------------------------------------------
 */

/* Q4_K_M's choice of layers: the first and last eighth and every third between. */
static bool edge_layer(size_t layer, size_t n_layers) {
    size_t eighth = n_layers / 8;
    return layer < eighth || layer >= n_layers - eighth || (layer - eighth) % 3 == 2;
}

/* Bits a weight of a K-quant, whose blocks are 256 wide, and of what replaces it elsewhere. */
static double k_bits(double bits, double fallback, size_t cols) {
    return cols % 256 == 0 ? bits : fallback;
}

static bool is_head(const cp_source *s, const cp_source_tensor *t) {
    return t->kind == CP_KIND_HEAD || (t->kind == CP_KIND_EMBEDDING && s->config.tied);
}

/* Q4_0: all but the head at 4.5. Q4_K_M: Q6_K for the head and, in half of the layers, v and down.
 */
static double peer_bits(const cp_source *s, const cp_source_tensor *t, cp_quant_level level) {
    if (is_head(s, t))
        return k_bits(6.5625, 8.5, t->cols);
    if (level == CP_LEVEL_INT4)
        return 4.5;
    bool more = (t->kind == CP_KIND_V || t->kind == CP_KIND_DOWN) &&
                edge_layer(t->layer, s->config.n_layers);
    return more ? k_bits(6.5625, 8.5, t->cols) : k_bits(4.5, 5.5, t->cols);
}

/* ---- the table --------------------------------------------------------------------------------
 */

/* What is raised from int4 and to what, as long as it fits; in each row the last layers first. The
 * order was the best of those tried on SmolLM2-135M, its weights as published and with noise: a
 * fifth bit for all is worth more than int8 for any but v, and the head's fifth bit more than that
 * of the layers' larger matrices. The head at int8 before the gates' fifth bit is a compromise:
 * better with the published weights, a little worse with noise. */
static const struct preference {
    cp_tensor_kind kind; /* CP_KIND_HEAD: the embedding when tied */
    cp_storage to;
} int4_preferences[] = {{CP_KIND_HEAD, CP_STORE_INT8}},
  mixed_preferences[] = {
      {CP_KIND_V, CP_STORE_INT5},    {CP_KIND_K, CP_STORE_INT5},    {CP_KIND_HEAD, CP_STORE_INT5},
      {CP_KIND_V, CP_STORE_INT8},    {CP_KIND_DOWN, CP_STORE_INT5}, {CP_KIND_O, CP_STORE_INT5},
      {CP_KIND_Q, CP_STORE_INT5},    {CP_KIND_UP, CP_STORE_INT5},   {CP_KIND_HEAD, CP_STORE_INT8},
      {CP_KIND_GATE, CP_STORE_INT5}, {CP_KIND_K, CP_STORE_INT8},    {CP_KIND_DOWN, CP_STORE_INT8},
      {CP_KIND_O, CP_STORE_INT8},    {CP_KIND_Q, CP_STORE_INT8},    {CP_KIND_UP, CP_STORE_INT8},
      {CP_KIND_GATE, CP_STORE_INT8},
};

static double stored_bits(cp_storage storage, const cp_source_tensor *t) {
    return 8.0 * (double)cp_storage_bytes(storage, t->rows, t->cols);
}

/* Bits that the comparable level of the peers takes beyond int4 alone. */
static double spare_bits(const cp_source *s, cp_quant_level level) {
    double spare = 0;
    for (size_t i = 0; i < s->n_tensors; i++) {
        const cp_source_tensor *t = &s->tensors[i];
        if (cp_kind_is_matrix(t->kind))
            spare += peer_bits(s, t, level) * (double)t->rows * (double)t->cols -
                     stored_bits(CP_STORE_INT4, t);
    }
    return spare;
}

static void spend(const cp_source *s, const struct preference *p, double *spare, cp_storage *out) {
    for (size_t i = s->n_tensors; i-- > 0;) {
        const cp_source_tensor *t = &s->tensors[i];
        double more = stored_bits(p->to, t) - stored_bits(out[i], t);
        if ((p->kind == CP_KIND_HEAD ? is_head(s, t) : t->kind == p->kind) && more <= *spare) {
            out[i] = p->to;
            *spare -= more;
        }
    }
}

static void spend_budget(const cp_source *s, cp_quant_level level, cp_storage *out) {
    bool mixed = level == CP_LEVEL_INT4_MIXED;
    const struct preference *preferences = mixed ? mixed_preferences : int4_preferences;
    size_t n = mixed ? CP_COUNT_OF(mixed_preferences) : CP_COUNT_OF(int4_preferences);
    double spare = spare_bits(s, level);
    for (size_t p = 0; p < n; p++)
        spend(s, &preferences[p], &spare, out);
}

void cp_policy_choose(const cp_source *s, cp_quant_level level, cp_storage *out) {
    static const cp_storage of_matrices[CP_N_LEVELS] = {CP_STORE_F32, CP_STORE_BF16, CP_STORE_INT8,
                                                        CP_STORE_INT4, CP_STORE_INT4};
    for (size_t i = 0; i < s->n_tensors; i++)
        out[i] = cp_kind_is_matrix(s->tensors[i].kind) ? of_matrices[level] : CP_STORE_F32;
    if (level >= CP_LEVEL_INT4)
        spend_budget(s, level, out);
}
