#include "bench/retrieval_report.h"

#include "base/file.h"
#include "base/mem.h"
#include "bench/statistics.h"
#include "bench/vector_file.h"
#include "engine/vector_search.h"
#include "llm/embedder.h"
#include "llm/reranker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define K          10 /* passages of a question */
#define MOST_A_DOC 2  /* passages of one, as the retriever has it */
#define N_NEAREST  64 /* of the vector list */
#define N_RERANKED 20
#define AT_ONCE    64 /* texts that are embedded together */
#define MAX_TEXT   ((size_t)64 << 10)
#define MAX_ASKED  ((size_t)256 << 20)
#define GAIN_2     3.0
#define GAIN_1     1.0

const char *cp_retrieval_mode_name(cp_retrieval_mode mode) {
    static const char *const names[] = {"lexical", "vector", "hybrid", "reranked"};
    return names[mode];
}

const char *cp_retrieval_group_name(unsigned group) {
    static const char *const names[] = {"all", "train", "held", "same", "other", "misspelled"};
    return names[group];
}

/* ---- the index ----------------------------------------------------------------------------- */

typedef struct bench {
    const cp_retrieval_set *set;
    cp_retrieval_report *report;
    cp_index *index;
    cp_retriever *retriever;
    cp_embedder *embedder;   /* or */
    cp_vector_file *vectors; /* or neither */
    size_t width;            /* of their vectors; 0: there are none */
    cp_strbuf asked;         /* texts whose vectors are wanted, as lines */
    cp_reranker *reranker;
    float *questions; /* [n_questions, width] */
    double *times;    /* [n_questions * n_repeat] */
    size_t n_times;
    cp_error *err;
} bench;

cp_status cp_retrieval_put(cp_index *index, const cp_source_doc *doc, const char *mrn,
                           const cp_chunked *chunked, cp_error *err) {
    const cp_index_doc put = {.mrn = mrn,
                              .id = doc->id,
                              .kind = doc->kind,
                              .hash = doc->hash,
                              .chunks = chunked->chunks,
                              .n_chunks = chunked->n};
    return cp_index_put(index, &put, err);
}

static void progress(const bench *b, const char *line) {
    if (b->report->plan->on_progress)
        b->report->plan->on_progress(NULL, line);
}

static cp_status embed(bench *b, const char *const *texts, size_t n, float *out) {
    return b->vectors ? cp_vector_file_get(b->vectors, texts, n, out, b->err)
                      : cp_embedder_run(b->embedder, texts, n, out, b->err);
}

/* Vectors of all chunks of a document; *values is the caller's to free after it is put. */
static cp_status embed_chunks(bench *b, const cp_source_doc *doc, cp_chunked *chunked,
                              int8_t **values) {
    const size_t width = b->width;
    float *vectors = calloc(chunked->n * width, sizeof *vectors);
    cp_strbuf *texts = calloc(chunked->n, sizeof *texts);
    const char **list = calloc(chunked->n, sizeof *list);
    *values = malloc(chunked->n * width);
    cp_status status = vectors && texts && list && *values
                           ? CP_OK
                           : cp_error_no_memory(b->err, "vectors of a document");
    for (size_t i = 0; i < chunked->n && texts && list; i++) {
        cp_strbuf_init(&texts[i], MAX_TEXT);
        cp_chunk_embedding_text(doc, &chunked->chunks[i], &texts[i]);
        list[i] = cp_strbuf_text(&texts[i]);
        if (status == CP_OK)
            status = cp_strbuf_check(&texts[i], "text of a chunk", b->err);
    }
    if (status == CP_OK)
        status = embed(b, list, chunked->n, vectors);
    for (size_t i = 0; i < chunked->n && status == CP_OK; i++) {
        cp_vector *vector = &chunked->chunks[i].vector;
        vector->values = *values + i * width;
        cp_vector_quantize(vectors + i * width, width, *values + i * width, &vector->scale);
    }
    for (size_t i = 0; i < chunked->n && texts; i++)
        cp_strbuf_deinit(&texts[i]);
    free(texts);
    free(list);
    free(vectors);
    return status;
}

