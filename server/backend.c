#include "server/backend.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

#define MAX_ANSWER_BYTES ((size_t)2 << 20)
#define QWEN_ALIAS       "Qwen3-4B-Thinking-2507"

void cp_backend_reply_init(cp_backend_reply *reply) {
    *reply = (cp_backend_reply){0};
    cp_strbuf_init(&reply->answer, MAX_ANSWER_BYTES);
    cp_strbuf_init(&reply->thinking, MAX_ANSWER_BYTES);
}

void cp_backend_reply_deinit(cp_backend_reply *reply) {
    cp_strbuf_deinit(&reply->answer);
    cp_strbuf_deinit(&reply->thinking);
}

/* The last component of a path, without slashes behind it. */
static cp_str last_component(const char *path) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    return (cp_str){path + begin, end - begin};
}

static cp_status find_model(const cp_settings *settings, char *dir, cp_error *err) {
    const char *mode = settings->llm_mode;
    if (strchr(mode, '/')) {
        if (snprintf(dir, CP_PATH_CAP, "%s", mode) >= CP_PATH_CAP)
            return cp_error_set(err, CP_ERR_USAGE, "LLM_MODE is longer than a path can be");
        if (cp_file_is_folder(dir))
            return CP_OK;
        return cp_error_set(err, CP_ERR_NOT_FOUND,
                            "LLM_MODE=%s: there is no such folder; give the path of a model folder "
                            "(config.json, tokenizer.json, *.safetensors), or LLM_MODE=mock",
                            mode);
    }
    const char *name = strcmp(mode, "qwen") == 0 ? QWEN_ALIAS : mode;
    cp_status status = cp_path_join(settings->model_cache_dir, name, dir, CP_PATH_CAP, err);
    if (status != CP_OK || cp_file_is_folder(dir))
        return status;
    return cp_error_set(err, CP_ERR_NOT_FOUND,
                        "LLM_MODE=%s: no model folder at %s; put the model there, set "
                        "MODEL_CACHE_DIR, give a path (LLM_MODE=./folder), or use LLM_MODE=mock",
                        mode, dir);
}

cp_status cp_backend_create(const cp_settings *settings, cp_backend **out, cp_error *err) {
    char dir[CP_PATH_CAP];
    *out = NULL;
    if (strcmp(settings->llm_mode, "mock") == 0)
        return cp_backend_create_mock(out, err);
    cp_status status = find_model(settings, dir, err);
    if (status == CP_OK)
        status = cp_backend_create_engine(dir, settings, out, err);
    if (status != CP_OK)
        return status;
    cp_str mode = last_component(settings->llm_mode);
    snprintf((*out)->llm_mode, sizeof(*out)->llm_mode, "%.*s", (int)mode.n, mode.data);
    cp_str model = last_component(dir);
    snprintf((*out)->model, sizeof(*out)->model, "%.*s", (int)model.n, model.data);
    return CP_OK;
}
