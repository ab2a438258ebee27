/* carepath bench load against a server that answers by a script: what is counted must be exact. No
 * time is asserted but least times that the server itself makes by waiting. */
#include "tests/load_server.h"
#include "tests/report_form.h"

#include "base/file.h"

#include <unistd.h>

#define ANSWER                                                                                     \
    "{\"response\":\"drink water\",\"acuity\":4,\"trace_id\":\"t\",\"finish_reason\":\"stop\","    \
    "\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18}}"

/* Runs bench load with these options (NULL-terminated) and --json; *exit_code may be NULL, then it
 * must be 0. */
static cJSON *load(const load_server *s, int exit_code, const char *const *options) {
    const char *argv[64] = {NULL, "bench", "load", "--url", s->url, "--json", "--timeout", "60"};
    size_t n = 8;
    for (; *options; options++)
        argv[n++] = *options;
    test_run run = test_run_program(argv, NULL, NULL);
    if (run.exit_code != exit_code)
        fail_msg("exit %d, expected %d: %s", run.exit_code, exit_code, cp_strbuf_text(&run.err));
    cJSON *tree = cJSON_Parse(cp_strbuf_text(&run.out));
    if (!tree)
        fail_msg("no JSON: %s%s", cp_strbuf_text(&run.out), cp_strbuf_text(&run.err));
    test_run_free(&run);
    return tree;
}
#define LOAD(server, exit_code, ...)                                                               \
    load((server), (exit_code), (const char *const[]){__VA_ARGS__, NULL})

static const cJSON *get(const cJSON *tree, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(tree, key);
}

/* The number of errors (or other codes) with this status and code. */
static double n_codes(const cJSON *tree, const char *key, int status, const char *code) {
    const cJSON *row;
    cJSON_ArrayForEach(row, get(tree, key)) if (form_number(row, "status") == status &&
                                                strcmp(get(row, "code")->valuestring, code) ==
                                                    0) return form_number(row, "n");
    return 0;
}

static double n_errors(const cJSON *tree, int status, const char *code) {
    return n_codes(tree, "errors", status, code);
}

/* ---- counts ---------------------------------------------------------------------------------- */

