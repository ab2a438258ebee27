/* Access over HTTP: a real server with keys, proxies and origins, and what each request gets. */
#include "tests/http_client.h"

#include "base/crypto.h"
#include "base/file.h"
#include "base/mem.h"
#include "server/access_keys.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUGH "{\"patient_mrn\":\"MRN-001\",\"query\":\"I have a cough\"}"
#define JSON  "Content-Type: application/json\r\n"

#define SECRET_ENV "SECRET_KEY=0123456789abcdef0123456789abcdef"
#define MODEL_ENV  "LLM_MODE=./" GOLDEN "/models/tied-gqa2"

/* A file with four keys: doctor (triage), robot (triage, 1 a minute, 2 at once), scrape (metrics),
 * gone (triage, expired). */
typedef struct key_ring {
    char path[400];
    char doctor[200], robot[200], scrape[200], gone[200]; /* whole header lines */
} key_ring;

static void add_key(cp_access_keys *keys, const char *id, cp_access_key key, char header[200]) {
    char text[CP_KEY_TEXT_CAP];
    cp_error err;
    key.burst = key.burst ? key.burst : 1;
    key.not_after = key.not_after ? key.not_after : INT64_MAX;
    assert_cp_ok(cp_key_make(id, &key, text, &err));
    assert_cp_ok(cp_keys_add(keys, &key, &err));
    snprintf(header, 200, "Authorization: Bearer %s\r\n", text);
}

static key_ring make_keys(void) {
    key_ring ring;
    cp_access_keys keys = {0};
    cp_error err;
    snprintf(ring.path, sizeof ring.path, "%s", test_path(test_tmp_dir(), "keys.json"));
    add_key(&keys, "doctor", (cp_access_key){.scopes = CP_SCOPE_TRIAGE}, ring.doctor);
    add_key(&keys, "robot",
            (cp_access_key){.scopes = CP_SCOPE_TRIAGE, .rate_per_minute = 1, .burst = 2},
            ring.robot);
    add_key(&keys, "scrape", (cp_access_key){.scopes = CP_SCOPE_METRICS}, ring.scrape);
    add_key(&keys, "gone", (cp_access_key){.scopes = CP_SCOPE_TRIAGE, .not_after = 1}, ring.gone);
    assert_cp_ok(cp_keys_write(ring.path, &keys, &err));
    cp_keys_deinit(&keys);
    return ring;
}

static test_server start_with(const key_ring *ring, const char *more, const char *and_more) {
    char keys[500];
    snprintf(keys, sizeof keys, "API_KEYS_FILE=%s", ring ? ring->path : "");
    test_server server = test_server_start((const char *const[]){keys, more, and_more, NULL});
    test_server_await_ready(&server);
    return server;
}

static void stop(test_server *server) {
    assert_int_equal(test_server_stop(server, SIGTERM), 0);
}

/* POST /triage with a key's header line; "" for none. */
static test_reply ask(const test_server *server, const char *key) {
    char headers[600];
    snprintf(headers, sizeof headers, JSON "%s", key);
    return test_request(server, "POST", "/triage", headers, COUGH);
}

static void check(test_reply reply, int status, const char *code) {
    assert_reply(&reply, status, code);
    const char *authenticate = test_reply_header(&reply, "WWW-Authenticate");
    if (status == 401)
        assert_string_equal(authenticate, "Bearer");
    else
        assert_null(authenticate);
    test_reply_free(&reply);
}

/* The whole of /metrics, for a key that may. */
static void check_metrics(const test_server *server, const key_ring *ring,
                          const char *const *lines) {
    test_reply reply = test_request(server, "GET", "/metrics", ring->scrape, NULL);
    assert_int_equal(reply.status, 200);
    for (; *lines; lines++)
        if (!strstr(cp_strbuf_text(&reply.body), *lines))
            fail_msg("no \"%s\" in %s", *lines, cp_strbuf_text(&reply.body));
    test_reply_free(&reply);
}

