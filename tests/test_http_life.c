/* The server over time: load, queue, clients that leave, deadlines, shutdown, and what it must not
 * tell.
 *
 * A tiny golden model whose end token is moved out of reach generates until it is stopped: so there
 * is always work in progress to look at, without any delay built into the server. */
#include "tests/http_client.h"

#include "base/clock.h"
#include "base/file.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODEL GOLDEN "/models/tied-gqa2"
#define ENDLESS                                                                                    \
    "{\"patient_mrn\":\"MRN-001\",\"query\":\"I have a cough\",\"max_new_tokens\":30000,"          \
    "\"temperature\":0,\"enable_thinking\":true}"

/* The rules' answer alone, and why. */
static void assert_degraded(const test_reply *reply, const char *reason) {
    assert_int_equal(reply->status, 200);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(reply->json, "degraded")));
    assert_string_equal(test_reply_text(reply, "degraded_reason"), reason);
    assert_true(strlen(test_reply_text(reply, "disclaimer")) > 0);
}

static void stop(test_server *server) {
    assert_int_equal(test_server_stop(server, SIGTERM), 0);
}

/* ---- models ---------------------------------------------------------------------------------- */

static void link_into(const char *from, const char *name, const char *dir) {
    char path[700];
    snprintf(path, sizeof path, "%s/%s", from, name);
    char *target = realpath(path, NULL);
    assert_non_null(target);
    unlink(test_path(dir, name));
    assert_int_equal(symlink(target, test_path(dir, name)), 0);
    free(target);
}

/* The row of </think> in the embedding, which is the head too, becomes zero: its logit is 0, which
 * is never the largest of a thousand. So at temperature 0 no thought ends. */
static void never_close_a_thought(const char *dir) {
    enum { CLOSE = 1015, WIDTH = 96, BF16 = 2 };
    const char *path = test_path(dir, "model.safetensors");
    uint64_t n_header;
    cp_strbuf file;
    cp_error err;
    assert_cp_ok(cp_file_read(path, (size_t)16 << 20, &file, &err));
    memcpy(&n_header, file.data, sizeof n_header);
    static const char expected[] = "\"model.embed_tokens.weight\":{\"dtype\":\"BF16\",\"shape\":["
                                   "1024,96],\"data_offsets\":[0,";
    cp_strbuf header;
    cp_strbuf_init(&header, n_header + 1);
    for (size_t i = 0; i < n_header; i++)
        if (file.data[8 + i] != ' ')
            cp_strbuf_putc(&header, file.data[8 + i]);
    assert_non_null(strstr(cp_strbuf_text(&header), expected));
    memset(file.data + 8 + n_header + CLOSE * WIDTH * BF16, 0, WIDTH * BF16);
    unlink(path);
    test_write_file(path, file.data, file.n);
    cp_strbuf_deinit(&header);
    cp_strbuf_deinit(&file);
}

/* A copy of the golden model with a long context and no end token. */
static const char *endless_model(void) {
    static char dir[400];
    if (dir[0])
        return dir;
    snprintf(dir, sizeof dir, "%s", test_tmp_dir());
    DIR *folder = opendir(MODEL);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            link_into(MODEL, entry->d_name, dir);
    closedir(folder);
    cJSON *config = test_read_json(MODEL "/config.json");
    cJSON_SetNumberValue(cJSON_GetObjectItem(config, "max_position_embeddings"), 40960);
    cJSON_ReplaceItemInObject(config, "eos_token_id", cJSON_CreateArray());
    char *text = cJSON_PrintUnformatted(config);
    unlink(test_path(dir, "config.json"));
    test_write_file(test_path(dir, "config.json"), text, strlen(text));
    unlink(test_path(dir, "generation_config.json"));
    test_write_file(test_path(dir, "generation_config.json"), "{}", 2);
    never_close_a_thought(dir);
    cJSON_free(text);
    cJSON_Delete(config);
    return dir;
}

