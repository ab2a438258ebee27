/* A hub for tests, on loopback: the paths and fields of the Hugging Face hub, the bytes of large
 * files behind a redirect to a second server on another port, and faults as they are ordered.
 *
 * One repository, org/model, with the files of a folder; commits are TEST_HUB_COMMIT (main) and
 * TEST_HUB_OLD. Whatever arrives at the second server with an Authorization field, and whatever at
 * the first without the wanted one, is kept as a fault of the client. One at a time. */
#ifndef CP_TESTS_HUB_API_H
#define CP_TESTS_HUB_API_H

#include "tests/test.h"

#include <stdatomic.h>

#define TEST_HUB_REPO   "org/model"
#define TEST_HUB_COMMIT "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd"
#define TEST_HUB_OLD    "0000000000111111111122222222223333333333"
#define TEST_HUB_TOKEN  "hf_SECRETtoken"

/* What the hub does, set between requests or before the first. */
typedef struct test_hub_orders {
    const char *repo;        /* NULL: TEST_HUB_REPO */
    const char *token;       /* wanted, NULL: none; else 401 */
    bool gated;              /* 403 with the token, 401 without: X-Error-Code GatedRepo */
    int n_refusals, refusal; /* so many requests get this status first */
    const char *retry_after; /* with it */
    int n_drops;             /* so many answers with bytes end early, after some */
    uint64_t seed;           /* where */
    bool drops_at_once;      /* before the first byte of the body */
    atomic_long sleep_ms;    /* after every 64 KiB */
    bool wrong_bytes;        /* one bit of every large file is another */
    bool no_ranges;          /* always all of it */
    bool other_part;         /* ranges that were not asked for */
    int change_after;        /* > 0: from this request on other hashes and the old commit */
    bool change_silently;    /* the hash only, at GET */
    const char *location;    /* every redirect leads there */
    bool ring;               /* redirects lead back */
    long long size_lie;      /* added to the length of what is sent */
    bool no_hash, no_commit;
    const char *index;       /* instead of the folder's model.safetensors.index.json */
    unsigned long long size; /* of large files, as HEAD says; 0: the true one */
    int expire;              /* so many signed URLs have expired: 403 from the second server */
} test_hub_orders;
extern test_hub_orders test_hub;

/* Serves the folder; files over 64 KiB are "large". */
void test_hub_start(const char *folder);
/* Fails the test when a token arrived where it must not. */
void test_hub_stop(void);
const char *test_hub_url(void);
/* Requests since the start or the last call. */
size_t test_hub_n_requests(void);
/* GETs that sent bytes, and bytes sent, since the start. */
size_t test_hub_n_gets(void);
size_t test_hub_bytes_sent(void);

#endif
