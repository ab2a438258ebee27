/* What the OpenAI-compatible API answers, from results made by hand: objects, chunks, log
 * probabilities, embeddings. */
#include "tests/test.h"

#include "base/base64.h"
#include "server/openai_embeddings.h"
#include "server/openai_reply.h"

#include <math.h>

#define TRACE "0123456789abcdef0123456789abcdef"

typedef struct fixture {
    cp_openai_request request;
    cp_openai_answer answer;
    cp_openai_logprobs logprobs;
    cp_llm_result result;
    cp_strbuf out;
} fixture;

static void setup(fixture *f, const char *body, cp_openai_kind kind) {
    cp_body_fault fault;
    *f = (fixture){0};
    if (!cp_openai_request_parse((cp_str){body, strlen(body)}, kind, 512, &f->request, &fault))
        fail_msg("%s", fault.error.message);
    f->answer = (cp_openai_answer){.trace_id = TRACE,
                                   .created = 1700000000,
                                   .model = "Tiny",
                                   .fingerprint = "Tiny int4",
                                   .request = &f->request};
    cp_llm_result_init(&f->result);
    cp_strbuf_puts(&f->result.answer, "Hello \"you\"\n");
    f->result.prompt_tokens = 30;
    f->result.cached_tokens = 10;
    f->result.sampled_tokens = 8;
    f->result.appended_tokens = 2;
    f->result.thinking_tokens = 3;
    f->result.thinking_planned = CP_LLM_NO_LIMIT;
    f->result.prompt_ms = 100;
    f->result.generate_ms = 400;
    f->result.queue_ms = 1.5;
    f->result.drafted_tokens = 4;
    f->result.accepted_tokens = 1;
    f->result.seed = 77;
    f->result.finish = CP_FINISH_STOP;
    cp_strbuf_init(&f->out, 1 << 20);
}

static void teardown(fixture *f) {
    cp_openai_request_deinit(&f->request);
    cp_openai_logprobs_deinit(&f->logprobs);
    cp_llm_result_deinit(&f->result);
    cp_strbuf_deinit(&f->out);
}

#define CHAT "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"

/* The value at "choices.0.message"; fails when there is none. */
static const cJSON *at(const cJSON *tree, const char *path) {
    char key[64];
    const cJSON *value = tree;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, p);
        value = cJSON_IsArray(value) ? cJSON_GetArrayItem(value, atoi(key))
                                     : cJSON_GetObjectItemCaseSensitive(value, key);
        if (!value)
            fail_msg("no %s", path);
        p += n + (p[n] == '.');
    }
    return value;
}

static void check_text(const cJSON *tree, const char *path, const char *expected) {
    const cJSON *value = at(tree, path);
    if (!cJSON_IsString(value) || strcmp(value->valuestring, expected) != 0)
        fail_msg("%s is not \"%s\"", path, expected);
}

static void check_number(const cJSON *tree, const char *path, double expected) {
    const cJSON *value = at(tree, path);
    if (!cJSON_IsNumber(value) || fabs(value->valuedouble - expected) > 1e-9 * fabs(expected))
        fail_msg("%s is %g, not %g", path, value->valuedouble, expected);
}

static void check_null(const cJSON *tree, const char *path) {
    if (!cJSON_IsNull(at(tree, path)))
        fail_msg("%s is not null", path);
}

static cJSON *read_json(const char *text, size_t n) {
    cJSON *tree;
    cp_error err;
    assert_cp_ok(cp_json_parse("reply", text, n, &tree, &err));
    return tree;
}

/* ---- whole objects ---------------------------------------------------------------------------
 */

