#include "convert/gguf.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "convert/gguf_blocks.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION           3
#define DEFAULT_ALIGNMENT 32
#define MAX_ALIGNMENT     (1 << 20)
#define MAX_NAME_BYTES    64 /* of a tensor, by the format */
#define MAX_KEY_BYTES     65535
#define SHOWN_BYTES       128 /* of a key or name in a sentence */

/* ---- bytes --------------------------------------------------------------------------------- */

static uint64_t load(const unsigned char *p, size_t n_bytes) {
    uint64_t value = 0;
    for (size_t i = n_bytes; i-- > 0;)
        value = value << 8 | p[i];
    return value;
}

static int shown(cp_str text) {
    return (int)(text.n < SHOWN_BYTES ? text.n : SHOWN_BYTES);
}

static int compare(cp_str a, cp_str b) {
    int order = memcmp(a.data, b.data, a.n < b.n ? a.n : b.n);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* Reads on from `at`; `what` is the thing being read, for errors. */
typedef struct cursor {
    const cp_gguf *file;
    size_t at;
    cp_str what;
} cursor;

static size_t left(const cursor *c) {
    return c->file->mapping.n_bytes - c->at;
}

static cp_status cut(const cursor *c, cp_error *err) {
    return cp_error_set(err, CP_ERR_FORMAT, "%s: %.*s: runs past the file's end (%zu bytes)",
                        c->file->path, shown(c->what), c->what.data, c->file->mapping.n_bytes);
}

static cp_status take(cursor *c, size_t n_bytes, uint64_t *out, cp_error *err) {
    if (left(c) < n_bytes)
        return cut(c, err);
    *out = load(c->file->mapping.data + c->at, n_bytes);
    c->at += n_bytes;
    return CP_OK;
}

/* A length of 8 bytes and so many bytes. */
static cp_status take_string(cursor *c, cp_str *out, cp_error *err) {
    uint64_t n = 0;
    cp_status status = take(c, 8, &n, err);
    if (status != CP_OK)
        return status;
    if (n > left(c))
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: %.*s: a string of %llu bytes runs past the file's end (%zu)",
                            c->file->path, shown(c->what), c->what.data, (unsigned long long)n,
                            c->file->mapping.n_bytes);
    *out = (cp_str){(const char *)c->file->mapping.data + c->at, (size_t)n};
    c->at += (size_t)n;
    return CP_OK;
}

/* The name of a key or tensor: 1 to `max` bytes of UTF-8. */
static cp_status take_name(cursor *c, const char *kind, size_t index, size_t max, cp_str *out,
                           cp_error *err) {
    char what[64];
    snprintf(what, sizeof what, "name of %s %zu", kind, index);
    c->what = (cp_str){what, strlen(what)};
    cp_status status = take_string(c, out, err);
    if (status == CP_OK && (out->n == 0 || out->n > max))
        status = cp_error_set(err, CP_ERR_FORMAT, "%s: %s has %zu bytes, expected 1 to %zu",
                              c->file->path, what, out->n, max);
    if (status == CP_OK && !cp_utf8_is_valid(out->data, out->n))
        status = cp_error_set(err, CP_ERR_FORMAT, "%s: %s is not UTF-8", c->file->path, what);
    if (status == CP_OK)
        c->what = *out;
    return status;
}

/* ---- metadata ------------------------------------------------------------------------------ */

/* Bytes of one value; 0 for strings and arrays. */
static const unsigned char kind_bytes[CP_GGUF_N_KINDS] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
static const char *const kind_names[CP_GGUF_N_KINDS] = {
    "uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
    "bool",  "string", "array",  "uint64", "int64",  "float64"};

static cp_status take_kind(cursor *c, cp_gguf_kind *out, cp_error *err) {
    uint64_t kind = 0;
    cp_status status = take(c, 4, &kind, err);
    if (status == CP_OK && kind >= CP_GGUF_N_KINDS)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: %.*s: value type %llu is not known",
                            c->file->path, shown(c->what), c->what.data, (unsigned long long)kind);
    *out = (cp_gguf_kind)kind;
    return status;
}

