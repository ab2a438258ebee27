/* A model's files from the hub into the cache that tools share.
 *
 *     a copy that is whole (asked without a request where the revision is a commit, or offline)
 *     config.json's fields       the commit that the revision means
 *     what is missing            sizes and hashes, the small files first, then the weights
 *     the disk                   is there room?
 *     files                      several at a time (hub_file.h)
 *     refs/REVISION              the revision means this commit from now on
 *
 * Two pulls at once, of whatever tool, wait for each other file by file. A pull that fails or is
 * killed leaves what it has, and the next one goes on there. */
#ifndef CP_HUB_HUB_PULL_H
#define CP_HUB_HUB_PULL_H

#include "hub/hub_client.h"
#include "hub/hub_settings.h"

typedef struct cp_pull_options {
    const char *repo;
    const char *revision;        /* NULL: main */
    size_t n_parallel;           /* files at a time; 0: 4 */
    const cp_hub_limits *limits; /* NULL: cp_hub_usual_limits */
    /* About ten times a second, from the caller's thread; total is 0 until it is known. False stops
     * the pull (CP_ERR_CANCELLED). May be NULL. */
    bool (*on_progress)(void *user, uint64_t done_bytes, uint64_t total_bytes);
    void *user;
} cp_pull_options;

typedef struct cp_pull_file {
    char name[CP_HUB_FILE_CAP];
    char hash[CP_HUB_HASH_CAP]; /* "" where the cache does not say */
    uint64_t size;
    bool was_there;
} cp_pull_file;

typedef struct cp_pull_report {
    char commit[CP_HUB_COMMIT_CAP];
    char dir[CP_PATH_CAP]; /* the snapshot: a model folder */
    cp_pull_file *files;
    size_t n_files, cap;
    uint64_t bytes, fetched_bytes;
    double seconds;
    bool asked_nobody; /* the copy was whole */
    bool unreachable;  /* the hub was not there; the copy is the last one known */
    bool needs_token;  /* of a failure: 401 or 403, and no token was set */
} cp_pull_report;

/* *report is to be released, also after failure. */
cp_status cp_pull(const cp_hub_settings *settings, const cp_pull_options *options,
                  cp_pull_report *report, cp_error *err) CP_MUST_CHECK;
void cp_pull_report_deinit(cp_pull_report *report);

/* A whole copy in the cache, without any request: `dir` is its folder. False when there is none. */
bool cp_pull_find(const cp_hub_settings *settings, const char *repo, const char *revision,
                  char dir[CP_PATH_CAP]);

#endif
