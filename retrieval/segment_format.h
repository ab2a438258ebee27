/* A segment's bytes: what retrieval/segment_write writes and retrieval/segment_read believes only
 * after it has checked it. Little-endian, as every machine we run on.
 *
 *     header | vectors | postings | terms | docs | chunks | words | scales | vector checks |
 * strings
 *
 * Sections begin at multiples of 64 bytes. Entries (chunks) are numbered in the order of (MRN, id,
 * place in the document), compared as bytes; a document's chunks are one run of numbers, so are a
 * patient's, and those of nobody (MRN "") are the first run.
 *
 * Checksums are XXH3. Header, terms, docs, chunks, words, scales, vector checks and strings are
 * checked when a segment is opened; postings of a term and groups of vectors, which are large, when
 * they are first used. The postings of a term:
 *
 *     {u32 first number, u32 offset of the block} for each block of 128 | blocks
 *     block: u8 widths (low 4 bits: of a delta, high 4: of a count; 1, 2 or 4 bytes)
 *            deltas to the number before [n - 1] | counts [n]
 */
#ifndef CP_RETRIEVAL_SEGMENT_FORMAT_H
#define CP_RETRIEVAL_SEGMENT_FORMAT_H

#include "retrieval/entry.h"

#define CP_SEGMENT_MAGIC      0x31676573786469ull /* "idxseg1" */
#define CP_SEGMENT_VERSION    1u
#define CP_SEGMENT_ALIGN      64u
#define CP_SEGMENT_MODEL_CAP  128
#define CP_SEGMENT_MAX_CHUNKS (1u << 28)
#define CP_POSTINGS_BLOCK     128u
#define CP_BLOCK_HEAD_BYTES   8u
#define CP_VECTORS_GROUP      64u /* vectors that share a checksum */
#define CP_MAX_MRN_BYTES      63

typedef enum cp_segment_part {
    CP_PART_VECTORS,       /* int8 [n_chunks, width] */
    CP_PART_POSTINGS,      /* bytes */
    CP_PART_TERMS,         /* cp_segment_term [n_terms], ascending by hash */
    CP_PART_DOCS,          /* cp_segment_doc [n_docs], ascending by (MRN, id) */
    CP_PART_CHUNKS,        /* cp_segment_chunk [n_chunks] */
    CP_PART_WORDS,         /* u32 [n_chunks] */
    CP_PART_SCALES,        /* float [n_chunks], 0: no vector; empty when width is 0 */
    CP_PART_VECTOR_CHECKS, /* u64 [n_chunks / 64, rounded up]; empty when width is 0 */
    CP_PART_STRINGS,       /* NUL-terminated; at least one NUL */
    CP_N_SEGMENT_PARTS
} cp_segment_part;

typedef struct cp_segment_section {
    uint64_t at, n_bytes;
    uint64_t check; /* 0 for vectors and postings */
} cp_segment_section;

typedef struct cp_segment_term {
    uint64_t hash, at; /* of its postings in their section */
    uint32_t n_bytes, df;
    uint32_t check; /* of the postings, its low half */
    uint32_t reserved;
} cp_segment_term;

typedef struct cp_segment_doc {
    uint32_t mrn, id; /* offsets of strings */
    uint32_t first, n_chunks, kind;
    cp_content_hash hash;
} cp_segment_doc;

typedef struct cp_segment_chunk {
    uint32_t doc, begin, n;
} cp_segment_chunk;

typedef struct cp_segment_header {
    uint64_t magic;
    uint32_t version, width;
    uint64_t n_bytes; /* of the whole segment */
    uint64_t salt;
    uint64_t number;     /* N of segment-N; 0 in memory and in a tail */
    uint64_t generation; /* of the index when it was written */
    uint64_t n_postings, n_words;
    uint32_t n_docs, n_chunks, n_terms, n_vectors;
    char model[CP_SEGMENT_MODEL_CAP]; /* NUL-terminated */
    cp_segment_section sections[CP_N_SEGMENT_PARTS];
    uint64_t check; /* of all before it */
} cp_segment_header;

_Static_assert(sizeof(cp_segment_term) == 32, "no padding");
_Static_assert(sizeof(cp_segment_doc) == 36, "no padding");
_Static_assert(sizeof(cp_segment_chunk) == 12, "no padding");
_Static_assert(sizeof(cp_segment_header) ==
                   64 + 16 + CP_SEGMENT_MODEL_CAP + 24 * CP_N_SEGMENT_PARTS + 8,
               "no padding");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "segments are little-endian");

#endif