static test_server start_endless(const char *setting) {
    static char mode[500];
    snprintf(mode, sizeof mode, "LLM_MODE=%s", endless_model());
    const char *const env[] = {mode,        "CONTEXT_TOKENS=40000", "MAX_NEW_TOKENS=30000",
                               "THREADS=1", "MAX_RUNNING=1",        setting,
                               NULL};
    test_server server = test_server_start(env);
    test_server_await_ready(&server);
    return server;
}

/* A client whose request is sent and not answered. */
static int begin(const test_server *server) {
    int fd = test_connect(server);
    assert_true(test_send_text(fd, test_triage_bytes(ENDLESS)));
    return fd;
}

static int begin_running(const test_server *server) {
    int fd = begin(server);
    test_server_await_metric(server, "carepath_requests_running", 1);
    return fd;
}

/* ---- work in progress ------------------------------------------------------------------------ */

static void probes_answer_while_the_model_generates(void **state) {
    test_server server = start_endless(NULL);
    (void)state;
    int fd = begin_running(&server);
    for (int i = 0; i < 20; i++) {
        uint64_t start = cp_clock_ns();
        test_reply reply = test_request(&server, "GET", "/health", NULL, NULL);
        assert_int_equal(reply.status, 200);
        assert_true(cp_clock_ms_since(start) < 5000);
        test_reply_free(&reply);
    }
    assert_true(test_server_metric(&server, "carepath_requests_running") == 1);
    test_disconnect(fd);
    stop(&server);
}

/* No answer came, so it is no turn; but what the rules found in it holds in its conversation. */
static void flags_of_a_client_that_leaves_stay(void **state) {
    static const char asked[] = "{\"patient_mrn\":\"MRN-002\",\"query\":\"I have chest pain\","
                                "\"session_id\":\"a\"}",
                      later[] = "{\"patient_mrn\":\"MRN-002\",\"query\":\"thanks\","
                                "\"session_id\":\"a\",\"deadline_ms\":1}";
    test_server server = start_endless(NULL);
    (void)state;
    int fd = test_connect(&server);
    assert_true(test_send_text(fd, test_triage_bytes(asked)));
    test_server_await_metric(&server, "carepath_requests_running", 1);
    test_disconnect(fd);
    test_server_await_metric(&server, "carepath_requests_running", 0);
    test_reply reply = test_triage(&server, later);
    assert_int_equal(reply.status, 200);
    const cJSON *flag = cJSON_GetArrayItem(cp_json_member(reply.json, "red_flags"), 0);
    assert_string_equal(cp_json_member(flag, "id")->valuestring, "chest-pain-adult");
    assert_true(cJSON_IsTrue(cp_json_member(flag, "from_earlier_turn")));
    const cJSON *conversation = cp_json_member(reply.json, "conversation");
    assert_int_equal(cp_json_member(conversation, "earlier_turns")->valueint, 0);
    test_reply_free(&reply);
    stop(&server);
}

static void a_client_that_leaves_frees_its_work(void **state) {
    static const char gone[] =
        "carepath_http_requests_total{route=\"/triage\",method=\"POST\",status=\"499\"}";
    test_server server = start_endless(NULL);
    (void)state;
    for (int i = 1; i <= 5; i++) {
        int fd = begin_running(&server);
        test_disconnect(fd);
        test_server_await_metric(&server, "carepath_requests_running", 0);
        test_server_await_metric(&server, gone, i);
    }
    int running = begin_running(&server), waiting = begin(&server); /* and in the queue */
    test_server_await_metric(&server, "carepath_requests_queued", 1);
    test_disconnect(waiting);
    test_server_await_metric(&server, "carepath_requests_queued", 0);
    assert_true(test_server_metric(&server, "carepath_requests_running") == 1);
    test_disconnect(running);
    test_server_await_metric(&server, gone, 7);
    stop(&server);
}

