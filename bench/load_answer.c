#include "bench/load_answer.h"

#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TOKENS ((int64_t)1 << 40)

static void copy_code(char out[CP_LOAD_CODE_CAP], const char *code) {
    size_t n = 0;
    for (; *code && n + 1 < CP_LOAD_CODE_CAP; code++) {
        bool plain = (*code >= 'a' && *code <= 'z') || (*code >= 'A' && *code <= 'Z') ||
                     (*code >= '0' && *code <= '9') || strchr("_.-", *code);
        out[n++] = plain ? *code : '_';
    }
    out[n] = '\0';
    if (n == 0)
        snprintf(out, CP_LOAD_CODE_CAP, "unnamed");
}

/* The first fault counts. */
static void set_code(cp_load_answer *a, const char *code) {
    if (!a->code[0])
        copy_code(a->code, code);
}

/* {"error": {"code" or "type", ...}}; false when there is none. */
static bool take_error(cp_load_answer *a, const cJSON *tree) {
    const cJSON *error = cp_json_member(tree, "error");
    if (!error)
        return false;
    const char *code = cp_json_text(error, "code", NULL), *type = cp_json_text(error, "type", NULL);
    set_code(a, code ? code : type ? type : "unnamed");
    return true;
}

static void take_usage(cp_load_answer *a, const cJSON *tree) {
    const cJSON *usage = cp_json_member(tree, "usage");
    cp_error err;
    int64_t prompt = 0, completion = 0;
    if (!usage || cp_json_get_int(usage, "usage", "prompt_tokens", 0, MAX_TOKENS, &prompt, &err) ||
        cp_json_get_int(usage, "usage", "completion_tokens", 0, MAX_TOKENS, &completion, &err))
        return;
    a->prompt_tokens = prompt;
    a->completion_tokens = completion;
}

/* True when there was some. */
static bool take_text(cp_strbuf *out, const char *text) {
    if (text)
        cp_strbuf_puts(out, text);
    return text && *text;
}

static void take_verdict(cp_load_answer *a, const cJSON *tree) {
    static const char *const keys[] = {"acuity", "acuity_source", "disposition", "red_flags",
                                       "finish_reason"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const cJSON *value = cp_json_member(tree, keys[i]);
        char *text = value ? cJSON_PrintUnformatted(value) : NULL;
        if (text)
            cp_strbuf_printf(&a->verdict, "%s=%s\n", keys[i], text);
        else if (value)
            a->verdict.failed = CP_ERR_NO_MEMORY;
        cJSON_free(text);
    }
    const char *reason = cp_json_text(tree, "degraded_reason", NULL);
    if (reason)
        copy_code(a->degraded, reason);
}

/* ---- OpenAI's forms -------------------------------------------------------------------------- */

/* A choice of a chunk or of a whole answer; true when it has content. */
static bool take_choice(cp_load_answer *a, const cJSON *choice) {
    const cJSON *words = cp_json_member(choice, a->stream ? "delta" : "message");
    bool some = take_text(&a->thinking, cp_json_text(words, "reasoning_content", NULL));
    some |= take_text(&a->answer, cp_json_text(words, "content", NULL));
    some |= take_text(&a->answer, cp_json_text(choice, "text", NULL)); /* /v1/completions */
    const char *reason = cp_json_text(choice, "finish_reason", NULL);
    if (reason)
        cp_strbuf_printf(&a->verdict, "finish_reason=%s\n", reason);
    return some;
}

static bool take_choices(cp_load_answer *a, const cJSON *tree) {
    const cJSON *choice, *choices = cp_json_member(tree, "choices");
    bool some = false;
    cJSON_ArrayForEach(choice, choices) some |= take_choice(a, choice);
    take_usage(a, tree);
    return some;
}

/* ---- events ---------------------------------------------------------------------------------- */

/* /triage names its events; an event without a known name may carry an error. */
static bool take_triage_event(cp_load_answer *a, cp_str name, const cJSON *tree) {
    bool thinking = cp_str_is(name, "thinking"), answer = cp_str_is(name, "answer");
    if (cp_str_is(name, "done")) {
        take_verdict(a, tree);
        take_usage(a, tree);
        a->ended = true;
    }
    if (!thinking && !answer)
        return false;
    return take_text(thinking ? &a->thinking : &a->answer, cp_json_text(tree, "text", NULL));
}

