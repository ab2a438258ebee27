/* carepath bench retrieval: whether the passages that answer are found. */
#include "bench/subcommands.h"

#include "base/args.h"
#include "base/mem.h"
#include "bench/lists.h"
#include "bench/retrieval_report.h"
#include "engine/sysinfo.h"

#include <unistd.h>

#define MAX_CHUNKS 10000000.0
#define MAX_SEED   9007199254740992.0

typedef struct retrieval_command {
    cp_retrieval_plan plan;
    cp_retrieval_report report;
    const char *scales, *html;
    int64_t threads, repeat, seed;
    bool json;
    cp_strbuf command;
} retrieval_command;

static cp_status read_scales(retrieval_command *c, cp_error *err) {
    cp_number_list list = {.n = 0};
    if (!c->scales)
        return CP_OK;
    cp_status status = cp_number_list_parse("scales", c->scales, 1, (size_t)MAX_CHUNKS, &list, err);
    if (status == CP_OK && list.n > CP_MAX_SCALES)
        status = cp_error_set(err, CP_ERR_USAGE, "--scales has %zu sizes, expected at most %d",
                              list.n, CP_MAX_SCALES);
    for (size_t i = 0; i < list.n && status == CP_OK; i++)
        c->plan.scales[c->plan.n_scales++] = list.values[i];
    return status;
}

static cp_status write_html(const retrieval_command *c, cp_error *err) {
    cp_strbuf text;
    cp_strbuf_init(&text, CP_BENCH_TEXT_MAX);
    cp_retrieval_write_html(&c->report, &text);
    cp_status status = cp_bench_write(c->html, &text, err);
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status print(const retrieval_command *c, cp_error *err) {
    cp_strbuf text;
    cp_json_writer writer;
    cp_strbuf_init(&text, CP_BENCH_TEXT_MAX);
    cp_json_writer_init(&writer, &text);
    if (c->json)
        cp_retrieval_write_json(&c->report, &writer);
    else
        cp_retrieval_write_table(&c->report, &text);
    cp_status status = cp_bench_print(&text, err);
    cp_strbuf_deinit(&text);
    return status;
}

/* Somebody else's document in an answer is a failure, whatever the rest says. */
static cp_status judge(const cp_retrieval_report *r, cp_error *err) {
    for (cp_retrieval_mode mode = 0; mode < CP_N_RETRIEVAL_MODES; mode++)
        if (r->modes[mode].n_foreign + r->modes[mode].n_never > 0)
            return cp_error_set(err, CP_ERR_FORMAT, "%s: %zu documents of other patients",
                                cp_retrieval_mode_name(mode),
                                r->modes[mode].n_foreign + r->modes[mode].n_never);
    return CP_OK;
}

static cp_status run(retrieval_command *c, cp_error *err) {
    cp_retrieval_set set = {0};
    c->report.plan = &c->plan;
    c->report.command = cp_strbuf_text(&c->command);
    cp_sysinfo_cpu_name(c->report.cpu, sizeof c->report.cpu);
    cp_clock_stamp(c->report.stamp);
    cp_status status = read_scales(c, err);
    if (status == CP_OK && c->plan.vectors && c->plan.embedding_model)
        status = cp_error_set(err, CP_ERR_USAGE,
                              "--vectors and --embedding-model: expected one of them");
    if (status == CP_OK)
        status = cp_retrieval_set_open(c->plan.data, &set, err);
    if (status == CP_OK)
        status = cp_retrieval_measure(&set, &c->report, err);
    if (status == CP_OK)
        status = cp_retrieval_scale(&set, &c->report, err);
    if (status == CP_OK && c->html)
        status = write_html(c, err);
    if (status == CP_OK)
        status = print(c, err);
    cp_retrieval_set_close(&set);
    return status == CP_OK ? judge(&c->report, err) : status;
}

static cp_args_result parse(retrieval_command *c, int argc, char **argv) {
    cp_retrieval_plan *p = &c->plan;
    const cp_arg args[] = {
        {"data", CP_ARG_TEXT, &p->data, "DIR",
         "Folder with knowledge/, synthetic/ and retrieval/ (default data)", 0, 0, false},
        {"index", CP_ARG_TEXT, &p->index_dir, "DIR",
         "Write the index there (default: in memory); what it has is kept", 0, 0, false},
        {"embedding-model", CP_ARG_TEXT, &p->embedding_model, "DIR",
         "Also search by vectors of this model, alone and fused", 0, 0, false},
        {"reranker-model", CP_ARG_TEXT, &p->reranker_model, "DIR",
         "Also let this model put the best 20 in order", 0, 0, false},
        {"vectors", CP_ARG_TEXT, &p->vectors, "FILE",
         "Instead of an embedding model: JSON Lines {\"text_sha256\", \"vector\"}", 0, 0, false},
        {"texts", CP_ARG_TEXT, &p->texts, "FILE",
         "Write what --vectors would need: JSON Lines {\"text_sha256\", \"text\"}", 0, 0, false},
        {"scales", CP_ARG_TEXT, &c->scales, "N,...",
         "Also latency with so many chunks: 1000,10000,100000", 0, 0, false},
        {"repeat", CP_ARG_INT, &c->repeat, "N", "Ask each question so often (default 3)", 1, 1000,
         false},
        {"seed", CP_ARG_INT, &c->seed, "N", "Of --scales' questions (default 1)", 0, MAX_SEED,
         false},
        {"threads", CP_ARG_INT, &c->threads, "N", "Of models and vectors (default 0: all)", 0, 1024,
         false},
        {"json", CP_ARG_FLAG, &c->json, NULL, "JSON instead of a table", 0, 0, false},
        {"html", CP_ARG_TEXT, &c->html, "FILE", "Also write a report with plots", 0, 0, false},
        {"note", CP_ARG_TEXT, &c->report.note, "TEXT",
         "A line for the report: a commit, an occasion", 0, 0, false},
    };
    const cp_command_line line = {
        .usage = "carepath bench retrieval [--embedding-model DIR] [--scales N,...] [--json]",
        .summary =
            "How many of the documents that answer a question are found, on the questions of\n"
            "data/retrieval: recall@1, 5, 10 and nDCG@10 by kind of question, documents of other\n"
            "patients (none, or the command fails), and latency. Exits with 1 when somebody "
            "else's\n"
            "document was returned.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    return cp_args_parse(&line, argc, argv);
}

int cmd_bench_retrieval(int argc, char **argv) {
    retrieval_command c = {.plan = {.data = "data"}, .repeat = 3, .seed = 1};
    cp_args_result parsed = parse(&c, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    c.plan.n_threads = cp_bench_threads(c.threads);
    c.plan.n_repeat = (size_t)c.repeat;
    c.plan.seed = (uint64_t)c.seed;
    c.plan.on_progress = isatty(STDERR_FILENO) ? cp_bench_show_progress : NULL;
    cp_bench_keep_command(argc, argv, &c.command);
    cp_status status = run(&c, &err);
    cp_strbuf_deinit(&c.command);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("bench retrieval", &err);
}
