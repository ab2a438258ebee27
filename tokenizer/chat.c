/* Rendering chat messages: each known template family as a function, and the prompt it writes into.
 */
#include "tokenizer/tokenizer_state.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

bool cp_role_parse(const char *word, cp_role *out) {
    static const char *const words[] = {"system", "user", "assistant"};
    for (size_t i = 0; i < CP_COUNT_OF(words); i++)
        if (strcmp(word, words[i]) == 0) {
            *out = (cp_role)i;
            return true;
        }
    return false;
}

/* ---- the prompt ---------------------------------------------------------------------------- */

void cp_prompt_init(cp_prompt *prompt) {
    *prompt = (cp_prompt){.control = NULL};
    cp_strbuf_init(&prompt->text, CP_TOKENIZER_MAX_TEXT);
}

void cp_prompt_deinit(cp_prompt *prompt) {
    cp_strbuf_deinit(&prompt->text);
    free(prompt->control);
    *prompt = (cp_prompt){.text = prompt->text};
}

/* What the template itself writes: a control span, grown when it follows another. */
static void control(cp_prompt *p, const char *text) {
    size_t begin = p->text.n;
    cp_strbuf_puts(&p->text, text);
    if (p->text.n == begin) /* nothing, or no room: the buffer remembers */
        return;
    if (p->n_control > 0 && p->control[p->n_control - 1].end == begin) {
        p->control[p->n_control - 1].end = p->text.n;
        return;
    }
    if (!cp_grow((void **)&p->control, &p->cap_control, p->n_control + 1, sizeof *p->control)) {
        p->text.failed = CP_ERR_NO_MEMORY; /* so that one check at the end sees both */
        return;
    }
    p->control[p->n_control++] = (cp_span){begin, p->text.n};
}

/* What somebody else wrote: never control. */
static void content(cp_prompt *p, cp_str text) {
    cp_strbuf_append(&p->text, text.data, text.n);
}

/* ---- strings, as the templates handle them ------------------------------------------------- */

static cp_str lstrip_lines(cp_str s) {
    while (s.n > 0 && s.data[0] == '\n')
        s = (cp_str){s.data + 1, s.n - 1};
    return s;
}

static cp_str rstrip_lines(cp_str s) {
    while (s.n > 0 && s.data[s.n - 1] == '\n')
        s.n--;
    return s;
}

/* The part before the first `mark`: split(mark)[0]. All of it without one. */
static cp_str before_first(cp_str s, const char *mark) {
    const char *at = memmem(s.data, s.n, mark, strlen(mark));
    return at ? (cp_str){s.data, (size_t)(at - s.data)} : s;
}

/* The part behind the last `mark`: split(mark)[-1]. */
static cp_str after_last(cp_str s, const char *mark) {
    size_t n = strlen(mark);
    for (const char *at; (at = memmem(s.data, s.n, mark, n)) != NULL;)
        s = (cp_str){at + n, s.n - (size_t)(at - s.data) - n};
    return s;
}

static bool starts_and_ends(cp_str s, const char *start, const char *end) {
    size_t n = strlen(start), m = strlen(end);
    return s.n >= n && memcmp(s.data, start, n) == 0 && s.n >= m &&
           memcmp(s.data + s.n - m, end, m) == 0;
}

static cp_str str(const char *text) {
    return text ? (cp_str){text, strlen(text)} : (cp_str){"", 0};
}

/* ---- Qwen3 --------------------------------------------------------------------------------- */

/* The last question of the user, not counting tool answers; the last message when there is none. */
static size_t last_query(const cp_chat_message *messages, size_t n) {
    for (size_t i = n; i-- > 0;)
        if (messages[i].role == CP_ROLE_USER &&
            !starts_and_ends(str(messages[i].content), "<tool_response>", "</tool_response>"))
            return i;
    return n - 1;
}

/* An earlier answer. Its reasoning is kept only behind the last question; it stands apart or, as
 * models write it, in front of </think>. */
static void qwen3_assistant(cp_prompt *p, const cp_chat_message *m, bool after_query, bool last) {
    cp_str answer = str(m->content), reasoning = str(m->reasoning);
    if (!m->reasoning && memmem(answer.data, answer.n, "</think>", 8)) {
        reasoning =
            lstrip_lines(after_last(rstrip_lines(before_first(answer, "</think>")), "<think>"));
        answer = lstrip_lines(after_last(answer, "</think>"));
    }
    control(p, "<|im_start|>assistant\n");
    if (after_query && (last || reasoning.n > 0)) {
        control(p, "<think>\n");
        content(p, rstrip_lines(lstrip_lines(reasoning)));
        control(p, "\n</think>\n\n");
        answer = lstrip_lines(answer);
    }
    content(p, answer);
    control(p, "<|im_end|>\n");
}

