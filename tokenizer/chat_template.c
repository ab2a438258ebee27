#include "tokenizer/chat_template.h"

#include "base/file.h"
#include "base/json_reader.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX ((size_t)64 << 20)

/* ---- the families -------------------------------------------------------------------------- */

typedef struct family {
    cp_chat_family id;
    const char *name;
    const char *required[16];   /* literals: all of these */
    const char *const *allowed; /* and, besides, only these, ended by NULL */
    const char *words;          /* outside of literals: only these, a blank around each */
} family;

/* Printed or compared by every Qwen3 template. The tool part is never reached. */
static const char *const qwen3_common[] = {
    "system",
    "user",
    "assistant",
    "tool",
    "",
    "\n",
    "\n\n",
    "<|im_start|>user",
    "<think>",
    "<tool_response>",
    "</tool_response>",
    "\n<tool_response>\n",
    "\n</tool_response>",
    "<tool_call>\n{\"name\": \"",
    "\", \"arguments\": ",
    "}\n</tool_call>",
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>",
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, "
    "\"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n",
    NULL,
};

/* Names, keywords and filters of both templates. Anything else, bos_token say, might print more. */
static const char qwen3_words[] =
    " 0 1 add_generation_prompt and arguments content defined elif else enable_thinking "
    "endfor endif endswith false first for function if in index index0 is last "
    "last_query_index length loop lstrip message messages multi_step_tool name namespace "
    "none not ns or reasoning_content role rstrip set split startswith string strip "
    "tojson tool tool_call tool_calls tools true ";

/* SmolLM2's turns are ChatML with a system message of its own where the first is none. */
static const char *const smollm2_allowed[] = {
    "system", "role", "content", "\n", "<|im_start|>", "<|im_end|>", NULL,
};

static const char smollm2_words[] =
    " 0 add_generation_prompt and endfor endif first for if in loop message messages ";

static const family families[] = {
    {
        .id = CP_CHAT_QWEN3_HYBRID,
        .name = "qwen3-hybrid",
        .required = {"<|im_start|>system\n", "<|im_start|>", "<|im_end|>", "<|im_end|>\n",
                     "</think>", "\n<think>\n", "\n</think>\n\n", "<|im_start|>assistant\n",
                     "<think>\n\n</think>\n\n"},
        .allowed = qwen3_common,
        .words = qwen3_words,
    },
    {
        .id = CP_CHAT_QWEN3_THINKING_2507,
        .name = "qwen3-thinking-2507",
        .required = {"<|im_start|>system\n", "<|im_start|>", "<|im_end|>", "<|im_end|>\n",
                     "</think>", "\n<think>\n", "\n</think>\n\n",
                     "<|im_start|>assistant\n<think>\n"},
        .allowed = qwen3_common,
        .words = qwen3_words,
    },
    {
        .id = CP_CHAT_CHATML_SMOLLM2,
        .name = "chatml-smollm2",
        .required = {"<|im_start|>system\n" CP_CHAT_SMOLLM2_SYSTEM "<|im_end|>\n", "<|im_start|>",
                     "<|im_end|>", "<|im_start|>assistant\n"},
        .allowed = smollm2_allowed,
        .words = smollm2_words,
    },
};

const char *cp_chat_family_name(cp_chat_family id) {
    for (size_t i = 0; i < CP_COUNT_OF(families); i++)
        if (families[i].id == id)
            return families[i].name;
    return NULL;
}

/* ---- reading the literals ------------------------------------------------------------------ */

typedef struct scan {
    cp_str text;
    size_t at;
    unsigned long long met[CP_COUNT_OF(families)]; /* bit i: required[i] was met */
    bool possible[CP_COUNT_OF(families)];
} scan;

static bool next_is(const scan *s, const char *word) {
    size_t n = strlen(word);
    return s->text.n - s->at >= n && memcmp(s->text.data + s->at, word, n) == 0;
}

static bool listed(const char *const *list, cp_str word) {
    while (*list && !cp_str_is(word, *list))
        list++;
    return *list != NULL;
}

