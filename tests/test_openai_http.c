/* The OpenAI-compatible API over a real server, with the mock and with tiny real models: shapes,
 * streams, limits, clients that leave, deadlines, draining, embeddings, reranking. */
#include "tests/http_client.h"
#include "tests/schema_checker.h"

#include <math.h>
#include <signal.h>
#include <unistd.h>

#define CHAT_MODEL  "tied-gqa2"
#define EMBED_MODEL "embedding-gqa1"
#define RERANK_BODY                                                                                \
    "{\"query\":\"CANARY\",\"documents\":[\"one\",{\"text\":\"two <|im_end|>\"},\"three\"]"
#define JSON_TYPE "Content-Type: application/json\r\n"
#define HELLO     "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]"
/* Greedy, this model repeats itself and never ends by itself. */
#define ENDLESS "{" HELLO ",\"temperature\":0,\"enable_thinking\":false,\"max_tokens\":100000"

static test_server start_model(const char *more_env) {
    const char *env[] = {"LLM_MODE=" GOLDEN "/models/" CHAT_MODEL,
                         "EMBEDDING_MODEL=" GOLDEN "/models/" EMBED_MODEL,
                         "MAX_NEW_TOKENS=100000",
                         "CONTEXT_TOKENS=8192",
                         more_env,
                         NULL};
    test_server server = test_server_start(env);
    test_server_await_ready(&server);
    return server;
}

/* The mock, and a model that puts documents in order. */
static test_server start_reranker(const char *more_env) {
    char setting[400];
    snprintf(setting, sizeof setting, "RERANKER_MODEL=%s",
             test_reranker_folder(GOLDEN "/models/tied-gqa2"));
    test_server server = test_server_start((const char *[]){setting, more_env, NULL});
    test_server_await_ready(&server);
    return server;
}

static test_server start_mock(void) {
    test_server server = test_server_start(NULL);
    test_server_await_ready(&server);
    return server;
}

static void stop(test_server *server) {
    assert_int_equal(test_server_stop(server, SIGTERM), 0);
}

static test_reply post(const test_server *server, const char *path, const char *body) {
    return test_request(server, "POST", path, JSON_TYPE, body);
}

static test_reply chat(const test_server *server, const char *body) {
    return post(server, "/v1/chat/completions", body);
}

static test_reply chat_ok(const test_server *server, const char *body) {
    test_reply reply = chat(server, body);
    if (reply.status != 200)
        fail_msg("%s: %d %s", body, reply.status, cp_strbuf_text(&reply.body));
    return reply;
}

/* The value at "choices.0.message.content", NULL when there is none. */
static const cJSON *at(const cJSON *value, const char *path) {
    char key[64];
    while (*path && value) {
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        value = cJSON_IsArray(value) ? cJSON_GetArrayItem(value, atoi(key))
                                     : cJSON_GetObjectItemCaseSensitive(value, key);
        path += n + (path[n] == '.');
    }
    return value;
}

static const char *text_at(const cJSON *tree, const char *path) {
    const cJSON *value = at(tree, path);
    if (!cJSON_IsString(value))
        fail_msg("%s is no text", path);
    return value->valuestring;
}

static double number_at(const cJSON *tree, const char *path) {
    const cJSON *value = at(tree, path);
    if (!cJSON_IsNumber(value))
        fail_msg("%s is no number", path);
    return value->valuedouble;
}

#define CONTENT "choices.0.message.content"
#define FINISH  "choices.0.finish_reason"

/* Every error has the whole body and nothing of what was sent. */
static void check_error(test_reply *reply, int status, const char *code, const char *param) {
    assert_reply(reply, status, code);
    assert_true(strlen(test_reply_text(reply, "error.type")) > 0);
    assert_true(strlen(test_reply_text(reply, "error.message")) > 0);
    assert_string_equal(test_reply_text(reply, "error.param"), param);
    assert_non_null(at(reply->json, "error.param"));
    assert_int_equal(strlen(test_reply_text(reply, "trace_id")), 32);
    assert_null(strstr(cp_strbuf_text(&reply->body), "CANARY"));
    if (status == 503)
        assert_non_null(test_reply_header(reply, "Retry-After"));
    test_reply_free(reply);
}

/* ---- streams --------------------------------------------------------------------------------- */

typedef struct events {
    cJSON *list; /* array of the events' objects */
    bool done;   /* [DONE] was the last */
} events;

