/* The folder of an index: its files' names, the writer's lock, and which pair of files counts.
 *
 *     current     "carepath-index 1 N CHECKSUM": segment-N and tail-N count
 *     segment-N   retrieval/segment_format.h
 *     tail-N      retrieval/index_tail.h
 *     lock        held by the writer
 *
 * `current` is replaced by renaming; what it does not name is left over from a writer that was
 * killed, and removed by the next. Files belong to their owner alone. */
#ifndef CP_RETRIEVAL_INDEX_FOLDER_H
#define CP_RETRIEVAL_INDEX_FOLDER_H

#include "base/file.h"

#include <stdint.h>

/* Makes the folder where it is missing and takes the lock: *fd, closed to let it go. CP_ERR_BUSY:
 * somebody has it. */
cp_status cp_index_folder_lock(const char *dir, int *fd, cp_error *err) CP_MUST_CHECK;
/* What was written into the folder's list is on the disk. */
cp_status cp_index_folder_sync(const char *dir, cp_error *err) CP_MUST_CHECK;

typedef enum cp_index_file { CP_INDEX_SEGMENT, CP_INDEX_TAIL } cp_index_file;
cp_status cp_index_folder_path(const char *dir, cp_index_file file, uint64_t number,
                               char path[CP_PATH_CAP], cp_error *err) CP_MUST_CHECK;
/* An empty file for writing and reading, whatever was there. */
cp_status cp_index_folder_create(const char *path, int *fd, cp_error *err) CP_MUST_CHECK;

/* CP_ERR_NOT_FOUND: there is no index. */
cp_status cp_index_current_read(const char *dir, uint64_t *number, cp_error *err) CP_MUST_CHECK;
cp_status cp_index_current_write(const char *dir, uint64_t number, cp_error *err) CP_MUST_CHECK;
/* Without `current`: CP_ERR_FORMAT where there are files that hold something nevertheless. */
cp_status cp_index_folder_check_unborn(const char *dir, cp_error *err) CP_MUST_CHECK;
/* Removes segments, tails and temporary files other than those of `number`. */
void cp_index_folder_clean(const char *dir, uint64_t number);

#endif
