#include "bench/cold_start.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "bench/random.h"
#include "bench/subcommands.h"
#include "engine/sysinfo.h"
#include "tokenizer/tokenizer.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM        "/proc/self/exe"
#define LINE_MAX_BYTES 4096

extern char **environ;

void cp_bench_random_ids(uint64_t seed, size_t vocab_size, int32_t *ids, size_t n) {
    uint64_t state = seed;
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)(cp_random_next(&state) % vocab_size);
}

/* ---- the child ------------------------------------------------------------------------------- */

/* What a user waits for besides the engine; a folder without a tokenizer has none to open. */
static cp_status open_tokenizer(const char *dir, cp_tokenizer **out, cp_error *err) {
    char path[CP_PATH_CAP];
    *out = NULL;
    cp_status status = cp_path_join(dir, "tokenizer.json", path, sizeof path, err);
    if (status == CP_OK && cp_file_exists(path))
        status = cp_tokenizer_open(dir, out, err);
    return status;
}

static cp_status work(const cp_start_plan *plan, cp_engine *engine, double load_s, cp_error *err) {
    size_t n_ids = plan->first_prompt + plan->prompt + plan->gen;
    cp_session *session = NULL;
    int32_t *ids = calloc(n_ids, sizeof *ids);
    if (!ids)
        return cp_error_no_memory(err, "token ids");
    cp_bench_random_ids(plan->seed, cp_engine_config(engine)->vocab_size, ids, n_ids);
    cp_status status = cp_session_create(engine, n_ids, &session, err);
    if (status == CP_OK)
        status = cp_session_eval(session, ids, plan->first_prompt, NULL, err);
    if (status == CP_OK) {
        printf("{\"load_s\":%.6f}\n", load_s);
        fflush(stdout);
    }
    if (status == CP_OK && plan->prompt)
        status = cp_session_eval(session, ids + plan->first_prompt, plan->prompt, NULL, err);
    for (size_t i = n_ids - plan->gen; i < n_ids && status == CP_OK; i++)
        status = cp_session_eval(session, ids + i, 1, NULL, err);
    if (status == CP_OK)
        printf("{\"rss_bytes\":%zu}\n", cp_sysinfo_rss_peak());
    cp_session_free(session);
    free(ids);
    return status;
}

cp_status cp_start_here(const cp_start_plan *plan, cp_error *err) {
    cp_engine *engine = NULL;
    cp_tokenizer *tokenizer = NULL;
    uint64_t start = cp_clock_ns();
    cp_status status = cp_engine_open(plan->dir, &plan->options, &engine, err);
    if (status == CP_OK)
        status = open_tokenizer(plan->dir, &tokenizer, err);
    if (status == CP_OK)
        status = work(plan, engine, cp_clock_ms_since(start) / 1e3, err);
    cp_tokenizer_close(tokenizer);
    cp_engine_close(engine);
    return status;
}

/* ---- the parent ------------------------------------------------------------------------------ */

#define MAX_WORDS 20
#define WORD_CAP  32

/* The child's words; the numbers are written into `texts`. */
static void make_words(const cp_start_plan *plan, const char *words[MAX_WORDS],
                       char texts[5][WORD_CAP]) {
    size_t n = 0;
    snprintf(texts[0], WORD_CAP, "%zu", plan->options.n_threads);
    snprintf(texts[1], WORD_CAP, "%zu", plan->first_prompt);
    snprintf(texts[2], WORD_CAP, "%zu", plan->prompt);
    snprintf(texts[3], WORD_CAP, "%zu", plan->gen);
    snprintf(texts[4], WORD_CAP, "%llu", (unsigned long long)plan->seed);
    const char *all[] = {"carepath",
                         "bench",
                         "start",
                         "--model",
                         plan->dir,
                         "--threads",
                         texts[0],
                         "--first-prompt",
                         texts[1],
                         "--prompt",
                         texts[2],
                         "--gen",
                         texts[3],
                         "--seed",
                         texts[4],
                         "--kv",
                         cp_kv_name(plan->options.kv),
                         NULL};
    for (; all[n]; n++)
        words[n] = all[n];
    words[n] = NULL;
}

static cp_status spawn(const cp_start_plan *plan, pid_t *pid, FILE **out, cp_error *err) {
    const char *words[MAX_WORDS];
    char texts[5][WORD_CAP];
    int ends[2];
    posix_spawn_file_actions_t actions;
    make_words(plan, words, texts);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return cp_error_set(err, CP_ERR_IO, "cannot make a pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    int failed = posix_spawn(pid, PROGRAM, &actions, NULL, (char *const *)words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    *out = failed ? NULL : fdopen(ends[0], "r");
    if (!*out)
        close(ends[0]);
    if (failed)
        return cp_error_set(err, CP_ERR_IO, "cannot start %s: %s", PROGRAM, strerror(failed));
    return *out ? CP_OK : cp_error_no_memory(err, "pipe");
}

/* The number `key` of the child's next line. */
static cp_status read_number(FILE *in, const char *key, double *out, cp_error *err) {
    cp_strbuf line;
    cJSON *tree = NULL;
    bool more = false;
    cp_strbuf_init(&line, LINE_MAX_BYTES);
    cp_status status = cp_file_next_line(in, &line, &more, err);
    if (status == CP_OK && !more)
        status = cp_error_set(err, CP_ERR_IO, "bench start: ended before its \"%s\"", key);
    if (status == CP_OK)
        status = cp_json_parse("bench start", cp_strbuf_text(&line), line.n, &tree, err);
    if (status == CP_OK)
        status = cp_json_get_number(tree, "bench start", key, 0, 1e15, out, err);
    cJSON_Delete(tree);
    cp_strbuf_deinit(&line);
    return status;
}

cp_status cp_cold_start(const cp_start_plan *plan, cp_start_result *out, cp_error *err) {
    FILE *in;
    pid_t pid;
    int ended = 0;
    double rss = 0;
    uint64_t start = cp_clock_ns();
    *out = (cp_start_result){0};
    cp_status status = spawn(plan, &pid, &in, err);
    if (status != CP_OK)
        return status;
    status = read_number(in, "load_s", &out->load_s, err);
    out->first_token_s = cp_clock_ms_since(start) / 1e3;
    if (status == CP_OK)
        status = read_number(in, "rss_bytes", &rss, err);
    out->rss_bytes = (size_t)rss;
    fclose(in);
    while (waitpid(pid, &ended, 0) < 0 && errno == EINTR)
        continue;
    if (status == CP_OK && ended != 0)
        status = cp_error_set(err, CP_ERR_IO, "bench start: ended with status %d", ended);
    return status;
}
