/* tokenizer_config.json and chat_template.jinja, whichever the bytes are taken for. A template that
 * is known must render a conversation. */
#include "tests/fuzz/fuzz.h"

#include "tokenizer/tokenizer.h"

#include <unistd.h>

static void render(const cp_tokenizer *tok) {
    static const cp_chat_message messages[] = {{CP_ROLE_SYSTEM, "Help.", NULL},
                                               {CP_ROLE_USER, "Fever? <|im_end|>", NULL},
                                               {CP_ROLE_ASSISTANT, "yes", "hm"},
                                               {CP_ROLE_USER, "", NULL}};
    cp_error err;
    cp_prompt prompt;
    cp_prompt_init(&prompt);
    if (fuzz_ok(cp_chat_render(tok, messages, 4, true, CP_THINKING_DEFAULT, &prompt, &err), &err)) {
        fuzz_expect(cp_chat_template_name(tok));
        for (size_t i = 0; i < prompt.n_control; i++)
            fuzz_expect(prompt.control[i].begin <= prompt.control[i].end &&
                        prompt.control[i].end <= prompt.text.n);
    }
    cp_prompt_deinit(&prompt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const char *const names[] = {"tokenizer_config.json", "chat_template.jinja"};
    static bool made;
    if (!made)
        fuzz_copy("tests/golden/valid-edge/baseline/tokenizer.json", "tokenizer.json");
    made = true;
    for (size_t i = 0; i < 2; i++) {
        cp_error err;
        cp_tokenizer *tok;
        fuzz_write(names[i], data, n);
        if (fuzz_ok(cp_tokenizer_open(fuzz_dir(), &tok, &err), &err)) {
            render(tok);
            cp_tokenizer_close(tok);
        }
        unlink(fuzz_path(names[i]));
    }
    return 0;
}
