/* A start from nothing: a fresh process opens a model and gives its first token.
 *
 * The parent (cp_cold_start) runs this program again as `carepath bench start` and stamps the time
 * when the child says that the first token is there, so that loading the program counts too. The
 * child then goes on to a long prompt and some decoding, so that its peak resident set is that of
 * one sequence at work. File pages are in the page cache when they were read before: that is the
 * caller's doing. */
#ifndef CP_BENCH_COLD_START_H
#define CP_BENCH_COLD_START_H

#include "base/error.h"
#include "engine/engine.h"

#include <stddef.h>
#include <stdint.h>

typedef struct cp_start_plan {
    const char *dir;
    cp_engine_options options;
    size_t first_prompt, prompt, gen; /* tokens: to the first answer; then for the peak */
    uint64_t seed;
} cp_start_plan;

typedef struct cp_start_result {
    double first_token_s; /* from before the process to its first token */
    double load_s;        /* of that: opening engine and tokenizer */
    size_t rss_bytes;     /* peak */
} cp_start_result;

/* In the child: writes one JSON line when the first token is there and one at the end, to stdout.
 */
cp_status cp_start_here(const cp_start_plan *plan, cp_error *err) CP_MUST_CHECK;
/* In the parent. */
cp_status cp_cold_start(const cp_start_plan *plan, cp_start_result *out,
                        cp_error *err) CP_MUST_CHECK;

/* n random ids of a vocabulary, the same for the same seed. */
void cp_bench_random_ids(uint64_t seed, size_t vocab_size, int32_t *ids, size_t n);

#endif
