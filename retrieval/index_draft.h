/* What was put and removed since the last commit, in memory; a commit makes a segment and a list of
 * removed documents of it. One thread. */
#ifndef CP_RETRIEVAL_INDEX_DRAFT_H
#define CP_RETRIEVAL_INDEX_DRAFT_H

#include "retrieval/segment_write.h"

#include <stdbool.h>

typedef struct cp_index_draft cp_index_draft;
cp_status cp_index_draft_create(size_t width, cp_index_draft **out, cp_error *err) CP_MUST_CHECK;
void cp_index_draft_free(cp_index_draft *draft); /* NULL is allowed */

/* Both leave the draft as it was when they fail. CP_ERR_USAGE: the document breaks the contract of
 * retrieval/entry.h. */
cp_status cp_index_draft_put(cp_index_draft *draft, const cp_index_doc *doc,
                             cp_error *err) CP_MUST_CHECK;
cp_status cp_index_draft_remove(cp_index_draft *draft, const char *mrn, const char *id,
                                cp_error *err) CP_MUST_CHECK;
bool cp_index_draft_is_empty(const cp_index_draft *draft);
void cp_index_draft_clear(cp_index_draft *draft);

/* The last word on each document: those that are put as a segment's image (*image NULL: none),
 * those that are removed as "MRN\0id\0" one after another. The draft stays. */
cp_status cp_index_draft_make(const cp_index_draft *draft, const cp_segment_about *about,
                              unsigned char **image, size_t *n_image, cp_strbuf *removed,
                              cp_error *err) CP_MUST_CHECK;

#endif
