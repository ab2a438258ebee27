/* carepath freshness: does the index have what the store has? */
#include "server/commands.h"

#include "base/args.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/freshness.h"
#include "server/model_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_REPORT ((size_t)64 << 10)

typedef struct command {
    cp_settings settings;
    const char *mrns_path, *index_dir, *metrics_path;
    bool json, repair;
    char model[CP_PATH_CAP]; /* "": the index needs no vectors */
} command;

/* The name under which the index keeps vectors of EMBEDDING_MODEL: that of its folder. */
static cp_status find_model(command *c, cp_error *err) {
    char dir[CP_PATH_CAP];
    c->model[0] = '\0';
    if (c->settings.vector_mode != CP_VECTOR_LOCAL || !*c->settings.embedding_model)
        return CP_OK;
    cp_status status = cp_model_path_find("EMBEDDING_MODEL", c->settings.embedding_model,
                                          c->settings.model_cache_dir, "", dir, err);
    cp_str name = status == CP_OK ? cp_path_last(dir) : CP_STR("");
    memcpy(c->model, name.data, name.n);
    c->model[name.n] = '\0';
    return status;
}

static cp_status write_metrics(const command *c, const cp_freshness *found, cp_error *err) {
    cp_strbuf text;
    if (!c->metrics_path)
        return CP_OK;
    cp_strbuf_init(&text, MAX_REPORT);
    cp_freshness_metrics(found, cp_clock_unix_s(), &text);
    cp_status status = cp_strbuf_check(&text, "metrics", err);
    if (status == CP_OK)
        status = cp_file_write(c->metrics_path, cp_strbuf_str(&text), err);
    cp_strbuf_deinit(&text);
    return status;
}

static void show(const command *c, const cp_freshness *found) {
    cp_strbuf text;
    cp_strbuf_init(&text, MAX_REPORT);
    (c->json ? cp_freshness_json : cp_freshness_text)(found, &text);
    fputs(cp_strbuf_text(&text), stdout);
    cp_strbuf_deinit(&text);
}

static cp_status check(command *c, const cp_ingest_tools *tools, bool *clean, cp_error *err) {
    cp_mrn_list mrns = {.mrns = NULL};
    cp_freshness found;
    cp_status status = c->mrns_path ? cp_mrn_list_read_file(c->mrns_path, &mrns, err) : CP_OK;
    const cp_freshness_options options = {.tools = tools,
                                          .mrns = c->mrns_path ? &mrns : NULL,
                                          .model = c->model,
                                          .repair = c->repair};
    if (status == CP_OK)
        status = cp_freshness_check(&options, &found, err);
    if (status == CP_OK) {
        show(c, &found);
        status = write_metrics(c, &found, err);
    }
    if (status == CP_OK)
        *clean = found.failed == 0 && cp_freshness_is_clean(&found.index) &&
                 (!found.has_remote || cp_freshness_is_clean(&found.remote));
    /* What was found is mended, all of it, or this would have failed. */
    if (status == CP_OK && c->repair)
        *clean = found.failed == 0;
    cp_mrn_list_deinit(&mrns);
    return status;
}

static cp_status run_command(command *c, bool *clean, cp_error *err) {
    cp_ingest_tools tools = {.index = NULL};
    *clean = false;
    cp_status status = cp_settings_from_env(&c->settings, getenv, err);
    if (status == CP_OK && c->index_dir)
        c->settings.index_dir = c->index_dir;
    if (status == CP_OK)
        status = find_model(c, err);
    if (status == CP_OK) {
        cp_log_configure((cp_log_level)c->settings.log_level,
                         (cp_log_format)c->settings.log_format);
        status = cp_ingest_tools_open(&c->settings, c->repair, &tools, err);
    }
    if (status == CP_OK)
        status = check(c, &tools, clean, err);
    cp_ingest_tools_close(&tools);
    return status;
}

int cmd_freshness(int argc, char **argv) {
    command c = {.mrns_path = NULL};
    cp_error err;
    bool clean;
    const cp_arg args[] = {
        {"index-dir", CP_ARG_TEXT, &c.index_dir, "DIR", "Folder of the index (INDEX_DIR)", 0, 0,
         false},
        {"mrns", CP_ARG_TEXT, &c.mrns_path, "FILE",
         "Only these patients: record numbers, one a line (- is stdin); a db-api needs it", 0, 0,
         false},
        {"repair", CP_ARG_FLAG, &c.repair, NULL, "Ingest what is missing or stale, remove orphans",
         0, 0, false},
        {"json", CP_ARG_FLAG, &c.json, NULL, "Report as JSON", 0, 0, false},
        {"metrics", CP_ARG_TEXT, &c.metrics_path, "FILE",
         "Write counts for the Prometheus node exporter's textfile collector (*.prom)", 0, 0,
         false},
    };
    const cp_command_line line = {
        .usage = "carepath freshness [--index-dir DIR] [--repair] [--json] [--metrics FILE]",
        .summary = "Compares the patient store and the knowledge base with the index, and with "
                   "Pinecone where\nVECTOR_MODE is pinecone: documents that are missing, stale, "
                   "orphaned or without vectors.\nExit status 1 when something is off, and 0 when "
                   "--repair has mended it.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    if (run_command(&c, &clean, &err) != CP_OK)
        return cp_command_failed("freshness", &err);
    return clean ? CP_EXIT_OK : CP_EXIT_FAILED;
}
