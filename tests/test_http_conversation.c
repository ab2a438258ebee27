/* Conversations over HTTP: whose turns count where, how they end, and that each turn replays. */
#include "tests/http_client.h"

#include "server/access_keys.h"

#include <signal.h>
#include <unistd.h>

#define JSON_TYPE  "Content-Type: application/json\r\n"
#define SECRET_ENV "SECRET_KEY=0123456789abcdef0123456789abcdef"
#define CHEST      "chest-pain-adult"

static test_reply ask(const test_server *server, const char *headers, const char *mrn,
                      const char *session, const char *query, const char *more) {
    char body[600], lines[300], member[100] = "";
    if (session)
        snprintf(member, sizeof member, ",\"session_id\":\"%s\"", session);
    snprintf(body, sizeof body, "{\"patient_mrn\":\"%s\",\"query\":\"%s\"%s%s}", mrn, query, member,
             more);
    snprintf(lines, sizeof lines, JSON_TYPE "%s", headers);
    test_reply reply = test_request(server, "POST", "/triage", lines, body);
    if (reply.status != 200)
        fail_msg("%d %s", reply.status, cp_strbuf_text(&reply.body));
    return reply;
}

/* The flag's place in the answer; NULL: it is not there. */
static const cJSON *flag_of(const cJSON *answer, const char *id) {
    const cJSON *flag;
    cJSON_ArrayForEach(flag, cp_json_member(answer, "red_flags")) {
        if (strcmp(cp_json_member(flag, "id")->valuestring, id) == 0)
            return flag;
    }
    return NULL;
}

static int n_earlier(const test_reply *reply) {
    const cJSON *c = cp_json_member(reply->json, "conversation");
    return c ? cp_json_member(c, "earlier_turns")->valueint : -1;
}

/* Asks, and expects so many earlier turns (-1: none are counted) and an earlier chest pain or not.
 */
static void expect(const test_server *server, const char *headers, const char *mrn,
                   const char *session, const char *query, int earlier, bool flagged) {
    test_reply reply = ask(server, headers, mrn, session, query, "");
    const cJSON *flag = flag_of(reply.json, CHEST);
    assert_int_equal(n_earlier(&reply), earlier);
    if ((flag && cJSON_IsTrue(cp_json_member(flag, "from_earlier_turn"))) != flagged)
        fail_msg("%s", cp_strbuf_text(&reply.body));
    if (flagged) {
        assert_int_equal(cp_json_member(reply.json, "acuity")->valueint, 2);
        assert_string_equal(test_reply_text(&reply, "acuity_source"), "rules");
        assert_non_null(
            strstr(test_reply_text(&reply, "response"), "what was said earlier: Go to"));
    }
    test_reply_free(&reply);
}

static test_server start(const char *a, const char *b, const char *c) {
    test_server server = test_server_start((const char *const[]){a, b, c, NULL});
    test_server_await_ready(&server);
    return server;
}

static void stop(test_server *server) {
    assert_int_equal(test_server_stop(server, SIGTERM), 0);
}

/* ---- whose ----------------------------------------------------------------------------------- */

static void turns_count_in_their_conversation_only(void **state) {
    test_server server = start("LOG_LEVEL=info", NULL, NULL);
    (void)state;
    expect(&server, "", "MRN-002", "a", "I have chest pain", 0, false);
    expect(&server, "", "MRN-002", "a", "thanks", 1, true);
    expect(&server, "", "MRN-002", "a", "can you refill my medicine?", 2, true);
    expect(&server, "", "MRN-002", "b", "thanks", 0, false);
    expect(&server, "", "MRN-001", "a", "thanks", 0, false);
    expect(&server, "", "MRN-002", NULL, "thanks", -1, false);
    expect(&server, "", "MRN-002", "a", "thanks", 3, true);
    stop(&server);
}

static void add_key(cp_access_keys *keys, const char *id, char header[200]) {
    char text[CP_KEY_TEXT_CAP];
    cp_access_key key = {
        .burst = 1, .not_after = INT64_MAX, .scopes = CP_SCOPE_TRIAGE | CP_SCOPE_PATIENTS_READ};
    cp_error err;
    assert_cp_ok(cp_key_make(id, &key, text, &err));
    assert_cp_ok(cp_keys_add(keys, &key, &err));
    snprintf(header, 200, "Authorization: Bearer %s\r\n", text);
}

static int n_noted(const test_server *server, const char *headers, const char *id) {
    test_reply reply = test_request(server, "GET", "/patients/MRN-002/summary", headers, NULL);
    const cJSON *note;
    int n = 0;
    assert_int_equal(reply.status, 200);
    cJSON_ArrayForEach(note, cp_json_member(reply.json, "noted_earlier")) {
        n += strcmp(cp_json_member(note, "rule")->valuestring, id) == 0;
        assert_true(cJSON_IsFalse(cp_json_member(note, "confirmed")));
        assert_int_equal(strlen(cp_json_member(note, "date")->valuestring), 10);
    }
    bool told = strstr(test_reply_text(&reply, "summary"),
                       "Noted in an earlier conversation, not confirmed: Chest pain in an adult (");
    assert_int_equal(told, n > 0);
    test_reply_free(&reply);
    return n;
}

