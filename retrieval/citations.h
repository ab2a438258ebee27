/* The gate between a model's citations and the reply: nobody cites what is not there.
 *
 * A quotation is looked for in the passages that the model was shown, after folding both sides
 * (retrieval/fold.h). What is found leaves with the exact span of the original text; what is not,
 * does not leave. Pure but for memory; any thread.
 *
 * The rules:
 * - Exact after folding, on borders of words and numbers: "5 mg" does not stand in "25 mg", "0.5
 *   mg", "5-10 mg" or "5 mg/kg".
 * - Within what was shown: bytes [passage.begin, + passage.n) of the document.
 * - Not robbed of a "not": a quotation that begins within three words behind a negation of the same
 *   clause, or ends right before one, is absent.
 * - Full stops, commas and quotation marks around a quotation need not be there, nor an ellipsis,
 *   nor the "> " of quoted lines.
 * - An ellipsis inside ("...", "[...]") shortens honestly when the parts stand in order in one
 *   passage, at most CP_CITATION_GAP folded bytes apart: verbatim, and the span covers what was
 * left out, too.
 * - Under 3 words or 12 bytes it is short: it counts in the named passage alone, and only as a
 *   number with its word ("INR 2.4") or as a whole sentence or line ("All normal.").
 * - Stitched is a quotation all of whose words stand in pieces of three words and more. Where one
 *   word is changed or invented, it is absent as a whole. */
#ifndef CP_RETRIEVAL_CITATIONS_H
#define CP_RETRIEVAL_CITATIONS_H

#include "retrieval/claims.h"
#include "retrieval/retriever.h"

#define CP_CITATION_GAP   300
#define CP_CITATION_BYTES 4096 /* longest quotation, folded; a longer one is absent */

typedef enum cp_citation_verdict {
    CP_CITATION_VERBATIM,      /* stands in the passage it names: kept */
    CP_CITATION_MISATTRIBUTED, /* stands in another retrieved passage: kept, named rightly */
    CP_CITATION_STITCHED, /* pieces that stand far apart: the longest whole piece is kept where it
                             is long enough to mean something (4 words, 20 bytes), else removed */
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
    bool claim_supported; /* the claim's medicines, doses, allergies and diagnoses stand in the kept
                             span's passage; false when not kept */
} cp_citation;
/* What became of an answer's citations and claims, for counting. */
typedef struct cp_support_counts {
    size_t citations[CP_N_CITATION_VERDICTS], kept;
    size_t claims[CP_N_CLAIM_KINDS]; /* unsupported ones */
} cp_support_counts;

/* out[n] in the order of claimed[n]. `terms`, `own`: as in retrieval/claims.h, own may be NULL. */
cp_status cp_citations_check(const cp_passage *passages, size_t n_passages,
                             const cp_claim_terms *terms, const cp_claim_names *own,
                             const cp_citation_claimed *claimed, size_t n, cp_citation *out,
                             cp_error *err) CP_MUST_CHECK;

#endif
