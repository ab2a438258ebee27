/* The gate between a model's citations and the reply: nobody cites what is not there.
 *
 * A quotation is looked for in the passages that the model was shown, after folding both sides
 * (Unicode NFKC and case, quotation marks and dashes of every form, runs of white space, what
 * nobody sees). What is found leaves with the exact span of the original text; what is not, does
 * not leave. Pure but for memory; any thread. */
#ifndef CP_RETRIEVAL_CITATIONS_H
#define CP_RETRIEVAL_CITATIONS_H

#include "retrieval/retriever.h"

typedef enum cp_citation_verdict {
    CP_CITATION_VERBATIM,      /* stands in the passage it names: kept */
    CP_CITATION_MISATTRIBUTED, /* stands in another retrieved passage: kept, named rightly */
    CP_CITATION_STITCHED, /* pieces that stand far apart: the longest whole piece is kept where it
                             is long enough to mean something, else removed */
    CP_CITATION_ABSENT,   /* stands nowhere: removed */
    CP_N_CITATION_VERDICTS
} cp_citation_verdict;
const char *cp_citation_verdict_name(cp_citation_verdict verdict); /* "verbatim", ... */

/* What the model wrote. */
typedef struct cp_citation_claimed {
    size_t source; /* place of the passage it names, from 0; any number */
    cp_str quote, claim, why;
} cp_citation_claimed;

typedef struct cp_citation {
    cp_citation_verdict verdict;
    bool kept;
    size_t passage;       /* where it really stands; when kept */
    size_t begin, n;      /* bytes of that passage's document's text; when kept */
    bool claim_supported; /* the claim's medicines, doses and diagnoses stand in the kept span's
                             passage */
} cp_citation;
/* out[n] in the order of claimed[n]. */
cp_status cp_citations_check(const cp_passage *passages, size_t n_passages,
                             const cp_citation_claimed *claimed, size_t n, cp_citation *out,
                             cp_error *err) CP_MUST_CHECK;

/* ---- claims without support ------------------------------------------------------------------ */

typedef enum cp_claim_kind {
    CP_CLAIM_MEDICINE,
    CP_CLAIM_ALLERGY,
    CP_CLAIM_DOSE,
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
/* From the knowledge base and the list of words; more may be added for a request. */
cp_status cp_claim_terms_create(const cp_knowledge *knowledge, const char *words_path,
                                cp_claim_terms **out, cp_error *err) CP_MUST_CHECK;
void cp_claim_terms_free(cp_claim_terms *terms);

/* Sentences of `answer` that name a medicine, a dose, an allergy or a diagnosis which none of the
 * texts that the model was given (`given`: record summary, passages, question, rules' words) names.
 * A dose needs its number and unit beside the same medicine. *claims: free(). */
cp_status cp_claims_check(const cp_claim_terms *terms, cp_str answer, const cp_str *given,
                          size_t n_given, cp_unsupported_claim **claims, size_t *n,
                          cp_error *err) CP_MUST_CHECK;

#endif
