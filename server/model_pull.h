/* A model that the hub has and this machine has not: fetched while the server answers already.
 *
 * Only models of the catalogue, and never with HF_HUB_OFFLINE. The files go to the cache that tools
 * of the hub share (hub/hub_pull.h), so the next start finds them there. One thread runs it; any
 * may look and stop it. */
#ifndef CP_SERVER_MODEL_PULL_H
#define CP_SERVER_MODEL_PULL_H

#include "base/file.h"

#include <stdint.h>

typedef struct cp_model_pull cp_model_pull;

/* Reads the hub's variables; asks nobody yet. `repo` is borrowed. CP_ERR_NOT_FOUND with
 * HF_HUB_OFFLINE. */
cp_status cp_model_pull_create(const char *repo, cp_model_pull **out, cp_error *err) CP_MUST_CHECK;
void cp_model_pull_free(cp_model_pull *pull); /* NULL is allowed */

/* Minutes. `dir` becomes the model's folder. CP_ERR_CANCELLED when it was stopped. */
cp_status cp_model_pull_run(cp_model_pull *pull, char dir[CP_PATH_CAP],
                            cp_error *err) CP_MUST_CHECK;
void cp_model_pull_stop(cp_model_pull *pull);

typedef struct cp_model_pull_progress {
    uint64_t done_bytes, total_bytes; /* 0 while the sizes are being asked for */
} cp_model_pull_progress;
/* False before and after it runs. */
bool cp_model_pull_is_running(const cp_model_pull *pull, cp_model_pull_progress *progress);

#endif
