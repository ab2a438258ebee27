#include "server/openai_request.h"

#include "base/mem.h"
#include "server/openai_messages.h"

#include <stdlib.h>
#include <string.h>

#define MAX_INTEGER     ((int64_t)1 << 53)
#define MAX_DEADLINE_MS ((int64_t)3600000)
#define MAX_ASKED       ((int64_t)1 << 31) /* of tokens; what is beyond the server's own limit is cut */

enum {
    HAS_TEMPERATURE = 1,
    HAS_TOP_P = 2,
    HAS_TOP_K = 4,
    HAS_MIN_P = 8,
    HAS_PRESENCE = 16,
    HAS_FREQUENCY = 32,
    HAS_SEED = 64,
};

/* Read by some function below. */
static const char *const known_both[] = {"model",
                                         "max_tokens",
                                         "temperature",
                                         "top_p",
                                         "top_k",
                                         "min_p",
                                         "seed",
                                         "presence_penalty",
                                         "frequency_penalty",
                                         "stop",
                                         "stream",
                                         "stream_options",
                                         "n",
                                         "response_format",
                                         "logprobs",
                                         "deadline_ms",
                                         "thinking_budget_tokens",
                                         "reasoning_budget_tokens",
                                         "logit_bias",
                                         "thinking_token_budget",
                                         NULL};
static const char *const known_chat[] = {"messages",
                                         "max_completion_tokens",
                                         "top_logprobs",
                                         "chat_template_kwargs",
                                         "tools",
                                         "reasoning_effort",
                                         "tool_choice",
                                         "enable_thinking",
                                         "functions",
                                         "function_call",
                                         "modalities",
                                         "audio",
                                         "web_search_options",
                                         NULL};
static const char *const known_text[] = {"prompt", "suffix", "echo", "best_of", NULL};
/* About accounts, storage and caches that are not here; they change no answer. */
static const char *const ignored[] = {"user",
                                      "metadata",
                                      "store",
                                      "service_tier",
                                      "parallel_tool_calls",
                                      "safety_identifier",
                                      "prompt_cache_key",
                                      "prompt_cache_retention",
                                      "prediction",
                                      NULL};

/* ---- what is refused ------------------------------------------------------------------------- */

static bool unsupported(cp_body_reader *r, const char *key) {
    return cp_body_refuse(r, 400, key, "unsupported", "%s is not supported", key);
}

/* Absent, null, false, "", [] and {} are nothing. */
static bool is_nothing(const cJSON *member) {
    return !member || cJSON_IsFalse(member) || (cJSON_IsString(member) && !*member->valuestring) ||
           ((cJSON_IsArray(member) || cJSON_IsObject(member)) && !member->child);
}

static bool only_one(cp_body_reader *r, const char *key) {
    int64_t n = 1;
    if (!cp_body_integer(r, key, 1, 128, NULL, &n))
        return false;
    return n == 1 || cp_body_refuse(r, 400, key, "unsupported",
                                    "%s must be 1: one choice is generated for a request", key);
}

/* "none" and "auto" mean nothing without tools. */
static bool check_tool_choice(cp_body_reader *r, const char *key) {
    const cJSON *member = cp_json_member(r->object, key);
    bool harmless = !member || (cJSON_IsString(member) && (!strcmp(member->valuestring, "none") ||
                                                           !strcmp(member->valuestring, "auto")));
    return harmless || unsupported(r, key);
}

static bool check_modalities(cp_body_reader *r) {
    const cJSON *list = cp_json_member(r->object, "modalities"), *one;
    if (list && !cJSON_IsArray(list))
        return unsupported(r, "modalities");
    cJSON_ArrayForEach(one, list) {
        if (!cJSON_IsString(one) || strcmp(one->valuestring, "text") != 0)
            return unsupported(r, "modalities");
    }
    return true;
}

