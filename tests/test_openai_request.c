/* Bodies of the OpenAI-compatible API: what becomes of each field, what is refused and how, and
 * that nothing a client sent comes back in a refusal. */
#include "tests/test.h"

#include "server/openai_embeddings.h"
#include "server/openai_request.h"

#include <math.h>

#define MAX_NEW      512
#define HELLO        "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]"
#define CHAT(fields) "{" HELLO fields "}"
#define TEXT(fields) "{\"prompt\":\"Once\"" fields "}"

static bool parse(const char *body, cp_openai_kind kind, cp_openai_request *out,
                  cp_body_fault *fault) {
    *fault = (cp_body_fault){0};
    return cp_openai_request_parse((cp_str){body, strlen(body)}, kind, MAX_NEW, out, fault);
}

static cp_openai_request *accepted(const char *body, cp_openai_kind kind) {
    static cp_openai_request request;
    cp_body_fault fault;
    if (!parse(body, kind, &request, &fault))
        fail_msg("%s: refused: %s", body, fault.error.message);
    return &request;
}

static void check_refused(const char *body, cp_openai_kind kind, int status, const char *code,
                          const char *param) {
    cp_openai_request request;
    cp_body_fault fault;
    if (parse(body, kind, &request, &fault))
        fail_msg("%s: accepted", body);
    if (fault.error.status != status || strcmp(fault.error.code, code) != 0 ||
        strcmp(fault.error.param ? fault.error.param : "", param) != 0)
        fail_msg("%s: expected %d %s %s, got %d %s %s", body, status, code, param,
                 fault.error.status, fault.error.code,
                 fault.error.param ? fault.error.param : "NULL");
    assert_null(strstr(fault.error.message, "CANARY"));
    cp_openai_request_deinit(&request);
}

/* ---- chat ------------------------------------------------------------------------------------ */

static void a_full_chat_request_is_read(void **state) {
    (void)state;
    cp_openai_request *q = accepted(
        "{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":\"Be kind.\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
        "{\"type\":\"text\",\"text\":\"b\"}]},"
        "{\"role\":\"assistant\",\"content\":\"c\",\"reasoning_content\":\"r\",\"refusal\":null,"
        "\"tool_calls\":[]},{\"role\":\"user\",\"content\":\"\",\"name\":\"x\"}],"
        "\"max_tokens\":9,\"max_completion_tokens\":7,\"temperature\":0.5,\"top_p\":0.25,"
        "\"top_k\":3,\"min_p\":0.125,\"presence_penalty\":-2,\"frequency_penalty\":1.5,"
        "\"seed\":42,\"stop\":[\"x\",\"yy\"],\"stream\":true,"
        "\"stream_options\":{\"include_usage\":true},\"n\":1,\"logprobs\":true,"
        "\"top_logprobs\":2,\"chat_template_kwargs\":{\"enable_thinking\":false},"
        "\"reasoning_budget_tokens\":11,\"deadline_ms\":1500,\"user\":\"u\",\"metadata\":{},"
        "\"store\":false,\"service_tier\":\"auto\",\"parallel_tool_calls\":true,\"tools\":[],"
        "\"tool_choice\":\"none\",\"logit_bias\":{},\"response_format\":{\"type\":\"text\"}}",
        CP_OPENAI_CHAT);
    const cp_chat_message *m = q->llm.messages;
    assert_string_equal(q->model, "m");
    assert_int_equal(q->llm.n_messages, 4);
    assert_int_equal(m[0].role, CP_ROLE_SYSTEM);
    assert_string_equal(m[1].content, "a\nb");
    assert_int_equal(m[2].role, CP_ROLE_ASSISTANT);
    assert_string_equal(m[2].reasoning, "r");
    assert_string_equal(m[3].content, "");
    assert_int_equal(q->llm.max_new_tokens, 7);
    assert_string_equal(q->llm.stops[1], "yy");
    assert_null(q->llm.stops[2]);
    assert_true(q->stream && q->include_usage && q->logprobs);
    assert_int_equal(q->llm.n_top_logprobs, 2);
    assert_int_equal(q->llm.thinking, CP_THINKING_OFF);
    assert_true(q->llm.has_thinking_budget);
    assert_int_equal(q->llm.thinking_budget, 11);
    assert_string_equal(q->budget_field, "reasoning_budget_tokens");
    assert_int_equal(q->deadline_ms, 1500);
    assert_int_equal(q->warnings.n, 0);
    cp_sampling s = cp_openai_request_sampling(q, (cp_sampling){.temperature = 9, .seed = 9});
    assert_true(s.temperature == 0.5 && s.top_p == 0.25 && s.min_p == 0.125);
    assert_true(s.presence_penalty == -2 && s.frequency_penalty == 1.5);
    assert_true(s.top_k == 3 && s.seed == 42);
    cp_openai_request_deinit(q);
}

