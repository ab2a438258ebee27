/* carepath perplexity: how well the model predicts given tokens. */
#include "llm/commands.h"

#include "base/args.h"
#include "base/mem.h"
#include "llm/jsonl.h"
#include "llm/model_folder.h"

#include <math.h>
#include <stdio.h>

static cp_status run_line(void *user, const cp_ids *ids, cp_json_writer *out, cp_error *err) {
    double nll;
    cp_status status = cp_session_nll(user, ids->ids, ids->n, &nll, err);
    if (status != CP_OK)
        return status;
    cp_json_open_object(out);
    cp_json_member_number(out, "nll", nll, 12);
    cp_json_member_int(out, "tokens", (int64_t)ids->n - 1);
    cp_json_member_number(out, "ppl", exp(nll / (double)(ids->n - 1)), 12);
    cp_json_close_object(out);
    return CP_OK;
}

static cp_status run(const char *dir, const cp_engine_options *options, size_t context,
                     cp_error *err) {
    cp_engine *engine;
    cp_session *session;
    cp_status status = cp_model_folder_open(dir, options, &engine, NULL, err);
    if (status != CP_OK)
        return status;
    size_t most = cp_engine_config(engine)->max_positions;
    status = cp_session_create(engine, context < most ? context : most, &session, err);
    if (status == CP_OK)
        status = cp_jsonl_run(run_line, session, err);
    cp_session_free(session);
    cp_engine_close(engine);
    return status;
}

int cmd_perplexity(int argc, char **argv) {
    const char *dir = NULL, *kv = NULL;
    int64_t threads = 0, context = 32768;
    const cp_arg args[] = {
        {"model", CP_ARG_TEXT, &dir, "DIR", "Model folder", 0, 0, true},
        {"threads", CP_ARG_INT, &threads, "N", "Threads (default: one a processor)", 0, 256, false},
        {"kv", CP_ARG_TEXT, &kv, "KIND", "KV cache: auto, f32, f16 or int8", 0, 0, false},
        {"context", CP_ARG_INT, &context, "N", "Longest input in tokens (default 32768)", 1,
         1 << 24, false},
    };
    const cp_command_line line = {
        .usage = "carepath perplexity --model DIR < ids.jsonl",
        .summary = "Reads JSON lines {\"ids\": [...]} from stdin and writes {\"nll\": sum, "
                   "\"tokens\": n, \"ppl\": x}\n"
                   "for each: token t is predicted from tokens 0..t-1, natural logarithm, ppl = "
                   "exp(nll / n).",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    cp_engine_options options = {.n_threads = (size_t)threads, .plan_tokens = (size_t)context};
    cp_status status = cp_model_parse_kv(kv, &options.kv, &err);
    if (status == CP_OK)
        status = run(dir, &options, (size_t)context, &err);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("perplexity", &err);
}
