/* A consistent state of an index: a list of segments and which of their documents are dead.
 *
 * The first part is what the last compaction made; the others are what was committed since, each
 * smaller than half the one before (they are merged as they come), so there are few. A view never
 * changes; a commit makes the next one. Numbers of entries go through the parts in order. Views and
 * what they hold are counted; any thread may read, hold and release them. */
#ifndef CP_RETRIEVAL_INDEX_VIEW_H
#define CP_RETRIEVAL_INDEX_VIEW_H

#include "retrieval/index.h"
#include "retrieval/segment_read.h"
#include "retrieval/segment_write.h"

#include <stdatomic.h>

/* Documents of one segment that were replaced or removed. */
typedef struct cp_dead {
    atomic_uint refs;
    uint32_t n_docs, n_chunks, n_vectors;
    uint64_t bits[]; /* [n_docs of the segment] */
} cp_dead;

typedef struct cp_view_part {
    cp_segment *segment;
    cp_dead *dead; /* NULL: none */
    uint32_t base; /* number of its first entry */
} cp_view_part;

struct cp_index_view {
    atomic_uint refs;
    uint64_t generation;
    size_t tail_bytes;
    uint64_t n_words;
    uint32_t n_entries; /* dead ones, too */
    size_t n_parts;
    cp_view_part parts[];
};

/* A view of one segment, which it holds. */
cp_status cp_index_view_first(cp_segment *segment, cp_index_view **out,
                              cp_error *err) CP_MUST_CHECK;
cp_index_view *cp_index_view_hold(cp_index_view *view);
/* The state after a commit: `added` (NULL: nothing, else held by the new view) replaces documents
 * of its names, those in `removed` ("MRN\0id\0"...) go. Small parts are merged. */
cp_status cp_index_view_next(const cp_index_view *view, cp_segment *added, cp_str removed,
                             cp_index_view **out, cp_error *err) CP_MUST_CHECK;

static inline bool cp_dead_has(const cp_dead *dead, uint32_t doc) {
    return dead && (dead->bits[doc / 64] >> doc % 64 & 1);
}

/* The living documents of `parts` into one segment (retrieval/segment_merge.c). */
cp_status cp_segments_merge(const cp_view_part *parts, size_t n_parts, cp_segment_writer *writer,
                            cp_error *err) CP_MUST_CHECK;

#endif