static void a_full_queue_refuses_at_once(void **state) {
    test_server server = start_endless("QUEUE_MAX=2");
    (void)state;
    int fds[3] = {begin_running(&server)};
    fds[1] = begin(&server);
    fds[2] = begin(&server);
    test_server_await_metric(&server, "carepath_requests_queued", 2);
    for (int i = 0; i < 10; i++) {
        uint64_t start = cp_clock_ns();
        test_reply reply = test_triage(&server, ENDLESS);
        assert_degraded(&reply, "queue_full");
        test_reply_free(&reply);
        reply =
            test_request(&server, "POST", "/v1/completions", "Content-Type: application/json\r\n",
                         "{\"prompt\":\"a\",\"max_tokens\":1}");
        assert_reply(&reply, 503, "queue_full");
        assert_true(atoi(test_reply_header(&reply, "Retry-After")) >= 1);
        assert_true(cp_clock_ms_since(start) < 5000);
        test_reply_free(&reply);
    }
    /* What is wrong is told even now; it needs no place. */
    test_reply reply = test_triage(&server, "{}");
    assert_int_equal(reply.status, 422);
    test_reply_free(&reply);
    for (int i = 0; i < 3; i++)
        test_disconnect(fds[i]);
    test_server_await_metric(&server, "carepath_requests_queued", 0);
    stop(&server);
}

/* The one that runs closes its thought in time for an answer, or is cut; the one that waits may
 * never begin. Both are answered. */
static void a_deadline_ends_running_and_waiting_requests(void **state) {
    test_server server = start_endless("REQUEST_TIMEOUT_S=1");
    (void)state;
    int running = begin_running(&server), waiting = begin(&server);
    const int fds[] = {running, waiting};
    for (int i = 0; i < 2; i++) {
        test_reply reply = test_receive(fds[i], false);
        if (cJSON_IsTrue(cJSON_GetObjectItem(reply.json, "degraded")))
            assert_degraded(&reply, "deadline");
        else
            assert_true(cJSON_IsTrue(cJSON_GetObjectItem(reply.json, "thinking_truncated")));
        test_reply_free(&reply);
        test_disconnect(fds[i]);
    }
    test_server_await_metric(&server, "carepath_requests_running", 0);
    stop(&server);
}

static void a_prompt_that_does_not_fit_is_answered_by_the_rules(void **state) {
    char body[8000];
    const char *const env[] = {"LLM_MODE=./" MODEL, "CONTEXT_TOKENS=1024", NULL};
    test_server server = test_server_start(env);
    (void)state;
    test_server_await_ready(&server);
    int n = snprintf(body, sizeof body, "{\"patient_mrn\":\"MRN-001\",\"query\":\"");
    for (int i = 0; i < 900; i++)
        n += snprintf(body + n, sizeof body - (size_t)n, "cough %d", i % 10);
    snprintf(body + n, sizeof body - (size_t)n, "\"}");
    test_reply reply = test_triage(&server, body);
    assert_degraded(&reply, "too_long");
    test_reply_free(&reply);
    stop(&server);
}

static void the_same_seed_gives_the_same_answer(void **state) {
    static const char body[] = "{\"patient_mrn\":\"MRN-001\",\"query\":\"I have a cough\","
                               "\"max_new_tokens\":40,\"temperature\":1.5,\"seed\":7}";
    const char *const env[] = {"LLM_MODE=./" MODEL, NULL};
    test_server server = test_server_start(env);
    (void)state;
    test_server_await_ready(&server);
    test_reply first = test_triage(&server, body), second = test_triage(&server, body);
    assert_int_equal(first.status, 200);
    assert_string_equal(test_reply_text(&first, "llm_mode"), "tied-gqa2"); /* never a path */
    assert_string_equal(test_reply_text(&first, "model"), "tied-gqa2");
    assert_string_equal(test_reply_text(&first, "response"), test_reply_text(&second, "response"));
    const cJSON *usage = cJSON_GetObjectItem(first.json, "usage");
    assert_true(cJSON_GetObjectItem(usage, "prompt_tokens")->valueint > 100);
    assert_true(cJSON_GetObjectItem(usage, "completion_tokens")->valueint > 0);
    assert_true(cJSON_IsNumber(
        cJSON_GetObjectItem(cJSON_GetObjectItem(first.json, "timings"), "predicted_per_second")));
    test_reply_free(&first);
    test_reply_free(&second);
    stop(&server);
}

