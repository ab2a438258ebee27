/* How well retrieval finds what answers (bench/retrieval_set.h), and how long it takes.
 *
 *     plan ─► cp_retrieval_measure ─► quality by mode and group, faults, latency ─► table, JSON,
 * HTML └► cp_retrieval_scale   ─► latency by size of the index
 *
 * Quality is the same on every run; times are this machine's. One thread but for searching vectors
 * and the models. */
#ifndef CP_BENCH_RETRIEVAL_REPORT_H
#define CP_BENCH_RETRIEVAL_REPORT_H

#include "base/clock.h"
#include "base/json_writer.h"
#include "bench/retrieval_set.h"
#include "retrieval/retriever.h"

typedef enum cp_retrieval_mode {
    CP_RETRIEVE_LEXICAL,
    CP_RETRIEVE_VECTOR,   /* nearest vectors alone */
    CP_RETRIEVE_HYBRID,   /* both lists fused, as the server does */
    CP_RETRIEVE_RERANKED, /* the best of that, put in order by a reranking model */
    CP_N_RETRIEVAL_MODES
} cp_retrieval_mode;
const char *cp_retrieval_mode_name(cp_retrieval_mode mode);

enum {
    CP_GROUP_ALL,
    CP_GROUP_TRAIN,
    CP_GROUP_HELD,
    CP_GROUP_SAME,
    CP_GROUP_OTHER,
    CP_GROUP_MISSPELLED,
    CP_N_GROUPS
};
const char *cp_retrieval_group_name(unsigned group);

typedef struct cp_retrieval_measures {
    size_t n;
    double recall_1, recall_5, recall_10; /* share of a question's documents of grade 2; means */
    double ndcg_10;                       /* gains 3 and 1 */
} cp_retrieval_measures;

typedef struct cp_retrieval_result {
    bool measured;
    cp_retrieval_measures groups[CP_N_GROUPS];
    size_t n_foreign, n_never; /* documents of another patient, those on `never` lists: 0 */
    double ms_p50, ms_p99;     /* of a whole retrieval, models apart */
} cp_retrieval_result;

typedef struct cp_scale_row {
    size_t n_chunks, n_patients, index_bytes;
    double patient_ms_p50, patient_ms_p99; /* a whole retrieval for one patient */
    double all_ms_p50, all_ms_p99;         /* the lexical list over everybody's */
} cp_scale_row;
#define CP_MAX_SCALES 4

typedef struct cp_retrieval_plan {
    const char *data, *index_dir;                 /* index_dir NULL: in memory */
    const char *embedding_model, *reranker_model; /* folders, or NULL */
    const char *vectors, *texts; /* files of bench/vector_file.h to read and to write, or NULL */
    size_t n_threads, n_repeat;
    size_t scales[CP_MAX_SCALES], n_scales; /* chunks */
    uint64_t seed;
    void (*on_progress)(void *user, const char *line); /* may be NULL */
} cp_retrieval_plan;

typedef struct cp_retrieval_report {
    const cp_retrieval_plan *plan;
    size_t n_questions, n_patients, n_knowledge, n_documents, n_chunks;
    cp_retrieval_result modes[CP_N_RETRIEVAL_MODES];
    char embedder[128], reranker[128]; /* "qwen3-embedding-0.6b (int8, 1024 wide)"; "" for none */
    cp_scale_row scales[CP_MAX_SCALES];
    size_t n_scales;
    const char *command, *note; /* note may be NULL */
    char cpu[128], stamp[CP_CLOCK_STAMP_CAP];
} cp_retrieval_report;
/* Fills what it measures; all but command, note, cpu and stamp. */
cp_status cp_retrieval_measure(const cp_retrieval_set *set, cp_retrieval_report *report,
                               cp_error *err) CP_MUST_CHECK;
cp_status cp_retrieval_scale(const cp_retrieval_set *set, cp_retrieval_report *report,
                             cp_error *err) CP_MUST_CHECK;

/* What the two share. */
cp_status cp_retrieval_put(cp_index *index, const cp_source_doc *doc, const char *mrn,
                           const cp_chunked *chunked, cp_error *err) CP_MUST_CHECK;
/* The question as the server asks it; k passages. */
cp_retrieve_query cp_retrieval_query(const cp_set_question *question, size_t k);
/* "words.json" of the set's knowledge base. */
cp_status cp_retrieval_open(const cp_retrieval_plan *plan, const cp_retrieval_set *set,
                            cp_index *index, cp_retriever **out, cp_error *err) CP_MUST_CHECK;

void cp_retrieval_write_table(const cp_retrieval_report *report, cp_strbuf *out);
void cp_retrieval_write_json(const cp_retrieval_report *report, cp_json_writer *out);
void cp_retrieval_write_html(const cp_retrieval_report *report, cp_strbuf *out);

#endif
