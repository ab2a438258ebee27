#include "bench/weight_traffic.h"

#include "base/file.h"
#include "engine/safetensors.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define EMBEDDING "embed_tokens." /* behind "model.", or alone (Qwen3-Embedding) */
#define HEAD      "lm_head."

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* ---- pages ----------------------------------------------------------------------------------- */

static size_t whole_pages(size_t bytes) {
    return (bytes + CP_TRAFFIC_PAGE - 1) / CP_TRAFFIC_PAGE * CP_TRAFFIC_PAGE;
}

/* Marks the pages of bytes begin..end of a file; returns the bytes of those that were not yet. */
static size_t mark(unsigned char *pages, size_t begin, size_t end) {
    size_t n_new = 0;
    for (size_t i = begin / CP_TRAFFIC_PAGE; i * CP_TRAFFIC_PAGE < end; i++) {
        n_new += !pages[i];
        pages[i] = 1;
    }
    return n_new * CP_TRAFFIC_PAGE;
}

/* ---- files ----------------------------------------------------------------------------------- */

typedef struct walk {
    bool tied;
    size_t norm_floats, row_bytes;
    cp_traffic *out;
} walk;

/* Adds a tensor; `pages` are its file's. */
static void add_tensor(walk *w, const cp_safetensors *file, const cp_tensor *t,
                       unsigned char *pages) {
    size_t begin = (size_t)(t->data - (const unsigned char *)file->mapping.data),
           bytes = t->end - t->begin;
    bool table = strstr(t->name, EMBEDDING) != NULL;
    if (t->n_dims == 1) {
        w->norm_floats += t->shape[0];
    } else if (table && !w->tied) {
        size_t row = t->shape[0] ? bytes / t->shape[0] : 0;
        w->out->weights -= bytes;
        w->out->physical_row += whole_pages(begin % CP_TRAFFIC_PAGE + row);
    } else if (w->tied && strncmp(t->name, HEAD, strlen(HEAD)) == 0) {
        w->out->weights -= bytes; /* a second copy, which is ignored */
    } else {
        w->out->physical_weights += mark(pages, begin, begin + bytes);
    }
}

static cp_status add_file(walk *w, const char *path, cp_error *err) {
    cp_safetensors file;
    cp_status status = cp_safetensors_open(path, &file, err);
    if (status != CP_OK)
        return status;
    unsigned char *pages = calloc(file.mapping.n_bytes / CP_TRAFFIC_PAGE + 1, 1);
    if (!pages)
        status = cp_error_no_memory(err, path);
    for (size_t i = 0; i < file.n && status == CP_OK; i++)
        add_tensor(w, &file, &file.tensors[i], pages);
    free(pages);
    cp_safetensors_close(&file);
    return status;
}

cp_status cp_traffic_measure(const char *dir, const cp_engine *engine, cp_traffic *out,
                             cp_error *err) {
    const cp_model_config *c = cp_engine_config(engine);
    walk w = {.tied = c->tied, .out = out};
    char path[CP_PATH_CAP];
    cp_status status = CP_OK;
    *out = (cp_traffic){.weights = cp_engine_weight_bytes(engine),
                        .kv_token = cp_engine_kv_bytes(engine),
                        .n_kv_runs = c->n_layers * c->n_kv_heads * 2};
    DIR *folder = opendir(dir);
    if (!folder)
        return cp_error_set(err, CP_ERR_IO, "%s: cannot list the folder", dir);
    for (struct dirent *entry; status == CP_OK && (entry = readdir(folder));) {
        if (!ends_with(entry->d_name, ".safetensors"))
            continue;
        status = cp_path_join(dir, entry->d_name, path, sizeof path, err);
        if (status == CP_OK)
            status = add_file(&w, path, err);
    }
    closedir(folder);
    out->physical_weights += whole_pages(w.norm_floats * sizeof(float));
    return status;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

double cp_traffic_bytes(const cp_traffic *t, size_t depth, size_t gen, size_t batch) {
    double positions = (double)depth + (double)(gen + 1) / 2;
    return (double)t->weights / (double)batch + positions * (double)t->kv_token;
}

double cp_traffic_physical_bytes(const cp_traffic *t, size_t depth, size_t gen, size_t batch) {
    double kv = 0, run_bytes = (double)t->kv_token / (double)t->n_kv_runs;
    for (size_t n = depth + 1; n <= depth + gen; n++)
        kv += (double)whole_pages((size_t)((double)n * run_bytes));
    return (double)t->physical_weights / (double)batch + (double)t->physical_row +
           kv / (double)gen * (double)t->n_kv_runs;
}

double cp_weight_ops_per_token(const cp_model_config *c) {
    double hidden = (double)c->hidden_size, q = (double)cp_config_q_dim(c),
           kv = (double)cp_config_kv_dim(c), ffn = (double)c->ffn_size;
    double layer = hidden * (q + 2 * kv) + q * hidden + 3 * hidden * ffn;
    return 2 * layer * (double)c->n_layers;
}
