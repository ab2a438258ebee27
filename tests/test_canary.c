/* Canaries of all 18 kinds of Safe Harbor in records, questions, headers, paths and files: none may
 * be found in what a server writes, saves or sends, but in answers, nor in what commands report. */
#include "tests/http_client.h"

#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
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
    char document[4096], chat[4096];
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
    snprintf(chat, sizeof chat,
             "{\"mrn\":\"MRN-QX9917\",\"date\":\"2024-01-01\",\"turns\":[{\"role\":\"patient\","
             "\"text\":\"%s chest pain\"}]}\n",
             everything);
    test_write_file(test_path(dir, "synthetic/chat_logs.jsonl"), chat, strlen(chat));
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
    {"/triage", "{\"patient_mrn\":\"MRN-QX9917\",\"query\":\"%s chest pain\",\"session_id\":"
                "\"quokkasore\"}"},
    {"/triage", "{\"patient_mrn\":\"MRN-QX9917\",\"query\":\"%s thanks\",\"session_id\":"
                "\"quokkasore\",\"stream\":true}"},
    {"/v1/chat/completions", "{\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}"},
    {"/v1/chat/completions", "{\"messages\":[{\"role\":\"%s\",\"content\":\"%s\"}]}"},
    {"/v1/chat/completions",
     "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}"},
    {"/v1/completions", "{\"prompt\":\"%s\",\"stop\":[\"%s\"],\"max_tokens\":9}"},
    {"/v1/completions", "{\"prompt\":[\"%s\"],\"user\":\"%s\"}"},
    {"/v1/embeddings", "{\"input\":\"%s\"}"},
    {"/v1/rerank", "{\"query\":\"%s\",\"documents\":[\"%s\"]}"},
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

/* Headers whose form is right, so that they are taken over. */
static void ask_with_names_for_ids(const test_server *server) {
    static const char *const headers[] = {
        "X-Request-Id: Quillonia-Brackenzwist\r\n" JSON_TYPE,
        "X-Request-Id: MRN-QX9917\r\n" JSON_TYPE,
        "X-Request-Id: 555-0163\r\n" JSON_TYPE,
        "X-Request-Id: quokkasore\r\ntraceparent: "
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n" JSON_TYPE,
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        test_reply reply = test_request(server, "POST", "/triage", headers[i],
                                        "{\"patient_mrn\":\"MRN-QX9917\",\"query\":\"cough\"}");
        assert_int_equal(reply.status, 200); /* its head has the id: it is the client's own */
        test_reply_free(&reply);
    }
}

/* Canaries where a request has no body: in paths, queries and headers. */
static void ask_around(const test_server *server) {
    static const char headers[] = "X-Request-Id: Quillonia Brackenzwist\r\n"
                                  "traceparent: 00-quokkasore-078-05-1177\r\n"
                                  "Authorization: Bearer quokkasore\r\n"
                                  "User-Agent: zwistitis\r\nOrigin: https://zib.example\r\n";
    static const char *const paths[] = {"/patients/MRN-QX9918",
                                        "/patients/Quillonia%20Brackenzwist",
                                        "/quokkasore?q=Zibbleton",
                                        "/v1/models/quokkasore",
                                        "/metrics?MRN-QX9917",
                                        "/health",
                                        "/patients/MRN-QX9917",
                                        "/patients/MRN-QX9917/summary",
                                        "/patients/MRN-QX9917/documents",
                                        "/patients/MRN-QX9917/encounters"};
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

/* What other users of the machine can see of the process, and what a dump's list of its memory maps
 * would name: files, never contents. */
static void check_process(const test_server *server) {
    static const char *const files[] = {"cmdline", "comm", "status", "maps",   "smaps",
                                        "environ", "stat", "wchan",  "limits", "mountinfo"};
    size_t n_read = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[64], bytes[65536];
        snprintf(path, sizeof path, "/proc/%d/%s", (int)server->pid, files[i]);
        FILE *file = fopen(path, "rb");
        if (!file)
            continue; /* closed to us where the process is protected */
        for (size_t n; (n = fread(bytes, 1, sizeof bytes, file)) > 0; n_read++)
            check(path, bytes, n);
        fclose(file);
    }
    assert_true(n_read >= 5);
}

