/* The way of one question, from its record to its passages. */
#include "server/grounding_service.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/vector_search.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TEXT_BYTES ((size_t)64 << 10)
#define MAX_ASKED                                                                                  \
    2048 /* bytes of a question that are embedded: its beginning says what it is about */

/* What a step needs beyond its job. */
typedef struct cp_grounding_steps {
    cp_grounding *of;
    cp_grounding_job *job;
    uint64_t step_ns, give_up_ns;
    const char **names;
    cp_strbuf asked; /* the question as the embedding model reads it */
    cp_embedding_input input;
    cp_embedding_task embedding;
    float *vector; /* [width] */
    int8_t *values;
    cp_store_task task; /* asking a remote store */
    cp_vector_match *matches;
    size_t n_matches;
    cp_rerank_task rerank;
    cp_strbuf *texts; /* [n_texts] of the candidates */
    cp_str *docs;
    float *scores;
    size_t n_texts;
} cp_grounding_steps;

/* ---- before and after ------------------------------------------------------------------------ */

static void trace_step(const cp_grounding_steps *s, cp_retrieval_stage stage) {
    static const char *const names[CP_N_STAGES] = {"search", "embeddings", "nearest vectors",
                                                   "rerank"};
    cp_trace_span span;
    if (!s->job->trace || !cp_trace_span_begin(&span, s->job->trace, names[stage], s->step_ns))
        return;
    if (stage == CP_STAGE_EMBED) {
        span.subject = cp_embedder_model(s->of->with.embedder);
        cp_trace_span_text(&span, "gen_ai.operation.name", names[stage]);
        cp_trace_span_text(&span, "gen_ai.provider.name", "carepath");
        cp_trace_span_text(&span, "gen_ai.request.model", span.subject);
    }
    cp_trace_span_end(&span, cp_clock_ns());
}

static void note_step(const cp_grounding_steps *s, cp_retrieval_stage stage) {
    cp_metrics_retrieval(s->of->with.metrics, stage, cp_clock_ms_since(s->step_ns) / 1e3);
    trace_step(s, stage);
}

static void note_failure(const cp_grounding_steps *s, cp_retrieval_stage stage,
                         const char *reason) {
    cp_metrics_retrieval_failed(s->of->with.metrics, stage);
    cp_log(CP_LOG_WARN, "a stage of retrieval is left out", CP_LOG_S("reason", reason));
}

static bool is_late(const cp_grounding_steps *s) {
    const cp_grounding_job *job = s->job;
    return cp_clock_ns() >= s->give_up_ns || (job->is_unwanted && job->is_unwanted(job->user));
}

static size_t n_items(const cJSON *list) {
    return cJSON_IsArray(list) ? (size_t)cJSON_GetArraySize(list) : 0;
}

static size_t collect(const cJSON *list, const char *key, const char **out) {
    size_t n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        const char *text = cp_json_text(item, key, "");
        if (*text)
            out[n++] = text;
    }
    return n;
}

