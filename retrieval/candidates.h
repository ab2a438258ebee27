/* What may answer a question: chunks by their documents, weighed and put in order.
 *
 * Every hit, wherever it comes from, becomes a candidate here and only here: it must name a
 * document of the query's record or of the knowledge base, by MRN, id, kind and content, and lie
 * inside its text. So nobody else's document can be among them. For one question, in one thread. */
#ifndef CP_RETRIEVAL_CANDIDATES_H
#define CP_RETRIEVAL_CANDIDATES_H

#include "retrieval/knowledge.h"
#include "retrieval/query_terms.h"
#include "retrieval/retriever.h"

/* Names (of medicines, conditions), each as the terms of its words. */
typedef struct cp_names {
    uint64_t *terms;
    size_t n, cap;
    size_t *ends; /* [n_names] where each name's terms end */
    size_t n_names, cap_names;
} cp_names;
/* `names`: n of them, or up to NULL. NULL, 0 adds nothing. */
cp_status cp_names_add(cp_names *to, const char *const *names, size_t n, uint64_t salt,
                       cp_error *err) CP_MUST_CHECK;
void cp_names_deinit(cp_names *names);
/* How many of `a` are also in `b`; counts to `most`. */
size_t cp_names_shared(const cp_names *a, const cp_names *b, size_t most);

/* A hit as an index tells it. */
typedef struct cp_claimed_hit {
    const char *mrn, *id;
    cp_entry_kind kind;
    const cp_content_hash *hash;
    uint32_t begin, n;
} cp_claimed_hit;

typedef struct cp_candidate {
    size_t doc; /* number: the query's documents, then those of the knowledge base */
    uint32_t begin, n;
    float lexical; /* 0: not in that list */
    unsigned lexical_rank, vector_rank;
    float score;
} cp_candidate;

typedef struct cp_candidates {
    const cp_knowledge *knowledge;
    const cp_retrieve_query *query;
    cp_candidate *items;
    size_t n, cap;
    uint32_t *slots; /* [n_slots] the query's documents by id: number + 1 */
    size_t n_slots;
    size_t n_stale, n_foreign;
} cp_candidates;
cp_status cp_candidates_init(cp_candidates *c, const cp_knowledge *knowledge,
                             const cp_retrieve_query *query, cp_error *err) CP_MUST_CHECK;
void cp_candidates_deinit(cp_candidates *c);
/* A lexical score or a place among the nearest, the other 0. False without memory; a hit that does
 * not belong here is counted and dropped. */
bool cp_candidates_add_hit(cp_candidates *c, const cp_claimed_hit *hit, float lexical,
                           unsigned vector_rank) CP_MUST_CHECK;
bool cp_candidates_add(cp_candidates *c, size_t doc, uint32_t begin, uint32_t n, float lexical,
                       unsigned vector_rank) CP_MUST_CHECK;

/* Puts them in order, best first. `patient`: what the record names; about[i]: what document i of
 * the knowledge base is about. */
void cp_candidates_weigh(cp_candidates *c, const cp_names *patient, const cp_names *about);
/* The first k, at most `most` of a document. */
size_t cp_candidates_pick(const cp_candidates *c, unsigned most, cp_passage *out, size_t k);

#endif
