/* carepath doctor: what this machine offers, what a model needs, and whether it fits. */
#include "llm/commands.h"

#include "base/args.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "engine/sysinfo.h"
#include "llm/model_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FEATURES 16

typedef struct report {
    char cpu[128];
    cp_cpu_feature features[MAX_FEATURES];
    size_t n_features, cpus, memory_total, memory_available;

    cp_engine *engine;       /* NULL without --model */
    cp_tokenizer *tokenizer; /* kept open: a server has its tables in memory, too */
    size_t context, weight_bytes, kv_token_bytes, session_bytes, workspace_bytes, process_bytes;
    size_t needed_bytes; /* the largest resident set when one sequence fills the context */
    bool fits;
} report;

static cp_status inspect(report *r, const char *dir, const cp_engine_options *options,
                         cp_error *err) {
    cp_sysinfo_cpu_name(r->cpu, sizeof r->cpu);
    r->n_features = cp_sysinfo_cpu_features(r->features, MAX_FEATURES);
    r->cpus = cp_sysinfo_cpus();
    r->memory_total = cp_sysinfo_memory_total();
    r->memory_available = cp_sysinfo_memory_available();
    if (!dir)
        return CP_OK;
    size_t program = cp_sysinfo_rss() - cp_sysinfo_rss_anonymous(); /* code and libraries */
    cp_status status = cp_model_folder_open(dir, options, &r->engine, &r->tokenizer, err);
    if (status != CP_OK)
        return status;
    const cp_model_config *c = cp_engine_config(r->engine);
    r->context = options->plan_tokens < c->max_positions ? options->plan_tokens : c->max_positions;
    r->weight_bytes = cp_engine_weight_bytes(r->engine);
    r->kv_token_bytes = cp_engine_kv_bytes(r->engine);
    status = cp_session_bytes(r->engine, r->context, &r->session_bytes, err);
    r->workspace_bytes = cp_engine_workspace_bytes(r->engine);
    r->process_bytes = program + cp_sysinfo_rss_anonymous(); /* of the model's files no page */
    r->needed_bytes = r->weight_bytes + r->session_bytes + r->workspace_bytes + r->process_bytes;
    r->fits = r->needed_bytes <= r->memory_available;
    return status;
}

static void print_json(const report *r, const char *dir, cp_json_writer *w) {
    cp_json_open_object(w);
    cp_json_member_text(w, "cpu", r->cpu);
    cp_json_member_int(w, "processors", (int64_t)r->cpus);
    cp_json_key(w, "features");
    cp_json_open_object(w);
    for (size_t i = 0; i < r->n_features; i++)
        cp_json_member_bool(w, r->features[i].name, r->features[i].present);
    cp_json_close_object(w);
    cp_json_member_int(w, "memory_total_bytes", (int64_t)r->memory_total);
    cp_json_member_int(w, "memory_available_bytes", (int64_t)r->memory_available);
    if (r->engine) {
        const cp_model_config *c = cp_engine_config(r->engine);
        cp_json_key(w, "model");
        cp_json_open_object(w);
        cp_json_member_text(w, "folder", dir);
        cp_json_member_text(w, "architecture", c->architecture);
        cp_json_member_int(w, "layers", (int64_t)c->n_layers);
        cp_json_member_int(w, "hidden_size", (int64_t)c->hidden_size);
        cp_json_member_int(w, "max_positions", (int64_t)c->max_positions);
        cp_json_member_text(w, "isa", cp_engine_isa(r->engine));
        cp_json_member_int(w, "weight_bytes", (int64_t)r->weight_bytes);
        cp_json_member_int(w, "kv_bytes_per_token", (int64_t)r->kv_token_bytes);
        cp_json_member_int(w, "context_tokens", (int64_t)r->context);
        cp_json_member_text(w, "quant", cp_engine_quant(r->engine));
        cp_json_member_text(w, "kv", cp_kv_name(cp_engine_kv(r->engine)));
        cp_json_member_int(w, "session_bytes", (int64_t)r->session_bytes);
        cp_json_member_int(w, "workspace_bytes", (int64_t)r->workspace_bytes);
        cp_json_member_int(w, "process_bytes", (int64_t)r->process_bytes);
        cp_json_member_int(w, "needed_bytes", (int64_t)r->needed_bytes);
        cp_json_member_bool(w, "fits", r->fits);
        cp_json_close_object(w);
    }
    cp_json_close_object(w);
}

