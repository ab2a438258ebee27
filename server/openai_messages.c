#include "server/openai_messages.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool no_memory(cp_body_reader *r) {
    r->fault->error = (cp_api_error){503, "no_memory", "the server is short of memory", NULL, 1};
    return false;
}

/* "developer" is what newer clients call the system. */
static bool read_role(cp_body_reader *m, cp_role *role) {
    const char *word;
    if (!cp_body_string(m, "role", true, &word))
        return false;
    if (strcmp(word, "developer") == 0)
        word = "system";
    if (cp_role_parse(word, role))
        return true;
    if (strcmp(word, "tool") == 0 || strcmp(word, "function") == 0)
        return cp_body_refuse(m, 400, "role", "unsupported",
                              "%srole: messages of tools are not supported", m->path);
    return cp_body_refuse(m, 422, "role", "invalid",
                          "%srole must be system, developer, user or assistant", m->path);
}

/* One {"type": "text", "text": "..."}. */
static bool read_part(cp_body_reader *m, const cJSON *part, const char **text) {
    const cJSON *type = cp_json_member(part, "type");
    if (!cJSON_IsObject(part) || !cJSON_IsString(type))
        return cp_body_refuse(m, 422, "content", "wrong_type",
                              "%scontent: a part must be an object with a type", m->path);
    if (strcmp(type->valuestring, "text") != 0)
        return cp_body_refuse(m, 400, "content", "unsupported",
                              "%scontent: only parts of type text are supported", m->path);
    const cJSON *value = cp_json_member(part, "text");
    if (!cJSON_IsString(value))
        return cp_body_refuse(m, 422, "content", "wrong_type",
                              "%scontent: a part's text must be a string", m->path);
    *text = value->valuestring;
    return true;
}

/* The parts' texts, a line end between two. */
static bool join_parts(cp_body_reader *m, const cJSON *parts, char **out) {
    const cJSON *part;
    const char *text = NULL;
    cp_strbuf joined;
    cp_strbuf_init(&joined, (size_t)1 << 30); /* bounded by the body */
    if (!parts->child)
        return cp_body_refuse(m, 422, "content", "invalid", "%scontent must not be empty", m->path);
    cJSON_ArrayForEach(part, parts) {
        if (!read_part(m, part, &text)) {
            cp_strbuf_deinit(&joined);
            return false;
        }
        if (part != parts->child)
            cp_strbuf_putc(&joined, '\n');
        cp_strbuf_puts(&joined, text);
    }
    bool whole = joined.failed == CP_OK;
    *out = whole ? cp_strbuf_take(&joined) : NULL;
    cp_strbuf_deinit(&joined);
    return *out || no_memory(m);
}

static bool read_content(cp_body_reader *m, cp_chat_message *out, char **joined) {
    const cJSON *content = cp_json_member(m->object, "content");
    if (cJSON_IsArray(content)) {
        if (!join_parts(m, content, joined))
            return false;
        out->content = *joined;
        return true;
    }
    if (content && !cJSON_IsString(content))
        return cp_body_refuse(m, 422, "content", "wrong_type",
                              "%scontent must be a string or a list of parts", m->path);
    return cp_body_string(m, "content", true, &out->content);
}

/* Calls of tools cannot be rendered; clients that send an answer back as it came send empty ones.
 */
static bool check_calls(cp_body_reader *m) {
    const cJSON *calls = cp_json_member(m->object, "tool_calls");
    if ((calls && calls->child) || cp_json_member(m->object, "function_call"))
        return cp_body_refuse(m, 400, calls ? "tool_calls" : "function_call", "unsupported",
                              "%scalls of tools are not supported", m->path);
    return true;
}

static bool read_message(cp_body_reader *m, cp_openai_request *out, size_t i) {
    static const char *const known[] = {"role",       "content",       "reasoning_content",
                                        "tool_calls", "function_call", NULL};
    static const char *const ignored[] = {"name", "refusal", "annotations", "audio", NULL};
    cp_chat_message *message = &out->messages[i];
    if (!check_calls(m) || !read_role(m, &message->role) ||
        !read_content(m, message, &out->joined[i]) ||
        !cp_body_string(m, "reasoning_content", false, &message->reasoning))
        return false;
    if (message->reasoning && message->role != CP_ROLE_ASSISTANT)
        return cp_body_refuse(m, 422, "reasoning_content", "invalid",
                              "%sreasoning_content belongs to assistant messages", m->path);
    cp_openai_warn_unknown(&out->warnings, m->object, m->path, known, NULL, ignored);
    return true;
}

bool cp_openai_read_messages(cp_body_reader *r, cp_openai_request *out) {
    const cJSON *list = cp_json_member(r->object, "messages"), *item;
    if (!list)
        return cp_body_refuse(r, 422, "messages", "missing", "messages is required");
    if (!cJSON_IsArray(list))
        return cp_body_refuse(r, 422, "messages", "wrong_type", "messages must be a list");
    size_t n = (size_t)cJSON_GetArraySize(list), i = 0;
    if (n == 0 || n > CP_OPENAI_MAX_MESSAGES)
        return cp_body_refuse(r, 422, "messages", "out_of_range",
                              "messages must have 1 to %d elements", CP_OPENAI_MAX_MESSAGES);
    out->messages = calloc(n, sizeof *out->messages);
    out->joined = calloc(n, sizeof *out->joined);
    if (!out->messages || !out->joined)
        return no_memory(r);
    out->llm.messages = out->messages;
    out->llm.n_messages = n;
    cJSON_ArrayForEach(item, list) {
        char path[32];
        snprintf(path, sizeof path, "messages[%zu].", i);
        cp_body_reader m = {.object = item, .path = path, .fault = r->fault};
        if (!cJSON_IsObject(item))
            return cp_body_refuse(r, 422, "messages", "wrong_type",
                                  "each of messages must be an object");
        if (!read_message(&m, out, i++))
            return false;
    }
    return true;
}
