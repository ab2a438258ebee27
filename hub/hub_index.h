/* The files that a sharded model is made of: model.safetensors.index.json, a stranger's words. */
#ifndef CP_HUB_HUB_INDEX_H
#define CP_HUB_HUB_INDEX_H

#include "hub/hub_names.h"

#include <stddef.h>

#define CP_HUB_MAX_SHARDS 512

typedef struct cp_hub_shards {
    char (*names)[CP_HUB_FILE_CAP]; /* each once, in the order of the index */
    size_t n, cap;
} cp_hub_shards;

/* The names in "weight_map"; all are plain names of *.safetensors files. `source` names the index
 * in errors. *out is empty on failure. */
cp_status cp_hub_index_read(const char *source, cp_str text, cp_hub_shards *out,
                            cp_error *err) CP_MUST_CHECK;
void cp_hub_shards_deinit(cp_hub_shards *shards);

#endif