/* Of ten requests: six answers, two refusals, one error, one cut or unreadable answer. */
static bool mixed(const load_exchange *x) {
    switch (x->k % 10) {
    case 2:
        return load_answer(x, 503, "Retry-After: 0\r\n", "{\"error\":{\"code\":\"queue_full\"}}");
    case 4:
        return load_answer(x, 503, "", "{\"error\":{\"type\":\"over load\",\"code\":null}}");
    case 6:
        return load_answer(x, 500, "", "{\"error\":{\"code\":\"<b>\"}}");
    case 8:
        if (x->k % 20 == 8)
            return load_answer(x, 200, "", "{\"response\":");
        load_send(x, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{\"response\"");
        return false;
    default:
        return load_answer(x, 200, "", ANSWER);
    }
}

static const form_field report_fields[] = {
    {"server", cJSON_String, 0, 0},
    {"target", cJSON_String, 0, 0},
    {"stream", cJSON_False | cJSON_True, 0, 0},
    {"mode", cJSON_String, 0, 0},
    {"arrivals", cJSON_String | cJSON_NULL, 0, 0},
    {"rate", cJSON_Number | cJSON_NULL, 1e-3, 1e5},
    {"clients", cJSON_Number | cJSON_NULL, 1, 4096},
    {"think_s", cJSON_Number | cJSON_NULL, 0, 3600},
    {"warmup_s", cJSON_Number, 0, 86400},
    {"duration_s", cJSON_Number, 0, 86400},
    {"timeout_s", cJSON_Number, 0, 3600},
    {"different_requests", cJSON_Number, 1, 4096},
    {"vanish_share", cJSON_Number, 0, 1},
    {"seed", cJSON_Number, 0, 1e16},
    {"cpu", cJSON_String, 0, 0},
    {"version", cJSON_String, 0, 0},
    {"date", cJSON_String, 0, 0},
    {"measured_s", cJSON_Number, 1e-7, 86400},
    {"sent", cJSON_Number, 0, 1e7},
    {"answered", cJSON_Number, 0, 1e7},
    {"refused", cJSON_Number, 0, 1e7},
    {"failed", cJSON_Number, 0, 1e7},
    {"left", cJSON_Number, 0, 1e7},
    {"refused_with_retry_after", cJSON_Number, 0, 1e7},
    {"offered_per_s", cJSON_Number, 0, 1e9},
    {"answered_per_s", cJSON_Number, 0, 1e9},
    {"tokens_per_s", cJSON_Number, 0, 1e12},
    {"prompt_tokens", cJSON_Number, 0, 1e12},
    {"completion_tokens", cJSON_Number, 0, 1e12},
    {"in_flight_max", cJSON_Number, 1, 16384},
    {"waited_for_a_place", cJSON_Number, 0, 1e7},
    {"stopped_full", cJSON_False | cJSON_True, 0, 0},
    {"first_token_ms", cJSON_Object, 0, 0},
    {"longest_pause_ms", cJSON_Object, 0, 0},
    {"answer_ms", cJSON_Object, 0, 0},
    {"refusal_ms", cJSON_Object, 0, 0},
    {"sent_late_ms", cJSON_Object, 0, 0},
    {"errors", cJSON_Array, 0, 0},
    {"degraded", cJSON_Array, 0, 0},
    {"check", cJSON_Object | cJSON_NULL, 0, 0},
    {"slow_clients", cJSON_Object, 0, 0},
    {"process", cJSON_Object | cJSON_NULL, 0, 0},
    {"slices", cJSON_Array, 0, 0},
};

static const form_field times_fields[] = {
    {"n", cJSON_Number, 0, 1e7},
    {"p50", cJSON_Number | cJSON_NULL, 0, 1e9},
    {"p90", cJSON_Number | cJSON_NULL, 0, 1e9},
    {"p95", cJSON_Number | cJSON_NULL, 0, 1e9},
    {"p99", cJSON_Number | cJSON_NULL, 0, 1e9},
    {"max", cJSON_Number | cJSON_NULL, 0, 1e9},
};

static const form_field error_fields[] = {
    {"status", cJSON_Number, 0, 599},
    {"code", cJSON_String, 0, 0},
    {"n", cJSON_Number, 1, 1e7},
};

static const form_field slice_fields[] = {
    {"at_s", cJSON_Number, 0, 86400},
    {"due", cJSON_Number, 0, 1e7},
    {"answered", cJSON_Number, 0, 1e7},
    {"refused", cJSON_Number, 0, 1e7},
    {"failed", cJSON_Number, 0, 1e7},
    {"left", cJSON_Number, 0, 1e7},
    {"p50_ms", cJSON_Number | cJSON_NULL, 0, 1e9},
    {"p95_ms", cJSON_Number | cJSON_NULL, 0, 1e9},
    {"max_ms", cJSON_Number | cJSON_NULL, 0, 1e9},
};

static const form_field process_fields[] = {
    {"pid", cJSON_Number, 1, 1e9},
    {"ended", cJSON_False | cJSON_True, 0, 0},
    {"samples", cJSON_Number, 0, 1e6},
    {"cpu_percent_before", cJSON_Number, 0, 1e6},
    {"cpu_percent_mean", cJSON_Number, 0, 1e6},
    {"cpu_percent_max", cJSON_Number, 0, 1e6},
    {"rss_bytes_before", cJSON_Number, 1, 1e15},
    {"rss_bytes_first", cJSON_Number, 0, 1e15},
    {"rss_bytes_last", cJSON_Number, 0, 1e15},
    {"rss_bytes_max", cJSON_Number, 0, 1e15},
    {"rss_bytes_per_minute", cJSON_Number, -1e15, 1e15},
    {"threads_max", cJSON_Number, 0, 1e6},
    {"files_max", cJSON_Number, 0, 1e6},
};

static void check_report(const cJSON *tree) {
    static const char *const times[] = {"first_token_ms", "longest_pause_ms", "answer_ms",
                                        "refusal_ms", "sent_late_ms"};
    const cJSON *row;
    FORM_CHECK(tree, report_fields);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        const cJSON *t = get(tree, times[i]);
        FORM_CHECK(t, times_fields);
        if (form_number(t, "n") > 0)
            assert_true(form_number(t, "p50") <= form_number(t, "p99") &&
                        form_number(t, "p99") <= form_number(t, "max"));
    }
    cJSON_ArrayForEach(row, get(tree, "errors")) FORM_CHECK(row, error_fields);
    cJSON_ArrayForEach(row, get(tree, "degraded")) FORM_CHECK(row, error_fields);
    cJSON_ArrayForEach(row, get(tree, "slices")) FORM_CHECK(row, slice_fields);
    if (cJSON_IsObject(get(tree, "process")))
        FORM_CHECK(get(tree, "process"), process_fields);
}

