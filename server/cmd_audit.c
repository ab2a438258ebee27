/* carepath audit: is the log whole, and what does one record say. */
#include "server/commands.h"

#include "base/args.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "server/audit_reader.h"
#include "server/audit_scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FAULTS_SHOWN 100

typedef struct audit_command {
    const char *action, *trace_id; /* of the command line */
    const char *file;
    bool json;
} audit_command;

/* ---- verify -----------------------------------------------------------------------------------
 */

static void collect(void *user, const char *sentence) {
    cJSON *faults = user;
    if (cJSON_GetArraySize(faults) < MAX_FAULTS_SHOWN)
        cJSON_AddItemToArray(faults, cJSON_CreateString(sentence));
}

static void put_report(const char *path, const cp_audit_scan *scan, const cJSON *faults,
                       cp_json_writer *w) {
    const cJSON *fault;
    cp_json_open_object(w);
    cp_json_member_text(w, "file", path);
    cp_json_member_bool(w, "ok", scan->n_faults == 0);
    cp_json_member_int(w, "records", (int64_t)scan->n_records);
    cp_json_member_int(w, "files", (int64_t)scan->n_parts);
    cp_json_member_text(w, "last", scan->next.prev);
    cp_json_member_bool(w, "marks_checked", scan->marks_checked);
    cp_json_member_int(w, "unfinished_bytes", (int64_t)scan->torn_bytes);
    cp_json_member_int(w, "n_faults", (int64_t)scan->n_faults);
    cp_json_key(w, "faults");
    cp_json_open_array(w);
    cJSON_ArrayForEach(fault, faults) cp_json_put_text(w, fault->valuestring);
    cp_json_close_array(w);
    cp_json_close_object(w);
}

static void print_report(const char *path, const cp_audit_scan *scan, const cJSON *faults) {
    const cJSON *fault;
    printf("%s: %" PRIu64 " records in %zu files\n", path, scan->n_records, scan->n_parts);
    cJSON_ArrayForEach(fault, faults) printf("  FAULT: %s\n", fault->valuestring);
    if (scan->n_faults > MAX_FAULTS_SHOWN)
        printf("  and %" PRIu64 " faults more\n", scan->n_faults - MAX_FAULTS_SHOWN);
    if (scan->torn_bytes > 0)
        printf("  the %zu bytes at the end are a record that was never acknowledged\n",
               scan->torn_bytes);
    if (!scan->marks_checked)
        printf("  without SECRET_KEY only the chain was checked: somebody who knows its form "
               "could have made it\n");
    if (scan->n_faults == 0)
        printf("complete and unaltered; the last is %s\n", scan->next.prev);
    else
        printf("NOT as written\n");
}

/* *good: the log has no faults. */
static cp_status verify(const audit_command *c, const cp_audit_reader *reader, bool *good,
                        cp_strbuf *out, cp_error *err) {
    cJSON *faults = cJSON_CreateArray();
    cp_audit_scan scan = {.keys = &reader->keys, .on_fault = collect, .user = faults};
    cp_status status =
        faults ? cp_audit_scan_run(reader->path, &scan, err) : cp_error_no_memory(err, "faults");
    if (status == CP_OK && c->json) {
        cp_json_writer w;
        cp_json_writer_init(&w, out);
        put_report(reader->path, &scan, faults, &w);
    } else if (status == CP_OK) {
        print_report(reader->path, &scan, faults);
    }
    *good = status == CP_OK && scan.n_faults == 0;
    cJSON_Delete(faults);
    return status;
}

/* ---- show -------------------------------------------------------------------------------------
 */

static cp_status show(const audit_command *c, const cp_audit_reader *reader, cp_strbuf *out,
                      cp_error *err) {
    cp_audit_record record;
    cp_json_writer w;
    cp_json_writer_init(&w, out);
    cp_status status = cp_audit_reader_find(reader, c->trace_id, &record, err);
    if (status == CP_OK) {
        char *clear = cJSON_PrintUnformatted(record.clear);
        char *asked = record.asked ? cJSON_PrintUnformatted(record.asked) : NULL;
        cp_strbuf_printf(out, "{\"weights\":%s%s%s,\"record\":%s,\"opened\":%s",
                         record.weights[0] ? "\"" : "", record.weights[0] ? record.weights : "null",
                         record.weights[0] ? "\"" : "", clear ? clear : "null",
                         asked ? asked : "null");
        if (asked) {
            cp_strbuf_puts(out, ",\"thinking\":");
            cp_json_put_str(&w, record.thinking);
            cp_json_writer_init(&w, out);
            cp_strbuf_puts(out, ",\"answer\":");
            cp_json_put_str(&w, record.answer);
        }
        cp_strbuf_putc(out, '}');
        if (!clear || (record.asked && !asked))
            status = cp_error_no_memory(err, "audit record");
        cJSON_free(clear);
        cJSON_free(asked);
    }
    if (status == CP_OK && record.sealed && !record.asked)
        fprintf(stderr, "carepath audit: prompt and answer are sealed; SECRET_KEY opens them\n");
    cp_audit_record_deinit(&record);
    return status;
}

/* ---- the command ------------------------------------------------------------------------------
 */

static int run(const audit_command *c, cp_error *err) {
    cp_audit_reader reader;
    cp_strbuf out;
    bool good = true;
    cp_strbuf_init(&out, (size_t)256 << 20);
    cp_status status = cp_audit_reader_open(c->file, &reader, err);
    if (status == CP_OK)
        status = c->trace_id ? show(c, &reader, &out, err) : verify(c, &reader, &good, &out, err);
    if (status == CP_OK)
        status = cp_strbuf_check(&out, "output", err);
    if (status == CP_OK && out.n > 0)
        puts(out.data);
    cp_audit_reader_close(&reader);
    if (out.data)
        cp_wipe(out.data, out.n);
    cp_strbuf_deinit(&out);
    if (status != CP_OK)
        return cp_command_failed("audit", err);
    return good ? CP_EXIT_OK : CP_EXIT_FAILED;
}

int cmd_audit(int argc, char **argv) {
    const char *words[2] = {NULL, NULL};
    audit_command c = {0};
    const cp_arg args[] = {
        {"file", CP_ARG_TEXT, &c.file, "FILE", "The log (AUDIT_FILE)", 0, 0, false},
        {"json", CP_ARG_FLAG, &c.json, NULL, "The report as one JSON object", 0, 0, false},
    };
    const cp_command_line line = {
        .usage = "carepath audit verify [--file FILE] [--json] | carepath audit show TRACE_ID "
                 "[--file FILE]",
        .summary =
            "verify: finds every record that was altered, dropped, repeated or reordered; exit 0 "
            "when there is\nnone. show: one record as JSON, prompt and answer opened with "
            "SECRET_KEY (or SECRET_KEY_FILE).",
        .args = args,
        .n_args = CP_COUNT_OF(args),
        .positional = words,
        .max_positional = CP_COUNT_OF(words),
    };
    cp_error err;
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    c.action = words[0] ? words[0] : "";
    c.trace_id = words[1];
    bool verifying = strcmp(c.action, "verify") == 0 && !c.trace_id;
    bool showing = strcmp(c.action, "show") == 0 && c.trace_id;
    if (!verifying && !showing) {
        cp_error_set(&err, CP_ERR_USAGE, "expected verify, or show and a trace id (usage: %s)",
                     line.usage);
        return cp_command_failed("audit", &err);
    }
    return run(&c, &err);
}