static cp_status ask_for_chunks(bench *b, const cp_source_doc *doc, const cp_chunked *chunked) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < chunked->n && status == CP_OK; i++) {
        cp_strbuf text;
        cp_strbuf_init(&text, MAX_TEXT);
        cp_chunk_embedding_text(doc, &chunked->chunks[i], &text);
        status = cp_vector_file_ask(cp_strbuf_text(&text), &b->asked, b->err);
        cp_strbuf_deinit(&text);
    }
    return status;
}

static cp_status put_doc(bench *b, const cp_source_doc *doc) {
    cp_chunked chunked;
    int8_t *values = NULL;
    cp_status status = cp_chunk_document(doc, cp_index_salt(b->index), &chunked, b->err);
    if (status == CP_OK && b->width > 0)
        status = embed_chunks(b, doc, &chunked, &values);
    if (status == CP_OK && b->report->plan->texts)
        status = ask_for_chunks(b, doc, &chunked);
    if (status == CP_OK)
        status = cp_retrieval_put(b->index, doc, doc->mrn, &chunked, b->err);
    b->report->n_documents++;
    b->report->n_chunks += chunked.n;
    cp_chunked_deinit(&chunked);
    free(values);
    return status;
}

static cp_status fill_index(bench *b) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < cp_knowledge_n(b->set->knowledge) && status == CP_OK; i++)
        status = put_doc(b, cp_knowledge_doc(b->set->knowledge, i));
    for (size_t p = 0; p < b->set->n_patients; p++)
        for (size_t i = 0; i < b->set->patients[p].record.n && status == CP_OK; i++)
            status = put_doc(b, &b->set->patients[p].record.docs[i]);
    return status == CP_OK ? cp_index_commit(b->index, b->err) : status;
}

/* A question as the model reads it: vectors of a file are of the plain text. */
static void write_question(const bench *b, size_t i, cp_strbuf *out) {
    cp_strbuf_init(out, MAX_TEXT);
    if (b->embedder)
        cp_embedding_query_text(NULL, b->set->questions[i].text, out);
    else
        cp_strbuf_puts(out, b->set->questions[i].text);
}

static cp_status embed_questions(bench *b) {
    const size_t n = b->set->n_questions;
    cp_status status = CP_OK;
    b->questions = calloc(n * b->width + 1, sizeof *b->questions);
    if (!b->questions)
        return cp_error_no_memory(b->err, "vectors of the questions");
    for (size_t i = 0; i < n && status == CP_OK; i += AT_ONCE) {
        cp_strbuf texts[AT_ONCE];
        const char *list[AT_ONCE];
        const size_t some = n - i < AT_ONCE ? n - i : AT_ONCE;
        for (size_t j = 0; j < some; j++) {
            write_question(b, i + j, &texts[j]);
            list[j] = cp_strbuf_text(&texts[j]);
        }
        status = embed(b, list, some, b->questions + i * b->width);
        for (size_t j = 0; j < some; j++)
            cp_strbuf_deinit(&texts[j]);
    }
    return status;
}

/* Writes --texts. */
static cp_status write_texts(bench *b) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < b->set->n_questions && status == CP_OK; i++)
        status = cp_vector_file_ask(b->set->questions[i].text, &b->asked, b->err);
    return status == CP_OK ? cp_file_write(b->report->plan->texts, cp_strbuf_str(&b->asked), b->err)
                           : status;
}

/* ---- one question -------------------------------------------------------------------------- */

cp_retrieve_query cp_retrieval_query(const cp_set_question *question, size_t k) {
    const cp_set_patient *p = question->patient;
    cp_retrieve_query query = {.text = question->text, .kinds = CP_ALL_KINDS, .k = k};
    if (p) {
        query.mrn = p->mrn;
        query.docs = p->record.docs;
        query.n_docs = p->record.n;
        query.medicines = p->medicines;
        query.n_medicines = p->n_medicines;
        query.conditions = p->conditions;
        query.n_conditions = p->n_conditions;
    }
    return query;
}

