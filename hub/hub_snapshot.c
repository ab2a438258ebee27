#include "hub/hub_snapshot.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define MAX_INDEX ((size_t)16 << 20)

static const cp_hub_part parts[] = {
    {"config.json", false},           {"tokenizer.json", false},
    {"generation_config.json", true}, {"tokenizer_config.json", true},
    {"chat_template.jinja", true},    {CP_HUB_INDEX_FILE, true},
};

const cp_hub_part *cp_hub_parts(size_t *n) {
    *n = CP_COUNT_OF(parts);
    return parts;
}

/* The one file, as a list. */
static cp_status only_one(cp_hub_shards *out, cp_error *err) {
    out->names = calloc(1, sizeof *out->names);
    if (!out->names)
        return cp_error_no_memory(err, "list of shards");
    memcpy(out->names[0], CP_HUB_WEIGHTS_FILE, sizeof CP_HUB_WEIGHTS_FILE);
    out->n = out->cap = 1;
    return CP_OK;
}

cp_status cp_hub_weights(const cp_hub_cache *cache, const char *commit, cp_hub_shards *out,
                         cp_error *err) {
    char dir[CP_PATH_CAP], path[CP_PATH_CAP];
    cp_strbuf text;
    *out = (cp_hub_shards){.n = 0};
    if (!cp_hub_cache_has(cache, commit, CP_HUB_INDEX_FILE, NULL, NULL))
        return only_one(out, err);
    cp_status status = cp_hub_cache_snapshot(cache, commit, dir, err);
    if (status == CP_OK)
        status = cp_path_join(dir, CP_HUB_INDEX_FILE, path, sizeof path, err);
    if (status != CP_OK)
        return status;
    status = cp_file_read(path, MAX_INDEX, &text, err);
    if (status == CP_OK)
        status = cp_hub_index_read(CP_HUB_INDEX_FILE, cp_strbuf_str(&text), out, err);
    cp_strbuf_deinit(&text);
    return status;
}

bool cp_hub_snapshot_is_whole(const cp_hub_cache *cache, const char *commit) {
    cp_hub_shards shards;
    for (size_t i = 0; i < CP_COUNT_OF(parts); i++)
        if (!parts[i].optional && !cp_hub_cache_has(cache, commit, parts[i].name, NULL, NULL))
            return false;
    if (cp_hub_weights(cache, commit, &shards, NULL) != CP_OK)
        return false;
    bool whole = true;
    for (size_t i = 0; i < shards.n && whole; i++)
        whole = cp_hub_cache_has(cache, commit, shards.names[i], NULL, NULL);
    cp_hub_shards_deinit(&shards);
    return whole;
}
