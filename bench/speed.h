/* One model's speed on this machine: prefill, decode at each depth and batch, start, memory.
 *
 * Decode is bound by memory, and the memory of a shared machine is fast and slow by turns: so the
 * read bandwidth is probed between slices of every decode run, and each run is compared with the
 * probes around it. All tokens are random (speed does not depend on them) and nothing is sampled.
 * Results are plain values; texts in them are borrowed from the plan and the program. */
#ifndef CP_BENCH_SPEED_H
#define CP_BENCH_SPEED_H

#include "base/error.h"
#include "bench/lists.h"
#include "bench/read_probe.h"
#include "bench/statistics.h"
#include "engine/engine.h"

#include <stddef.h>
#include <stdint.h>

#define CP_SPEED_MAX_REPEAT 64
#define CP_SPEED_MAX_BATCH  64
#define CP_SPEED_MAX_ROWS   (CP_LIST_MAX * CP_LIST_MAX)

typedef struct cp_speed_plan {
    size_t n_threads; /* at least 1 */
    cp_kv kv;
    cp_number_list prompts, depths, batches;
    size_t gen, repeat; /* decoded tokens of a sequence; timed runs */
    size_t probe_bytes; /* the probe's buffer; 0 chooses */
    uint64_t seed;
    /* What is being done now, as a short line; NULL for nobody. */
    void (*on_progress)(void *user, const char *line);
    void *user;
} cp_speed_plan;

typedef struct cp_prefill_row {
    size_t n;
    cp_spread tok_s;
    double gop_s;         /* of the products with weights, at the median */
    double share_of_peak; /* of the machine's multiply-add rate with the engine's instructions */
} cp_prefill_row;

typedef struct cp_decode_row {
    size_t depth, batch;
    cp_spread tok_s;        /* all sequences together */
    double bytes_per_token; /* logical: weights (divided by the batch), keys and values read */
    double physical_bytes_per_token; /* the pages in which these lie */
    double read_gb_s;                /* probed beside it: median */
    double share_of_bandwidth;       /* median of the runs' shares */
    double share_of_plain_read;      /* the same of the rate at which the model's own file is read
                                        in plain streams; 0: too small a file */
    size_t missing_bytes;            /* memory that was lacking: not measured then; else 0 */
} cp_decode_row;

typedef struct cp_speed_result {
    char model[256]; /* the folder's last path component */
    const char *quant, *isa, *kv;
    size_t n_threads;
    double load_s, first_token_cold_s, first_token_warm_s;             /* 8-token prompt */
    size_t rss_bytes, weight_bytes, kv_bytes_per_token, session_bytes; /* session: of rss_bytes */
    double read_gb_s; /* median of all probes during this model */
    cp_prefill_row prefill[CP_LIST_MAX];
    cp_decode_row decode[CP_SPEED_MAX_ROWS];
    size_t n_prefill, n_decode;
} cp_speed_result;

/* Cold starts run in processes of their own, before this one holds much memory: call
 * cp_speed_start for all models, then cp_speed_measure for each (it fills in the rest). */
cp_status cp_speed_start(const char *dir, const cp_speed_plan *plan, cp_speed_result *out,
                         cp_error *err) CP_MUST_CHECK;
cp_status cp_speed_measure(const char *dir, const cp_speed_plan *plan, cp_read_probe *probe,
                           cp_speed_result *out, cp_error *err) CP_MUST_CHECK;

#endif
