/* The audit log of a real server: no answer without its record, replays, kill -9, a log that cannot
 * be written. */
#include "tests/http_client.h"

#include "base/clock.h"
#include "base/file.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET_ENV "SECRET_KEY=0123456789abcdef0123456789abcdef"
#define QUESTION   "{\"patient_mrn\":\"MRN-001\",\"query\":\"crushing chest pain and sweating\""
#define CHAT       "{\"messages\":[{\"role\":\"user\",\"content\":\"wheeze\"}],\"max_tokens\":24"
#define JSON_TYPE  "Content-Type: application/json\r\n"

static char model[300], model_env[330], log_path[400], file_env[430];

static void new_log(void) {
    snprintf(log_path, sizeof log_path, "%s", test_path(test_tmp_dir(), "audit.jsonl"));
    snprintf(file_env, sizeof file_env, "AUDIT_FILE=%s", log_path);
}

static void make_model(void) {
    if (model[0])
        return;
    snprintf(model, sizeof model, "%s", test_path(test_tmp_dir(), "tiny"));
    snprintf(model_env, sizeof model_env, "LLM_MODE=%s", model);
    test_run run = test_run_program((const char *[]){NULL, "convert", GOLDEN "/models/tied-gqa2",
                                                     model, "--quant", "int8", NULL},
                                    NULL, NULL);
    assert_int_equal(run.exit_code, 0);
    test_run_free(&run);
}

static test_server start(const char *mode_env, const char *more) {
    test_server server = test_server_start((const char *const[]){
        mode_env, file_env, SECRET_ENV, "CONTEXT_TOKENS=2048", "MAX_NEW_TOKENS=48", more, NULL});
    test_server_await_ready(&server);
    return server;
}

static test_run carepath(const char *a, const char *b, const char *c, const char *d) {
    return test_run_program((const char *[]){NULL, a, b, c, d, NULL},
                            (const char *[]){file_env, SECRET_ENV, NULL}, NULL);
}

/* The number of records of a log without faults. */
static int verify(void) {
    test_run run = carepath("audit", "verify", "--json", NULL);
    if (run.exit_code != 0)
        fail_msg("%s%s", cp_strbuf_text(&run.out), cp_strbuf_text(&run.err));
    cJSON *said = test_run_json(&run);
    int n = cp_json_member(said, "records")->valueint;
    cJSON_Delete(said);
    test_run_free(&run);
    return n;
}

/* The record as `audit show` tells it. */
static cJSON *show(const char *trace_id) {
    test_run run = carepath("audit", "show", trace_id, NULL);
    cJSON *said = test_run_json(&run);
    test_run_free(&run);
    return said;
}

static void every_answer_has_its_record(void **state) {
    (void)state;
    new_log();
    test_server server = start("LLM_MODE=mock", NULL);
    test_reply reply = test_triage(&server, QUESTION "}");
    assert_int_equal(reply.status, 200);
    cJSON *said = show(test_reply_text(&reply, "trace_id"));
    const cJSON *record = cp_json_member(said, "record");
    assert_string_equal(cp_json_member(record, "endpoint")->valuestring, "/triage");
    assert_int_equal(strlen(cp_json_member(record, "patient")->valuestring), 64);
    assert_int_equal(cp_json_member(record, "acuity")->valueint, 2);
    assert_string_equal(cJSON_GetArrayItem(cp_json_member(record, "rules"), 0)->valuestring,
                        "cardiac-chest-pain");
    const cJSON *messages = cp_json_member(cp_json_member(said, "opened"), "messages");
    assert_int_equal(cJSON_GetArraySize(messages), 2);
    assert_non_null(strstr(cp_json_member(cJSON_GetArrayItem(messages, 1), "content")->valuestring,
                           "crushing chest pain"));
    assert_non_null(strstr(cp_json_member(said, "answer")->valuestring, "assessment"));
    cJSON_Delete(said);
    test_reply_free(&reply);
    reply = test_triage(&server, QUESTION "}"); /* refusals are no answers */
    test_reply_free(&reply);
    reply = test_triage(&server, "{\"patient_mrn\":\"MRN-404\",\"query\":\"cough\"}");
    assert_int_equal(reply.status, 404);
    test_reply_free(&reply);
    reply = test_request(&server, "POST", "/v1/chat/completions", JSON_TYPE, CHAT "}");
    assert_int_equal(reply.status, 200);
    test_reply_free(&reply);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    assert_int_equal(verify(), 3);
}