static bool check_unsupported(cp_body_reader *r, cp_openai_kind kind) {
    static const char *const of_chat[] = {"tools",      "functions", "audio", "web_search_options",
                                          "logit_bias", NULL};
    static const char *const of_text[] = {"suffix", "echo", "logit_bias", NULL};
    for (const char *const *key = kind == CP_OPENAI_CHAT ? of_chat : of_text; *key; key++)
        if (!is_nothing(cp_json_member(r->object, *key)))
            return unsupported(r, *key);
    if (!only_one(r, "n"))
        return false;
    if (kind == CP_OPENAI_TEXT)
        return only_one(r, "best_of");
    return check_tool_choice(r, "tool_choice") && check_tool_choice(r, "function_call") &&
           check_modalities(r);
}

/* ---- sampling -------------------------------------------------------------------------------- */

static bool read_wish(cp_body_reader *r, const char *key, double lo, double hi, unsigned bit,
                      cp_openai_request *out, double *value) {
    bool has;
    if (!cp_body_number(r, key, lo, hi, &has, value))
        return false;
    out->given |= has ? bit : 0;
    return true;
}

static bool read_sampling(cp_body_reader *r, cp_openai_request *out) {
    cp_sampling *w = &out->wishes;
    bool has_k, has_seed;
    int64_t seed = 0;
    if (!read_wish(r, "temperature", 0, 2, HAS_TEMPERATURE, out, &w->temperature) ||
        !read_wish(r, "top_p", 0, 1, HAS_TOP_P, out, &w->top_p) ||
        !read_wish(r, "min_p", 0, 1, HAS_MIN_P, out, &w->min_p) ||
        !read_wish(r, "presence_penalty", -2, 2, HAS_PRESENCE, out, &w->presence_penalty) ||
        !read_wish(r, "frequency_penalty", -2, 2, HAS_FREQUENCY, out, &w->frequency_penalty) ||
        !cp_body_integer(r, "top_k", -1, MAX_ASKED, &has_k, &w->top_k) ||
        !cp_body_integer(r, "seed", -MAX_INTEGER, MAX_INTEGER, &has_seed, &seed))
        return false;
    if (w->top_k < 0) /* as vLLM writes "all" */
        w->top_k = 0;
    w->seed = (uint64_t)seed;
    out->given |= (has_k ? HAS_TOP_K : 0) | (has_seed ? HAS_SEED : 0);
    return true;
}

cp_sampling cp_openai_request_sampling(const cp_openai_request *request, cp_sampling s) {
    const cp_sampling *w = &request->wishes;
    unsigned given = request->given;
    s.temperature = given & HAS_TEMPERATURE ? w->temperature : s.temperature;
    s.top_p = given & HAS_TOP_P ? w->top_p : s.top_p;
    s.top_k = given & HAS_TOP_K ? w->top_k : s.top_k;
    s.min_p = given & HAS_MIN_P ? w->min_p : s.min_p;
    s.presence_penalty = given & HAS_PRESENCE ? w->presence_penalty : s.presence_penalty;
    s.frequency_penalty = given & HAS_FREQUENCY ? w->frequency_penalty : s.frequency_penalty;
    s.seed = given & HAS_SEED ? w->seed : s.seed;
    return s;
}

bool cp_openai_request_has_seed(const cp_openai_request *request) {
    return request->given & HAS_SEED;
}

/* ---- lengths, stops, log probabilities ------------------------------------------------------- */

/* The newer name counts where both are there. */
static bool read_length(cp_body_reader *r, int64_t most, cp_openai_request *out) {
    int64_t n = most;
    const char *name = "max_tokens";
    bool has = false;
    if (!cp_body_integer(r, "max_tokens", 1, MAX_ASKED, NULL, &n))
        return false;
    if (out->kind == CP_OPENAI_CHAT &&
        !cp_body_integer(r, "max_completion_tokens", 1, MAX_ASKED, &has, &n))
        return false;
    if (has)
        name = "max_completion_tokens";
    if (n > most) {
        cp_openai_warn(&out->warnings, "%s was cut to %lld (MAX_NEW_TOKENS)", name,
                       (long long)most);
        n = most;
    }
    out->llm.max_new_tokens = (size_t)n;
    return true;
}

