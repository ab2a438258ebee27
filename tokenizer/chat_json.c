/* Conversations as JSON, the form that `tokenize --chat` and `generate --chat` read. */
#include "tokenizer/tokenizer.h"

#include "base/json.h"

#include <stdlib.h>

static cp_status read_message(const cJSON *item, cp_chat_message *out, cp_error *err) {
    const char *role = NULL;
    if (!cJSON_IsObject(item))
        return cp_error_set(err, CP_ERR_FORMAT, "a message is not an object");
    cp_status status = cp_json_get_string(item, "message", "role", &role, err);
    if (status == CP_OK && !cp_role_parse(role, &out->role))
        status =
            cp_error_set(err, CP_ERR_FORMAT, "role \"%s\" is not system, user or assistant", role);
    if (status == CP_OK)
        status = cp_json_get_string(item, "message", "content", &out->content, err);
    if (status == CP_OK)
        status = cp_json_optional(
            cp_json_get_string(item, "message", "reasoning_content", &out->reasoning, err));
    return status;
}

static cp_status read_messages(const cJSON *object, cp_chat_request *out, cp_error *err) {
    const cJSON *list = cp_json_member(object, "messages"), *item;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) == 0)
        return cp_error_set(err, CP_ERR_FORMAT, "expected \"messages\", a list that is not empty");
    out->messages = calloc((size_t)cJSON_GetArraySize(list), sizeof *out->messages);
    if (!out->messages)
        return cp_error_no_memory(err, "messages");
    cJSON_ArrayForEach(item, list) {
        cp_status status = read_message(item, &out->messages[out->n++], err);
        if (status != CP_OK)
            return status;
    }
    return CP_OK;
}

static cp_status read_thinking(const cJSON *object, cp_thinking *out, cp_error *err) {
    bool on = false;
    cp_status status = cp_json_get_bool(object, "input", "enable_thinking", &on, err);
    *out = status == CP_ERR_NOT_FOUND ? CP_THINKING_DEFAULT : on ? CP_THINKING_ON : CP_THINKING_OFF;
    return cp_json_optional(status);
}

cp_status cp_chat_request_read(const cJSON *object, cp_chat_request *out, cp_error *err) {
    *out = (cp_chat_request){.add_generation_prompt = true};
    cp_status status = read_messages(object, out, err);
    if (status == CP_OK)
        status = read_thinking(object, &out->thinking, err);
    if (status == CP_OK)
        status = cp_json_optional(cp_json_get_bool(object, "input", "add_generation_prompt",
                                                   &out->add_generation_prompt, err));
    if (status != CP_OK)
        cp_chat_request_deinit(out);
    return status;
}

void cp_chat_request_deinit(cp_chat_request *request) {
    free(request->messages);
    *request = (cp_chat_request){0};
}