static void an_answer_by_the_rules_alone_is_recorded_too(void **state) {
    (void)state;
    new_log();
    test_server server = start("LLM_MODE=mock", NULL);
    /* A deadline that has passed: the model says nothing. */
    make_model();
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    server = start(model_env, NULL);
    test_reply reply = test_triage(&server, QUESTION ",\"deadline_ms\":1}");
    assert_int_equal(reply.status, 200);
    assert_string_not_equal(test_reply_text(&reply, "degraded_reason"), "audit_unavailable");
    cJSON *said = show(test_reply_text(&reply, "trace_id"));
    assert_true(cJSON_IsTrue(cp_json_member(cp_json_member(said, "record"), "degraded")));
    cJSON_Delete(said);
    test_reply_free(&reply);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    assert_int_equal(verify(), 1);
}

/* The scalar kernels take minutes under the thread sanitizer, which sees nothing new in them. */
#if defined(__SANITIZE_THREAD__)
#define N_ISAS 1
#else
#define N_ISAS 2
#endif

static void assert_replays(const char *trace_id) {
    static const char *const isas[] = {NULL, "CAREPATH_ISA=scalar"};
    for (int i = 0; i < N_ISAS; i++) {
        test_run run = test_run_program(
            (const char *[]){NULL, "replay", trace_id, "--model", model, "--json", NULL},
            (const char *[]){file_env, SECRET_ENV, isas[i], NULL}, NULL);
        cJSON *said = test_run_json(&run);
        assert_true(cJSON_IsTrue(cp_json_member(said, "identical")));
        cJSON_Delete(said);
        test_run_free(&run);
    }
}

/* Asked together, so that they share steps; replayed alone, on two instruction sets. */
static void what_a_server_answered_replays_to_the_byte(void **state) {
    static const struct {
        const char *path, *body;
    } asked[] = {
        {"/triage", QUESTION ",\"seed\":7}"},
        {"/triage", QUESTION ",\"enable_thinking\":true,\"thinking_budget_tokens\":6}"},
        {"/triage", QUESTION ",\"temperature\":0.1,\"max_new_tokens\":5}"},
        {"/triage", QUESTION ",\"enable_thinking\":false,\"max_new_tokens\":40}"},
        {"/v1/chat/completions", CHAT ",\"seed\":3,\"stop\":[\"zq\"]}"},
        {"/v1/chat/completions", CHAT ",\"response_format\":{\"type\":\"json_object\"}}"},
        {"/v1/chat/completions",
         CHAT ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\","
              "\"schema\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"number\"}},"
              "\"required\":[\"a\"]}}}}"},
        {"/v1/completions", "{\"prompt\":\"Once upon\",\"max_tokens\":20,\"presence_penalty\":1}"},
    };
    enum { N = sizeof asked / sizeof *asked };
    int fds[N];
    char trace_ids[N][40];
    (void)state;
    make_model();
    new_log();
    test_server server = start(model_env, NULL);
    for (int i = 0; i < N; i++) {
        char head[400];
        snprintf(head, sizeof head,
                 "POST %s HTTP/1.1\r\nHost: localhost\r\n" JSON_TYPE "Content-Length: %zu\r\n\r\n",
                 asked[i].path, strlen(asked[i].body));
        fds[i] = test_connect(&server);
        assert_true(test_send_text(fds[i], head) && test_send_text(fds[i], asked[i].body));
    }
    for (int i = 0; i < N; i++) {
        test_reply reply = test_receive(fds[i], false);
        if (reply.status != 200)
            fail_msg("%s: %d %s", asked[i].body, reply.status, cp_strbuf_text(&reply.body));
        snprintf(trace_ids[i], sizeof trace_ids[i], "%s", test_reply_header(&reply, "X-Trace-Id"));
        test_reply_free(&reply);
        test_disconnect(fds[i]);
    }
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    assert_int_equal(verify(), N);
    for (int i = 0; i < N; i++)
        assert_replays(trace_ids[i]);
}