static void judge(scan *s, cp_str literal) {
    for (size_t k = 0; k < CP_COUNT_OF(families); k++) {
        bool known = listed(families[k].allowed, literal);
        for (size_t i = 0; i < CP_COUNT_OF(families[k].required) && families[k].required[i]; i++)
            if (cp_str_is(literal, families[k].required[i])) {
                known = true;
                s->met[k] |= 1ull << i;
            }
        s->possible[k] = s->possible[k] && known;
    }
}

/* A quoted string; escapes other than these four occur in no known template. */
static bool literal(scan *s) {
    char quote = s->text.data[s->at++], decoded[1024];
    size_t n = 0;
    while (s->at < s->text.n && s->text.data[s->at] != quote) {
        char c = s->text.data[s->at++];
        if (c == '\\') {
            if (s->at == s->text.n)
                return false;
            c = s->text.data[s->at++];
            if (c == 'n')
                c = '\n';
            else if (c != '\\' && c != '\'' && c != '"')
                return false;
        }
        if (n == sizeof decoded)
            return false;
        decoded[n++] = c;
    }
    if (s->at++ >= s->text.n)
        return false;
    judge(s, (cp_str){decoded, n});
    return true;
}

static bool in_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* A name, keyword or number. */
static void word(scan *s) {
    size_t start = s->at;
    while (s->at < s->text.n && in_word(s->text.data[s->at]))
        s->at++;
    char found[40]; /* with a blank on both sides, as in the lists */
    size_t n = s->at - start;
    bool fits = n + 2 <= sizeof found;
    found[0] = ' ';
    memcpy(found + 1, s->text.data + start, fits ? n : 0);
    found[fits ? n + 1 : 1] = ' ';
    for (size_t k = 0; k < CP_COUNT_OF(families); k++)
        s->possible[k] = s->possible[k] && fits &&
                         memmem(families[k].words, strlen(families[k].words), found, n + 2);
}