static void what_is_not_said_is_the_models(void **state) {
    (void)state;
    const cp_sampling defaults = {.temperature = 0.6,
                                  .top_k = 20,
                                  .top_p = 0.95,
                                  .min_p = 0.01,
                                  .presence_penalty = 0.5,
                                  .frequency_penalty = 0.25,
                                  .seed = 3};
    cp_openai_request *q = accepted(CHAT(",\"temperature\":null,\"stop\":null"), CP_OPENAI_CHAT);
    cp_sampling s = cp_openai_request_sampling(q, defaults);
    assert_true(s.temperature == defaults.temperature && s.top_k == defaults.top_k &&
                s.top_p == defaults.top_p && s.min_p == defaults.min_p &&
                s.presence_penalty == defaults.presence_penalty &&
                s.frequency_penalty == defaults.frequency_penalty && s.seed == defaults.seed);
    assert_false(cp_openai_request_has_seed(q));
    assert_null(q->model);
    assert_int_equal(q->llm.max_new_tokens, MAX_NEW);
    assert_int_equal(q->llm.thinking, CP_THINKING_DEFAULT);
    assert_int_equal(q->deadline_ms, CP_OPENAI_NO_DEADLINE);
    assert_null(q->budget_field);
    assert_null(q->llm.schema);
    assert_null(q->llm.stops[0]);
    cp_openai_request_deinit(q);
}

static void thinking_is_switched_under_each_name(void **state) {
    static const struct {
        const char *fields;
        cp_thinking thinking;
    } cases[] = {
        {",\"reasoning_effort\":\"none\"", CP_THINKING_OFF},
        {",\"reasoning_effort\":\"high\"", CP_THINKING_DEFAULT},
        {",\"enable_thinking\":true", CP_THINKING_ON},
        {",\"reasoning_effort\":\"none\",\"enable_thinking\":true", CP_THINKING_ON},
        {",\"enable_thinking\":true,\"chat_template_kwargs\":{\"enable_thinking\":false}",
         CP_THINKING_OFF},
        {",\"chat_template_kwargs\":{}", CP_THINKING_DEFAULT},
    };
    static const char *const budgets[] = {"thinking_budget_tokens", "reasoning_budget_tokens",
                                          "thinking_token_budget"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[256];
        snprintf(body, sizeof body, CHAT("%s"), cases[i].fields);
        cp_openai_request *q = accepted(body, CP_OPENAI_CHAT);
        assert_int_equal(q->llm.thinking, cases[i].thinking);
        cp_openai_request_deinit(q);
    }
    for (size_t i = 0; i < 3; i++) {
        char body[256];
        snprintf(body, sizeof body, CHAT(",\"%s\":0"), budgets[i]);
        cp_openai_request *q = accepted(body, CP_OPENAI_CHAT);
        assert_true(q->llm.has_thinking_budget && q->llm.thinking_budget == 0);
        assert_string_equal(q->budget_field, budgets[i]);
        cp_openai_request_deinit(q);
    }
    cp_openai_request *q =
        accepted(CHAT(",\"thinking_budget_tokens\":5,\"thinking_token_budget\":5"), CP_OPENAI_CHAT);
    assert_int_equal(q->llm.thinking_budget, 5);
    cp_openai_request_deinit(q);
}

static void a_wish_beyond_the_limit_is_cut_and_told(void **state) {
    (void)state;
    cp_openai_request *q = accepted(CHAT(",\"max_tokens\":100000"), CP_OPENAI_CHAT);
    assert_int_equal(q->llm.max_new_tokens, MAX_NEW);
    assert_int_equal(q->warnings.n, 1);
    assert_string_equal(q->warnings.text[0], "max_tokens was cut to 512 (MAX_NEW_TOKENS)");
    cp_openai_request_deinit(q);
}

