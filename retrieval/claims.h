/* Claims without support: sentences of an answer that name a medicine, a dose, an allergy or a
 * diagnosis which nothing that the model was given names.
 *
 * What is named is found by lists (the knowledge base's heads, the list of words, a request's own
 * names, a small built-in list), by the endings that names of medicines and inflammations have, and
 * by form (number and unit, "allergic to ..."). Case, plural and Unicode forms are alike, and so
 * are the names of one group of the list of words (acetaminophen, paracetamol). A mention is a
 * mention: "do not take ibuprofen" is marked when no given text names ibuprofen, for the reader
 * should see that the model brought it from elsewhere. Marked does not mean wrong, and unmarked
 * does not mean right. Terms are immutable once created: any thread. */
#ifndef CP_RETRIEVAL_CLAIMS_H
#define CP_RETRIEVAL_CLAIMS_H

#include "retrieval/knowledge.h"

typedef enum cp_claim_kind {
    CP_CLAIM_MEDICINE,
    CP_CLAIM_ALLERGY,
    CP_CLAIM_DOSE, /* any number with a medical unit, laboratory values too; "twice daily" */
    CP_CLAIM_DIAGNOSIS,
    CP_N_CLAIM_KINDS
} cp_claim_kind;
const char *cp_claim_kind_name(cp_claim_kind kind); /* "medicine", ... */

typedef struct cp_unsupported_claim {
    cp_claim_kind kind;
    size_t begin, n;           /* the sentence, bytes of the answer */
    size_t term_begin, term_n; /* the medicine, dose, ... in it */
} cp_unsupported_claim;

typedef struct cp_claim_terms cp_claim_terms; /* names of medicines, allergens and diagnoses */
/* From the knowledge base (NULL: none) and the list of words (NULL: none). */
cp_status cp_claim_terms_create(const cp_knowledge *knowledge, const char *words_path,
                                cp_claim_terms **out, cp_error *err) CP_MUST_CHECK;
void cp_claim_terms_free(cp_claim_terms *terms); /* NULL is allowed */

/* Names of one request, as its record has them, without doses. */
typedef struct cp_claim_names {
    const char *const *medicines, *const *allergens, *const *conditions;
    size_t n_medicines, n_allergens, n_conditions;
} cp_claim_names;

/* Sentences of `answer` that name what none of the texts that the model was given (`given`: record
 * summary, passages, question, rules' words) names. A dose needs its number and unit beside the
 * same medicine. Each name once a sentence, in the answer's order. `own` may be NULL.
 * *claims: free(). */
cp_status cp_claims_check(const cp_claim_terms *terms, const cp_claim_names *own, cp_str answer,
                          const cp_str *given, size_t n_given, cp_unsupported_claim **claims,
                          size_t *n, cp_error *err) CP_MUST_CHECK;

#endif