static void each_key_gets_what_it_may(void **state) {
    key_ring ring = make_keys();
    test_server server = start_with(&ring, NULL, NULL);
    char wrong[500];
    (void)state;
    check(ask(&server, ring.doctor), 200, "");
    check(ask(&server, ""), 401, "missing_key");
    check(ask(&server, "Authorization: Basic YTpi\r\n"), 401, "missing_key");
    check(ask(&server, "Authorization: Bearer cpk_doctor_0123\r\n"), 401, "invalid_key");
    snprintf(wrong, sizeof wrong, "%s", ring.doctor);
    char *last = wrong + strlen(wrong) - 3;
    *last = *last == '0' ? '1' : '0';
    check(ask(&server, wrong), 401, "invalid_key");
    memcpy(strstr(wrong, "doctor"), "nobody", 6);
    check(ask(&server, wrong), 401, "invalid_key");
    check(ask(&server, ring.gone), 401, "expired_key");
    check(ask(&server, ring.scrape), 403, "missing_scope");
    snprintf(wrong, sizeof wrong, "%s%s", ring.doctor, ring.scrape);
    check(ask(&server, wrong), 400, "duplicate_header");
    check(test_request(&server, "GET", "/metrics", NULL, NULL), 401, "missing_key");
    check(test_request(&server, "GET", "/metrics", ring.doctor, NULL), 403, "missing_scope");
    /* Probes and unknown paths need none. */
    check(test_request(&server, "GET", "/health", NULL, NULL), 200, "");
    check(test_request(&server, "HEAD", "/ready", NULL, NULL), 200, "");
    check(test_request(&server, "GET", "/nothing", NULL, NULL), 404, "not_found");
    check_metrics(&server, &ring,
                  (const char *const[]){
                      "carepath_access_refused_total{reason=\"missing_key\"} 3\n",
                      "carepath_access_refused_total{reason=\"invalid_key\"} 3\n",
                      "carepath_access_refused_total{reason=\"expired_key\"} 1\n",
                      "carepath_access_refused_total{reason=\"missing_scope\"} 2\n",
                      "carepath_access_refused_total{reason=\"rate_limited\"} 0\n",
                      "carepath_access_refused_total{reason=\"other\"} 0\n",
                      "carepath_api_keys 4\n",
                      "{route=\"/triage\",method=\"POST\",status=\"401\"} 6\n",
                      "{route=\"/triage\",method=\"POST\",status=\"403\"} 1\n",
                      NULL,
                  });
    stop(&server);
}

static void a_key_that_asks_too_often_is_told_when_to_come_back(void **state) {
    key_ring ring = make_keys();
    test_server server = start_with(&ring, NULL, NULL);
    (void)state;
    check(ask(&server, ring.robot), 200, "");
    check(ask(&server, ring.robot), 200, "");
    test_reply reply = ask(&server, ring.robot);
    assert_reply(&reply, 429, "rate_limited");
    assert_string_equal(test_reply_text(&reply, "error.type"), "rate_limit_error");
    int seconds = atoi(test_reply_header(&reply, "Retry-After"));
    assert_true(seconds >= 1 && seconds <= 60);
    test_reply_free(&reply);
    check(ask(&server, ring.doctor), 200, "");
    check_metrics(
        &server, &ring,
        (const char *const[]){"carepath_access_refused_total{reason=\"rate_limited\"} 1\n", NULL});
    stop(&server);
}

/* Who may not ask need not send what they would ask: the answer comes before the body. */
/* Two proxies' clients, one of whom guesses keys: that one alone is sent away, and not with the
 * right key. */
static void an_address_that_guesses_is_sent_away(void **state) {
    static const char guess[] = "Authorization: Bearer cpk_doctor_0123\r\n";
    static const char *const from[] = {"X-Forwarded-For: 198.51.100.7\r\n",
                                       "X-Forwarded-For: 198.51.100.8\r\n"};
    key_ring ring = make_keys();
    char headers[500];
    (void)state;
    test_server server = start_with(&ring, "TRUSTED_PROXIES=127.0.0.0/8", "REFUSALS_PER_MINUTE=1");
    for (int i = 0; i < 2; i++) {
        snprintf(headers, sizeof headers, "%s%s", from[i], guess);
        check(ask(&server, headers), 401, "invalid_key");
    }
    test_reply reply = ask(&server, headers);
    assert_reply(&reply, 429, "too_many_attempts");
    int seconds = atoi(test_reply_header(&reply, "Retry-After"));
    assert_true(seconds >= 1 && seconds <= 60);
    test_reply_free(&reply);
    check(ask(&server, from[0]), 429, "too_many_attempts"); /* none at all is no better */
    snprintf(headers, sizeof headers, "%s%s", from[0], ring.doctor);
    check(ask(&server, headers), 200, "");
    check(test_request(&server, "GET", "/health", from[0], NULL), 200, "");
    check_metrics(&server, &ring,
                  (const char *const[]){
                      "carepath_access_refused_total{reason=\"invalid_key\"} 2\n",
                      "carepath_access_refused_total{reason=\"too_many_attempts\"} 2\n", NULL});
    stop(&server);
}