/* The record's own names of medicines, allergens and conditions. */
static cp_status name_things(cp_grounding_steps *s, cp_error *err) {
    const cJSON *patient = s->job->record->patient;
    const cJSON *medicines = cp_json_member(patient, "medications");
    const cJSON *allergens = cp_json_member(patient, "allergies");
    const cJSON *conditions = cp_json_member(patient, "conditions");
    size_t n = n_items(medicines) + n_items(allergens) + n_items(conditions);
    cp_claim_names *names = &s->job->names;
    s->names = calloc(n + 1, sizeof *s->names);
    if (!s->names)
        return cp_error_no_memory(err, "the record's names");
    const char **at = s->names;
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

void cp_grounding_release(cp_grounding_job *job) {
    cp_grounding_steps *s = job->steps;
    free(job->found.passages);
    cp_record_docs_deinit(&job->docs);
    if (!s)
        return;
    for (size_t i = 0; i < s->n_texts; i++)
        cp_strbuf_deinit(&s->texts[i]);
    free(s->texts);
    free(s->docs);
    free(s->scores);
    free(s->matches);
    free(s->values);
    free(s->vector);
    cp_strbuf_deinit(&s->asked);
    free(s->names);
    free(s);
}

/* ---- reranking ------------------------------------------------------------------------------- */

static void done(cp_grounding_steps *s) {
    cp_retrieved *found = &s->job->found;
    found->n = found->n < s->of->k ? found->n : s->of->k;
    cp_metrics_found(s->of->with.metrics, found);
    s->job->on_done(s->job->user);
}

/* Best first; what scored alike stays in its order. */
static void order_by_scores(cp_grounding_steps *s) {
    cp_passage *passages = s->job->found.passages;
    for (size_t i = 1; i < s->n_texts; i++) {
        const cp_passage moved = passages[i];
        const float score = s->scores[i];
        size_t at = i;
        for (; at > 0 && s->scores[at - 1] < score; at--) {
            passages[at] = passages[at - 1];
            s->scores[at] = s->scores[at - 1];
        }
        passages[at] = moved;
        passages[at].score = score;
        s->scores[at] = score;
    }
    s->job->mode = "reranked";
}

/* In the engine's thread. */
static bool rerank_piece(void *user) {
    cp_grounding_steps *s = user;
    cp_reranker *reranker = s->of->with.reranker;
    bool late = is_late(s);
    if (!late && cp_reranker_piece(reranker, &s->rerank))
        return true;
    bool is_ordered = !late && s->rerank.work.status == CP_OK;
    if (is_ordered)
        order_by_scores(s);
    else
        note_failure(s, CP_STAGE_RERANK, late ? "too late" : s->rerank.work.err.message);
    cp_reranker_release(reranker, &s->rerank);
    if (is_ordered)
        note_step(s, CP_STAGE_RERANK);
    done(s);
    return false;
}

static cp_status write_candidates(cp_grounding_steps *s, cp_error *err) {
    const cp_retrieved *found = &s->job->found;
    s->texts = calloc(found->n, sizeof *s->texts);
    s->docs = calloc(found->n, sizeof *s->docs);
    s->scores = calloc(found->n, sizeof *s->scores);
    if (!s->texts || !s->docs || !s->scores)
        return cp_error_no_memory(err, "the candidates");
    for (size_t i = 0; i < found->n; i++) {
        const cp_passage *passage = &found->passages[i];
        const cp_chunk chunk = {.begin = passage->begin, .n = passage->n};
        cp_strbuf *text = &s->texts[s->n_texts++];
        cp_strbuf_init(text, MAX_TEXT_BYTES);
        cp_chunk_embedding_text(passage->doc, &chunk, text);
        if (text->failed == CP_ERR_NO_MEMORY)
            return cp_error_no_memory(err, "a candidate");
        s->docs[i] = text->failed == CP_OK /* else a title without end */
                         ? cp_strbuf_str(text)
                         : (cp_str){passage->doc->text.data + passage->begin, passage->n};
    }
    return CP_OK;
}

static void rerank(cp_grounding_steps *s) {
    cp_error err;
    s->step_ns = cp_clock_ns();
    cp_status status = write_candidates(s, &err);
    s->rerank = (cp_rerank_task){
        .query = s->job->query, .docs = s->docs, .n_docs = s->n_texts, .scores = s->scores};
    if (status == CP_OK)
        status = cp_inference_errand(s->of->with.inference, rerank_piece, s, &err);
    if (status == CP_OK)
        return;
    note_failure(s, CP_STAGE_RERANK, err.message);
    done(s);
}

/* ---- the order by words, fused with the nearest ---------------------------------------------- */

static void retrieve(cp_grounding_steps *s) {
    cp_grounding *g = s->of;
    cp_grounding_job *job = s->job;
    const cp_claim_names *names = &job->names;
    bool reranks = g->with.reranker && s->matches;
    cp_error err;
    s->step_ns = cp_clock_ns();
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
        .k = reranks ? g->k * CP_GROUNDING_CANDIDATES : g->k,
        .nearest = s->matches,
        .n_nearest = s->n_matches,
    };
    job->mode = s->n_matches > 0 ? "hybrid" : "lexical";
    if (cp_retrieve(g->retriever, &query, &job->found, &err) != CP_OK) {
        note_failure(s, CP_STAGE_LEXICAL, err.message);
        job->on_done(job->user);
        return;
    }
    note_step(s, CP_STAGE_LEXICAL);
    if (job->found.index_failed)
        note_failure(s, CP_STAGE_LEXICAL,
                     "the index is damaged: run carepath ingest into a new one");
    if (reranks && job->found.n > 1 && !is_late(s))
        rerank(s);
    else
        done(s);
}

/* ---- the nearest ----------------------------------------------------------------------------- */

static void find_nearest(cp_grounding_steps *s) {
    const cp_entry_filter filter = {.mrn = s->job->mrn, .knowledge = true, .kinds = CP_ALL_KINDS};
    cp_vector_store *store = s->of->vectors;
    cp_vector query = {.values = s->values};
    size_t n_foreign = 0;
    cp_trace_carrier carrier;
    cp_error err;
    s->step_ns = cp_clock_ns();
    cp_vector_quantize(s->vector, store->width, s->values, &query.scale);
    if (store->is_remote && s->job->trace) {
        carrier = cp_trace_carrier_of(s->job->trace, NULL);
        cp_trace_carry(&carrier);
    }
    cp_status status = store->nearest(store, &filter, query, CP_GROUNDING_NEAREST, s->matches,
                                      &s->n_matches, &n_foreign, &err);
    cp_trace_carry(NULL);
    cp_metrics_foreign(s->of->with.metrics, n_foreign);
    if (status == CP_OK) {
        note_step(s, CP_STAGE_NEAREST);
    } else {
        s->n_matches = 0;
        note_failure(s, CP_STAGE_NEAREST, err.message);
    }
}

static cp_grounding_steps *steps_of(cp_store_task *task) {
    return (cp_grounding_steps *)((char *)task - offsetof(cp_grounding_steps, task));
}