/* From an opening tag to its end; *trims tells whether it ends in "-". */
static bool tag(scan *s, bool *trims) {
    bool comment = next_is(s, "{#");
    const char *close = comment ? "#}" : next_is(s, "{%") ? "%}" : "}}";
    s->at += 2;
    while (s->at < s->text.n) {
        if (next_is(s, close)) {
            *trims = s->text.data[s->at - 1] == '-';
            s->at += 2;
            return true;
        }
        char c = s->text.data[s->at];
        if (!comment && (c == '\'' || c == '"')) {
            if (!literal(s))
                return false;
        } else if (!comment && in_word(c)) {
            word(s);
        } else {
            s->at++;
        }
    }
    return false;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The text between tags prints as it is, so it must be blanks that the tag on one side trims; one
 * line end at the very end is dropped by Jinja itself. */
static bool between(scan *s, bool trimmed_before) {
    size_t from = s->at;
    while (s->at < s->text.n && is_blank(s->text.data[s->at]))
        s->at++;
    if (s->at == s->text.n)
        return trimmed_before || s->at - from <= 1;
    if (!next_is(s, "{{") && !next_is(s, "{%") && !next_is(s, "{#"))
        return false;
    return s->at == from || trimmed_before ||
           (s->text.n - s->at > 2 && s->text.data[s->at + 2] == '-');
}

cp_chat_family cp_chat_template_recognise(cp_str text) {
    scan s = {.text = text};
    for (size_t k = 0; k < CP_COUNT_OF(families); k++)
        s.possible[k] = true;
    bool trims = false;
    while (s.at < text.n) {
        if (!between(&s, trims))
            return CP_CHAT_UNKNOWN;
        if (s.at < text.n && !tag(&s, &trims))
            return CP_CHAT_UNKNOWN;
    }
    for (size_t k = 0; k < CP_COUNT_OF(families); k++) {
        unsigned long long all = 0;
        for (size_t i = 0; i < CP_COUNT_OF(families[k].required) && families[k].required[i]; i++)
            all |= 1ull << i;
        if (s.possible[k] && s.met[k] == all)
            return families[k].id;
    }
    return CP_CHAT_UNKNOWN;
}

/* ---- finding the template ------------------------------------------------------------------ */

void cp_chat_template_deinit(cp_chat_template *chat) {
    free(chat->why_not);
    *chat = (cp_chat_template){CP_CHAT_UNKNOWN, NULL};
}

/* Reads the string "chat_template" at the top level; CP_ERR_NOT_FOUND when there is none. */
static cp_status find_in_config(const char *path, cp_str json, cp_strbuf *out, cp_error *err) {
    cp_json_reader r;
    cp_str key, text;
    bool more = false, found = false;
    cp_json_kind kind;
    cp_json_reader_init(&r, path, json.data, json.n);
    cp_status status = cp_json_enter_object(&r, err);
    while (status == CP_OK && (status = cp_json_next_key(&r, &key, &more, err)) == CP_OK && more) {
        bool here = cp_str_is(key, "chat_template");
        if (here && found)
            status = cp_json_fail(&r, err, "the key \"chat_template\" is there twice");
        if (status == CP_OK)
            status = cp_json_peek(&r, &kind, err);
        if (status == CP_OK && here && kind == CP_JSON_STRING) {
            found = true;
            status = cp_json_read_string(&r, &text, err);
            if (status == CP_OK)
                cp_strbuf_append(out, text.data, text.n);
        } else if (status == CP_OK) {
            status = cp_json_skip(&r, err);
        }
    }
    if (status == CP_OK)
        status = cp_json_finish(&r, err);
    if (status == CP_OK && !found)
        status = cp_error_set(err, CP_ERR_NOT_FOUND, "%s: has no chat_template", path);
    cp_json_reader_deinit(&r);
    return status == CP_OK ? cp_strbuf_check(out, path, err) : status;
}

/* The template's text into `out` and the file it is from into `path`. */
static cp_status find_template(const char *dir, char path[CP_PATH_CAP], cp_strbuf *out,
                               cp_error *err) {
    cp_strbuf_init(out, CP_CHAT_TEMPLATE_MAX);
    cp_status status = cp_path_join(dir, "chat_template.jinja", path, CP_PATH_CAP, err);
    if (status != CP_OK)
        return status;
    if (cp_file_exists(path))
        return cp_file_read(path, CP_CHAT_TEMPLATE_MAX, out, err);
    status = cp_path_join(dir, "tokenizer_config.json", path, CP_PATH_CAP, err);
    if (status != CP_OK)
        return status;
    cp_strbuf config;
    status = cp_file_read(path, CONFIG_MAX, &config, err);
    if (status == CP_OK)
        status = find_in_config(path, cp_strbuf_str(&config), out, err);
    cp_strbuf_deinit(&config);
    return status;
}

/* Says why there is no family, and what would be one. */
static void explain(cp_strbuf *why, const char *fault) {
    cp_strbuf_printf(why, "%s (supported chat templates:", fault);
    for (size_t i = 0; i < CP_COUNT_OF(families); i++)
        cp_strbuf_printf(why, "%s %s", i ? "," : "", families[i].name);
    cp_strbuf_puts(why, ")");
}

cp_status cp_chat_template_load(cp_chat_template *chat, const char *dir, cp_error *err) {
    char path[CP_PATH_CAP];
    cp_strbuf text, why;
    cp_error fault;
    *chat = (cp_chat_template){CP_CHAT_UNKNOWN, NULL};
    cp_strbuf_init(&why, sizeof path * 2);
    cp_status status = find_template(dir, path, &text, &fault);
    if (status == CP_OK) {
        chat->family = cp_chat_template_recognise(cp_strbuf_str(&text));
        if (chat->family == CP_CHAT_UNKNOWN) {
            cp_error_set(&fault, CP_ERR_UNSUPPORTED, "%s: this chat template is not known", path);
            explain(&why, fault.message);
        }
    } else if (status != CP_ERR_NO_MEMORY) {
        explain(&why, fault.message);
    }
    cp_strbuf_deinit(&text);
    status =
        status == CP_ERR_NO_MEMORY ? status : cp_strbuf_check(&why, "the chat template", &fault);
    if (status == CP_OK && why.n > 0)
        chat->why_not = cp_strbuf_take(&why);
    cp_strbuf_deinit(&why);
    return status == CP_OK ? CP_OK : cp_error_set(err, status, "%s", fault.message);
}
