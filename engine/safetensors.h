/* One safetensors file: mapped, checked completely at open, then only looked up.
 *
 * The rules are the reference reader's: header at most 100 MB and a UTF-8 JSON object, no name
 * twice, offsets inside the data, no overlap and no hole, shape x element size = bytes. All
 * arithmetic is overflow-safe. Data is borrowed from the mapping and may lie at any alignment.
 * Immutable after open; any thread may read. */
#ifndef CP_ENGINE_SAFETENSORS_H
#define CP_ENGINE_SAFETENSORS_H

#include "base/error.h"
#include "base/file.h"

#include <stddef.h>

typedef enum cp_dtype { CP_F32, CP_F16, CP_BF16, CP_U8, CP_DTYPE_OTHER } cp_dtype;
#define CP_N_FLOAT_DTYPES 3 /* the first ones; U8 holds quantized matrices (quant.h) */
const char *cp_dtype_name(cp_dtype dtype);
size_t cp_dtype_bytes(cp_dtype dtype); /* 0 for CP_DTYPE_OTHER */

#define CP_MAX_DIMS 8

typedef struct cp_tensor {
    char *name;
    cp_dtype dtype;
    size_t n_dims, shape[CP_MAX_DIMS];
    size_t begin, end; /* in the data section */
    const unsigned char *data;
} cp_tensor;

typedef struct cp_safetensors {
    char *path;
    cp_mapping mapping;
    cp_tensor *tensors; /* [n], sorted by name */
    size_t n, cap;
} cp_safetensors;

cp_status cp_safetensors_open(const char *path, cp_safetensors *out, cp_error *err) CP_MUST_CHECK;
void cp_safetensors_close(cp_safetensors *file);
/* NULL when there is none of that name. */
const cp_tensor *cp_safetensors_find(const cp_safetensors *file, const char *name);

#endif
