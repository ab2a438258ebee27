/* Names that become paths and parts of URLs: repositories, revisions, files, hashes.
 *
 * All of them may come from strangers (an index of shards, a header), so what is accepted is a
 * small alphabet without anything that leads elsewhere: no "..", no leading dot or dash, no empty
 * part. */
#ifndef CP_HUB_HUB_NAMES_H
#define CP_HUB_HUB_NAMES_H

#include "base/strbuf.h"

#define CP_HUB_COMMIT_CAP   41  /* 40 hexadecimal digits */
#define CP_HUB_HASH_CAP     65  /* 64, or git's 40 */
#define CP_HUB_FILE_CAP     128 /* a file's name */
#define CP_HUB_REPO_MAX     192 /* letters of "org/name" */
#define CP_HUB_REVISION_MAX 128

/* "org/name" or "name". */
cp_status cp_hub_check_repo(const char *repo, cp_error *err) CP_MUST_CHECK;
/* A branch, a tag or a commit: "main", "refs/pr/1". */
cp_status cp_hub_check_revision(const char *revision, cp_error *err) CP_MUST_CHECK;
/* A plain file name. */
bool cp_hub_is_file_name(cp_str name);
/* 40 lower-case hexadecimal digits. */
bool cp_hub_is_commit(cp_str text);
/* A hash that content can be checked against: a SHA-256, or git's SHA-1 of a file. */
bool cp_hub_is_hash(cp_str text);

#endif