static void without_keys_an_address_may_have_a_rate(void **state) {
    (void)state;
    test_server server = start_with(NULL, "KEYLESS_PER_MINUTE=1", NULL);
    check(ask(&server, ""), 200, "");
    test_reply reply = ask(&server, "");
    assert_reply(&reply, 429, "rate_limited");
    assert_non_null(test_reply_header(&reply, "Retry-After"));
    test_reply_free(&reply);
    check(test_request(&server, "GET", "/health", NULL, NULL), 200, "");
    stop(&server);
}

static void a_refusal_does_not_wait_for_the_body(void **state) {
    key_ring ring = make_keys();
    test_server server = start_with(&ring, NULL, NULL);
    (void)state;
    int fd = test_connect(&server);
    assert_true(test_send_text(fd, "POST /triage HTTP/1.1\r\nHost: a\r\n" JSON
                                   "Content-Length: 60000\r\n\r\n{"));
    test_reply reply = test_receive(fd, false);
    assert_reply(&reply, 401, "missing_key");
    assert_string_equal(test_reply_header(&reply, "Connection"), "close");
    assert_true(test_ends_cleanly(fd));
    test_disconnect(fd);
    test_reply_free(&reply);
    /* Without a body the connection lives on. */
    fd = test_connect(&server);
    for (int i = 0; i < 3; i++) {
        assert_true(test_send_text(fd, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"));
        reply = test_receive(fd, false);
        assert_reply(&reply, 401, "missing_key");
        test_reply_free(&reply);
    }
    test_disconnect(fd);
    stop(&server);
}

/* Until the answer is `status`; what a running server notices by itself takes a moment. */
static void await_status(const test_server *server, const char *key, int status) {
    int got = 0;
    for (int i = 0; i < (int)(WAIT_S * 20) && got != status; i++) {
        test_reply reply = ask(server, key);
        got = reply.status;
        test_reply_free(&reply);
        if (got != status)
            usleep(50000);
    }
    assert_int_equal(got, status);
}

static void keys_come_and_go_while_the_server_runs(void **state) {
    key_ring ring = make_keys();
    test_server server = start_with(&ring, NULL, NULL);
    (void)state;
    const char *const revoke[] = {NULL,      "keys", "revoke", "--file",
                                  ring.path, "--id", "doctor", NULL};
    const char *const create[] = {NULL,   "keys",  "create",   "--file", ring.path,
                                  "--id", "fresh", "--scopes", "triage", NULL};
    check(ask(&server, ring.doctor), 200, "");
    test_run run = test_run_program(revoke, NULL, NULL);
    assert_int_equal(run.exit_code, 0);
    test_run_free(&run);
    await_status(&server, ring.doctor, 401);
    run = test_run_program(create, NULL, NULL);
    assert_int_equal(run.exit_code, 0);
    char header[200];
    snprintf(header, sizeof header, "Authorization: Bearer %.*s\r\n",
             (int)strcspn(run.out.data, "\n"), run.out.data);
    await_status(&server, header, 200);
    test_run_free(&run);
    cp_error err;
    assert_cp_ok(cp_file_write_private(ring.path, CP_STR("{\"version\":"), &err));
    for (int i = 0; i < (int)(WAIT_S * 20); i++) {
        test_reply reply = test_request(&server, "GET", "/metrics", ring.scrape, NULL);
        bool told = strstr(cp_strbuf_text(&reply.body),
                           "carepath_api_key_reload_failures_total 1\n") != NULL;
        test_reply_free(&reply);
        if (told)
            break;
        usleep(50000);
    }
    check_metrics(&server, &ring,
                  (const char *const[]){"carepath_api_key_reload_failures_total 1\n",
                                        "carepath_api_keys 4\n", NULL});
    check(ask(&server, header), 200, "");
    stop(&server);
}

/* Ids are logged, secrets never: neither the right ones nor what somebody else sent. */
static void no_secret_is_in_the_log(void **state) {
    key_ring ring = make_keys();
    test_server server = start_with(&ring, "SECRET_KEY=quokkaesque-secret-0123456789abcdef", NULL);
    (void)state;
    check(ask(&server, ring.doctor), 200, "");
    check(ask(&server, ring.robot), 200, "");
    check(ask(&server, ring.scrape), 403, "missing_scope");
    check(ask(&server, "Authorization: Bearer quokkaesque\r\n"), 401, "invalid_key");
    check(ask(&server, "Authorization: Bearer cpk_quokkaesque_00\r\n"), 401, "invalid_key");
    check(ask(&server, "Authorization: quokkaesque\r\n"), 401, "missing_key");
    stop(&server);
    cp_strbuf log = test_server_log(&server);
    const char *text = cp_strbuf_text(&log);
    assert_non_null(strstr(text, "key=\"doctor\""));
    assert_non_null(strstr(text, "key=\"scrape\""));
    assert_null(strstr(text, "quokkaesque"));
    assert_null(strstr(text, "cpk_"));
    const char *const headers[] = {ring.doctor, ring.robot, ring.scrape};
    for (size_t i = 0; i < CP_COUNT_OF(headers); i++) {
        char part[17] = "";
        memcpy(part, headers[i] + strlen(headers[i]) - 2 - 16, 16); /* of the secret */
        assert_null(strstr(text, part));
    }
    cp_strbuf_deinit(&log);
}

/* ---- headers --------------------------------------------------------------------------------- */

static void check_security_headers(const test_reply *reply) {
    static const char *const want[][2] = {
        {"X-Content-Type-Options", "nosniff"},
        {"Cache-Control", "no-store"},
        {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
    };
    for (size_t i = 0; i < CP_COUNT_OF(want); i++) {
        const char *got = test_reply_header(reply, want[i][0]);
        if (!got || strcmp(got, want[i][1]) != 0)
            fail_msg("%d: %s is %s", reply->status, want[i][0], got ? got : "absent");
    }
}

static void every_answer_has_the_security_headers(void **state) {
    test_server server = start_with(NULL, "HEADER_TIMEOUT_S=1", "CORS_ORIGINS=https://a.example");
    static const char *const paths[] = {"/health", "/ready", "/metrics", "/nothing", "/triage"};
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(paths); i++) {
        test_reply reply = test_request(&server, "GET", paths[i], NULL, NULL);
        check_security_headers(&reply);
        assert_null(test_reply_header(&reply, "Strict-Transport-Security"));
        assert_string_equal(test_reply_header(&reply, "Vary"), "Origin");
        assert_null(test_reply_header(&reply, "Access-Control-Allow-Origin"));
        test_reply_free(&reply);
    }
    test_reply reply = test_triage(&server, COUGH);
    assert_int_equal(reply.status, 200);
    check_security_headers(&reply);
    test_reply_free(&reply);
    /* Also what is written past the HTTP library. */
    int fd = test_connect(&server);
    assert_true(test_send_text(fd, "GET /health HTTP/1.1\r\n"));
    reply = test_receive(fd, false);
    assert_reply(&reply, 408, "slow_headers");
    check_security_headers(&reply);
    test_reply_free(&reply);
    test_disconnect(fd);
    stop(&server);
}

#define PREFLIGHT "Access-Control-Request-Method: POST\r\nOrigin: "

static void only_allowed_pages_may_ask(void **state) {
    key_ring ring = make_keys();
    test_server server =
        start_with(&ring, "CORS_ORIGINS=https://a.example, http://b.example", NULL);
    (void)state;
    test_reply reply =
        test_request(&server, "OPTIONS", "/triage", PREFLIGHT "https://a.example\r\n", NULL);
    assert_int_equal(reply.status, 204);
    assert_int_equal(reply.body.n, 0);
    assert_string_equal(test_reply_header(&reply, "Access-Control-Allow-Origin"),
                        "https://a.example");
    assert_string_equal(test_reply_header(&reply, "Access-Control-Allow-Methods"), "POST");
    assert_non_null(
        strstr(test_reply_header(&reply, "Access-Control-Allow-Headers"), "Authorization"));
    assert_string_equal(test_reply_header(&reply, "Vary"), "Origin");
    assert_null(test_reply_header(&reply, "Access-Control-Allow-Credentials"));
    check_security_headers(&reply);
    test_reply_free(&reply);
    reply =
        test_request(&server, "OPTIONS", "/health",
                     "Access-Control-Request-Method: GET\r\nOrigin: http://b.example\r\n", NULL);
    assert_int_equal(reply.status, 204);
    assert_string_equal(test_reply_header(&reply, "Access-Control-Allow-Methods"), "GET, HEAD");
    test_reply_free(&reply);

    static const struct {
        const char *path, *headers;
        int status;
        const char *code;
    } refused[] = {
        {"/triage", PREFLIGHT "https://evil.example\r\n", 405, "method_not_allowed"},
        {"/triage", PREFLIGHT "https://a.example:8443\r\n", 405, "method_not_allowed"},
        {"/triage", PREFLIGHT "null\r\n", 405, "method_not_allowed"},
        {"/triage", "Origin: https://a.example\r\n", 405, "method_not_allowed"},
        {"/triage", "Access-Control-Request-Method: POST\r\n", 405, "method_not_allowed"},
        {"/nothing", PREFLIGHT "https://a.example\r\n", 404, "not_found"},
    };
    for (size_t i = 0; i < CP_COUNT_OF(refused); i++) {
        reply = test_request(&server, "OPTIONS", refused[i].path, refused[i].headers, NULL);
        assert_reply(&reply, refused[i].status, refused[i].code);
        assert_null(test_reply_header(&reply, "Access-Control-Allow-Methods"));
        test_reply_free(&reply);
    }
    /* The request itself, and its refusals: the page may read both, a stranger's neither. */
    char headers[300];
    snprintf(headers, sizeof headers, "%sOrigin: http://b.example\r\n", ring.doctor);
    reply = ask(&server, headers);
    assert_int_equal(reply.status, 200);
    assert_string_equal(test_reply_header(&reply, "Access-Control-Allow-Origin"),
                        "http://b.example");
    test_reply_free(&reply);
    reply = ask(&server, "Origin: https://a.example\r\n");
    assert_reply(&reply, 401, "missing_key");
    assert_string_equal(test_reply_header(&reply, "Access-Control-Allow-Origin"),
                        "https://a.example");
    test_reply_free(&reply);
    snprintf(headers, sizeof headers, "%sOrigin: https://evil.example\r\n", ring.doctor);
    reply = ask(&server, headers);
    assert_int_equal(reply.status, 200);
    assert_null(test_reply_header(&reply, "Access-Control-Allow-Origin"));
    test_reply_free(&reply);
    stop(&server);
}

/* Without CORS_ORIGINS browsers stay closed. */
static void without_origins_no_page_may_ask(void **state) {
    test_server server = start_with(NULL, NULL, NULL);
    (void)state;
    test_reply reply =
        test_request(&server, "OPTIONS", "/triage", PREFLIGHT "https://a.example\r\n", NULL);
    assert_reply(&reply, 405, "method_not_allowed");
    assert_null(test_reply_header(&reply, "Access-Control-Allow-Origin"));
    assert_null(test_reply_header(&reply, "Vary"));
    test_reply_free(&reply);
    stop(&server);
}

/* ---- proxies --------------------------------------------------------------------------------- */

static void forwarded_headers_count_from_trusted_proxies_only(void **state) {
    static const char secure[] = "X-Forwarded-Proto: https\r\n";
    static const char *const far[] = {
        "X-Forwarded-For: 203.0.113.9\r\n",
        "X-Forwarded-For: 127.0.0.1, 203.0.113.9\r\n",
        "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 203.0.113.9\r\n",
    };
    (void)state;
    test_server server = start_with(NULL, "TRUSTED_PROXIES=127.0.0.0/8", NULL);
    test_reply reply = test_request(&server, "GET", "/health", secure, NULL);
    assert_string_equal(test_reply_header(&reply, "Strict-Transport-Security"), "max-age=31536000");
    test_reply_free(&reply);
    check(ask(&server, ""), 200, "");
    check(ask(&server, "X-Forwarded-For: 127.0.0.1\r\n"), 200, "");
    for (size_t i = 0; i < CP_COUNT_OF(far); i++) /* without keys a proxy opens nothing */
        check(ask(&server, far[i]), 403, "local_only");
    check(test_request(&server, "GET", "/health", far[0], NULL), 200, "");
    stop(&server);

    server = start_with(NULL, "TRUSTED_PROXIES=10.0.0.0/8", NULL);
    reply = test_request(&server, "GET", "/health", secure, NULL);
    assert_null(test_reply_header(&reply, "Strict-Transport-Security"));
    test_reply_free(&reply);
    check(ask(&server, far[0]), 200, "");
    stop(&server);
}

/* A page whose name was made to point at this machine sends that name. */
static void without_keys_only_a_local_name_is_answered(void **state) {
    static const struct {
        const char *line, *host;
        int status;
    } cases[] = {
        {"GET /metrics HTTP/1.1\r\n", "Host: evil.example\r\n", 403},
        {"GET /metrics HTTP/1.1\r\n", "Host: localhost.evil.example:8002\r\n", 403},
        {"GET /metrics HTTP/1.1\r\n", "Host: 127.0.0.1:8002\r\n", 200},
        {"GET /metrics HTTP/1.1\r\n", "Host: [::1]\r\n", 200},
        {"GET /metrics HTTP/1.0\r\n", "", 200},
        {"GET /health HTTP/1.1\r\n", "Host: evil.example\r\n", 200},
    };
    test_server server = start_with(NULL, NULL, NULL);
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        char text[200];
        snprintf(text, sizeof text, "%s%s\r\n", cases[i].line, cases[i].host);
        int fd = test_connect(&server);
        assert_true(test_send_text(fd, text));
        check(test_receive(fd, false), cases[i].status, cases[i].status == 403 ? "local_only" : "");
        test_disconnect(fd);
    }
    stop(&server);
}

/* ---- starting -------------------------------------------------------------------------------- */

static void refuse_start(const char *const *env, int exit_code, const char *sentence) {
    const char *all[8] = {"PORT=0", "LLM_MODE=mock"};
    for (size_t i = 0; env[i]; i++)
        all[2 + i] = env[i];
    test_run run = test_run_program((const char *const[]){NULL, "serve", NULL}, all, NULL);
    if (run.exit_code != exit_code || !strstr(cp_strbuf_text(&run.err), sentence))
        fail_msg("expected %d \"%s\", got %d: %s", exit_code, sentence, run.exit_code,
                 cp_strbuf_text(&run.err));
    assert_int_equal(strcspn(cp_strbuf_text(&run.err), "\n") + 1, run.err.n); /* one line */
    assert_int_equal(run.out.n, 0);
    test_run_free(&run);
}
#define REFUSE_START(exit_code, sentence, ...)                                                     \
    refuse_start((const char *const[]){__VA_ARGS__, NULL}, exit_code, sentence)

/* Unsigned rules: named at start, in the log, in /ready and /metrics, and not in production unless
 * somebody says so. */
static void production_needs_signed_rules_or_a_word(void **state) {
    key_ring ring = make_keys();
    char keys[500];
    (void)state;
    snprintf(keys, sizeof keys, "API_KEYS_FILE=%s", ring.path);
    REFUSE_START(2, "UNREVIEWED_RULES", "APP_ENV=production", keys, SECRET_ENV, "AUDIT_FILE=off",
                 MODEL_ENV);
    test_server server = test_server_start(
        (const char *const[]){"APP_ENV=production", "UNREVIEWED_RULES=allow", keys, SECRET_ENV,
                              "AUDIT_FILE=off", MODEL_ENV, NULL});
    test_server_await_ready(&server);
    test_reply ready = test_request(&server, "GET", "/ready", NULL, NULL);
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(ready.json, "rules_reviewed")));
    test_reply_free(&ready);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    cp_strbuf log = test_server_log(&server);
    assert_non_null(strstr(cp_strbuf_text(&log), "no clinician has signed"));
    cp_strbuf_deinit(&log);
}

