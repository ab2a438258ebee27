/* The local index: BM25 postings and int8 vectors of documents, in one folder, mapped into memory.
 *
 *     INDEX_DIR/segment-N  immutable: entries ordered by (MRN, id, chunk), so that a patient's are
 *                          one run and those of nobody the first; words, postings, vectors
 *     INDEX_DIR/tail-N     append-only: what each commit since put and removed, one checksummed
 *                          frame a commit
 *     INDEX_DIR/current    which N counts
 *
 * One process writes (a lock sees to it), many read at the same time. What cp_index_commit has
 * acknowledged is on the disk, whatever is killed after; a torn last frame is cut off at the next
 * opening for writing and passed over by readers. Compaction writes a new pair beside the old one
 * and renames `current`. Readers look for new frames and pairs with cp_index_refresh.
 *
 * Queries work on a view: one consistent state, kept until it is released, whatever is written
 * meanwhile. An index without a folder lives in memory and is the same otherwise. Any thread may
 * take and use views; putting, committing, compacting and refreshing are for one thread at a time
 * (a lock inside makes views safe against them). Files are hostile: every number in them is
 * checked. */
#ifndef CP_RETRIEVAL_INDEX_H
#define CP_RETRIEVAL_INDEX_H

#include "retrieval/entry.h"

#include <stdbool.h>

typedef struct cp_index cp_index;
typedef struct cp_index_view cp_index_view;

typedef struct cp_index_options {
    const char *dir; /* NULL: in memory, writable */
    bool write;      /* take the writer's lock (CP_ERR_BUSY: somebody has it), make it if absent */
    size_t width;    /* of vectors, 0: none. When opened to read: 0 takes what is there */
    const char *model; /* what made the vectors ("" for none); an index of another model or width is
                          refused with a sentence that says to ingest anew */
    size_t tail_bytes; /* cp_index_commit compacts once the tail is larger; 0: 16 MiB or a quarter
                          of the segment, whichever is more. Also once a third of it is dead */
} cp_index_options;
/* CP_ERR_NOT_FOUND: to read, and there is none. */
cp_status cp_index_open(const cp_index_options *options, cp_index **out,
                        cp_error *err) CP_MUST_CHECK;
/* What was not committed is dropped. All views must have been released. NULL is allowed. */
void cp_index_close(cp_index *index);
uint64_t cp_index_salt(const cp_index *index); /* of cp_term.hash */
size_t cp_index_width(const cp_index *index);  /* 0: no vectors */
const char *cp_index_model(const cp_index *index);

/* Puts a document in the place of the one with its (MRN, id). Seen by nobody before the commit. */
cp_status cp_index_put(cp_index *index, const cp_index_doc *doc, cp_error *err) CP_MUST_CHECK;
/* CP_OK also where there is none. */
cp_status cp_index_remove(cp_index *index, const char *mrn, const char *id,
                          cp_error *err) CP_MUST_CHECK;
/* All of it is on the disk, and in the next view. After a failure nothing of it is, and what was
 * put waits for the next try. A compaction that fails does not fail the commit. */
cp_status cp_index_commit(cp_index *index, cp_error *err) CP_MUST_CHECK;
cp_status cp_index_compact(cp_index *index, cp_error *err) CP_MUST_CHECK;
/* For readers: takes in what a writer has committed since. Cheap when there is nothing new. */
cp_status cp_index_refresh(cp_index *index, cp_error *err) CP_MUST_CHECK;

cp_index_view *cp_index_view_take(cp_index *index);
void cp_index_view_release(cp_index_view *view);

typedef struct cp_index_stats {
    size_t n_docs, n_chunks, n_dead; /* dead: replaced or removed, until compaction */
    size_t n_terms, n_postings, n_vectors;
    size_t segment_bytes, tail_bytes;
    uint64_t generation; /* grows with every commit and compaction */
} cp_index_stats;
cp_index_stats cp_index_view_stats(const cp_index_view *view);

/* A chunk in a view, by the number that hits carry. Borrowed from the view. */
typedef struct cp_index_item {
    const char *mrn, *id;
    cp_entry_kind kind;
    cp_content_hash hash;
    uint32_t chunk, begin, n, n_words;
    cp_vector vector;
} cp_index_item;
cp_index_item cp_index_view_item(const cp_index_view *view, uint32_t number);
/* Reads all of it: every checksum and every number. What is damaged is named. */
cp_status cp_index_view_verify(const cp_index_view *view, cp_error *err) CP_MUST_CHECK;

typedef struct cp_hit {
    uint32_t number;
    float score;
} cp_hit;

typedef struct cp_query_term {
    uint64_t hash;
    float weight;   /* 1 for a word that was asked, less for one that may stand for it */
    uint32_t group; /* terms of a group are ways to say one thing: the best of them counts */
} cp_query_term;

/* BM25 (k1, b): the best k chunks that the filter lets through, best first; ties by number. Returns
 * how many. Document frequencies are those of the whole index, dead entries counted until they are
 * merged away. CP_ERR_FORMAT, CP_ERR_IO: what is needed of the file is damaged or cut. Where a
 * filter names a patient, only that patient's run of postings is read. */
cp_status cp_index_view_lexical(const cp_index_view *view, const cp_entry_filter *filter,
                                const cp_query_term *terms, size_t n_terms, size_t k, cp_hit *hits,
                                size_t *n_hits, cp_error *err) CP_MUST_CHECK;
/* Cosine, exact: every vector that the filter lets through is compared, with up to n_threads (at
 * least 1). The query has the index's width; k is at most CP_VECTOR_MAX_HITS
 * (engine/vector_search.h), more is CP_ERR_USAGE. Errors as above. */
cp_status cp_index_view_nearest(const cp_index_view *view, const cp_entry_filter *filter,
                                cp_vector query, size_t n_threads, size_t k, cp_hit *hits,
                                size_t *n_hits, cp_error *err) CP_MUST_CHECK;
/* log(1 + (N - df + 0.5) / (df + 0.5)) of a term, and the mean length of a chunk: for scoring a
 * text that is not in the index as if it were. */
float cp_index_view_idf(const cp_index_view *view, uint64_t hash);
float cp_index_view_mean_words(const cp_index_view *view);

/* Is this document there, with this content? Vectors apart. */
typedef enum cp_indexed { CP_INDEXED_NOT, CP_INDEXED_STALE, CP_INDEXED_FRESH } cp_indexed;
cp_indexed cp_index_view_has(const cp_index_view *view, const char *mrn, const char *id,
                             const cp_content_hash *hash);
/* Each document once; mrn NULL: all. False from `visit` ends it. */
typedef struct cp_indexed_doc {
    const char *mrn, *id;
    cp_entry_kind kind;
    cp_content_hash hash;
    size_t n_chunks;
    bool has_vectors; /* every chunk */
} cp_indexed_doc;
void cp_index_view_each(const cp_index_view *view, const char *mrn,
                        bool (*visit)(void *user, const cp_indexed_doc *doc), void *user);

/* BM25's constants and the score of one term in one chunk, for both sides. */
#define CP_BM25_K1 1.2f
#define CP_BM25_B  0.75f
static inline float cp_bm25(float idf, float count, float n_words, float mean_words) {
    float norm = CP_BM25_K1 * (1 - CP_BM25_B + CP_BM25_B * n_words / mean_words);
    return idf * count * (CP_BM25_K1 + 1) / (count + norm);
}

#endif
