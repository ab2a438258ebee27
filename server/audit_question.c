#include "server/audit_question.h"

#include "base/json_reader.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define SOURCE "audit record"

static cp_status not_ours(cp_error *err) {
    return cp_error_set(err, CP_ERR_FORMAT, "the body is not one of ours");
}

/* ---- the parts of a body ----------------------------------------------------------------------
 */

/* The JSON value behind `key` at the start of *rest, which moves behind it; data NULL: not there.
 */
static cp_str take_value(cp_str *rest, const char *key) {
    size_t n = strlen(key);
    cp_str value = {NULL, 0};
    if (rest->n <= n || memcmp(rest->data, key, n) != 0)
        return value;
    cp_json_reader r;
    cp_json_reader_init(&r, SOURCE, rest->data + n, rest->n - n);
    if (cp_json_skip(&r, NULL) == CP_OK)
        value = (cp_str){r.text, r.pos};
    *rest = (cp_str){r.text + r.pos, r.n - r.pos};
    cp_json_reader_deinit(&r);
    return value;
}

/* A string without escapes, out of its quotes; n 0 for anything else. */
static cp_str unquote(cp_str value) {
    bool quoted = value.n >= 2 && value.data[0] == '"';
    return quoted ? (cp_str){value.data + 1, value.n - 2} : (cp_str){"", 0};
}

/* What was sealed, into out->text. */
static cp_status open_seal(const cp_audit_keys *keys, cp_str clear, cp_str hex, cp_strbuf *out,
                           cp_error *err) {
    size_t n = hex.n / 2;
    if (hex.n % 2 != 0 || n < CP_SEAL_MORE_BYTES)
        return not_ours(err);
    unsigned char *sealed = malloc(n);
    cp_strbuf_reserve(out, n);
    cp_status status = sealed ? cp_strbuf_check(out, SOURCE, err) : cp_error_no_memory(err, SOURCE);
    if (status == CP_OK && !cp_unhex(hex, sealed, n))
        status = not_ours(err);
    if (status == CP_OK)
        status = cp_seal_open(keys->seal, clear, (cp_str){(char *)sealed, n},
                              (unsigned char *)out->data, err);
    if (status == CP_OK) {
        out->n = n - CP_SEAL_MORE_BYTES;
        out->data[out->n] = '\0';
    }
    free(sealed);
    return status;
}

/* The line of JSON, then the thinking, then the answer. */
static cp_status read_text(cp_audit_record *out, cp_error *err) {
    const char *text = cp_strbuf_text(&out->text), *end = memchr(text, '\n', out->text.n);
    if (!end)
        return not_ours(err);
    size_t line = (size_t)(end - text), rest = out->text.n - line - 1;
    int64_t thinking = 0;
    cp_status status = cp_json_parse(SOURCE, text, line, &out->asked, err);
    if (status == CP_OK)
        status =
            cp_json_get_int(out->asked, SOURCE, "thinking_bytes", 0, (int64_t)rest, &thinking, err);
    out->thinking = (cp_str){end + 1, (size_t)thinking};
    out->answer = (cp_str){end + 1 + thinking, rest - (size_t)thinking};
    return status;
}

cp_status cp_audit_record_read(const cp_audit_keys *keys, cp_str body, cp_audit_record *out,
                               cp_error *err) {
    *out = (cp_audit_record){0};
    cp_strbuf_init(&out->text, CP_AUDIT_MAX_LINE);
    cp_str weights = take_value(&body, "\"weights\":"), clear = take_value(&body, ",\"record\":"),
           sealed = take_value(&body, ",\"sealed\":");
    if (!weights.data || !clear.data || !sealed.data || body.n > 0)
        return not_ours(err);
    weights = unquote(weights);
    if (weights.n == CP_AUDIT_HEX)
        memcpy(out->weights, weights.data, weights.n);
    sealed = unquote(sealed);
    out->sealed = sealed.n > 0;
    cp_status status = cp_json_parse(SOURCE, clear.data, clear.n, &out->clear, err);
    if (status == CP_OK && out->sealed && keys->secret) {
        status = open_seal(keys, clear, sealed, &out->text, err);
        if (status == CP_OK)
            status = read_text(out, err);
    }
    return status;
}

void cp_audit_record_deinit(cp_audit_record *record) {
    cJSON_Delete(record->clear);
    cJSON_Delete(record->asked);
    if (record->text.data)
        cp_wipe(record->text.data, record->text.cap);
    cp_strbuf_deinit(&record->text);
    *record = (cp_audit_record){0};
}

/* ---- the question -----------------------------------------------------------------------------
 */

static cp_status read_ids(const cJSON *list, cp_ids *out, cp_error *err) {
    const cJSON *item;
    cp_status status = cJSON_IsArray(list) ? CP_OK : not_ours(err);
    cJSON_ArrayForEach(item, list) {
        if (status == CP_OK && !(item->valuedouble >= 0 && item->valuedouble <= INT32_MAX))
            status = not_ours(err);
        if (status == CP_OK)
            status = cp_ids_push(out, (int32_t)item->valuedouble, err);
    }
    return status;
}

