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
    static const char *const names[CP_N_STORAGES] = {"f32", "bf16", "int8", "int4"};
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

/* What becomes int8, most sensitive first, as long as it fits; in each kind the last layers first.
 * By what each kind alone took off the KL divergence of SmolLM2-135M (1e-9 nats a weight): v 22,
 * k 6.3, head 6.0, down 2.3, o 1.5, q 1.3, up 1.2, gate 0.5; down's first third of the layers gains
 * least. The head comes first because it fits whole or not at all. */
static const struct preference {
    cp_tensor_kind kind; /* CP_KIND_HEAD: the embedding when tied */
    cp_quant_level from; /* int4 takes only what says so */
} preferences[] = {
    {CP_KIND_HEAD, CP_LEVEL_INT4},     {CP_KIND_V, CP_LEVEL_INT4_MIXED},
    {CP_KIND_K, CP_LEVEL_INT4_MIXED},  {CP_KIND_DOWN, CP_LEVEL_INT4_MIXED},
    {CP_KIND_O, CP_LEVEL_INT4_MIXED},  {CP_KIND_Q, CP_LEVEL_INT4_MIXED},
    {CP_KIND_UP, CP_LEVEL_INT4_MIXED}, {CP_KIND_GATE, CP_LEVEL_INT4_MIXED},
};

static void spend_budget(const cp_source *s, cp_quant_level level, cp_storage *out) {
    double spare = 0; /* bits */
    for (size_t i = 0; i < s->n_tensors; i++) {
        const cp_source_tensor *t = &s->tensors[i];
        if (cp_kind_is_matrix(t->kind))
            spare += peer_bits(s, t, level) * (double)t->rows * (double)t->cols -
                     8.0 * (double)cp_storage_bytes(CP_STORE_INT4, t->rows, t->cols);
    }
    for (size_t p = 0; p < CP_COUNT_OF(preferences); p++)
        for (size_t i = s->n_tensors; i-- > 0;) {
            const cp_source_tensor *t = &s->tensors[i];
            bool wanted = preferences[p].kind == CP_KIND_HEAD ? is_head(s, t)
                                                              : t->kind == preferences[p].kind;
            double more = 8.0 * (double)(cp_storage_bytes(CP_STORE_INT8, t->rows, t->cols) -
                                         cp_storage_bytes(CP_STORE_INT4, t->rows, t->cols));
            if (level < preferences[p].from || !wanted || more > spare)
                continue;
            out[i] = CP_STORE_INT8;
            spare -= more;
        }
}

void cp_policy_choose(const cp_source *s, cp_quant_level level, cp_storage *out) {
    static const cp_storage of_matrices[CP_N_LEVELS] = {CP_STORE_F32, CP_STORE_BF16, CP_STORE_INT8,
                                                        CP_STORE_INT4, CP_STORE_INT4};
    for (size_t i = 0; i < s->n_tensors; i++)
        out[i] = cp_kind_is_matrix(s->tensors[i].kind) ? of_matrices[level] : CP_STORE_F32;
    if (level >= CP_LEVEL_INT4)
        spend_budget(s, level, out);
}