static void unknown_fields_are_told_without_their_values(void **state) {
    (void)state;
    cp_openai_request *q =
        accepted("{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"mood\":\"CANARY\"}],"
                 "\"repetition_penalty\":1.1,\"<script>alert(1)\\n\":\"CANARY\","
                 "\"stream_options\":{\"every\":1},\"chat_template_kwargs\":{\"style\":\"CANARY\"},"
                 "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\":1}",
                 CP_OPENAI_CHAT);
    static const char *const expected[] = {
        "unknown field: repetition_penalty",
        "unknown field: scriptalert1",
        "unknown field: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "unknown field: messages[0].mood",
        "unknown field: stream_options.every",
        "unknown field: chat_template_kwargs.style",
    };
    assert_int_equal(q->warnings.n, 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(q->warnings.text[i], expected[i]);
    cp_openai_request_deinit(q);
}

static void very_many_unknown_fields_are_bounded(void **state) {
    (void)state;
    cp_strbuf body;
    cp_strbuf_init(&body, 1 << 20);
    cp_strbuf_puts(&body, "{" HELLO);
    for (int i = 0; i < 2000; i++)
        cp_strbuf_printf(&body, ",\"u%d\":%d", i, i);
    cp_strbuf_putc(&body, '}');
    cp_openai_request *q = accepted(body.data, CP_OPENAI_CHAT);
    assert_int_equal(q->warnings.n, CP_OPENAI_MAX_WARNINGS);
    cp_openai_request_deinit(q);
    cp_strbuf_deinit(&body);
}

static size_t count_nodes(const cJSON *tree) {
    size_t n = 1;
    const cJSON *child;
    cJSON_ArrayForEach(child, tree) n += count_nodes(child);
    return n;
}

/* What waits must not hold a tree many times the size of its text. */
static void a_parsed_request_keeps_texts_only(void **state) {
    (void)state;
    cp_strbuf body;
    cp_strbuf_init(&body, 1 << 20);
    cp_strbuf_puts(&body, "{\"messages\":[{\"role\":\"user\",\"annotations\":[1");
    test_append_times(&body, ",1", 50000);
    cp_strbuf_puts(&body, "],\"content\":[{\"type\":\"text\",\"text\":\"a\"}");
    test_append_times(&body, ",{\"type\":\"text\",\"text\":\"\"}", 10000);
    cp_strbuf_puts(&body, "]}],\"stop\":[\"s\"],\"metadata\":[0");
    test_append_times(&body, ",0", 50000);
    cp_strbuf_puts(&body, "]}");
    cp_openai_request *q = accepted(body.data, CP_OPENAI_CHAT);
    assert_in_range(count_nodes(q->tree), 1, 20);
    assert_int_equal(strlen(q->llm.messages[0].content), 10001);
    assert_string_equal(q->llm.stops[0], "s");
    cp_openai_request_deinit(q);
    cp_strbuf_deinit(&body);
}

static void wrong_chat_fields_are_refused_by_name(void **state) {
    static const struct {
        const char *body;
        int status;
        const char *code, *param;
    } cases[] = {
        {"", 400, "bad_json", ""},
        {"[]", 400, "bad_json", ""},
        {"{\"messages\":[],}", 400, "bad_json", ""},
        {"{" HELLO "," HELLO "}", 400, "bad_json", ""},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"CANARY\\u0000\"}]}", 400, "bad_json", ""},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}", 400, "bad_json", ""},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"\\ud800\"}]}", 400, "bad_json", ""},
        {"{}", 422, "missing", "messages"},
        {"{\"messages\":null}", 422, "missing", "messages"},
        {"{\"messages\":{}}", 422, "wrong_type", "messages"},
        {"{\"messages\":[]}", 422, "out_of_range", "messages"},
        {"{\"messages\":[\"CANARY\"]}", 422, "wrong_type", "messages"},
        {"{\"messages\":[null]}", 422, "wrong_type", "messages"},
        {"{\"messages\":[{}]}", 422, "missing", "messages[0].role"},
        {"{\"messages\":[{\"role\":7,\"content\":\"x\"}]}", 422, "wrong_type", "messages[0].role"},
        {"{\"messages\":[{\"role\":\"CANARY\",\"content\":\"x\"}]}", 422, "invalid",
         "messages[0].role"},
        {"{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", 400, "unsupported",
         "messages[0].role"},
        {"{\"messages\":[{\"role\":\"user\"}]}", 422, "missing", "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":7}]}", 422, "wrong_type",
         "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[]}]}", 422, "invalid",
         "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[\"CANARY\"]}]}", 422, "wrong_type",
         "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}", 422,
         "wrong_type", "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"user\",\"content\":"
         "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image_url\",\"image_url\":{\"url\":"
         "\"CANARY\"}}]}]}",
         400, "unsupported", "messages[1].content"},
        {"{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{}]}]}", 400,
         "unsupported", "messages[0].tool_calls"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"reasoning_content\":\"y\"}]}", 422,
         "invalid", "messages[0].reasoning_content"},
        {CHAT(",\"model\":7"), 422, "wrong_type", "model"},
        {CHAT(",\"temperature\":\"CANARY\""), 422, "wrong_type", "temperature"},
        {CHAT(",\"temperature\":1e999"), 422, "out_of_range", "temperature"},
        {CHAT(",\"temperature\":-0.1"), 422, "out_of_range", "temperature"},
        {CHAT(",\"temperature\":2.01"), 422, "out_of_range", "temperature"},
        {CHAT(",\"top_p\":1.5"), 422, "out_of_range", "top_p"},
        {CHAT(",\"top_k\":-2"), 422, "out_of_range", "top_k"},
        {CHAT(",\"top_k\":1.5"), 422, "out_of_range", "top_k"},
        {CHAT(",\"min_p\":-1"), 422, "out_of_range", "min_p"},
        {CHAT(",\"presence_penalty\":2.5"), 422, "out_of_range", "presence_penalty"},
        {CHAT(",\"frequency_penalty\":-2.5"), 422, "out_of_range", "frequency_penalty"},
        {CHAT(",\"seed\":1e300"), 422, "out_of_range", "seed"},
        {CHAT(",\"seed\":\"CANARY\""), 422, "wrong_type", "seed"},
        {CHAT(",\"max_tokens\":0"), 422, "out_of_range", "max_tokens"},
        {CHAT(",\"max_tokens\":-5"), 422, "out_of_range", "max_tokens"},
        {CHAT(",\"max_completion_tokens\":1e18"), 422, "out_of_range", "max_completion_tokens"},
        {CHAT(",\"stop\":7"), 422, "wrong_type", "stop"},
        {CHAT(",\"stop\":[null]"), 422, "wrong_type", "stop"},
        {CHAT(",\"stop\":\"\""), 422, "out_of_range", "stop"},
        {CHAT(",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"CANARY\"]"), 422, "out_of_range", "stop"},
        {CHAT(",\"n\":2"), 400, "unsupported", "n"},
        {CHAT(",\"n\":0"), 422, "out_of_range", "n"},
        {CHAT(",\"stream\":\"true\""), 422, "wrong_type", "stream"},
        {CHAT(",\"stream_options\":[]"), 422, "wrong_type", "stream_options"},
        {CHAT(",\"stream_options\":{\"include_usage\":1}"), 422, "wrong_type",
         "stream_options.include_usage"},
        {CHAT(",\"logprobs\":3"), 422, "wrong_type", "logprobs"},
        {CHAT(",\"top_logprobs\":3"), 422, "invalid", "top_logprobs"},
        {CHAT(",\"logprobs\":true,\"top_logprobs\":21"), 422, "out_of_range", "top_logprobs"},
        {CHAT(",\"tools\":[{\"type\":\"function\"}]"), 400, "unsupported", "tools"},
        {CHAT(",\"functions\":[{}]"), 400, "unsupported", "functions"},
        {CHAT(",\"tool_choice\":\"required\""), 400, "unsupported", "tool_choice"},
        {CHAT(",\"logit_bias\":{\"1\":5}"), 400, "unsupported", "logit_bias"},
        {CHAT(",\"modalities\":[\"audio\"]"), 400, "unsupported", "modalities"},
        {CHAT(",\"audio\":{\"voice\":\"CANARY\"}"), 400, "unsupported", "audio"},
        {CHAT(",\"reasoning_effort\":\"CANARY\""), 422, "invalid", "reasoning_effort"},
        {CHAT(",\"enable_thinking\":\"yes\""), 422, "wrong_type", "enable_thinking"},
        {CHAT(",\"chat_template_kwargs\":{\"enable_thinking\":0}"), 422, "wrong_type",
         "chat_template_kwargs.enable_thinking"},
        {CHAT(",\"thinking_budget_tokens\":-1"), 422, "out_of_range", "thinking_budget_tokens"},
        {CHAT(",\"thinking_budget_tokens\":1,\"thinking_token_budget\":2"), 422, "invalid",
         "thinking_token_budget"},
        {CHAT(",\"deadline_ms\":0"), 422, "out_of_range", "deadline_ms"},
        {CHAT(",\"deadline_ms\":3600001"), 422, "out_of_range", "deadline_ms"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_refused(cases[i].body, CP_OPENAI_CHAT, cases[i].status, cases[i].code,
                      cases[i].param);
}

