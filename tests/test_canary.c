/* Canaries of all 18 kinds of Safe Harbor in records, questions, headers and paths: none may be
 * found in what a server writes or sends, but in answers. */
#include "tests/http_client.h"

#include "base/file.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define JSON_TYPE "Content-Type: application/json\r\n"
#define SECRET    "0123456789abcdef0123456789abcdef"
#define MODEL     GOLDEN "/models/tied-gqa2"

/* Each is searched for as it stands, and so are the words that are nowhere else. */
static const char *const canaries[] = {
    "Quillonia",
    "Brackenzwist",
    "77 Zibble Row",
    "Zibbleton",
    "1931-07-13",
    "07/13/1931",
    "555-0163",
    "(212) 555-0164",
    "q.bracken@zib.example",
    "078-05-1177",
    "MRN-QX9917",
    "XQP882913999",
    "acct 7781-2299-01",
    "D123-4567-9999",
    "1HGCM82633A009999",
    "PJN442199H",
    "https://zib.example/q",
    "203.0.113.199",
    "FP-88299",
    "quillonia-face.jpg",
    "NCT01299999",
    "zwistitis",
    "Zwistamol",
    "quokkasore",
};
#define N_CANARIES (sizeof canaries / sizeof *canaries)

static char everything[2048]; /* all canaries as a patient would write them */

static void make_everything(void) {
    everything[0] = '\0';
    for (size_t i = 0; i < N_CANARIES; i++) {
        strcat(everything, canaries[i]);
        strcat(everything, ", ");
    }
}

static const char *make_data(void) {
    static char dir[TEST_DATA_CAP];
    char document[4096];
    snprintf(document, sizeof document,
             "{\"mrn\":\"MRN-QX9917\",\"id\":\"D1\",\"date\":\"2024-01-01\",\"title\":\"Note\","
             "\"text\":\"%s\"}\n",
             everything);
    test_data_folder(
        "{\"mrn\":\"MRN-QX9917\",\"name\":{\"given\":\"Quillonia\",\"family\":"
        "\"Brackenzwist\"},\"date_of_birth\":\"1931-07-13\",\"sex\":\"female\",\"phone\":"
        "\"555-0163\",\"address\":{\"line\":\"77 Zibble Row\",\"city\":\"Zibbleton\"},"
        "\"conditions\":[{\"name\":\"zwistitis\"}],\"medications\":[{\"name\":\"Zwistamol\"}]}"
        "\n",
        "", document, dir);
    return dir;
}

static void check(const char *where, const char *bytes, size_t n) {
    for (size_t i = 0; i < N_CANARIES; i++)
        if (memmem(bytes, n, canaries[i], strlen(canaries[i])))
            fail_msg("%s holds \"%s\"", where, canaries[i]);
}

static void check_reply(const char *where, test_reply *reply) {
    assert_true(reply->status > 0);
    check(where, cp_strbuf_text(&reply->head), reply->head.n);
    if (reply->status != 200)
        check(where, cp_strbuf_text(&reply->body), reply->body.n);
    test_reply_free(reply);
}

/* ---- what is asked ----------------------------------------------------------------------------
 */

/* %s: all the canaries. */
static const struct {
    const char *path, *body;
} asked[] = {
    {"/triage", "{\"patient_mrn\":\"MRN-QX9917\",\"query\":\"%s chest pain\"}"},
    {"/triage", "{\"patient_mrn\":\"MRN-QX9917\",\"query\":\"%s\",\"stream\":true,\"seed\":1}"},
    {"/triage", "{\"patient_mrn\":\"MRN-QX9918\",\"query\":\"%s\"}"},
    {"/triage", "{\"patient_mrn\":\"%s\",\"query\":\"cough\"}"},
    {"/triage", "{\"patient_mrn\":\"MRN-QX9917\",\"query\":\"%s\",\"seed\":\"%s\"}"},
    {"/triage", "{\"patient_mrn\":\"MRN-QX9917\",\"query\":\"%s\",\"%s\":1}"},
    {"/triage", "{\"patient_mrn\":\"MRN-QX9917\",\"query\":\"%s\",\"session_id\":\"%s\"}"},
    {"/triage", "{\"patient_mrn\":\"MRN-QX9917\",\"query\":\"%s"},
    {"/triage", "%s"},
    {"/triage", "{\"patient_mrn\":\"MRN-QX9917\",\"query\":\"a\",\"session_id\":\"quokkasore\"}"},
    {"/v1/chat/completions", "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}"},
    {"/v1/chat/completions", "{\"messages\":[{\"role\":\"%s\",\"content\":\"%s\"}]}"},
    {"/v1/chat/completions",
     "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}"},
    {"/v1/completions", "{\"prompt\":\"%s\",\"stop\":[\"%s\"],\"max_tokens\":9}"},
    {"/v1/completions", "{\"prompt\":[\"%s\"],\"user\":\"%s\"}"},
    {"/v1/embeddings", "{\"input\":\"%s\"}"},
    {"/patients/$import", "{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":\"%s\"}]}"},
    {"/nowhere", "%s"},
};

