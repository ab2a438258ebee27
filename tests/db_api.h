/* A db-api of the test's own: an HTTP server on a loopback port in threads of this process.
 *
 * It serves GET /patients/MRN and POST /patients/MRN/import from the store behind it, wants
 * "Authorization: Bearer db-key", keeps connections open, and misbehaves as it is told: each
 * request takes the next act of the script; when that has ended, it behaves. */
#ifndef CP_TESTS_DB_API_H
#define CP_TESTS_DB_API_H

#include "server/patient_store.h"

typedef enum test_api_act {
    API_SERVE,
    API_500,
    API_503,
    API_401,
    API_DROP,          /* closes without a byte */
    API_RESET,         /* the same with a reset */
    API_CUT,           /* closes in the middle of the body */
    API_SILENT,        /* never answers */
    API_TRICKLE,       /* a byte every 50 ms, for ever */
    API_HUGE,          /* a body without end */
    API_NO_JSON,       /* 200 with a page */
    API_OTHER_SHAPE,   /* 200 with JSON that is no record */
    API_OTHER_PATIENT, /* 200 with somebody else's record */
    API_FOREIGN_ROW,   /* 200 with one row of somebody else */
    API_REDIRECT,      /* 302 to itself */
    API_PAGE_404,      /* 404 with a page */
    API_GIBBERISH,     /* not HTTP */
} test_api_act;

typedef struct test_db_api test_db_api;
/* Borrows `behind`. */
test_db_api *test_db_api_start(cp_patient_store *behind);
void test_db_api_stop(test_db_api *api);
int test_db_api_port(const test_db_api *api);
void test_db_api_script(test_db_api *api, const test_api_act *acts, size_t n);
/* So far. */
size_t test_db_api_n_requests(test_db_api *api);
size_t test_db_api_n_connections(test_db_api *api);

#endif
