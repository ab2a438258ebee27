#include "server/text_models.h"

#include "server/model_path.h"

static cp_text_batch_options options_of(const cp_settings *settings) {
    return (cp_text_batch_options){.n_threads = (size_t)settings->threads,
                                   .context = (size_t)settings->context_tokens,
                                   .kv = (cp_kv)settings->kv_cache};
}

cp_status cp_text_models_open_embedder(const cp_settings *settings, cp_embedder **out,
                                       cp_error *err) {
    static const char setting[] = "EMBEDDING_MODEL";
    char dir[CP_PATH_CAP];
    *out = NULL;
    if (!*settings->embedding_model)
        return CP_OK;
    cp_status status = cp_model_path_find(setting, settings->embedding_model,
                                          settings->model_cache_dir, "", dir, err);
    if (status != CP_OK)
        return status;
    const cp_text_batch_options options = options_of(settings);
    status = cp_embedder_open(dir, &options, out, err);
    return status == CP_OK ? CP_OK : cp_error_prefix(err, setting);
}

cp_status cp_text_models_open_reranker(const cp_settings *settings, cp_reranker **out,
                                       cp_error *err) {
    static const char setting[] = "RERANKER_MODEL";
    char dir[CP_PATH_CAP];
    *out = NULL;
    if (!*settings->reranker_model)
        return CP_OK;
    cp_status status = cp_model_path_find(setting, settings->reranker_model,
                                          settings->model_cache_dir, "", dir, err);
    if (status != CP_OK)
        return status;
    const cp_text_batch_options options = options_of(settings);
    status = cp_reranker_open(dir, &options, out, err);
    return status == CP_OK ? CP_OK : cp_error_prefix(err, setting);
}