/* The nearest chunks that this question may see. */
static cp_status find_nearest(bench *b, size_t question, cp_vector_match *out, size_t *n) {
    const cp_set_patient *p = b->set->questions[question].patient;
    const cp_entry_filter filter = {
        .mrn = p ? p->mrn : NULL, .knowledge = true, .kinds = CP_ALL_KINDS};
    const size_t width = b->width;
    int8_t values[CP_VECTOR_MAX_WIDTH];
    cp_hit hits[N_NEAREST];
    cp_vector query = {.values = values};
    cp_vector_quantize(b->questions + question * width, width, values, &query.scale);
    cp_index_view *view = cp_index_view_take(b->index);
    cp_status status = cp_index_view_nearest(view, &filter, query, b->report->plan->n_threads,
                                             N_NEAREST, hits, n, b->err);
    for (size_t i = 0; i < *n && status == CP_OK; i++) {
        const cp_index_item item = cp_index_view_item(view, hits[i].number);
        out[i] = (cp_vector_match){.kind = item.kind,
                                   .hash = item.hash,
                                   .chunk = item.chunk,
                                   .begin = item.begin,
                                   .n = item.n,
                                   .score = hits[i].score};
        snprintf(out[i].mrn, sizeof out[i].mrn, "%s", item.mrn);
        snprintf(out[i].id, sizeof out[i].id, "%s", item.id);
    }
    cp_index_view_release(view);
    return status;
}

/* What came back: documents by rank; one that has two passages stands there twice. */
typedef struct answer {
    const char *ids[N_RERANKED], *mrns[N_RERANKED];
    size_t n;
} answer;

static void add_answer(answer *a, const char *id, const char *mrn, size_t k) {
    size_t n = 0;
    for (size_t i = 0; i < a->n; i++)
        n += strcmp(a->ids[i], id) == 0;
    if (n >= MOST_A_DOC || a->n >= k)
        return;
    a->ids[a->n] = id;
    a->mrns[a->n++] = mrn;
}

/* In the order of the reranking model's scores. */
static cp_status rerank(bench *b, const char *question, cp_retrieved *found) {
    cp_strbuf texts[N_RERANKED];
    cp_str docs[N_RERANKED];
    float scores[N_RERANKED];
    for (size_t i = 0; i < found->n; i++) {
        const cp_passage *passage = &found->passages[i];
        const cp_chunk chunk = {.begin = passage->begin, .n = passage->n};
        cp_strbuf_init(&texts[i], MAX_TEXT);
        cp_chunk_embedding_text(passage->doc, &chunk, &texts[i]);
        docs[i] = cp_strbuf_str(&texts[i]);
    }
    cp_status status = cp_reranker_run(b->reranker, NULL, question, docs, found->n, scores, b->err);
    for (size_t i = 0; i < found->n; i++)
        cp_strbuf_deinit(&texts[i]);
    for (size_t i = 1; i < found->n && status == CP_OK; i++) /* few: insertion, stable */
        for (size_t j = i; j > 0 && scores[j] > scores[j - 1]; j--) {
            const cp_passage passage = found->passages[j];
            const float score = scores[j];
            found->passages[j] = found->passages[j - 1];
            found->passages[j - 1] = passage;
            scores[j] = scores[j - 1];
            scores[j - 1] = score;
        }
    return status;
}

static cp_status retrieve(bench *b, cp_retrieval_mode mode, size_t i, answer *out) {
    static cp_vector_match nearest[N_NEAREST]; /* ids are borrowed until the next question */
    const cp_set_question *q = &b->set->questions[i];
    const bool vectors = mode == CP_RETRIEVE_VECTOR || mode == CP_RETRIEVE_HYBRID ||
                         (mode == CP_RETRIEVE_RERANKED && b->width > 0);
    cp_retrieve_query query = cp_retrieval_query(q, mode == CP_RETRIEVE_RERANKED ? N_RERANKED : K);
    cp_retrieved found = {0};
    cp_status status = CP_OK;
    *out = (answer){0};
    const uint64_t start = cp_clock_ns();
    if (vectors)
        status = find_nearest(b, i, nearest, &query.n_nearest);
    query.nearest = nearest;
    if (status == CP_OK && mode != CP_RETRIEVE_VECTOR)
        status = cp_retrieve(b->retriever, &query, &found, b->err);
    b->times[b->n_times++] = cp_clock_ms_since(start);
    if (status == CP_OK && mode == CP_RETRIEVE_RERANKED)
        status = rerank(b, q->text, &found);
    for (size_t j = 0; j < query.n_nearest && mode == CP_RETRIEVE_VECTOR; j++)
        add_answer(out, nearest[j].id, nearest[j].mrn, K);
    for (size_t j = 0; j < found.n; j++)
        add_answer(out, found.passages[j].doc->id, found.passages[j].doc->mrn, K);
    free(found.passages);
    return status;
}

