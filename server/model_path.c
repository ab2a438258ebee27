#include "server/model_path.h"

#include <stdio.h>
#include <string.h>

#define QWEN_ALIAS "Qwen3-4B-Thinking-2507"

cp_status cp_model_path_find(const char *setting, const char *value, const char *cache_dir,
                             const char *or_else, char *dir, cp_error *err) {
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
    const char *name = strcmp(value, "qwen") == 0 ? QWEN_ALIAS : value;
    cp_status status = cp_path_join(cache_dir, name, dir, CP_PATH_CAP, err);
    if (status != CP_OK || cp_file_is_folder(dir))
        return status;
    return cp_error_set(err, CP_ERR_NOT_FOUND,
                        "%s=%s: no model folder at %s; put the model there, set MODEL_CACHE_DIR, "
                        "give a path (%s=./folder)%s",
                        setting, value, dir, setting, or_else);
}