static void every_end_is_counted_once(void **state) {
    (void)state;
    load_server s;
    load_server_start(&s, mixed);
    cJSON *tree = LOAD(&s, 0, "--mode", "closed", "--clients", "3", "--requests", "60",
                       "--duration", "600", "--mrns", "MRN-1,MRN-2");
    check_report(tree);
    assert_int_equal(s.n_requests, 60);
    assert_int_equal(form_number(tree, "sent"), 60);
    assert_int_equal(form_number(tree, "answered"), 36);
    assert_int_equal(form_number(tree, "refused"), 12);
    assert_int_equal(form_number(tree, "refused_with_retry_after"), 6);
    assert_int_equal(form_number(tree, "failed"), 12);
    assert_int_equal(form_number(tree, "left"), 0);
    assert_int_equal(form_number(tree, "prompt_tokens"), 36 * 11);
    assert_int_equal(form_number(tree, "completion_tokens"), 36 * 7);
    assert_int_equal(form_number(tree, "in_flight_max"), 3);
    assert_int_equal(n_errors(tree, 503, "queue_full"), 6);
    assert_int_equal(n_errors(tree, 503, "over_load"), 6);
    assert_int_equal(n_errors(tree, 500, "_b_"), 6);
    assert_int_equal(n_errors(tree, 200, "bad_answer"), 3);
    assert_int_equal(n_errors(tree, 200, "cut"), 3);
    assert_int_equal(form_number(get(tree, "answer_ms"), "n"), 36);
    assert_int_equal(form_number(get(tree, "refusal_ms"), "n"), 12);
    cJSON_Delete(tree);
    load_server_stop(&s);
}

static bool plain(const load_exchange *x) {
    return load_answer(x, 200, "", ANSWER);
}

/* Warm-up requests are sent and not counted. */
static void warm_up_is_not_counted(void **state) {
    (void)state;
    load_server s;
    load_server_start(&s, plain);
    cJSON *tree = LOAD(&s, 0, "--rate", "50", "--arrivals", "uniform", "--warmup", "0.4",
                       "--duration", "0.4", "--mrns", "MRN-1");
    assert_int_equal(s.n_requests, 40);
    assert_int_equal(form_number(tree, "sent"), 20);
    assert_int_equal(form_number(tree, "answered"), 20);
    assert_int_equal(form_number(tree, "completion_tokens"), 140);
    cJSON_Delete(tree);
    load_server_stop(&s);
}

/* ---- the schedule ---------------------------------------------------------------------------- */

#define TOGETHER 12

/* Nobody is answered until all have asked. */
static bool all_or_none(const load_exchange *x) {
    return load_wait_for_requests(x, TOGETHER) && load_answer(x, 200, "", ANSWER);
}

/* A stalled server does not hold back an open loop: all requests come while none is answered. Of a
 * closed loop it sees no more than there are clients. */