#define N_CLIENTS 8

static void nobody_gets_the_answer_of_another(void **state) {
    test_server server = test_server_start((const char *const[]){"QUEUE_MAX=64", NULL});
    (void)state;
    test_server_await_ready(&server);
    for (int round = 0; round < 50; round++) {
        int fds[N_CLIENTS];
        char body[200], session[32];
        for (int i = 0; i < N_CLIENTS; i++) {
            fds[i] = test_connect(&server);
            snprintf(
                body, sizeof body,
                "{\"patient_mrn\":\"MRN-00%d\",\"query\":\"cough\",\"session_id\":\"s-%d-%d\"}",
                1 + i % 2, round, i);
            assert_true(test_send_text(fds[i], test_triage_bytes(body)));
        }
        for (int i = 0; i < N_CLIENTS; i++) {
            if (i % 3 == 2) { /* some leave */
                test_disconnect(fds[i]);
                continue;
            }
            test_reply reply = test_receive(fds[i], false);
            snprintf(session, sizeof session, "s-%d-%d", round, i);
            assert_int_equal(reply.status, 200);
            assert_string_equal(test_reply_text(&reply, "session_id"), session);
            assert_string_equal(test_reply_text(&reply, "patient_mrn"),
                                i % 2 ? "MRN-002" : "MRN-001");
            test_reply_free(&reply);
            test_disconnect(fds[i]);
        }
    }
    stop(&server);
}

/* ---- start and stop -------------------------------------------------------------------------- */

static void sigterm_lets_accepted_work_finish(void **state) {
    static const char body[] = "{\"patient_mrn\":\"MRN-001\",\"query\":\"I have a cough\","
                               "\"max_new_tokens\":1000,\"temperature\":0,"
                               "\"enable_thinking\":true}";
    test_server server = start_endless("SHUTDOWN_GRACE_S=300");
    (void)state;
    int fds[2];
    for (int i = 0; i < 2; i++) { /* one runs, one waits */
        fds[i] = test_connect(&server);
        assert_true(test_send_text(fds[i], test_triage_bytes(body)));
        if (i == 0)
            test_server_await_metric(&server, "carepath_requests_running", 1);
    }
    test_server_await_metric(&server, "carepath_requests_queued", 1);
    kill(server.pid, SIGTERM);
    for (int i = 0; i < 2; i++) {
        test_reply reply = test_receive(fds[i], false);
        assert_int_equal(reply.status, 200);
        assert_true(
            cJSON_GetObjectItem(cJSON_GetObjectItem(reply.json, "usage"), "completion_tokens")
                ->valueint > 100);
        assert_string_equal(test_reply_header(&reply, "Connection"), "close");
        test_reply_free(&reply);
        test_disconnect(fds[i]);
    }
    assert_int_equal(test_server_stop(&server, 0), 0);
}

static void what_outlasts_the_grace_period_is_told(void **state) {
    test_server server = start_endless("SHUTDOWN_GRACE_S=2");
    (void)state;
    int running = begin_running(&server), waiting = begin(&server);
    test_server_await_metric(&server, "carepath_requests_queued", 1);
    kill(server.pid, SIGTERM);
    test_reply reply;
    uint64_t start = cp_clock_ns();
    do { /* until the signal has been seen */
        reply = test_request(&server, "GET", "/ready", NULL, NULL);
        if (reply.status == 200)
            test_reply_free(&reply);
    } while (reply.status == 0 && cp_clock_ms_since(start) < WAIT_S * 1e3);
    assert_reply(&reply, 503, "draining");
    assert_non_null(test_reply_header(&reply, "Retry-After"));
    test_reply_free(&reply);
    reply = test_triage(&server, ENDLESS);
    assert_reply(&reply, 503, "draining");
    test_reply_free(&reply);
    reply = test_request(&server, "GET", "/health", NULL, NULL);
    assert_int_equal(reply.status, 200);
    test_reply_free(&reply);
    const int fds[] = {running, waiting};
    for (int i = 0; i < 2; i++) {
        reply = test_receive(fds[i], false);
        assert_degraded(&reply, "shutdown");
        test_reply_free(&reply);
        test_disconnect(fds[i]);
    }
    assert_int_equal(test_server_stop(&server, 0), 0);
}

