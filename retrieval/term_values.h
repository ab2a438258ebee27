/* What a question's terms are worth in an index: for scoring texts that are not in it as if they
 * were, and for the sentence that answers best. For one question, in one thread. */
#ifndef CP_RETRIEVAL_TERM_VALUES_H
#define CP_RETRIEVAL_TERM_VALUES_H

#include "retrieval/query_terms.h"
#include "retrieval/retriever.h"

typedef struct cp_term_value {
    uint64_t hash;
    float weight, idf;
    uint32_t group;
} cp_term_value;

typedef struct cp_term_values {
    cp_term_value *items; /* [n] by hash */
    size_t n, n_groups;
    float *best; /* [n_groups] scratch, zero between calls */
    uint64_t salt;
    float mean_words;
} cp_term_values;
/* `spare` [n_spare]: chunks that give the frequencies where the index is empty. */
cp_status cp_term_values_make(const cp_index_view *view, const cp_query_terms *terms, uint64_t salt,
                              const cp_chunked *spare, size_t n_spare, cp_term_values *out,
                              cp_error *err) CP_MUST_CHECK;
void cp_term_values_deinit(cp_term_values *values);

/* BM25, as the index would say it. */
float cp_score_chunk(cp_term_values *values, const cp_chunk *chunk);
/* Sets the passage's best sentence: the one whose terms are worth most, the first of equals. */
cp_status cp_best_sentence(cp_term_values *values, cp_passage *passage,
                           cp_error *err) CP_MUST_CHECK;

#endif
