/* carepath generate: one prompt, one continuation. */
#include "llm/commands.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "llm/generation_args.h"
#include "llm/jsonl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CHAT_BYTES   ((size_t)4 << 20)
#define MAX_SCHEMA_BYTES ((size_t)1 << 20)
#define DIM              "\x1b[2m"
#define PLAIN            "\x1b[0m"

typedef struct generate_command {
    cp_generation_args args;
    const char *prompt, *ids_json, *stop, *schema_path;
    bool chat, json, json_object;
    double load_ms;
} generate_command;

/* Text as it comes; thinking only where a person watches, dimmed. */
static void show(void *user, cp_text_part part, const char *text, size_t n) {
    bool terminal = isatty(STDOUT_FILENO);
    (void)user;
    if (part == CP_TEXT_THINKING && !terminal)
        return;
    if (part == CP_TEXT_THINKING)
        fputs(DIM, stdout);
    fwrite(text, 1, n, stdout);
    if (part == CP_TEXT_THINKING)
        fputs(PLAIN, stdout);
    fflush(stdout);
}

static double per_second(size_t n, double ms) {
    return ms > 0 ? (double)n * 1e3 / ms : 0;
}

static void put_structured(const cp_structured_report *s, cp_json_writer *w) {
    cp_json_key(w, "structured");
    cp_json_open_object(w);
    cp_json_member_int(w, "forced_tokens", (int64_t)s->forced_tokens);
    cp_json_member_int(w, "tail_tokens", (int64_t)s->tail_tokens);
    cp_json_member_int(w, "tail_bytes", (int64_t)s->tail_bytes);
    cp_json_member_int(w, "turns", (int64_t)s->n_turns);
    cp_json_member_number(w, "constraint_ms", s->constraint_ms, 6);
    cp_json_member_number(w, "worst_ms", s->worst_ms, 6);
    cp_json_close_object(w);
}

static void put_result(const generate_command *c, cp_llm *llm, const cp_llm_result *r,
                       cp_json_writer *w) {
    cp_json_open_object(w);
    cp_json_member_text(w, "model", cp_llm_name(llm));
    cp_json_key(w, "ids");
    cp_json_put_ids(w, r->ids.ids, r->ids.n);
    cp_json_member_str(w, "text", cp_strbuf_str(&r->answer));
    if (r->has_thinking)
        cp_json_member_str(w, "thinking", cp_strbuf_str(&r->thinking));
    cp_json_member_text(w, "finish_reason", cp_finish_name(r->finish));
    cp_json_member_int(w, "seed", (int64_t)r->seed);
    cp_json_key(w, "usage");
    cp_json_open_object(w);
    cp_json_member_int(w, "prompt_tokens", (int64_t)r->prompt_tokens);
    cp_json_member_int(w, "completion_tokens", (int64_t)r->sampled_tokens);
    cp_json_member_int(w, "appended_tokens", (int64_t)r->appended_tokens);
    cp_json_member_int(w, "total_tokens", (int64_t)(r->prompt_tokens + r->sampled_tokens));
    cp_json_close_object(w);
    if (r->structured.n_turns > 0)
        put_structured(&r->structured, w);
    cp_json_key(w, "timings");
    cp_json_open_object(w);
    cp_json_member_number(w, "load_ms", c->load_ms, 6);
    cp_json_member_number(w, "prompt_ms", r->prompt_ms, 6);
    cp_json_member_number(w, "prompt_per_second", per_second(r->prompt_tokens, r->prompt_ms), 6);
    cp_json_member_number(w, "first_token_ms", r->first_token_ms, 6);
    cp_json_member_number(w, "predicted_ms", r->generate_ms, 6);
    cp_json_member_number(w, "predicted_per_second", per_second(r->ids.n, r->generate_ms), 6);
    cp_json_close_object(w);
    cp_json_member_text(w, "isa", cp_engine_isa(cp_llm_engine(llm)));
    cp_json_member_int(w, "threads", (int64_t)cp_engine_n_threads(cp_llm_engine(llm)));
    cp_json_close_object(w);
}

