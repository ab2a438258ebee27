#include "engine/safetensors.h"

#include "base/json_reader.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define MAX_HEADER_BYTES 100000000u /* the reference implementation's limit */
#define MAX_TENSORS                                                                                \
    65536u /* 36 layers have under 400; bounds what a hostile header makes us hold */
#define LENGTH_BYTES 8

typedef struct dtype_info {
    const char *name;
    unsigned bits;
    cp_dtype dtype;
} dtype_info;

/* All that the format knows; tensors that are not weights of ours may have any of them. */
static const dtype_info dtypes[] = {
    {"F32", 32, CP_F32},
    {"F16", 16, CP_F16},
    {"BF16", 16, CP_BF16},
    {"U8", 8, CP_U8},
    {"F64", 64, CP_DTYPE_OTHER},
    {"I64", 64, CP_DTYPE_OTHER},
    {"I32", 32, CP_DTYPE_OTHER},
    {"I16", 16, CP_DTYPE_OTHER},
    {"I8", 8, CP_DTYPE_OTHER},
    {"U64", 64, CP_DTYPE_OTHER},
    {"U32", 32, CP_DTYPE_OTHER},
    {"U16", 16, CP_DTYPE_OTHER},
    {"BOOL", 8, CP_DTYPE_OTHER},
    {"F8_E4M3", 8, CP_DTYPE_OTHER},
    {"F8_E5M2", 8, CP_DTYPE_OTHER},
};

const char *cp_dtype_name(cp_dtype dtype) {
    return dtype < CP_DTYPE_OTHER ? dtypes[dtype].name : "other";
}

size_t cp_dtype_bytes(cp_dtype dtype) {
    return dtype < CP_DTYPE_OTHER ? dtypes[dtype].bits / 8 : 0;
}

static cp_status fault(const cp_safetensors *file, const cp_tensor *tensor, cp_error *err,
                       const char *problem, size_t found, size_t expected) {
    return cp_error_set(err, CP_ERR_FORMAT, "%s: tensor %.128s: %s (%zu, expected %zu)", file->path,
                        tensor->name, problem, found, expected);
}

static cp_status read_dtype(cp_json_reader *r, const dtype_info **out, cp_error *err) {
    cp_str name;
    cp_status status = cp_json_read_string(r, &name, err);
    if (status != CP_OK)
        return status;
    for (size_t i = 0; i < CP_COUNT_OF(dtypes); i++)
        if (cp_str_is(name, dtypes[i].name)) {
            *out = &dtypes[i];
            return CP_OK;
        }
    return cp_json_fail(r, err, "unknown dtype \"%.*s\"", (int)(name.n < 16 ? name.n : 16),
                        name.data);
}

/* A list of up to `cap` non-negative integers; *n is their number. */
static cp_status read_sizes(cp_json_reader *r, const char *what, size_t *out, size_t cap, size_t *n,
                            cp_error *err) {
    bool more = false;
    cp_status status = cp_json_enter_array(r, err);
    for (*n = 0; status == CP_OK; (*n)++) {
        int64_t value;
        status = cp_json_next_element(r, &more, err);
        if (status != CP_OK || !more)
            return status;
        if (*n == cap)
            return cp_json_fail(r, err, "%s has more than %zu entries", what, cap);
        status = cp_json_read_int(r, what, 0, INT64_MAX, &value, err);
        if (status == CP_OK)
            out[*n] = (size_t)value;
    }
    return status;
}

/* shape x element size must be exactly the bytes between the offsets. */
static cp_status check_size(const cp_safetensors *file, const cp_tensor *t, const dtype_info *dtype,
                            size_t data_bytes, cp_error *err) {
    if (t->begin > t->end)
        return fault(file, t, err, "data_offsets begin after their end", t->begin, t->end);
    if (t->end > data_bytes)
        return fault(file, t, err, "data_offsets run past the data", t->end, data_bytes);
    size_t bits = dtype->bits;
    for (size_t i = 0; i < t->n_dims; i++)
        if (!cp_size_mul(bits, t->shape[i], &bits))
            return fault(file, t, err, "the shape's element count overflows", t->shape[i], 0);
    if (bits % 8 != 0 || bits / 8 != t->end - t->begin)
        return fault(file, t, err, "data_offsets do not hold the shape's bytes", t->end - t->begin,
                     bits / 8);
    return CP_OK;
}

