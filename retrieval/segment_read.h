/* A segment as it is read: an image in memory or a mapped file, immutable, counted.
 *
 * Opening checks the directory parts as a whole (checksums, order, bounds); postings and groups of
 * vectors are checked when they are first used, so that a large segment opens at once and yet no
 * byte is believed that was not checked. Offsets are looked at again where they are used: a mapped
 * file that is cut reads as zeros (base/file.h), never as a crash. Any thread. */
#ifndef CP_RETRIEVAL_SEGMENT_READ_H
#define CP_RETRIEVAL_SEGMENT_READ_H

#include "retrieval/segment_format.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct cp_segment cp_segment;
/* CP_ERR_NOT_FOUND, or CP_ERR_FORMAT with what is damaged. */
cp_status cp_segment_open_file(const char *path, cp_segment **out, cp_error *err) CP_MUST_CHECK;
/* Takes the image (aligned to a cache line, freed with the segment, also after a failure). It is
 * one that we just wrote or whose checksum was right: postings and vectors are not checked again.
 */
cp_status cp_segment_open_image(unsigned char *image, size_t n_bytes, const char *name,
                                cp_segment **out, cp_error *err) CP_MUST_CHECK;
cp_segment *cp_segment_hold(cp_segment *segment);
void cp_segment_release(cp_segment *segment); /* NULL is allowed */

const cp_segment_header *cp_segment_head(const cp_segment *segment);
/* Every byte and every number, at once. */
cp_status cp_segment_verify(const cp_segment *segment, cp_error *err) CP_MUST_CHECK;
/* CP_ERR_IO when the mapped file was cut and what it lost was read. */
cp_status cp_segment_check_whole(const cp_segment *segment, cp_error *err) CP_MUST_CHECK;

/* ---- documents and chunks ---------------------------------------------------------------------
 */

/* i < n_docs. A document whose numbers are damaged has no chunks. */
typedef struct cp_segment_doc_view {
    const char *mrn, *id;
    cp_entry_kind kind;
    uint32_t first, n_chunks;
    cp_content_hash hash;
} cp_segment_doc_view;
cp_segment_doc_view cp_segment_doc_at(const cp_segment *segment, uint32_t i);
/* number < n_chunks. */
typedef struct cp_segment_chunk_view {
    uint32_t doc, begin, n, n_words;
    cp_vector vector; /* not checked yet */
} cp_segment_chunk_view;
cp_segment_chunk_view cp_segment_chunk_at(const cp_segment *segment, uint32_t number);
/* The document's number; n_docs when it is not there. */
uint32_t cp_segment_find(const cp_segment *segment, const char *mrn, const char *id);

/* A run of numbers or documents, [begin, end). */
typedef struct cp_run {
    uint32_t begin, end;
} cp_run;
cp_run cp_segment_docs_of(const cp_segment *segment, const char *mrn);
/* The chunks of a run of documents. */
cp_run cp_segment_chunks_of(const cp_segment *segment, cp_run docs);

/* ---- vectors ----------------------------------------------------------------------------------
 */

const int8_t *cp_segment_vectors(const cp_segment *segment); /* [n_chunks, width] */
const float *cp_segment_scales(const cp_segment *segment);   /* [n_chunks] */
/* Checks what a run is made of, where that was not done before. */
cp_status cp_segment_check_vectors(const cp_segment *segment, cp_run run,
                                   cp_error *err) CP_MUST_CHECK;

/* ---- postings ---------------------------------------------------------------------------------
 */

typedef struct cp_postings {
    const unsigned char *bytes;
    uint32_t n_bytes, df, n_blocks;
    uint32_t n_chunks; /* every number is below */
} cp_postings;
/* df 0 where nobody has the word. */
cp_status cp_segment_postings(const cp_segment *segment, uint64_t hash, cp_postings *out,
                              cp_error *err) CP_MUST_CHECK;
/* The i-th word's, i < n_terms. */
cp_status cp_segment_postings_at(const cp_segment *segment, uint32_t i, cp_postings *out,
                                 cp_error *err) CP_MUST_CHECK;
uint64_t cp_segment_hash_at(const cp_segment *segment, uint32_t i);
/* The document frequency alone. */
uint32_t cp_segment_df(const cp_segment *segment, uint64_t hash);
const uint32_t *cp_segment_words(const cp_segment *segment); /* n_words of each chunk */

/* The last block that begins at or before `number`; 0 where there is none. */
uint32_t cp_postings_seek(const cp_postings *postings, uint32_t number);
/* Numbers ascending, all below n_chunks, and counts, at most CP_POSTINGS_BLOCK; returns how many, 0
 * for a damaged block. */
size_t cp_postings_block(const cp_postings *postings, uint32_t block, uint32_t *numbers,
                         uint32_t *counts);

#endif