static void an_open_loop_does_not_wait_for_answers(void **state) {
    (void)state;
    load_server s;
    load_server_start(&s, all_or_none);
    cJSON *tree = LOAD(&s, 0, "--rate", "200", "--requests", "12", "--mrns", "MRN-1");
    assert_int_equal(form_number(tree, "answered"), TOGETHER);
    assert_int_equal(form_number(tree, "in_flight_max"), TOGETHER);
    assert_int_equal(form_number(tree, "waited_for_a_place"), 0);
    cJSON_Delete(tree);
    load_server_stop(&s);

    load_server_start(&s, all_or_none);
    tree = LOAD(&s, 1, "--mode", "closed", "--clients", "4", "--requests", "4", "--timeout", "0.5",
                "--mrns", "MRN-1");
    assert_int_equal(s.n_requests, 4);
    assert_int_equal(form_number(tree, "failed"), 4);
    assert_int_equal(n_errors(tree, 0, "timeout"), 4);
    cJSON_Delete(tree);
    load_server_stop(&s);
}

#define SERVICE_MS 20

static bool one_by_one(const load_exchange *x) {
    load_sleep_ms(SERVICE_MS);
    return load_answer(x, 200, "", ANSWER);
}

/* Ten requests due within 9 ms, one place, 20 ms for each: the last waits for nine others, and its
 * time says so. The same server asked by a closed loop never shows more than one wait. */
static void waiting_for_a_slow_server_counts(void **state) {
    (void)state;
    load_server s;
    load_server_start(&s, one_by_one);
    cJSON *tree = LOAD(&s, 0, "--rate", "1000", "--arrivals", "uniform", "--requests", "10",
                       "--max-in-flight", "1", "--duration", "60", "--mrns", "MRN-1");
    assert_int_equal(form_number(tree, "answered"), 10);
    assert_int_equal(form_number(tree, "in_flight_max"), 1);
    assert_int_equal(form_number(tree, "waited_for_a_place"), 9);
    assert_true(form_number(get(tree, "answer_ms"), "max") >= 10 * SERVICE_MS - 9);
    assert_true(form_number(get(tree, "answer_ms"), "p50") >= 5 * SERVICE_MS - 5);
    assert_true(form_number(get(tree, "sent_late_ms"), "max") >= 9 * SERVICE_MS - 9);
    cJSON_Delete(tree);
    load_server_stop(&s);
}

/* ---- streams --------------------------------------------------------------------------------- */

#define STREAM_HEAD                                                                                \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define ROLE   "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n"
#define THINKS "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\r\n\r\n"
#define CHUNK  "data: {\"choices\":[{\"delta\":{\"content\":\"wat"
#define REST   "er\"}}]}\r\rdata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE  "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\n"

static bool stream(const load_exchange *x) {
    load_send(x, STREAM_HEAD ROLE ": ping\n\n");
    load_sleep_ms(30);
    if (x->k % 4 == 2) { /* fails in the middle */
        load_send(x, THINKS "data: {\"error\":{\"code\":\"deadline\"}}\n\n");
        return false;
    }
    load_send(x, THINKS CHUNK);
    load_sleep_ms(30);
    load_send(x, REST);
    load_send(x, x->k % 4 == 3 ? USAGE : USAGE "data: [DONE]\n\n");
    return false;
}

static void streams_are_read_to_their_end(void **state) {
    (void)state;
    load_server s;
    load_server_start(&s, stream);
    cJSON *tree = LOAD(&s, 0, "--target", "chat", "--model", "m", "--stream", "--requests", "40",
                       "--mode", "closed", "--clients", "4", "--duration", "600");
    check_report(tree);
    assert_int_equal(form_number(tree, "sent"), 40);
    assert_int_equal(form_number(tree, "answered"), 20);
    assert_int_equal(form_number(tree, "failed"), 20);
    assert_int_equal(n_errors(tree, 200, "deadline"), 10);
    assert_int_equal(n_errors(tree, 200, "unfinished"), 10);
    assert_int_equal(form_number(tree, "completion_tokens"), 20 * 5);
    assert_int_equal(form_number(get(tree, "first_token_ms"), "n"), 20);
    assert_true(form_number(get(tree, "first_token_ms"), "p50") >= 30);
    assert_true(form_number(get(tree, "answer_ms"), "p50") >= 60);
    cJSON_Delete(tree);
    load_server_stop(&s);
}

