#include "convert/gguf_source.h"

#include "base/mem.h"
#include "convert/gguf.h"
#include "convert/gguf_blocks.h"
#include "convert/gguf_config.h"
#include "convert/gguf_vocab.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct model {
    cp_gguf file;
    cp_gguf_vocab vocab;
    const cp_gguf_family *family;
    const cp_gguf_tensor **tensors; /* [n_tensors], of the source's list */
} model;

/* ---- names --------------------------------------------------------------------------------- */

/* The names that GGUF gives; those of layers stand behind "blk.N.". */
static const char *const names[CP_N_KINDS] = {
    [CP_KIND_EMBEDDING] = "token_embd",
    [CP_KIND_Q] = "attn_q",
    [CP_KIND_K] = "attn_k",
    [CP_KIND_V] = "attn_v",
    [CP_KIND_O] = "attn_output",
    [CP_KIND_GATE] = "ffn_gate",
    [CP_KIND_UP] = "ffn_up",
    [CP_KIND_DOWN] = "ffn_down",
    [CP_KIND_HEAD] = "output",
    [CP_KIND_ATTN_NORM] = "attn_norm",
    [CP_KIND_MLP_NORM] = "ffn_norm",
    [CP_KIND_Q_NORM] = "attn_q_norm",
    [CP_KIND_K_NORM] = "attn_k_norm",
    [CP_KIND_FINAL_NORM] = "output_norm",
};

static void name_of(const cp_source_tensor *t, char *out, size_t cap) {
    bool in_layer =
        t->kind != CP_KIND_EMBEDDING && t->kind != CP_KIND_HEAD && t->kind != CP_KIND_FINAL_NORM;
    if (in_layer)
        snprintf(out, cap, "blk.%zu.%s.weight", t->layer, names[t->kind]);
    else
        snprintf(out, cap, "%s.weight", names[t->kind]);
}

/* ---- operations ---------------------------------------------------------------------------- */

/* Where row `row` of q or k is stored: a head's rows 0..h-1 and h..2h-1 alternate in the file. */
static size_t paired_row(size_t row, size_t head_dim) {
    size_t head = row / head_dim, at = row % head_dim, half = head_dim / 2;
    return head * head_dim + 2 * (at % half) + at / half;
}

static size_t row_bytes(const cp_gguf_tensor *t, const cp_source_tensor *want) {
    return t->n_bytes / want->rows;
}

static cp_status read_rows(const cp_source *source, size_t tensor, size_t first, size_t n,
                           float *out, cp_error *err) {
    const model *m = source->self;
    const cp_gguf_tensor *t = m->tensors[tensor];
    const cp_source_tensor *want = &source->tensors[tensor];
    bool paired = m->family->paired_rows && (want->kind == CP_KIND_Q || want->kind == CP_KIND_K);
    cp_status status = CP_OK;
    assert(first + n <= want->rows);
    for (size_t i = 0; i < n && status == CP_OK; i++, out += want->cols) {
        size_t row = paired ? paired_row(first + i, source->config.head_dim) : first + i;
        cp_gguf_widen(t->type, t->data + row * row_bytes(t, want), want->cols, out);
        for (size_t k = 0; k < want->cols; k++)
            if (!isfinite(out[k]))
                status = cp_error_set(err, CP_ERR_FORMAT,
                                      "%s: tensor %.*s: value %zu of row %zu is not finite",
                                      source->label, (int)t->name.n, t->name.data, k, row);
    }
    return cp_file_check_whole(&m->file.mapping, source->label, status, err);
}

/* Drops whole pages of ours; the page cache keeps them, and what is still wanted comes back. */
static void release(const cp_source *source, size_t tensor, size_t first, size_t n) {
    const model *m = source->self;
    const cp_gguf_tensor *t = m->tensors[tensor];
    size_t each = row_bytes(t, &source->tensors[tensor]), page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)t->data + first * each, end = begin + n * each;
    begin = (begin + page - 1) / page * page;
    end = end / page * page;
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static cp_status write_files(const cp_source *source, const char *dir, cp_error *err) {
    const model *m = source->self;
    cp_status status = cp_gguf_vocab_write(&m->vocab, dir, err);
    if (status == CP_OK)
        status = cp_gguf_config_write(m->family, &source->config, m->vocab.bos, dir, err);
    return cp_file_check_whole(&m->file.mapping, source->label, status, err);
}

