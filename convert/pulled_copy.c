#include "convert/pulled_copy.h"

#include "base/json_reader.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LENGTH_BYTES 8
#define MAX_HEADER   ((uint64_t)100 << 20)

static cp_status read_metadata(cp_json_reader *r, char *out, size_t cap, cp_error *err) {
    bool more = false;
    cp_str key, value;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK) {
        status = cp_json_next_key(r, &key, &more, err);
        if (status != CP_OK || !more)
            break;
        bool is_source = cp_str_is(key, "carepath_source");
        status = cp_json_read_string(r, &value, err);
        if (status == CP_OK && is_source && value.n < cap)
            snprintf(out, cap, "%.*s", (int)value.n, value.data);
    }
    return status;
}

static cp_status read_header(const char *path, cp_str header, char *out, size_t cap,
                             cp_error *err) {
    cp_json_reader r;
    bool more = false;
    cp_str key;
    cp_json_reader_init(&r, path, header.data, header.n);
    cp_status status = cp_json_enter_object(&r, err);
    while (status == CP_OK) {
        status = cp_json_next_key(&r, &key, &more, err);
        if (status != CP_OK || !more)
            break;
        status = cp_str_is(key, "__metadata__") ? read_metadata(&r, out, cap, err)
                                                : cp_json_skip(&r, err);
    }
    cp_json_reader_deinit(&r);
    return status;
}

cp_status cp_pulled_copy_source(const char *dir, char *out, size_t cap, cp_error *err) {
    char path[CP_PATH_CAP];
    cp_mapping file;
    uint64_t n = 0;
    out[0] = '\0';
    cp_status status = cp_path_join(dir, "model.safetensors", path, sizeof path, err);
    if (status == CP_OK)
        status = cp_file_map(path, &file, err);
    if (status != CP_OK)
        return status;
    for (size_t i = 0; i < LENGTH_BYTES && file.n_bytes >= LENGTH_BYTES; i++)
        n |= (uint64_t)file.data[i] << (8 * i);
    if (file.n_bytes < LENGTH_BYTES || n > MAX_HEADER || n > file.n_bytes - LENGTH_BYTES)
        status = cp_error_set(err, CP_ERR_FORMAT, "%s: not a safetensors file", path);
    else
        status = read_header(path, (cp_str){(const char *)file.data + LENGTH_BYTES, (size_t)n}, out,
                             cap, err);
    status = cp_file_check_whole(&file, path, status, err);
    cp_file_unmap(&file);
    return status;
}

/* MODELS/NAME-LEVEL. */
static cp_status find_place(const cp_pulled_model *model, const char *models, cp_quant_level level,
                            char dir[CP_PATH_CAP], cp_error *err) {
    char name[256];
    cp_str last = cp_path_last(model->repo);
    snprintf(name, sizeof name, "%.*s-%s", (int)last.n, last.data, cp_quant_level_name(level));
    return cp_path_join(models, name, dir, CP_PATH_CAP, err);
}

/* What stands at `dir`: nothing, this model's copy (*same) or one of another commit (*older). */
static cp_status look_at(const char *dir, const cp_pulled_model *model, const char *origin,
                         bool *same, bool *older, cp_error *err) {
    char source[256];
    size_t n = strlen(model->repo);
    *same = *older = false;
    if (!cp_file_exists(dir))
        return CP_OK;
    cp_status status = cp_pulled_copy_source(dir, source, sizeof source, err);
    if (status != CP_OK)
        return cp_error_prefix(err, "%s exists and is no copy of %s; move it away", dir,
                               model->repo);
    *same = strcmp(source, origin) == 0;
    *older = !*same && strncmp(source, model->repo, n) == 0 && source[n] == '@';
    if (*same || *older)
        return CP_OK;
    return cp_error_set(err, CP_ERR_USAGE,
                        "%s exists and was made from \"%.64s\", not from %s; move it away", dir,
                        source, model->repo);
}

cp_status cp_pulled_copy_make(const cp_pulled_model *model, const char *models,
                              const cp_convert_options *options, cp_pulled_copy *out,
                              cp_error *err) {
    cp_convert_options wishes = *options;
    cp_convert_report report;
    cp_source source;
    char origin[sizeof source.origin];
    *out = (cp_pulled_copy){.was_there = false};
    int n = snprintf(origin, sizeof origin, "%s@%s", model->repo, model->commit);
    if (n < 0 || (size_t)n >= sizeof origin)
        return cp_error_set(err, CP_ERR_LIMIT, "%s: the name is too long for a copy", model->repo);
    cp_status status = find_place(model, models, options->level, out->dir, err);
    if (status == CP_OK)
        status = look_at(out->dir, model, origin, &out->was_there, &wishes.force, err);
    if (status != CP_OK || out->was_there)
        return status;
    if (mkdir(models, 0777) != 0 && errno != EEXIST)
        return cp_error_set(err, CP_ERR_IO, "MODEL_CACHE_DIR %s: cannot create the folder: %s",
                            models, strerror(errno));
    status = cp_source_open(model->dir, &source, err);
    if (status != CP_OK)
        return status;
    memcpy(source.origin, origin, sizeof source.origin);
    status = cp_convert(&source, out->dir, &wishes, &report, err);
    cp_source_close(&source);
    return status;
}
