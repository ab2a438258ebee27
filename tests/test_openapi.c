/* docs/openapi.json against the program: every route is documented and every documented one is
 * served; each example is answered as documented, streams event by event. */
#include "tests/http_client.h"
#include "tests/schema_checker.h"

#include "server/api.h"

#include <signal.h>

#define JSON_TYPE "application/json"

typedef struct document {
    cJSON *tree;
    cJSON *root; /* {"$defs": the schemas}, for the checker */
} document;

static document open_document(void) {
    document d = {.tree = test_read_json("docs/openapi.json"), .root = cJSON_CreateObject()};
    cJSON *components = cJSON_GetObjectItemCaseSensitive(d.tree, "components");
    cJSON_AddItemReferenceToObject(d.root, "$defs",
                                   cJSON_GetObjectItemCaseSensitive(components, "schemas"));
    return d;
}

static void close_document(document *d) {
    cJSON_Delete(d->root);
    cJSON_Delete(d->tree);
}

static const cJSON *get(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* "/v1/models/{model}" as a route has it: "/v1/models/{}". */
static void as_route(const char *path, char *out) {
    for (; *path; path++) {
        *out++ = *path;
        if (*path == '{')
            path = strchr(path, '}') - 1;
    }
    *out = '\0';
}

static void every_route_is_documented_and_the_other_way_round(void **state) {
    (void)state;
    static const cp_settings settings;
    cp_api api = {.settings = &settings};
    cp_http_config config = cp_api_http_config(&api);
    document d = open_document();
    const cJSON *path, *operation;
    size_t n = 0;
    cJSON_ArrayForEach(path, get(d.tree, "paths")) {
        char route[256];
        as_route(path->string, route);
        cJSON_ArrayForEach(operation, path) {
            bool is_post = strcmp(operation->string, "post") == 0, found = false;
            assert_true(is_post || strcmp(operation->string, "get") == 0);
            for (size_t i = 0; i < config.n_routes; i++)
                found |= strcmp(config.routes[i].path, route) == 0 &&
                         config.routes[i].is_post == is_post;
            if (!found)
                fail_msg("documented, not served: %s %s", operation->string, path->string);
            n++;
        }
    }
    if (n != config.n_routes)
        fail_msg("%zu routes are served, docs/openapi.json has %zu", config.n_routes, n);
    assert_true(n >= 9);
    close_document(&d);
}

/* A route that metrics do not know would be counted among "other". */
static void every_route_is_counted_by_its_name(void **state) {
    (void)state;
    static const cp_settings settings;
    cp_api api = {.settings = &settings};
    cp_http_config config = cp_api_http_config(&api);
    cp_metrics *metrics;
    cp_error err;
    cp_strbuf out;
    assert_cp_ok(cp_metrics_create(&metrics, &err));
    for (size_t i = 0; i < config.n_routes; i++)
        cp_metrics_http(metrics, config.routes[i].path, "GET", 200, 0.1, NULL);
    cp_strbuf_init(&out, 1 << 20);
    const cp_metrics_gauges gauges = {.llm_mode = "", .model = "", .store = ""};
    cp_metrics_append(metrics, &gauges, false, &out);
    for (size_t i = 0; i < config.n_routes; i++) {
        char label[160];
        snprintf(label, sizeof label, "route=\"%s\"", config.routes[i].path);
        if (!strstr(cp_strbuf_text(&out), label))
            fail_msg("server/metrics.c does not know the route %s", config.routes[i].path);
    }
    cp_strbuf_deinit(&out);
    cp_metrics_free(metrics);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void check_value(const document *d, const cJSON *schema, const char *text, size_t n,
                        const char *what) {
    cJSON *value = cJSON_ParseWithLength(text, n);
    if (!value)
        fail_msg("%s: no JSON: %.*s", what, (int)n, text);
    const char *fault = schema_fault(d->root, schema, value);
    if (fault)
        fail_msg("%s: %s: %.*s", what, fault, (int)n, text);
    cJSON_Delete(value);
}

static void check_events(const document *d, const cJSON *schema, const char *body,
                         const char *what) {
    size_t n_events = 0;
    for (const char *end; (end = strstr(body, "\n\n")) != NULL; body = end + 2) {
        if (*body == ':' || strncmp(body, "data: [DONE]", 12) == 0)
            continue;
        if (strncmp(body, "event: ", 7) == 0)
            body = strchr(body, '\n') + 1;
        assert_int_equal(strncmp(body, "data: ", 6), 0);
        check_value(d, schema, body + 6, (size_t)(end - body) - 6, what);
        n_events++;
    }
    assert_true(n_events > 0);
    assert_int_equal(*body, '\0');
}

/* The status, the media type and the body are documented for this operation. */
static void check_reply(const document *d, const cJSON *operation, const test_reply *reply,
                        const char *what) {
    char status[16], type[128];
    snprintf(status, sizeof status, "%d", reply->status);
    const char *header = test_reply_header(reply, "Content-Type");
    assert_non_null(header);
    snprintf(type, sizeof type, "%s", header);
    const cJSON *response = get(get(operation, "responses"), status);
    const cJSON *content = get(get(response, "content"), type);
    if (!content)
        fail_msg("%s: %s with %s is not documented: %s", what, status, type,
                 cp_strbuf_text(&reply->body));
    const cJSON *schema = get(content, "schema");
    if (strcmp(type, JSON_TYPE) == 0)
        check_value(d, schema, cp_strbuf_text(&reply->body), reply->body.n, what);
    else if (strcmp(type, "text/event-stream") == 0)
        check_events(d, schema, cp_strbuf_text(&reply->body), what);
}

static test_reply post(const test_server *server, const char *path, const char *body) {
    return test_request(server, "POST", path, "Content-Type: " JSON_TYPE "\r\n", body);
}

static size_t check_examples(const document *d, const test_server *server, const cJSON *path,
                             const cJSON *operation) {
    size_t n = 0;
    const cJSON *example;
    const cJSON *media = get(get(get(operation, "requestBody"), "content"), JSON_TYPE);
    cJSON_ArrayForEach(example, get(media, "examples")) {
        char what[256];
        snprintf(what, sizeof what, "%s, example %s", path->string, example->string);
        char *body = cJSON_PrintUnformatted(get(example, "value"));
        test_reply reply = post(server, path->string, body);
        if (reply.status != 200)
            fail_msg("%s: %d %s", what, reply.status, cp_strbuf_text(&reply.body));
        check_reply(d, operation, &reply, what);
        test_reply_free(&reply);
        cJSON_free(body);
        n++;
    }
    return n;
}

/* What is wrong in its own way: each is answered by a documented error. */
static void check_errors(const document *d, const test_server *server, const cJSON *path,
                         const cJSON *operation) {
    static const char *const bodies[] = {"{", "{}", "[]",
                                         "{\"model\":\"no-such-model\",\"prompt\":"
                                         "\"x\",\"input\":\"x\",\"messages\":[{\"role\":\"user\","
                                         "\"content\":\"x\"}]}"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        test_reply reply = post(server, path->string, bodies[i]);
        assert_in_range(reply.status, 400, 499);
        check_reply(d, operation, &reply, path->string);
        test_reply_free(&reply);
    }
    test_reply reply =
        test_request(server, "POST", path->string, "Content-Type: text/plain\r\n", "x");
    assert_int_equal(reply.status, 415);
    check_reply(d, operation, &reply, path->string);
    test_reply_free(&reply);
}

/* The path with each parameter's example; the last one with `last` in its place, unless NULL. Says
 * whether there is one. */
static bool fill_path(const char *path, const cJSON *operation, const char *last, char out[256]) {
    const cJSON *parameter = cJSON_GetArrayItem(get(operation, "parameters"), 0);
    size_t n = 0;
    bool filled = false;
    for (; *path; path++) {
        const char *value = NULL;
        if (*path == '{') {
            path = strchr(path, '}');
            value = last && !strchr(path, '{') ? last : get(parameter, "example")->valuestring;
            parameter = parameter->next;
            filled = true;
        }
        n += (size_t)snprintf(out + n, 256 - n, "%.*s", value ? 200 : 1, value ? value : path);
    }
    return filled;
}

static void check_get(const document *d, const test_server *server, const cJSON *path,
                      const cJSON *operation) {
    char target[256];
    bool filled = fill_path(path->string, operation, NULL, target);
    test_reply reply = test_request(server, "GET", target, NULL, NULL);
    assert_int_equal(reply.status, 200);
    check_reply(d, operation, &reply, target);
    test_reply_free(&reply);
    if (!filled)
        return;
    fill_path(path->string, operation, "no-such-thing", target);
    reply = test_request(server, "GET", target, NULL, NULL);
    assert_int_equal(reply.status, 404);
    check_reply(d, operation, &reply, target);
    test_reply_free(&reply);
}

static void check_all(const char *const *env) {
    document d = open_document();
    test_server server = test_server_start(env);
    test_server_await_ready(&server);
    const cJSON *path, *operation;
    size_t n_examples = 0;
    cJSON_ArrayForEach(path, get(d.tree, "paths")) {
        cJSON_ArrayForEach(operation, path) {
            if (strcmp(operation->string, "get") == 0) {
                check_get(&d, &server, path, operation);
                continue;
            }
            size_t n = check_examples(&d, &server, path, operation);
            if (n == 0)
                fail_msg("%s has no example", path->string);
            n_examples += n;
            check_errors(&d, &server, path, operation);
        }
    }
    assert_true(n_examples >= 10);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    close_document(&d);
}

/* The embedded patients, in a folder that an import may change. */
static const char *data_setting(void) {
    static char text[500];
    char dir[TEST_DATA_CAP];
    test_data_copy(dir);
    snprintf(text, sizeof text, "DATA_DIR=%s", dir);
    return text;
}

/* RERANKER_MODEL=a folder. */
static const char *reranker_setting(void) {
    static char text[400];
    snprintf(text, sizeof text, "RERANKER_MODEL=%s",
             test_reranker_folder(GOLDEN "/models/tied-gqa2"));
    return text;
}

static void a_real_model_answers_as_documented(void **state) {
    (void)state;
    check_all((const char *[]){
        data_setting(), "LLM_MODE=" GOLDEN "/models/tied-gqa2", "MAX_NEW_TOKENS=48",
        "EMBEDDING_MODEL=" GOLDEN "/models/embedding-gqa1", reranker_setting(), NULL});
}

static void the_mock_answers_as_documented(void **state) {
    (void)state;
    check_all((const char *[]){data_setting(), "EMBEDDING_MODEL=" GOLDEN "/models/embedding-gqa1",
                               reranker_setting(), NULL});
}

/* Where the operator has not set something up, the answer says so, as documented. */
static void what_is_not_set_up_is_documented(void **state) {
    (void)state;
    document d = open_document();
    test_server server = test_server_start(NULL);
    test_server_await_ready(&server);
    static const char *const asked[][2] = {
        {"/v1/embeddings", "{\"input\":\"x\"}"},
        {"/v1/rerank", "{\"query\":\"x\",\"documents\":[\"y\"]}"}};
    for (size_t i = 0; i < 2; i++) {
        const cJSON *operation = get(get(get(d.tree, "paths"), asked[i][0]), "post");
        test_reply reply = post(&server, asked[i][0], asked[i][1]);
        assert_int_equal(reply.status, 501);
        check_reply(&d, operation, &reply, asked[i][0]);
        test_reply_free(&reply);
    }
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    close_document(&d);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_route_is_documented_and_the_other_way_round),
    cmocka_unit_test(every_route_is_counted_by_its_name),
    cmocka_unit_test(a_real_model_answers_as_documented),
    cmocka_unit_test(the_mock_answers_as_documented),
    cmocka_unit_test(what_is_not_set_up_is_documented),
};
CP_TEST_GROUP(openapi, tests)
