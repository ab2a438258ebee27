#include "convert/checkpoint_source.h"

#include "engine/checkpoint.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct folder {
    char dir[CP_PATH_CAP];
    cp_checkpoint checkpoint;
    const cp_tensor **tensors; /* [n_tensors], of the source's list */
} folder;

/* ---- stored types to float32, exactly ------------------------------------------------------- */

static void widen_bf16(const unsigned char *from, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, from + i * sizeof half, sizeof half);
        uint32_t bits = (uint32_t)half << 16;
        memcpy(out + i, &bits, sizeof bits);
    }
}

static float float_of_f16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31,
             fraction = half & 1023;
    if (exponent == 0) {
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    uint32_t bits = sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void widen_f16(const unsigned char *from, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, from + i * sizeof half, sizeof half);
        out[i] = float_of_f16(half);
    }
}

/* ---- operations ------------------------------------------------------------------------------ */

static cp_status read_rows(const cp_source *source, size_t tensor, size_t first, size_t n,
                           float *out, cp_error *err) {
    const folder *f = source->self;
    const cp_tensor *t = f->tensors[tensor];
    size_t cols = source->tensors[tensor].cols, values = n * cols;
    const unsigned char *from = t->data + first * cols * cp_dtype_bytes(t->dtype);
    assert(first + n <= source->tensors[tensor].rows);
    if (t->dtype == CP_BF16)
        widen_bf16(from, values, out);
    else if (t->dtype == CP_F16)
        widen_f16(from, values, out);
    else
        memcpy(out, from, values * sizeof *out);
    return cp_checkpoint_check_whole(&f->checkpoint, CP_OK, err);
}

/* Drops whole pages of ours; the page cache keeps them. */
static void release(const cp_source *source, size_t tensor, size_t first, size_t n) {
    const folder *f = source->self;
    const cp_tensor *t = f->tensors[tensor];
    size_t row_bytes = source->tensors[tensor].cols * cp_dtype_bytes(t->dtype),
           page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)t->data + first * row_bytes, end = begin + n * row_bytes;
    begin = (begin + page - 1) / page * page;
    end = end / page * page;
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static cp_status write_files(const cp_source *source, const char *dir, cp_error *err) {
    static const struct {
        const char *name;
        bool optional;
    } files[] = {{"config.json", false},
                 {"generation_config.json", true},
                 {"tokenizer.json", true},
                 {"tokenizer_config.json", true},
                 {"chat_template.jinja", true}};
    const folder *f = source->self;
    cp_status status = CP_OK;
    for (size_t i = 0; i < sizeof files / sizeof files[0] && status == CP_OK; i++)
        status =
            cp_source_copy_file(f->dir, files[i].name, dir, files[i].name, files[i].optional, err);
    return status;
}

static void close_folder(void *self) {
    folder *f = self;
    cp_checkpoint_close(&f->checkpoint);
    free(f->tensors);
    free(f);
}

static const cp_source_ops ops = {read_rows, release, write_files, close_folder};

/* ---- opening --------------------------------------------------------------------------------- */

static cp_status find_tensor(const folder *f, const cp_source_tensor *want, const cp_tensor **out,
                             cp_error *err) {
    const char *path = NULL;
    const cp_tensor *t = cp_checkpoint_find(&f->checkpoint, want->name, &path);
    bool matrix = cp_kind_is_matrix(want->kind);
    if (!t)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: tensor %s is missing", f->dir, want->name);
    if (t->dtype == CP_U8)
        return cp_error_set(err, CP_ERR_UNSUPPORTED,
                            "%s: tensor %s is quantized already; convert from the original weights",
                            path, want->name);
    if (t->dtype >= CP_N_FLOAT_DTYPES)
        return cp_error_set(err, CP_ERR_UNSUPPORTED, "%s: tensor %s is not F32, F16 or BF16", path,
                            want->name);
    if (matrix ? t->n_dims != 2 || t->shape[0] != want->rows || t->shape[1] != want->cols
               : t->n_dims != 1 || t->shape[0] != want->cols)
        return cp_error_set(
            err, CP_ERR_FORMAT,
            "%s: tensor %s has %zu dimensions [%zu, %zu], config.json wants %d [%zu, %zu]", path,
            want->name, t->n_dims, t->shape[0], t->shape[1], matrix ? 2 : 1,
            matrix ? want->rows : want->cols, matrix ? want->cols : 0);
    *out = t;
    return CP_OK;
}

static cp_status open_folder(const char *dir, folder *f, cp_source *out, cp_error *err) {
    cp_sampling sampling = {0};
    snprintf(f->dir, sizeof f->dir, "%s", dir);
    snprintf(out->label, sizeof out->label, "%s", dir);
    snprintf(out->origin, sizeof out->origin, "%s", cp_source_base_name(dir));
    cp_status status = cp_config_read(dir, &out->config, err);
    if (status == CP_OK)
        status = cp_config_read_generation(dir, &out->config, &sampling, err);
    if (status == CP_OK)
        status = cp_checkpoint_open(dir, &f->checkpoint, err);
    if (status != CP_OK)
        return status;
    bool bare = !cp_checkpoint_find(&f->checkpoint, "model.embed_tokens.weight", NULL) &&
                cp_checkpoint_find(&f->checkpoint, "embed_tokens.weight", NULL);
    status = cp_source_plan(out, bare ? "" : "model.", err);
    if (status != CP_OK)
        return status;
    f->tensors = calloc(out->n_tensors, sizeof *f->tensors);
    if (!f->tensors)
        return cp_error_no_memory(err, dir);
    for (size_t i = 0; i < out->n_tensors && status == CP_OK; i++)
        status = find_tensor(f, &out->tensors[i], &f->tensors[i], err);
    return status;
}

cp_status cp_checkpoint_source_open(const char *dir, cp_source *out, cp_error *err) {
    *out = (cp_source){0};
    folder *f = calloc(1, sizeof *f);
    if (!f)
        return cp_error_no_memory(err, dir);
    out->ops = &ops;
    out->self = f;
    cp_status status = open_folder(dir, f, out, err);
    if (status != CP_OK)
        cp_source_close(out);
    return status;
}