static bool add_stop(cp_body_reader *r, const cJSON *one, size_t n, cp_openai_request *out) {
    if (!cJSON_IsString(one))
        return cp_body_refuse(r, 422, "stop", "wrong_type",
                              "stop must be a string or a list of strings");
    size_t bytes = strlen(one->valuestring);
    if (bytes == 0 || bytes > CP_OPENAI_MAX_STOP_BYTES)
        return cp_body_refuse(r, 422, "stop", "out_of_range",
                              "a stop string must have 1 to %d bytes", CP_OPENAI_MAX_STOP_BYTES);
    out->llm.stops[n] = one->valuestring;
    return true;
}

static bool read_stops(cp_body_reader *r, cp_openai_request *out) {
    const cJSON *stop = cp_json_member(r->object, "stop"), *one;
    size_t n = 0;
    if (!stop)
        return true;
    if (!cJSON_IsArray(stop))
        return add_stop(r, stop, 0, out);
    cJSON_ArrayForEach(one, stop) {
        if (n == CP_LLM_MAX_STOPS)
            return cp_body_refuse(r, 422, "stop", "out_of_range",
                                  "stop must have at most %d strings", CP_LLM_MAX_STOPS);
        if (!add_stop(r, one, n++, out))
            return false;
    }
    return true;
}

/* Chat: a flag and a number; text completions: a number alone. */
static bool read_logprobs(cp_body_reader *r, cp_openai_request *out) {
    int64_t n = 0;
    bool has;
    if (out->kind == CP_OPENAI_TEXT) {
        if (!cp_body_integer(r, "logprobs", 0, CP_LLM_MAX_TOP_LOGPROBS, &out->logprobs, &n))
            return false;
    } else if (!cp_body_bool(r, "logprobs", NULL, &out->logprobs) ||
               !cp_body_integer(r, "top_logprobs", 0, CP_LLM_MAX_TOP_LOGPROBS, &has, &n)) {
        return false;
    } else if (has && n > 0 && !out->logprobs) {
        return cp_body_refuse(r, 422, "top_logprobs", "invalid",
                              "top_logprobs needs logprobs to be true");
    }
    out->llm.n_top_logprobs = (size_t)n;
    return true;
}

static bool read_stream(cp_body_reader *r, cp_openai_request *out) {
    static const char *const known[] = {"include_usage", "include_obfuscation", NULL};
    const cJSON *options;
    if (!cp_body_bool(r, "stream", NULL, &out->stream) ||
        !cp_body_object(r, "stream_options", &options))
        return false;
    if (!options)
        return true;
    cp_body_reader inner = {.object = options, .path = "stream_options.", .fault = r->fault};
    cp_openai_warn_unknown(&out->warnings, options, inner.path, known, NULL, NULL);
    return cp_body_bool(&inner, "include_usage", NULL, &out->include_usage);
}

/* ---- thinking -------------------------------------------------------------------------------- */

static bool read_effort(cp_body_reader *r, cp_thinking *thinking) {
    static const char *const efforts[] = {"none", "minimal", "low", "medium",
                                          "high", "xhigh",   NULL};
    const char *word;
    if (!cp_body_string(r, "reasoning_effort", false, &word))
        return false;
    if (word && !cp_openai_is_listed(efforts, word))
        return cp_body_refuse(r, 422, "reasoning_effort", "invalid",
                              "reasoning_effort must be none, minimal, low, medium, high or xhigh");
    if (word && strcmp(word, "none") == 0)
        *thinking = CP_THINKING_OFF;
    return true;
}

static bool read_switch(cp_body_reader *r, cp_thinking *thinking) {
    bool has, on = false;
    if (!cp_body_bool(r, "enable_thinking", &has, &on))
        return false;
    if (has)
        *thinking = on ? CP_THINKING_ON : CP_THINKING_OFF;
    return true;
}

/* enable_thinking says more than an effort; inside chat_template_kwargs it counts last. */
static bool read_thinking(cp_body_reader *r, cp_openai_request *out) {
    static const char *const known[] = {"enable_thinking", NULL};
    const cJSON *kwargs;
    cp_thinking *thinking = &out->llm.thinking;
    if (!read_effort(r, thinking) || !read_switch(r, thinking) ||
        !cp_body_object(r, "chat_template_kwargs", &kwargs))
        return false;
    if (!kwargs)
        return true;
    cp_body_reader inner = {.object = kwargs, .path = "chat_template_kwargs.", .fault = r->fault};
    cp_openai_warn_unknown(&out->warnings, kwargs, inner.path, known, NULL, NULL);
    return read_switch(&inner, thinking);
}

