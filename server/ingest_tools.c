#include "server/ingest_tools.h"

#include "base/file.h"
#include "server/text_models.h"

#define PINECONE_MS 60000 /* nobody waits at a bedside */

cp_status cp_ingest_open_pinecone(const cp_settings *settings, const cp_embedder *embedder,
                                  int64_t timeout_ms, cp_vector_store **out, cp_error *err) {
    *out = NULL;
    if (settings->vector_mode != CP_VECTOR_PINECONE)
        return CP_OK;
    const cp_pinecone_config config = {.host = settings->pinecone_host,
                                       .api_key = settings->pinecone_api_key,
                                       .namespace_ = settings->pinecone_namespace,
                                       .model = embedder ? cp_embedder_model(embedder) : "",
                                       .width = embedder ? cp_embedder_width(embedder) : 0,
                                       .timeout_ms = timeout_ms};
    return cp_vector_store_open_pinecone(&config, out, err);
}

/* Words alone need no model, and looking needs one only to know which vectors are ours. */
static bool needs_model(const cp_settings *settings, bool write) {
    return settings->vector_mode == CP_VECTOR_PINECONE ||
           (settings->vector_mode == CP_VECTOR_LOCAL && write);
}

static cp_status open_index(const cp_settings *settings, bool write, cp_ingest_tools *tools,
                            cp_error *err) {
    const bool keeps_vectors = write && tools->embedder && settings->vector_mode == CP_VECTOR_LOCAL;
    const cp_index_options options = {
        .dir = settings->index_dir,
        .write = write,
        .width = keeps_vectors ? cp_embedder_width(tools->embedder) : 0,
        .model = keeps_vectors ? cp_embedder_model(tools->embedder) : NULL,
    };
    if (!*settings->index_dir)
        return cp_error_set(err, CP_ERR_USAGE,
                            "INDEX_DIR is not set, expected the folder of the index");
    cp_status status = cp_index_open(&options, &tools->index, err);
    if (status == CP_ERR_NOT_FOUND)
        cp_error_prefix(err, "INDEX_DIR (carepath ingest makes an index)");
    return status;
}

/* A DATA_DIR of an operator's own may lack it. */
static cp_status open_knowledge(const cp_settings *settings, cp_knowledge **out, cp_error *err) {
    char dir[CP_PATH_CAP];
    cp_status status = cp_path_join(settings->data_dir, "knowledge", dir, sizeof dir, err);
    if (status == CP_OK)
        status = cp_knowledge_open(dir, out, err);
    return status == CP_ERR_NOT_FOUND ? cp_knowledge_make_empty(out, err) : status;
}

cp_status cp_ingest_tools_open(const cp_settings *settings, bool write, cp_ingest_tools *out,
                               cp_error *err) {
    *out = (cp_ingest_tools){.index = NULL};
    cp_status status = CP_OK;
    if (needs_model(settings, write))
        status = cp_text_models_open_embedder(settings, &out->embedder, err);
    if (status == CP_OK && out->embedder)
        out->vectors = cp_ingest_embedder(out->embedder);
    if (status == CP_OK)
        status = open_index(settings, write, out, err);
    if (status == CP_OK)
        status = cp_ingest_open_pinecone(settings, out->embedder, PINECONE_MS, &out->remote, err);
    if (status == CP_OK)
        status = cp_patient_store_open(settings, &out->store, err);
    if (status == CP_OK)
        status = open_knowledge(settings, &out->knowledge, err);
    return status;
}

void cp_ingest_tools_close(cp_ingest_tools *tools) {
    cp_knowledge_close(tools->knowledge);
    if (tools->store)
        tools->store->close(tools->store);
    if (tools->remote)
        tools->remote->close(tools->remote);
    if (tools->index)
        cp_index_close(tools->index);
    cp_embedder_close(tools->embedder);
    *tools = (cp_ingest_tools){.index = NULL};
}

cp_ingest_target cp_ingest_tools_target(const cp_ingest_tools *tools) {
    return (cp_ingest_target){.index = tools->index,
                              .remote = tools->remote,
                              .vectors = tools->embedder ? &tools->vectors : NULL};
}