/* ---- kill -9 ----------------------------------------------------------------------------------
 */

#define MAX_ANSWERS 4096

#define SUMMARY "GET /patients/MRN-001/summary HTTP/1.1\r\nHost: localhost\r\n\r\n"

/* Asks and reads until the server is gone; the trace ids of whole answers. */
static size_t ask_until_killed(const test_server *server, double kill_ms, char ids[][40]) {
    size_t n = 0;
    uint64_t start_ns = cp_clock_ns();
    bool killed = false;
    while (n < MAX_ANSWERS) {
        if (!killed && cp_clock_ms_since(start_ns) > kill_ms) {
            kill(server->pid, SIGKILL);
            killed = true;
        }
        int fd = killed ? -1 : test_connect(server);
        if (fd < 0 || !test_send_text(fd, n % 2 ? SUMMARY : test_triage_bytes(QUESTION "}")))
            return n;
        test_reply reply = test_receive(fd, false);
        if (reply.status == 200 && reply.json)
            snprintf(ids[n++], sizeof ids[0], "%s", test_reply_header(&reply, "X-Trace-Id"));
        test_reply_free(&reply);
        test_disconnect(fd);
    }
    return n;
}

static void kill_9_under_load_loses_no_answered_record(void **state) {
    static char ids[MAX_ANSWERS][40];
    uint64_t random = cp_clock_ns();
    size_t answered = 0;
    (void)state;
    printf("seed %llu\n", (unsigned long long)random);
    new_log();
    for (int round = 0; round < 10; round++) {
        test_server server = start("LLM_MODE=mock", NULL);
        size_t n = ask_until_killed(&server, (double)(test_random(&random) % 60), ids);
        assert_int_equal(test_server_stop(&server, 0), 128 + SIGKILL);
        (void)verify();
        cp_strbuf log;
        cp_error err;
        assert_cp_ok(cp_file_read(log_path, (size_t)64 << 20, &log, &err));
        for (size_t i = 0; i < n; i++)
            if (!strstr(log.data, ids[i]))
                fail_msg("round %d: the record of %s is lost", round, ids[i]);
        cp_strbuf_deinit(&log);
        answered += n;
    }
    printf("%zu answers, none without its record\n", answered);
    assert_true(answered > 0);
}

/* ---- a log that cannot be written -------------------------------------------------------------
 */

