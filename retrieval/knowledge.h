/* The knowledge base: documents of a folder of Markdown files (data/knowledge/README.md has the
 * form), read once and kept. A file that breaks the form refuses the whole folder and names file,
 * line and what was expected. */
#ifndef CP_RETRIEVAL_KNOWLEDGE_H
#define CP_RETRIEVAL_KNOWLEDGE_H

#include "retrieval/entry.h"

typedef struct cp_knowledge cp_knowledge;
/* Every *.md of `dir` but README.md. CP_ERR_NOT_FOUND: there is no such folder. */
cp_status cp_knowledge_open(const char *dir, cp_knowledge **out, cp_error *err) CP_MUST_CHECK;
/* One without documents. */
cp_status cp_knowledge_make_empty(cp_knowledge **out, cp_error *err) CP_MUST_CHECK;
void cp_knowledge_close(cp_knowledge *knowledge); /* NULL is allowed */
size_t cp_knowledge_n(const cp_knowledge *knowledge);
const cp_source_doc *cp_knowledge_doc(const cp_knowledge *knowledge, size_t i);
const cp_source_doc *cp_knowledge_find(const cp_knowledge *knowledge, const char *id); /* or NULL */
/* What else the file's head says of document i. */
typedef struct cp_knowledge_about {
    const char *source;                               /* guidance that the facts follow */
    const char *reviewed_by;                          /* NULL: nobody */
    const char *const *conditions, *const *medicines; /* NULL-terminated */
} cp_knowledge_about;
cp_knowledge_about cp_knowledge_about_doc(const cp_knowledge *knowledge, size_t i);

#endif
