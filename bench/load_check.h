/* Do the answers of identical requests stay the same under load?
 *
 * Each request is sent once alone, before the load; its answer's text (load_answer.h) is what every
 * later one is compared with, byte for byte, and so is the first one that came under load. */
#ifndef CP_BENCH_LOAD_CHECK_H
#define CP_BENCH_LOAD_CHECK_H

#include "bench/load.h"

typedef struct cp_load_check {
    cp_strbuf *single, *first; /* [n]: texts by request; first is empty until there is one */
    char (*degraded)[CP_LOAD_CODE_CAP]; /* [n], of the single ones */
    size_t n;
    cp_strbuf scratch;
} cp_load_check;

/* Asks every request of the plan alone; an error when one is not answered. Released with deinit,
 * also after failure. */
cp_status cp_load_check_init(cp_load_check *c, const cp_load_plan *plan,
                             cp_error *err) CP_MUST_CHECK;
void cp_load_check_deinit(cp_load_check *c);
/* Compares an answer to request k and counts in the result. */
cp_status cp_load_check_answer(cp_load_check *c, size_t k, const cp_load_answer *answer,
                               cp_load_result *result, cp_error *err) CP_MUST_CHECK;

/* The call of request k, without on_body; it borrows fields that live for ever. */
cp_http_call cp_load_call(const cp_load_plan *plan, size_t k);

#endif
