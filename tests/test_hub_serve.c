/* A server whose model is not here: it answers while the model is fetched, and the next start finds
 * it.
 */
#include "tests/http_client.h"
#include "tests/hub_api.h"

#include "base/clock.h"
#include "base/file.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODEL    GOLDEN "/models/tied-gqa2"
#define QUESTION "{\"patient_mrn\":\"MRN-001\",\"query\":\"cough\"}"

typedef struct place {
    char endpoint[128], home[512], models[512], audit[512];
    const char *env[8];
} place;

static void prepare(place *p) {
    const char *dir = test_tmp_dir();
    test_hub_start(MODEL);
    test_hub.repo = "Qwen/Qwen3-0.6B";
    snprintf(p->endpoint, sizeof p->endpoint, "HF_ENDPOINT=%s", test_hub_url());
    snprintf(p->home, sizeof p->home, "HF_HOME=%s", test_path(dir, "hf"));
    snprintf(p->models, sizeof p->models, "MODEL_CACHE_DIR=%s", test_path(dir, "models"));
    snprintf(p->audit, sizeof p->audit, "AUDIT_FILE=%s", test_path(dir, "audit.jsonl"));
    const char *const env[] = {"LLM_MODE=Qwen3-0.6B", p->endpoint,     p->home, p->models, p->audit,
                               "HF_TOKEN=",           "HF_HUB_CACHE=", NULL};
    memcpy(p->env, env, sizeof p->env);
}

/* Asks /health until it tells of a download whose size is known. */
static void await_download(const test_server *server) {
    uint64_t start = cp_clock_ns();
    for (;;) {
        test_reply health = test_request(server, "GET", "/health", NULL, NULL);
        const cJSON *download = health.json ? cp_json_member(health.json, "download") : NULL;
        int64_t done = -1, total = 0;
        bool known =
            download &&
            cp_json_get_int(download, "", "total_bytes", 0, 1 << 30, &total, NULL) == CP_OK &&
            cp_json_get_int(download, "", "done_bytes", 0, total, &done, NULL) == CP_OK &&
            total > 0;
        assert_int_equal(health.status, 200);
        if (known)
            assert_string_equal(test_reply_text(&health, "status"), "loading");
        test_reply_free(&health);
        if (known)
            return;
        assert_true(cp_clock_ms_since(start) < WAIT_S * 1e3);
    }
}

static void a_model_is_fetched_while_the_server_answers(void **state) {
    (void)state;
    place p;
    prepare(&p);
    test_hub.sleep_ms = 30; /* 1.6 s in all */
    test_server server = test_server_start(p.env);
    await_download(&server);
    test_reply ready = test_request(&server, "GET", "/ready", NULL, NULL);
    assert_reply(&ready, 503, "loading");
    assert_non_null(strstr(test_reply_text(&ready, "error.message"), "is being fetched"));
    test_reply_free(&ready);
    test_reply triage = test_triage(&server, QUESTION);
    assert_int_equal(triage.status, 200);
    assert_true(cJSON_IsTrue(cp_json_member(triage.json, "degraded")));
    test_reply_free(&triage);
    test_hub.sleep_ms = 0;
    test_server_await_ready(&server);
    test_reply health = test_request(&server, "GET", "/health", NULL, NULL);
    assert_string_equal(test_reply_text(&health, "model"), "Qwen3-0.6B");
    assert_null(cp_json_member(health.json, "download"));
    test_reply_free(&health);
    triage = test_triage(&server, QUESTION);
    test_reply_free(&triage);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    /* The rules' answer names no weights, the model's does. */
    cp_error err;
    cp_strbuf log;
    assert_cp_ok(cp_file_read(p.audit + sizeof "AUDIT_FILE", 1 << 24, &log, &err));
    assert_non_null(strstr(cp_strbuf_text(&log), "\"weights\":null"));
    assert_non_null(strstr(cp_strbuf_text(&log), "\"weights\":\""));
    cp_strbuf_deinit(&log);
    /* The next start needs no hub. */
    test_hub_stop();
    server = test_server_start(p.env);
    test_server_await_ready(&server);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
}

static void a_server_that_ends_within_a_fetch_goes_on_there(void **state) {
    (void)state;
    place p;
    prepare(&p);
    test_hub.sleep_ms = 30;
    test_server server = test_server_start(p.env);
    await_download(&server);
    while (test_hub_bytes_sent() < 300000)
        usleep(10000);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    size_t sent = test_hub_bytes_sent();
    test_hub.sleep_ms = 0;
    server = test_server_start(p.env);
    test_server_await_ready(&server);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    /* 871,289 bytes are the model; what lay in buffers at the end was sent twice. */
    assert_true(test_hub_bytes_sent() - sent < 871289 - 100000);
    test_hub_stop();
}

static void a_model_that_cannot_be_fetched_ends_the_server(void **state) {
    (void)state;
    place p;
    prepare(&p);
    test_hub.repo = "Qwen/another";
    test_server server = test_server_start(p.env);
    assert_int_equal(test_server_stop(&server, 0), 1);
    cp_strbuf log = test_server_log(&server);
    assert_non_null(strstr(cp_strbuf_text(&log), "check the names"));
    cp_strbuf_deinit(&log);
    test_hub_stop();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_model_is_fetched_while_the_server_answers),
    cmocka_unit_test(a_server_that_ends_within_a_fetch_goes_on_there),
    cmocka_unit_test(a_model_that_cannot_be_fetched_ends_the_server),
};
CP_TEST_GROUP(hub_serve, tests)
