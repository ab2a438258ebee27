/* Files: read whole (small ones, with a maximum), mapped read-only (weights), lines of a stream.
 *
 * A mapped file is private and read-only. Where somebody cuts it meanwhile, what is lost reads as
 * zeros: who maps a file asks cp_file_check_whole before it believes what it read. Once it is
 * trusted (weights that are computed with) a cut ends the process with SIGBUS, rather than answers
 * made from zeros: model folders must be replaced by renaming, never truncated. */
#ifndef CP_BASE_FILE_H
#define CP_BASE_FILE_H

#include "base/strbuf.h"

#include <stdio.h>

typedef struct cp_mapping {
    const unsigned char *data; /* NULL when the file is empty */
    size_t n_bytes;
    unsigned guard; /* file_guard's number; 0: trusted */
} cp_mapping;

/* Maps a regular file; the mapping is released with cp_file_unmap. Errors name the path. */
cp_status cp_file_map(const char *path, cp_mapping *out, cp_error *err) CP_MUST_CHECK;
void cp_file_unmap(cp_mapping *mapping);
/* `status`, which reading it gave; but CP_ERR_IO when the file was cut since it was mapped and what
 * it lost was read, whatever else seemed wrong. */
cp_status cp_file_check_whole(const cp_mapping *mapping, const char *path, cp_status status,
                              cp_error *err) CP_MUST_CHECK;
void cp_file_trust(cp_mapping *mapping);

/* The whole file, at most max_bytes, into `out` (initialised by the callee, deinit by the caller,
 * also after failure). CP_ERR_NOT_FOUND when there is no such file. */
cp_status cp_file_read(const char *path, size_t max_bytes, cp_strbuf *out,
                       cp_error *err) CP_MUST_CHECK;

/* Writes all bytes to `path` by way of a temporary file beside it and a rename. */
cp_status cp_file_write(const char *path, cp_str bytes, cp_error *err) CP_MUST_CHECK;

/* The same for a file of secrets: a new one is readable by its owner only, one that is replaced
 * keeps its owner, its group and whether the group may read it. */
cp_status cp_file_write_private(const char *path, cp_str bytes, cp_error *err) CP_MUST_CHECK;
/* A file of secrets belongs to us or to root (to anybody when we are root), only its owner can
 * write it, and nobody but owner and group can read it. The error tells what to do. */
cp_status cp_file_check_private(const char *path, cp_error *err) CP_MUST_CHECK;

bool cp_file_exists(const char *path);
bool cp_file_is_folder(const char *path);

/* "dir/name" into out[cap]; an error when it does not fit. */
cp_status cp_path_join(const char *dir, const char *name, char *out, size_t cap,
                       cp_error *err) CP_MUST_CHECK;
/* The last component of a path, without slashes behind it. */
cp_str cp_path_last(const char *path);
#define CP_PATH_CAP 4096

/* The next line of `in` without its line end into `line` (cleared first); *more is false at the end
 * of the input. A line over the buffer's maximum is CP_ERR_LIMIT. */
cp_status cp_file_next_line(FILE *in, cp_strbuf *line, bool *more, cp_error *err) CP_MUST_CHECK;

#endif
