#include "bench/weight_traffic.h"

#include "base/file.h"
#include "engine/safetensors.h"

#include <dirent.h>
#include <string.h>

#define EMBEDDING "model.embed_tokens."

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Adds what of the embedding table, scales included, lies in this file. */
static cp_status add_embedding(const char *path, size_t *bytes, cp_error *err) {
    cp_safetensors file;
    cp_status status = cp_safetensors_open(path, &file, err);
    if (status != CP_OK)
        return status;
    for (size_t i = 0; i < file.n; i++)
        if (strncmp(file.tensors[i].name, EMBEDDING, strlen(EMBEDDING)) == 0)
            *bytes += file.tensors[i].end - file.tensors[i].begin;
    cp_safetensors_close(&file);
    return CP_OK;
}

static cp_status embedding_bytes(const char *dir, size_t *bytes, cp_error *err) {
    char path[CP_PATH_CAP];
    cp_status status = CP_OK;
    DIR *folder = opendir(dir);
    *bytes = 0;
    if (!folder)
        return cp_error_set(err, CP_ERR_IO, "%s: cannot list the folder", dir);
    for (struct dirent *entry; status == CP_OK && (entry = readdir(folder));) {
        if (!ends_with(entry->d_name, ".safetensors"))
            continue;
        status = cp_path_join(dir, entry->d_name, path, sizeof path, err);
        if (status == CP_OK)
            status = add_embedding(path, bytes, err);
    }
    closedir(folder);
    return status;
}

cp_status cp_weight_bytes_read(const char *dir, const cp_engine *engine, size_t *bytes,
                               cp_error *err) {
    size_t unread = 0;
    cp_status status = CP_OK;
    if (!cp_engine_config(engine)->tied)
        status = embedding_bytes(dir, &unread, err);
    *bytes = cp_engine_weight_bytes(engine) - unread;
    return status;
}

double cp_weight_ops_per_token(const cp_model_config *c) {
    double hidden = (double)c->hidden_size, q = (double)cp_config_q_dim(c),
           kv = (double)cp_config_kv_dim(c), ffn = (double)c->ffn_size;
    double layer = hidden * (q + 2 * kv) + q * hidden + 3 * hidden * ffn;
    return 2 * layer * (double)c->n_layers;
}
