/* A Pinecone for tests, on loopback: the data plane's paths with the documented forms of requests
 * and answers (API version 2025-10), records in memory, and faults as they are ordered.
 *
 * Each request's method, path, fields and JSON are checked; what is wrong is kept as a sentence,
 * which test_pinecone_stop fails with. One at a time. */
#ifndef CP_TESTS_PINECONE_API_H
#define CP_TESTS_PINECONE_API_H

#include "tests/test.h"

#define TEST_PINECONE_KEY "pcsk-SECRET-key"

/* What the next requests get, in order, before it serves again. */
typedef enum test_pinecone_act {
    PINECONE_SERVE,
    PINECONE_401,
    PINECONE_404_PAGE,    /* HTML */
    PINECONE_404,         /* no such namespace */
    PINECONE_429_AT_ONCE, /* Retry-After: 0 */
    PINECONE_429_LATER,   /* Retry-After: 3600 */
    PINECONE_500,
    PINECONE_503,
    PINECONE_CUT,
    PINECONE_NO_JSON,
    PINECONE_TEXT, /* `text` of the start */
} test_pinecone_act;

/* `width`: of the index; `page`: most ids of a page. */
void test_pinecone_start(size_t width, size_t page);
/* Fails the test with the first wrong request. */
void test_pinecone_stop(void);
const char *test_pinecone_url(void);
void test_pinecone_script(const test_pinecone_act *acts, size_t n);
/* What PINECONE_TEXT answers, with status 200. */
void test_pinecone_text(const char *text);
/* Instead of "cosine". */
void test_pinecone_metric(const char *metric);
/* Whether queries are filtered as asked; a hostile one answers with everybody's. */
void test_pinecone_filters(bool does);

size_t test_pinecone_n_records(void);              /* of all namespaces */
size_t test_pinecone_n_requests(const char *path); /* that begin with it; "" for all */
/* Everything that came in URLs and fields, for looking for what must not be there. */
const char *test_pinecone_heads(void);
/* Takes away, or spoils the metadata member of, the record at `place` in the order of ids. */
void test_pinecone_drop(size_t place);
void test_pinecone_spoil(size_t place, const char *member, const char *text);

#endif
