/* What the hub's answers say about a file, read from their fields: strangers' words.
 *
 * A file's identity is X-Linked-Etag (the SHA-256 of a large file), else ETag; its size
 * X-Linked-Size, else Content-Length. A field that is not well-formed counts as absent. Pure
 * functions. */
#ifndef CP_HUB_HUB_FIELDS_H
#define CP_HUB_HUB_FIELDS_H

#include "base/http_client.h"
#include "hub/hub_names.h"

typedef struct cp_hub_fields {
    char commit[CP_HUB_COMMIT_CAP];
    char hash[CP_HUB_HASH_CAP]; /* "" for none that content can be checked against */
    bool has_etag;              /* one was there, whatever it looked like */
    bool linked;                /* hash is X-Linked-Etag */
    bool has_size;
    uint64_t size;
} cp_hub_fields;

/* Adds what an answer says. Of the commit and what is linked the first word counts, of the others
 * the last. A redirect's own length says nothing about the file. */
void cp_hub_fields_add(cp_hub_fields *fields, const cp_http_answer *answer);

/* X-Error-Code: "GatedRepo", "RepoNotFound", "RevisionNotFound", "EntryNotFound". */
bool cp_hub_error_is(const cp_http_answer *answer, const char *code);
/* Seconds of a Retry-After that is a number; -1 else. */
double cp_hub_retry_after_s(const cp_http_answer *answer);
/* "bytes FIRST-LAST/TOTAL"; false for anything else. */
bool cp_hub_content_range(const cp_http_answer *answer, uint64_t *first, uint64_t *total);

#endif