static void keys_do_not_share_conversations_or_notes(void **state) {
    char ward[200], robot[200], path[500];
    cp_access_keys keys = {0};
    cp_error err;
    (void)state;
    add_key(&keys, "ward", ward);
    add_key(&keys, "robot", robot);
    snprintf(path, sizeof path, "API_KEYS_FILE=%s", test_path(test_tmp_dir(), "keys.json"));
    assert_cp_ok(cp_keys_write(strchr(path, '=') + 1, &keys, &err));
    cp_keys_deinit(&keys);
    test_server server = start(path, NULL, NULL);
    expect(&server, ward, "MRN-002", "a", "I have chest pain", 0, false);
    expect(&server, robot, "MRN-002", "a", "thanks", 0, false);
    expect(&server, ward, "MRN-002", "a", "thanks", 1, true);
    expect(&server, robot, "MRN-002", "a", "thanks", 1, false);
    assert_int_equal(n_noted(&server, ward, CHEST), 1);
    assert_int_equal(n_noted(&server, robot, CHEST), 0);
    stop(&server);
}

/* Many at once in one conversation: each becomes one turn of it. */
static void turns_that_come_together_are_all_kept(void **state) {
    enum { N = 10 };
    int fds[N];
    test_server server = start("QUEUE_MAX=64", NULL, NULL);
    (void)state;
    for (int i = 0; i < N; i++) {
        char body[200];
        snprintf(body, sizeof body,
                 "{\"patient_mrn\":\"MRN-00%d\",\"query\":\"%s\",\"session_id\":\"a\"}", 1 + i % 2,
                 i == 0 ? "I have chest pain" : "cough");
        fds[i] = test_connect(&server);
        assert_true(test_send_text(fds[i], test_triage_bytes(body)));
    }
    for (int i = 0; i < N; i++) {
        test_reply reply = test_receive(fds[i], false);
        assert_int_equal(reply.status, 200);
        if (i % 2 == 1)
            assert_null(flag_of(reply.json, CHEST));
        test_reply_free(&reply);
        test_disconnect(fds[i]);
    }
    expect(&server, "", "MRN-001", "a", "thanks", N / 2, true);
    expect(&server, "", "MRN-002", "a", "thanks", N / 2, false);
    stop(&server);
}

/* ---- how long -------------------------------------------------------------------------------- */

static void conversations_expire_and_their_notes_stay(void **state) {
    test_server server = start("CONVERSATION_TTL_S=1", NULL, NULL);
    (void)state;
    expect(&server, "", "MRN-002", "a", "I have chest pain", 0, false);
    test_server_await_metric(&server, "carepath_conversations", 0);
    assert_true(test_server_metric(&server, "carepath_conversations_expired_total") >= 1);
    expect(&server, "", "MRN-002", "a", "thanks", 0, false);
    assert_int_equal(n_noted(&server, NULL, CHEST), 1);
    stop(&server);
    server = start("CONVERSATION_TTL_S=1", "CONVERSATION_NOTES_TTL_S=1", NULL);
    expect(&server, "", "MRN-002", "a", "I have chest pain", 0, false);
    test_server_await_metric(&server, "carepath_conversation_bytes", 0);
    assert_int_equal(n_noted(&server, NULL, CHEST), 0);
    stop(&server);
}

static void they_can_be_turned_off(void **state) {
    test_server server = start("CONVERSATION_TTL_S=0", NULL, NULL);
    (void)state;
    for (int i = 0; i < 2; i++)
        expect(&server, "", "MRN-002", "a", i ? "thanks" : "I have chest pain", -1, false);
    assert_int_equal(n_noted(&server, NULL, CHEST), 0);
    assert_true(test_server_metric(&server, "carepath_conversation_bytes") == 0);
    stop(&server);
}

static void cached_keys_and_values_expire(void **state) {
    test_server server =
        start("LLM_MODE=./" GOLDEN "/models/tied-gqa2", "KV_CACHE_TTL_S=1", "MAX_NEW_TOKENS=8");
    (void)state;
    expect(&server, "", "MRN-002", NULL, "cough", -1, false);
    for (int i = 0; i < 600 && test_server_metric(&server, "carepath_kv_expired_total") == 0; i++)
        usleep(100000);
    assert_true(test_server_metric(&server, "carepath_kv_expired_total") > 0);
    test_server_await_metric(&server, "carepath_kv_bytes{state=\"cached\"}", 0);
    stop(&server);
}

/* ---- without a model's answer, and as a stream ----------------------------------------------- */