static cp_status take_array(cursor *c, cp_gguf_value *v, cp_error *err) {
    uint64_t n = 0;
    cp_status status = take_kind(c, &v->element, err);
    if (status == CP_OK && v->element == CP_GGUF_ARRAY)
        return cp_error_set(err, CP_ERR_UNSUPPORTED, "%s: %.*s: an array of arrays", c->file->path,
                            shown(c->what), c->what.data);
    if (status == CP_OK)
        status = take(c, 8, &n, err);
    if (status != CP_OK)
        return status;
    size_t each = v->element == CP_GGUF_STRING ? 8 : kind_bytes[v->element]; /* at least */
    if (n > left(c) / each)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: %.*s: an array of %llu elements runs past the file's end (%zu)",
                            c->file->path, shown(c->what), c->what.data, (unsigned long long)n,
                            c->file->mapping.n_bytes);
    v->n = (size_t)n;
    v->data = c->file->mapping.data + c->at;
    if (v->element != CP_GGUF_STRING) {
        c->at += v->n * each;
        return CP_OK;
    }
    cp_str ignored;
    for (size_t i = 0; i < v->n && status == CP_OK; i++)
        status = take_string(c, &ignored, err);
    return status;
}

static cp_status take_value(cursor *c, cp_gguf_value *v, cp_error *err) {
    cp_str text;
    cp_status status = take_kind(c, &v->kind, err);
    if (status != CP_OK)
        return status;
    if (v->kind == CP_GGUF_ARRAY)
        return take_array(c, v, err);
    if (v->kind == CP_GGUF_STRING) {
        status = take_string(c, &text, err);
        if (status == CP_OK) {
            v->n = text.n;
            v->data = (const unsigned char *)text.data;
        }
        return status;
    }
    if (left(c) < kind_bytes[v->kind])
        return cut(c, err);
    v->data = c->file->mapping.data + c->at;
    c->at += kind_bytes[v->kind];
    if (v->kind == CP_GGUF_BOOL && v->data[0] > 1)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: %.*s: a bool of value %u", c->file->path,
                            shown(v->key), v->key.data, v->data[0]);
    return CP_OK;
}

static int by_key(const void *a, const void *b) {
    return compare(((const cp_gguf_value *)a)->key, ((const cp_gguf_value *)b)->key);
}

static cp_status take_metadata(cursor *c, cp_gguf *file, uint64_t n, cp_error *err) {
    for (uint64_t i = 0; i < n; i++) {
        cp_gguf_value v = {.n = 0};
        cp_status status = take_name(c, "metadata key", (size_t)i, MAX_KEY_BYTES, &v.key, err);
        if (status == CP_OK)
            status = take_value(c, &v, err);
        if (status != CP_OK)
            return status;
        if (!cp_grow((void **)&file->values, &file->cap_values, file->n_values + 1, sizeof v))
            return cp_error_no_memory(err, file->path);
        file->values[file->n_values++] = v;
    }
    if (file->n_values > 0)
        qsort(file->values, file->n_values, sizeof *file->values, by_key);
    for (size_t i = 1; i < file->n_values; i++)
        if (cp_str_equal(file->values[i - 1].key, file->values[i].key))
            return cp_error_set(err, CP_ERR_FORMAT, "%s: key %.*s appears twice", file->path,
                                shown(file->values[i].key), file->values[i].key.data);
    return CP_OK;
}

/* ---- tensors ------------------------------------------------------------------------------- */

static cp_status CP_PRINTF(4, 5) tensor_fault(const cp_gguf *file, const cp_gguf_tensor *t,
                                              cp_error *err, const char *fmt, ...) {
    char what[160];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return cp_error_set(err, CP_ERR_FORMAT, "%s: tensor %.*s: %s", file->path, shown(t->name),
                        t->name.data, what);
}

static cp_status take_shape(cursor *c, cp_gguf_tensor *t, cp_error *err) {
    uint64_t n_dims = 0, dim = 0;
    cp_status status = take(c, 4, &n_dims, err);
    if (status == CP_OK && (n_dims == 0 || n_dims > CP_GGUF_MAX_DIMS))
        return tensor_fault(c->file, t, err, "%llu dimensions, expected 1 to %d",
                            (unsigned long long)n_dims, CP_GGUF_MAX_DIMS);
    t->n_dims = (size_t)n_dims;
    for (size_t i = t->n_dims; i-- > 0 && status == CP_OK;) {
        status = take(c, 8, &dim, err);
        if (status == CP_OK && (dim == 0 || dim > INT64_MAX))
            return tensor_fault(c->file, t, err, "a dimension of %llu", (unsigned long long)dim);
        t->shape[i] = (size_t)dim;
    }
    return status;
}

