/* Writes one safetensors file: the header first, then each tensor's bytes in order.
 *
 * Tensors are announced with their shapes before anything is written, so offsets are known and
 * nothing is held in memory. The file appears under its name only when it is complete and on the
 * disk: until then it has a temporary name beside it, and a killed run leaves nothing that opens.
 */
#ifndef CP_CONVERT_SAFETENSORS_WRITER_H
#define CP_CONVERT_SAFETENSORS_WRITER_H

#include "base/error.h"
#include "base/file.h"
#include "base/json_writer.h"
#include "engine/safetensors.h"

#include <stdint.h>
#include <stdio.h>

typedef struct cp_safetensors_writer {
    char path[CP_PATH_CAP], temporary[CP_PATH_CAP];
    cp_strbuf header;
    cp_json_writer json;
    uint64_t announced_bytes, written_bytes;
    size_t blank_at, blank_n; /* a metadata value that comes last; blank_n 0: none */
    FILE *file;
    char *buffer; /* the file's, while it is open */
} cp_safetensors_writer;

void cp_safetensors_writer_init(cp_safetensors_writer *w);
void cp_safetensors_writer_deinit(cp_safetensors_writer *w); /* drops an unfinished file */
/* An entry of __metadata__; all of them before the first tensor. */
void cp_safetensors_writer_metadata(cp_safetensors_writer *w, const char *key, const char *value);
/* An entry whose value, of `n` characters, is known only after the tensors: cp_..._fill writes it
 * before finish. One a file. */
void cp_safetensors_writer_blank(cp_safetensors_writer *w, const char *key, size_t n);
cp_status cp_safetensors_writer_fill(cp_safetensors_writer *w, const char *value,
                                     cp_error *err) CP_MUST_CHECK;
/* The next tensor, shape[n_dims]. */
void cp_safetensors_writer_announce(cp_safetensors_writer *w, const char *name, cp_dtype dtype,
                                    const size_t *shape, size_t n_dims);
/* Creates the file with the header. */
cp_status cp_safetensors_writer_begin(cp_safetensors_writer *w, const char *path,
                                      cp_error *err) CP_MUST_CHECK;
cp_status cp_safetensors_writer_write(cp_safetensors_writer *w, const void *bytes, size_t n,
                                      cp_error *err) CP_MUST_CHECK;
/* All announced bytes must have been written; syncs and renames. */
cp_status cp_safetensors_writer_finish(cp_safetensors_writer *w, cp_error *err) CP_MUST_CHECK;

#endif