static bool read_budget(cp_body_reader *r, cp_openai_request *out) {
    static const char *const names[] = {"thinking_budget_tokens", "reasoning_budget_tokens",
                                        "thinking_token_budget"};
    for (size_t i = 0; i < CP_COUNT_OF(names); i++) {
        int64_t n = 0;
        bool has;
        if (!cp_body_integer(r, names[i], 0, MAX_ASKED, &has, &n))
            return false;
        if (has && out->budget_field && (size_t)n != out->llm.thinking_budget)
            return cp_body_refuse(r, 422, names[i], "invalid", "%s and %s differ; give one of them",
                                  out->budget_field, names[i]);
        if (!has || out->budget_field)
            continue;
        out->budget_field = names[i];
        out->llm.has_thinking_budget = true;
        out->llm.thinking_budget = (size_t)n;
    }
    return true;
}

/* ---- response_format ------------------------------------------------------------------------- */

/* `tree` is the schema as it came, NULL for any object; its text is kept for the audit log. The
 * compiler's sentence names keywords and places in the schema, which is what helps. */
static bool take_schema(cp_body_reader *r, cp_status status, const cJSON *tree, const cp_error *err,
                        cp_openai_request *out) {
    if (status == CP_OK) {
        out->schema_text = tree ? cJSON_PrintUnformatted(tree) : strdup("");
        status = out->schema_text ? CP_OK : CP_ERR_NO_MEMORY;
    }
    if (status == CP_OK && out->llm.stops[0])
        return cp_body_refuse(r, 400, "stop", "unsupported",
                              "stop and a response_format of JSON exclude each other");
    if (status == CP_OK)
        out->llm.schema = out->schema;
    if (status == CP_ERR_NO_MEMORY)
        r->fault->error = cp_api_no_memory;
    else if (status != CP_OK)
        return cp_body_refuse(r, 400, "response_format", "unsupported_schema", "%s", err->message);
    return status == CP_OK;
}

static bool check_schema_name(cp_body_reader *r) {
    const char *name;
    if (!cp_body_string(r, "name", false, &name))
        return false;
    size_t n = name ? strlen(name) : 1;
    if (n == 0 || n > 64)
        return cp_body_refuse(r, 422, "name", "out_of_range", "%sname must have 1 to 64 bytes",
                              r->path);
    return true;
}

static bool read_json_schema(cp_body_reader *r, const cJSON *format, cp_openai_request *out) {
    static const char *const known[] = {"name", "description", "schema", "strict", NULL};
    cp_body_reader outer = {.object = format, .path = "response_format.", .fault = r->fault};
    cp_body_reader inner = {.path = "response_format.json_schema.", .fault = r->fault};
    const char *description;
    cp_error err;
    bool strict; /* every schema is kept strictly */
    if (!cp_body_object(&outer, "json_schema", &inner.object))
        return false;
    if (!inner.object)
        return cp_body_refuse(&outer, 422, "json_schema", "missing",
                              "response_format.json_schema is required");
    if (!check_schema_name(&inner) || !cp_body_string(&inner, "description", false, &description) ||
        !cp_body_bool(&inner, "strict", NULL, &strict))
        return false;
    cp_openai_warn_unknown(&out->warnings, inner.object, inner.path, known, NULL, NULL);
    const cJSON *schema = cJSON_GetObjectItemCaseSensitive(inner.object, "schema");
    if (!schema)
        return cp_body_refuse(&inner, 422, "schema", "missing",
                              "response_format.json_schema.schema is required");
    return take_schema(r, cp_schema_compile(schema, &out->schema, &err), schema, &err, out);
}

