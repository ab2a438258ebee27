/* A model folder's weight files: one model.safetensors, or shards with their index.
 *
 * Shards are named by model.safetensors.index.json, which is untrusted: a name must be a plain file
 * name in the same folder. Tensors are found by name across all files. Immutable after open. */
#ifndef CP_ENGINE_CHECKPOINT_H
#define CP_ENGINE_CHECKPOINT_H

#include "engine/safetensors.h"

typedef struct cp_checkpoint {
    cp_safetensors *files; /* [n] */
    size_t n, cap;
} cp_checkpoint;

cp_status cp_checkpoint_open(const char *dir, cp_checkpoint *out, cp_error *err) CP_MUST_CHECK;
void cp_checkpoint_close(cp_checkpoint *checkpoint);
/* NULL when no file has it; *path (may be NULL) is then left alone, else the file's path. */
const cp_tensor *cp_checkpoint_find(const cp_checkpoint *checkpoint, const char *name,
                                    const char **path);
/* cp_file_check_whole for all files. */
cp_status cp_checkpoint_check_whole(const cp_checkpoint *checkpoint, cp_status status,
                                    cp_error *err) CP_MUST_CHECK;
/* All is read that has to be believed: see cp_file_trust. */
void cp_checkpoint_trust(cp_checkpoint *checkpoint);
size_t cp_checkpoint_bytes(const cp_checkpoint *checkpoint);

#endif
