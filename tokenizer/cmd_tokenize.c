/* carepath tokenize: JSON Lines on stdin, one answer a line on stdout. */
#include "tokenizer/commands.h"

#include "base/args.h"
#include "base/file.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES   ((size_t)64 << 20)
#define ANSWER_MAX_BYTES ((size_t)1 << 30)
#define CONFIG_MAX_BYTES ((size_t)1 << 20)

typedef struct tokenize {
    const char *model;
    bool decode, chat, parse_special, no_special;
    cp_tokenizer *tok;
    cp_strbuf answer;
} tokenize;

/* ---- text to ids --------------------------------------------------------------------------- */

static int base64_value(char c) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(letters, c) : NULL;
    return at ? (int)(at - letters) : -1;
}

/* RFC 4648 with padding; white space and anything else is refused. */
static cp_status decode_base64(const char *text, cp_strbuf *out, cp_error *err) {
    size_t n = strlen(text), n_pad = 0;
    while (n_pad < 2 && n_pad < n && text[n - 1 - n_pad] == '=')
        n_pad++;
    bool good = n % 4 == 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < n && good; i++) {
        int value = i < n - n_pad ? base64_value(text[i]) : 0;
        good = value >= 0;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 == 3) {
            char bytes[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
            cp_strbuf_append(out, bytes, i + 1 == n ? 3 - n_pad : 3);
            bits = 0;
        }
    }
    if (!good)
        return cp_error_set(err, CP_ERR_FORMAT, "text_b64 is not base64");
    return cp_strbuf_check(out, "text_b64", err);
}

/* "text", or "text_b64" for bytes that JSON cannot carry. */
static cp_status get_text(const cJSON *line, cp_strbuf *out, cp_error *err) {
    const char *text = NULL;
    bool plain = cp_json_member(line, "text") != NULL;
    if (plain == (cp_json_member(line, "text_b64") != NULL))
        return cp_error_set(err, CP_ERR_FORMAT, "expected \"text\" or \"text_b64\"");
    cp_status status = cp_json_get_string(line, "input", plain ? "text" : "text_b64", &text, err);
    if (status != CP_OK)
        return status;
    if (!plain)
        return decode_base64(text, out, err);
    cp_strbuf_puts(out, text);
    return cp_strbuf_check(out, "text", err);
}

static cp_status answer_encode(tokenize *t, const cJSON *line, cp_json_writer *w, cp_error *err) {
    cp_strbuf text;
    cp_ids ids = {NULL, 0, 0};
    cp_encode_options options = {.parse_special = t->parse_special, .post_process = true};
    cp_strbuf_init(&text, CP_TOKENIZER_MAX_TEXT);
    cp_status status = get_text(line, &text, err);
    if (status == CP_OK)
        status = cp_tokenizer_encode(t->tok, cp_strbuf_text(&text), text.n, &options, &ids, err);
    if (status == CP_OK) {
        cp_json_key(w, "ids");
        cp_json_put_ids(w, ids.ids, ids.n);
    }
    cp_ids_deinit(&ids);
    cp_strbuf_deinit(&text);
    return status;
}

/* ---- ids to text --------------------------------------------------------------------------- */

static cp_status get_ids(const tokenize *t, const cJSON *line, cp_ids *out, cp_error *err) {
    const cJSON *list = cp_json_member(line, "ids"), *item;
    size_t n = cp_tokenizer_n_ids(t->tok);
    if (!cJSON_IsArray(list))
        return cp_error_set(err, CP_ERR_FORMAT, "expected \"ids\", a list of numbers");
    cJSON_ArrayForEach(item, list) {
        double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
        if (!(value >= 0 && value < (double)n) || value != (double)(int32_t)value)
            return cp_error_set(err, CP_ERR_FORMAT,
                                "an id is %g, expected an integer from 0 to %zu", value, n - 1);
        cp_status status = cp_ids_push(out, (int32_t)value, err);
        if (status != CP_OK)
            return status;
    }
    return CP_OK;
}

static cp_status answer_decode(tokenize *t, const cJSON *line, cp_json_writer *w, cp_error *err) {
    cp_ids ids = {NULL, 0, 0};
    cp_strbuf text;
    cp_strbuf_init(&text, ANSWER_MAX_BYTES);
    cp_status status = get_ids(t, line, &ids, err);
    if (status == CP_OK)
        status = cp_tokenizer_decode(t->tok, ids.ids, ids.n, t->no_special, &text, err);
    if (status == CP_OK)
        cp_json_member_str(w, "text", cp_strbuf_str(&text));
    cp_strbuf_deinit(&text);
    cp_ids_deinit(&ids);
    return status;
}

/* ---- messages to a prompt ------------------------------------------------------------------ */

static cp_status answer_chat(tokenize *t, const cJSON *line, cp_json_writer *w, cp_error *err) {
    cp_chat_request chat;
    cp_prompt prompt;
    cp_ids ids = {NULL, 0, 0};
    cp_prompt_init(&prompt);
    cp_status status = cp_chat_request_read(line, &chat, err);
    if (status == CP_OK)
        status = cp_chat_render(t->tok, chat.messages, chat.n, chat.add_generation_prompt,
                                chat.thinking, &prompt, err);
    if (status == CP_OK)
        status = cp_prompt_encode(t->tok, &prompt, t->parse_special, &ids, err);
    if (status == CP_OK) {
        cp_json_member_str(w, "prompt", cp_strbuf_str(&prompt.text));
        cp_json_key(w, "ids");
        cp_json_put_ids(w, ids.ids, ids.n);
    }
    cp_ids_deinit(&ids);
    cp_prompt_deinit(&prompt);
    cp_chat_request_deinit(&chat);
    return status;
}