/* Sends content and sees the client leave. */
static bool see_them_leave(const load_exchange *x) {
    load_send(x, STREAM_HEAD ROLE CHUNK REST);
    load_wait_for_leaving(x);
    return false;
}

static void vanishing_clients_leave(void **state) {
    (void)state;
    load_server s;
    load_server_start(&s, see_them_leave);
    cJSON *tree = LOAD(&s, 0, "--target", "chat", "--model", "m", "--stream", "--requests", "10",
                       "--rate", "100", "--vanish", "1");
    assert_int_equal(form_number(tree, "left"), 10);
    assert_int_equal(form_number(tree, "failed") + form_number(tree, "answered"), 0);
    cJSON_Delete(tree);
    while (s.n_seen_leaving < 10) /* the kernel tells the server in its own time */
        load_sleep_ms(1);
    load_server_stop(&s);

    load_server_start(&s, all_or_none); /* never answers these three */
    tree = LOAD(&s, 0, "--mrns", "MRN-1", "--requests", "3", "--rate", "100", "--vanish", "1",
                "--vanish-within", "0.05");
    assert_int_equal(form_number(tree, "left"), 3);
    cJSON_Delete(tree);
    load_server_stop(&s);
}

/* ---- what is sent ---------------------------------------------------------------------------- */

/* Answers 200 only to the request that is expected. */
static bool strict(const load_exchange *x) {
    cJSON *body = cJSON_Parse(x->body);
    char question[32];
    /* Patients and questions begin again at their ends; both were used whole after three. */
    static const char *const mrns[] = {"MRN-1", "MRN-2", "MRN-3"};
    snprintf(question, sizeof question, "question %zu", x->k % 3 % 2);
    bool good = strncmp(x->head, "POST /base/triage HTTP/1.1\r\n", 28) == 0 &&
                strstr(x->head, "\r\nAuthorization: Bearer s3cret\r\n") &&
                strstr(x->head, "\r\nContent-Type: application/json\r\n") &&
                cJSON_GetArraySize(body) == 5 &&
                strcmp(get(body, "patient_mrn")->valuestring, mrns[x->k % 3]) == 0 &&
                strcmp(get(body, "query")->valuestring, question) == 0 &&
                form_number(body, "max_new_tokens") == 9 &&
                form_number(body, "temperature") == 0.7 && form_number(body, "seed") == 5;
    cJSON_Delete(body);
    return load_answer(x, good ? 200 : 400, "", good ? ANSWER : "{}");
}

static void requests_are_what_was_asked_for(void **state) {
    (void)state;
    load_server s;
    char base[96];
    const char *prompts = test_path(test_tmp_dir(), "prompts.jsonl"),
               *key = test_path(test_tmp_dir(), "key");
    static const char lines[] =
        "{\"query\": \"question 0\", \"id\": 1}\n\n{\"query\": \"question 1\"}";
    test_write_file(prompts, lines, sizeof lines - 1);
    test_write_file(key, "s3cret\n", 7);
    load_server_start(&s, strict);
    snprintf(base, sizeof base, "%s/base/", s.url);
    cJSON *tree = LOAD(&s, 0, "--url", base, "--mrns", "MRN-1,MRN-2,MRN-3", "--prompts", prompts,
                       "--api-key-file", key, "--max-tokens", "9", "--temperature", "0.7", "--seed",
                       "5", "--mode", "closed", "--requests", "9");
    assert_int_equal(form_number(tree, "answered"), 9);
    assert_int_equal(form_number(tree, "different_requests"), 3);
    cJSON_Delete(tree);
    load_server_stop(&s);
}