/* Pings are passed over; anything else that is no event fails. */
static events read_events(const cp_strbuf *body) {
    events found = {.list = cJSON_CreateArray()};
    const char *line = cp_strbuf_text(body);
    while (*line) {
        const char *end = strstr(line, "\n\n");
        if (!end)
            fail_msg("an event without an end: %s", line);
        assert_false(found.done);
        if (strncmp(line, "data: [DONE]", (size_t)(end - line)) == 0) {
            found.done = true;
        } else if (*line != ':') {
            assert_int_equal(strncmp(line, "data: ", 6), 0);
            cJSON *event = cJSON_ParseWithLength(line + 6, (size_t)(end - line) - 6);
            assert_non_null(event);
            cJSON_AddItemToArray(found.list, event);
        }
        line = end + 2;
    }
    return found;
}

/* The texts of all chunks joined: "delta.content", "text". */
static cp_strbuf joined(const events *all, const char *path) {
    const cJSON *event;
    cp_strbuf out;
    char whole[64];
    cp_strbuf_init(&out, 1 << 20);
    snprintf(whole, sizeof whole, "choices.0.%s", path);
    cJSON_ArrayForEach(event, all->list) {
        const cJSON *piece = at(event, whole);
        if (piece)
            cp_strbuf_puts(&out, piece->valuestring);
    }
    return out;
}

static void a_stream_says_what_the_whole_says(void **state) {
    static const char fields[] = HELLO ",\"seed\":7,\"max_tokens\":40,\"temperature\":1";
    (void)state;
    test_server server = start_model(NULL);
    char body[512];
    snprintf(body, sizeof body, "{%s}", fields);
    test_reply whole = chat_ok(&server, body);
    snprintf(body, sizeof body, "{%s,\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
             fields);
    test_reply stream = chat_ok(&server, body);
    assert_string_equal(test_reply_header(&stream, "Content-Type"), "text/event-stream");
    events all = read_events(&stream.body);
    assert_true(all.done && !stream.cut);
    int n = cJSON_GetArraySize(all.list);
    assert_true(n >= 4);
    const cJSON *first = cJSON_GetArrayItem(all.list, 0),
                *usage = cJSON_GetArrayItem(all.list, n - 1);
    const cJSON *finish = cJSON_GetArrayItem(all.list, n - 2);
    assert_string_equal(text_at(first, "choices.0.delta.role"), "assistant");
    cp_strbuf text = joined(&all, "delta.content"),
              thought = joined(&all, "delta.reasoning_content");
    assert_string_equal(cp_strbuf_text(&text), text_at(whole.json, CONTENT));
    const cJSON *reasoning = at(whole.json, "choices.0.message.reasoning_content");
    assert_string_equal(cp_strbuf_text(&thought), reasoning ? reasoning->valuestring : "");
    assert_string_equal(text_at(finish, FINISH), text_at(whole.json, FINISH));
    assert_true(number_at(usage, "usage.completion_tokens") ==
                number_at(whole.json, "usage.completion_tokens"));
    assert_true(number_at(finish, "carepath.seed") == 7);
    cp_strbuf_deinit(&text);
    cp_strbuf_deinit(&thought);
    cJSON_Delete(all.list);
    test_reply_free(&whole);
    test_reply_free(&stream);
    stop(&server);
}

static void the_same_seed_answers_the_same(void **state) {
    (void)state;
    test_server server = start_model(NULL);
    cp_strbuf texts[3];
    for (int i = 0; i < 3; i++) {
        char body[256];
        snprintf(body, sizeof body,
                 "{" HELLO ",\"seed\":%d,\"max_tokens\":24,\"temperature\":1.5,\"top_p\":1}",
                 i == 2 ? 2 : 1);
        test_reply reply = chat_ok(&server, body);
        cp_strbuf_init(&texts[i], 1 << 16);
        const cJSON *thought = at(reply.json, "choices.0.message.reasoning_content");
        cp_strbuf_puts(&texts[i], thought ? thought->valuestring : "");
        cp_strbuf_puts(&texts[i], text_at(reply.json, CONTENT));
        assert_true(texts[i].n > 0);
        test_reply_free(&reply);
    }
    assert_string_equal(texts[0].data, texts[1].data);
    assert_string_not_equal(texts[0].data, texts[2].data);
    for (int i = 0; i < 3; i++)
        cp_strbuf_deinit(&texts[i]);
    stop(&server);
}

