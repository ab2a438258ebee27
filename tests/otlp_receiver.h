/* An OTLP/HTTP JSON receiver of the test's own: keeps what is sent, answers as it is told, and
 * checks each request against the protocol's schema, field by field. One at a time. */
#ifndef CP_TESTS_OTLP_RECEIVER_H
#define CP_TESTS_OTLP_RECEIVER_H

#include "tests/load_server.h"

typedef enum test_otlp_act {
    OTLP_TAKE,
    OTLP_PARTIAL, /* 200 with two spans refused */
    OTLP_429,     /* with Retry-After: 0 */
    OTLP_502,
    OTLP_503, /* with Retry-After: 0 */
    OTLP_504,
    OTLP_400,
    OTLP_500,
    OTLP_LATER, /* 503 with a Retry-After of a week */
    OTLP_CUT,
    OTLP_SILENT,  /* never answers */
    OTLP_TRICKLE, /* a byte every 20 ms, for ever */
    OTLP_HUGE,    /* 200 with a body that is too large */
    OTLP_NONSENSE,
} test_otlp_act;

/* Takes the script's acts in turn; the last one for good. */
void test_otlp_start(const test_otlp_act *acts, size_t n);
void test_otlp_stop(void);
const char *test_otlp_url(void);
size_t test_otlp_n_requests(void);
/* Waits for it. */
void test_otlp_await_requests(size_t n);
/* The spans of all requests that were taken, each request checked: an array, borrowed until the
 * next call or stop. Fails the test at what the schema does not allow. */
const cJSON *test_otlp_spans(void);
/* All bytes that came: heads and bodies. */
const cp_strbuf *test_otlp_bytes(void);
/* Waits until `n` spans were taken. */
const cJSON *test_otlp_await_spans(size_t n);
/* The first span called `name`; NULL when there is none. */
const cJSON *test_otlp_find(const cJSON *spans, const char *name);
/* An attribute's text or digits; NULL when it is not there. */
const char *test_otlp_attribute(const cJSON *span, const char *key);

#endif