/* The real tokenizer takes a while to read and does not fit the tiny model: so there is a time of
 * loading, and then a failure. */
static void loading_is_told_and_a_broken_model_ends_the_server(void **state) {
    static char mode[500];
    const char *dir = test_tmp_dir();
    bool seen = false;
    (void)state;
    link_into(MODEL, "config.json", dir);
    link_into(MODEL, "model.safetensors", dir);
    link_into("models/qwen3-tokenizer", "tokenizer.json", dir);
    link_into("models/qwen3-tokenizer", "tokenizer_config.json", dir);
    snprintf(mode, sizeof mode, "LLM_MODE=%s", dir);
    const char *const env[] = {mode, NULL};
    for (int i = 0; i < 30 && !seen; i++) {
        test_server server = test_server_start(env);
        int fd = test_connect(&server);
        (void)test_send_text(fd, "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n"
                                 "GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        (void)test_send_text(
            fd, test_triage_bytes("{\"patient_mrn\":\"MRN-001\",\"query\":\"cough\"}"));
        test_reply ready = test_receive(fd, false), health = test_receive(fd, false),
                   triage = test_receive(fd, false);
        seen = ready.status == 503 && strcmp(test_reply_text(&health, "status"), "loading") == 0 &&
               triage.status == 200;
        if (seen) {
            assert_reply(&ready, 503, "loading");
            assert_int_equal(health.status, 200);
            assert_degraded(&triage, "loading");
        }
        test_reply_free(&ready);
        test_reply_free(&health);
        test_reply_free(&triage);
        test_disconnect(fd);
        assert_int_equal(test_server_stop(&server, 0), 1);
        cp_strbuf log = test_server_log(&server);
        assert_non_null(strstr(cp_strbuf_text(&log), "cannot be loaded"));
        cp_strbuf_deinit(&log);
    }
    assert_true(seen);
}

static void a_port_in_use_is_one_clear_line(void **state) {
    test_server server = test_server_start(NULL);
    char port[32];
    (void)state;
    snprintf(port, sizeof port, "%d", server.port);
    const char *const args[] = {NULL, "serve", "--port", port, NULL};
    test_run run = test_run_program(args, NULL, NULL);
    assert_int_equal(run.exit_code, 1);
    assert_non_null(strstr(cp_strbuf_text(&run.err), "cannot listen on 127.0.0.1 port"));
    assert_int_equal(strcspn(cp_strbuf_text(&run.err), "\n") + 1, run.err.n);
    test_run_free(&run);
    stop(&server);
}

static void outside_development_there_are_no_core_files(void **state) {
    test_server server = test_server_start((const char *const[]){"APP_ENV=staging", NULL});
    char path[64], line[256];
    bool found = false;
    (void)state;
    test_server_await_ready(&server);
    snprintf(path, sizeof path, "/proc/%d/limits", (int)server.pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "Max core file size", 18) == 0) {
            long long soft = -1, hard = -1;
            assert_int_equal(sscanf(line + 18, "%lld %lld", &soft, &hard), 2);
            assert_int_equal(soft, 0);
            assert_int_equal(hard, 0);
            found = true;
        }
    fclose(file);
    assert_true(found);
    stop(&server);
}

/* ---- what it must not tell ------------------------------------------------------------------- */

static void check_silent(const char *where, const char *text) {
    static const char *const canaries[] = {CANARY_NAME,   CANARY_PHONE, CANARY_NOTE, "Quillfeather",
                                           "quokkaesque", "MRN-001",    "MRN-404"};
    for (size_t i = 0; i < sizeof canaries / sizeof canaries[0]; i++)
        if (strstr(text, canaries[i]))
            fail_msg("%s holds \"%s\"", where, canaries[i]);
}

