/* carepath bench: chooses the subcommand. */
#include "bench/commands.h"

#include "base/args.h"
#include "base/file.h"
#include "base/mem.h"
#include "bench/subcommands.h"
#include "engine/sysinfo.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct subcommand {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} subcommand;

#define COMMAND_MAX 8192

static const subcommand subcommands[] = {
    {"limits", "what the machine allows: read bandwidth, peak arithmetic", cmd_bench_limits},
    {"speed", "tokens a second of models, beside the limits; table, JSON, HTML", cmd_bench_speed},
    {"quality", "perplexity and KL divergence against a reference model", cmd_bench_quality},
    {"load", "load on a running server: rates, errors, latencies, its memory; table, JSON, HTML",
     cmd_bench_load},
    {"search", "exact search among stored vectors, beside the plain reading of the same memory",
     cmd_bench_search},
    {"retrieval", "whether the passages that answer are found; table, JSON, HTML",
     cmd_bench_retrieval},
    {"start", "one cold start in this process (bench speed runs it)", cmd_bench_start},
};

static void show_help(void) {
    printf("Usage: carepath bench SUBCOMMAND [options]\n\nMeasures this machine, a model's speed "
           "on it, what quantization costs in quality, and a server under load.\n\nSubcommands:\n");
    for (size_t i = 0; i < CP_COUNT_OF(subcommands); i++)
        printf("  %-12s %s\n", subcommands[i].name, subcommands[i].summary);
    printf("\n\"carepath bench SUBCOMMAND --help\" tells more.\n");
}

int cmd_bench(int argc, char **argv) {
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        show_help();
        return CP_EXIT_OK;
    }
    for (size_t i = 0; argc >= 2 && i < CP_COUNT_OF(subcommands); i++)
        if (strcmp(argv[1], subcommands[i].name) == 0)
            return subcommands[i].run(argc - 1, argv + 1);
    if (argc < 2)
        fprintf(stderr, "carepath bench: the subcommand is missing");
    else
        fprintf(stderr, "carepath bench: \"%.64s\" is no subcommand", argv[1]);
    fprintf(stderr, " (usage: carepath bench limits|speed|quality|load|search [options])\n");
    return CP_EXIT_USAGE;
}

size_t cp_bench_threads(int64_t option) {
    return option > 0 ? (size_t)option : cp_sysinfo_cpus();
}

cp_status cp_bench_print(const cp_strbuf *text, cp_error *err) {
    cp_status status = cp_strbuf_check(text, "report", err);
    if (status != CP_OK)
        return status;
    if (puts(cp_strbuf_text(text)) < 0 || fflush(stdout) != 0)
        return cp_error_set(err, CP_ERR_IO, "stdout: %s", strerror(errno));
    return CP_OK;
}

cp_status cp_bench_write(const char *path, const cp_strbuf *text, cp_error *err) {
    cp_status status = cp_strbuf_check(text, "report", err);
    return status == CP_OK ? cp_file_write(path, cp_strbuf_str(text), err) : status;
}

void cp_bench_show_progress(void *user, const char *line) {
    (void)user;
    fprintf(stderr, "%s\n", line);
}

void cp_bench_keep_command(int argc, char **argv, cp_strbuf *out) {
    static const char patients[] = "--mrns";
    const size_t n = sizeof patients - 1;
    cp_strbuf_init(out, COMMAND_MAX);
    cp_strbuf_puts(out, "carepath bench");
    for (int i = 0; i < argc; i++) {
        if ((i > 0 && strcmp(argv[i - 1], patients) == 0) ||
            (strncmp(argv[i], patients, n) == 0 && argv[i][n] == '=')) {
            cp_strbuf_puts(out, argv[i][0] == '-' ? " --mrns=MRN,..." : " MRN,...");
            continue;
        }
        bool plain = argv[i][0] && !argv[i][strcspn(argv[i], " \t\n'\"\\$`;&|<>()*?#")];
        cp_strbuf_printf(out, plain ? " %s" : " '%s'", argv[i]);
    }
}