static void too_many_messages_and_long_stops_are_refused(void **state) {
    (void)state;
    cp_strbuf body;
    cp_strbuf_init(&body, 1 << 20);
    cp_strbuf_puts(&body, "{\"messages\":[");
    for (int i = 0; i < CP_OPENAI_MAX_MESSAGES; i++)
        cp_strbuf_puts(&body, "{\"role\":\"user\",\"content\":\"x\"},");
    cp_strbuf_truncate(&body, body.n - 1);
    cp_strbuf_puts(&body, "]}");
    cp_openai_request_deinit(accepted(body.data, CP_OPENAI_CHAT));
    cp_strbuf_truncate(&body, body.n - 2);
    cp_strbuf_puts(&body, ",{\"role\":\"user\",\"content\":\"x\"}]}");
    check_refused(body.data, CP_OPENAI_CHAT, 422, "out_of_range", "messages");
    cp_strbuf_clear(&body);
    cp_strbuf_puts(&body, "{" HELLO ",\"stop\":\"");
    test_append_times(&body, "s", CP_OPENAI_MAX_STOP_BYTES);
    cp_strbuf_puts(&body, "\"}");
    cp_openai_request_deinit(accepted(body.data, CP_OPENAI_CHAT));
    cp_strbuf_truncate(&body, body.n - 2);
    cp_strbuf_puts(&body, "s\"}");
    check_refused(body.data, CP_OPENAI_CHAT, 422, "out_of_range", "stop");
    cp_strbuf_deinit(&body);
}

