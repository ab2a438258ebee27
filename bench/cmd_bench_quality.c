/* carepath bench quality: what a model loses against a reference. */
#include "bench/subcommands.h"

#include "base/args.h"
#include "base/file.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "bench/quality.h"
#include "bench/team.h"
#include "tokenizer/tokenizer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct quality_command {
    const char *model, *reference, *text;
    size_t context, max_windows;
    cp_engine_options options;
    bool json;
} quality_command;

static void show_window(size_t done, size_t all) {
    fprintf(stderr, "\rwindow %zu of %zu%s", done, all, done == all ? "\n" : "");
}

static cp_status read_ids(const quality_command *c, cp_ids *ids, cp_error *err) {
    cp_tokenizer *tokenizer = NULL;
    cp_strbuf text;
    cp_status status = cp_file_read(c->text, CP_TOKENIZER_MAX_TEXT, &text, err);
    if (status == CP_OK)
        status = cp_tokenizer_open(c->model, &tokenizer, err);
    if (status == CP_OK)
        status = cp_tokenizer_encode(tokenizer, cp_strbuf_text(&text), text.n,
                                     &(cp_encode_options){0}, ids, err);
    cp_tokenizer_close(tokenizer);
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status compare(const quality_command *c, cp_quality *out, const char *levels[2],
                         cp_error *err) {
    cp_engine *model = NULL, *reference = NULL;
    cp_ids ids = {0};
    cp_status status = read_ids(c, &ids, err);
    if (status == CP_OK)
        status = cp_engine_open(c->model, &c->options, &model, err);
    if (status == CP_OK)
        status = cp_engine_open(c->reference, &c->options, &reference, err);
    if (status == CP_OK)
        status = cp_quality_run(model, reference, ids.ids, ids.n, c->context, c->max_windows,
                                isatty(STDERR_FILENO) ? show_window : NULL, out, err);
    if (status == CP_OK) {
        levels[0] = cp_engine_quant(model); /* names of the program's own */
        levels[1] = cp_engine_quant(reference);
    }
    cp_ids_deinit(&ids);
    cp_engine_close(model);
    cp_engine_close(reference);
    return status;
}

static void write_json(const quality_command *c, const cp_quality *q, const char *levels[2],
                       cp_json_writer *w) {
    const struct {
        const char *key;
        double value;
    } numbers[] = {
        {"ppl", q->model_ppl},
        {"ppl_error", q->model_ppl_error},
        {"reference_ppl", q->reference_ppl},
        {"reference_ppl_error", q->reference_ppl_error},
        {"kl_mean", q->kl_mean},
        {"kl_mean_error", q->kl_mean_error},
        {"kl_median", q->kl_median},
        {"kl_p99", q->kl_p99},
        {"kl_max", q->kl_max},
        {"top1_agreement", q->agreement},
        {"top1_agreement_error", q->agreement_error},
    };
    cp_json_open_object(w);
    cp_json_member_text(w, "model", c->model);
    cp_json_member_text(w, "quant", levels[0]);
    cp_json_member_text(w, "reference", c->reference);
    cp_json_member_text(w, "reference_quant", levels[1]);
    cp_json_member_text(w, "version", CP_VERSION);
    cp_json_member_int(w, "context", (int64_t)c->context);
    cp_json_member_int(w, "windows", (int64_t)q->n_windows);
    cp_json_member_int(w, "tokens", (int64_t)q->n_scored);
    for (size_t i = 0; i < CP_COUNT_OF(numbers); i++)
        cp_json_member_number(w, numbers[i].key, numbers[i].value, 8);
    cp_json_close_object(w);
}

static void write_text(const quality_command *c, const cp_quality *q, const char *levels[2],
                       cp_strbuf *out) {
    cp_strbuf_printf(out, "Model          %s (%s)\n", c->model, levels[0]);
    cp_strbuf_printf(out, "Reference      %s (%s)\n", c->reference, levels[1]);
    cp_strbuf_printf(out, "Text           %s: %zu windows of %zu tokens, %zu scored\n", c->text,
                     q->n_windows, c->context, q->n_scored);
    cp_strbuf_printf(out, "Perplexity     %.4f ± %.4f, the reference's %.4f ± %.4f\n", q->model_ppl,
                     q->model_ppl_error, q->reference_ppl, q->reference_ppl_error);
    cp_strbuf_printf(out,
                     "KL divergence  mean %.6f ± %.6f, median %.6f, 99th percentile %.6f, "
                     "largest %.6f nats\n",
                     q->kl_mean, q->kl_mean_error, q->kl_median, q->kl_p99, q->kl_max);
    cp_strbuf_printf(out, "Same top token %.3f%% ± %.3f%%", 100 * q->agreement,
                     100 * q->agreement_error);
}

static cp_status run(const quality_command *c, cp_error *err) {
    cp_quality quality;
    cp_strbuf text;
    cp_json_writer writer;
    const char *levels[2];
    cp_status status = compare(c, &quality, levels, err);
    if (status != CP_OK)
        return status;
    cp_strbuf_init(&text, CP_BENCH_TEXT_MAX);
    cp_json_writer_init(&writer, &text);
    if (c->json)
        write_json(c, &quality, levels, &writer);
    else
        write_text(c, &quality, levels, &text);
    status = cp_bench_print(&text, err);
    cp_strbuf_deinit(&text);
    return status;
}

int cmd_bench_quality(int argc, char **argv) {
    quality_command c = {0};
    const char *kv = "auto";
    int64_t context = 512, windows = 0, threads = 0;
    const cp_arg args[] = {
        {"model", CP_ARG_TEXT, &c.model, "DIR", "Model folder to judge; its tokenizer reads", 0, 0,
         true},
        {"reference", CP_ARG_TEXT, &c.reference, "DIR", "Model folder to judge it against", 0, 0,
         true},
        {"text", CP_ARG_TEXT, &c.text, "FILE", "UTF-8 text, at least one window long", 0, 0, true},
        {"context", CP_ARG_INT, &context, "N", "Tokens of a window, even (default 512)", 4, 1 << 20,
         false},
        {"windows", CP_ARG_INT, &windows, "N", "At most so many windows (default 0: all)", 0,
         1 << 30, false},
        {"kv", CP_ARG_TEXT, &kv, "KIND", "KV cache: auto, f32, f16, int8 (default auto)", 0, 0,
         false},
        {"threads", CP_ARG_INT, &threads, "N", "Threads (default: one a processor)", 0, CP_TEAM_MAX,
         false},
        {"json", CP_ARG_FLAG, &c.json, NULL, "JSON instead of text", 0, 0, false},
    };
    const cp_command_line line = {
        .usage = "carepath bench quality --model DIR --reference DIR --text FILE [--json]",
        .summary =
            "Perplexity of both models (± standard error), the KL divergence D(reference || "
            "model)\n"
            "of their next-token distributions in nats a token, and how often both find the same\n"
            "token most likely. Conventions of llama.cpp's llama-perplexity --kl-divergence:\n"
            "windows of N tokens from an empty cache, no begin token added, the second half of\n"
            "each window scored (its tokens N/2 + 1 to N - 1), a last shorter window dropped.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    cp_status status = CP_OK;
    c.context = (size_t)context;
    c.max_windows = (size_t)windows;
    c.options.n_threads = cp_bench_threads(threads);
    if (context % 2)
        status = cp_error_set(&err, CP_ERR_USAGE, "--context is %lld, expected an even number",
                              (long long)context);
    else if (!cp_kv_parse(kv, &c.options.kv))
        status =
            cp_error_set(&err, CP_ERR_USAGE, "--kv is \"%s\", expected auto, f32, f16 or int8", kv);
    if (status == CP_OK)
        status = run(&c, &err);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("bench quality", &err);
}
