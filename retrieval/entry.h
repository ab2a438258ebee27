/* What is retrieved: documents as texts, cut into chunks, and what an index keeps of them.
 *
 * A document belongs to one patient (its MRN) or to nobody (MRN "", the knowledge base), and is
 * named by (MRN, id). An index keeps no text: only where each chunk begins in its document, the
 * document's content hash, hashes of the chunk's terms, and a vector where there is a model. The
 * text of a hit is taken from the record that was just read, and a hit whose content hash is not
 * that record's is stale. So nothing is ever quoted that the store would not show, and an index
 * file holds no sentence about anybody. All structs here borrow. */
#ifndef CP_RETRIEVAL_ENTRY_H
#define CP_RETRIEVAL_ENTRY_H

#include "base/strbuf.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum cp_entry_kind {
    CP_ENTRY_KNOWLEDGE,
    CP_ENTRY_DOCUMENT,
    CP_ENTRY_ENCOUNTER,
    CP_ENTRY_CLAIM,
    CP_ENTRY_CHAT,
    CP_N_ENTRY_KINDS
} cp_entry_kind;
#define CP_KIND_BIT(kind) (1u << (kind))
#define CP_ALL_KINDS      (CP_KIND_BIT(CP_N_ENTRY_KINDS) - 1)
const char *cp_entry_kind_name(cp_entry_kind kind); /* "knowledge", "document", ... */

#define CP_DOC_ID_BYTES     128 /* longest id that is indexed; longer ones are left out */
#define CP_CONTENT_HASH     16  /* the first bytes of a SHA-256 */
#define CP_MAX_VECTOR_WIDTH 4096

typedef struct cp_content_hash {
    unsigned char bytes[CP_CONTENT_HASH];
} cp_content_hash;

/* A document as people read it. Offsets of chunks and quotations count bytes of `text`. */
typedef struct cp_source_doc {
    const char *mrn; /* "": nobody's */
    const char *id, *title;
    const char *type; /* "visit_note", "red_flags", "office_visit", ... as the record says */
    const char *date; /* "YYYY-MM-DD", or "" */
    cp_entry_kind kind;
    cp_str text;
    cp_str also; /* other words for it, indexed beside the title ("topics"); may be empty */
    cp_content_hash hash; /* of kind, type, title, date, also and text: cp_source_doc_seal */
} cp_source_doc;
/* Sets doc->hash. */
cp_status cp_source_doc_seal(cp_source_doc *doc, cp_error *err) CP_MUST_CHECK;

/* A word as an index knows it: XXH3 of the folded, stemmed word, seeded with the index's salt. */
typedef struct cp_term {
    uint64_t hash;
    uint32_t count; /* in the chunk; a word of the title counts more than once */
} cp_term;

/* A vector of length 1, each value rounded to value * scale. */
typedef struct cp_vector {
    const int8_t *values; /* [width]; NULL: none */
    float scale;
} cp_vector;

typedef struct cp_chunk {
    uint32_t begin, n;    /* bytes of the document's text */
    uint32_t n_words;     /* its length, as BM25 counts it (the sum of the terms' counts) */
    const cp_term *terms; /* [n_terms], ascending by hash, each once */
    size_t n_terms;
    cp_vector vector;
} cp_chunk;

/* A document as it is put into an index: all its chunks at once. */
typedef struct cp_index_doc {
    const char *mrn, *id;
    cp_entry_kind kind;
    cp_content_hash hash;
    const cp_chunk *chunks; /* [n_chunks], at least 1, in order */
    size_t n_chunks;
} cp_index_doc;

/* What a query may return: the documents of one patient, those of nobody, or both. */
typedef struct cp_entry_filter {
    const char *mrn; /* NULL: no patient's; CP_ANY_MRN: everybody's (measurements, similar cases) */
    bool knowledge;  /* those of nobody, too */
    unsigned kinds;  /* bits of CP_KIND_BIT */
} cp_entry_filter;
#define CP_ANY_MRN "*"
/* May a document of this owner and kind be returned? For looking at results once more. */
bool cp_entry_filter_allows(const cp_entry_filter *filter, const char *mrn, cp_entry_kind kind);

#endif