static void no_word_of_patient_or_query_leaves_but_in_answers(void **state) {
    static const char *const bodies[] = {
        "{\"patient_mrn\":\"MRN-001\",\"query\":\"quokkaesque cough, I am " CANARY_NAME "\"}",
        "{\"patient_mrn\":\"MRN-001\",\"query\":\"crushing chest pain, quokkaesque\",\"seed\":1}",
        "{\"patient_mrn\":\"MRN-404\",\"query\":\"quokkaesque\"}",
        "{\"patient_mrn\":\"MRN-001 " CANARY_NAME "\",\"query\":\"quokkaesque\"}",
        "{\"patient_mrn\":\"MRN-001\",\"query\":\"quokkaesque\",\"quokkaesque\":1}",
        "{\"patient_mrn\":\"MRN-001\",\"query\":\"quokkaesque\",\"seed\":\"quokkaesque\"}",
        "{\"patient_mrn\":\"MRN-001\",\"query\":\"quokkaesque",
        "{\"patient_mrn\":\"MRN-001\",\"query\":\"quokkaesque\",\"quokkaesque\":\"\\u0000\"}",
    };
    static const char *const formats[] = {"LOG_FORMAT=json", "LOG_FORMAT=text"};
    static const char *const modes[] = {"LLM_MODE=mock", "LLM_MODE=./" MODEL};
    (void)state;
    for (int k = 0; k < 2; k++) {
        test_server server = test_server_start((const char *const[]){
            formats[k], modes[k], "LOG_LEVEL=debug", "MAX_NEW_TOKENS=30", NULL});
        test_server_await_ready(&server);
        for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
            test_reply reply = test_triage(&server, bodies[i]);
            assert_true(reply.status > 0);
            if (reply.status != 200)
                check_silent("an error", cp_strbuf_text(&reply.body));
            else
                assert_true(strlen(test_reply_text(&reply, "disclaimer")) > 0);
            test_reply_free(&reply);
        }
        static const char *const paths[] = {"/quokkaesque?MRN-001", "/metrics", "/health",
                                            "/ready"};
        for (size_t i = 0; i < 4; i++) {
            test_reply reply =
                test_request(&server, "GET", paths[i], "X-Request-Id: quokkaesque \"\r\n", NULL);
            check_silent(paths[i], cp_strbuf_text(&reply.body));
            check_silent(paths[i], cp_strbuf_text(&reply.head));
            test_reply_free(&reply);
        }
        stop(&server);
        cp_strbuf log = test_server_log(&server);
        assert_non_null(strstr(cp_strbuf_text(&log), "triage answered"));
        check_silent("the log", cp_strbuf_text(&log));
        cp_strbuf_deinit(&log);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(probes_answer_while_the_model_generates),
    cmocka_unit_test(a_client_that_leaves_frees_its_work),
    cmocka_unit_test(flags_of_a_client_that_leaves_stay),
    cmocka_unit_test(a_full_queue_refuses_at_once),
    cmocka_unit_test(a_deadline_ends_running_and_waiting_requests),
    cmocka_unit_test(a_prompt_that_does_not_fit_is_answered_by_the_rules),
    cmocka_unit_test(the_same_seed_gives_the_same_answer),
    cmocka_unit_test(nobody_gets_the_answer_of_another),
    cmocka_unit_test(sigterm_lets_accepted_work_finish),
    cmocka_unit_test(what_outlasts_the_grace_period_is_told),
    cmocka_unit_test(loading_is_told_and_a_broken_model_ends_the_server),
    cmocka_unit_test(a_port_in_use_is_one_clear_line),
    cmocka_unit_test(outside_development_there_are_no_core_files),
    cmocka_unit_test(no_word_of_patient_or_query_leaves_but_in_answers),
};
CP_TEST_GROUP(http_life, tests)
