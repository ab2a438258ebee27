/* carepath bench speed: how fast models run here, beside what the machine allows. */
#include "bench/subcommands.h"

#include "base/args.h"
#include "base/mem.h"
#include "bench/speed_report.h"
#include "bench/team.h"
#include "engine/sysinfo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_SEED    9007199254740992.0
#define MOST_TOKENS ((size_t)1 << 20)

typedef struct speed_command {
    cp_word_list models;
    cp_speed_plan plan;
    const char *html, *note;
    bool json;
    cp_strbuf command;
} speed_command;

static cp_status measure(speed_command *c, cp_speed_result *results, size_t *probe_bytes,
                         cp_error *err) {
    cp_read_probe *probe = NULL;
    cp_status status = CP_OK;
    for (size_t i = 0; i < c->models.n && status == CP_OK; i++)
        status = cp_speed_start(c->models.words[i], &c->plan, &results[i], err);
    if (status == CP_OK)
        status = cp_read_probe_create(c->plan.n_threads, c->plan.probe_bytes, &probe, err);
    *probe_bytes = probe ? cp_read_probe_bytes(probe) : 0;
    for (size_t i = 0; i < c->models.n && status == CP_OK; i++)
        status = cp_speed_measure(c->models.words[i], &c->plan, probe, &results[i], err);
    cp_read_probe_free(probe);
    return status;
}

static cp_status write_html(const char *path, const cp_speed_report *report, cp_error *err) {
    cp_strbuf text;
    cp_strbuf_init(&text, CP_BENCH_TEXT_MAX);
    cp_speed_write_html(report, &text);
    cp_status status = cp_bench_write(path, &text, err);
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status print(const speed_command *c, const cp_speed_report *report, cp_error *err) {
    cp_strbuf text;
    cp_json_writer writer;
    cp_strbuf_init(&text, CP_BENCH_TEXT_MAX);
    cp_json_writer_init(&writer, &text);
    if (c->json)
        cp_speed_write_json(report, &writer);
    else
        cp_speed_write_table(report, &text);
    cp_status status = cp_bench_print(&text, err);
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status run(speed_command *c, cp_error *err) {
    cp_speed_report report = {.n = c->models.n,
                              .plan = &c->plan,
                              .memory_bytes = cp_sysinfo_memory_total(),
                              .command = cp_strbuf_text(&c->command),
                              .note = c->note};
    cp_speed_result *results = calloc(c->models.n, sizeof *results);
    if (!results)
        return cp_error_no_memory(err, "results");
    cp_sysinfo_cpu_name(report.cpu, sizeof report.cpu);
    cp_clock_stamp(report.stamp);
    report.models = results;
    cp_status status = measure(c, results, &report.probe_bytes, err);
    if (status == CP_OK && c->html)
        status = write_html(c->html, &report, err);
    if (status == CP_OK)
        status = print(c, &report, err);
    free(results);
    return status;
}

/* The texts of the options that are lists and words. */
typedef struct list_texts {
    const char *prompts, *depths, *batches, *kv;
} list_texts;

static cp_status read_lists(const list_texts *t, cp_speed_plan *plan, cp_error *err) {
    cp_status status =
        cp_number_list_parse("prompt", t->prompts, 1, MOST_TOKENS, &plan->prompts, err);
    if (status == CP_OK)
        status = cp_number_list_parse("depth", t->depths, 0, MOST_TOKENS, &plan->depths, err);
    if (status == CP_OK)
        status =
            cp_number_list_parse("batch", t->batches, 1, CP_SPEED_MAX_BATCH, &plan->batches, err);
    if (status == CP_OK && !cp_kv_parse(t->kv, &plan->kv))
        status = cp_error_set(err, CP_ERR_USAGE, "--kv is \"%s\", expected auto, f32, f16 or int8",
                              t->kv);
    return status;
}

static cp_status prepare(speed_command *c, const list_texts *texts, int argc, char **argv,
                         cp_error *err) {
    cp_status status = read_lists(texts, &c->plan, err);
    if (status == CP_OK)
        status = cp_word_list_from_args("model", argc, argv, &c->models, err);
    return status;
}

int cmd_bench_speed(int argc, char **argv) {
    const char *last_model = NULL;
    list_texts texts = {"512", "0,4096", "1,2,4,8", "auto"};
    int64_t threads = 0, gen = 128, repeat = 5, buffer = 0, seed = 1;
    speed_command c = {.json = false};
    const cp_arg args[] = {
        {"model", CP_ARG_TEXT, &last_model, "DIR,...",
         "Model folders; the option may be given again", 0, 0, true},
        {"prompt", CP_ARG_TEXT, &texts.prompts, "N,...", "Prefill lengths (default 512)", 0, 0,
         false},
        {"gen", CP_ARG_INT, &gen, "N", "Tokens decoded in a run (default 128)", 1, 1 << 20, false},
        {"depth", CP_ARG_TEXT, &texts.depths, "N,...",
         "Tokens already there when decoding (default 0,4096)", 0, 0, false},
        {"batch", CP_ARG_TEXT, &texts.batches, "N,...",
         "Sequences decoded together (default 1,2,4,8)", 0, 0, false},
        {"threads", CP_ARG_INT, &threads, "N", "Threads (default: one a processor)", 0, CP_TEAM_MAX,
         false},
        {"repeat", CP_ARG_INT, &repeat, "R", "Timed runs of each (default 5)", 1,
         CP_SPEED_MAX_REPEAT, false},
        {"kv", CP_ARG_TEXT, &texts.kv, "KIND", "KV cache: auto, f32, f16, int8 (default auto)", 0,
         0, false},
        {"seed", CP_ARG_INT, &seed, "N", "Seed of the random tokens (default 1)", 0, MAX_SEED,
         false},
        {"buffer", CP_ARG_INT, &buffer, "MIB", "Bandwidth probe's buffer (see bench limits)", 0,
         1 << 20, false},
        {"json", CP_ARG_FLAG, &c.json, NULL, "JSON instead of a table", 0, 0, false},
        {"html", CP_ARG_TEXT, &c.html, "FILE", "Also write a report with plots", 0, 0, false},
        {"note", CP_ARG_TEXT, &c.note, "TEXT", "A line for the report: a commit, an occasion", 0, 0,
         false},
    };
    const cp_command_line line = {
        .usage = "carepath bench speed --model DIR[,DIR...] [--json] [--html FILE]",
        .summary =
            "Prefill and decode rates (tokens/s, median and range of the runs), with the read\n"
            "bandwidth probed beside each decode run and the share of it that was used; load "
            "time,\n"
            "first token cold (fresh processes, warm page cache) and warm (8-token prompt), peak\n"
            "memory of one sequence of prompt and generation. Random tokens, no sampling. Every\n"
            "depth is measured with every batch; what does not fit in memory is left out and said\n"
            "so. Progress goes to stderr when that is a terminal.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    c.plan = (cp_speed_plan){.n_threads = cp_bench_threads(threads),
                             .gen = (size_t)gen,
                             .repeat = (size_t)repeat,
                             .probe_bytes = (size_t)buffer << 20,
                             .seed = (uint64_t)seed,
                             .on_progress = isatty(STDERR_FILENO) ? cp_bench_show_progress : NULL};
    cp_bench_keep_command(argc, argv, &c.command);
    cp_status status = prepare(&c, &texts, argc, argv, &err);
    if (status == CP_OK)
        status = run(&c, &err);
    cp_word_list_deinit(&c.models);
    cp_strbuf_deinit(&c.command);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("bench speed", &err);
}