static void let_files_grow_to(const test_server *server, rlim_t bytes) {
    struct rlimit limit = {bytes, RLIM_INFINITY};
    assert_int_equal(prlimit(server->pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

/* No file of the server's may be longer than the audit log is now; its own log is shorter. */
static void stop_the_log(const test_server *server) {
    struct stat info;
    assert_int_equal(stat(log_path, &info), 0);
    let_files_grow_to(server, (rlim_t)info.st_size + 100);
}

static void without_a_record_only_the_rules_answer(void **state) {
    (void)state;
    new_log();
    test_server server = start("LLM_MODE=mock", NULL);
    test_reply reply = test_triage(&server, QUESTION "}");
    assert_int_equal(reply.status, 200);
    assert_null(strstr(reply.body.data, "\"degraded\":true"));
    test_reply_free(&reply);
    stop_the_log(&server);
    reply = test_triage(&server, QUESTION "}");
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body.data, "\"degraded\":true"));
    assert_non_null(strstr(reply.body.data, "audit_unavailable"));
    assert_int_equal(cp_json_member(reply.json, "acuity")->valueint, 2);
    assert_null(strstr(reply.body.data, "mock answer"));
    test_reply_free(&reply);
    reply = test_request(&server, "POST", "/v1/chat/completions", JSON_TYPE, CHAT "}");
    assert_reply(&reply, 503, "audit_unavailable");
    test_reply_free(&reply);
    let_files_grow_to(&server, RLIM_INFINITY);
    reply = test_triage(&server, QUESTION "}");
    assert_int_equal(reply.status, 200);
    assert_null(strstr(reply.body.data, "\"degraded\":true"));
    test_reply_free(&reply);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    assert_int_equal(verify(), 2);
    cp_strbuf log = test_server_log(&server);
    assert_non_null(strstr(cp_strbuf_text(&log), "answered without a record"));
    cp_strbuf_deinit(&log);
}

static void a_damaged_log_stops_the_start_with_one_line(void **state) {
    cp_strbuf text;
    cp_error err;
    (void)state;
    new_log();
    test_server server = start("LLM_MODE=mock", NULL);
    test_reply reply = test_triage(&server, QUESTION "}");
    test_reply_free(&reply);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    assert_cp_ok(cp_file_read(log_path, 1 << 20, &text, &err));
    test_write_file(log_path, "", 0);
    test_run run = carepath("serve", "--port", "0", NULL);
    assert_int_equal(run.exit_code, 1);
    assert_non_null(strstr(cp_strbuf_text(&run.err), "records 1 to 1 are missing at the end"));
    test_run_free(&run);
    cp_strbuf_deinit(&text);
}

/* ---- looks into records -----------------------------------------------------------------------
 */

#define BUNDLE                                                                                     \
    "{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{\"resource\":{"              \
    "\"resourceType\":\"Patient\",\"id\":\"p1\",\"identifier\":[{\"value\":\"MRN-700\"}],"         \
    "\"name\":[{\"text\":\"Quentin Abernathy\"}]}},{\"resource\":{\"resourceType\":\"Patient\","   \
    "\"id\":\"p2\",\"identifier\":[{\"value\":\"MRN-701\"}]}}]}"
#define TRACE_1 "0af7651916cd43dd8448eb211c803191"
#define TRACE_2 "0af7651916cd43dd8448eb211c803192"

/* A DATA_DIR that an import may change. */
static const char *own_data(void) {
    static char setting[TEST_DATA_CAP + 16];
    char dir[TEST_DATA_CAP];
    test_data_folder(
        "{\"mrn\":\"MRN-001\",\"name\":\"" CANARY_NAME "\"}\n", "",
        "{\"mrn\":\"MRN-001\",\"id\":\"D1\",\"date\":\"2024-01-01\",\"title\":\"Note\","
        "\"text\":\"" CANARY_NOTE "\"}\n",
        dir);
    snprintf(setting, sizeof setting, "DATA_DIR=%s", dir);
    return setting;
}

/* Asks with this trace id; what is said of it later hangs on the id. */
static test_reply ask_as(const test_server *server, const char *trace_id, const char *method,
                         const char *path, const char *body) {
    char headers[200];
    snprintf(headers, sizeof headers, "traceparent: 00-%s-b7ad6b7169203331-01\r\n%s", trace_id,
             body ? JSON_TYPE : "");
    return test_request(server, method, path, headers, body);
}

static void assert_access(const char *trace_id, const char *endpoint, const char *action, int n,
                          const char *first_patient) {
    cJSON *said = show(trace_id);
    const cJSON *record = cp_json_member(said, "record"),
                *patients = cp_json_member(record, "patients");
    assert_string_equal(cp_json_member(record, "kind")->valuestring, "access");
    assert_string_equal(cp_json_member(record, "endpoint")->valuestring, endpoint);
    assert_string_equal(cp_json_member(record, "action")->valuestring, action);
    assert_int_equal(cp_json_member(record, "n_patients")->valueint, n);
    assert_int_equal(cJSON_GetArraySize(patients), n);
    assert_int_equal(strlen(cJSON_GetArrayItem(patients, 0)->valuestring), 64);
    if (first_patient)
        assert_string_equal(cJSON_GetArrayItem(patients, 0)->valuestring, first_patient);
    cJSON_Delete(said);
}

static void assert_no_replay(const char *trace_id) {
    test_run run = carepath("replay", trace_id, NULL, NULL);
    assert_int_equal(run.exit_code, 1);
    assert_non_null(strstr(cp_strbuf_text(&run.err), "there is nothing to replay"));
    test_run_free(&run);
}

static void every_look_into_a_record_is_recorded(void **state) {
    static const char *const parts[] = {"", "/summary", "/encounters", "/documents"};
    char path[64], endpoint[64], patient[80];
    int n = 0;
    (void)state;
    new_log();
    test_server server = start("LLM_MODE=mock", own_data());
    test_reply reply = ask_as(&server, TRACE_1, "POST", "/triage", QUESTION "}");
    assert_int_equal(reply.status, 200);
    test_reply_free(&reply);
    cJSON *said = show(TRACE_1);
    snprintf(patient, sizeof patient, "%s",
             cp_json_member(cp_json_member(said, "record"), "patient")->valuestring);
    cJSON_Delete(said);
    n++;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++, n++) {
        snprintf(path, sizeof path, "/patients/MRN-001%s", parts[i]);
        snprintf(endpoint, sizeof endpoint, "/patients/{}%s", parts[i]);
        reply = ask_as(&server, TRACE_2, "GET", path, NULL);
        assert_reply(&reply, 200, "");
        test_reply_free(&reply);
        assert_access(TRACE_2, endpoint, "read", 1, patient);
        assert_no_replay(TRACE_2);
    }
    reply = ask_as(&server, TRACE_1, "GET", "/patients/MRN-001/summary", NULL);
    assert_reply(&reply, 200, "");
    test_reply_free(&reply);
    n++;
    said = show(TRACE_1); /* still the answer */
    assert_string_equal(cp_json_member(cp_json_member(said, "record"), "kind")->valuestring,
                        "answer");
    cJSON_Delete(said);
    reply = ask_as(&server, TRACE_2, "GET", "/patients/MRN-404", NULL); /* nothing was shown */
    assert_reply(&reply, 404, "patient_not_found");
    test_reply_free(&reply);
    reply = ask_as(&server, TRACE_2, "POST", "/patients/$import", BUNDLE);
    assert_reply(&reply, 200, "");
    test_reply_free(&reply);
    n++;
    assert_access(TRACE_2, "/patients/$import", "import", 2, NULL);
    assert_no_replay(TRACE_2);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    assert_int_equal(verify(), n);
    cp_strbuf log;
    cp_error err;
    assert_cp_ok(cp_file_read(log_path, 1 << 20, &log, &err));
    assert_null(strstr(log.data, "MRN-"));
    assert_null(strstr(log.data, CANARY_NOTE));
    assert_null(strstr(log.data, "Abernathy"));
    cp_strbuf_deinit(&log);
}

