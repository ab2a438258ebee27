#include "server/grounding.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define REFRESH_NS ((uint64_t)1000000000u)

struct cp_grounding {
    cp_grounding_parts with;
    cp_knowledge *knowledge;
    cp_index *index;
    cp_retriever *retriever;
    cp_claim_terms *terms;
    size_t k;              /* passages of an answer; 0: retrieval is off */
    uint64_t refreshed_ns; /* the tick's */
};

/* ---- a question ------------------------------------------------------------------------------ */

static size_t collect(const cJSON *list, const char *key, const char **out) {
    size_t n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        const char *text = cp_json_text(item, key, NULL);
        if (text && *text)
            out[n++] = text;
    }
    return n;
}

static size_t n_items(const cJSON *list) {
    return cJSON_IsArray(list) ? (size_t)cJSON_GetArraySize(list) : 0;
}

/* The record's own names of medicines, allergens and conditions. */
static cp_status name_things(cp_grounding_job *job, cp_error *err) {
    const cJSON *patient = job->record->patient;
    const cJSON *medicines = cp_json_member(patient, "medications");
    const cJSON *allergens = cp_json_member(patient, "allergies");
    const cJSON *conditions = cp_json_member(patient, "conditions");
    size_t n = n_items(medicines) + n_items(allergens) + n_items(conditions);
    cp_claim_names *names = &job->names;
    job->texts = calloc(n + 1, sizeof *job->texts);
    if (!job->texts)
        return cp_error_no_memory(err, "the record's names");
    const char **at = job->texts;
    names->medicines = at;
    names->n_medicines = collect(medicines, "name", at);
    at += names->n_medicines;
    names->allergens = at;
    names->n_allergens = collect(allergens, "substance", at);
    at += names->n_allergens;
    names->conditions = at;
    names->n_conditions = collect(conditions, "name", at);
    return CP_OK;
}

static cp_status retrieve(cp_grounding *g, cp_grounding_job *job, cp_error *err) {
    const cp_patient_record *record = job->record;
    const cp_claim_names *names = &job->names;
    cp_status status = cp_record_docs_make(job->mrn, record->documents, record->encounters,
                                           record->claims, record->chat_logs, &job->docs, err);
    const cp_retrieve_query query = {
        .text = job->query,
        .mrn = job->mrn,
        .docs = job->docs.docs,
        .n_docs = job->docs.n,
        .medicines = names->medicines,
        .conditions = names->conditions,
        .n_medicines = names->n_medicines,
        .n_conditions = names->n_conditions,
        .kinds = CP_ALL_KINDS,
        .k = g->k,
    };
    return status == CP_OK ? cp_retrieve(g->retriever, &query, &job->found, err) : status;
}

void cp_grounding_find(cp_grounding *g, cp_grounding_job *job) {
    uint64_t begun = cp_clock_ns();
    cp_error err;
    job->mode = g->k > 0 ? "lexical" : "off";
    cp_status status = name_things(job, &err);
    if (status == CP_OK && g->k > 0)
        status = retrieve(g, job, &err);
    if (status != CP_OK) {
        cp_log(CP_LOG_WARN, "nothing was retrieved", CP_LOG_S("reason", err.message));
        cp_metrics_retrieval_failed(g->with.metrics, CP_STAGE_LEXICAL);
    } else if (g->k > 0) {
        cp_metrics_retrieval(g->with.metrics, CP_STAGE_LEXICAL, cp_clock_ms_since(begun) / 1e3);
        cp_metrics_found(g->with.metrics, &job->found);
    }
    job->on_done(job->user);
}

void cp_grounding_release(cp_grounding_job *job) {
    free(job->found.passages);
    cp_record_docs_deinit(&job->docs);
    free(job->texts);
}

/* ---- the service ----------------------------------------------------------------------------- */

/* Without a folder of an index there is one in memory, of the knowledge base alone: a patient's
 * documents are found in the record itself. */
static cp_status open_index(cp_grounding *g, cp_error *err) {
    const cp_settings *settings = g->with.settings;
    const cp_index_options options = {.dir = *settings->index_dir ? settings->index_dir : NULL};
    cp_status status = cp_index_open(&options, &g->index, err);
    if (status == CP_ERR_NOT_FOUND)
        return cp_error_set(err, status,
                            "INDEX_DIR is \"%s\", where there is no index; carepath ingest makes "
                            "one",
                            settings->index_dir);
    return status;
}

static cp_status open_parts(cp_grounding *g, cp_error *err) {
    const cp_settings *settings = g->with.settings;
    char dir[CP_PATH_CAP], words[CP_PATH_CAP];
    cp_status status = cp_path_join(settings->data_dir, "knowledge", dir, sizeof dir, err);
    if (status == CP_OK)
        status = cp_path_join(dir, "words.json", words, sizeof words, err);
    if (status == CP_OK)
        status = cp_knowledge_open(dir, &g->knowledge, err);
    if (status == CP_OK)
        status = cp_claim_terms_create(g->knowledge, words, &g->terms, err);
    if (status != CP_OK || g->k == 0)
        return status;
    status = open_index(g, err);
    const cp_retriever_options options = {
        .index = g->index, .knowledge = g->knowledge, .words_path = words};
    return status == CP_OK ? cp_retriever_create(&options, &g->retriever, err) : status;
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
    if (cp_index_refresh(g->index, &err) != CP_OK)
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
