/* One GGUF file, version 3: metadata and tensor infos, checked completely at open.
 *
 * The file is mapped and untrusted: every count, length, offset and product is checked before it is
 * used, and memory grows with what was read, never with what a count promises. Refused: other
 * versions, big-endian files, keys or names that occur twice, arrays of arrays, tensors of types
 * that gguf_blocks.h does not read, data that is misaligned, overlaps or runs past the end. Errors
 * are one line with the file's name and the thing.
 *
 * Keys, strings and data are borrowed from the mapping. Immutable after open; any thread may read.
 * What keys and tensors mean is gguf_model.h's business. */
#ifndef CP_CONVERT_GGUF_H
#define CP_CONVERT_GGUF_H

#include "base/file.h"
#include "base/strbuf.h"

#include <stdint.h>

#define CP_GGUF_MAX_DIMS 4

/* Value kinds, by the file's own numbers. */
typedef enum cp_gguf_kind {
    CP_GGUF_UINT8,
    CP_GGUF_INT8,
    CP_GGUF_UINT16,
    CP_GGUF_INT16,
    CP_GGUF_UINT32,
    CP_GGUF_INT32,
    CP_GGUF_FLOAT32,
    CP_GGUF_BOOL,
    CP_GGUF_STRING,
    CP_GGUF_ARRAY,
    CP_GGUF_UINT64,
    CP_GGUF_INT64,
    CP_GGUF_FLOAT64,
} cp_gguf_kind;
#define CP_GGUF_N_KINDS 13

typedef struct cp_gguf_value {
    cp_str key;
    cp_gguf_kind kind, element; /* element: of an array */
    size_t n;                   /* bytes of a string, elements of an array */
    const unsigned char *data;  /* of a string or array: behind its length */
} cp_gguf_value;

typedef struct cp_gguf_tensor {
    cp_str name;
    uint32_t type;                          /* one that cp_gguf_widen takes */
    size_t n_dims, shape[CP_GGUF_MAX_DIMS]; /* outermost first, as elsewhere; the file has it the
                                               other way round */
    size_t offset, n_bytes;                 /* in the data */
    const unsigned char *data;
} cp_gguf_tensor;

typedef struct cp_gguf {
    char *path;
    cp_mapping mapping;
    cp_gguf_value *values; /* [n_values], sorted by key */
    size_t n_values, cap_values;
    cp_gguf_tensor *tensors; /* [n_tensors], sorted by name */
    size_t n_tensors, cap_tensors;
} cp_gguf;

cp_status cp_gguf_open(const char *path, cp_gguf *out, cp_error *err) CP_MUST_CHECK;
void cp_gguf_close(cp_gguf *file);

/* NULL when there is none. */
const cp_gguf_value *cp_gguf_find(const cp_gguf *file, const char *key);
const cp_gguf_tensor *cp_gguf_tensor_find(const cp_gguf *file, const char *name);

/* Getters. An absent key leaves *out alone and is CP_ERR_NOT_FOUND, with a sentence; another kind
 * or a value out of range is CP_ERR_FORMAT. Integers may have any width. */
cp_status cp_gguf_get_int(const cp_gguf *file, const char *key, int64_t lo, int64_t hi,
                          int64_t *out, cp_error *err) CP_MUST_CHECK;
cp_status cp_gguf_get_number(const cp_gguf *file, const char *key, double lo, double hi,
                             double *out, cp_error *err) CP_MUST_CHECK;
cp_status cp_gguf_get_bool(const cp_gguf *file, const char *key, bool *out,
                           cp_error *err) CP_MUST_CHECK;
cp_status cp_gguf_get_string(const cp_gguf *file, const char *key, cp_str *out,
                             cp_error *err) CP_MUST_CHECK;
/* An array of this kind of elements. */
cp_status cp_gguf_get_array(const cp_gguf *file, const char *key, cp_gguf_kind element,
                            const cp_gguf_value **out, cp_error *err) CP_MUST_CHECK;
/* CP_OK for CP_ERR_NOT_FOUND, else the status. */
static inline cp_status cp_gguf_optional(cp_status status) {
    return status == CP_ERR_NOT_FOUND ? CP_OK : status;
}

/* Element i of an array of INT32. */
int32_t cp_gguf_array_int32(const cp_gguf_value *array, size_t i);
/* The strings of an array in order: *at starts as NULL; called array->n times at most. */
cp_str cp_gguf_array_next_string(const cp_gguf_value *array, const unsigned char **at);

#endif
