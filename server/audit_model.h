/* The SHA-256 of a model folder: over the names, sizes and hashes of the files that decide what it
 * says (configuration, tokenizer, weights), sorted by name.
 *
 * Gigabytes take seconds, so the result is kept in a small file and believed while every file's
 * size, times and inode are as they were; with SECRET_KEY the file is signed. */
#ifndef CP_SERVER_AUDIT_MODEL_H
#define CP_SERVER_AUDIT_MODEL_H

#include "server/audit_keys.h"

/* `cache_path` may be NULL. */
cp_status cp_audit_model_hash(const char *dir, const char *cache_path, const cp_audit_keys *keys,
                              char out[CP_AUDIT_HEX_CAP], cp_error *err) CP_MUST_CHECK;

#endif
