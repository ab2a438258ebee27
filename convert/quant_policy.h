/* Which matrix is stored how: the quantization levels and the one table behind the mixed ones.
 *
 * f32, bf16 and int8 treat all matrices alike. The two 4-bit levels raise as many of the most
 * sensitive matrices to int5 or int8 as fit in a budget: the bits that the usual 4-bit mixes of the
 * same shape take (llama.cpp's Q4_0 and Q4_K_M, their fallbacks for narrow matrices included). So
 * "equal or fewer bits a weight" holds by construction. Norm vectors are float32 at every level.
 * Pure functions. */
#ifndef CP_CONVERT_QUANT_POLICY_H
#define CP_CONVERT_QUANT_POLICY_H

#include "convert/source.h"
#include "engine/quant.h"

#include <stdint.h>

typedef enum cp_quant_level {
    CP_LEVEL_F32,
    CP_LEVEL_BF16,
    CP_LEVEL_INT8,
    CP_LEVEL_INT4,
    CP_LEVEL_INT4_MIXED,
    CP_N_LEVELS
} cp_quant_level;

#define CP_QUANT_LEVEL_NAMES "f32, bf16, int8, int4 or int4-mixed"
const char *cp_quant_level_name(cp_quant_level level);
/* False for a name that is none. */
bool cp_quant_level_of(const char *name, cp_quant_level *out);

typedef enum cp_storage {
    CP_STORE_F32,
    CP_STORE_BF16,
    CP_STORE_INT8,
    CP_STORE_INT5,
    CP_STORE_INT4,
    CP_N_STORAGES
} cp_storage;
const char *cp_storage_name(cp_storage storage);
static inline bool cp_storage_is_quantized(cp_storage storage) {
    return storage >= CP_STORE_INT8;
}
static inline cp_quant cp_storage_quant(cp_storage storage) {
    return (cp_quant)(storage - CP_STORE_INT8); /* in the same order */
}
/* Bytes of `rows` rows; for the quantized ones whole tiles are taken. */
uint64_t cp_storage_bytes(cp_storage storage, size_t rows, size_t cols);

/* out[i] is how source->tensors[i] is stored. */
void cp_policy_choose(const cp_source *source, cp_quant_level level, cp_storage *out);

#endif