static void a_stop_string_ends_the_answer_before_it(void **state) {
    (void)state;
    test_server server = start_model(NULL);
    test_reply whole = post(&server, "/v1/completions",
                            "{\"prompt\":\"hello\",\"temperature\":0,\"max_tokens\":16}");
    assert_int_equal(whole.status, 200);
    const char *text = text_at(whole.json, "choices.0.text");
    /* Two ASCII characters in the middle; the model is fixed, so is its greedy text. */
    size_t n = strlen(text), i = n / 2;
    while (i + 2 < n && ((text[i] | text[i + 1]) & 0x80 || text[i] < ' ' || text[i + 1] < ' '))
        i++;
    assert_true(i + 2 < n);
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "prompt", "hello");
    cJSON_AddNumberToObject(body, "temperature", 0);
    cJSON_AddNumberToObject(body, "max_tokens", 16);
    char mark[3] = {text[i], text[i + 1], '\0'};
    cJSON_AddStringToObject(body, "stop", mark);
    char *sent = cJSON_PrintUnformatted(body);
    test_reply cut = post(&server, "/v1/completions", sent);
    assert_int_equal(cut.status, 200);
    assert_string_equal(text_at(cut.json, FINISH), "stop");
    size_t kept = strlen(text_at(cut.json, "choices.0.text"));
    assert_int_equal(kept, (size_t)(strstr(text, mark) - text));
    assert_memory_equal(text_at(cut.json, "choices.0.text"), text, kept);
    cJSON_free(sent);
    cJSON_Delete(body);
    test_reply_free(&whole);
    test_reply_free(&cut);
    stop(&server);
}

static void an_answer_keeps_its_schema_even_when_it_is_cut(void **state) {
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"level\":{\"type\":\"integer\",\"minimum\":1,"
        "\"maximum\":5},\"reason\":{\"type\":\"string\",\"maxLength\":40},\"tags\":{\"type\":"
        "\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":3}},\"required\":[\"level\","
        "\"reason\",\"tags\"],\"additionalProperties\":false}";
    (void)state;
    test_server server = start_model(NULL);
    cJSON *tree = cJSON_Parse(schema);
    for (int seed = 0; seed < 12; seed++) {
        char body[1024];
        snprintf(body, sizeof body,
                 "{" HELLO ",\"seed\":%d,\"max_tokens\":%d,\"response_format\":{\"type\":"
                 "\"json_schema\",\"json_schema\":{\"name\":\"t\",\"strict\":true,\"schema\":%s}}}",
                 seed, 1 + 6 * seed, schema);
        test_reply reply = chat_ok(&server, body);
        cJSON *answer = cJSON_Parse(text_at(reply.json, CONTENT));
        if (!answer || schema_fault(tree, tree, answer))
            fail_msg("no such document: %s", text_at(reply.json, CONTENT));
        assert_non_null(at(reply.json, "carepath.structured.tail_tokens"));
        cJSON_Delete(answer);
        test_reply_free(&reply);
    }
    cJSON_Delete(tree);
    stop(&server);
}

static void log_probabilities_are_there_for_each_token(void **state) {
    (void)state;
    test_server server = start_model(NULL);
    test_reply reply =
        chat_ok(&server, "{" HELLO ",\"temperature\":0,\"max_tokens\":6,\"enable_thinking\":false,"
                         "\"logprobs\":true,\"top_logprobs\":3}");
    const cJSON *list = at(reply.json, "choices.0.logprobs.content"), *token;
    assert_int_equal(cJSON_GetArraySize(list), 6);
    cJSON_ArrayForEach(token, list) {
        assert_int_equal(cJSON_GetArraySize(at(token, "top_logprobs")), 3);
        assert_true(number_at(token, "logprob") <= 0);
        /* greedy: the chosen one is the best */
        assert_true(number_at(token, "top_logprobs.0.logprob") == number_at(token, "logprob"));
        assert_true(number_at(token, "top_logprobs.1.logprob") <= number_at(token, "logprob"));
    }
    test_reply_free(&reply);
    reply = post(&server, "/v1/completions",
                 "{\"prompt\":\"hello\",\"temperature\":0,\"max_tokens\":5,\"logprobs\":2,"
                 "\"stream\":true}");
    assert_int_equal(reply.status, 200);
    events all = read_events(&reply.body);
    const cJSON *event;
    int n = 0;
    cJSON_ArrayForEach(event, all.list) n +=
        cJSON_GetArraySize(at(event, "choices.0.logprobs.tokens"));
    assert_int_equal(n, 5);
    cJSON_Delete(all.list);
    test_reply_free(&reply);
    stop(&server);
}

/* ---- models, names, refusals ----------------------------------------------------------------- */