static void ask_all(const test_server *server) {
    cp_strbuf body;
    cp_strbuf_init(&body, 1 << 20);
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        cp_strbuf_clear(&body);
        for (const char *at = asked[i].body; *at; at++)
            if (at[0] == '%' && at[1] == 's') {
                cp_strbuf_puts(&body, everything);
                at++;
            } else {
                cp_strbuf_putc(&body, *at);
            }
        test_reply reply = test_request(server, "POST", asked[i].path, JSON_TYPE, body.data);
        check_reply(asked[i].path, &reply);
    }
    cp_strbuf_deinit(&body);
}

/* Canaries where a request has no body: in paths, queries and headers. */
static void ask_around(const test_server *server) {
    static const char headers[] = "X-Request-Id: Quillonia Brackenzwist\r\n"
                                  "traceparent: 00-quokkasore-078-05-1177\r\n"
                                  "Authorization: Bearer quokkasore\r\n"
                                  "User-Agent: zwistitis\r\nOrigin: https://zib.example\r\n";
    static const char *const paths[] = {
        "/patients/MRN-QX9918",    "/patients/Quillonia%20Brackenzwist",
        "/quokkasore?q=Zibbleton", "/v1/models/quokkasore",
        "/metrics?MRN-QX9917",     "/health",
        "/patients/MRN-QX9917"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        test_reply reply = test_request(server, "GET", paths[i], headers, NULL);
        check_reply(paths[i], &reply);
    }
    test_reply metrics = test_request(server, "GET", "/metrics", NULL, NULL);
    assert_int_equal(metrics.status, 200);
    check("/metrics", cp_strbuf_text(&metrics.body), metrics.body.n);
    test_reply_free(&metrics);
    int fd = test_connect(server); /* not even HTTP */
    assert_true(test_send_text(fd, "quokkasore Quillonia\r\n\r\n"));
    (void)test_closed_within(fd, 5);
    test_disconnect(fd);
}

/* ---- where it is searched ---------------------------------------------------------------------
 */

static void check_file(const char *path) {
    cp_strbuf text;
    cp_error err;
    assert_cp_ok(cp_file_read(path, (size_t)256 << 20, &text, &err));
    check(path, cp_strbuf_text(&text), text.n);
    cp_strbuf_deinit(&text);
}

/* All files there, and their names. */
static void check_folder(const char *dir, int at_least) {
    int n = 0;
    DIR *folder = opendir(dir);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        check("a file's name", entry->d_name, strlen(entry->d_name));
        check_file(test_path(dir, entry->d_name));
        n++;
    }
    closedir(folder);
    assert_true(n >= at_least);
}

/* What other users of the machine can see of the process. */
static void check_process(const test_server *server) {
    static const char *const files[] = {"cmdline", "comm", "status", "maps", "environ", "stat"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[64], bytes[65536];
        snprintf(path, sizeof path, "/proc/%d/%s", (int)server->pid, files[i]);
        FILE *file = fopen(path, "rb");
        if (!file)
            continue; /* environ and maps are closed to us when the process is protected */
        for (size_t n; (n = fread(bytes, 1, sizeof bytes, file)) > 0;)
            check(path, bytes, n);
        fclose(file);
    }
}

static void search_everywhere(const char *mode, const char *format, const char *secret) {
    char data_env[450], audit_env[450], audit_dir[400];
    snprintf(data_env, sizeof data_env, "DATA_DIR=%s", make_data());
    snprintf(audit_dir, sizeof audit_dir, "%s", test_tmp_dir());
    snprintf(audit_env, sizeof audit_env, "AUDIT_FILE=%s/audit.jsonl", audit_dir);
    test_server server = test_server_start((const char *const[]){
        data_env, audit_env, secret, mode, format, "LOG_LEVEL=debug", "MAX_NEW_TOKENS=20", NULL});
    test_server_await_ready(&server);
    ask_all(&server);
    ask_around(&server);
    check_process(&server);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    cp_strbuf log = test_server_log(&server);
    assert_non_null(strstr(cp_strbuf_text(&log), "triage answered"));
    check("the log", cp_strbuf_text(&log), log.n);
    cp_strbuf_deinit(&log);
    check_folder(audit_dir, 2);
}

static void no_canary_leaves_the_process_but_in_answers(void **state) {
    (void)state;
    make_everything();
    search_everywhere("LLM_MODE=mock", "LOG_FORMAT=json", "SECRET_KEY=" SECRET);
    search_everywhere("LLM_MODE=./" MODEL, "LOG_FORMAT=text", "SECRET_KEY=" SECRET);
    search_everywhere("LLM_MODE=mock", "LOG_FORMAT=text", "SECRET_KEY=");
}

/* The search itself: a canary that is there is found. */
static void the_search_finds_a_canary(void **state) {
    char dir[400];
    (void)state;
    snprintf(dir, sizeof dir, "%s", test_tmp_dir());
    test_write_file(test_path(dir, "x"), "seen: FP-88299.", 15);
    cp_strbuf text;
    cp_error err;
    bool found = false;
    assert_cp_ok(cp_file_read(test_path(dir, "x"), 100, &text, &err));
    for (size_t i = 0; i < N_CANARIES; i++)
        found = found || memmem(text.data, text.n, canaries[i], strlen(canaries[i]));
    assert_true(found);
    cp_strbuf_deinit(&text);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(no_canary_leaves_the_process_but_in_answers),
    cmocka_unit_test(the_search_finds_a_canary),
};
CP_TEST_GROUP(canary, tests)