/* ---- measures ------------------------------------------------------------------------------ */

static bool is_among(const answer *a, size_t k, const char *id) {
    for (size_t i = 0; i < a->n && i < k; i++)
        if (strcmp(a->ids[i], id) == 0)
            return true;
    return false;
}

static double recall(const cp_set_question *q, const answer *a, size_t k) {
    size_t n = 0, found = 0;
    for (size_t i = 0; i < q->n_relevant; i++) {
        n += q->relevant[i].grade == 2;
        found += q->relevant[i].grade == 2 && is_among(a, k, q->relevant[i].id);
    }
    return n > 0 ? (double)found / (double)n : 0;
}

static unsigned grade_of(const cp_set_question *q, const char *id) {
    for (size_t i = 0; i < q->n_relevant; i++)
        if (strcmp(q->relevant[i].id, id) == 0)
            return q->relevant[i].grade;
    return 0;
}

/* A document's second passage gains nothing. */
static double ndcg(const cp_set_question *q, const answer *a) {
    double sum = 0, ideal = 0;
    size_t n_2 = 0, rank = 0;
    for (size_t i = 0; i < a->n && i < K; i++) {
        const unsigned grade = is_among(a, i, a->ids[i]) ? 0 : grade_of(q, a->ids[i]);
        sum += (grade == 2 ? GAIN_2 : grade == 1 ? GAIN_1 : 0) / log2((double)i + 2);
    }
    for (size_t i = 0; i < q->n_relevant; i++)
        n_2 += q->relevant[i].grade == 2;
    for (; rank < q->n_relevant && rank < K; rank++)
        ideal += (rank < n_2 ? GAIN_2 : GAIN_1) / log2((double)rank + 2);
    return ideal > 0 ? sum / ideal : 0;
}

static bool is_in_group(const cp_set_question *q, unsigned group) {
    return group == CP_GROUP_ALL || strcmp(q->split, cp_retrieval_group_name(group)) == 0 ||
           strcmp(q->words, cp_retrieval_group_name(group)) == 0;
}

static void count(const cp_set_question *q, const answer *a, cp_retrieval_result *r) {
    for (unsigned group = 0; group < CP_N_GROUPS; group++) {
        cp_retrieval_measures *m = &r->groups[group];
        if (!is_in_group(q, group))
            continue;
        m->n++;
        m->recall_1 += recall(q, a, 1);
        m->recall_5 += recall(q, a, 5);
        m->recall_10 += recall(q, a, 10);
        m->ndcg_10 += ndcg(q, a);
    }
    for (size_t i = 0; i < a->n; i++)
        r->n_foreign += *a->mrns[i] && (!q->patient || strcmp(a->mrns[i], q->patient->mrn) != 0);
    for (size_t i = 0; i < q->n_never; i++)
        r->n_never += is_among(a, a->n, q->never[i]);
}

static void settle(bench *b, cp_retrieval_result *r) {
    for (unsigned group = 0; group < CP_N_GROUPS; group++) {
        cp_retrieval_measures *m = &r->groups[group];
        const double n = m->n > 0 ? (double)m->n : 1;
        m->recall_1 /= n;
        m->recall_5 /= n;
        m->recall_10 /= n;
        m->ndcg_10 /= n;
    }
    if (b->n_times == 0)
        return;
    cp_stats_sort(b->times, b->n_times);
    r->ms_p50 = cp_stats_percentile(b->times, b->n_times, 0.5);
    r->ms_p99 = cp_stats_percentile(b->times, b->n_times, 0.99);
}