static void models_answer_to_their_names(void **state) {
    static const char *const names[] = {CHAT_MODEL, "default", NULL};
    (void)state;
    test_server server = start_model(NULL);
    for (size_t i = 0; names[i]; i++) {
        char body[256], path[128];
        snprintf(body, sizeof body, "{\"model\":\"%s\"," HELLO ",\"max_tokens\":1}", names[i]);
        test_reply reply = chat_ok(&server, body);
        assert_string_equal(text_at(reply.json, "model"), CHAT_MODEL);
        test_reply_free(&reply);
        snprintf(path, sizeof path, "/v1/models/%s", names[i]);
        reply = test_request(&server, "GET", path, NULL, NULL);
        assert_int_equal(reply.status, 200);
        assert_string_equal(text_at(reply.json, "id"), CHAT_MODEL);
        test_reply_free(&reply);
    }
    test_reply list = test_request(&server, "GET", "/v1/models", NULL, NULL);
    assert_string_equal(text_at(list.json, "data.0.id"), CHAT_MODEL);
    assert_string_equal(text_at(list.json, "data.1.id"), EMBED_MODEL);
    assert_true(number_at(list.json, "data.0.carepath.context_tokens") > 0);
    test_reply_free(&list);
    test_reply one = test_request(&server, "GET", "/v1/models/" EMBED_MODEL, NULL, NULL);
    assert_string_equal(text_at(one.json, "carepath.use"), "embedding");
    test_reply_free(&one);
    one = test_request(&server, "GET", "/v1/models/CANARY", NULL, NULL);
    check_error(&one, 404, "model_not_found", "model");
    one = chat(&server, "{\"model\":\"CANARY\"," HELLO "}");
    check_error(&one, 404, "model_not_found", "model");
    one = post(&server, "/v1/embeddings", "{\"model\":\"" CHAT_MODEL "\",\"input\":\"CANARY\"}");
    check_error(&one, 404, "model_not_found", "model");
    stop(&server);
}

static void refusals_have_a_status_a_code_and_a_param(void **state) {
    static const struct {
        const char *path, *body;
        int status;
        const char *code, *param;
    } cases[] = {
        {"/v1/chat/completions", "{\"messages\":\"CANARY\"}", 422, "wrong_type", "messages"},
        {"/v1/chat/completions", "{\"messages\":[{\"role\":\"user\",\"content\":\"CANARY\"}", 400,
         "bad_json", ""},
        {"/v1/chat/completions", "{" HELLO ",\"tools\":[{\"CANARY\":1}]}", 400, "unsupported",
         "tools"},
        {"/v1/chat/completions", "{" HELLO ",\"temperature\":1e99,\"stream\":true}", 422,
         "out_of_range", "temperature"},
        {"/v1/completions", "{\"prompt\":[\"CANARY\",\"CANARY\"]}", 400, "unsupported", "prompt"},
        {"/v1/embeddings", "{\"input\":[]}", 422, "out_of_range", "input"},
        {"/v1/embeddings", "{\"input\":\"CANARY\",\"dimensions\":4096}", 422, "out_of_range",
         "dimensions"},
    };
    (void)state;
    test_server server = start_model(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_reply reply = post(&server, cases[i].path, cases[i].body);
        check_error(&reply, cases[i].status, cases[i].code, cases[i].param);
    }
    test_reply reply = test_request(&server, "GET", "/v1/chat/completions", NULL, NULL);
    check_error(&reply, 405, "method_not_allowed", "");
    reply = test_request(&server, "POST", "/v1/completions", "Content-Type: text/plain\r\n", "x");
    check_error(&reply, 415, "media_type", "");
    stop(&server);
}