/* A store that is down: the attempt stands in the log, and that it failed. */
static void an_import_that_fails_is_recorded_as_such(void **state) {
    (void)state;
    new_log();
    test_server server = test_server_start(
        (const char *const[]){file_env, SECRET_ENV, "PATIENT_STORE=http",
                              "DB_API_BASE_URL=http://127.0.0.1:1", "STORE_TIMEOUT_MS=200", NULL});
    test_server_await_ready(&server);
    test_reply reply = ask_as(&server, TRACE_1, "POST", "/patients/$import", BUNDLE);
    assert_reply(&reply, 503, "dependency");
    test_reply_free(&reply);
    reply = ask_as(&server, TRACE_2, "GET", "/patients/MRN-001", NULL); /* nothing was shown */
    assert_reply(&reply, 503, "dependency");
    test_reply_free(&reply);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    assert_int_equal(verify(), 2);
    assert_access(TRACE_1, "/patients/$import", "import_failed", 2, NULL);
}

static void without_a_record_nothing_is_shown_or_stored(void **state) {
    (void)state;
    new_log();
    test_server server = start("LLM_MODE=mock", own_data());
    test_reply reply = test_request(&server, "GET", "/patients/MRN-001", NULL, NULL);
    assert_reply(&reply, 200, "");
    test_reply_free(&reply);
    stop_the_log(&server);
    reply = test_request(&server, "GET", "/patients/MRN-001", NULL, NULL);
    assert_reply(&reply, 503, "audit_unavailable");
    assert_null(strstr(cp_strbuf_text(&reply.body), CANARY_NAME));
    test_reply_free(&reply);
    reply = test_request(&server, "POST", "/patients/$import", JSON_TYPE, BUNDLE);
    assert_reply(&reply, 503, "audit_unavailable");
    test_reply_free(&reply);
    let_files_grow_to(&server, RLIM_INFINITY);
    reply = test_request(&server, "GET", "/patients/MRN-700", NULL, NULL);
    assert_reply(&reply, 404, "patient_not_found");
    test_reply_free(&reply);
    reply = test_request(&server, "POST", "/patients/$import", JSON_TYPE, BUNDLE);
    assert_reply(&reply, 200, "");
    test_reply_free(&reply);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    assert_int_equal(verify(), 2);
}