static double mib(size_t bytes) {
    return (double)bytes / (1 << 20);
}

static void print_text(const report *r, const char *dir) {
    printf("CPU         %s\n", r->cpu);
    printf("Processors  %zu usable by this process\n", r->cpus);
    printf("Features   ");
    for (size_t i = 0; i < r->n_features; i++)
        printf(" %s%s", r->features[i].present ? "" : "no-", r->features[i].name);
    printf("\nMemory      %.0f MiB, %.0f MiB available\n", mib(r->memory_total),
           mib(r->memory_available));
    if (!r->engine) {
        printf("Model       none named; --model DIR tells what one needs\n");
        return;
    }
    const cp_model_config *c = cp_engine_config(r->engine);
    printf("Model       %s: %s, %zu layers, hidden %zu, vocabulary %zu\n", dir, c->architecture,
           c->n_layers, c->hidden_size, c->vocab_size);
    printf("Kernels     %s\n", cp_engine_isa(r->engine));
    printf("Weights     %.1f MiB (%s), mapped from the files\n", mib(r->weight_bytes),
           cp_engine_quant(r->engine));
    printf("KV cache    %.1f KiB a token (%s)\n", (double)r->kv_token_bytes / 1024,
           cp_kv_name(cp_engine_kv(r->engine)));
    printf("Session     %.1f MiB with %zu tokens of context\n", mib(r->session_bytes), r->context);
    printf("Program     %.1f MiB and %.1f MiB for a step\n", mib(r->process_bytes),
           mib(r->workspace_bytes));
    printf("Needed      %.1f MiB: %s\n", mib(r->needed_bytes),
           r->fits ? "it fits" : "more than is available; choose a smaller --context or model");
}

static cp_status run(const char *dir, const cp_engine_options *options, bool json, cp_error *err) {
    report r = {0};
    cp_status status = inspect(&r, dir, options, err);
    if (status == CP_OK && json) {
        cp_strbuf text;
        cp_json_writer writer;
        cp_strbuf_init(&text, 1 << 16);
        cp_json_writer_init(&writer, &text);
        print_json(&r, dir, &writer);
        status = cp_strbuf_check(&text, "report", err);
        if (status == CP_OK)
            puts(text.data);
        cp_strbuf_deinit(&text);
    } else if (status == CP_OK) {
        print_text(&r, dir);
    }
    cp_tokenizer_close(r.tokenizer);
    cp_engine_close(r.engine);
    return status;
}

int cmd_doctor(int argc, char **argv) {
    const char *dir = NULL, *kv = NULL;
    int64_t context = 4096;
    bool json = false;
    const cp_arg args[] = {
        {"model", CP_ARG_TEXT, &dir, "DIR", "Model folder to judge", 0, 0, false},
        {"context", CP_ARG_INT, &context, "N", "Tokens of context to plan for (default 4096)", 1,
         1 << 24, false},
        {"kv", CP_ARG_TEXT, &kv, "KIND", "KV cache: auto, f32, f16 or int8", 0, 0, false},
        {"json", CP_ARG_FLAG, &json, NULL, "JSON instead of text", 0, 0, false},
    };
    const cp_command_line line = {
        .usage = "carepath doctor [--model DIR] [--context N] [--json]",
        .summary =
            "What this machine offers (processors, instruction sets, memory), what a model needs\n"
            "(weights, KV cache), and whether it fits.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    cp_engine_options options = {.plan_tokens = (size_t)context};
    cp_status status = cp_model_parse_kv(kv, &options.kv, &err);
    if (status == CP_OK)
        status = run(dir, &options, json, &err);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("doctor", &err);
}
