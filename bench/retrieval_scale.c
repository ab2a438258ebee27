/* Latency by size of the index: copies of the set's patients under new MRNs. */
#include "bench/retrieval_report.h"

#include "base/mem.h"
#include "bench/random.h"
#include "bench/statistics.h"
#include "retrieval/query_terms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MRN_CAP 16
#define N_ASKED 300 /* questions at each size */
#define K       10
#define N_ALL   64 /* hits of the list over everybody's */

typedef struct scale {
    const cp_retrieval_set *set;
    cp_retrieval_report *report;
    cp_index *index;
    cp_retriever *retriever;
    cp_chunked **chunked; /* [n_patients][their documents] */
    uint64_t random;
    cp_error *err;
} scale;

static void write_mrn(size_t number, char out[MRN_CAP]) {
    snprintf(out, MRN_CAP, "SYN-%07zu", number % 10000000);
}

static cp_status chunk_all(scale *s) {
    s->chunked = calloc(s->set->n_patients + 1, sizeof *s->chunked);
    if (!s->chunked)
        return cp_error_no_memory(s->err, "chunks");
    for (size_t p = 0; p < s->set->n_patients; p++) {
        const cp_record_docs *record = &s->set->patients[p].record;
        s->chunked[p] = calloc(record->n + 1, sizeof **s->chunked);
        if (!s->chunked[p])
            return cp_error_no_memory(s->err, "chunks");
        for (size_t i = 0; i < record->n; i++) {
            cp_status status = cp_chunk_document(&record->docs[i], cp_index_salt(s->index),
                                                 &s->chunked[p][i], s->err);
            if (status != CP_OK)
                return status;
        }
    }
    return CP_OK;
}

static void free_chunks(scale *s) {
    for (size_t p = 0; p < s->set->n_patients && s->chunked; p++) {
        for (size_t i = 0; i < s->set->patients[p].record.n && s->chunked[p]; i++)
            cp_chunked_deinit(&s->chunked[p][i]);
        free(s->chunked[p]);
    }
    free(s->chunked);
}

/* One more patient, a copy of one of the set's; *n counts chunks. */
static cp_status put_copy(scale *s, size_t number, size_t *n) {
    const size_t p = number % s->set->n_patients;
    const cp_record_docs *record = &s->set->patients[p].record;
    char mrn[MRN_CAP];
    cp_status status = CP_OK;
    write_mrn(number, mrn);
    for (size_t i = 0; i < record->n && status == CP_OK; i++) {
        status = cp_retrieval_put(s->index, &record->docs[i], mrn, &s->chunked[p][i], s->err);
        *n += s->chunked[p][i].n;
    }
    return status;
}

static cp_status put_knowledge(scale *s, size_t *n) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < cp_knowledge_n(s->set->knowledge) && status == CP_OK; i++) {
        const cp_source_doc *doc = cp_knowledge_doc(s->set->knowledge, i);
        cp_chunked chunked;
        status = cp_chunk_document(doc, cp_index_salt(s->index), &chunked, s->err);
        if (status == CP_OK)
            status = cp_retrieval_put(s->index, doc, "", &chunked, s->err);
        *n += chunked.n;
        cp_chunked_deinit(&chunked);
    }
    return status;
}

/* A question of the set for the copy of its patient. */
static cp_status ask_for_copy(scale *s, const cp_set_question *q, size_t n_patients, double *ms) {
    cp_retrieve_query query = cp_retrieval_query(q, K);
    cp_source_doc docs[64];
    char mrn[MRN_CAP];
    cp_retrieved found;
    if (q->patient) {
        const size_t p = (size_t)(q->patient - s->set->patients);
        const size_t copies = (n_patients - p + s->set->n_patients - 1) / s->set->n_patients;
        write_mrn(p + s->set->n_patients * (size_t)(cp_random_next(&s->random) % copies), mrn);
        query.n_docs = query.n_docs < CP_COUNT_OF(docs) ? query.n_docs : CP_COUNT_OF(docs);
        for (size_t i = 0; i < query.n_docs; i++) {
            docs[i] = query.docs[i];
            docs[i].mrn = mrn;
        }
        query.docs = docs;
        query.mrn = mrn;
    }
    const uint64_t start = cp_clock_ns();
    cp_status status = cp_retrieve(s->retriever, &query, &found, s->err);
    *ms = cp_clock_ms_since(start);
    free(found.passages);
    return status;
}