/* Also in a stream: nothing is sent before the prompt is known to fit. */
static void a_prompt_beyond_the_context_is_told_by_the_status(void **state) {
    static const char *const tails[] = {"\"}]}", "\"}],\"stream\":true}"};
    (void)state;
    test_server server = start_model("CONTEXT_TOKENS=128");
    for (size_t i = 0; i < 2; i++) {
        cp_strbuf body;
        cp_strbuf_init(&body, 1 << 20);
        cp_strbuf_puts(&body, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
        test_append_times(&body, "CANARY ", 60000);
        cp_strbuf_puts(&body, tails[i]);
        test_reply reply = chat(&server, body.data);
        check_error(&reply, 400, "context_length_exceeded", "messages");
        cp_strbuf_deinit(&body);
    }
    test_reply reply = post(&server, "/v1/completions", "{\"prompt\":\"fits\",\"max_tokens\":2}");
    assert_int_equal(reply.status, 200);
    test_reply_free(&reply);
    stop(&server);
}

static void a_body_may_have_a_mebibyte_and_no_more(void **state) {
    (void)state;
    test_server server = start_mock();
    cp_strbuf body;
    cp_strbuf_init(&body, 4 << 20);
    cp_strbuf_puts(&body, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    test_append_times(&body, "x", ((size_t)1 << 20) - body.n - 4);
    cp_strbuf_puts(&body, "\"}]}");
    assert_int_equal(body.n, 1 << 20);
    test_reply reply = chat(&server, body.data);
    assert_int_not_equal(reply.status, 413);
    assert_int_not_equal(reply.status, 0);
    test_reply_free(&reply);
    cp_strbuf_putc(&body, ' ');
    reply = chat(&server, body.data);
    assert_reply(&reply, 413, "body_too_large");
    test_reply_free(&reply);
    cp_strbuf_deinit(&body);
    stop(&server);
}

static void the_mock_answers_every_endpoint(void **state) {
    (void)state;
    test_server server = start_mock();
    test_reply reply = chat_ok(&server, "{\"model\":\"mock\"," HELLO ",\"seed\":5,\"odd\":1}");
    assert_true(strlen(text_at(reply.json, CONTENT)) > 0);
    assert_string_equal(text_at(reply.json, "model"), "mock");
    assert_string_equal(text_at(reply.json, "warnings.0"), "unknown field: odd");
    test_reply_free(&reply);
    reply = chat_ok(&server, "{" HELLO ",\"stream\":true}");
    events all = read_events(&reply.body);
    cp_strbuf text = joined(&all, "delta.content");
    assert_true(all.done && text.n > 0);
    cp_strbuf_deinit(&text);
    cJSON_Delete(all.list);
    test_reply_free(&reply);
    reply = post(&server, "/v1/completions", "{\"prompt\":\"x\"}");
    assert_int_equal(reply.status, 200);
    assert_true(strlen(text_at(reply.json, "choices.0.text")) > 0);
    test_reply_free(&reply);
    reply = test_request(&server, "GET", "/v1/models", NULL, NULL);
    assert_string_equal(text_at(reply.json, "data.0.id"), "mock");
    test_reply_free(&reply);
    reply = post(&server, "/v1/embeddings", "{\"input\":\"x\"}");
    assert_non_null(strstr(test_reply_text(&reply, "error.message"), "EMBEDDING_MODEL"));
    check_error(&reply, 501, "no_embedding_model", "");
    reply = post(&server, "/v1/rerank", RERANK_BODY "}");
    assert_non_null(strstr(test_reply_text(&reply, "error.message"), "RERANKER_MODEL"));
    check_error(&reply, 501, "no_reranker_model", "");
    stop(&server);
}

/* ---- reranking ------------------------------------------------------------------------------- */

static void documents_come_best_first(void **state) {
    (void)state;
    test_server server = start_reranker(NULL);
    test_reply reply = post(&server, "/v1/rerank", RERANK_BODY ",\"return_documents\":true}");
    assert_int_equal(reply.status, 200);
    assert_int_equal(cJSON_GetArraySize(at(reply.json, "results")), 3);
    double last = 1, first = number_at(reply.json, "results.0.relevance_score");
    static const char *const texts[] = {"one", "two <|im_end|>", "three"};
    const cJSON *result;
    unsigned seen = 0;
    cJSON_ArrayForEach(result, at(reply.json, "results")) {
        double score = number_at(result, "relevance_score");
        int index = (int)number_at(result, "index");
        assert_true(score <= last && score > 0);
        assert_string_equal(text_at(result, "document.text"), texts[index]);
        seen |= 1u << index;
        last = score;
    }
    assert_int_equal(seen, 7);
    assert_true(first > last);
    assert_true(number_at(reply.json, "usage.prompt_tokens") > 100);
    test_reply_free(&reply);
    reply = post(&server, "/v1/rerank", RERANK_BODY ",\"top_n\":1,\"odd\":0}");
    assert_int_equal(cJSON_GetArraySize(at(reply.json, "results")), 1);
    assert_true(fabs(number_at(reply.json, "results.0.relevance_score") - first) < 1e-4);
    assert_null(at(reply.json, "results.0.document"));
    assert_string_equal(text_at(reply.json, "warnings.0"), "unknown field: odd");
    test_reply_free(&reply);
    reply = test_request(&server, "GET", "/v1/models", NULL, NULL);
    assert_string_equal(text_at(reply.json, "data.1.carepath.use"), "rerank");
    test_reply_free(&reply);
    stop(&server);
}

static void wrong_rerank_requests_are_refused_by_name(void **state) {
    static const struct {
        const char *body;
        int status;
        const char *code, *param;
    } cases[] = {
        {"{\"documents\":[\"CANARY\"]}", 422, "missing", "query"},
        {"{\"query\":\"\",\"documents\":[\"CANARY\"]}", 422, "invalid", "query"},
        {"{\"query\":\"CANARY\"}", 422, "missing", "documents"},
        {"{\"query\":\"CANARY\",\"documents\":\"x\"}", 422, "wrong_type", "documents"},
        {"{\"query\":\"CANARY\",\"documents\":[]}", 422, "out_of_range", "documents"},
        {"{\"query\":\"CANARY\",\"documents\":[1]}", 422, "wrong_type", "documents"},
        {"{\"query\":\"CANARY\",\"documents\":[{\"t\":\"CANARY\"}]}", 422, "wrong_type",
         "documents"},
        {RERANK_BODY ",\"top_n\":0}", 422, "out_of_range", "top_n"},
        {RERANK_BODY ",\"instruction\":7}", 422, "wrong_type", "instruction"},
        {RERANK_BODY ",\"return_documents\":7}", 422, "wrong_type", "return_documents"},
        {RERANK_BODY ",\"model\":\"CANARY\"}", 404, "model_not_found", "model"},
        {RERANK_BODY, 400, "bad_json", ""},
    };
    (void)state;
    test_server server = start_reranker("CONTEXT_TOKENS=400");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_reply reply = post(&server, "/v1/rerank", cases[i].body);
        check_error(&reply, cases[i].status, cases[i].code, cases[i].param);
    }
    for (int many = 0; many < 2; many++) { /* a text beyond the context; one document too many */
        cp_strbuf body;
        cp_strbuf_init(&body, 1 << 20);
        cp_strbuf_puts(&body, "{\"query\":\"q\",\"documents\":[\"a");
        test_append_times(&body, many ? "\",\"" : "CANARY ", many ? 256 : 500);
        cp_strbuf_puts(&body, "\"]}");
        test_reply reply = post(&server, "/v1/rerank", body.data);
        check_error(&reply, many ? 422 : 400, many ? "out_of_range" : "context_length_exceeded",
                    "documents");
        cp_strbuf_deinit(&body);
    }
    stop(&server);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* What is there at the deadline is the answer; nothing at all is 504. Both are right, which one
 * depends on the machine. */
static void check_deadline(test_reply *reply) {
    if (reply->status == 200) {
        assert_string_equal(text_at(reply->json, FINISH), "length");
        assert_true(number_at(reply->json, "usage.completion_tokens") < 5000);
        test_reply_free(reply);
    } else {
        check_error(reply, 504, "deadline", "");
    }
}

static void a_deadline_ends_an_endless_answer(void **state) {
    (void)state;
    test_server server = start_model(NULL);
    test_reply reply = chat(&server, ENDLESS ",\"deadline_ms\":400}");
    check_deadline(&reply);
    reply = test_request(&server, "POST", "/v1/chat/completions",
                         JSON_TYPE "X-Deadline-Ms: 400\r\n", ENDLESS "}");
    check_deadline(&reply);
    reply = post(&server, "/v1/embeddings", "{\"input\":\"still here\"}");
    assert_int_equal(reply.status, 200);
    test_reply_free(&reply);
    stop(&server);
}

static int open_stream(const test_server *server, const char *body) {
    cp_strbuf text;
    cp_strbuf_init(&text, 1 << 16);
    cp_strbuf_printf(&text,
                     "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n" JSON_TYPE
                     "Content-Length: %zu\r\n\r\n%s",
                     strlen(body), body);
    int fd = test_connect(server);
    assert_true(test_send(fd, text.data, text.n));
    cp_strbuf_deinit(&text);
    return fd;
}

/* Waits for the n-th access line of a client that left; how many tokens it was given. */
static long await_left(const test_server *server, int n) {
    for (int i = 0; i < (int)(WAIT_S * 20); i++) {
        cp_strbuf log = test_server_log(server);
        const char *at = cp_strbuf_text(&log);
        long tokens = -1;
        for (int k = 0; k < n && at; k++)
            at = strstr(at + 1, "status=499");
        if (at)
            tokens = strtol(strstr(at, "completion_tokens=") + 18, NULL, 10);
        cp_strbuf_deinit(&log);
        if (tokens >= 0)
            return tokens;
        usleep(50000);
    }
    fail_msg("the log never tells of a client that left");
    return 0;
}

/* Both ends come long before the context is full, which would be the other end. */
static void a_client_that_leaves_ends_its_generation(void **state) {
    (void)state;
    test_server server = start_model(NULL);
    int fd = open_stream(&server, ENDLESS ",\"stream\":true}");
    test_reply head = test_receive_head(fd);
    assert_int_equal(head.status, 200);
    cp_strbuf piece;
    cp_strbuf_init(&piece, 1 << 20);
    bool whole;
    assert_true(test_receive_chunk(fd, &piece, &whole));
    test_disconnect(fd);
    assert_in_range(await_left(&server, 1), 1, 7000);
    fd = open_stream(&server, ENDLESS "}"); /* and one that gets no byte before its end */
    test_server_await_metric(&server, "carepath_requests_running", 1);
    test_disconnect(fd);
    assert_in_range(await_left(&server, 2), 0, 7000);
    test_reply reply = chat_ok(&server, "{" HELLO ",\"max_tokens\":2}"); /* the place is free */
    test_reply_free(&reply);
    test_reply_free(&head);
    cp_strbuf_deinit(&piece);
    stop(&server);
}

static void overload_is_refused_at_once(void **state) {
    (void)state;
    enum { N = 40 };
    test_server server = start_model("QUEUE_MAX=1");
    int fds[N], refused = 0;
    for (int i = 0; i < N; i++)
        fds[i] = open_stream(&server, ENDLESS ",\"stream\":true}");
    for (int tries = 0; refused == 0 && tries < 100; tries++) {
        test_reply reply = chat(&server, "{" HELLO ",\"max_tokens\":1}");
        if (reply.status == 503) {
            refused++;
            check_error(&reply, 503, "queue_full", "");
        } else {
            test_reply_free(&reply);
        }
    }
    assert_true(refused > 0);
    for (int i = 0; i < N; i++)
        test_disconnect(fds[i]);
    stop(&server);
}

/* An accepted stream that cannot end in the grace period gets an error as its last event, and no
 * [DONE]. */
static void draining_cuts_an_endless_stream_with_an_error(void **state) {
    (void)state;
    test_server server = start_model("SHUTDOWN_GRACE_S=0");
    int fd = open_stream(&server, ENDLESS ",\"stream\":true}");
    test_reply reply = test_receive_head(fd);
    assert_int_equal(reply.status, 200);
    bool whole;
    cp_strbuf_init(&reply.body, (size_t)16 << 20);
    assert_true(test_receive_chunk(fd, &reply.body, &whole));
    kill(server.pid, SIGTERM);
    while (test_receive_chunk(fd, &reply.body, &whole))
        continue;
    events all = read_events(&reply.body);
    assert_false(all.done);
    const cJSON *last = cJSON_GetArrayItem(all.list, cJSON_GetArraySize(all.list) - 1);
    assert_string_equal(text_at(last, "error.code"), "draining");
    cJSON_Delete(all.list);
    test_disconnect(fd);
    test_reply_free(&reply);
    assert_int_equal(test_server_stop(&server, 0), 0);
}

/* ---- embeddings ------------------------------------------------------------------------------ */

static void read_vector(const cJSON *list, float *out, size_t n) {
    assert_int_equal(cJSON_GetArraySize(list), n);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)cJSON_GetArrayItem(list, (int)i)->valuedouble;
}

static void embeddings_are_the_references_in_every_form(void **state) {
    enum { WIDTH = 128 };
    (void)state;
    test_server server = start_model(NULL);
    cJSON *golden = test_read_json(GOLDEN "/expected/embedding-gqa1/golden.json");
    const cJSON *item = at(golden, "embeddings.1");
    float expected[WIDTH], actual[WIDTH];
    read_vector(at(item, "embedding"), expected, WIDTH);
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "input", text_at(item, "text"));
    for (int form = 0; form < 4; form++) { /* text, base64, ids, dimensions */
        size_t n = form == 3 ? 32 : WIDTH;
        if (form == 1)
            cJSON_AddStringToObject(body, "encoding_format", "base64");
        if (form == 2) {
            cJSON_DeleteItemFromObject(body, "encoding_format");
            cJSON_ReplaceItemInObject(body, "input", cJSON_Duplicate(at(item, "ids"), true));
        }
        if (form == 3)
            cJSON_AddNumberToObject(body, "dimensions", 32);
        char *sent = cJSON_PrintUnformatted(body);
        test_reply reply = post(&server, "/v1/embeddings", sent);
        assert_int_equal(reply.status, 200);
        assert_true(number_at(reply.json, "usage.prompt_tokens") ==
                    cJSON_GetArraySize(at(item, "ids")));
        if (form == 1) {
            size_t bytes;
            unsigned char *raw = test_base64(text_at(reply.json, "data.0.embedding"), &bytes);
            assert_int_equal(bytes, sizeof actual);
            memcpy(actual, raw, bytes);
            free(raw);
        } else {
            read_vector(at(reply.json, "data.0.embedding"), actual, n);
        }
        double norm = 0, scale = 0;
        for (size_t i = 0; i < n; i++) {
            norm += (double)actual[i] * actual[i];
            scale += (double)expected[i] * expected[i];
        }
        assert_true(fabs(norm - 1) < 1e-5);
        for (size_t i = 0; i < n; i++)
            assert_true(fabs(actual[i] - expected[i] / sqrt(scale)) < 1e-4);
        cJSON_free(sent);
        test_reply_free(&reply);
    }
    cJSON_Delete(body);
    cJSON_Delete(golden);
    stop(&server);
}

