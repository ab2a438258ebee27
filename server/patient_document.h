/* One document as people read it, with the span that an answer cites: a document, encounter, claim
 * or chat of the patient's record, or one of the knowledge base.
 *
 *     {"mrn", "id", "from", "type", "title", "date", "text",
 *      "span": {"start", "end", "before", "quote", "after"}}
 *
 * Offsets count bytes of the text in UTF-8, as citations do; "span" stands there where the query
 * asks for it with start=N&end=M. */
#ifndef CP_SERVER_PATIENT_DOCUMENT_H
#define CP_SERVER_PATIENT_DOCUMENT_H

#include "retrieval/knowledge.h"
#include "server/http_reply.h"
#include "server/patient_record.h"

/* Appends it to `out`; false with the error when there is none of this id, or the span is none of
 * it. */
bool cp_patient_document_append(const cp_patient_record *record, const cp_knowledge *knowledge,
                                const char *id, const char *query, cp_strbuf *out,
                                cp_api_error *error) CP_MUST_CHECK;

#endif
