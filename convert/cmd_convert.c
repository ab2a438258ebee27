/* carepath convert: makes model folders, quantized or with random weights. */
#include "convert/commands.h"

#include "base/args.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "convert/convert.h"
#include "convert/synthetic.h"

#include <math.h>
#include <stdio.h>

typedef struct wishes {
    const char *synthetic, *tokenizer, *quant;
    const char *places[2]; /* SRC DST, or DST */
    int64_t seed, n_threads;
    bool force, json;
} wishes;

static double bits_a_weight(const cp_convert_kind *k) {
    return k->weights ? (double)k->bytes * 8 / (double)k->weights : 0;
}

static double rms_error(const cp_convert_kind *k) {
    return k->energy > 0 ? sqrt(k->error / k->energy) : 0;
}

/* ---- what was done
 * -------------------------------------------------------------------------------- */

static void put_kind(cp_json_writer *w, const char *name, const cp_convert_kind *k) {
    cp_json_open_object(w);
    cp_json_member_text(w, "kind", name);
    for (int s = 0; s < CP_N_STORAGES; s++)
        if (k->n_stored[s])
            cp_json_member_int(w, cp_storage_name((cp_storage)s), (int64_t)k->n_stored[s]);
    cp_json_member_int(w, "weights", (int64_t)k->weights);
    cp_json_member_int(w, "bytes", (int64_t)k->bytes);
    cp_json_member_number(w, "bits_a_weight", bits_a_weight(k), 6);
    cp_json_member_number(w, "rms_error", rms_error(k), 6);
    cp_json_close_object(w);
}

static cp_status print_json(const char *dst, const cp_source *source, const char *quant,
                            const cp_convert_report *r, cp_error *err) {
    cp_strbuf text;
    cp_json_writer w;
    cp_strbuf_init(&text, 1 << 16);
    cp_json_writer_init(&w, &text);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "model", dst);
    cp_json_member_text(&w, "source", source->origin);
    cp_json_member_text(&w, "source_hash", r->source_hash);
    cp_json_member_text(&w, "quant", quant);
    cp_json_member_int(&w, "weights", (int64_t)r->total.weights);
    cp_json_member_int(&w, "file_bytes", (int64_t)r->file_bytes);
    cp_json_member_number(&w, "bits_a_weight", bits_a_weight(&r->total), 6);
    cp_json_member_number(&w, "rms_error", rms_error(&r->total), 6);
    cp_json_member_number(&w, "seconds", r->seconds, 4);
    cp_json_key(&w, "kinds");
    cp_json_open_array(&w);
    for (int k = 0; k < CP_N_KINDS; k++)
        if (r->kinds[k].weights)
            put_kind(&w, cp_kind_name((cp_tensor_kind)k), &r->kinds[k]);
    cp_json_close_array(&w);
    cp_json_close_object(&w);
    cp_status status = cp_strbuf_check(&text, "report", err);
    if (status == CP_OK)
        printf("%s\n", cp_strbuf_text(&text));
    cp_strbuf_deinit(&text);
    return status;
}

/* "int8" where all are alike, "19 int8, 17 int4" where not. */
static void describe_storage(const cp_convert_kind *k, char *out, size_t cap) {
    size_t used = 0, n_sorts = 0;
    for (int s = 0; s < CP_N_STORAGES; s++)
        n_sorts += k->n_stored[s] > 0;
    out[0] = '\0';
    for (int s = 0; s < CP_N_STORAGES && used < cap; s++) {
        const char *name = cp_storage_name((cp_storage)s), *comma = used ? ", " : "";
        if (!k->n_stored[s])
            continue;
        int n = n_sorts > 1
                    ? snprintf(out + used, cap - used, "%s%zu %s", comma, k->n_stored[s], name)
                    : snprintf(out, cap, "%s", name);
        used += n > 0 ? (size_t)n : 0;
    }
}

static void print_line(const char *name, const cp_convert_kind *k, bool with_storage) {
    char storage[64] = "";
    if (with_storage)
        describe_storage(k, storage, sizeof storage);
    printf("%-14s %9.2f M  %6.3f bits  error %7.4f%%  %s\n", name, (double)k->weights / 1e6,
           bits_a_weight(k), 100 * rms_error(k), storage);
}