/* ---- response_format ------------------------------------------------------------------------- */

#define SCHEMA(fields)                                                                             \
    CHAT(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{" fields "}}")

static void formats_become_schemas(void **state) {
    (void)state;
    cp_openai_request *q = accepted(
        SCHEMA("\"name\":\"triage\",\"strict\":true,\"description\":\"d\",\"schema\":{\"type\":"
               "\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}"),
        CP_OPENAI_CHAT);
    assert_non_null(q->llm.schema);
    cp_openai_request_deinit(q);
    q = accepted(CHAT(",\"response_format\":{\"type\":\"json_object\"}"), CP_OPENAI_CHAT);
    assert_non_null(q->llm.schema);
    cp_openai_request_deinit(q);
    q = accepted(CHAT(",\"response_format\":{\"type\":\"text\"},\"stop\":\"x\""), CP_OPENAI_CHAT);
    assert_null(q->llm.schema);
    cp_openai_request_deinit(q);
}

static void wrong_formats_are_refused_by_name(void **state) {
    static const struct {
        const char *body;
        int status;
        const char *code, *param;
    } cases[] = {
        {CHAT(",\"response_format\":\"json\""), 422, "wrong_type", "response_format"},
        {CHAT(",\"response_format\":{}"), 422, "missing", "response_format.type"},
        {CHAT(",\"response_format\":{\"type\":\"CANARY\"}"), 422, "invalid",
         "response_format.type"},
        {CHAT(",\"response_format\":{\"type\":\"json_schema\"}"), 422, "missing",
         "response_format.json_schema"},
        {SCHEMA("\"name\":\"x\""), 422, "missing", "response_format.json_schema.schema"},
        {SCHEMA("\"name\":\"\",\"schema\":{}"), 422, "out_of_range",
         "response_format.json_schema.name"},
        {SCHEMA("\"name\":7,\"schema\":{}"), 422, "wrong_type", "response_format.json_schema.name"},
        {SCHEMA("\"strict\":7,\"schema\":{}"), 422, "wrong_type",
         "response_format.json_schema.strict"},
        {SCHEMA("\"schema\":7"), 400, "unsupported_schema", "response_format"},
        {SCHEMA("\"schema\":{\"type\":\"string\",\"pattern\":\"CANARY\"}"), 400,
         "unsupported_schema", "response_format"},
        {CHAT(",\"stop\":\"x\",\"response_format\":{\"type\":\"json_object\"}"), 400, "unsupported",
         "stop"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_refused(cases[i].body, CP_OPENAI_CHAT, cases[i].status, cases[i].code,
                      cases[i].param);
}

static void an_unsupported_keyword_is_named(void **state) {
    (void)state;
    cp_openai_request request;
    cp_body_fault fault;
    assert_false(parse(SCHEMA("\"schema\":{\"type\":\"object\",\"properties\":{\"zip\":{\"type\":"
                              "\"string\",\"pattern\":\"^[0-9]*$\"}}}"),
                       CP_OPENAI_CHAT, &request, &fault));
    assert_non_null(strstr(fault.error.message, "\"pattern\""));
    assert_non_null(strstr(fault.error.message, "/properties/zip"));
    cp_openai_request_deinit(&request);
}

/* ---- text completions ------------------------------------------------------------------------ */

static void text_completions_are_read(void **state) {
    (void)state;
    cp_openai_request *q = accepted(TEXT(",\"logprobs\":0,\"seed\":-1,\"echo\":false,\"suffix\":"
                                         "\"\",\"best_of\":1,\"max_tokens\":3,\"top_k\":-1"),
                                    CP_OPENAI_TEXT);
    assert_string_equal(q->llm.text, "Once");
    assert_int_equal(q->llm.n_messages, 0);
    assert_true(q->logprobs);
    assert_int_equal(q->llm.n_top_logprobs, 0);
    cp_sampling s = cp_openai_request_sampling(q, (cp_sampling){.top_k = 20});
    assert_true(s.seed == UINT64_MAX && s.top_k == 0);
    assert_int_equal(q->warnings.n, 0);
    cp_openai_request_deinit(q);
    q = accepted("{\"prompt\":[\"One\"]}", CP_OPENAI_TEXT);
    assert_string_equal(q->llm.text, "One");
    assert_false(q->logprobs);
    cp_openai_request_deinit(q);
    q = accepted(TEXT(",\"messages\":[]"), CP_OPENAI_TEXT); /* the other endpoint's */
    assert_string_equal(q->warnings.text[0], "unknown field: messages");
    cp_openai_request_deinit(q);
}

static void wrong_text_fields_are_refused_by_name(void **state) {
    static const struct {
        const char *body;
        int status;
        const char *code, *param;
    } cases[] = {
        {"{}", 422, "missing", "prompt"},
        {"{\"prompt\":\"\"}", 422, "invalid", "prompt"},
        {"{\"prompt\":7}", 422, "wrong_type", "prompt"},
        {"{\"prompt\":[]}", 400, "unsupported", "prompt"},
        {"{\"prompt\":[\"CANARY\",\"b\"]}", 400, "unsupported", "prompt"},
        {"{\"prompt\":[1]}", 422, "wrong_type", "prompt"},
        {TEXT(",\"echo\":true"), 400, "unsupported", "echo"},
        {TEXT(",\"suffix\":\"CANARY\""), 400, "unsupported", "suffix"},
        {TEXT(",\"best_of\":3"), 400, "unsupported", "best_of"},
        {TEXT(",\"logprobs\":true"), 422, "wrong_type", "logprobs"},
        {TEXT(",\"logprobs\":21"), 422, "out_of_range", "logprobs"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_refused(cases[i].body, CP_OPENAI_TEXT, cases[i].status, cases[i].code,
                      cases[i].param);
}

/* ---- embeddings ------------------------------------------------------------------------------ */

#define WIDTH 128
#define N_IDS 512

static bool parse_embeddings(const char *body, cp_openai_embeddings *out, cp_body_fault *fault) {
    const cp_embedding_limits limits = {.width = WIDTH, .n_ids = N_IDS, .context = 5};
    *fault = (cp_body_fault){0};
    return cp_openai_embeddings_parse((cp_str){body, strlen(body)}, &limits, out, fault);
}

static void embedding_inputs_come_in_four_forms(void **state) {
    static cp_openai_embeddings q;
    cp_body_fault fault;
    (void)state;
    assert_true(parse_embeddings("{\"input\":\"one\",\"model\":\"m\",\"encoding_format\":"
                                 "\"base64\",\"dimensions\":32,\"user\":\"u\",\"why\":1}",
                                 &q, &fault));
    assert_int_equal(q.n_inputs, 1);
    assert_string_equal(q.inputs[0].text, "one");
    assert_true(q.base64 && q.dimensions == 32);
    assert_int_equal(q.warnings.n, 1);
    cp_openai_embeddings_deinit(&q);
    assert_true(parse_embeddings("{\"input\":[\"one\",\"two\"]}", &q, &fault));
    assert_true(q.n_inputs == 2 && !q.base64 && q.dimensions == WIDTH);
    assert_string_equal(q.inputs[1].text, "two");
    cp_openai_embeddings_deinit(&q);
    assert_true(parse_embeddings("{\"input\":[1,2,511]}", &q, &fault));
    assert_true(q.n_inputs == 1 && q.inputs[0].n_ids == 3 && q.inputs[0].ids[2] == 511);
    cp_openai_embeddings_deinit(&q);
    assert_true(parse_embeddings("{\"input\":[[1,2],[3]]}", &q, &fault));
    assert_true(q.n_inputs == 2 && q.inputs[0].n_ids == 2 && q.inputs[1].ids[0] == 3);
    assert_null(q.inputs[0].text);
    assert_null(q.tree->child); /* nothing of it is needed any more */
    cp_openai_embeddings_deinit(&q);
    assert_false(parse_embeddings("{\"input\":[[1,2,3,4,5],[1,2,3,4,5,6]]}", &q, &fault));
    assert_int_equal(fault.error.status, 400);
    assert_string_equal(fault.error.code, "context_length_exceeded");
    cp_openai_embeddings_deinit(&q);
}

static void wrong_embedding_fields_are_refused_by_name(void **state) {
    static const struct {
        const char *body, *code, *param;
    } cases[] = {
        {"{}", "missing", "input"},
        {"{\"input\":7}", "wrong_type", "input"},
        {"{\"input\":{}}", "wrong_type", "input"},
        {"{\"input\":\"\"}", "invalid", "input"},
        {"{\"input\":[]}", "out_of_range", "input"},
        {"{\"input\":[\"CANARY\",1]}", "wrong_type", "input"},
        {"{\"input\":[1,\"CANARY\"]}", "wrong_type", "input"},
        {"{\"input\":[1,[2]]}", "wrong_type", "input"},
        {"{\"input\":[[1],2]}", "wrong_type", "input"},
        {"{\"input\":[[1],[]]}", "invalid", "input"},
        {"{\"input\":[[\"CANARY\"]]}", "wrong_type", "input"},
        {"{\"input\":[512]}", "out_of_range", "input"},
        {"{\"input\":[-1]}", "out_of_range", "input"},
        {"{\"input\":[1.5]}", "out_of_range", "input"},
        {"{\"input\":[1e300]}", "out_of_range", "input"},
        {"{\"input\":\"a\",\"dimensions\":0}", "out_of_range", "dimensions"},
        {"{\"input\":\"a\",\"dimensions\":129}", "out_of_range", "dimensions"},
        {"{\"input\":\"a\",\"encoding_format\":\"CANARY\"}", "invalid", "encoding_format"},
        {"{\"input\":\"a\",\"model\":[]}", "wrong_type", "model"},
    };
    static cp_openai_embeddings q;
    cp_body_fault fault;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (parse_embeddings(cases[i].body, &q, &fault) || fault.error.status != 422 ||
            strcmp(fault.error.code, cases[i].code) != 0)
            fail_msg("%s: expected 422 %s, got %d %s", cases[i].body, cases[i].code,
                     fault.error.status, fault.error.code ? fault.error.code : "");
        assert_string_equal(fault.error.param, cases[i].param);
        assert_null(strstr(fault.error.message, "CANARY"));
        cp_openai_embeddings_deinit(&q);
    }
    cp_strbuf body;
    cp_strbuf_init(&body, 1 << 16);
    cp_strbuf_puts(&body, "{\"input\":[\"a\"");
    test_append_times(&body, ",\"a\"", CP_OPENAI_MAX_INPUTS - 1);
    cp_strbuf_puts(&body, "]}");
    assert_true(parse_embeddings(body.data, &q, &fault));
    assert_int_equal(q.n_inputs, CP_OPENAI_MAX_INPUTS);
    cp_openai_embeddings_deinit(&q);
    cp_strbuf_truncate(&body, body.n - 2);
    cp_strbuf_puts(&body, ",\"a\"]}");
    assert_false(parse_embeddings(body.data, &q, &fault));
    assert_string_equal(fault.error.code, "out_of_range");
    cp_openai_embeddings_deinit(&q);
    cp_strbuf_deinit(&body);
}

/* ---- hostile bodies -------------------------------------------------------------------------- */

/* A right body with bytes changed, dropped and doubled: never a crash, and a refusal is whole. */
static void broken_bodies_are_refused_or_read(void **state) {
    static const char good[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
        "\"text\":\"a\"}]},{\"role\":\"assistant\",\"content\":\"b\"}],\"stop\":[\"x\"],"
        "\"temperature\":0.5,\"seed\":12,\"thinking_budget_tokens\":3,\"logprobs\":true,"
        "\"top_logprobs\":2}";
    uint64_t seed = 20261121;
    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 20000; round++) {
        char body[2 * sizeof good];
        size_t n = sizeof good - 1;
        memcpy(body, good, n);
        for (int k = 0; k < 3; k++) {
            size_t at = test_random(&seed) % n;
            unsigned what = (unsigned)(test_random(&seed) >> 40) % 3;
            if (what == 0) {
                body[at] = (char)(test_random(&seed) >> 24);
            } else if (what == 1) {
                memmove(body + at, body + at + 1, --n - at);
            } else {
                memmove(body + at + 1, body + at, n++ - at);
            }
        }
        cp_openai_request request;
        cp_body_fault fault = {0};
        if (!cp_openai_request_parse((cp_str){body, n}, CP_OPENAI_CHAT, MAX_NEW, &request,
                                     &fault)) {
            assert_in_range(fault.error.status, 400, 422);
            assert_non_null(fault.error.code);
            assert_true(strlen(fault.error.message) > 0);
        }
        cp_openai_request_deinit(&request);
    }
}

static void deep_and_wide_bodies_are_bounded(void **state) {
    (void)state;
    cp_strbuf body;
    cp_strbuf_init(&body, 1 << 20);
    cp_strbuf_puts(&body, "{" HELLO ",\"metadata\":");
    test_append_times(&body, "[", 100000);
    test_append_times(&body, "]", 100000);
    cp_strbuf_putc(&body, '}');
    check_refused(body.data, CP_OPENAI_CHAT, 400, "bad_json", "");
    cp_strbuf_clear(&body);
    cp_strbuf_puts(&body,
                   "{" HELLO ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":"
                   "{\"schema\":{\"enum\":[0");
    for (int i = 1; i < 50000; i++)
        cp_strbuf_printf(&body, ",%d", i);
    cp_strbuf_puts(&body, "]}}}}");
    check_refused(body.data, CP_OPENAI_CHAT, 400, "unsupported_schema", "response_format");
    cp_strbuf_deinit(&body);
}

/* Each allocation fails once: 503 or success, and nothing leaks (the sanitizer looks). */
static void every_allocation_may_fail(void **state) {
    static const char body[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}],"
        "\"response_format\":{\"type\":\"json_object\"}}";
    (void)state;
    for (long n = 1;; n++) {
        cp_openai_request request;
        cp_body_fault fault = {0};
        test_alloc_reset();
        test_alloc_fail_at(n, 0);
        bool ok = cp_openai_request_parse(CP_STR(body), CP_OPENAI_CHAT, MAX_NEW, &request, &fault);
        long used = test_alloc_count();
        test_alloc_fail_at(0, 0);
        if (!ok)
            assert_int_equal(fault.error.status, 503);
        cp_openai_request_deinit(&request);
        if (ok && used < n)
            break;
        assert_true(n < 1000);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_full_chat_request_is_read),
    cmocka_unit_test(what_is_not_said_is_the_models),
    cmocka_unit_test(thinking_is_switched_under_each_name),
    cmocka_unit_test(a_wish_beyond_the_limit_is_cut_and_told),
    cmocka_unit_test(unknown_fields_are_told_without_their_values),
    cmocka_unit_test(very_many_unknown_fields_are_bounded),
    cmocka_unit_test(a_parsed_request_keeps_texts_only),
    cmocka_unit_test(wrong_chat_fields_are_refused_by_name),
    cmocka_unit_test(too_many_messages_and_long_stops_are_refused),
    cmocka_unit_test(formats_become_schemas),
    cmocka_unit_test(wrong_formats_are_refused_by_name),
    cmocka_unit_test(an_unsupported_keyword_is_named),
    cmocka_unit_test(text_completions_are_read),
    cmocka_unit_test(wrong_text_fields_are_refused_by_name),
    cmocka_unit_test(embedding_inputs_come_in_four_forms),
    cmocka_unit_test(wrong_embedding_fields_are_refused_by_name),
    cmocka_unit_test(broken_bodies_are_refused_or_read),
    cmocka_unit_test(deep_and_wide_bodies_are_bounded),
    cmocka_unit_test(every_allocation_may_fail),
};
CP_TEST_GROUP(openai_request, tests)
