/* Several files at a time: threads that take the next file until there is none, or one has failed.
 */
#ifndef CP_HUB_HUB_CREW_H
#define CP_HUB_HUB_CREW_H

#include "hub/hub_file.h"

typedef struct cp_hub_crew {
    const cp_hub_settings *settings; /* all is borrowed */
    const cp_hub_limits *limits;
    const cp_hub_cache *cache;
    const char *repo, *commit;
    size_t n_threads;
    /* About ten times a second and once at the end, from the caller's thread, with the files' bytes
     * that are here; false stops all. */
    bool (*on_progress)(void *user, uint64_t done_bytes);
    void *user;
} cp_hub_crew;

/* Fetches all of them, or the first failure: what the others have stays for the next time. */
cp_status cp_hub_crew_fetch(const cp_hub_crew *crew, cp_hub_file *files, size_t n,
                            cp_error *err) CP_MUST_CHECK;

#endif