static bool read_format(cp_body_reader *r, cp_openai_request *out) {
    static const char *const known[] = {"type", "json_schema", NULL};
    const cJSON *format;
    const char *type;
    cp_error err;
    if (!cp_body_object(r, "response_format", &format))
        return false;
    if (!format)
        return true;
    cp_body_reader inner = {.object = format, .path = "response_format.", .fault = r->fault};
    cp_openai_warn_unknown(&out->warnings, format, inner.path, known, NULL, NULL);
    if (!cp_body_string(&inner, "type", true, &type))
        return false;
    if (strcmp(type, "json_schema") == 0)
        return read_json_schema(r, format, out);
    if (strcmp(type, "json_object") == 0)
        return take_schema(r, cp_schema_json_object(&out->schema, &err), NULL, &err, out);
    return strcmp(type, "text") == 0 ||
           cp_body_refuse(&inner, 422, "type", "invalid",
                          "response_format.type must be text, json_object or json_schema");
}

/* ---- the prompt of a text completion --------------------------------------------------------- */

static bool read_prompt(cp_body_reader *r, cp_openai_request *out) {
    const cJSON *prompt = cp_json_member(r->object, "prompt");
    if (!prompt)
        return cp_body_refuse(r, 422, "prompt", "missing", "prompt is required");
    if (cJSON_IsArray(prompt)) {
        if (cJSON_GetArraySize(prompt) != 1)
            return cp_body_refuse(r, 400, "prompt", "unsupported",
                                  "prompt must be one text; send several requests instead");
        prompt = prompt->child;
    }
    if (!cJSON_IsString(prompt))
        return cp_body_refuse(r, 422, "prompt", "wrong_type",
                              "prompt must be a string, or a list of one string");
    if (!*prompt->valuestring)
        return cp_body_refuse(r, 422, "prompt", "invalid", "prompt must not be empty");
    out->llm.text = prompt->valuestring;
    return true;
}

/* ---- what is kept ---------------------------------------------------------------------------- */

/* A tree takes many times its text, and a job may wait for long: only texts that llm points to
 * stay.
 */
static void prune(cJSON *tree) {
    static const char *const of_root[] = {"model", "messages", "prompt", "stop", NULL};
    static const char *const of_message[] = {"content", "reasoning_content", NULL};
    cJSON *message;
    cp_body_keep(tree, of_root, false);
    cJSON_ArrayForEach(message, cJSON_GetObjectItemCaseSensitive(tree, "messages"))
        cp_body_keep(message, of_message, true);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static bool read_all(cp_body_reader *r, int64_t max_new_tokens, cp_openai_request *out) {
    bool is_chat = out->kind == CP_OPENAI_CHAT;
    if (!check_unsupported(r, out->kind) || !cp_body_string(r, "model", false, &out->model) ||
        !(is_chat ? cp_openai_read_messages(r, out) : read_prompt(r, out)))
        return false;
    return read_sampling(r, out) && read_length(r, max_new_tokens, out) && read_stops(r, out) &&
           read_logprobs(r, out) && read_stream(r, out) && (!is_chat || read_thinking(r, out)) &&
           read_budget(r, out) && read_format(r, out) &&
           cp_body_integer(r, "deadline_ms", 1, MAX_DEADLINE_MS, NULL, &out->deadline_ms);
}

bool cp_openai_request_parse(cp_str body, cp_openai_kind kind, int64_t max_new_tokens,
                             cp_openai_request *out, cp_body_fault *fault) {
    *out = (cp_openai_request){.kind = kind, .deadline_ms = CP_OPENAI_NO_DEADLINE};
    if (!cp_body_parse(body, &out->tree, fault))
        return false;
    cp_body_reader r = {.object = out->tree, .path = "", .fault = fault};
    cp_openai_warn_unknown(&out->warnings, out->tree, "", known_both,
                           kind == CP_OPENAI_CHAT ? known_chat : known_text, ignored);
    if (!read_all(&r, max_new_tokens, out))
        return false;
    prune(out->tree);
    return true;
}

void cp_openai_request_deinit(cp_openai_request *request) {
    for (size_t i = 0; request->joined && i < request->llm.n_messages; i++)
        free(request->joined[i]);
    free(request->joined);
    free(request->messages);
    cp_schema_free(request->schema);
    free(request->schema_text);
    cJSON_Delete(request->tree);
    *request = (cp_openai_request){0};
}