/* One {"dtype", "shape", "data_offsets"}; each exactly once, nothing else. */
static cp_status read_tensor(cp_json_reader *r, const cp_safetensors *file, cp_tensor *t,
                             size_t data_bytes, cp_error *err) {
    const dtype_info *dtype = NULL;
    bool have_shape = false, have_offsets = false, more = false;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK) {
        cp_str key;
        size_t offsets[2] = {0}, n = 0;
        status = cp_json_next_key(r, &key, &more, err);
        if (status != CP_OK || !more)
            break;
        if (cp_str_is(key, "dtype") && !dtype) {
            status = read_dtype(r, &dtype, err);
        } else if (cp_str_is(key, "shape") && !have_shape) {
            have_shape = true;
            status = read_sizes(r, "shape", t->shape, CP_MAX_DIMS, &t->n_dims, err);
        } else if (cp_str_is(key, "data_offsets") && !have_offsets) {
            have_offsets = true;
            status = read_sizes(r, "data_offsets", offsets, 2, &n, err);
            if (status == CP_OK && n != 2)
                status = cp_json_fail(r, err, "data_offsets has %zu entries, expected 2", n);
            t->begin = offsets[0];
            t->end = offsets[1];
        } else {
            status = cp_json_fail(r, err, "unexpected or repeated key");
        }
    }
    if (status != CP_OK)
        return cp_error_prefix(err, "tensor %.128s", t->name);
    if (!dtype || !have_shape || !have_offsets)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: tensor %.128s: dtype, shape or data_offsets is missing",
                            file->path, t->name);
    t->dtype = dtype->dtype;
    return check_size(file, t, dtype, data_bytes, err);
}

/* "__metadata__": an object whose values are strings; we need none of them. */
static cp_status skip_metadata(cp_json_reader *r, cp_error *err) {
    bool more = false;
    cp_str ignored;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK) {
        status = cp_json_next_key(r, &ignored, &more, err);
        if (status != CP_OK || !more)
            return status;
        status = cp_json_read_string(r, &ignored, err);
    }
    return status;
}

static cp_status add_tensor(cp_safetensors *file, cp_str name, cp_tensor **out, cp_error *err) {
    if (file->n == MAX_TENSORS)
        return cp_error_set(err, CP_ERR_LIMIT, "%s: more than %u tensors", file->path, MAX_TENSORS);
    if (name.n == 0 || memchr(name.data, '\0', name.n))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: a tensor's name is empty or holds U+0000",
                            file->path);
    char *copy = cp_copy_bytes(name.data, name.n);
    if (!copy ||
        !cp_grow((void **)&file->tensors, &file->cap, file->n + 1, sizeof *file->tensors)) {
        free(copy);
        return cp_error_no_memory(err, file->path);
    }
    *out = &file->tensors[file->n++];
    **out = (cp_tensor){.name = copy};
    return CP_OK;
}

static cp_status read_header(cp_safetensors *file, cp_json_reader *r, size_t data_bytes,
                             cp_error *err) {
    bool more = false, metadata = false;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK) {
        cp_str name;
        cp_tensor *tensor = NULL;
        status = cp_json_next_key(r, &name, &more, err);
        if (status != CP_OK)
            return status;
        if (!more)
            break;
        if (cp_str_is(name, "__metadata__")) {
            status = metadata ? cp_json_fail(r, err, "__metadata__ appears twice")
                              : skip_metadata(r, err);
            metadata = true;
            continue;
        }
        status = add_tensor(file, name, &tensor, err);
        if (status == CP_OK)
            status = read_tensor(r, file, tensor, data_bytes, err);
    }
    return status == CP_OK ? cp_json_finish(r, err) : status;
}

static int by_place(const void *a, const void *b) {
    const cp_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const cp_tensor *)a)->name, ((const cp_tensor *)b)->name);
}

