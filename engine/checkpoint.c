#include "engine/checkpoint.h"

#include "base/json_reader.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define INDEX_FILE      "model.safetensors.index.json"
#define MAX_INDEX_BYTES ((size_t)16 << 20)
#define MAX_SHARDS      256
#define MAX_SHARD_NAME  128

/* A file name and nothing else: no folder, no hidden file, letters that every system has. */
static bool plain_name(cp_str name) {
    if (name.n == 0 || name.n >= MAX_SHARD_NAME || name.data[0] == '.')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.data[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '-' || c == '_';
        if (!good)
            return false;
    }
    return true;
}

static cp_safetensors *find_file(const cp_checkpoint *c, const char *path) {
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->files[i].path, path) == 0)
            return &c->files[i];
    return NULL;
}

/* Opens one file and appends it; *out is it. */
static cp_status add_file(cp_checkpoint *c, const char *path, cp_safetensors **out, cp_error *err) {
    if (c->n == MAX_SHARDS)
        return cp_error_set(err, CP_ERR_LIMIT, "%s: more than %d shards", path, MAX_SHARDS);
    if (!cp_grow((void **)&c->files, &c->cap, c->n + 1, sizeof *c->files))
        return cp_error_no_memory(err, path);
    cp_status status = cp_safetensors_open(path, &c->files[c->n], err);
    if (status == CP_OK)
        *out = &c->files[c->n++];
    return status;
}

/* One entry of weight_map: the tensor must really be in the shard named. */
static cp_status read_entry(cp_checkpoint *c, const char *dir, cp_json_reader *r, cp_str tensor_key,
                            cp_error *err) {
    char *tensor =
        cp_copy_bytes(tensor_key.data, tensor_key.n); /* the next read overwrites the key */
    char name[MAX_SHARD_NAME], path[CP_PATH_CAP];
    cp_str shard;
    if (!tensor)
        return cp_error_no_memory(err, r->source);
    cp_status status = cp_json_read_string(r, &shard, err);
    if (status == CP_OK && !plain_name(shard))
        status = cp_json_fail(
            r, err, "weight_map names \"%.*s\", expected a file name in the model's folder",
            (int)(shard.n < 128 ? shard.n : 128), shard.data);
    if (status == CP_OK) {
        memcpy(name, shard.data, shard.n);
        name[shard.n] = '\0';
        status = cp_path_join(dir, name, path, sizeof path, err);
    }
    if (status == CP_OK) {
        cp_safetensors *file = find_file(c, path);
        if (!file)
            status = add_file(c, path, &file, err);
        if (status == CP_ERR_NOT_FOUND)
            status = cp_error_prefix(err, "%s", r->source);
        if (status == CP_OK && !cp_safetensors_find(file, tensor))
            status = cp_error_set(err, CP_ERR_FORMAT, "%s: tensor %.128s is not in %s", r->source,
                                  tensor, name);
    }
    free(tensor);
    return status;
}

static cp_status read_weight_map(cp_checkpoint *c, const char *dir, cp_json_reader *r,
                                 cp_error *err) {
    bool more = false;
    cp_str tensor;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK) {
        status = cp_json_next_key(r, &tensor, &more, err);
        if (status != CP_OK || !more)
            return status;
        status = read_entry(c, dir, r, tensor, err);
    }
    return status;
}

static cp_status read_index(cp_checkpoint *c, const char *dir, cp_json_reader *r, cp_error *err) {
    bool more = false, have_map = false;
    cp_str key;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK) {
        status = cp_json_next_key(r, &key, &more, err);
        if (status != CP_OK || !more)
            break;
        if (!cp_str_is(key, "weight_map")) {
            status = cp_json_skip(r, err);
            continue;
        }
        status = have_map ? cp_json_fail(r, err, "weight_map appears twice")
                          : read_weight_map(c, dir, r, err);
        have_map = true;
    }
    if (status == CP_OK)
        status = cp_json_finish(r, err);
    if (status == CP_OK && c->n == 0)
        status = cp_error_set(err, CP_ERR_FORMAT, "%s: weight_map is missing or empty", r->source);
    return status;
}

static cp_status open_shards(cp_checkpoint *c, const char *dir, const char *index_path,
                             cp_error *err) {
    cp_strbuf text;
    cp_json_reader reader;
    cp_status status = cp_file_read(index_path, MAX_INDEX_BYTES, &text, err);
    cp_json_reader_init(&reader, index_path, cp_strbuf_text(&text), text.n);
    if (status == CP_OK)
        status = read_index(c, dir, &reader, err);
    cp_json_reader_deinit(&reader);
    cp_strbuf_deinit(&text);
    return status;
}

/* No two files may have the same tensor: which one counts would be a guess. */
static cp_status check_unique(const cp_checkpoint *c, cp_error *err) {
    for (size_t i = 1; i < c->n; i++)
        for (size_t t = 0; t < c->files[i].n; t++)
            for (size_t j = 0; j < i; j++)
                if (cp_safetensors_find(&c->files[j], c->files[i].tensors[t].name))
                    return cp_error_set(err, CP_ERR_FORMAT, "%s: tensor %.128s is in %s too",
                                        c->files[i].path, c->files[i].tensors[t].name,
                                        c->files[j].path);
    return CP_OK;
}

cp_status cp_checkpoint_open(const char *dir, cp_checkpoint *out, cp_error *err) {
    char path[CP_PATH_CAP];
    cp_safetensors *file;
    *out = (cp_checkpoint){0};
    cp_status status = cp_path_join(dir, INDEX_FILE, path, sizeof path, err);
    if (status != CP_OK)
        return status;
    if (cp_file_exists(path)) {
        status = open_shards(out, dir, path, err);
        if (status == CP_OK)
            status = check_unique(out, err);
    } else {
        status = cp_path_join(dir, "model.safetensors", path, sizeof path, err);
        if (status == CP_OK)
            status = add_file(out, path, &file, err);
    }
    if (status != CP_OK)
        cp_checkpoint_close(out);
    return status;
}

void cp_checkpoint_close(cp_checkpoint *c) {
    for (size_t i = 0; i < c->n; i++)
        cp_safetensors_close(&c->files[i]);
    free(c->files);
    *c = (cp_checkpoint){0};
}

const cp_tensor *cp_checkpoint_find(const cp_checkpoint *c, const char *name, const char **path) {
    for (size_t i = 0; i < c->n; i++) {
        const cp_tensor *tensor = cp_safetensors_find(&c->files[i], name);
        if (tensor) {
            if (path)
                *path = c->files[i].path;
            return tensor;
        }
    }
    return NULL;
}

cp_status cp_checkpoint_check_whole(const cp_checkpoint *c, cp_status status, cp_error *err) {
    for (size_t i = 0; i < c->n; i++)
        status = cp_file_check_whole(&c->files[i].mapping, c->files[i].path, status, err);
    return status;
}

void cp_checkpoint_trust(cp_checkpoint *c) {
    for (size_t i = 0; i < c->n; i++)
        cp_file_trust(&c->files[i].mapping);
}

size_t cp_checkpoint_bytes(const cp_checkpoint *c) {
    size_t bytes = 0;
    for (size_t i = 0; i < c->n; i++)
        bytes += c->files[i].mapping.n_bytes;
    return bytes;
}