/* ---- the command --------------------------------------------------------------------------- */

static cp_status answer_line(tokenize *t, const cJSON *line, cp_error *err) {
    cp_json_writer w;
    cp_strbuf_clear(&t->answer);
    if (!cJSON_IsObject(line))
        return cp_error_set(err, CP_ERR_FORMAT, "not a JSON object");
    cp_json_writer_init(&w, &t->answer);
    cp_json_open_object(&w);
    cp_status status = t->decode ? answer_decode(t, line, &w, err)
                       : t->chat ? answer_chat(t, line, &w, err)
                                 : answer_encode(t, line, &w, err);
    if (status != CP_OK)
        return status;
    cp_json_close_object(&w);
    cp_strbuf_putc(&t->answer, '\n');
    status = cp_strbuf_check(&t->answer, "the answer", err);
    if (status == CP_OK &&
        (fwrite(t->answer.data, 1, t->answer.n, stdout) != t->answer.n || fflush(stdout) != 0))
        status = cp_error_set(err, CP_ERR_IO, "stdout: cannot write");
    return status;
}

static cp_status answer_all(tokenize *t, cp_error *err) {
    cp_strbuf line;
    bool more = true;
    cp_status status = CP_OK;
    cp_strbuf_init(&line, LINE_MAX_BYTES);
    for (size_t number = 1; status == CP_OK; number++) {
        cJSON *tree = NULL;
        status = cp_file_next_line(stdin, &line, &more, err);
        if (status == CP_OK && !more)
            break;
        if (status == CP_OK && line.n == 0)
            continue;
        if (status == CP_OK)
            status = cp_json_parse("input", cp_strbuf_text(&line), line.n, &tree, err);
        if (status == CP_OK)
            status = answer_line(t, tree, err);
        cJSON_Delete(tree);
        if (status != CP_OK)
            cp_error_prefix(err, "line %zu", number);
    }
    cp_strbuf_deinit(&line);
    return status;
}

/* With a config.json beside it, no id may be beyond the model's vocabulary. */
static cp_status check_config(const tokenize *t, cp_error *err) {
    char path[CP_PATH_CAP];
    cJSON *config = NULL;
    int64_t vocab_size = INT32_MAX;
    cp_status status = cp_path_join(t->model, "config.json", path, sizeof path, err);
    if (status != CP_OK || !cp_file_exists(path))
        return status;
    status = cp_json_parse_file(path, CONFIG_MAX_BYTES, &config, err);
    if (status == CP_OK)
        status = cp_json_optional(
            cp_json_get_int(config, path, "vocab_size", 1, INT32_MAX, &vocab_size, err));
    if (status == CP_OK && cp_tokenizer_n_ids(t->tok) > (size_t)vocab_size)
        status =
            cp_error_set(err, CP_ERR_FORMAT,
                         "%s/tokenizer.json: token id %zu is beyond config.json's vocab_size %lld",
                         t->model, cp_tokenizer_n_ids(t->tok) - 1, (long long)vocab_size);
    cJSON_Delete(config);
    return status;
}

static cp_status run(tokenize *t, cp_error *err) {
    if (!t->model)
        return cp_error_set(err, CP_ERR_USAGE, "--model is required");
    if (t->decode && t->chat)
        return cp_error_set(err, CP_ERR_USAGE, "--decode and --chat exclude each other");
    cp_status status = cp_tokenizer_open(t->model, &t->tok, err);
    if (status == CP_OK)
        status = check_config(t, err);
    return status == CP_OK ? answer_all(t, err) : status;
}

int cmd_tokenize(int argc, char **argv) {
    tokenize t = {.model = NULL};
    const cp_arg args[] = {
        {.name = "model",
         .kind = CP_ARG_TEXT,
         .target = &t.model,
         .value = "DIR",
         .help = "folder with tokenizer.json"},
        {.name = "decode",
         .kind = CP_ARG_FLAG,
         .target = &t.decode,
         .help = "{\"ids\": [...]} to {\"text\": \"...\"}"},
        {.name = "chat",
         .kind = CP_ARG_FLAG,
         .target = &t.chat,
         .help = "{\"messages\": [...], \"enable_thinking\", \"add_generation_prompt\"} to prompt "
                 "and ids"},
        {.name = "parse-special",
         .kind = CP_ARG_FLAG,
         .target = &t.parse_special,
         .help = "special tokens in texts and messages count as such"},
        {.name = "no-special",
         .kind = CP_ARG_FLAG,
         .target = &t.no_special,
         .help = "leave special tokens out when decoding"},
    };
    const cp_command_line line = {
        .usage =
            "carepath tokenize --model DIR [--decode | --chat] [--parse-special] [--no-special]",
        .summary = "Reads JSON Lines from stdin and writes one answer a line: {\"text\": \"...\"} "
                   "(or text_b64, "
                   "base64 of any\nbytes) to {\"ids\": [...]}.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    switch (cp_args_parse(&line, argc, argv)) {
    case CP_ARGS_HELP_SHOWN:
        return CP_EXIT_OK;
    case CP_ARGS_BAD:
        return CP_EXIT_USAGE;
    case CP_ARGS_RUN:
        break;
    }
    cp_error err = {.status = CP_OK};
    cp_strbuf_init(&t.answer, ANSWER_MAX_BYTES);
    cp_status status = run(&t, &err);
    cp_tokenizer_close(t.tok);
    cp_strbuf_deinit(&t.answer);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("tokenize", &err);
}
