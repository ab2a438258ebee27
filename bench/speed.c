#include "bench/speed.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "bench/cold_start.h"
#include "bench/rates.h"
#include "bench/weight_traffic.h"
#include "engine/sysinfo.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_PROMPT  8 /* tokens of the prompt whose first token is waited for */
#define COLD_RUNS     3
#define SLICES        4 /* of a decode run; a probe stands between two */
#define PROBE_S       0.03
#define RATE_S        0.02
#define WARM_UP       4 /* untimed steps */
#define MEMORY_MARGIN (64u << 20)

/* All bandwidth probes of one model. */
typedef struct probe_log {
    double *values;
    size_t n, cap;
} probe_log;

typedef struct bench {
    const char *dir;
    const cp_speed_plan *plan;
    cp_speed_result *out;
    cp_read_probe *probe, *file_probe; /* file_probe NULL: too small a file, or several */
    cp_mapping file;
    probe_log log;
    cp_engine *engine;
    cp_session *sessions[CP_SPEED_MAX_BATCH];
    size_t n_sessions;
    cp_traffic traffic;
    int32_t *ids; /* [n_ids] random */
    size_t n_ids;
} bench;

static void progress(const cp_speed_plan *plan, const char *fmt, ...) CP_PRINTF(2, 3);
static void progress(const cp_speed_plan *plan, const char *fmt, ...) {
    char line[320];
    va_list args;
    if (!plan->on_progress)
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    plan->on_progress(plan->user, line);
}

static size_t largest(const cp_number_list *list) {
    return list->values[list->n - 1];
}

static double seconds_since(uint64_t start) {
    return cp_clock_ms_since(start) / 1e3;
}

/* ---- cold start ------------------------------------------------------------------------------ */

static void set_name(const char *dir, char *out, size_t cap) {
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    size_t begin = n;
    while (begin > 0 && dir[begin - 1] != '/')
        begin--;
    snprintf(out, cap, "%.*s", (int)(n - begin), dir + begin);
}

cp_status cp_speed_start(const char *dir, const cp_speed_plan *plan, cp_speed_result *out,
                         cp_error *err) {
    cp_start_plan start = {.dir = dir,
                           .options = {.n_threads = plan->n_threads, .kv = plan->kv},
                           .first_prompt = FIRST_PROMPT,
                           .seed = plan->seed};
    size_t runs = plan->repeat < COLD_RUNS ? plan->repeat : COLD_RUNS;
    double load[COLD_RUNS], first[COLD_RUNS];
    cp_start_result result;
    *out = (cp_speed_result){.n_threads = plan->n_threads};
    set_name(dir, out->model, sizeof out->model);
    progress(plan, "%s: cold start", out->model);
    cp_status status = cp_cold_start(&start, &result, err); /* fills the page cache */
    for (size_t i = 0; i < runs && status == CP_OK; i++) {
        status = cp_cold_start(&start, &result, err);
        load[i] = result.load_s;
        first[i] = result.first_token_s;
    }
    if (status != CP_OK)
        return status;
    out->load_s = cp_stats_spread(load, runs).median;
    out->first_token_cold_s = cp_stats_spread(first, runs).median;
    start.prompt = largest(&plan->prompts);
    start.gen = plan->gen;
    status = cp_cold_start(&start, &result, err);
    out->rss_bytes = result.rss_bytes;
    return status;
}

/* ---- the parts of a measurement -------------------------------------------------------------- */

/* Rates of plain reads: of the probe's buffer, and of the weights where they lie, which the cache
 * or the kernel's reclaiming may make faster or slower than a buffer. */
typedef struct plain_rates {
    double memory, file;
} plain_rates;

/* Adds a probe of both to the sums. */
static cp_status probe_once(bench *b, plain_rates *sums, cp_error *err) {
    double memory, file = 0;
    cp_status status = cp_read_probe_window(b->probe, b->plan->n_threads, PROBE_S, &memory, err);
    if (status == CP_OK && b->file_probe)
        status = cp_read_probe_window(b->file_probe, b->plan->n_threads, PROBE_S, &file, err);
    if (status != CP_OK)
        return status;
    if (!cp_grow((void **)&b->log.values, &b->log.cap, b->log.n + 1, sizeof *b->log.values))
        return cp_error_no_memory(err, "measurements");
    b->log.values[b->log.n++] = memory;
    sums->memory += memory;
    sums->file += file;
    return CP_OK;
}