/* The regular files that the process has open for writing: its audit log and its own log, nothing
 * that could be a cache of answers. */
static void check_open_files(const test_server *server, const char *audit_dir) {
    char dir[64], path[400], target[500], info[128];
    size_t n_audit = 0;
    snprintf(dir, sizeof dir, "/proc/%d/fd", (int)server->pid);
    DIR *folder = opendir(dir);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct stat status;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n <= 0 || stat(path, &status) != 0 || !S_ISREG(status.st_mode))
            continue;
        target[n] = '\0';
        snprintf(path, sizeof path, "/proc/%d/fdinfo/%s", (int)server->pid, entry->d_name);
        FILE *file = fopen(path, "r");
        unsigned flags = 0;
        assert_non_null(file);
        assert_non_null(fgets(info, sizeof info, file)); /* pos */
        assert_int_equal(fscanf(file, "flags: %o", &flags), 1);
        fclose(file);
        bool is_audit = strncmp(target, audit_dir, strlen(audit_dir)) == 0;
        if ((flags & O_ACCMODE) != O_RDONLY && !is_audit && strcmp(target, server->log_path) != 0)
            fail_msg("%s is open for writing", target);
        n_audit += is_audit;
    }
    closedir(folder);
    assert_true(n_audit >= 2);
}

static void check_nothing_saved(const char *dir) {
    DIR *folder = opendir(dir);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.' || strlen(entry->d_name) > 2)
            fail_msg("%s was saved unasked", entry->d_name);
    closedir(folder);
}

/* ---- what commands say ------------------------------------------------------------------------
 */

/* Runs carepath and searches both of its outputs; the exit status. */
static int check_command(const char *const *arguments, const char *const *env, const char *input) {
    const char *argv[24] = {NULL};
    for (size_t i = 0; arguments[i]; i++)
        argv[1 + i] = arguments[i];
    test_run run = test_run_program(argv, env, input);
    assert_true(run.out.n + run.err.n > 0);
    check(arguments[0], cp_strbuf_text(&run.out), run.out.n);
    check(arguments[0], cp_strbuf_text(&run.err), run.err.n);
    int exit_code = run.exit_code;
    test_run_free(&run);
    return exit_code;
}
#define COMMAND(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Canaries as questions and patients of a load: its table, its JSON and its page tell counts. */
static void check_load_report(const test_server *server) {
    char url[64], line[4096], prompts[400], page[400];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", server->port);
    snprintf(prompts, sizeof prompts, "%s", test_path(test_tmp_dir(), "prompts.jsonl"));
    snprintf(page, sizeof page, "%s", test_path(test_tmp_dir(), "load.html"));
    int n = snprintf(line, sizeof line, "{\"query\":\"%s\"}\n", everything);
    test_write_file(prompts, line, (size_t)n);
    assert_int_equal(check_command(COMMAND("bench", "load", "--url", url, "--mode", "closed",
                                           "--requests", "2", "--warmup", "0", "--mrns",
                                           "MRN-QX9917", "--prompts", prompts, "--html", page),
                                   NULL, NULL),
                     0);
    check_file(page);
    assert_int_equal(
        check_command(COMMAND("bench", "load", "--url", url, "--mode", "closed", "--requests", "2",
                              "--warmup", "0", "--mrns=MRN-QX9917", "--html", page, "--json"),
                      NULL, NULL),
        0);
    check_file(page);
}