static void qwen3_turns(cp_prompt *p, const cp_chat_message *messages, size_t n) {
    size_t query = last_query(messages, n);
    for (size_t i = 0; i < n; i++) {
        const cp_chat_message *m = &messages[i];
        if (m->role == CP_ROLE_ASSISTANT) {
            qwen3_assistant(p, m, i > query, i + 1 == n);
            continue;
        }
        control(p, m->role == CP_ROLE_SYSTEM ? "<|im_start|>system\n" : "<|im_start|>user\n");
        content(p, str(m->content));
        control(p, "<|im_end|>\n");
    }
}

static void render_qwen3_hybrid(cp_prompt *p, const cp_chat_message *messages, size_t n,
                                bool add_generation_prompt, cp_thinking thinking) {
    qwen3_turns(p, messages, n);
    if (!add_generation_prompt)
        return;
    control(p, "<|im_start|>assistant\n");
    if (thinking == CP_THINKING_OFF)
        control(p, "<think>\n\n</think>\n\n");
}

static void render_qwen3_thinking_2507(cp_prompt *p, const cp_chat_message *messages, size_t n,
                                       bool add_generation_prompt, cp_thinking thinking) {
    (void)thinking; /* the model always thinks */
    qwen3_turns(p, messages, n);
    if (add_generation_prompt)
        control(p, "<|im_start|>assistant\n<think>\n");
}

/* ---- SmolLM2 ------------------------------------------------------------------------------- */

/* Contents stand as they are; the model knows no thinking apart. */
static void render_chatml_smollm2(cp_prompt *p, const cp_chat_message *messages, size_t n,
                                  bool add_generation_prompt, cp_thinking thinking) {
    static const char *const starts[] = {[CP_ROLE_SYSTEM] = "<|im_start|>system\n",
                                         [CP_ROLE_USER] = "<|im_start|>user\n",
                                         [CP_ROLE_ASSISTANT] = "<|im_start|>assistant\n"};
    (void)thinking;
    if (messages[0].role != CP_ROLE_SYSTEM)
        control(p, "<|im_start|>system\n" CP_CHAT_SMOLLM2_SYSTEM "<|im_end|>\n");
    for (size_t i = 0; i < n; i++) {
        control(p, starts[messages[i].role]);
        content(p, str(messages[i].content));
        control(p, "<|im_end|>\n");
    }
    if (add_generation_prompt)
        control(p, starts[CP_ROLE_ASSISTANT]);
}

/* ---- the public side ----------------------------------------------------------------------- */

typedef void render_fn(cp_prompt *p, const cp_chat_message *messages, size_t n,
                       bool add_generation_prompt, cp_thinking thinking);

static const struct {
    render_fn *render;
    bool starts_in_thought;
} renderers[] = {
    [CP_CHAT_UNKNOWN] = {NULL, false},
    [CP_CHAT_QWEN3_HYBRID] = {render_qwen3_hybrid, false},
    [CP_CHAT_QWEN3_THINKING_2507] = {render_qwen3_thinking_2507, true},
    [CP_CHAT_CHATML_SMOLLM2] = {render_chatml_smollm2, false},
};

const char *cp_chat_template_name(const cp_tokenizer *tok) {
    return cp_chat_family_name(tok->chat.family);
}

bool cp_chat_starts_in_thought(const cp_tokenizer *tok) {
    return renderers[tok->chat.family].starts_in_thought;
}

cp_status cp_chat_render(const cp_tokenizer *tok, const cp_chat_message *messages, size_t n,
                         bool add_generation_prompt, cp_thinking thinking, cp_prompt *out,
                         cp_error *err) {
    if (tok->chat.family == CP_CHAT_UNKNOWN)
        return cp_error_set(err, CP_ERR_UNSUPPORTED, "%s", tok->chat.why_not);
    if (n == 0)
        return cp_error_set(err, CP_ERR_USAGE, "chat: no messages");
    cp_strbuf_clear(&out->text);
    out->n_control = 0;
    renderers[tok->chat.family].render(out, messages, n, add_generation_prompt, thinking);
    return cp_strbuf_check(&out->text, "the rendered prompt", err);
}

cp_status cp_prompt_encode(const cp_tokenizer *tok, const cp_prompt *prompt, bool parse_special,
                           cp_ids *out, cp_error *err) {
    cp_encode_options options = {
        .control = prompt->control,
        .n_control = prompt->n_control,
        .parse_special = parse_special,
    };
    return cp_tokenizer_encode(tok, cp_strbuf_text(&prompt->text), prompt->text.n, &options, out,
                               err);
}
