/* carepath convert: makes model folders. So far: random weights in a true shape. */
#include "convert/commands.h"

#include "base/args.h"
#include "base/mem.h"
#include "convert/synthetic.h"

#include <stdio.h>

int cmd_convert(int argc, char **argv) {
    const char *name = NULL, *tokenizer = "models/qwen3-tokenizer", *dst = NULL;
    int64_t seed = 1;
    const cp_arg args[] = {
        {"synthetic", CP_ARG_TEXT, &name, "NAME",
         "qwen3-0.6b, qwen3-1.7b, qwen3-4b, qwen3-4b-thinking-2507", 0, 0, true},
        {"tokenizer", CP_ARG_TEXT, &tokenizer, "DIR",
         "Its tokenizer (default models/qwen3-tokenizer)", 0, 0, false},
        {"seed", CP_ARG_INT, &seed, "N", "Seed of the weights (default 1)", 0, 9007199254740992.0,
         false},
    };
    const cp_command_line line = {
        .usage = "carepath convert --synthetic NAME DST [--seed N]",
        .summary = "Makes the model folder DST with random BF16 weights in the shape of a "
                   "published model and a\n"
                   "real tokenizer: for measuring speed and memory. What it writes means nothing.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
        .positional = &dst,
        .max_positional = 1,
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    cp_status status;
    if (dst)
        status = cp_synthetic_write(name, dst, tokenizer, (uint64_t)seed, &err);
    else
        status = cp_error_set(&err, CP_ERR_USAGE, "the folder to make is missing (usage: %s)",
                              line.usage);
    if (status != CP_OK)
        return cp_command_failed("convert", &err);
    printf("%s: %s, random weights, seed %lld\n", dst, name, (long long)seed);
    return CP_EXIT_OK;
}