/* The same rules with a name under them. */
static void signed_rules_are_said_to_be(void **state) {
    char dir[TEST_DATA_CAP], data[TEST_DATA_CAP + 16];
    cp_strbuf rules, named;
    cp_error err;
    (void)state;
    assert_cp_ok(cp_file_read("data/triage/rules.json", 4 << 20, &rules, &err));
    char *unsigned_by = strstr(rules.data, "\"reviewed_by\": null");
    assert_non_null(unsigned_by);
    cp_strbuf_init(&named, 4 << 20);
    cp_strbuf_append(&named, rules.data, (size_t)(unsigned_by - rules.data));
    cp_strbuf_puts(&named, "\"reviewed_by\": \"Dr. A. Example\"");
    cp_strbuf_puts(&named, unsigned_by + strlen("\"reviewed_by\": null"));
    test_data_folder("{\"mrn\":\"MRN-001\"}\n", "", "", dir);
    assert_int_equal(unlink(test_path(dir, "triage")), 0);
    assert_int_equal(mkdir(test_path(dir, "triage"), 0755), 0);
    test_write_file(test_path(dir, "triage/rules.json"), named.data, named.n);
    snprintf(data, sizeof data, "DATA_DIR=%s", dir);
    test_server server = test_server_start((const char *const[]){data, NULL});
    test_server_await_ready(&server);
    test_reply ready = test_request(&server, "GET", "/ready", NULL, NULL);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(ready.json, "rules_reviewed")));
    test_reply_free(&ready);
    assert_true(test_server_metric(&server, "carepath_rules_reviewed") == 1);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    cp_strbuf log = test_server_log(&server);
    assert_null(strstr(cp_strbuf_text(&log), "no clinician has signed"));
    cp_strbuf_deinit(&log);
    cp_strbuf_deinit(&rules);
    cp_strbuf_deinit(&named);
}

