/* Writes a segment: documents in order, then terms in order, to a file or to memory.
 *
 * Vectors and postings go out as they come; what describes them is kept until the end. A failure is
 * kept, too, and told by cp_segment_writer_finish; calls after it do nothing. One thread. */
#ifndef CP_RETRIEVAL_SEGMENT_WRITE_H
#define CP_RETRIEVAL_SEGMENT_WRITE_H

#include "retrieval/segment_format.h"

/* What stays the same in all segments of an index, and this one's place in it. */
typedef struct cp_segment_about {
    uint64_t salt, number, generation;
    uint32_t width;
    const char *model;
} cp_segment_about;

typedef struct cp_posting {
    uint32_t number, count;
} cp_posting;

typedef struct cp_segment_writer cp_segment_writer;
/* fd: an empty file, borrowed, with `path` for errors; or -1: memory. */
cp_status cp_segment_writer_create(const cp_segment_about *about, int fd, const char *path,
                                   cp_segment_writer **out, cp_error *err) CP_MUST_CHECK;
void cp_segment_writer_free(cp_segment_writer *writer); /* NULL is allowed */

/* Ascending by (MRN, id), each followed by its chunks, at least one. */
void cp_segment_writer_doc(cp_segment_writer *writer, const char *mrn, const char *id,
                           cp_entry_kind kind, const cp_content_hash *hash);
void cp_segment_writer_chunk(cp_segment_writer *writer, uint32_t begin, uint32_t n,
                             uint32_t n_words, cp_vector vector);
/* After all documents, ascending by hash; postings [n] ascending by number, n at least 1. */
void cp_segment_writer_term(cp_segment_writer *writer, uint64_t hash, const cp_posting *postings,
                            size_t n);
/* In memory: *image, aligned to a cache line, free(). A file is complete, but not synced. Both are
 * NULL for a file. */
cp_status cp_segment_writer_finish(cp_segment_writer *writer, unsigned char **image,
                                   size_t *n_bytes, cp_error *err) CP_MUST_CHECK;

#endif