static void a_chat_completion_has_all_parts(void **state) {
    fixture f;
    (void)state;
    setup(&f, CHAT ",\"thinking_token_budget\":9,\"colour\":1}", CP_OPENAI_CHAT);
    f.result.has_thinking = true;
    f.result.thinking_planned = 9;
    f.result.thinking_truncated = true;
    cp_strbuf_puts(&f.result.thinking, "hm");
    cp_openai_reply_append(&f.answer, &f.result, &f.out);
    cJSON *tree = read_json(f.out.data, f.out.n);
    check_text(tree, "id", "chatcmpl-" TRACE);
    check_text(tree, "object", "chat.completion");
    check_number(tree, "created", 1700000000);
    check_text(tree, "model", "Tiny");
    check_text(tree, "system_fingerprint", "Tiny int4");
    check_text(tree, "choices.0.message.role", "assistant");
    check_text(tree, "choices.0.message.content", "Hello \"you\"\n");
    check_text(tree, "choices.0.message.reasoning_content", "hm");
    check_text(tree, "choices.0.finish_reason", "stop");
    check_null(tree, "choices.0.logprobs");
    check_number(tree, "usage.prompt_tokens", 30);
    check_number(tree, "usage.completion_tokens", 8);
    check_number(tree, "usage.total_tokens", 38);
    check_number(tree, "usage.prompt_tokens_details.cached_tokens", 10);
    check_number(tree, "usage.completion_tokens_details.reasoning_tokens", 3);
    check_number(tree, "timings.cache_n", 10);
    check_number(tree, "timings.prompt_n", 20);
    check_number(tree, "timings.prompt_per_second", 200);
    check_number(tree, "timings.predicted_n", 8);
    check_number(tree, "timings.predicted_per_second", 20);
    check_number(tree, "timings.draft_n", 4);
    check_number(tree, "timings.draft_n_accepted", 1);
    assert_true(cJSON_IsTrue(at(tree, "carepath.thinking_truncated")));
    check_text(tree, "carepath.thinking_budget.field", "thinking_token_budget");
    check_number(tree, "carepath.thinking_budget.requested", 9);
    check_number(tree, "carepath.thinking_budget.planned", 9);
    check_number(tree, "carepath.thinking_budget.used", 3);
    check_number(tree, "carepath.appended_tokens", 2);
    check_number(tree, "carepath.seed", 77);
    check_number(tree, "carepath.queue_ms", 1.5);
    check_text(tree, "warnings.0", "unknown field: colour");
    cJSON_Delete(tree);
    teardown(&f);
}

static void what_was_not_there_is_null_or_absent(void **state) {
    fixture f;
    (void)state;
    setup(&f, CHAT "}", CP_OPENAI_CHAT);
    f.result.sampled_tokens = f.result.prompt_tokens = f.result.cached_tokens = 0;
    cp_openai_reply_append(&f.answer, &f.result, &f.out);
    cJSON *tree = read_json(f.out.data, f.out.n);
    const cJSON *message = at(tree, "choices.0.message");
    assert_null(cJSON_GetObjectItemCaseSensitive(message, "reasoning_content"));
    assert_null(cJSON_GetObjectItemCaseSensitive(tree, "warnings"));
    assert_null(cJSON_GetObjectItemCaseSensitive(at(tree, "carepath"), "structured"));
    check_null(tree, "timings.prompt_per_second");
    check_null(tree, "timings.predicted_per_second");
    check_null(tree, "carepath.thinking_budget.field");
    check_null(tree, "carepath.thinking_budget.requested");
    check_null(tree, "carepath.thinking_budget.planned");
    cJSON_Delete(tree);
    teardown(&f);
}

static void a_structured_answer_tells_what_the_model_did_not_say(void **state) {
    fixture f;
    (void)state;
    setup(&f, CHAT ",\"response_format\":{\"type\":\"json_object\"}}", CP_OPENAI_CHAT);
    f.result.structured =
        (cp_structured_report){.forced_tokens = 5, .tail_tokens = 2, .tail_bytes = 9};
    cp_openai_reply_append(&f.answer, &f.result, &f.out);
    cJSON *tree = read_json(f.out.data, f.out.n);
    check_number(tree, "carepath.structured.forced_tokens", 5);
    check_number(tree, "carepath.structured.tail_tokens", 2);
    check_number(tree, "carepath.structured.tail_bytes", 9);
    cJSON_Delete(tree);
    teardown(&f);
}

static void a_text_completion_has_its_own_shape(void **state) {
    fixture f;
    (void)state;
    setup(&f, "{\"prompt\":\"p\"}", CP_OPENAI_TEXT);
    f.result.finish = CP_FINISH_LENGTH;
    cp_openai_reply_append(&f.answer, &f.result, &f.out);
    cJSON *tree = read_json(f.out.data, f.out.n);
    check_text(tree, "id", "cmpl-" TRACE);
    check_text(tree, "object", "text_completion");
    check_text(tree, "choices.0.text", "Hello \"you\"\n");
    check_text(tree, "choices.0.finish_reason", "length");
    check_null(tree, "choices.0.logprobs");
    cJSON_Delete(tree);
    teardown(&f);
}

/* ---- streams ---------------------------------------------------------------------------------
 */