/* The same question's words over everybody's documents. */
static cp_status ask_for_all(scale *s, const cp_set_question *q, double *ms) {
    const cp_entry_filter filter = {.mrn = CP_ANY_MRN, .knowledge = true, .kinds = CP_ALL_KINDS};
    cp_known_words none;
    cp_query_terms terms;
    cp_hit hits[N_ALL];
    size_t n;
    cp_known_words_init(&none);
    const cp_query_words with = {.salt = cp_index_salt(s->index), .known = &none};
    const uint64_t start = cp_clock_ns();
    cp_status status =
        cp_query_terms_make(&with, (cp_str){q->text, strlen(q->text)}, &terms, s->err);
    cp_index_view *view = cp_index_view_take(s->index);
    if (status == CP_OK)
        status =
            cp_index_view_lexical(view, &filter, terms.items, terms.n, N_ALL, hits, &n, s->err);
    cp_index_view_release(view);
    *ms = cp_clock_ms_since(start);
    cp_query_terms_deinit(&terms);
    cp_known_words_deinit(&none);
    return status;
}

static cp_status ask(scale *s, cp_scale_row *row) {
    double patient[N_ASKED], all[N_ASKED];
    cp_status status = CP_OK;
    for (size_t i = 0; i < N_ASKED && status == CP_OK; i++) {
        const cp_set_question *q =
            &s->set->questions[cp_random_next(&s->random) % s->set->n_questions];
        status = ask_for_copy(s, q, row->n_patients, &patient[i]);
        if (status == CP_OK)
            status = ask_for_all(s, q, &all[i]);
    }
    if (status != CP_OK)
        return status;
    cp_stats_sort(patient, N_ASKED);
    cp_stats_sort(all, N_ASKED);
    row->patient_ms_p50 = cp_stats_percentile(patient, N_ASKED, 0.5);
    row->patient_ms_p99 = cp_stats_percentile(patient, N_ASKED, 0.99);
    row->all_ms_p50 = cp_stats_percentile(all, N_ASKED, 0.5);
    row->all_ms_p99 = cp_stats_percentile(all, N_ASKED, 0.99);
    return CP_OK;
}

static cp_status run_size(scale *s, size_t n_chunks, cp_scale_row *row) {
    const cp_retrieval_plan *plan = s->report->plan;
    const cp_index_options options = {.write = true, .model = ""};
    size_t n = 0;
    cp_status status = cp_index_open(&options, &s->index, s->err);
    if (status == CP_OK)
        status = chunk_all(s);
    if (status == CP_OK)
        status = put_knowledge(s, &n);
    /* At least one copy of each, for the questions. */
    for (row->n_patients = 0;
         status == CP_OK && (n < n_chunks || row->n_patients < s->set->n_patients);
         row->n_patients++)
        status = put_copy(s, row->n_patients, &n);
    if (status == CP_OK)
        status = cp_index_commit(s->index, s->err);
    if (status == CP_OK)
        status = cp_index_compact(s->index, s->err);
    if (status == CP_OK)
        status = cp_retrieval_open(plan, s->set, s->index, &s->retriever, s->err);
    if (status == CP_OK)
        status = ask(s, row);
    if (status == CP_OK) {
        cp_index_view *view = cp_index_view_take(s->index);
        row->index_bytes = cp_index_view_stats(view).segment_bytes;
        cp_index_view_release(view);
    }
    row->n_chunks = n;
    cp_retriever_free(s->retriever);
    free_chunks(s);
    cp_index_close(s->index);
    return status;
}

cp_status cp_retrieval_scale(const cp_retrieval_set *set, cp_retrieval_report *report,
                             cp_error *err) {
    const cp_retrieval_plan *plan = report->plan;
    cp_status status = CP_OK;
    if (plan->n_scales > 0 && (set->n_patients == 0 || set->n_questions == 0))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: no patients or no questions", plan->data);
    for (size_t i = 0; i < plan->n_scales && status == CP_OK; i++) {
        scale s = {.set = set, .report = report, .random = plan->seed, .err = err};
        char line[64];
        snprintf(line, sizeof line, "%zu chunks", plan->scales[i]);
        if (plan->on_progress)
            plan->on_progress(NULL, line);
        status = run_size(&s, plan->scales[i], &report->scales[report->n_scales++]);
    }
    return status;
}
