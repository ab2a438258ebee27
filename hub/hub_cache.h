/* The cache that tools of the hub share, as one repository sees it:
 *
 *     CACHE/models--org--name/refs/main                 a commit
 *                             snapshots/COMMIT/FILE     a relative link to ../../blobs/HASH
 *                             blobs/HASH                a file's bytes
 *                             blobs/HASH.incomplete     the beginning of one, locked while it grows
 *     CACHE/.locks/models--org--name/HASH.lock          flock(2), as other tools take it
 *
 * A blob appears under its name when it is whole and checked; a link when its blob is there. So
 * what a killed process leaves is the beginning of a file that the next one goes on with. Nothing
 * here makes a request. Any thread may call; repositories, revisions and names were checked
 * (hub_names.h). */
#ifndef CP_HUB_HUB_CACHE_H
#define CP_HUB_HUB_CACHE_H

#include "base/file.h"
#include "hub/hub_names.h"

#include <stdatomic.h>
#include <stdint.h>

typedef struct cp_hub_cache {
    char dir[CP_PATH_CAP]; /* CACHE/models--org--name */
    char locks[CP_PATH_CAP];
} cp_hub_cache;

/* Makes the paths; creates nothing. */
cp_status cp_hub_cache_open(const char *root, const char *repo, cp_hub_cache *out,
                            cp_error *err) CP_MUST_CHECK;
/* Creates the folders. */
cp_status cp_hub_cache_make(const cp_hub_cache *cache, cp_error *err) CP_MUST_CHECK;

/* The commit that a revision is known to mean here; a commit means itself. */
bool cp_hub_cache_commit(const cp_hub_cache *cache, const char *revision,
                         char commit[CP_HUB_COMMIT_CAP]);
cp_status cp_hub_cache_set_commit(const cp_hub_cache *cache, const char *revision,
                                  const char *commit, cp_error *err) CP_MUST_CHECK;

cp_status cp_hub_cache_snapshot(const cp_hub_cache *cache, const char *commit,
                                char dir[CP_PATH_CAP], cp_error *err) CP_MUST_CHECK;
/* The file is in the snapshot, its blob, too; *bytes is its size, `hash` its blob's name or ""
 * where it is no link to one. Both may be NULL. */
bool cp_hub_cache_has(const cp_hub_cache *cache, const char *commit, const char *file,
                      uint64_t *bytes, char hash[CP_HUB_HASH_CAP]);
cp_status cp_hub_cache_link(const cp_hub_cache *cache, const char *commit, const char *file,
                            const char *hash, cp_error *err) CP_MUST_CHECK;

/* "blobs/HASH" and what stands behind it ("", ".incomplete"). */
cp_status cp_hub_cache_blob(const cp_hub_cache *cache, const char *hash, const char *behind,
                            char path[CP_PATH_CAP], cp_error *err) CP_MUST_CHECK;
#define CP_HUB_INCOMPLETE ".incomplete"

/* Waits until no other pull works on this blob (or on "refs"); *fd is closed to give it up.
 * CP_ERR_CANCELLED when *stop came first. */
cp_status cp_hub_cache_lock(const cp_hub_cache *cache, const char *hash, const atomic_bool *stop,
                            int *fd, cp_error *err) CP_MUST_CHECK;
/* Removes beginnings of files that nobody works on. */
void cp_hub_cache_sweep(const cp_hub_cache *cache);

#endif
