#include "server/model_pull.h"

#include "base/log.h"
#include "hub/hub_pull.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct cp_model_pull {
    const char *repo;
    cp_hub_settings hub;
    atomic_bool running, stopped;
    atomic_uint_least64_t done_bytes, total_bytes;
};

cp_status cp_model_pull_create(const char *repo, cp_model_pull **out, cp_error *err) {
    *out = NULL;
    cp_model_pull *pull = calloc(1, sizeof *pull);
    if (!pull)
        return cp_error_no_memory(err, "the model");
    pull->repo = repo;
    cp_status status = cp_hub_settings_read(&pull->hub, getenv, err);
    if (status == CP_OK && pull->hub.offline)
        status = cp_error_set(err, CP_ERR_NOT_FOUND,
                              "HF_HUB_OFFLINE is set, so %s is not fetched from the hub", repo);
    if (status != CP_OK) {
        cp_model_pull_free(pull);
        return status;
    }
    *out = pull;
    return CP_OK;
}

void cp_model_pull_free(cp_model_pull *pull) {
    if (!pull)
        return;
    cp_hub_settings_wipe(&pull->hub);
    free(pull);
}

static bool on_progress(void *user, uint64_t done, uint64_t total) {
    cp_model_pull *pull = user;
    atomic_store(&pull->done_bytes, total ? done : 0);
    atomic_store(&pull->total_bytes, total);
    return !atomic_load(&pull->stopped);
}

cp_status cp_model_pull_run(cp_model_pull *pull, char dir[CP_PATH_CAP], cp_error *err) {
    const cp_pull_options options = {.repo = pull->repo, .on_progress = on_progress, .user = pull};
    cp_pull_report report;
    cp_log(CP_LOG_INFO, "fetching the model", CP_LOG_S("repository", pull->repo));
    atomic_store(&pull->running, true);
    cp_status status = cp_pull(&pull->hub, &options, &report, err);
    if (status == CP_OK) {
        memcpy(dir, report.dir, sizeof report.dir);
        cp_log(CP_LOG_INFO, "model fetched", CP_LOG_S("repository", pull->repo),
               CP_LOG_S("commit", report.commit), CP_LOG_I("bytes", report.fetched_bytes),
               CP_LOG_N("ms", report.seconds * 1e3));
    }
    cp_pull_report_deinit(&report);
    atomic_store(&pull->running, false);
    return status;
}

void cp_model_pull_stop(cp_model_pull *pull) {
    atomic_store(&pull->stopped, true);
}

bool cp_model_pull_is_running(const cp_model_pull *pull, cp_model_pull_progress *progress) {
    progress->total_bytes = atomic_load(&pull->total_bytes);
    progress->done_bytes = atomic_load(&pull->done_bytes);
    return atomic_load(&pull->running);
}
