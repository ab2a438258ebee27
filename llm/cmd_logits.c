/* carepath logits: token ids to logits or embeddings, for comparison with other implementations. */
#include "llm/commands.h"

#include "base/args.h"
#include "base/mem.h"
#include "llm/jsonl.h"
#include "llm/model_folder.h"

#include <stdio.h>
#include <stdlib.h>

#define DIGITS 9 /* a float32 survives the round trip */

typedef struct logits_command {
    cp_engine *engine;
    cp_session *session;
    float *embedding; /* [hidden_size] */
    bool all, embed;
    cp_json_writer *out;
} logits_command;

static void put_floats(cp_json_writer *out, const float *values, size_t n) {
    cp_json_open_array(out);
    for (size_t i = 0; i < n; i++)
        cp_json_put_number(out, values[i], DIGITS);
    cp_json_close_array(out);
}

static void put_position(void *user, size_t position, const float *logits) {
    logits_command *c = user;
    (void)position; /* they come in order */
    put_floats(c->out, logits, cp_engine_config(c->engine)->vocab_size);
}

static cp_status run_line(void *user, const cp_ids *ids, cp_json_writer *out, cp_error *err) {
    logits_command *c = user;
    cp_eval_hooks hooks = {.on_logits = c->all ? put_position : NULL, .user = c};
    c->out = out;
    cp_session_rewind(c->session, 0);
    cp_json_open_object(out);
    cp_json_key(out, c->embed ? "embedding" : "logits");
    if (c->all)
        cp_json_open_array(out);
    cp_status status = cp_session_eval(c->session, ids->ids, ids->n, &hooks, err);
    if (status != CP_OK)
        return status;
    if (c->all)
        cp_json_close_array(out);
    else if (c->embed) {
        cp_session_embedding(c->session, c->embedding);
        put_floats(out, c->embedding, cp_engine_config(c->engine)->hidden_size);
    } else {
        put_floats(out, cp_session_logits(c->session), cp_engine_config(c->engine)->vocab_size);
    }
    cp_json_close_object(out);
    return CP_OK;
}

static cp_status run(const char *dir, const cp_engine_options *options, size_t context,
                     logits_command *c, cp_error *err) {
    cp_status status = cp_model_folder_open(dir, options, &c->engine, NULL, err);
    if (status != CP_OK)
        return status;
    const cp_model_config *config = cp_engine_config(c->engine);
    size_t cap = context < config->max_positions ? context : config->max_positions;
    status = cp_session_create(c->engine, cap, &c->session, err);
    c->embedding = cp_alloc_aligned(config->hidden_size, sizeof *c->embedding);
    if (status == CP_OK && !c->embedding)
        status = cp_error_no_memory(err, "embedding");
    if (status == CP_OK)
        status = cp_jsonl_run(run_line, c, err);
    free(c->embedding);
    cp_session_free(c->session);
    cp_engine_close(c->engine);
    return status;
}

int cmd_logits(int argc, char **argv) {
    const char *dir = NULL, *kv = NULL;
    int64_t threads = 0, context = 32768;
    logits_command c = {0};
    const cp_arg args[] = {
        {"model", CP_ARG_TEXT, &dir, "DIR", "Model folder", 0, 0, true},
        {"all", CP_ARG_FLAG, &c.all, NULL, "Logits of every position, not only the last", 0, 0,
         false},
        {"embed", CP_ARG_FLAG, &c.embed, NULL,
         "The embedding instead: last hidden state, L2-normalised", 0, 0, false},
        {"threads", CP_ARG_INT, &threads, "N", "Threads (default: one a processor)", 0, 256, false},
        {"kv", CP_ARG_TEXT, &kv, "KIND", "KV cache: auto, f32, f16 or int8", 0, 0, false},
        {"context", CP_ARG_INT, &context, "N", "Longest input in tokens (default 32768)", 1,
         1 << 24, false},
    };
    const cp_command_line line = {
        .usage = "carepath logits --model DIR [--all | --embed] < ids.jsonl",
        .summary =
            "Reads JSON lines {\"ids\": [...]} from stdin and writes {\"logits\": [...]} of the "
            "last\n"
            "position for each (with --all a list for every position), 9 significant digits.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    cp_engine_options options = {.n_threads = (size_t)threads, .plan_tokens = (size_t)context};
    cp_status status = cp_model_parse_kv(kv, &options.kv, &err);
    if (status == CP_OK && c.all && c.embed)
        status = cp_error_set(&err, CP_ERR_USAGE, "--all and --embed exclude each other");
    if (status == CP_OK)
        status = run(dir, &options, (size_t)context, &c, &err);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("logits", &err);
}
