/* carepath bench start: one cold start in this process, for bench speed and for scripts. */
#include "bench/subcommands.h"

#include "base/args.h"
#include "base/mem.h"
#include "bench/cold_start.h"
#include "bench/team.h"

int cmd_bench_start(int argc, char **argv) {
    const char *dir = NULL, *kv = "auto";
    int64_t threads = 0, first_prompt = 8, prompt = 0, gen = 0, seed = 1;
    const cp_arg args[] = {
        {"model", CP_ARG_TEXT, &dir, "DIR", "Model folder", 0, 0, true},
        {"first-prompt", CP_ARG_INT, &first_prompt, "N",
         "Tokens before the first answer (default 8)", 1, 1 << 20, false},
        {"prompt", CP_ARG_INT, &prompt, "N", "Tokens evaluated after that (default 0)", 0, 1 << 20,
         false},
        {"gen", CP_ARG_INT, &gen, "N", "Tokens decoded after that (default 0)", 0, 1 << 20, false},
        {"threads", CP_ARG_INT, &threads, "N", "Threads (default: one a processor)", 0, CP_TEAM_MAX,
         false},
        {"kv", CP_ARG_TEXT, &kv, "KIND", "KV cache: auto, f32, f16, int8 (default auto)", 0, 0,
         false},
        {"seed", CP_ARG_INT, &seed, "N", "Seed of the random tokens (default 1)", 0,
         9007199254740992.0, false},
    };
    const cp_command_line line = {
        .usage = "carepath bench start --model DIR",
        .summary = "Opens the model, gives a first token, then evaluates and decodes more. Prints "
                   "{\"load_s\"} when\nthe first token is there and {\"rss_bytes\"}, the peak "
                   "resident set, at the end.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    cp_status status = CP_OK;
    cp_start_plan plan = {.dir = dir,
                          .options = {.n_threads = cp_bench_threads(threads)},
                          .first_prompt = (size_t)first_prompt,
                          .prompt = (size_t)prompt,
                          .gen = (size_t)gen,
                          .seed = (uint64_t)seed};
    if (!cp_kv_parse(kv, &plan.options.kv))
        status =
            cp_error_set(&err, CP_ERR_USAGE, "--kv is \"%s\", expected auto, f32, f16 or int8", kv);
    if (status == CP_OK)
        status = cp_start_here(&plan, &err);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("bench start", &err);
}
