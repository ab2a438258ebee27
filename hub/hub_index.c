#include "hub/hub_index.h"

#include "base/json_reader.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ends_with(cp_str name, const char *end) {
    size_t n = strlen(end);
    return name.n > n && memcmp(name.data + name.n - n, end, n) == 0;
}

static bool is_known(const cp_hub_shards *shards, cp_str name) {
    /* Tensors of one shard stand together: the last one is the likeliest. */
    for (size_t i = shards->n; i-- > 0;)
        if (cp_str_is(name, shards->names[i]))
            return true;
    return false;
}

static cp_status add_name(const cp_json_reader *r, cp_str name, cp_hub_shards *shards,
                          cp_error *err) {
    if (is_known(shards, name))
        return CP_OK;
    if (!cp_hub_is_file_name(name) || !ends_with(name, ".safetensors"))
        return cp_json_fail(r, err,
                            "weight_map names \"%.*s\", expected the plain name of a .safetensors "
                            "file",
                            name.n > 64 ? 64 : (int)name.n, name.data);
    if (shards->n == CP_HUB_MAX_SHARDS)
        return cp_json_fail(r, err, "weight_map names more than %d files", CP_HUB_MAX_SHARDS);
    void *names = shards->names;
    if (!cp_grow(&names, &shards->cap, shards->n + 1, sizeof *shards->names))
        return cp_error_no_memory(err, "list of shards");
    shards->names = names;
    snprintf(shards->names[shards->n++], CP_HUB_FILE_CAP, "%.*s", (int)name.n, name.data);
    return CP_OK;
}

static cp_status read_map(cp_json_reader *r, cp_hub_shards *shards, cp_error *err) {
    bool more = false;
    cp_str key, name;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK) {
        status = cp_json_next_key(r, &key, &more, err);
        if (status != CP_OK || !more)
            break;
        status = cp_json_read_string(r, &name, err);
        if (status == CP_OK)
            status = add_name(r, name, shards, err);
    }
    return status;
}

static cp_status read_index(cp_json_reader *r, cp_hub_shards *shards, cp_error *err) {
    bool more = false;
    cp_str key;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK) {
        status = cp_json_next_key(r, &key, &more, err);
        if (status != CP_OK || !more)
            break;
        status = cp_str_is(key, "weight_map") ? read_map(r, shards, err) : cp_json_skip(r, err);
    }
    if (status == CP_OK)
        status = cp_json_finish(r, err);
    if (status == CP_OK && shards->n == 0)
        status = cp_json_fail(r, err, "weight_map is missing or empty");
    return status;
}

cp_status cp_hub_index_read(const char *source, cp_str text, cp_hub_shards *out, cp_error *err) {
    cp_json_reader r;
    *out = (cp_hub_shards){.n = 0};
    cp_json_reader_init(&r, source, text.data, text.n);
    r.refuse_nul = true;
    cp_status status = read_index(&r, out, err);
    cp_json_reader_deinit(&r);
    if (status != CP_OK)
        cp_hub_shards_deinit(out);
    return status;
}

void cp_hub_shards_deinit(cp_hub_shards *shards) {
    free(shards->names);
    *shards = (cp_hub_shards){.n = 0};
}
