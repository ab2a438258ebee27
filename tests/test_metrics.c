/* /metrics of a real server: both formats, exemplars, and that docs, rules and dashboards name what
 * is there. */
#include "tests/http_client.h"

#include "base/file.h"

#include <ctype.h>
#include <dirent.h>
#include <signal.h>

#define OPENMETRICS "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n"
#define MAX_FILE    ((size_t)4 << 20)

/* A server with everything that has metrics. */
static test_server start_full(const char *more) {
    static char audit[TEST_DATA_CAP];
    snprintf(audit, sizeof audit, "AUDIT_FILE=%s", test_path(test_tmp_dir(), "audit.log"));
    test_server server = test_server_start(
        (const char *const[]){audit, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", more, NULL});
    test_server_await_ready(&server);
    return server;
}

static test_reply get_metrics(const test_server *server, const char *headers, const char *type) {
    test_reply reply = test_request(server, "GET", "/metrics", headers, NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(test_reply_header(&reply, "Content-Type"), type);
    return reply;
}

static cp_strbuf read_file(const char *path) {
    cp_strbuf text;
    cp_error err;
    assert_cp_ok(cp_file_read(path, MAX_FILE, &text, &err));
    return text;
}

/* The n-th word of a line, cut off by blanks. */
static void copy_word(const char *line, int n, char *out, size_t cap) {
    for (; n > 0; n--)
        line += strcspn(line, " \n") + 1;
    snprintf(out, cap, "%.*s", (int)strcspn(line, " \n"), line);
}

static const char *next_line(const char *line) {
    line += strcspn(line, "\n");
    return *line ? line + 1 : line;
}

static void the_documented_table_is_what_a_server_tells(void **state) {
    (void)state;
    test_server server = start_full(NULL);
    test_reply reply = get_metrics(&server, NULL, "text/plain; version=0.0.4; charset=utf-8");
    cp_strbuf docs = read_file("docs/observability.md");
    size_t n = 0, n_rows = 0;
    for (const char *line = reply.body.data; *line; line = next_line(line)) {
        char name[128], type[32], row[512];
        if (strncmp(line, "# HELP ", 7) != 0)
            continue;
        const char *help = strchr(line + 7, ' ') + 1;
        copy_word(line, 2, name, sizeof name);
        copy_word(next_line(line), 3, type, sizeof type);
        snprintf(row, sizeof row, "\n| `%s` | %s | %.*s |\n", name, type, (int)strcspn(help, "\n"),
                 help);
        if (!strstr(docs.data, row))
            fail_msg("docs/observability.md lacks: %s", row + 1);
        n++;
    }
    for (const char *at = docs.data; (at = strstr(at, "\n| `")); at++)
        n_rows += strncmp(at + 4, "carepath_", 9) == 0 || strncmp(at + 4, "process_", 8) == 0;
    assert_int_equal(n_rows, n); /* nothing that is gone */
    cp_strbuf_deinit(&docs);
    test_reply_free(&reply);
    test_server_stop(&server, SIGTERM);
}

/* ---- OpenMetrics ----------------------------------------------------------------------------- */

/* After one triage: the bucket that it fell into carries its trace id, or no bucket does. */
static void check_exemplars(const test_server *server, bool are_there) {
    char exemplar[128];
    test_reply triage = test_triage(server, "{\"patient_mrn\":\"MRN-001\",\"query\":\"cough\"}");
    assert_int_equal(triage.status, 200);
    snprintf(exemplar, sizeof exemplar, " # {trace_id=\"%s\"} ",
             test_reply_header(&triage, "X-Trace-Id"));
    test_reply_free(&triage);
    test_server_await_metric(server,
                             "carepath_http_request_duration_seconds_count{route=\"/triage\"}", 1);
    test_reply reply = get_metrics(server, OPENMETRICS,
                                   "application/openmetrics-text; version=1.0.0; charset=utf-8");
    size_t n = 0;
    for (const char *at = reply.body.data; (at = strstr(at, exemplar)); at++)
        n++;
    assert_int_equal(n, are_there ? 2 : 0); /* of the request and of the store */
    assert_int_equal(strstr(reply.body.data, "# {") != NULL, are_there);
    test_reply_free(&reply);
}

static void openmetrics_has_exemplars_and_an_end(void **state) {
    (void)state;
    test_server server = start_full(NULL);
    check_exemplars(&server, true);
    test_reply open = get_metrics(&server, OPENMETRICS,
                                  "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_string_equal(open.body.data + open.body.n - 6, "# EOF\n");
    for (const char *line = open.body.data; *line; line = next_line(line)) {
        char name[128], type[32];
        if (strncmp(line, "# TYPE ", 7) != 0)
            continue;
        copy_word(line, 2, name, sizeof name);
        copy_word(line, 3, type, sizeof type);
        if (strcmp(type, "counter") == 0) { /* its samples end with _total, its name does not */
            size_t n = strlen(name);
            assert_true(n < 6 || strcmp(name + n - 6, "_total") != 0);
            strcat(name, "_total");
            const char *sample = next_line(line);
            if (*sample != '#' && strncmp(sample, name, n + 6) != 0)
                fail_msg("a sample of %s is %.60s", name, sample);
        }
    }
    test_reply_free(&open);
    test_reply classic = get_metrics(&server, "Accept: text/plain, */*\r\n",
                                     "text/plain; version=0.0.4; charset=utf-8");
    assert_null(strstr(classic.body.data, "# {"));
    assert_null(strstr(classic.body.data, "# EOF"));
    assert_non_null(strstr(classic.body.data, "# TYPE carepath_triage_total counter\n"));
    test_reply_free(&classic);
    test_server_stop(&server, SIGTERM);
}

/* A trace that nobody keeps is no use to whoever follows the exemplar. */
static void requests_that_are_not_sampled_leave_no_exemplar(void **state) {
    (void)state;
    test_server server = start_full("OTEL_TRACES_SAMPLER_ARG=0");
    check_exemplars(&server, false);
    test_server_stop(&server, SIGTERM);
}

/* ---- what is counted ------------------------------------------------------------------------- */

static void ask(const test_server *server, const char *path, int status) {
    test_reply reply = test_request(server, "GET", path, NULL, NULL);
    assert_int_equal(reply.status, status);
    test_reply_free(&reply);
}

static void lookups_and_records_are_counted(void **state) {
    (void)state;
    test_server server = start_full(NULL);
    ask(&server, "/patients/MRN-001", 200);
    ask(&server, "/patients/MRN-002", 200);
    ask(&server, "/patients/MRN-999", 404);
    test_server_await_metric(&server,
                             "carepath_store_lookups_total{store=\"jsonl\",outcome=\"found\"}", 2);
    test_server_await_metric(
        &server, "carepath_store_lookups_total{store=\"jsonl\",outcome=\"not_found\"}", 1);
    test_server_await_metric(&server, "carepath_store_duration_seconds_count{store=\"jsonl\"}", 3);
    assert_int_equal(test_server_metric(&server, "carepath_audit_failures_total"), 0);
    assert_true(test_server_metric(&server, "carepath_audit_records") >= 2);
    assert_true(test_server_metric(&server, "process_open_fds") > 3);
    assert_true(test_server_metric(&server, "process_threads") > 3);
    assert_true(test_server_metric(&server, "process_cpu_seconds_total") > 0);
    assert_int_equal(test_server_metric(&server, "carepath_model_stuck"), 0);
    assert_int_equal(test_server_metric(&server, "carepath_requests_queued_max"), 8);
    test_server_stop(&server, SIGTERM);
}

/* ---- rules and dashboards -------------------------------------------------------------------- */

static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

static bool is_told(const char *metrics, const char *name) {
    static const char *const tails[] = {"", "_bucket", "_sum", "_count"};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        char line[192];
        size_t n = strlen(name), tail = strlen(tails[i]);
        if (n <= tail || strcmp(name + n - tail, tails[i]) != 0)
            continue;
        snprintf(line, sizeof line, "# TYPE %.*s %s", (int)(n - tail), name,
                 i == 0 ? "" : "histogram\n");
        if (strstr(metrics, line))
            return true;
    }
    return false;
}

/* Every carepath_ and process_ in the file is a metric; how many there are. */
static size_t check_names(const char *metrics, const char *path) {
    cp_strbuf text = read_file(path);
    size_t found = 0;
    for (const char *at = text.data; *at; at++) {
        char name[128];
        size_t n = 0;
        if ((at > text.data && (is_word(at[-1]) || at[-1] == '-')) ||
            (strncmp(at, "carepath_", 9) != 0 && strncmp(at, "process_", 8) != 0))
            continue;
        while (is_word(at[n]))
            n++;
        snprintf(name, sizeof name, "%.*s", (int)n, at);
        if (!is_told(metrics, name))
            fail_msg("%s names %s, which no server tells", path, name);
        found++;
    }
    cp_strbuf_deinit(&text);
    return found;
}

static void rules_and_dashboards_name_what_is_there(void **state) {
    static const char *const folders[] = {"deploy/prometheus", "deploy/grafana/dashboards"};
    size_t n_files = 0;
    (void)state;
    test_server server = start_full(NULL);
    test_reply reply = get_metrics(&server, NULL, "text/plain; version=0.0.4; charset=utf-8");
    for (size_t i = 0; i < 2; i++) {
        DIR *folder = opendir(folders[i]);
        assert_non_null(folder);
        for (struct dirent *entry; (entry = readdir(folder));) {
            const char *end = strrchr(entry->d_name, '.');
            if (!end || end == entry->d_name || strcmp(entry->d_name, "prometheus.yml") == 0 ||
                (strcmp(end, ".yml") != 0 && strcmp(end, ".json") != 0))
                continue;
            const char *path = test_path(folders[i], entry->d_name);
            if (check_names(reply.body.data, path) == 0)
                fail_msg("%s names no metric", path);
            n_files++;
        }
        closedir(folder);
    }
    assert_true(n_files >= 6);
    test_reply_free(&reply);
    test_server_stop(&server, SIGTERM);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_documented_table_is_what_a_server_tells),
    cmocka_unit_test(openmetrics_has_exemplars_and_an_end),
    cmocka_unit_test(requests_that_are_not_sampled_leave_no_exemplar),
    cmocka_unit_test(lookups_and_records_are_counted),
    cmocka_unit_test(rules_and_dashboards_name_what_is_there),
};
CP_TEST_GROUP(metrics, tests)