static bool on_event(void *user, const cp_sse_event *event) {
    cp_load_answer *a = user;
    cJSON *tree = NULL;
    cp_error err;
    if (cp_str_is(event->data, "[DONE]")) {
        a->ended = true;
        return true;
    }
    if (cp_json_parse("event", event->data.data, event->data.n, &tree, &err) != CP_OK) {
        set_code(a, "bad_answer");
        return false;
    }
    bool failed = take_error(a, tree);
    if (!failed)
        a->n_content += a->target == CP_LOAD_TRIAGE ? take_triage_event(a, event->name, tree)
                                                    : take_choices(a, tree);
    cJSON_Delete(tree);
    return !failed;
}

/* ---- whole answers --------------------------------------------------------------------------- */

static void take_whole(cp_load_answer *a, const cJSON *tree) {
    if (a->target == CP_LOAD_TRIAGE) {
        (void)take_text(&a->thinking, cp_json_text(tree, "thinking", NULL));
        (void)take_text(&a->answer, cp_json_text(tree, "response", NULL));
        take_verdict(a, tree);
        take_usage(a, tree);
    } else if (!cp_load_target_is_probe(a->target)) {
        (void)take_choices(a, tree);
    }
    a->n_content = 1;
    a->ended = true;
}

/* Prometheus's text, which is no JSON. */
static void take_metrics(cp_load_answer *a) {
    if (strncmp(cp_strbuf_text(&a->whole), "# HELP ", 7) != 0)
        set_code(a, "bad_answer");
    a->n_content = 1;
    a->ended = true;
}

static void read_whole(cp_load_answer *a, int status) {
    cJSON *tree = NULL;
    cp_error err;
    char name[16];
    snprintf(name, sizeof name, "http_%d", status);
    if (a->target == CP_LOAD_METRICS && status == 200) {
        take_metrics(a);
        return;
    }
    if (cp_json_parse("answer", cp_strbuf_text(&a->whole), a->whole.n, &tree, &err) != CP_OK)
        set_code(a, status == 200 ? "bad_answer" : name);
    else if (!take_error(a, tree) && status != 200)
        set_code(a, name);
    if (!a->code[0])
        take_whole(a, tree);
    cJSON_Delete(tree);
}

/* ---- the life of one ------------------------------------------------------------------------- */

void cp_load_answer_init(cp_load_answer *a, cp_load_target target, bool stream) {
    *a = (cp_load_answer){.target = target, .stream = stream};
    cp_sse_reader_init(&a->events, CP_LOAD_ANSWER_BYTES, on_event, a);
    cp_strbuf *const texts[] = {&a->whole, &a->thinking, &a->answer, &a->verdict};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        cp_strbuf_init(texts[i], CP_LOAD_ANSWER_BYTES);
}

void cp_load_answer_deinit(cp_load_answer *a) {
    cp_sse_reader_deinit(&a->events);
    cp_strbuf_deinit(&a->whole);
    cp_strbuf_deinit(&a->thinking);
    cp_strbuf_deinit(&a->answer);
    cp_strbuf_deinit(&a->verdict);
}

void cp_load_answer_begin(cp_load_answer *a) {
    cp_sse_reader_begin(&a->events);
    cp_strbuf_clear(&a->whole);
    cp_strbuf_clear(&a->thinking);
    cp_strbuf_clear(&a->answer);
    cp_strbuf_clear(&a->verdict);
    a->n_content = 0;
    a->ended = false;
    a->prompt_tokens = a->completion_tokens = 0;
    a->code[0] = a->degraded[0] = '\0';
}

bool cp_load_answer_feed(cp_load_answer *a, int status, cp_str bytes) {
    cp_error err;
    if (!a->stream || status != 200) {
        cp_strbuf_append(&a->whole, bytes.data, bytes.n);
        if (a->whole.failed != CP_OK)
            set_code(a, "too_large");
    } else if (cp_sse_reader_feed(&a->events, bytes, &err) != CP_OK) {
        set_code(a, err.status == CP_ERR_LIMIT ? "too_large" : "bad_answer");
    }
    if (a->thinking.failed != CP_OK || a->answer.failed != CP_OK || a->verdict.failed != CP_OK)
        set_code(a, "too_large");
    return a->code[0] == '\0';
}

bool cp_load_answer_end(cp_load_answer *a, cp_http_end end, int status) {
    if (end != CP_HTTP_WHOLE)
        set_code(a, cp_http_end_name(end));
    else if (!a->stream || status != 200)
        read_whole(a, status);
    if (!a->ended)
        set_code(a, "unfinished");
    return a->code[0] == '\0';
}

void cp_load_answer_text(const cp_load_answer *a, cp_strbuf *out) {
    const cp_strbuf *const parts[] = {&a->thinking, &a->answer, &a->verdict};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        cp_strbuf_append(out, parts[i]->data, parts[i]->n);
        cp_strbuf_putc(out, '\0'); /* so that no text moves from one part to the next unseen */
    }
}