/* ---- streams ----------------------------------------------------------------------------------
 */

static void a_stream_ends_when_its_record_is_there(void **state) {
    (void)state;
    make_model();
    new_log();
    test_server server = start(model_env, NULL);
    test_reply reply = test_triage(&server, QUESTION ",\"stream\":true,\"seed\":5}");
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(cp_strbuf_text(&reply.body), "event: done"));
    char trace_id[40];
    snprintf(trace_id, sizeof trace_id, "%s", test_reply_header(&reply, "X-Trace-Id"));
    test_reply_free(&reply);
    assert_replays(trace_id);
    reply =
        test_request(&server, "POST", "/v1/chat/completions", JSON_TYPE, CHAT ",\"stream\":true}");
    assert_non_null(strstr(cp_strbuf_text(&reply.body), "[DONE]"));
    snprintf(trace_id, sizeof trace_id, "%s", test_reply_header(&reply, "X-Trace-Id"));
    test_reply_free(&reply);
    assert_replays(trace_id);
    stop_the_log(&server);
    reply = test_triage(&server, QUESTION ",\"stream\":true}");
    assert_non_null(strstr(cp_strbuf_text(&reply.body), "audit_unavailable"));
    test_reply_free(&reply);
    reply =
        test_request(&server, "POST", "/v1/chat/completions", JSON_TYPE, CHAT ",\"stream\":true}");
    assert_non_null(strstr(cp_strbuf_text(&reply.body), "audit_unavailable"));
    assert_null(strstr(cp_strbuf_text(&reply.body), "[DONE]"));
    test_reply_free(&reply);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    assert_int_equal(verify(), 2);
}

/* A client that leaves has read something: that is recorded, and replays as a beginning. */
static void a_stream_that_was_left_is_recorded(void **state) {
    char trace_id[40] = "", head[4096];
    (void)state;
    make_model();
    new_log();
    test_server server = start(model_env, "MAX_NEW_TOKENS=240");
    int fd = test_connect(&server);
    static const char body[] = CHAT "0,\"stream\":true,\"temperature\":1.5}"; /* 240 tokens */
    snprintf(head, sizeof head,
             "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n" JSON_TYPE
             "Content-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    assert_true(test_send_text(fd, head));
    size_t n = 0;
    ssize_t got;
    head[0] = '\0';
    while (n < sizeof head - 1 && !strstr(head, "reasoning_content\":\"") &&
           !strstr(head, "content\":\"") && (got = read(fd, head + n, sizeof head - 1 - n)) > 0) {
        n += (size_t)got;
        head[n] = '\0';
    }
    const char *id = strcasestr(head, "X-Trace-Id: ");
    assert_non_null(id);
    snprintf(trace_id, 33, "%s", id + strlen("X-Trace-Id: "));
    test_disconnect(fd);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    assert_int_equal(verify(), 1);
    assert_replays(trace_id);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_answer_has_its_record),
    cmocka_unit_test(an_answer_by_the_rules_alone_is_recorded_too),
    cmocka_unit_test(what_a_server_answered_replays_to_the_byte),
    cmocka_unit_test(kill_9_under_load_loses_no_answered_record),
    cmocka_unit_test(without_a_record_only_the_rules_answer),
    cmocka_unit_test(a_damaged_log_stops_the_start_with_one_line),
    cmocka_unit_test(every_look_into_a_record_is_recorded),
    cmocka_unit_test(an_import_that_fails_is_recorded_as_such),
    cmocka_unit_test(without_a_record_nothing_is_shown_or_stored),
    cmocka_unit_test(a_stream_ends_when_its_record_is_there),
    cmocka_unit_test(a_stream_that_was_left_is_recorded),
};
CP_TEST_GROUP(http_audit, tests)