static cp_status measure_mode(bench *b, cp_retrieval_mode mode) {
    cp_retrieval_result *r = &b->report->modes[mode];
    /* Models answer the same every time, and slowly. */
    const size_t n_repeat = mode == CP_RETRIEVE_RERANKED ? 1 : b->report->plan->n_repeat;
    cp_status status = CP_OK;
    progress(b, cp_retrieval_mode_name(mode));
    b->n_times = 0;
    r->measured = true;
    for (size_t turn = 0; turn < n_repeat; turn++)
        for (size_t i = 0; i < b->set->n_questions && status == CP_OK; i++) {
            answer found;
            status = retrieve(b, mode, i, &found);
            if (status == CP_OK && turn == 0)
                count(&b->set->questions[i], &found, r);
        }
    settle(b, r);
    return status;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static cp_status open_models(bench *b) {
    const cp_retrieval_plan *plan = b->report->plan;
    cp_status status = CP_OK;
    if (plan->embedding_model)
        status =
            cp_embedder_open_folder(plan->embedding_model, plan->n_threads, &b->embedder, b->err);
    if (status == CP_OK && b->embedder)
        snprintf(b->report->embedder, sizeof b->report->embedder, "%s (%s, %zu wide)",
                 cp_embedder_model(b->embedder), cp_embedder_quant(b->embedder),
                 cp_embedder_width(b->embedder));
    if (status == CP_OK && plan->vectors)
        status = cp_vector_file_open(plan->vectors, &b->vectors, b->err);
    if (status == CP_OK && b->vectors)
        snprintf(b->report->embedder, sizeof b->report->embedder, "vectors of %.80s (%zu wide)",
                 plan->vectors, cp_vector_file_width(b->vectors));
    b->width = b->embedder  ? cp_embedder_width(b->embedder)
               : b->vectors ? cp_vector_file_width(b->vectors)
                            : 0;
    if (status == CP_OK && plan->reranker_model)
        status =
            cp_reranker_open_folder(plan->reranker_model, plan->n_threads, &b->reranker, b->err);
    if (status == CP_OK && b->reranker)
        snprintf(b->report->reranker, sizeof b->report->reranker, "%s (%s)",
                 cp_reranker_model(b->reranker), cp_reranker_quant(b->reranker));
    return status;
}

cp_status cp_retrieval_open(const cp_retrieval_plan *plan, const cp_retrieval_set *set,
                            cp_index *index, cp_retriever **out, cp_error *err) {
    char words[CP_PATH_CAP];
    cp_status status = cp_path_join(plan->data, "knowledge/words.json", words, sizeof words, err);
    const cp_retriever_options options = {
        .index = index, .knowledge = set->knowledge, .words_path = words};
    return status == CP_OK ? cp_retriever_create(&options, out, err) : status;
}

static cp_status prepare(bench *b) {
    const cp_retrieval_plan *plan = b->report->plan;
    cp_status status = open_models(b);
    const cp_index_options options = {
        .dir = plan->index_dir, .write = true, .width = b->width, .model = b->report->embedder};
    if (status == CP_OK)
        status = cp_index_open(&options, &b->index, b->err);
    if (status == CP_OK)
        progress(b, "index");
    if (status == CP_OK)
        status = fill_index(b);
    if (status == CP_OK && b->width > 0)
        status = embed_questions(b);
    if (status == CP_OK && plan->texts)
        status = write_texts(b);
    if (status == CP_OK)
        status = cp_retrieval_open(plan, b->set, b->index, &b->retriever, b->err);
    b->times = calloc(b->set->n_questions * plan->n_repeat + 1, sizeof *b->times);
    return status == CP_OK && !b->times ? cp_error_no_memory(b->err, "times") : status;
}

cp_status cp_retrieval_measure(const cp_retrieval_set *set, cp_retrieval_report *report,
                               cp_error *err) {
    bench b = {.set = set, .report = report, .err = err};
    report->n_questions = set->n_questions;
    report->n_patients = set->n_patients;
    report->n_knowledge = cp_knowledge_n(set->knowledge);
    cp_strbuf_init(&b.asked, MAX_ASKED);
    cp_status status = prepare(&b);
    if (status == CP_OK)
        status = measure_mode(&b, CP_RETRIEVE_LEXICAL);
    if (status == CP_OK && b.width > 0)
        status = measure_mode(&b, CP_RETRIEVE_VECTOR);
    if (status == CP_OK && b.width > 0)
        status = measure_mode(&b, CP_RETRIEVE_HYBRID);
    if (status == CP_OK && b.reranker)
        status = measure_mode(&b, CP_RETRIEVE_RERANKED);
    cp_retriever_free(b.retriever);
    cp_index_close(b.index);
    cp_embedder_close(b.embedder);
    cp_vector_file_close(b.vectors);
    cp_strbuf_deinit(&b.asked);
    cp_reranker_close(b.reranker);
    free(b.questions);
    free(b.times);
    return status;
}
