/* A segment and its tail on the disk: made by a compaction, read by everybody. */
#ifndef CP_RETRIEVAL_INDEX_PAIR_H
#define CP_RETRIEVAL_INDEX_PAIR_H

#include "retrieval/index_folder.h"
#include "retrieval/index_tail.h"
#include "retrieval/index_view.h"

typedef struct cp_index_pair {
    uint64_t number;
    cp_index_tail tail;
    cp_index_view *view; /* of all that was committed */
} cp_index_pair;

/* Opens segment-N and tail-N and takes in the tail's frames. CP_ERR_NOT_FOUND: one is not there.
 * For writing, an unfinished frame is cut off. */
cp_status cp_index_pair_open(const char *dir, uint64_t number, bool write, cp_index_pair *out,
                             cp_error *err) CP_MUST_CHECK;
/* Writes a new pair: the living documents of `parts` [n], and no frame. It is on the disk, but
 * counts only once `current` names it. */
cp_status cp_index_pair_write(const char *dir, const cp_segment_about *about,
                              const cp_view_part *parts, size_t n, cp_index_pair *out,
                              cp_error *err) CP_MUST_CHECK;
void cp_index_pair_close(cp_index_pair *pair);

/* Frames that were added behind what the pair has: its view is replaced, once for all of them. */
cp_status cp_index_pair_take_in(cp_index_pair *pair, cp_error *err) CP_MUST_CHECK;

#endif
