/* A question as the lexical search asks it: terms with weights, in groups of which the best counts.
 *
 * Words as they are asked; what a misspelled one may have meant; what everyday names stand for.
 * Pure but for memory. */
#ifndef CP_RETRIEVAL_QUERY_TERMS_H
#define CP_RETRIEVAL_QUERY_TERMS_H

#include "retrieval/index.h"
#include "retrieval/everyday_names.h"

#define CP_MAX_QUERY_WORDS 400 /* words of a question that are looked at */

typedef struct cp_query_terms {
    cp_query_term *items; /* each hash once; by group */
    size_t n, cap;
    uint32_t n_groups;
} cp_query_terms;

typedef struct cp_query_words {
    uint64_t salt;
    const cp_known_words *known;   /* public words */
    const cp_everyday_names *list; /* NULL: none */
    const cp_source_doc *docs;     /* [n_docs] whose words count as spelled right, too */
    size_t n_docs;
} cp_query_words;
cp_status cp_query_terms_make(const cp_query_words *with, cp_str question, cp_query_terms *out,
                              cp_error *err) CP_MUST_CHECK;
/* A term more, in a group of its own, where it is not there yet. False without memory. */
bool cp_query_terms_add(cp_query_terms *terms, uint64_t hash, float weight) CP_MUST_CHECK;
void cp_query_terms_deinit(cp_query_terms *terms);

#endif