static void a_server_that_would_be_open_does_not_start(void **state) {
    key_ring ring = make_keys();
    char keys[500], bad[400], text[] = "{\"version\":1,\"keys\":[{\"id\":\"x\"}]}";
    (void)state;
    snprintf(keys, sizeof keys, "API_KEYS_FILE=%s", ring.path);
    REFUSE_START(2, "set API_KEYS_FILE", "APP_ENV=production");
    REFUSE_START(2, "set SECRET_KEY_FILE", "APP_ENV=production", keys);
    REFUSE_START(2, "set AUDIT_FILE", "APP_ENV=production", keys, "SECRET_KEY=0123456789");
    REFUSE_START(2, "set LLM_MODE", "APP_ENV=production", keys, "SECRET_KEY=0123456789",
                 "AUDIT_FILE=off");
    REFUSE_START(2, "SECRET_KEY has 10 bytes", "SECRET_KEY=0123456789");
    REFUSE_START(2, "only this machine may ask", "HOST=0.0.0.0");
    REFUSE_START(2, "HTTPS needs both", "TLS_CERT_FILE=x");
    REFUSE_START(2, "CORS_ORIGINS: \"*\"", "CORS_ORIGINS=*");
    REFUSE_START(2, "TRUSTED_PROXIES: \"10.0.0.0/40\"", "TRUSTED_PROXIES=10.0.0.0/40");
    REFUSE_START(1, "no/keys.json", "API_KEYS_FILE=no/keys.json");
    snprintf(bad, sizeof bad, "%s", test_path(test_tmp_dir(), "bad.json"));
    cp_error err;
    assert_cp_ok(cp_file_write_private(bad, (cp_str){text, strlen(text)}, &err));
    snprintf(keys, sizeof keys, "API_KEYS_FILE=%s", bad);
    REFUSE_START(1, "key x: salt is missing", keys);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_key_gets_what_it_may),
    cmocka_unit_test(a_key_that_asks_too_often_is_told_when_to_come_back),
    cmocka_unit_test(an_address_that_guesses_is_sent_away),
    cmocka_unit_test(without_keys_an_address_may_have_a_rate),
    cmocka_unit_test(a_refusal_does_not_wait_for_the_body),
    cmocka_unit_test(keys_come_and_go_while_the_server_runs),
    cmocka_unit_test(no_secret_is_in_the_log),
    cmocka_unit_test(every_answer_has_the_security_headers),
    cmocka_unit_test(only_allowed_pages_may_ask),
    cmocka_unit_test(without_origins_no_page_may_ask),
    cmocka_unit_test(forwarded_headers_count_from_trusted_proxies_only),
    cmocka_unit_test(without_keys_only_a_local_name_is_answered),
    cmocka_unit_test(a_server_that_would_be_open_does_not_start),
    cmocka_unit_test(production_needs_signed_rules_or_a_word),
    cmocka_unit_test(signed_rules_are_said_to_be),
};
CP_TEST_GROUP(http_access, tests)