/* From the shape and the type. */
static cp_status tensor_bytes(const cp_gguf *file, cp_gguf_tensor *t, cp_error *err) {
    size_t block, block_bytes, row = t->shape[t->n_dims - 1], rows = 1;
    if (!cp_gguf_type_block(t->type, &block, &block_bytes))
        return cp_error_set(
            err, CP_ERR_UNSUPPORTED,
            "%s: tensor %.*s: type %u (%s) is not supported (supported: " CP_GGUF_SUPPORTED_TYPES
            ")",
            file->path, shown(t->name), t->name.data, t->type, cp_gguf_type_name(t->type));
    if (row % block != 0)
        return tensor_fault(
            file, t, err, "a row of %zu values is not a whole number of blocks of %zu", row, block);
    bool fits = true;
    for (size_t i = 0; i + 1 < t->n_dims; i++)
        fits = fits && cp_size_mul(rows, t->shape[i], &rows);
    size_t row_bytes = 0;
    fits = fits && cp_size_mul(row / block, block_bytes, &row_bytes) &&
           cp_size_mul(rows, row_bytes, &t->n_bytes);
    return fits ? CP_OK : tensor_fault(file, t, err, "its dimensions' product overflows");
}

static cp_status take_tensors(cursor *c, cp_gguf *file, uint64_t n, cp_error *err) {
    uint64_t type = 0, offset = 0;
    for (uint64_t i = 0; i < n; i++) {
        cp_gguf_tensor t = {.n_dims = 0};
        cp_status status = take_name(c, "tensor", (size_t)i, MAX_NAME_BYTES, &t.name, err);
        if (status == CP_OK)
            status = take_shape(c, &t, err);
        if (status == CP_OK)
            status = take(c, 4, &type, err);
        if (status == CP_OK)
            status = take(c, 8, &offset, err);
        t.type = (uint32_t)type;
        t.offset = (size_t)offset;
        if (status == CP_OK)
            status = tensor_bytes(file, &t, err);
        if (status != CP_OK)
            return status;
        if (!cp_grow((void **)&file->tensors, &file->cap_tensors, file->n_tensors + 1, sizeof t))
            return cp_error_no_memory(err, file->path);
        file->tensors[file->n_tensors++] = t;
    }
    return CP_OK;
}

static int by_offset(const void *a, const void *b) {
    size_t x = ((const cp_gguf_tensor *)a)->offset, y = ((const cp_gguf_tensor *)b)->offset;
    return (x > y) - (x < y);
}

static int by_name(const void *a, const void *b) {
    return compare(((const cp_gguf_tensor *)a)->name, ((const cp_gguf_tensor *)b)->name);
}

/* Each tensor's data is aligned, inside, and behind that of the one before. */
static cp_status place_tensors(cp_gguf *file, size_t start, size_t alignment, cp_error *err) {
    size_t n_data = file->mapping.n_bytes > start ? file->mapping.n_bytes - start : 0, end = 0;
    if (file->n_tensors == 0)
        return CP_OK;
    qsort(file->tensors, file->n_tensors, sizeof *file->tensors, by_offset);
    for (size_t i = 0; i < file->n_tensors; i++) {
        cp_gguf_tensor *t = &file->tensors[i];
        if (t->offset % alignment != 0)
            return tensor_fault(file, t, err, "its offset %zu is not aligned to %zu", t->offset,
                                alignment);
        if (t->offset > n_data || t->n_bytes > n_data - t->offset)
            return tensor_fault(file, t, err,
                                "its %zu bytes at offset %zu run past the file's end (%zu)",
                                t->n_bytes, t->offset, n_data);
        if (t->offset < end)
            return tensor_fault(file, t, err, "its data at offset %zu overlaps another's, to %zu",
                                t->offset, end);
        end = t->offset + t->n_bytes;
        t->data = file->mapping.data + start + t->offset;
    }
    qsort(file->tensors, file->n_tensors, sizeof *file->tensors, by_name);
    for (size_t i = 1; i < file->n_tensors; i++)
        if (cp_str_equal(file->tensors[i - 1].name, file->tensors[i].name))
            return cp_error_set(err, CP_ERR_FORMAT, "%s: tensor %.*s appears twice", file->path,
                                shown(file->tensors[i].name), file->tensors[i].name.data);
    return CP_OK;
}

/* ---- the file ------------------------------------------------------------------------------ */