/* Takes one event off the front of `out`; NULL for [DONE]. */
static cJSON *next_event(cp_strbuf *out) {
    assert_true(strncmp(cp_strbuf_text(out), "data: ", 6) == 0);
    const char *end = strstr(out->data, "\n\n");
    assert_non_null(end);
    size_t n = (size_t)(end - out->data);
    assert_null(memchr(out->data, '\n', n)); /* one line an event */
    cJSON *tree =
        strncmp(out->data, "data: [DONE]", n) == 0 ? NULL : read_json(out->data + 6, n - 6);
    cp_strbuf_consume(out, n + 2);
    return tree;
}

static void a_chat_stream_is_role_text_finish_usage_done(void **state) {
    fixture f;
    (void)state;
    setup(&f, CHAT ",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"odd\":1}",
          CP_OPENAI_CHAT);
    cp_openai_chunk_begin(&f.answer, &f.out);
    cp_openai_chunk_text(&f.answer, CP_TEXT_THINKING, CP_STR("hm\n\nm"), &f.out);
    cp_openai_chunk_text(&f.answer, CP_TEXT_ANSWER, CP_STR("Yes\n\ndata: x"), &f.out);
    cp_openai_chunk_end(&f.answer, &f.result, &f.out);

    cJSON *role = next_event(&f.out), *thought = next_event(&f.out), *text = next_event(&f.out);
    cJSON *finish = next_event(&f.out), *usage = next_event(&f.out);
    assert_null(next_event(&f.out));
    assert_int_equal(f.out.n, 0);
    const cJSON *const all[] = {role, thought, text, finish, usage};
    for (size_t i = 0; i < 5; i++) {
        check_text(all[i], "id", "chatcmpl-" TRACE);
        check_text(all[i], "object", "chat.completion.chunk");
        if (i < 4)
            check_null(all[i], "usage");
        if (i < 3)
            check_null(all[i], "choices.0.finish_reason");
    }
    check_text(role, "choices.0.delta.role", "assistant");
    check_text(thought, "choices.0.delta.reasoning_content", "hm\n\nm");
    check_text(text, "choices.0.delta.content", "Yes\n\ndata: x");
    check_text(finish, "choices.0.finish_reason", "stop");
    assert_null(at(finish, "choices.0.delta")->child);
    check_number(finish, "timings.predicted_n", 8);
    check_number(finish, "carepath.seed", 77);
    check_text(finish, "warnings.0", "unknown field: odd");
    assert_int_equal(cJSON_GetArraySize(at(usage, "choices")), 0);
    check_number(usage, "usage.total_tokens", 38);
    for (size_t i = 0; i < 5; i++)
        cJSON_Delete((cJSON *)(uintptr_t)all[i]);
    teardown(&f);
}

static void a_text_stream_has_no_role_and_no_usage_unasked(void **state) {
    fixture f;
    (void)state;
    setup(&f, "{\"prompt\":\"p\",\"stream\":true}", CP_OPENAI_TEXT);
    cp_openai_chunk_begin(&f.answer, &f.out);
    assert_int_equal(f.out.n, 0);
    cp_openai_chunk_text(&f.answer, CP_TEXT_ANSWER, CP_STR("abc"), &f.out);
    cp_openai_chunk_end(&f.answer, &f.result, &f.out);
    cJSON *text = next_event(&f.out), *finish = next_event(&f.out);
    assert_null(next_event(&f.out));
    check_text(text, "object", "text_completion");
    check_text(text, "choices.0.text", "abc");
    assert_null(cJSON_GetObjectItemCaseSensitive(text, "usage"));
    check_text(finish, "choices.0.text", "");
    check_text(finish, "choices.0.finish_reason", "stop");
    cJSON_Delete(text);
    cJSON_Delete(finish);
    teardown(&f);
}

/* ---- log probabilities -----------------------------------------------------------------------
 */

static cp_tokenizer *open_tokenizer(void) {
    cp_tokenizer *tok;
    cp_error err;
    assert_cp_ok(cp_tokenizer_open("models/qwen3-tokenizer", &tok, &err));
    return tok;
}

static int32_t only_id(const cp_tokenizer *tok, const char *text) {
    cp_ids ids = {0};
    cp_error err;
    assert_cp_ok(cp_tokenizer_encode(tok, text, strlen(text), &(cp_encode_options){0}, &ids, &err));
    assert_int_equal(ids.n, 1);
    int32_t id = ids.ids[0];
    cp_ids_deinit(&ids);
    return id;
}

/* An id whose bytes are this one byte, which is no UTF-8 by itself. */
static int32_t byte_id(const cp_tokenizer *tok, char byte) {
    for (int32_t id = 0; id < 256; id++) {
        cp_str bytes = cp_tokenizer_id_bytes(tok, id);
        if (bytes.n == 1 && bytes.data[0] == byte)
            return id;
    }
    fail_msg("no such byte");
    return -1;
}