/* Without the secret nothing of an answer is shown; of a record that was changed neither. */
static void check_audit_commands(const char *audit_env, const char *audit_dir, const char *secret) {
    static const char no_such[] = "0af7651916cd43dd8448eb211c80319d";
    const char *const with[] = {audit_env, secret, NULL}, *const without[] = {audit_env, NULL};
    cp_strbuf log;
    cp_error err;
    assert_int_equal(check_command(COMMAND("audit", "verify"), with, NULL), 0);
    assert_int_equal(check_command(COMMAND("audit", "verify", "--json"), without, NULL), 0);
    assert_cp_ok(cp_file_read(test_path(audit_dir, "audit.jsonl"), 1 << 24, &log, &err));
    const char *id = strstr(log.data, "\"trace_id\":\"");
    assert_non_null(id);
    char trace_id[33];
    snprintf(trace_id, sizeof trace_id, "%s", id + strlen("\"trace_id\":\""));
    (void)check_command(COMMAND("audit", "show", trace_id), without, NULL);
    (void)check_command(COMMAND("replay", trace_id), without, NULL);
    (void)check_command(COMMAND("replay", trace_id), with, NULL);
    assert_int_equal(check_command(COMMAND("replay", no_such), with, NULL), 1);
    log.data[log.n / 2] ^= 1;
    test_write_file(test_path(audit_dir, "audit.jsonl"), log.data, log.n);
    assert_int_equal(check_command(COMMAND("audit", "verify"), with, NULL), 1);
    cp_strbuf_deinit(&log);
}

static void search_everywhere(const char *mode, const char *format, const char *secret) {
    char data_env[450], audit_env[450], audit_dir[400], home[420], tmp[420], cache[430];
    const char *empty =
        test_tmp_dir(); /* whoever saves something without being told saves it here */
    snprintf(home, sizeof home, "HOME=%s", empty);
    snprintf(tmp, sizeof tmp, "TMPDIR=%s", empty);
    snprintf(cache, sizeof cache, "XDG_CACHE_HOME=%s", empty);
    snprintf(data_env, sizeof data_env, "DATA_DIR=%s", make_data());
    snprintf(audit_dir, sizeof audit_dir, "%s", test_tmp_dir());
    snprintf(audit_env, sizeof audit_env, "AUDIT_FILE=%s/audit.jsonl", audit_dir);
    test_server server = test_server_start(
        (const char *const[]){data_env, audit_env, secret, mode, format, home, tmp, cache,
                              "LOG_LEVEL=debug", "MAX_NEW_TOKENS=20", NULL});
    test_server_await_ready(&server);
    ask_all(&server);
    ask_with_names_for_ids(&server);
    ask_around(&server);
    check_process(&server);
    check_open_files(&server, audit_dir);
    check_load_report(&server);
    check_nothing_saved(empty);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    cp_strbuf log = test_server_log(&server);
    assert_non_null(strstr(cp_strbuf_text(&log), "triage answered"));
    check("the log", cp_strbuf_text(&log), log.n);
    cp_strbuf_deinit(&log);
    check_folder(audit_dir, 2);
    check_audit_commands(audit_env, audit_dir, secret);
}

static void no_canary_leaves_the_process_but_in_answers(void **state) {
    (void)state;
    make_everything();
    search_everywhere("LLM_MODE=mock", "LOG_FORMAT=json", "SECRET_KEY=" SECRET);
    search_everywhere("LLM_MODE=./" MODEL, "LOG_FORMAT=text", "SECRET_KEY=" SECRET);
    search_everywhere("LLM_MODE=mock", "LOG_FORMAT=text", "SECRET_KEY=");
}

/* A data folder with a line that is wrong: its place is told, not its words. */
static void check_refused_data(const char *patients, const char *documents) {
    static const char *const commands[] = {"serve", "lookup", "load-data"};
    char dir[TEST_DATA_CAP], data_env[TEST_DATA_CAP + 16], folder[TEST_DATA_CAP + 16];
    test_data_folder(patients, "", documents, dir);
    snprintf(data_env, sizeof data_env, "DATA_DIR=%s", dir);
    snprintf(folder, sizeof folder, "%s/synthetic", dir);
    const char *const env[] = {data_env,
                               "LLM_MODE=mock",
                               "PORT=0",
                               "MONGO_URI=mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50",
                               "STORE_TIMEOUT_MS=50",
                               NULL};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        assert_int_not_equal(check_command(i == 1   ? COMMAND("lookup", "MRN-1")
                                           : i == 2 ? COMMAND("load-data", folder)
                                                    : COMMAND("serve"),
                                           env, NULL),
                             0);
}