/* In a thread that may wait. */
static void ask_store(cp_store_task *task) {
    cp_grounding_steps *s = steps_of(task);
    if (is_late(s))
        note_failure(s, CP_STAGE_NEAREST, "too late");
    else
        find_nearest(s);
    retrieve(s);
}

static void drop_store(cp_store_task *task) {
    cp_grounding_steps *s = steps_of(task);
    note_failure(s, CP_STAGE_NEAREST, "too many wait for a store");
    retrieve(s);
}

static void go_to_store(cp_grounding_steps *s) {
    if (!s->of->vectors->is_remote) {
        find_nearest(s);
        retrieve(s);
        return;
    }
    s->task = (cp_store_task){.run = ask_store, .drop = drop_store};
    if (cp_store_pool_submit(cp_patients_pool(s->of->with.patients), &s->task) != CP_OK)
        drop_store(&s->task);
}

/* ---- the question's vector ------------------------------------------------------------------- */

/* In the engine's thread. */
static bool embed_piece(void *user) {
    cp_grounding_steps *s = user;
    cp_embedder *embedder = s->of->with.embedder;
    bool late = is_late(s);
    if (!late && cp_embedder_piece(embedder, &s->embedding))
        return true;
    bool is_made = !late && s->embedding.work.status == CP_OK;
    if (!is_made)
        note_failure(s, CP_STAGE_EMBED, late ? "too late" : s->embedding.work.err.message);
    cp_embedder_release(embedder, &s->embedding);
    if (!is_made) {
        retrieve(s);
        return false;
    }
    note_step(s, CP_STAGE_EMBED);
    go_to_store(s);
    return false;
}

/* The question as the embedding model reads it, cut on a character's border. */
static void write_asked(cp_grounding_steps *s) {
    const char *query = s->job->query;
    size_t n = strnlen(query, MAX_ASKED + 1);
    cp_strbuf cut;
    if (n > MAX_ASKED)
        for (n = MAX_ASKED; n > 0 && ((unsigned char)query[n] & 0xc0) == 0x80; n--)
            ;
    cp_strbuf_init(&cut, MAX_ASKED + 1);
    cp_strbuf_append(&cut, query, n);
    cp_embedding_query_text(NULL, cp_strbuf_text(&cut), &s->asked);
    if (cut.failed != CP_OK)
        s->asked.failed = cut.failed;
    cp_strbuf_deinit(&cut);
}

static cp_status begin_embedding(cp_grounding_steps *s, cp_error *err) {
    size_t width = s->of->vectors->width;
    write_asked(s);
    s->vector = calloc(width, sizeof *s->vector);
    s->values = calloc(width, 1);
    s->matches = calloc(CP_GROUNDING_NEAREST, sizeof *s->matches);
    if (!s->vector || !s->values || !s->matches || s->asked.failed != CP_OK)
        return cp_error_no_memory(err, "the question's vector");
    s->input.text = cp_strbuf_text(&s->asked);
    s->embedding = (cp_embedding_task){.inputs = &s->input, .n_inputs = 1, .out = s->vector};
    return cp_inference_errand(s->of->with.inference, embed_piece, s, err);
}

static bool can_embed(const cp_grounding *g) {
    return g->vectors && g->with.embedder &&
           cp_inference_get_state(g->with.inference) == CP_INFERENCE_READY;
}

/* ---- its beginning --------------------------------------------------------------------------- */

static cp_status begin(cp_grounding *g, cp_grounding_job *job, cp_error *err) {
    const cp_patient_record *record = job->record;
    uint64_t now = cp_clock_ns();
    cp_grounding_steps *s = calloc(1, sizeof *s);
    if (!s)
        return cp_error_no_memory(err, "retrieval");
    job->steps = s;
    s->of = g;
    s->job = job;
    s->give_up_ns = now + (job->deadline_ns > now ? (job->deadline_ns - now) / 2 : 0);
    cp_strbuf_init(&s->asked, MAX_TEXT_BYTES);
    cp_status status = name_things(s, err);
    if (status == CP_OK && g->k > 0)
        status = cp_record_docs_make(job->mrn, record->documents, record->encounters,
                                     record->claims, record->chat_logs, &job->docs, err);
    return status;
}

void cp_grounding_find(cp_grounding *g, cp_grounding_job *job) {
    cp_error err;
    job->mode = g->k > 0 ? "lexical" : "off";
    cp_status status = begin(g, job, &err);
    cp_grounding_steps *s = job->steps;
    if (status != CP_OK || g->k == 0) {
        if (status != CP_OK) {
            cp_log(CP_LOG_WARN, "nothing was retrieved", CP_LOG_S("reason", err.message));
            cp_metrics_retrieval_failed(g->with.metrics, CP_STAGE_LEXICAL);
        }
        job->on_done(job->user);
        return;
    }
    s->step_ns = cp_clock_ns();
    if (can_embed(g)) {
        if (begin_embedding(s, &err) == CP_OK)
            return;
        note_failure(s, CP_STAGE_EMBED, err.message);
    }
    retrieve(s);
}