static cp_status timed_eval(bench *b, size_t n, double *seconds, cp_error *err) {
    cp_session_rewind(b->sessions[0], 0);
    uint64_t start = cp_clock_ns();
    cp_status status = cp_session_eval(b->sessions[0], b->ids, n, NULL, err);
    *seconds = seconds_since(start);
    return status;
}

/* The multiply-add loop of the engine's instruction set in the arithmetic of its weights; false
 * when there is none. */
static bool peak_loop(const bench *b, cp_rate_loop *out) {
    cp_rate_loop loops[CP_MAX_RATE_LOOPS];
    size_t n = cp_rate_loops(loops);
    cp_rate_kind kind = strncmp(b->out->quant, "int", 3) == 0 ? CP_RATE_INT8 : CP_RATE_F32;
    for (size_t i = 0; i < n; i++)
        if (loops[i].kind == kind && strcmp(loops[i].isa, b->out->isa) == 0) {
            *out = loops[i];
            return true;
        }
    return false;
}

/* One length: timed runs, each with the peak rate measured before it. */
static cp_status prefill_length(bench *b, cp_prefill_row *row, cp_error *err) {
    double rates[CP_SPEED_MAX_REPEAT], shares[CP_SPEED_MAX_REPEAT], seconds;
    double gop = cp_weight_ops_per_token(cp_engine_config(b->engine)) / 1e9;
    cp_rate_loop loop;
    bool has_loop = peak_loop(b, &loop);
    cp_status status = timed_eval(b, row->n, &seconds, err); /* warms up */
    for (size_t i = 0; i < b->plan->repeat && status == CP_OK; i++) {
        cp_spread peak = {0};
        if (has_loop)
            status = cp_rate_run(&loop, b->plan->n_threads, 1, RATE_S, &peak, err);
        if (status == CP_OK)
            status = timed_eval(b, row->n, &seconds, err);
        rates[i] = (double)row->n / seconds;
        shares[i] = peak.median > 0 ? rates[i] * gop / peak.median : 0;
    }
    if (status != CP_OK)
        return status;
    row->tok_s = cp_stats_spread(rates, b->plan->repeat);
    row->gop_s = row->tok_s.median * gop;
    row->share_of_peak = cp_stats_spread(shares, b->plan->repeat).median;
    return CP_OK;
}

static cp_status measure_prefill(bench *b, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < b->plan->prompts.n && status == CP_OK; i++) {
        cp_prefill_row *row = &b->out->prefill[b->out->n_prefill++];
        *row = (cp_prefill_row){.n = b->plan->prompts.values[i]};
        progress(b->plan, "%s: prefill of %zu tokens", b->out->model, row->n);
        status = prefill_length(b, row, err);
    }
    return status;
}

static cp_status measure_first_token(bench *b, cp_error *err) {
    double seconds[CP_SPEED_MAX_REPEAT];
    cp_status status = CP_OK;
    for (size_t i = 0; i < b->plan->repeat && status == CP_OK; i++)
        status = timed_eval(b, FIRST_PROMPT, &seconds[i], err);
    if (status == CP_OK)
        b->out->first_token_warm_s = cp_stats_spread(seconds, b->plan->repeat).median;
    return status;
}

/* n steps of the first `batch` sessions, one token each. */
static cp_status decode_steps(bench *b, size_t batch, size_t n, size_t *next_id, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < n && status == CP_OK; i++) {
        if (*next_id + batch > b->n_ids)
            *next_id = 0;
        status = cp_sessions_decode(b->sessions, b->ids + *next_id, batch, err);
        *next_id += batch;
    }
    return status;
}