static void add(fixture *f, int32_t id, float logprob, const cp_token_logprob *top, size_t n_top) {
    const cp_token_logprobs token = {
        .chosen = {.id = id, .logprob = logprob}, .top = top, .n_top = n_top};
    assert_true(cp_openai_logprobs_add(&f->logprobs, &token));
}

static void log_probabilities_of_a_chat(void **state) {
    fixture f;
    cp_tokenizer *tok = open_tokenizer();
    (void)state;
    setup(&f, CHAT ",\"logprobs\":true,\"top_logprobs\":2}", CP_OPENAI_CHAT);
    int32_t hello = only_id(tok, "Hello"), odd = byte_id(tok, (char)0xe2);
    f.logprobs.tok = tok;
    f.logprobs.n_top = 2;
    f.answer.logprobs = &f.logprobs;
    add(&f, hello, -0.5f, (const cp_token_logprob[]){{hello, -0.5f}, {odd, -1.25f}}, 2);
    add(&f, odd, -3, (const cp_token_logprob[]){{hello, -0.25f}}, 1); /* fewer than asked */
    cp_openai_reply_append(&f.answer, &f.result, &f.out);
    cJSON *tree = read_json(f.out.data, f.out.n);
    check_text(tree, "choices.0.logprobs.content.0.token", "Hello");
    check_number(tree, "choices.0.logprobs.content.0.logprob", -0.5);
    check_number(tree, "choices.0.logprobs.content.0.bytes.0", 'H');
    assert_int_equal(cJSON_GetArraySize(at(tree, "choices.0.logprobs.content.0.bytes")), 5);
    check_text(tree, "choices.0.logprobs.content.0.top_logprobs.1.token", "bytes:\\xe2");
    check_number(tree, "choices.0.logprobs.content.0.top_logprobs.1.bytes.0", 0xe2);
    check_text(tree, "choices.0.logprobs.content.1.token", "bytes:\\xe2");
    assert_int_equal(cJSON_GetArraySize(at(tree, "choices.0.logprobs.content.1.top_logprobs")), 1);
    assert_int_equal(f.logprobs.n, 0);
    cJSON_Delete(tree);
    teardown(&f);
    cp_tokenizer_close(tok);
}

/* In a stream each chunk of the answer takes what has come, a thought none, the end the rest. */
static void log_probabilities_of_a_text_stream(void **state) {
    fixture f;
    cp_tokenizer *tok = open_tokenizer();
    (void)state;
    setup(&f, "{\"prompt\":\"p\",\"stream\":true,\"logprobs\":2}", CP_OPENAI_TEXT);
    int32_t hello = only_id(tok, "Hello"), and = only_id(tok, "and");
    int32_t e1 = cp_tokenizer_added_id(tok, "<|im_end|>");
    f.logprobs.tok = tok;
    f.logprobs.n_top = 2;
    f.answer.logprobs = &f.logprobs;
    const cp_token_logprob twice[] = {{hello, -0.5f}, {hello, -1.0f}};
    add(&f, hello, -0.5f, twice, 2);
    add(&f, and, -1, twice, 1);
    cp_openai_chunk_text(&f.answer, CP_TEXT_THINKING, CP_STR("t"), &f.out);
    cp_openai_chunk_text(&f.answer, CP_TEXT_ANSWER, CP_STR("Helloand"), &f.out);
    cp_openai_chunk_text(&f.answer, CP_TEXT_ANSWER, CP_STR("!"), &f.out);
    add(&f, e1, -2, twice, 0);
    cp_openai_chunk_end(&f.answer, &f.result, &f.out);
    cJSON *thought = next_event(&f.out), *text = next_event(&f.out), *none = next_event(&f.out);
    cJSON *last = next_event(&f.out);
    check_null(thought, "choices.0.logprobs");
    check_null(none, "choices.0.logprobs");
    check_text(text, "choices.0.logprobs.tokens.1", "and");
    check_number(text, "choices.0.logprobs.token_logprobs.1", -1);
    check_number(text, "choices.0.logprobs.text_offset.1", 5);
    const cJSON *map = at(text, "choices.0.logprobs.top_logprobs.0");
    assert_int_equal(cJSON_GetArraySize(map), 1); /* one name, one value */
    check_number(map, "Hello", -0.5);
    check_text(last, "choices.0.logprobs.tokens.0", "<|im_end|>");
    check_number(last, "choices.0.logprobs.text_offset.0", 8);
    cJSON_Delete(thought);
    cJSON_Delete(text);
    cJSON_Delete(none);
    cJSON_Delete(last);
    teardown(&f);
    cp_tokenizer_close(tok);
}