static void close_model(void *self) {
    model *m = self;
    cp_gguf_vocab_close(&m->vocab);
    cp_gguf_close(&m->file);
    free(m->tensors);
    free(m);
}

static const cp_source_ops ops = {read_rows, release, write_files, close_model};

/* ---- opening ------------------------------------------------------------------------------- */

static cp_status find_tensor(const model *m, const cp_source_tensor *want,
                             const cp_gguf_tensor **out, cp_error *err) {
    char name[CP_SOURCE_NAME_CAP];
    name_of(want, name, sizeof name);
    const cp_gguf_tensor *t = cp_gguf_tensor_find(&m->file, name);
    bool matrix = cp_kind_is_matrix(want->kind);
    if (!t)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: tensor %s is missing", m->file.path, name);
    if (matrix ? t->n_dims != 2 || t->shape[0] != want->rows || t->shape[1] != want->cols
               : t->n_dims != 1 || t->shape[0] != want->cols)
        return cp_error_set(
            err, CP_ERR_FORMAT,
            "%s: tensor %s has %zu dimensions [%zu, %zu], the metadata wants %d [%zu, %zu]",
            m->file.path, name, t->n_dims, t->shape[0], t->shape[1], matrix ? 2 : 1,
            matrix ? want->rows : want->cols, matrix ? want->cols : 0);
    *out = t;
    return CP_OK;
}

static int by_address(const void *a, const void *b) {
    uintptr_t x = (uintptr_t) * (const cp_gguf_tensor *const *)a,
              y = (uintptr_t) * (const cp_gguf_tensor *const *)b;
    return (x > y) - (x < y);
}

/* A tensor without a place (a bias, RoPE factors, experts) would change the results. */
static cp_status refuse_others(const model *m, size_t n_used, cp_error *err) {
    if (m->file.n_tensors == n_used) /* names are unique, so all have their place */
        return CP_OK;
    const cp_gguf_tensor **used = malloc(n_used * sizeof *used);
    if (!used)
        return cp_error_no_memory(err, m->file.path);
    memcpy(used, m->tensors, n_used * sizeof *used);
    qsort(used, n_used, sizeof *used, by_address);
    size_t i = 0; /* both lists are in the order of the file's table */
    while (i < n_used && used[i] == &m->file.tensors[i])
        i++;
    free(used);
    const cp_gguf_tensor *t = &m->file.tensors[i];
    return cp_error_set(err, CP_ERR_UNSUPPORTED,
                        "%s: tensor %.*s has no place in a %s model that is supported",
                        m->file.path, (int)t->name.n, t->name.data, m->family->name);
}

static cp_status open_model(const char *path, model *m, cp_source *out, cp_error *err) {
    snprintf(out->label, sizeof out->label, "%s", path);
    snprintf(out->origin, sizeof out->origin, "%s", cp_source_base_name(path));
    cp_status status = cp_gguf_open(path, &m->file, err);
    if (status == CP_OK)
        status = cp_gguf_config_read(&m->file, &m->family, &out->config, err);
    if (status == CP_OK)
        status = cp_gguf_vocab_open(&m->file, out->config.vocab_size, &m->vocab, err);
    if (status != CP_OK)
        return status;
    _Static_assert(CP_GGUF_MAX_ENDS == CP_MAX_EOS, "as many ends as the config takes");
    out->config.n_eos = m->vocab.n_ends;
    memcpy(out->config.eos_ids, m->vocab.ends, sizeof m->vocab.ends);
    status = cp_source_plan(out, "model.", err);
    if (status != CP_OK)
        return status;
    m->tensors = calloc(out->n_tensors, sizeof *m->tensors);
    if (!m->tensors)
        return cp_error_no_memory(err, path);
    for (size_t i = 0; i < out->n_tensors && status == CP_OK; i++)
        status = find_tensor(m, &out->tensors[i], &m->tensors[i], err);
    return status == CP_OK ? refuse_others(m, out->n_tensors, err) : status;
}

cp_status cp_source_open_gguf(const char *path, cp_source *out, cp_error *err) {
    *out = (cp_source){0};
    model *m = calloc(1, sizeof *m);
    if (!m)
        return cp_error_no_memory(err, path);
    out->ops = &ops;
    out->self = m;
    cp_status status = open_model(path, m, out, err);
    status = cp_file_check_whole(&m->file.mapping, path, status, err);
    if (status != CP_OK)
        cp_source_close(out);
    return status;
}

bool cp_source_is_gguf(const char *path) {
    size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}