/* The server lists its model; a completion's text is in choices[0].text. */
static bool completions(const load_exchange *x) {
    if (strncmp(x->head, "GET /v1/models ", 15) == 0)
        return load_answer(x, 200, "", "{\"object\":\"list\",\"data\":[{\"id\":\"tiny\"}]}");
    bool good = strncmp(x->head, "POST /v1/completions ", 21) == 0 &&
                strstr(x->body, "\"model\":\"tiny\"") && strstr(x->body, "\"prompt\":\"");
    return load_answer(x, good ? 200 : 400, "",
                       "{\"choices\":[{\"text\":\"one\"}],\"usage\":{\"prompt_tokens\":1,"
                       "\"completion_tokens\":2}}");
}

static void the_servers_own_model_is_asked(void **state) {
    (void)state;
    load_server s;
    load_server_start(&s, completions);
    cJSON *tree = LOAD(&s, 0, "--target", "completions", "--mode", "closed", "--requests", "5");
    assert_int_equal(form_number(tree, "answered"), 5);
    assert_int_equal(form_number(tree, "completion_tokens"), 10);
    cJSON_Delete(tree);
    load_server_stop(&s);
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* The twelve questions built in are asked alone first (requests 0 to 11), and number 7 is answered
 * oddly then; so is request 37, the 26th under load. Ids and times, which always differ, are no
 * part of the answer. */
static bool nearly_the_same(const load_exchange *x) {
    char body[256];
    snprintf(
        body, sizeof body,
        "{\"response\":\"drink %s\",\"trace_id\":\"%zu\",\"acuity\":4,\"timings\":{\"ms\":%zu}}",
        x->k == 7 || x->k == 37 ? "wine" : "water", x->k, x->k);
    return load_answer(x, 200, "", body);
}

static void a_changed_answer_is_found(void **state) {
    (void)state;
    load_server s;
    load_server_start(&s, nearly_the_same);
    cJSON *tree = LOAD(&s, 1, "--mrns", "MRN-1", "--check", "--mode", "closed", "--requests", "40");
    const cJSON *check = get(tree, "check");
    assert_int_equal(s.n_requests, 12 + 40);
    assert_int_equal(form_number(check, "compared"), 40);
    assert_int_equal(form_number(check, "unlike_single"), 3 + 1); /* 7, 19 and 31; 25 */
    assert_int_equal(form_number(check, "unlike_first"), 1);
    cJSON_Delete(tree);
    load_server_stop(&s);
}

/* Every fourth answer comes from the rules alone. */
static bool degraded(const load_exchange *x) {
    if (x->k % 4 == 3)
        return load_answer(
            x, 200, "", "{\"response\":\"go\",\"degraded\":true,\"degraded_reason\":\"deadline\"}");
    return load_answer(x, 200, "", ANSWER);
}

/* What the model had no part in is counted, and is no difference. */
static void degraded_answers_are_counted_apart(void **state) {
    (void)state;
    load_server s;
    const char *prompts = test_path(test_tmp_dir(), "prompts.jsonl");
    test_write_file(prompts, "{\"query\":\"q\"}", 13);
    load_server_start(&s, degraded);
    cJSON *tree = LOAD(&s, 0, "--mrns", "MRN-1", "--prompts", prompts, "--check", "--mode",
                       "closed", "--requests", "40");
    check_report(tree);
    assert_int_equal(form_number(tree, "answered"), 40);
    assert_int_equal(n_codes(tree, "degraded", 200, "deadline"), 10);
    assert_int_equal(form_number(get(tree, "check"), "compared"), 30);
    cJSON_Delete(tree);
    load_server_stop(&s);
}

/* ---- the server's process, slow clients ------------------------------------------------------ */

static void the_process_is_watched(void **state) {
    (void)state;
    load_server s;
    char pid[24];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    load_server_start(&s, plain);
    cJSON *tree =
        LOAD(&s, 0, "--rate", "20", "--duration", "1", "--mrns", "MRN-1", "--server-pid", pid);
    check_report(tree);
    const cJSON *process = get(tree, "process");
    assert_int_equal(form_number(process, "pid"), getpid());
    assert_true(form_number(process, "samples") >= 1);
    assert_true(form_number(process, "threads_max") >= 2);
    assert_true(form_number(process, "rss_bytes_max") >= form_number(process, "rss_bytes_last"));
    cJSON_Delete(tree);
    load_server_stop(&s);
}

/* Slow clients ask and stay connected; the others are served beside them. */
static void slow_clients_stay_beside_the_load(void **state) {
    (void)state;
    load_server s;
    load_server_start(&s, plain);
    cJSON *tree =
        LOAD(&s, 0, "--rate", "20", "--duration", "1", "--mrns", "MRN-1", "--slow-clients", "5");
    const cJSON *slow = get(tree, "slow_clients");
    assert_int_equal(form_number(slow, "opened"), 5);
    assert_int_equal(form_number(slow, "closed_by_server"), 0);
    assert_int_equal(s.n_requests, form_number(tree, "sent") + 5);
    cJSON_Delete(tree);
    load_server_stop(&s);
}

/* The silent are connected and ask nothing; who sends a byte a second has not asked yet either. */
static void silent_and_dripping_clients_hold_connections_only(void **state) {
    (void)state;
    load_server s;
    load_server_start(&s, plain);
    cJSON *tree = LOAD(&s, 0, "--rate", "20", "--duration", "1.5", "--mrns", "MRN-1",
                       "--slow-clients", "7", "--slow-kinds", "silent,drip");
    const cJSON *slow = get(tree, "slow_clients");
    const cJSON *kinds = get(slow, "kinds");
    assert_int_equal(form_number(slow, "opened"), 7);
    assert_int_equal(cJSON_GetArraySize(kinds), 2);
    assert_string_equal(cJSON_GetArrayItem(kinds, 0)->valuestring, "silent");
    assert_string_equal(cJSON_GetArrayItem(kinds, 1)->valuestring, "drip");
    assert_int_equal(s.n_requests, form_number(tree, "sent"));
    assert_true(s.n_connections >= 8);
    cJSON_Delete(tree);
    load_server_stop(&s);
}

static bool metrics(const load_exchange *x) {
    return load_answer(x, 200, "Content-Type: text/plain\r\n",
                       x->k == 0 ? "no metrics" : "# HELP a b\n");
}

/* /metrics is fetched like /health and is no JSON; what is no metrics is no answer. */
static void metrics_can_be_probed(void **state) {
    (void)state;
    load_server s;
    load_server_start(&s, metrics);
    cJSON *tree = LOAD(&s, 0, "--target", "metrics", "--requests", "5", "--rate", "50");
    assert_int_equal(form_number(tree, "sent"), 5);
    assert_int_equal(form_number(tree, "answered"), 4);
    assert_int_equal(form_number(tree, "failed"), 1);
    cJSON_Delete(tree);
    load_server_stop(&s);
}

/* ---- reports and mistakes -------------------------------------------------------------------- */

static void the_load_report_stands_alone(void **state) {
    (void)state;
    load_server s;
    char pid[24];
    cp_strbuf html;
    cp_error err;
    const char *path = test_path(test_tmp_dir(), "load.html");
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    load_server_start(&s, mixed);
    test_run run = test_run_program((const char *[]){NULL,
                                                     "bench",
                                                     "load",
                                                     "--url",
                                                     s.url,
                                                     "--mrns",
                                                     "MRN-1",
                                                     "--rate",
                                                     "40",
                                                     "--duration",
                                                     "1",
                                                     "--html",
                                                     path,
                                                     "--server-pid",
                                                     pid,
                                                     "--slow-clients",
                                                     "1",
                                                     "--note",
                                                     "a <b> & \"c\"",
                                                     NULL},
                                    NULL, NULL);
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out.data, "with Retry-After"));
    assert_non_null(strstr(run.out.data, "status 503 queue_full"));
    assert_cp_ok(cp_file_read(path, 1 << 20, &html, &err));
    form_check_page(html.data);
    assert_int_equal(form_count(html.data, "<svg "), 5);
    assert_int_equal(form_count(html.data, "<table>"), 3);
    static const char *const present[] = {
        "prefers-color-scheme", "queue_full",
        "whole answer",         "a &lt;b&gt; &amp; &quot;c&quot;",
        "carepath bench load",  "counts from the moment the request was due"};
    for (size_t i = 0; i < sizeof present / sizeof present[0]; i++)
        if (!strstr(html.data, present[i]))
            fail_msg("the report has no \"%s\"", present[i]);
    cp_strbuf_deinit(&html);
    test_run_free(&run);
    load_server_stop(&s);
}

