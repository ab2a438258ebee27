/* Which folder a setting that names a model means. */
#ifndef CP_SERVER_MODEL_PATH_H
#define CP_SERVER_MODEL_PATH_H

#include "base/file.h"

/* `value` with a '/' is a path; else a folder of that name in cache_dir, "qwen" being
 * Qwen3-4B-Thinking-2507, or a whole copy of a known model in the cache that tools of the hub
 * share. What is not there is CP_ERR_NOT_FOUND with a sentence that begins with the setting and
 * ends with what to do; `or_else` is its last part (", or LLM_MODE=mock"), "" for none. dir has
 * CP_PATH_CAP bytes. */
cp_status cp_model_path_find(const char *setting, const char *value, const char *cache_dir,
                             const char *or_else, char *dir, cp_error *err) CP_MUST_CHECK;

/* What the model is called: a path's last component, else the name. Not NUL-terminated. */
cp_str cp_model_path_name(const char *value);
/* The hub's repository of a model that `value` names; NULL for paths and unknown names. */
const char *cp_model_path_repo(const char *value);

#endif
