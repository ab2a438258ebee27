#include "tests/otlp_receiver.h"

#include "base/clock.h"

#define MAX_REQUESTS 512
#define WAIT_NS      (60 * UINT64_C(1000000000))

static struct {
    load_server server;
    pthread_mutex_t lock;
    test_otlp_act acts[16];
    size_t n_acts;
    char *bodies[MAX_REQUESTS]; /* of the requests that were taken */
    char *heads[MAX_REQUESTS];
    size_t n_bodies, n_requests;
    cp_strbuf bytes;
    cJSON *spans;
} r = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- receiving -------------------------------------------------------------------------------
 */

static bool refuse(const load_exchange *x, int status, const char *fields) {
    return load_answer(x, status, fields, "{\"code\":14,\"message\":\"no\"}");
}

static bool behave(const load_exchange *x, test_otlp_act act) {
    switch (act) {
    case OTLP_TAKE:
        return load_answer(x, 200, "", "{\"partialSuccess\":{}}");
    case OTLP_PARTIAL:
        return load_answer(
            x, 200, "",
            "{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"too old\"}}");
    case OTLP_429:
        return refuse(x, 429, "Retry-After: 0\r\n");
    case OTLP_502:
        return refuse(x, 502, "");
    case OTLP_503:
        return refuse(x, 503, "Retry-After: 0\r\n");
    case OTLP_504:
        return refuse(x, 504, "");
    case OTLP_400:
        return refuse(x, 400, "");
    case OTLP_500:
        return refuse(x, 500, "");
    case OTLP_LATER:
        return refuse(x, 503, "Retry-After: 604800\r\n");
    case OTLP_CUT:
        load_send(x, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{");
        return false;
    case OTLP_SILENT:
        load_wait_for_leaving(x);
        return false;
    case OTLP_TRICKLE:
        load_send(x, "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n");
        while (!x->server->stopping && load_send(x, " "))
            load_sleep_ms(20);
        return false;
    case OTLP_HUGE:
        load_send(x, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        while (!x->server->stopping && load_send(x, "                                        "))
            continue;
        return false;
    case OTLP_NONSENSE:
        load_send(x, "\x16\x03\x01 nonsense\r\n\r\n");
        return false;
    }
    return false;
}

static bool receive(const load_exchange *x) {
    pthread_mutex_lock(&r.lock);
    size_t k = r.n_requests++;
    test_otlp_act act = r.acts[k < r.n_acts ? k : r.n_acts - 1];
    cp_strbuf_puts(&r.bytes, x->head);
    cp_strbuf_puts(&r.bytes, x->body);
    if ((act == OTLP_TAKE || act == OTLP_PARTIAL) && r.n_bodies < MAX_REQUESTS) {
        r.heads[r.n_bodies] = strdup(x->head);
        r.bodies[r.n_bodies++] = strdup(x->body);
    }
    pthread_mutex_unlock(&r.lock);
    return behave(x, act);
}

void test_otlp_start(const test_otlp_act *acts, size_t n) {
    assert_true(n <= sizeof r.acts / sizeof r.acts[0]);
    r.n_acts = n;
    r.n_bodies = r.n_requests = 0;
    r.spans = NULL;
    memcpy(r.acts, acts, n * sizeof *acts);
    cp_strbuf_init(&r.bytes, (size_t)64 << 20);
    load_server_start(&r.server, receive);
}

void test_otlp_stop(void) {
    load_server_stop(&r.server);
    for (size_t i = 0; i < r.n_bodies; i++) {
        free(r.heads[i]);
        free(r.bodies[i]);
    }
    cp_strbuf_deinit(&r.bytes);
    cJSON_Delete(r.spans);
    r.spans = NULL;
}

const char *test_otlp_url(void) {
    return r.server.url;
}

size_t test_otlp_n_requests(void) {
    pthread_mutex_lock(&r.lock);
    size_t n = r.n_requests;
    pthread_mutex_unlock(&r.lock);
    return n;
}

void test_otlp_await_requests(size_t n) {
    uint64_t begun = cp_clock_ns();
    while (test_otlp_n_requests() < n) {
        if (cp_clock_ns() - begun > WAIT_NS)
            fail_msg("%zu requests, expected %zu", test_otlp_n_requests(), n);
        load_sleep_ms(2);
    }
}

const cp_strbuf *test_otlp_bytes(void) {
    return &r.bytes;
}

/* ---- the schema ------------------------------------------------------------------------------
 */

static const cJSON *need(const cJSON *object, const char *key, bool is_right, const char *form) {
    const cJSON *value = cp_json_member(object, key);
    if (!value || !is_right)
        fail_msg("%s is missing or is not %s", key, form);
    return value;
}

/* Every key is one of the words, "a|b|c": a misspelled one would be ignored by receivers. */
static void only_keys(const cJSON *object, const char *words) {
    for (const cJSON *at = object->child; at; at = at->next) {
        const char *found = strstr(words, at->string);
        size_t n = strlen(at->string);
        if (!found || (found != words && found[-1] != '|') || (found[n] && found[n] != '|'))
            fail_msg("\"%s\" is none of %s", at->string, words);
    }
}

static void check_hex(const cJSON *object, const char *key, size_t n_bytes) {
    const char *text = cp_json_text(object, key, "");
    if (strlen(text) != 2 * n_bytes || strspn(text, "0123456789abcdef") != 2 * n_bytes ||
        strspn(text, "0") == 2 * n_bytes)
        fail_msg("%s is \"%s\", expected %zu lower-case hex digits", key, text, 2 * n_bytes);
}

static uint64_t check_digits(const cJSON *object, const char *key) {
    const char *text = cp_json_text(object, key, "");
    text += *text == '-' && strcmp(key, "intValue") == 0;
    if (!*text || strspn(text, "0123456789") != strlen(text))
        fail_msg("%s is not a string of digits", key);
    return strtoull(text, NULL, 10);
}

static void check_value(const cJSON *value) {
    assert_true(cJSON_IsObject(value));
    assert_int_equal(cJSON_GetArraySize(value), 1); /* a oneof */
    only_keys(value, "stringValue|intValue|boolValue|doubleValue|arrayValue");
    const cJSON *list = cp_json_member(value, "arrayValue");
    if (cp_json_member(value, "intValue"))
        check_digits(value, "intValue");
    else if (list)
        for (const cJSON *at = cp_json_member(list, "values")->child; at; at = at->next)
            check_value(at);
    else
        need(value, "stringValue", cJSON_IsString(cp_json_member(value, "stringValue")), "text");
}

static void check_attributes(const cJSON *owner) {
    const cJSON *list = cp_json_member(owner, "attributes");
    need(owner, "attributes", cJSON_IsArray(list), "a list");
    for (const cJSON *at = list->child; at; at = at->next) {
        only_keys(at, "key|value");
        need(at, "key", cJSON_IsString(cp_json_member(at, "key")), "text");
        check_value(cp_json_member(at, "value"));
        for (const cJSON *other = at->next; other; other = other->next)
            assert_string_not_equal(cp_json_text(at, "key", ""), cp_json_text(other, "key", ""));
    }
}

static void check_span(const cJSON *span) {
    only_keys(span, "traceId|spanId|traceState|parentSpanId|flags|name|kind|startTimeUnixNano|"
                    "endTimeUnixNano|attributes|droppedAttributesCount|events|links|status");
    const cJSON *kind = cp_json_member(span, "kind");
    const cJSON *status = cp_json_member(span, "status");
    check_hex(span, "traceId", 16);
    check_hex(span, "spanId", 8);
    if (cp_json_member(span, "parentSpanId"))
        check_hex(span, "parentSpanId", 8);
    need(span, "flags", cJSON_IsNumber(cp_json_member(span, "flags")), "a number");
    assert_true(strlen(cp_json_text(span, "name", "")) > 0);
    need(span, "kind", cJSON_IsNumber(kind) && kind->valueint >= 1 && kind->valueint <= 5,
         "1 to 5");
    uint64_t begun = check_digits(span, "startTimeUnixNano");
    uint64_t ended = check_digits(span, "endTimeUnixNano");
    assert_true(begun > UINT64_C(1700000000000000000) && begun <= ended);
    assert_true(ended / 1000000000u <= (uint64_t)cp_clock_unix_s() + 1);
    check_attributes(span);
    assert_true(cJSON_IsObject(status));
    only_keys(status, "code|message");
    const cJSON *code = cp_json_member(status, "code");
    assert_true(!code || (cJSON_IsNumber(code) && code->valueint >= 0 && code->valueint <= 2));
}

static void check_resource(const cJSON *whole) {
    const cJSON *resource = cp_json_member(whole, "resource");
    assert_true(cJSON_IsObject(resource));
    only_keys(resource, "attributes|droppedAttributesCount");
    check_attributes(resource);
    assert_non_null(test_otlp_attribute(resource, "service.name"));
}

/* Checks one request and moves its spans to `out`. */
static void take_request(const char *head, const char *body, cJSON *out) {
    cp_error err;
    cJSON *tree;
    assert_true(strncmp(head, "POST /v1/traces HTTP/1.1\r\n", 26) == 0);
    assert_non_null(strstr(head, "\r\nContent-Type: application/json\r\n"));
    assert_cp_ok(cp_json_parse("the request", body, strlen(body), &tree, &err));
    only_keys(tree, "resourceSpans");
    const cJSON *whole = cp_json_member(tree, "resourceSpans")->child;
    only_keys(whole, "resource|scopeSpans|schemaUrl");
    check_resource(whole);
    for (const cJSON *at = cp_json_member(whole, "scopeSpans")->child; at; at = at->next) {
        only_keys(at, "scope|spans|schemaUrl");
        only_keys(cp_json_member(at, "scope"), "name|version|attributes");
        cJSON *spans = cJSON_GetObjectItemCaseSensitive(at, "spans");
        while (spans->child) {
            check_span(spans->child);
            cJSON_AddItemToArray(out, cJSON_DetachItemFromArray(spans, 0));
        }
    }
    cJSON_Delete(tree);
}

const cJSON *test_otlp_spans(void) {
    pthread_mutex_lock(&r.lock);
    size_t n = r.n_bodies;
    pthread_mutex_unlock(&r.lock);
    cJSON_Delete(r.spans);
    r.spans = cJSON_CreateArray();
    for (size_t i = 0; i < n; i++)
        take_request(r.heads[i], r.bodies[i], r.spans);
    return r.spans;
}

const cJSON *test_otlp_await_spans(size_t n) {
    uint64_t begun = cp_clock_ns();
    for (;;) {
        const cJSON *spans = test_otlp_spans();
        if ((size_t)cJSON_GetArraySize(spans) >= n)
            return spans;
        if (cp_clock_ns() - begun > WAIT_NS)
            fail_msg("%d spans came, expected %zu", cJSON_GetArraySize(spans), n);
        load_sleep_ms(5);
    }
}

/* ---- looking --------------------------------------------------------------------------------- */

const cJSON *test_otlp_find(const cJSON *spans, const char *name) {
    for (const cJSON *at = spans->child; at; at = at->next)
        if (strcmp(cp_json_text(at, "name", ""), name) == 0)
            return at;
    return NULL;
}

const char *test_otlp_attribute(const cJSON *span, const char *key) {
    for (const cJSON *at = cp_json_member(span, "attributes")->child; at; at = at->next) {
        const cJSON *value = cp_json_member(at, "value");
        if (strcmp(cp_json_text(at, "key", ""), key) != 0)
            continue;
        if (cp_json_member(value, "arrayValue"))
            value = cp_json_member(cp_json_member(value, "arrayValue"), "values")->child;
        const char *text = cp_json_text(value, "stringValue", NULL);
        return text ? text : cp_json_text(value, "intValue", NULL);
    }
    return NULL;
}