static void print_table(const char *dst, const cp_source *source, const char *quant,
                        const cp_convert_report *r) {
    for (int k = 0; k < CP_N_MATRIX_KINDS; k++)
        if (r->kinds[k].weights)
            print_line(cp_kind_name((cp_tensor_kind)k), &r->kinds[k], true);
    print_line("all, norms in", &r->total, false);
    printf("%s: %s as %s, %.1f MB, %.1f s, source hash %s\n", dst, source->origin, quant,
           (double)r->file_bytes / 1e6, r->seconds, r->source_hash);
}

/* ---- doing it
 * ------------------------------------------------------------------------------------- */

static cp_status open_source(const wishes *w, cp_source *out, const char **dst, cp_error *err) {
    *out = (cp_source){0};
    if (w->synthetic && w->places[1])
        return cp_error_set(err, CP_ERR_USAGE,
                            "with --synthetic there is one folder, the one to make, not two");
    *dst = w->places[w->synthetic ? 0 : 1];
    if (!*dst)
        return cp_error_set(err, CP_ERR_USAGE, "the folder to make is missing (see --help)");
    return w->synthetic ? cp_synthetic_open(w->synthetic, w->tokenizer, (uint64_t)w->seed, out, err)
                        : cp_source_open(w->places[0], out, err);
}

static cp_status run(const wishes *w, cp_error *err) {
    cp_convert_options options = {.n_threads = (size_t)w->n_threads, .force = w->force};
    cp_convert_report report;
    cp_source source;
    const char *dst = NULL, *quant = w->quant ? w->quant : w->synthetic ? "bf16" : NULL;
    if (!quant)
        return cp_error_set(err, CP_ERR_USAGE, "--quant is missing: " CP_QUANT_LEVEL_NAMES);
    if (!cp_quant_level_of(quant, &options.level))
        return cp_error_set(err, CP_ERR_USAGE,
                            "--quant is \"%.32s\", expected " CP_QUANT_LEVEL_NAMES, quant);
    cp_status status = open_source(w, &source, &dst, err);
    if (status == CP_OK)
        status = cp_convert(&source, dst, &options, &report, err);
    if (status == CP_OK && w->json)
        status = print_json(dst, &source, quant, &report, err);
    else if (status == CP_OK)
        print_table(dst, &source, quant, &report);
    cp_source_close(&source);
    return status;
}

int cmd_convert(int argc, char **argv) {
    wishes w = {.tokenizer = "models/qwen3-tokenizer", .seed = 1};
    const cp_arg args[] = {
        {"quant", CP_ARG_TEXT, &w.quant, "LEVEL",
         CP_QUANT_LEVEL_NAMES " (bf16 is --synthetic's default)", 0, 0, false},
        {"synthetic", CP_ARG_TEXT, &w.synthetic, "NAME",
         "Random weights in the shape of qwen3-0.6b, qwen3-1.7b, qwen3-4b, qwen3-4b-thinking-2507",
         0, 0, false},
        {"tokenizer", CP_ARG_TEXT, &w.tokenizer, "DIR",
         "With --synthetic: its tokenizer (default models/qwen3-tokenizer)", 0, 0, false},
        {"seed", CP_ARG_INT, &w.seed, "N", "With --synthetic: seed of the weights (default 1)", 0,
         9007199254740992.0, false},
        {"threads", CP_ARG_INT, &w.n_threads, "N", "Threads (default: one a processor)", 0, 1024,
         false},
        {"force", CP_ARG_FLAG, &w.force, NULL, "Replace DST if it is a model folder", 0, 0, false},
        {"json", CP_ARG_FLAG, &w.json, NULL, "The report as JSON", 0, 0, false},
    };
    const cp_command_line line = {
        .usage = "carepath convert SRC DST --quant LEVEL\n"
                 "       carepath convert --synthetic NAME DST [--quant LEVEL] [--seed N]",
        .summary =
            "Makes the model folder DST from the model SRC, its matrices stored at LEVEL, or from\n"
            "random weights in the shape of a published model (for measuring speed and memory;\n"
            "what it writes means nothing). DST appears when it is complete. Prints what every\n"
            "kind of matrix became, its bits a weight and its relative error.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
        .positional = w.places,
        .max_positional = 2,
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    return run(&w, &err) == CP_OK ? CP_EXIT_OK : cp_command_failed("convert", &err);
}