/* One timed run in slices, with a probe before each and after the last; *gb_s is their mean. */
static cp_status decode_run(bench *b, size_t depth, size_t batch, double *seconds,
                            plain_rates *gb_s, cp_error *err) {
    size_t gen = b->plan->gen, slices = gen < SLICES ? gen : SLICES, next_id = 0;
    *gb_s = (plain_rates){0};
    for (size_t i = 0; i < batch; i++)
        cp_session_rewind(b->sessions[i], depth);
    *seconds = 0;
    cp_status status = probe_once(b, gb_s, err);
    for (size_t s = 0; s < slices && status == CP_OK; s++) {
        uint64_t start = cp_clock_ns();
        status = decode_steps(b, batch, gen * (s + 1) / slices - gen * s / slices, &next_id, err);
        *seconds += seconds_since(start);
        if (status == CP_OK)
            status = probe_once(b, gb_s, err);
    }
    gb_s->memory /= (double)(slices + 1);
    gb_s->file /= (double)(slices + 1);
    return status;
}

static cp_status measure_decode(bench *b, cp_decode_row *row, cp_error *err) {
    size_t gen = b->plan->gen, repeat = b->plan->repeat, next_id = 0;
    double rates[CP_SPEED_MAX_REPEAT], reads[CP_SPEED_MAX_REPEAT], shares[CP_SPEED_MAX_REPEAT],
        plain[CP_SPEED_MAX_REPEAT];
    row->bytes_per_token = cp_traffic_bytes(&b->traffic, row->depth, gen, row->batch);
    row->physical_bytes_per_token =
        cp_traffic_physical_bytes(&b->traffic, row->depth, gen, row->batch);
    progress(b->plan, "%s: decode at depth %zu, batch %zu", b->out->model, row->depth, row->batch);
    for (size_t i = 0; i < row->batch; i++)
        cp_session_rewind(b->sessions[i], row->depth);
    cp_status status = decode_steps(b, row->batch, gen < WARM_UP ? gen : WARM_UP, &next_id, err);
    for (size_t i = 0; i < repeat && status == CP_OK; i++) {
        double seconds;
        plain_rates gb_s;
        status = decode_run(b, row->depth, row->batch, &seconds, &gb_s, err);
        rates[i] = (double)(row->batch * gen) / seconds;
        reads[i] = gb_s.memory;
        shares[i] = rates[i] * row->bytes_per_token / (gb_s.memory * 1e9);
        plain[i] = gb_s.file > 0 ? rates[i] * row->bytes_per_token / (gb_s.file * 1e9) : 0;
    }
    if (status != CP_OK)
        return status;
    row->tok_s = cp_stats_spread(rates, repeat);
    row->read_gb_s = cp_stats_spread(reads, repeat).median;
    row->share_of_bandwidth = cp_stats_spread(shares, repeat).median;
    row->share_of_plain_read = cp_stats_spread(plain, repeat).median;
    return CP_OK;
}

/* Makes and fills sessions until `batch` of them hold at least `depth` tokens. */
static cp_status fill_sessions(bench *b, size_t depth, size_t batch, size_t max_tokens,
                               cp_error *err) {
    cp_status status = CP_OK;
    while (b->n_sessions < batch && status == CP_OK) {
        status = cp_session_create(b->engine, max_tokens, &b->sessions[b->n_sessions], err);
        if (status == CP_OK)
            b->n_sessions++;
    }
    for (size_t i = 0; i < batch && status == CP_OK; i++) {
        cp_session *s = b->sessions[i];
        size_t n = cp_session_n_tokens(s);
        if (n >= depth)
            continue;
        progress(b->plan, "%s: filling sequence %zu to depth %zu", b->out->model, i + 1, depth);
        status = cp_session_eval(s, b->ids + n, depth - n, NULL, err);
    }
    return status;
}

/* Bytes that are lacking for `batch` sequences of `tokens` tokens; 0 when they fit. */
static cp_status lacking(bench *b, size_t tokens, size_t batch, size_t *missing, cp_error *err) {
    size_t each, all, have = cp_sysinfo_memory_available();
    cp_status status = cp_session_bytes(b->engine, tokens, &each, err);
    if (status != CP_OK)
        return status;
    if (!cp_size_mul(each, batch, &all))
        return cp_error_set(err, CP_ERR_LIMIT, "%zu sessions do not fit in memory", batch);
    have = have > MEMORY_MARGIN ? have - MEMORY_MARGIN : 0;
    have += b->n_sessions * each; /* what they hold already; at most that */
    *missing = all > have ? all - have : 0;
    return CP_OK;
}