static cp_status read_prompt(const cJSON *asked, cp_audit_question *out, cp_error *err) {
    cp_llm_request *r = &out->request;
    if (cp_json_member(asked, "messages")) {
        cp_chat_request chat;
        cp_status status = cp_chat_request_read(asked, &chat, err);
        if (status != CP_OK)
            return status;
        out->messages = chat.messages;
        r->messages = chat.messages;
        r->n_messages = chat.n;
        r->thinking = chat.thinking;
        return CP_OK;
    }
    if (cp_json_member(asked, "text"))
        return cp_json_get_string(asked, SOURCE, "text", &r->text, err);
    cp_status status = read_ids(cp_json_member(asked, "ids"), &out->ids, err);
    r->ids = out->ids.ids;
    r->n_ids = out->ids.n;
    return status;
}

static cp_status read_wishes(const cJSON *asked, cp_audit_question *out, cp_error *err) {
    const char *schema = NULL;
    const cJSON *stop;
    size_t n = 0;
    cJSON_ArrayForEach(stop, cp_json_member(asked, "stops")) if (n < CP_LLM_MAX_STOPS)
        out->request.stops[n++] = stop->valuestring;
    cp_status status = cp_json_optional(cp_json_get_string(asked, SOURCE, "schema", &schema, err));
    if (status == CP_OK && schema)
        status = *schema
                     ? cp_schema_compile_text("schema", schema, strlen(schema), &out->schema, err)
                     : cp_schema_json_object(&out->schema, err);
    out->request.schema = out->schema;
    return status;
}

static cp_status read_sampling(const cJSON *clear, const cJSON *settings, cp_sampling *s,
                               cp_error *err) {
    const struct {
        const char *key;
        double *value;
    } numbers[] = {
        {"temperature", &s->temperature},
        {"top_p", &s->top_p},
        {"min_p", &s->min_p},
        {"presence_penalty", &s->presence_penalty},
        {"frequency_penalty", &s->frequency_penalty},
    };
    const char *seed = "";
    char *end;
    cp_status status = cp_json_get_string(clear, SOURCE, "seed", &seed, err);
    if (status == CP_OK)
        status = cp_json_get_int(settings, SOURCE, "top_k", 0, INT32_MAX, &s->top_k, err);
    for (size_t i = 0; i < CP_COUNT_OF(numbers) && status == CP_OK; i++)
        status = cp_json_get_number(settings, SOURCE, numbers[i].key, -1000, 1000, numbers[i].value,
                                    err);
    s->seed = strtoull(seed, &end, 10);
    return status == CP_OK && (!*seed || *end) ? not_ours(err) : status;
}

/* A thought that was closed, for whatever reason (a budget, room for the answer, a deadline), is
 * closed at the same token again. */
static cp_status read_budget(const cJSON *clear, const cJSON *settings, cp_llm_request *r,
                             cp_error *err) {
    int64_t tokens = -1;
    cp_status status;
    if (cJSON_IsTrue(cp_json_member(clear, "thinking_truncated")))
        status = cp_json_get_int(cp_json_member(clear, "tokens"), SOURCE, "thinking", 0, INT32_MAX,
                                 &tokens, err);
    else
        status = cp_json_optional(
            cp_json_get_int(settings, SOURCE, "thinking_budget", 0, INT32_MAX, &tokens, err));
    r->has_thinking_budget = tokens >= 0;
    r->thinking_budget = tokens >= 0 ? (size_t)tokens : 0;
    return status;
}

cp_status cp_audit_question_read(const cp_audit_record *record, cp_audit_question *out,
                                 cp_error *err) {
    const cJSON *settings = cp_json_member(record->clear, "settings");
    const char *kv = "";
    int64_t max_new = 0;
    *out = (cp_audit_question){0};
    if (!record->asked || !settings)
        return cp_error_set(err, CP_ERR_NOT_FOUND, "the record holds no question to a model");
    cp_status status = read_prompt(record->asked, out, err);
    if (status == CP_OK)
        status = read_wishes(record->asked, out, err);
    if (status == CP_OK)
        status = read_sampling(record->clear, settings, &out->request.sampling, err);
    if (status == CP_OK)
        status = read_budget(record->clear, settings, &out->request, err);
    if (status == CP_OK)
        status = cp_json_get_int(settings, SOURCE, "max_new_tokens", 0, INT32_MAX, &max_new, err);
    if (status == CP_OK)
        status = cp_json_get_int(settings, SOURCE, "context_tokens", 0, INT32_MAX,
                                 &out->context_tokens, err);
    if (status == CP_OK)
        status = cp_json_get_string(settings, SOURCE, "kv", &kv, err);
    if (status == CP_OK && !cp_kv_parse(kv, &out->kv))
        status = not_ours(err);
    out->request.max_new_tokens = (size_t)max_new;
    if (status != CP_OK)
        cp_audit_question_deinit(out);
    return status;
}

void cp_audit_question_deinit(cp_audit_question *question) {
    free(question->messages);
    cp_ids_deinit(&question->ids);
    cp_schema_free(question->schema);
    *question = (cp_audit_question){0};
}