/* ---- embeddings ------------------------------------------------------------------------------
 */

static void base64_is_rfc_4648s(void **state) {
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xff\xfe\xfd", "//79"}};
    cp_strbuf out;
    (void)state;
    cp_strbuf_init(&out, 64);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cp_strbuf_clear(&out);
        cp_base64_append(&out, cases[i][0], strlen(cases[i][0]));
        assert_string_equal(cp_strbuf_text(&out), cases[i][1]);
    }
    cp_strbuf_deinit(&out);
}

static void embeddings_in_both_encodings_are_the_same(void **state) {
    static const char *const bodies[] = {
        "{\"input\":[\"a\",\"b\"],\"dimensions\":2,\"x\":1}",
        "{\"input\":[\"a\",\"b\"],\"dimensions\":2,\"encoding_format\":\"base64\"}"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        static cp_openai_embeddings q;
        const cp_embedding_limits limits = {.width = 3, .n_ids = 9, .context = 9};
        cp_body_fault fault;
        cp_strbuf out;
        float vectors[] = {0.6f, 0.8f, 0.5f, 3.0f, -4.0f, 9.0f};
        assert_true(cp_openai_embeddings_parse((cp_str){bodies[i], strlen(bodies[i])}, &limits, &q,
                                               &fault));
        cp_strbuf_init(&out, 1 << 16);
        cp_openai_embeddings_append(&q, "Embed", vectors, 3, 11, &out);
        cJSON *tree = read_json(out.data, out.n);
        check_text(tree, "object", "list");
        check_text(tree, "model", "Embed");
        check_text(tree, "data.1.object", "embedding");
        check_number(tree, "data.1.index", 1);
        check_number(tree, "usage.prompt_tokens", 11);
        check_number(tree, "usage.total_tokens", 11);
        const cJSON *vector = at(tree, "data.1.embedding");
        if (cJSON_IsString(vector)) {
            size_t n;
            unsigned char *bytes = test_base64(vector->valuestring, &n);
            float values[2];
            assert_int_equal(n, sizeof values);
            memcpy(values, bytes, n);
            assert_true(values[0] == 0.6f && values[1] == -0.8f);
            free(bytes);
        } else {
            assert_int_equal(cJSON_GetArraySize(vector), 2);
            assert_true((float)cJSON_GetArrayItem(vector, 0)->valuedouble == 0.6f);
            assert_true((float)cJSON_GetArrayItem(vector, 1)->valuedouble == -0.8f);
            check_text(tree, "warnings.0", "unknown field: x");
        }
        cJSON_Delete(tree);
        cp_strbuf_deinit(&out);
        cp_openai_embeddings_deinit(&q);
    }
}

static void models_are_listed(void **state) {
    const cp_openai_model models[] = {
        {.id = "A", .quant = "int4", .use = "chat", .context = 4096, .created = 5},
        {.id = "B", .use = "embedding", .created = 5}};
    cp_strbuf out;
    (void)state;
    cp_strbuf_init(&out, 1 << 16);
    cp_openai_models_append(models, 2, &out);
    cJSON *tree = read_json(out.data, out.n);
    check_text(tree, "object", "list");
    check_text(tree, "data.0.id", "A");
    check_text(tree, "data.0.object", "model");
    check_text(tree, "data.0.owned_by", "carepath");
    check_number(tree, "data.0.carepath.context_tokens", 4096);
    check_null(tree, "data.1.carepath.quantization");
    check_null(tree, "data.1.carepath.context_tokens");
    cJSON_Delete(tree);
    cp_strbuf_deinit(&out);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_chat_completion_has_all_parts),
    cmocka_unit_test(what_was_not_there_is_null_or_absent),
    cmocka_unit_test(a_structured_answer_tells_what_the_model_did_not_say),
    cmocka_unit_test(a_text_completion_has_its_own_shape),
    cmocka_unit_test(a_chat_stream_is_role_text_finish_usage_done),
    cmocka_unit_test(a_text_stream_has_no_role_and_no_usage_unasked),
    cmocka_unit_test(log_probabilities_of_a_chat),
    cmocka_unit_test(log_probabilities_of_a_text_stream),
    cmocka_unit_test(base64_is_rfc_4648s),
    cmocka_unit_test(embeddings_in_both_encodings_are_the_same),
    cmocka_unit_test(models_are_listed),
};
CP_TEST_GROUP(openai_reply, tests)