/* Depth by depth, ascending, so that each sequence is filled once. */
static cp_status measure_all_decodes(bench *b, size_t max_tokens, cp_error *err) {
    const cp_speed_plan *plan = b->plan;
    cp_status status = CP_OK;
    for (size_t d = 0; d < plan->depths.n; d++)
        for (size_t k = 0; k < plan->batches.n && status == CP_OK; k++) {
            cp_decode_row *row = &b->out->decode[b->out->n_decode++];
            *row =
                (cp_decode_row){.depth = plan->depths.values[d], .batch = plan->batches.values[k]};
            size_t tokens = row->depth + plan->gen;
            status = lacking(b, tokens, row->batch, &row->missing_bytes, err);
            if (status != CP_OK || row->missing_bytes)
                continue;
            status = fill_sessions(b, row->depth, row->batch, max_tokens, err);
            if (status == CP_OK)
                status = measure_decode(b, row, err);
        }
    return status;
}

/* ---- one model ------------------------------------------------------------------------------- */

/* A second mapping of the pages that the engine reads. A checkpoint in several files has none. */
static cp_status probe_file(bench *b, cp_error *err) {
    char path[CP_PATH_CAP];
    cp_status status = cp_path_join(b->dir, "model.safetensors", path, sizeof path, err);
    if (status != CP_OK)
        return status;
    if (!cp_file_exists(path))
        return CP_OK;
    status = cp_file_map(path, &b->file, err);
    return status == CP_OK ? cp_read_probe_over(b->plan->n_threads, (const char *)b->file.data,
                                                b->file.n_bytes, &b->file_probe, err)
                           : status;
}

static cp_status open_engine(bench *b, cp_error *err) {
    const cp_engine_options options = {.n_threads = b->plan->n_threads, .kv = b->plan->kv};
    cp_speed_result *out = b->out;
    cp_status status = cp_engine_open(b->dir, &options, &b->engine, err);
    if (status != CP_OK)
        return status;
    out->quant = cp_engine_quant(b->engine);
    out->isa = cp_engine_isa(b->engine);
    out->kv = cp_kv_name(cp_engine_kv(b->engine));
    out->weight_bytes = cp_engine_weight_bytes(b->engine);
    out->kv_bytes_per_token = cp_engine_kv_bytes(b->engine);
    status = cp_session_bytes(b->engine, FIRST_PROMPT + largest(&b->plan->prompts) + b->plan->gen,
                              &out->session_bytes, err);
    if (status == CP_OK)
        status = cp_traffic_measure(b->dir, b->engine, &b->traffic, err);
    if (status == CP_OK)
        status = probe_file(b, err);
    return status;
}

static cp_status measure(bench *b, cp_error *err) {
    const cp_speed_plan *plan = b->plan;
    size_t most = largest(&plan->prompts), context = largest(&plan->depths) + plan->gen;
    most = most > context ? most : context;
    most = most > FIRST_PROMPT ? most : FIRST_PROMPT;
    b->n_ids = most + largest(&plan->batches);
    b->ids = calloc(b->n_ids, sizeof *b->ids);
    if (!b->ids)
        return cp_error_no_memory(err, "token ids");
    cp_status status = open_engine(b, err);
    if (status != CP_OK)
        return status;
    cp_bench_random_ids(plan->seed, cp_engine_config(b->engine)->vocab_size, b->ids, b->n_ids);
    status = fill_sessions(b, 0, 1, most, err);
    if (status == CP_OK)
        status = measure_prefill(b, err);
    if (status == CP_OK)
        status = measure_first_token(b, err);
    if (status == CP_OK)
        status = measure_all_decodes(b, most, err);
    b->out->read_gb_s = cp_stats_spread(b->log.values, b->log.n).median;
    return status;
}

cp_status cp_speed_measure(const char *dir, const cp_speed_plan *plan, cp_read_probe *probe,
                           cp_speed_result *out, cp_error *err) {
    bench b = {.dir = dir, .plan = plan, .out = out, .probe = probe};
    cp_status status = measure(&b, err);
    for (size_t i = 0; i < b.n_sessions; i++)
        cp_session_free(b.sessions[i]);
    cp_engine_close(b.engine);
    cp_read_probe_free(b.file_probe);
    cp_file_unmap(&b.file);
    free(b.log.values);
    free(b.ids);
    return status;
}
