/* SmolLM2's chat template: its prompts as Jinja renders them, what is recognised as it, and
 * messages that try to write control tokens. */
#include "tests/test.h"

#include "base/file.h"
#include "base/mem.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

#define VECTORS  "tests/golden-gguf/smollm2_chat.jsonl"
#define TEMPLATE "tests/golden-gguf/smollm2_chat_template.jinja"

static cp_tokenizer *open_tokenizer(void) {
    cp_error err;
    cp_strbuf text;
    cp_tokenizer *tok;
    const char *dir = test_tmp_dir();
    assert_cp_ok(cp_file_read(GOLDEN "/valid-edge/baseline/tokenizer.json", 1 << 20, &text, &err));
    test_write_file(test_path(dir, "tokenizer.json"), text.data, text.n);
    cp_strbuf_deinit(&text);
    assert_cp_ok(cp_file_read(TEMPLATE, 65536, &text, &err));
    test_write_file(test_path(dir, "chat_template.jinja"), text.data, text.n);
    cp_strbuf_deinit(&text);
    assert_cp_ok(cp_tokenizer_open(dir, &tok, &err));
    return tok;
}

/* What the template wrote, without the contents. */
static void append_control(const cp_prompt *prompt, cp_strbuf *out) {
    for (size_t i = 0; i < prompt->n_control; i++)
        cp_strbuf_append(out, prompt->text.data + prompt->control[i].begin,
                         prompt->control[i].end - prompt->control[i].begin);
}

static size_t count(const char *text, const char *word) {
    size_t n = 0;
    for (; (text = strstr(text, word)); text++)
        n++;
    return n;
}

static void check_case(const cp_tokenizer *tok, const cJSON *c) {
    cp_chat_request request;
    cp_error err;
    cp_prompt prompt;
    cp_strbuf control;
    const char *name = cJSON_GetObjectItem(c, "name")->valuestring;
    assert_cp_ok(cp_chat_request_read(c, &request, &err));
    for (int thinking = CP_THINKING_DEFAULT; thinking <= CP_THINKING_OFF; thinking++) {
        cp_prompt_init(&prompt);
        cp_strbuf_init(&control, 1 << 16);
        assert_cp_ok(cp_chat_render(tok, request.messages, request.n, request.add_generation_prompt,
                                    (cp_thinking)thinking, &prompt, &err));
        if (strcmp(cp_strbuf_text(&prompt.text), cJSON_GetObjectItem(c, "prompt")->valuestring))
            fail_msg("%s: prompt is\n%s", name, cp_strbuf_text(&prompt.text));
        append_control(&prompt, &control);
        size_t n_turns = request.n + (request.messages[0].role != CP_ROLE_SYSTEM);
        assert_int_equal(count(cp_strbuf_text(&control), "<|im_start|>"),
                         n_turns + request.add_generation_prompt);
        assert_int_equal(count(cp_strbuf_text(&control), "<|im_end|>"), n_turns);
        cp_strbuf_deinit(&control);
        cp_prompt_deinit(&prompt);
    }
    cp_chat_request_deinit(&request);
}

static void prompts_are_the_reference_ones(void **state) {
    (void)state;
    cp_tokenizer *tok = open_tokenizer();
    cJSON *cases = test_read_jsonl(VECTORS), *c;
    assert_string_equal(cp_chat_template_name(tok), "chatml-smollm2");
    assert_false(cp_chat_starts_in_thought(tok));
    assert_int_equal(cJSON_GetArraySize(cases), 26);
    cJSON_ArrayForEach(c, cases) check_case(tok, c);
    cJSON_Delete(cases);
    cp_tokenizer_close(tok);
}

/* The family of the template with the first `from` replaced. */
static cp_chat_family family_with(const char *from, const char *to) {
    cp_error err;
    cp_strbuf text, out;
    assert_cp_ok(cp_file_read(TEMPLATE, 65536, &text, &err));
    cp_strbuf_init(&out, 131072);
    const char *at = strstr(text.data, from);
    assert_non_null(at);
    cp_strbuf_append(&out, text.data, (size_t)(at - text.data));
    cp_strbuf_puts(&out, to);
    cp_strbuf_puts(&out, at + strlen(from));
    cp_chat_family family = cp_chat_template_recognise(cp_strbuf_str(&out));
    cp_strbuf_deinit(&text);
    cp_strbuf_deinit(&out);
    return family;
}

static void only_this_template_is_recognised(void **state) {
    (void)state;
    static const char *const other[][2] = {
        {"named SmolLM", "named Qwen"},
        {"<|im_start|>assistant", "<|im_start|>model"},
        {"{% endfor %}", "{% endfor %}."},
        {"{% endfor %}", "{% endfor %}{{ bos_token }}"},
        {"message['role']", "message['name']"},
        {"'<|im_end|>' + '\n'", "'</s>'"},
        {"loop.first", "loop.last"},
    };
    assert_int_equal(family_with("{% endfor %}", "{%- endfor -%}"), CP_CHAT_CHATML_SMOLLM2);
    for (size_t i = 0; i < CP_COUNT_OF(other); i++)
        if (family_with(other[i][0], other[i][1]) != CP_CHAT_UNKNOWN)
            fail_msg("recognised in spite of %s", other[i][1]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(prompts_are_the_reference_ones),
    cmocka_unit_test(only_this_template_is_recognised),
};
CP_TEST_GROUP(chat_smollm2, tests)