static void no_canary_is_in_what_commands_say(void **state) {
    char text[8192], dir[TEST_DATA_CAP], page[TEST_DATA_CAP + 16], names[2049];
    const char *good = "{\"mrn\":\"MRN-QX9917\",\"name\":\"Quillonia Brackenzwist\"}\n";
    (void)state;
    make_everything();
    snprintf(text, sizeof text, "{\"mrn\":\"%s\"}\n", everything);
    check_refused_data(text, "");
    snprintf(text, sizeof text, "{\"mrn\":\"MRN-QX9917\",\"name\":\"%s\n", everything);
    check_refused_data(text, "");
    snprintf(text, sizeof text, "{\"mrn\":\"MRN-QX9917\",\"%s\":1,\"%s\":2}\n", everything,
             everything);
    check_refused_data(text, "");
    snprintf(
        text, sizeof text,
        "{\"mrn\":\"MRN-QX9917\",\"id\":\"D1\",\"date\":\"%s\",\"title\":\"t\",\"text\":\"t\"}\n",
        everything);
    check_refused_data(good, text);
    snprintf(text, sizeof text, "{\"mrn\":\"MRN-QX9918\",\"text\":\"%s\"}\n", everything);
    check_refused_data(good, text);

    /* record numbers that are none, on stdin */
    test_data_folder(good, "", "", dir);
    snprintf(page, sizeof page, "DATA_DIR=%s", dir);
    snprintf(names, sizeof names, "%s\n", everything);
    (void)check_command(COMMAND("lookup", "--measure", "1"), COMMAND(page), names);
    (void)check_command(COMMAND("lookup", "MRN-9"), COMMAND(page), NULL);

    /* a clinic's own vignettes, scored */
    assert_int_equal(mkdir(test_path(dir, "vignettes"), 0755), 0);
    char *variants = realpath("data/vignettes/variants.json", NULL);
    assert_non_null(variants);
    assert_int_equal(symlink(variants, test_path(dir, "vignettes/variants.json")), 0);
    free(variants);
    snprintf(
        text, sizeof text,
        "{\"id\":\"a\",\"level\":1,\"accepted\":[1],\"patient\":{\"medications\":[\"Zwistamol\"]},"
        "\"query\":\"%s\",\"source\":\"s\"}\n",
        everything);
    test_write_file(test_path(dir, "vignettes/train.jsonl"), text, strlen(text));
    test_write_file(test_path(dir, "vignettes/held.jsonl"), "", 0);
    snprintf(page, sizeof page, "%s", test_path(dir, "score.html"));
    assert_int_equal(check_command(COMMAND("eval", "--data", dir, "--html", page),
                                   COMMAND("LLM_MODE=mock"), NULL),
                     1); /* an emergency that no rule knows */
    check_file(page);
    (void)check_command(COMMAND("eval", "--data", dir, "--json", "--model", "mock"), NULL, NULL);
}

/* A store that does not answer: the log says so without the number that was asked for. */
static void no_canary_is_in_the_log_of_a_store_that_is_down(void **state) {
    (void)state;
    make_everything();
    test_server server = test_server_start(
        (const char *const[]){"PATIENT_STORE=http", "DB_API_BASE_URL=http://127.0.0.1:1",
                              "STORE_TIMEOUT_MS=200", "LOG_LEVEL=debug", NULL});
    test_server_await_ready(&server);
    for (int i = 0; i < 5; i++) { /* the last ones meet an open circuit */
        test_reply reply = test_request(
            &server, "POST", "/triage", JSON_TYPE,
            "{\"patient_mrn\":\"MRN-QX9917\",\"query\":\"I am Quillonia, quokkasore\"}");
        assert_int_equal(reply.status, 503); /* and what the rules say: an answer */
        test_reply_free(&reply);
        reply = test_request(&server, "GET", "/patients/MRN-QX9917", NULL, NULL);
        assert_int_equal(reply.status, 503);
        check_reply("/patients of a store that is down", &reply);
    }
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    cp_strbuf log = test_server_log(&server);
    assert_non_null(strstr(cp_strbuf_text(&log), "no record"));
    check("the log", cp_strbuf_text(&log), log.n);
    cp_strbuf_deinit(&log);
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
    cmocka_unit_test(no_canary_is_in_what_commands_say),
    cmocka_unit_test(no_canary_is_in_the_log_of_a_store_that_is_down),
    cmocka_unit_test(the_search_finds_a_canary),
};
CP_TEST_GROUP(canary, tests)