static cp_status print_json(const generate_command *c, cp_llm *llm, const cp_llm_result *result,
                            cp_error *err) {
    cp_strbuf text;
    cp_json_writer writer;
    cp_strbuf_init(&text, (size_t)256 << 20);
    cp_json_writer_init(&writer, &text);
    put_result(c, llm, result, &writer);
    cp_status status = cp_strbuf_check(&text, "result", err);
    if (status == CP_OK)
        puts(text.data);
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status generate(generate_command *c, cp_llm_request *request, cp_error *err) {
    cp_llm *llm;
    cp_llm_result result;
    cp_llm_result_init(&result);
    uint64_t start = cp_clock_ns();
    cp_status status = cp_generation_args_open(&c->args, &llm, err);
    if (status != CP_OK)
        return status;
    c->load_ms = cp_clock_ms_since(start);
    cp_thinking wanted = request->thinking;
    status = cp_generation_args_apply(&c->args, llm, request, err);
    if (wanted != CP_THINKING_DEFAULT)
        request->thinking = wanted;
    request->stops[0] = c->stop;
    request->on_text = c->json ? NULL : show;
    if (status == CP_OK)
        status = cp_llm_generate(llm, request, &result, err);
    if (status == CP_OK && c->json)
        status = print_json(c, llm, &result, err);
    else if (status == CP_OK)
        putchar('\n');
    cp_llm_result_deinit(&result);
    cp_llm_close(llm);
    return status;
}

/* The schema that --json-schema or --json-object asks for; NULL without. */
static cp_status read_schema(const generate_command *c, cp_schema **out, cp_error *err) {
    cp_strbuf text;
    *out = NULL;
    if (c->json_object)
        return cp_schema_json_object(out, err);
    if (!c->schema_path)
        return CP_OK;
    cp_status status = cp_file_read(c->schema_path, MAX_SCHEMA_BYTES, &text, err);
    if (status == CP_OK)
        status = cp_schema_compile_text(c->schema_path, cp_strbuf_text(&text), text.n, out, err);
    cp_strbuf_deinit(&text);
    return status;
}

/* Stdin whole: one JSON object {"messages": [...], "enable_thinking": ...}; *tree owns the texts.
 */
static cp_status read_chat(cJSON **tree, cp_chat_request *chat, cp_error *err) {
    cp_strbuf text;
    char chunk[4096];
    size_t got;
    cp_strbuf_init(&text, MAX_CHAT_BYTES);
    while ((got = fread(chunk, 1, sizeof chunk, stdin)) > 0)
        cp_strbuf_append(&text, chunk, got);
    cp_status status = cp_strbuf_check(&text, "stdin", err);
    if (status == CP_OK)
        status = cp_json_parse("stdin", cp_strbuf_text(&text), text.n, tree, err);
    if (status == CP_OK)
        status = cp_chat_request_read(*tree, chat, err);
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status run(generate_command *c, cp_error *err) {
    cp_llm_request request = {0};
    cp_chat_request chat = {0};
    cJSON *tree = NULL;
    cp_schema *schema;
    cp_ids ids = {0};
    cp_chat_message one = {.role = CP_ROLE_USER, .content = c->prompt};
    cp_status status = read_schema(c, &schema, err);
    request.schema = schema;
    if (status != CP_OK) {
        return status;
    } else if (c->chat && c->prompt) {
        request.messages = &one;
        request.n_messages = 1;
    } else if (c->chat) {
        status = read_chat(&tree, &chat, err);
        request.messages = chat.messages;
        request.n_messages = chat.n;
        request.thinking = chat.thinking;
    } else if (c->prompt) {
        request.text = c->prompt;
    } else {
        status = cp_jsonl_read_ids((cp_str){c->ids_json, strlen(c->ids_json)}, "--ids", &ids, err);
        request.ids = ids.ids;
        request.n_ids = ids.n;
    }
    if (status == CP_OK)
        status = generate(c, &request, err);
    cp_chat_request_deinit(&chat);
    cp_schema_free(schema);
    cJSON_Delete(tree);
    cp_ids_deinit(&ids);
    return status;
}

int cmd_generate(int argc, char **argv) {
    generate_command c = {0};
    cp_generation_args_init(&c.args, 256);
    const cp_arg args[] = {
        {"prompt", CP_ARG_TEXT, &c.prompt, "TEXT",
         "Continue this text; with --chat, the user's message", 0, 0, false},
        {"chat", CP_ARG_FLAG, &c.chat, NULL,
         "Through the chat template; messages as JSON from stdin", 0, 0, false},
        {"ids", CP_ARG_TEXT, &c.ids_json, "JSON", "Continue these token ids: \"[1, 2, 3]\"", 0, 0,
         false},
        {"stop", CP_ARG_TEXT, &c.stop, "TEXT", "End before this text", 0, 0, false},
        {"json-schema", CP_ARG_TEXT, &c.schema_path, "FILE", "The answer is JSON of this schema", 0,
         0, false},
        {"json-object", CP_ARG_FLAG, &c.json_object, NULL, "The answer is a JSON object", 0, 0,
         false},
        {"json", CP_ARG_FLAG, &c.json, NULL, "One JSON object instead of streamed text", 0, 0,
         false},
        CP_GENERATION_ARGS(c.args),
    };
    const cp_command_line line = {
        .usage = "carepath generate --model DIR (--prompt TEXT | --chat | --ids JSON) [options]",
        .summary =
            "Writes the model's continuation to stdout as it is generated (its thinking only on a\n"
            "terminal). With --chat, stdin holds {\"messages\": [{\"role\", \"content\"}], "
            "\"enable_thinking\"}.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    cp_status status;
    if ((c.prompt || c.chat) == (c.ids_json != NULL))
        status = cp_error_set(&err, CP_ERR_USAGE,
                              "give one of --prompt, --chat and --ids (usage: %s)", line.usage);
    else if ((c.schema_path != NULL) + c.json_object + (c.stop != NULL) > 1)
        status = cp_error_set(&err, CP_ERR_USAGE,
                              "--json-schema, --json-object and --stop exclude each other");
    else
        status = run(&c, &err);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("generate", &err);
}