static void wrong_loads_are_explained(void **state) {
    (void)state;
    static const struct {
        const char *argv[14];
        int exit_code;
        const char *said;
    } cases[] = {
        {{NULL, "bench", "load", NULL}, 2, "--url"},
        {{NULL, "bench", "load", "--url", "ftp://h", NULL}, 2, "expected http or https"},
        {{NULL, "bench", "load", "--url", "http://me:secret@h", NULL}, 2, "password"},
        {{NULL, "bench", "load", "--url", "http://h", "--mode", "half", NULL}, 2, "half"},
        {{NULL, "bench", "load", "--url", "http://h", "--target", "x", NULL}, 2, "triage, chat"},
        {{NULL, "bench", "load", "--url", "http://h", "--rate", "0", NULL}, 2, "--rate"},
        {{NULL, "bench", "load", "--url", "http://h", "--slow-kinds", "silent,lazy", NULL},
         2,
         "lazy"},
        {{NULL, "bench", "load", "--url", "http://h", "--target", "metrics", "--check", NULL},
         2,
         "/metrics has no answers"},
        {{NULL, "bench", "load", "--url", "http://h", "--rate", "100000", "--duration", "86400",
          NULL},
         2,
         "at most"},
        {{NULL, "bench", "load", "--url", "http://h", "--prompts", "no-such", NULL}, 1, "no-such"},
        {{NULL, "bench", "load", "--url", "http://h", "--prompts", "README.md", NULL},
         1,
         "line 1: README.md"},
        {{NULL, "bench", "load", "--url", "http://h", "--server-pid", "1073741823", NULL},
         1,
         "process 1073741823"},
        {{NULL, "bench", "load", "--url", "http://127.0.0.1:1", "--requests", "2", "--rate", "50",
          "--mrns", "M", NULL},
         1,
         "none of 2"},
        {{NULL, "bench", "load", "--url", "http://127.0.0.1:1", "--check", "--mrns", "M", NULL},
         1,
         "asked alone before the load: status 0, connect"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_run run = test_run_program(cases[i].argv, NULL, NULL);
        if (run.exit_code != cases[i].exit_code ||
            !strstr(cp_strbuf_text(&run.err), cases[i].said) ||
            strstr(cp_strbuf_text(&run.err), "secret"))
            fail_msg("case %zu: exit %d, %s", i, run.exit_code, cp_strbuf_text(&run.err));
        test_run_free(&run);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_end_is_counted_once),
    cmocka_unit_test(warm_up_is_not_counted),
    cmocka_unit_test(an_open_loop_does_not_wait_for_answers),
    cmocka_unit_test(waiting_for_a_slow_server_counts),
    cmocka_unit_test(streams_are_read_to_their_end),
    cmocka_unit_test(vanishing_clients_leave),
    cmocka_unit_test(requests_are_what_was_asked_for),
    cmocka_unit_test(the_servers_own_model_is_asked),
    cmocka_unit_test(a_changed_answer_is_found),
    cmocka_unit_test(degraded_answers_are_counted_apart),
    cmocka_unit_test(the_process_is_watched),
    cmocka_unit_test(slow_clients_stay_beside_the_load),
    cmocka_unit_test(silent_and_dripping_clients_hold_connections_only),
    cmocka_unit_test(metrics_can_be_probed),
    cmocka_unit_test(the_load_report_stands_alone),
    cmocka_unit_test(wrong_loads_are_explained),
};
CP_TEST_GROUP(bench_load, tests)
