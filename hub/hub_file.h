/* One file from the hub into the cache: it goes on where an earlier run stopped, and becomes a blob
 * when its hash is right.
 *
 * The hash is computed while bytes are written; what an earlier run left is read once. A connection
 * that drops is resumed (Range); max_tries that bring no byte, one after another, are too many.
 * Each answer is held against what the file was at the beginning: its commit, hash and size. One
 * thread a file; `done` may be read by others. */
#ifndef CP_HUB_HUB_FILE_H
#define CP_HUB_HUB_FILE_H

#include "hub/hub_cache.h"
#include "hub/hub_client.h"

typedef struct cp_hub_file {
    char name[CP_HUB_FILE_CAP];
    char hash[CP_HUB_HASH_CAP]; /* a SHA-256, or git's 40 digits */
    uint64_t size;
    bool was_there;             /* nothing had to be fetched */
    atomic_uint_least64_t done; /* bytes that are here */
} cp_hub_file;

/* Bytes of it that are in the cache: all of its blob, or what an earlier run left. */
uint64_t cp_hub_file_present(const cp_hub_cache *cache, const cp_hub_file *file);

/* Fetches the file's blob and links it into the snapshot of `commit`. */
cp_status cp_hub_file_fetch(const cp_hub_client *client, const cp_hub_cache *cache,
                            const char *repo, const char *commit, cp_hub_file *file,
                            cp_error *err) CP_MUST_CHECK;

#endif
