/* Which files of a repository make a model that can be run here, and whether a snapshot in the
 * cache has them all. */
#ifndef CP_HUB_HUB_SNAPSHOT_H
#define CP_HUB_HUB_SNAPSHOT_H

#include "hub/hub_cache.h"
#include "hub/hub_index.h"

#define CP_HUB_INDEX_FILE   "model.safetensors.index.json"
#define CP_HUB_WEIGHTS_FILE "model.safetensors"

typedef struct cp_hub_part {
    const char *name;
    bool optional;
} cp_hub_part;

/* The small files, config.json first, the index last. */
const cp_hub_part *cp_hub_parts(size_t *n);

/* The weights' names: what the snapshot's index says, or the one file. */
cp_status cp_hub_weights(const cp_hub_cache *cache, const char *commit, cp_hub_shards *out,
                         cp_error *err) CP_MUST_CHECK;

/* All that is required is there. */
bool cp_hub_snapshot_is_whole(const cp_hub_cache *cache, const char *commit);

#endif
