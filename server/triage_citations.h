/* What a model's answer rests on: its citations, checked, and its claims that nothing supports; and
 * the members of the reply that say so.
 *
 * The gate itself is retrieval/citations.h. Here it gets what this answer was given, and what
 * passes it is written with the document's own words, never with the model's copy of them. Pure but
 * for memory. */
#ifndef CP_SERVER_TRIAGE_CITATIONS_H
#define CP_SERVER_TRIAGE_CITATIONS_H

#include "base/json_writer.h"
#include "server/triage_answer.h"
#include "server/triage_prompt.h"

/* What a model was given. Borrowed. All zeros where retrieval is off. */
typedef struct cp_triage_grounds {
    const cp_triage_sources *sources;
    cp_str given;                /* record, sources and questions as they stood in the prompt */
    const cp_claim_terms *terms; /* NULL: there was no prompt, and nothing is looked at */
    const cp_claim_names *names; /* of the record */
    const char *mode;            /* "lexical", "hybrid", "reranked" */
} cp_triage_grounds;

typedef struct cp_triage_support {
    cp_citation *citations;       /* [answer->n_cited] */
    cp_unsupported_claim *claims; /* [n_claims], places in answer->text */
    size_t n_claims;
    cp_support_counts counts;
} cp_triage_support;

/* Release with deinit, also after failure (CP_ERR_NO_MEMORY). */
cp_status cp_triage_support_check(const cp_triage_grounds *grounds, const cp_triage_answer *answer,
                                  cp_triage_support *out, cp_error *err) CP_MUST_CHECK;
void cp_triage_support_deinit(cp_triage_support *support);

/* "sources", "citations", "citation_check" and "unsupported_claims". */
void cp_triage_support_put(cp_json_writer *w, const cp_triage_grounds *grounds,
                           const cp_triage_answer *answer, const cp_triage_support *support);
/* A sentence for people that names what no source supports; nothing where there is nothing. */
void cp_triage_support_warn(const cp_triage_answer *answer, const cp_triage_support *support,
                            cp_strbuf *out);

/* Where a document is from, as replies say it: "record", "knowledge". */
const char *cp_source_origin(const cp_source_doc *doc);

#endif
