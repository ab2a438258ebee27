/* A patient's record as documents: documents as they are; encounters, claims and chats written out
 * as text, the same bytes every time. */
#ifndef CP_RETRIEVAL_RECORD_DOCS_H
#define CP_RETRIEVAL_RECORD_DOCS_H

#include "retrieval/entry.h"

#include <cJSON.h>

typedef struct cp_record_docs {
    cp_source_doc *docs;  /* [n] sealed; texts are this struct's or the trees' */
    size_t n, n_left_out; /* left out: no id, one that is too long or was there before, no text */
    cp_strbuf *texts;     /* the struct's own */
    size_t n_texts;
} cp_record_docs;
/* Arrays may be NULL. The trees must outlive it. */
cp_status cp_record_docs_make(const char *mrn, const cJSON *documents, const cJSON *encounters,
                              const cJSON *claims, const cJSON *chat_logs, cp_record_docs *out,
                              cp_error *err) CP_MUST_CHECK;
void cp_record_docs_deinit(cp_record_docs *docs);

#endif
