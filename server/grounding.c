#include "server/grounding_service.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "server/ingest.h"
#include "server/ingest_tools.h"

#include <stdlib.h>
#include <string.h>

#define REFRESH_NS ((uint64_t)1000000000u)

/* Without a folder there is an index in memory, of the knowledge base alone: a patient's documents
 * are found in the record itself. */
static cp_status make_index(cp_grounding *g, cp_error *err) {
    const cp_index_options options = {.dir = NULL};
    cp_ingest_counts counts = {.seen = 0};
    cp_status status = cp_index_open(&options, &g->index, err);
    const cp_ingest_target target = {.index = g->index};
    if (status == CP_OK)
        status = cp_ingest_knowledge(&target, g->knowledge, &counts, err);
    return status == CP_OK ? cp_index_commit(g->index, err) : status;
}

static cp_status open_index(cp_grounding *g, cp_error *err) {
    const cp_index_options options = {.dir = g->with.settings->index_dir};
    cp_status status = cp_index_open(&options, &g->index, err);
    return status == CP_OK ? CP_OK : cp_error_prefix(err, "INDEX_DIR");
}

/* Vectors are of use when they come from the model that is at hand. */
static cp_status open_vectors(cp_grounding *g, cp_error *err) {
    const cp_settings *settings = g->with.settings;
    const cp_embedder *embedder = g->with.embedder;
    if (!embedder)
        return CP_OK;
    if (settings->vector_mode == CP_VECTOR_PINECONE)
        return cp_ingest_open_pinecone(settings, embedder, settings->store_timeout_ms, &g->vectors,
                                       err);
    if (cp_index_width(g->index) == 0) {
        cp_log(CP_LOG_WARN, "EMBEDDING_MODEL is set but the index has no vectors: carepath ingest "
                            "with INDEX_DIR makes them; retrieval is by words alone");
        return CP_OK;
    }
    if (cp_index_width(g->index) != cp_embedder_width(embedder) ||
        strcmp(cp_index_model(g->index), cp_embedder_model(embedder)) != 0)
        return cp_error_set(err, CP_ERR_USAGE,
                            "INDEX_DIR holds vectors of \"%s\", EMBEDDING_MODEL is \"%s\": run "
                            "carepath ingest into a new folder with this model",
                            cp_index_model(g->index), cp_embedder_model(embedder));
    return cp_vector_store_open_local(g->index, 1, &g->vectors, err);
}

static cp_status open_retriever(cp_grounding *g, const char *words, cp_error *err) {
    cp_status status = *g->with.settings->index_dir ? open_index(g, err) : make_index(g, err);
    if (status == CP_OK)
        status = open_vectors(g, err);
    const cp_retriever_options options = {
        .index = g->index, .knowledge = g->knowledge, .words_path = words};
    return status == CP_OK ? cp_retriever_create(&options, &g->retriever, err) : status;
}

/* A DATA_DIR of an operator's own may lack it: then a record's own documents are all there is. */
static cp_status open_knowledge(cp_grounding *g, const char *dir, cp_error *err) {
    cp_status status = cp_knowledge_open(dir, &g->knowledge, err);
    if (status != CP_ERR_NOT_FOUND)
        return status;
    cp_log(CP_LOG_WARN, "there is no knowledge base: DATA_DIR has no folder knowledge/");
    return cp_knowledge_make_empty(&g->knowledge, err);
}

static cp_status open_parts(cp_grounding *g, cp_error *err) {
    char dir[CP_PATH_CAP], file[CP_PATH_CAP];
    cp_status status = cp_path_join(g->with.settings->data_dir, "knowledge", dir, sizeof dir, err);
    if (status == CP_OK)
        status = cp_path_join(dir, "words.json", file, sizeof file, err);
    const char *words = cp_file_exists(file) ? file : NULL;
    if (status == CP_OK)
        status = open_knowledge(g, dir, err);
    if (status == CP_OK)
        status = cp_claim_terms_create(g->knowledge, words, &g->terms, err);
    return status == CP_OK && g->k > 0 ? open_retriever(g, words, err) : status;
}

cp_status cp_grounding_open(const cp_grounding_parts *parts, cp_grounding **out, cp_error *err) {
    const cp_settings *settings = parts->settings;
    *out = NULL;
    cp_grounding *g = calloc(1, sizeof *g);
    if (!g)
        return cp_error_no_memory(err, "retrieval");
    g->with = *parts;
    if (settings->enable_vector_context && settings->vector_mode != CP_VECTOR_OFF)
        g->k = (size_t)settings->vector_store_top_k;
    cp_status status = open_parts(g, err);
    if (status == CP_OK)
        *out = g;
    else
        cp_grounding_close(g);
    return status;
}

void cp_grounding_close(cp_grounding *g) {
    if (!g)
        return;
    cp_retriever_free(g->retriever);
    if (g->vectors)
        g->vectors->close(g->vectors);
    cp_index_close(g->index);
    cp_claim_terms_free(g->terms);
    cp_knowledge_close(g->knowledge);
    free(g);
}

void cp_grounding_tick(cp_grounding *g) {
    cp_error err;
    uint64_t now = cp_clock_ns();
    if (!g->index || now - g->refreshed_ns < REFRESH_NS)
        return;
    g->refreshed_ns = now;
    bool was_behind = g->is_behind;
    g->is_behind = cp_index_refresh(g->index, &err) != CP_OK;
    if (g->is_behind && !was_behind)
        cp_log(CP_LOG_WARN, "the index cannot be read anew", CP_LOG_S("reason", err.message));
}

const cp_knowledge *cp_grounding_knowledge(const cp_grounding *g) {
    return g->knowledge;
}

const cp_claim_terms *cp_grounding_terms(const cp_grounding *g) {
    return g->terms;
}

cp_index_gauges cp_grounding_gauges(cp_grounding *g) {
    cp_index_gauges gauges = {.is_on = true, .knowledge = cp_knowledge_n(g->knowledge)};
    cp_index_view *view = g->index ? cp_index_view_take(g->index) : NULL;
    if (view) {
        gauges.index = cp_index_view_stats(view);
        cp_index_view_release(view);
    }
    return gauges;
}
