/* The tail of an index: a file to which every commit adds one frame.
 *
 *     head, 64 bytes | frame | frame | ...
 *     frame: head, 64 bytes | removed "MRN\0id\0"..., zeros to 64 bytes | a segment's image, or
 * nothing
 *
 * A frame's head has a checksum and knows its place, the body has another: half a frame, an old one
 * or one of another index never counts. A frame is on the disk before its commit is acknowledged.
 * One thread. */
#ifndef CP_RETRIEVAL_INDEX_TAIL_H
#define CP_RETRIEVAL_INDEX_TAIL_H

#include "base/strbuf.h"

#include <stdint.h>

#define CP_TAIL_HEAD_BYTES  64u
#define CP_TAIL_MAX_REMOVED ((size_t)1 << 28)

typedef struct cp_index_tail {
    int fd; /* -1: none */
    char *path;
    uint64_t salt, number;
    uint64_t end;              /* of the frames that were read or written */
    uint64_t last, last_check; /* the last frame's place (0: none) and its head's checksum */
    bool broken;               /* a failed frame could not be taken back: nothing more is written */
} cp_index_tail;

/* Both leave *tail closed after a failure. Takes over fd, an empty file; its head is on the disk
 * then. */
cp_status cp_index_tail_begin(int fd, const char *path, uint64_t salt, uint64_t number,
                              cp_index_tail *tail, cp_error *err) CP_MUST_CHECK;
cp_status cp_index_tail_open(const char *path, uint64_t salt, uint64_t number, bool write,
                             cp_index_tail *tail, cp_error *err) CP_MUST_CHECK;
void cp_index_tail_close(cp_index_tail *tail);

/* The frame at tail->end, if a whole one is there; then end is behind it. *more false: there is
 * none. *image: free(), NULL where the frame has none; `removed` is initialised by the caller. */
cp_status cp_index_tail_read(cp_index_tail *tail, bool *more, unsigned char **image,
                             size_t *n_image, cp_strbuf *removed, cp_error *err) CP_MUST_CHECK;
/* Whether the file has grown; and whether the last frame that was read is still there (a writer
 * whose disk was full may have taken it back). */
bool cp_index_tail_has_grown(const cp_index_tail *tail);
bool cp_index_tail_is_same(const cp_index_tail *tail);
/* Whether another file has its name: the folder was emptied and filled anew. */
bool cp_index_tail_is_replaced(const cp_index_tail *tail);
/* After the last frame: nothing, or one that was not finished, which is cut off for writing. A
 * whole frame behind something else is damage: CP_ERR_FORMAT. */
cp_status cp_index_tail_mend(cp_index_tail *tail, bool write, cp_error *err) CP_MUST_CHECK;

/* On the disk when it returns CP_OK; taken back otherwise. */
cp_status cp_index_tail_append(cp_index_tail *tail, cp_str removed, const unsigned char *image,
                               size_t n_image, cp_error *err) CP_MUST_CHECK;

#endif
