#include "server/model_path.h"

#include "hub/catalogue.h"
#include "hub/hub_pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

cp_str cp_model_path_name(const char *value) {
    return cp_path_last(strchr(value, '/') ? value : cp_catalogue_name(value));
}

const char *cp_model_path_repo(const char *value) {
    return strchr(value, '/') ? NULL : cp_catalogue_repo(value);
}

static bool find_in_hub_cache(const char *repo, char *dir) {
    cp_hub_settings hub;
    bool found = repo && cp_hub_settings_read(&hub, getenv, NULL) == CP_OK &&
                 cp_pull_find(&hub, repo, NULL, dir);
    if (repo)
        cp_hub_settings_wipe(&hub);
    return found;
}

/* The command that would bring a model of the catalogue, or its quantized copy; "" for others. */
static void advise(const char *name, char *out, size_t cap) {
    size_t n = cp_catalogue_quantized(name);
    char base[128];
    snprintf(base, sizeof base, "%.*s", (int)n, name);
    const char *repo = cp_catalogue_repo(n ? base : name);
    if (!repo)
        snprintf(out, cap, "put the model there");
    else
        snprintf(out, cap, "fetch it with \"carepath pull %s%s%s\"", repo, n ? " --quant " : "",
                 n ? name + n + 1 : "");
}

cp_status cp_model_path_find(const char *setting, const char *value, const char *cache_dir,
                             const char *or_else, char *dir, cp_error *err) {
    char advice[256];
    if (strchr(value, '/')) {
        if (snprintf(dir, CP_PATH_CAP, "%s", value) >= CP_PATH_CAP)
            return cp_error_set(err, CP_ERR_USAGE, "%s is longer than a path can be", setting);
        if (cp_file_is_folder(dir))
            return CP_OK;
        return cp_error_set(err, CP_ERR_NOT_FOUND,
                            "%s=%s: there is no such folder; give the path of a model folder "
                            "(config.json, tokenizer.json, *.safetensors)%s",
                            setting, value, or_else);
    }
    const char *name = cp_catalogue_name(value);
    cp_status status = cp_path_join(cache_dir, name, dir, CP_PATH_CAP, err);
    if (status != CP_OK || cp_file_is_folder(dir))
        return status;
    advise(name, advice, sizeof advice);
    status = cp_error_set(err, CP_ERR_NOT_FOUND,
                          "%s=%s: no model folder at %s; %s, set MODEL_CACHE_DIR, give a path "
                          "(%s=./folder)%s",
                          setting, value, dir, advice, setting, or_else);
    return find_in_hub_cache(cp_catalogue_repo(name), dir) ? CP_OK : status;
}