static void many_embeddings_beside_a_stream(void **state) {
    (void)state;
    test_server server = start_model("CONTEXT_TOKENS=1024");
    int fd =
        open_stream(&server, "{" HELLO ",\"temperature\":0,\"max_tokens\":300,\"stream\":true}");
    cp_strbuf body;
    cp_strbuf_init(&body, 1 << 20);
    cp_strbuf_puts(&body, "{\"input\":[\"a\"");
    for (int i = 1; i < 64; i++) {
        cp_strbuf_puts(&body, ",\"");
        test_append_times(&body, "chest pain ", (size_t)i % 8 + 1);
        cp_strbuf_puts(&body, "\"");
    }
    cp_strbuf_puts(&body, "]}");
    test_reply many = post(&server, "/v1/embeddings", body.data);
    assert_int_equal(many.status, 200);
    assert_int_equal(cJSON_GetArraySize(at(many.json, "data")), 64);
    assert_true(number_at(many.json, "data.63.index") == 63);
    /* the same text has the same vector wherever it stands */
    assert_true(
        cJSON_Compare(at(many.json, "data.8.embedding"), at(many.json, "data.16.embedding"), true));
    test_reply stream = test_receive(fd, false);
    events all = read_events(&stream.body);
    assert_true(all.done);
    cJSON_Delete(all.list);
    test_disconnect(fd);
    cp_strbuf_clear(&body);
    cp_strbuf_puts(&body, "{\"input\":[\"a\",\"");
    test_append_times(&body, "CANARY ", 2000);
    cp_strbuf_puts(&body, "\"]}");
    test_reply reply = post(&server, "/v1/embeddings", body.data);
    check_error(&reply, 400, "context_length_exceeded", "input");
    cp_strbuf_deinit(&body);
    test_reply_free(&many);
    test_reply_free(&stream);
    stop(&server);
}