static cp_status take_header(cursor *c, uint64_t *n_tensors, uint64_t *n_values, cp_error *err) {
    uint64_t magic = 0, version = 0;
    c->what = CP_STR("header");
    cp_status status = take(c, 4, &magic, err);
    if (status == CP_OK && magic != 0x46554747) /* "GGUF" */
        return cp_error_set(err, CP_ERR_FORMAT, "%s: does not begin with \"GGUF\"", c->file->path);
    if (status == CP_OK)
        status = take(c, 4, &version, err);
    if (status == CP_OK && version == (uint64_t)VERSION << 24)
        return cp_error_set(err, CP_ERR_UNSUPPORTED,
                            "%s: a big-endian GGUF file, only little-endian ones are read",
                            c->file->path);
    if (status == CP_OK && version != VERSION)
        return cp_error_set(err, CP_ERR_UNSUPPORTED, "%s: GGUF version %llu, only %d is read",
                            c->file->path, (unsigned long long)version, VERSION);
    if (status == CP_OK)
        status = take(c, 8, n_tensors, err);
    if (status == CP_OK)
        status = take(c, 8, n_values, err);
    /* The least that one of each takes; so that a count that is nonsense is called so. */
    if (status == CP_OK && (*n_values > left(c) / 13 || *n_tensors > left(c) / 32))
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: %llu tensors and %llu metadata keys cannot be in %zu bytes",
                            c->file->path, (unsigned long long)*n_tensors,
                            (unsigned long long)*n_values, c->file->mapping.n_bytes);
    return status;
}

static cp_status read_file(cp_gguf *file, cp_error *err) {
    cursor c = {.file = file};
    uint64_t n_tensors = 0, n_values = 0;
    int64_t alignment = DEFAULT_ALIGNMENT;
    cp_status status = take_header(&c, &n_tensors, &n_values, err);
    if (status == CP_OK)
        status = take_metadata(&c, file, n_values, err);
    if (status == CP_OK)
        status = cp_gguf_optional(
            cp_gguf_get_int(file, "general.alignment", 8, MAX_ALIGNMENT, &alignment, err));
    if (status == CP_OK && (alignment & (alignment - 1)) != 0)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: general.alignment is %lld, expected a power of two", file->path,
                            (long long)alignment);
    if (status == CP_OK)
        status = take_tensors(&c, file, n_tensors, err);
    size_t align = (size_t)alignment; /* the sum fits: a mapping is far from the end of memory */
    return status == CP_OK ? place_tensors(file, (c.at + align - 1) / align * align, align, err)
                           : status;
}

cp_status cp_gguf_open(const char *path, cp_gguf *out, cp_error *err) {
    *out = (cp_gguf){0};
    cp_status status = cp_file_map(path, &out->mapping, err);
    if (status != CP_OK)
        return status;
    out->path = cp_copy_bytes(path, strlen(path));
    status = out->path ? read_file(out, err) : cp_error_no_memory(err, path);
    status = cp_file_check_whole(&out->mapping, path, status, err);
    if (status != CP_OK)
        cp_gguf_close(out);
    return status;
}

void cp_gguf_close(cp_gguf *file) {
    free(file->values);
    free(file->tensors);
    free(file->path);
    cp_file_unmap(&file->mapping);
    *file = (cp_gguf){0};
}

/* ---- looking up ---------------------------------------------------------------------------- */

const cp_gguf_value *cp_gguf_find(const cp_gguf *file, const char *key) {
    cp_gguf_value wanted = {.key = {key, strlen(key)}};
    return file->n_values ? bsearch(&wanted, file->values, file->n_values, sizeof wanted, by_key)
                          : NULL;
}

const cp_gguf_tensor *cp_gguf_tensor_find(const cp_gguf *file, const char *name) {
    cp_gguf_tensor wanted = {.name = {name, strlen(name)}};
    return file->n_tensors
               ? bsearch(&wanted, file->tensors, file->n_tensors, sizeof wanted, by_name)
               : NULL;
}

static cp_status absent(const cp_gguf *file, const char *key, cp_error *err) {
    return cp_error_set(err, CP_ERR_NOT_FOUND, "%s: key %s is missing", file->path, key);
}

static cp_status wrong_kind(const cp_gguf *file, const cp_gguf_value *v, const char *expected,
                            cp_error *err) {
    return cp_error_set(err, CP_ERR_FORMAT, "%s: key %.*s is %s %s, expected %s", file->path,
                        shown(v->key), v->key.data,
                        v->kind == CP_GGUF_ARRAY ? "an array of" : "of type",
                        kind_names[v->kind == CP_GGUF_ARRAY ? v->element : v->kind], expected);
}