/* The level and the question are kept, and the flags. */
static void a_degraded_answer_is_a_turn_too(void **state) {
    test_server server = start("LLM_MODE=./" GOLDEN "/models/tied-gqa2", "MAX_NEW_TOKENS=8", NULL);
    (void)state;
    test_reply reply = ask(&server, "", "MRN-002", "a", "I have chest pain", ",\"deadline_ms\":1");
    assert_true(cJSON_IsTrue(cp_json_member(reply.json, "degraded")));
    test_reply_free(&reply);
    expect(&server, "", "MRN-002", "a", "thanks", 1, true);
    stop(&server);
}

static void the_first_event_has_earlier_flags(void **state) {
    test_server server = start("LOG_LEVEL=info", NULL, NULL);
    (void)state;
    expect(&server, "", "MRN-002", "a", "I have chest pain", 0, false);
    test_reply reply = ask(&server, "", "MRN-002", "a", "thanks", ",\"stream\":true");
    const char *rules = strstr(cp_strbuf_text(&reply.body), "event: rules");
    const char *next = rules ? strstr(rules, "\n\n") : NULL;
    const char *flag = rules ? strstr(rules, "\"from_earlier_turn\":true") : NULL;
    assert_true(rules && next && flag && flag < next);
    test_reply_free(&reply);
    expect(&server, "", "MRN-002", "a", "thanks", 2, true);
    stop(&server);
}

/* ---- replay ---------------------------------------------------------------------------------- */

static cJSON *carepath(const char *file_env, const char *const *argv) {
    test_run run = test_run_program(argv, (const char *[]){file_env, SECRET_ENV, NULL}, NULL);
    cJSON *said = test_run_json(&run);
    test_run_free(&run);
    return said;
}

/* What the record says that the model was told, earlier turns among it; free(). */
static char *asked_in(const char *file_env, const char *trace_id, const char *session) {
    cJSON *said = carepath(file_env, (const char *[]){NULL, "audit", "show", trace_id, NULL});
    const cJSON *opened = cp_json_member(said, "opened");
    assert_string_equal(cp_json_member(opened, "session_id")->valuestring, session);
    const cJSON *message = cJSON_GetArrayItem(cp_json_member(opened, "messages"), 1);
    char *text = strdup(cp_json_member(message, "content")->valuestring);
    const cJSON *rules = cp_json_member(cp_json_member(said, "record"), "rules_earlier");
    if (strstr(text, "Earlier in this conversation"))
        assert_string_equal(cJSON_GetArrayItem(rules, 0)->valuestring, CHEST);
    else
        assert_null(rules);
    cJSON_Delete(said);
    return text;
}

static void every_turn_replays_to_the_byte(void **state) {
    static const char *const queries[] = {"I have chest pain", "it started an hour ago",
                                          "what should I do now?"};
    enum { N = sizeof queries / sizeof *queries };
    char trace_ids[N][40], file_env[430], mode_env[330];
    const char *model = test_quantized("tied-gqa2", "int8");
    (void)state;
    snprintf(mode_env, sizeof mode_env, "LLM_MODE=%s", model);
    snprintf(file_env, sizeof file_env, "AUDIT_FILE=%s", test_path(test_tmp_dir(), "audit.jsonl"));
    test_server server = test_server_start((const char *const[]){
        mode_env, file_env, SECRET_ENV, "CONTEXT_TOKENS=8192", "MAX_NEW_TOKENS=40", NULL});
    test_server_await_ready(&server);
    for (int i = 0; i < N; i++) {
        test_reply reply = ask(&server, "", "MRN-002", "visit-7", queries[i], ",\"seed\":9");
        const cJSON *c = cp_json_member(reply.json, "conversation");
        assert_int_equal(cp_json_member(c, "told_to_model")->valueint, i);
        snprintf(trace_ids[i], sizeof trace_ids[i], "%s", test_reply_text(&reply, "trace_id"));
        test_reply_free(&reply);
    }
    stop(&server);
    for (int i = 0; i < N; i++) {
        char *text = asked_in(file_env, trace_ids[i], "visit-7");
        for (int k = 0; k < N; k++)
            assert_int_equal(strstr(text, queries[k]) != NULL, k <= i);
        free(text);
        cJSON *said = carepath(file_env, (const char *[]){NULL, "replay", trace_ids[i], "--model",
                                                          model, "--json", NULL});
        assert_true(cJSON_IsTrue(cp_json_member(said, "identical")));
        cJSON_Delete(said);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(turns_count_in_their_conversation_only),
    cmocka_unit_test(keys_do_not_share_conversations_or_notes),
    cmocka_unit_test(turns_that_come_together_are_all_kept),
    cmocka_unit_test(conversations_expire_and_their_notes_stay),
    cmocka_unit_test(they_can_be_turned_off),
    cmocka_unit_test(cached_keys_and_values_expire),
    cmocka_unit_test(a_degraded_answer_is_a_turn_too),
    cmocka_unit_test(the_first_event_has_earlier_flags),
    cmocka_unit_test(every_turn_replays_to_the_byte),
};
CP_TEST_GROUP(http_conversation, tests)