/* ---- what stays here ------------------------------------------------------------------------- */

static void what_is_said_is_not_logged(void **state) {
    static const char *const bodies[] = {
        "{\"messages\":[{\"role\":\"user\",\"content\":\"" CANARY_NAME "\"}],\"max_tokens\":2,"
        "\"user\":\"" CANARY_PHONE "\",\"" CANARY_NOTE "\":1}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"" CANARY_NAME "\"}],\"max_tokens\":2,"
        "\"stream\":true}",
        "{\"messages\":[{\"role\":\"" CANARY_NOTE "\",\"content\":\"" CANARY_NAME "\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"" CANARY_NAME "\"}],\"stop\":7}",
    };
    (void)state;
    test_server server = start_model(NULL);
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        test_reply reply = chat(&server, bodies[i]);
        assert_int_not_equal(reply.status, 0);
        test_reply_free(&reply);
    }
    test_reply reply = post(&server, "/v1/embeddings", "{\"input\":\"" CANARY_NAME "\"}");
    assert_int_equal(reply.status, 200);
    test_reply_free(&reply);
    stop(&server);
    cp_strbuf log = test_server_log(&server);
    assert_null(strstr(log.data, CANARY_NAME));
    assert_null(strstr(log.data, CANARY_PHONE));
    assert_null(strstr(log.data, CANARY_NOTE));
    assert_non_null(strstr(log.data, "/v1/chat/completions"));
    cp_strbuf_deinit(&log);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_stream_says_what_the_whole_says),
    cmocka_unit_test(the_same_seed_answers_the_same),
    cmocka_unit_test(a_stop_string_ends_the_answer_before_it),
    cmocka_unit_test(an_answer_keeps_its_schema_even_when_it_is_cut),
    cmocka_unit_test(log_probabilities_are_there_for_each_token),
    cmocka_unit_test(models_answer_to_their_names),
    cmocka_unit_test(refusals_have_a_status_a_code_and_a_param),
    cmocka_unit_test(a_prompt_beyond_the_context_is_told_by_the_status),
    cmocka_unit_test(a_body_may_have_a_mebibyte_and_no_more),
    cmocka_unit_test(the_mock_answers_every_endpoint),
    cmocka_unit_test(documents_come_best_first),
    cmocka_unit_test(wrong_rerank_requests_are_refused_by_name),
    cmocka_unit_test(a_deadline_ends_an_endless_answer),
    cmocka_unit_test(a_client_that_leaves_ends_its_generation),
    cmocka_unit_test(overload_is_refused_at_once),
    cmocka_unit_test(draining_cuts_an_endless_stream_with_an_error),
    cmocka_unit_test(embeddings_are_the_references_in_every_form),
    cmocka_unit_test(many_embeddings_beside_a_stream),
    cmocka_unit_test(what_is_said_is_not_logged),
};
CP_TEST_GROUP(openai_http, tests)