/* False when the value is no integer; what is too large for int64_t becomes INT64_MAX. */
static bool as_int(const cp_gguf_value *v, int64_t *out) {
    uint64_t raw;
    switch (v->kind) {
    case CP_GGUF_UINT8:
    case CP_GGUF_UINT16:
    case CP_GGUF_UINT32:
    case CP_GGUF_UINT64:
        raw = load(v->data, kind_bytes[v->kind]);
        *out = raw > INT64_MAX ? INT64_MAX : (int64_t)raw;
        return true;
    case CP_GGUF_INT8:
        *out = (int8_t)v->data[0];
        return true;
    case CP_GGUF_INT16:
        *out = (int16_t)load(v->data, 2);
        return true;
    case CP_GGUF_INT32:
        *out = (int32_t)load(v->data, 4);
        return true;
    case CP_GGUF_INT64:
        *out = (int64_t)load(v->data, 8);
        return true;
    default:
        return false;
    }
}

cp_status cp_gguf_get_int(const cp_gguf *file, const char *key, int64_t lo, int64_t hi,
                          int64_t *out, cp_error *err) {
    const cp_gguf_value *v = cp_gguf_find(file, key);
    int64_t value;
    if (!v)
        return absent(file, key, err);
    if (!as_int(v, &value))
        return wrong_kind(file, v, "an integer", err);
    if (value < lo || value > hi)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: key %s is %lld, expected %lld to %lld",
                            file->path, key, (long long)value, (long long)lo, (long long)hi);
    *out = value;
    return CP_OK;
}

cp_status cp_gguf_get_number(const cp_gguf *file, const char *key, double lo, double hi,
                             double *out, cp_error *err) {
    const cp_gguf_value *v = cp_gguf_find(file, key);
    double value;
    if (!v)
        return absent(file, key, err);
    if (v->kind == CP_GGUF_FLOAT32) {
        uint32_t bits = (uint32_t)load(v->data, 4);
        float narrow;
        memcpy(&narrow, &bits, sizeof narrow);
        value = (double)narrow;
    } else if (v->kind == CP_GGUF_FLOAT64) {
        uint64_t bits = load(v->data, 8);
        memcpy(&value, &bits, sizeof value);
    } else {
        return wrong_kind(file, v, "a floating-point number", err);
    }
    if (!(value >= lo && value <= hi))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: key %s is %g, expected %g to %g", file->path,
                            key, value, lo, hi);
    *out = value;
    return CP_OK;
}

cp_status cp_gguf_get_bool(const cp_gguf *file, const char *key, bool *out, cp_error *err) {
    const cp_gguf_value *v = cp_gguf_find(file, key);
    if (!v)
        return absent(file, key, err);
    if (v->kind != CP_GGUF_BOOL)
        return wrong_kind(file, v, "bool", err);
    *out = v->data[0] == 1;
    return CP_OK;
}

cp_status cp_gguf_get_string(const cp_gguf *file, const char *key, cp_str *out, cp_error *err) {
    const cp_gguf_value *v = cp_gguf_find(file, key);
    if (!v)
        return absent(file, key, err);
    if (v->kind != CP_GGUF_STRING)
        return wrong_kind(file, v, "a string", err);
    *out = (cp_str){(const char *)v->data, v->n};
    return CP_OK;
}

cp_status cp_gguf_get_array(const cp_gguf *file, const char *key, cp_gguf_kind element,
                            const cp_gguf_value **out, cp_error *err) {
    const cp_gguf_value *v = cp_gguf_find(file, key);
    if (!v)
        return absent(file, key, err);
    if (v->kind != CP_GGUF_ARRAY || v->element != element) {
        char expected[48];
        snprintf(expected, sizeof expected, "an array of %s", kind_names[element]);
        return wrong_kind(file, v, expected, err);
    }
    *out = v;
    return CP_OK;
}

int32_t cp_gguf_array_int32(const cp_gguf_value *array, size_t i) {
    return (int32_t)load(array->data + 4 * i, 4);
}

cp_str cp_gguf_array_next_string(const cp_gguf_value *array, const unsigned char **at) {
    const unsigned char *p = *at ? *at : array->data;
    cp_str text = {(const char *)p + 8, (size_t)load(p, 8)};
    *at = p + 8 + text.n;
    return text;
}
