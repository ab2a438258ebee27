/* carepath: one binary, its subcommands in a table, as git has them. */
#include "base/args.h"
#include "base/mem.h"
#include "bench/commands.h"
#include "convert/commands.h"
#include "llm/commands.h"
#include "server/commands.h"
#include "tokenizer/commands.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} command;

static const command commands[] = {
    {"serve", "the triage server", cmd_serve},
    {"keys", "make, list and revoke the server's API keys", cmd_keys},
    {"generate", "continue a prompt", cmd_generate},
    {"chat", "a conversation in the terminal", cmd_chat},
    {"tokenize", "text to token ids and back", cmd_tokenize},
    {"logits", "token ids to logits or embeddings", cmd_logits},
    {"perplexity", "how well a model predicts given tokens", cmd_perplexity},
    {"pull", "fetch a model from the hub", cmd_pull},
    {"convert", "make model folders", cmd_convert},
    {"bench", "measure this machine, and models' speed and quality", cmd_bench},
    {"audit", "check the audit log, show a record", cmd_audit},
    {"replay", "run an audited answer again and compare the bytes", cmd_replay},
    {"eval", "score the triage of the vignettes", cmd_eval},
    {"load-data", "put patients into MongoDB", cmd_load_data},
    {"lookup", "ask the patient store", cmd_lookup},
    {"ingest", "put records and the knowledge base into the index", cmd_ingest},
    {"freshness", "compare the patient store with the index", cmd_freshness},
    {"health", "ask a running server how it is", cmd_health},
    {"doctor", "what this machine offers and a model needs", cmd_doctor},
};

static void show_help(FILE *out) {
    fprintf(out, "CarePath " CP_VERSION ": clinical triage with a local language model.\n\n"
                 "Usage: carepath COMMAND [options]\n\nCommands:\n");
    for (size_t i = 0; i < CP_COUNT_OF(commands); i++)
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n\"carepath COMMAND --help\" tells more; --version prints the version.\n");
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* a closed pipe or socket is an error return, not an end */
    signal(SIGXFSZ, SIG_IGN); /* so is a file that may not grow */
    if (argc < 2) {
        show_help(stderr);
        return CP_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        show_help(stdout);
        return CP_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("carepath " CP_VERSION);
        return CP_EXIT_OK;
    }
    for (size_t i = 0; i < CP_COUNT_OF(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "carepath: \"%.32s\" is no command; \"carepath --help\" lists them\n", argv[1]);
    return CP_EXIT_USAGE;
}