/* The tensors must tile the data: each begins where the one before ends. */
static cp_status check_tiling(cp_safetensors *file, size_t data_bytes, cp_error *err) {
    size_t end = 0;
    if (file->n > 0)
        qsort(file->tensors, file->n, sizeof *file->tensors, by_place);
    for (size_t i = 0; i < file->n; i++) {
        const cp_tensor *t = &file->tensors[i];
        if (t->begin != end)
            return fault(file, t, err,
                         t->begin < end ? "data_offsets overlap the tensor before"
                                        : "data_offsets leave a hole before them",
                         t->begin, end);
        end = t->end;
    }
    if (end != data_bytes)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: %zu bytes of data belong to no tensor",
                            file->path, data_bytes - end);
    return CP_OK;
}

static cp_status sort_names(cp_safetensors *file, cp_error *err) {
    if (file->n > 0)
        qsort(file->tensors, file->n, sizeof *file->tensors, by_name);
    for (size_t i = 1; i < file->n; i++)
        if (strcmp(file->tensors[i - 1].name, file->tensors[i].name) == 0)
            return cp_error_set(err, CP_ERR_FORMAT, "%s: tensor %.128s appears twice", file->path,
                                file->tensors[i].name);
    return CP_OK;
}

/* The header's length, from the first eight bytes (little-endian). */
static cp_status header_length(const cp_safetensors *file, size_t *out, cp_error *err) {
    if (file->mapping.n_bytes < LENGTH_BYTES)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: %zu bytes, too short for the header's length",
                            file->path, file->mapping.n_bytes);
    uint64_t length = 0;
    for (unsigned i = LENGTH_BYTES; i-- > 0;)
        length = length << 8 | file->mapping.data[i];
    if (length > MAX_HEADER_BYTES)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: header length %llu is over the format's limit %u", file->path,
                            (unsigned long long)length, MAX_HEADER_BYTES);
    if (length > file->mapping.n_bytes - LENGTH_BYTES)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: header length %llu runs past the file's end (%zu bytes)",
                            file->path, (unsigned long long)length, file->mapping.n_bytes);
    *out = (size_t)length;
    return CP_OK;
}

cp_status cp_safetensors_open(const char *path, cp_safetensors *out, cp_error *err) {
    size_t length = 0;
    *out = (cp_safetensors){0};
    cp_status status = cp_file_map(path, &out->mapping, err);
    if (status != CP_OK)
        return status;
    out->path = cp_copy_bytes(path, strlen(path));
    if (!out->path) {
        status = cp_error_no_memory(err, path);
        goto done;
    }
    status = header_length(out, &length, err);
    if (status != CP_OK)
        goto done;

    const unsigned char *data = out->mapping.data + LENGTH_BYTES + length;
    size_t data_bytes = out->mapping.n_bytes - LENGTH_BYTES - length;
    cp_json_reader reader;
    cp_json_reader_init(&reader, out->path, (const char *)out->mapping.data + LENGTH_BYTES, length);
    status = read_header(out, &reader, data_bytes, err);
    cp_json_reader_deinit(&reader);
    if (status == CP_OK)
        status = check_tiling(out, data_bytes, err);
    if (status == CP_OK)
        status = sort_names(out, err);
    status = cp_file_check_whole(&out->mapping, path, status, err);
    for (size_t i = 0; i < out->n; i++)
        out->tensors[i].data = data + out->tensors[i].begin;
done:
    if (status != CP_OK)
        cp_safetensors_close(out);
    return status;
}

void cp_safetensors_close(cp_safetensors *file) {
    for (size_t i = 0; i < file->n; i++)
        free(file->tensors[i].name);
    free(file->tensors);
    free(file->path);
    cp_file_unmap(&file->mapping);
    *file = (cp_safetensors){0};
}

const cp_tensor *cp_safetensors_find(const cp_safetensors *file, const char *name) {
    cp_tensor key = {.name = (char *)name};
    return file->n ? bsearch(&key, file->tensors, file->n, sizeof key, by_name) : NULL;
}
