#include "server/settings.h"

#include "base/log.h"
#include "base/mem.h"
#include "server/rate_limit.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define AT(field) offsetof(cp_settings, field)
#define TEXT(env_name, flag_name, field, value, about)                                             \
    {.env = env_name,                                                                              \
     .flag = flag_name,                                                                            \
     .kind = CP_SETTING_TEXT,                                                                      \
     .offset = AT(field),                                                                          \
     .fallback = value,                                                                            \
     .help = about}
/* From the environment alone, never shown. */
#define SECRET(env_name, field, about)                                                             \
    {.env = env_name, .kind = CP_SETTING_SECRET, .offset = AT(field), .fallback = "", .help = about}
#define NUMBER(env_name, flag_name, field, value, low, high, about)                                \
    {.env = env_name,                                                                              \
     .flag = flag_name,                                                                            \
     .kind = CP_SETTING_INT,                                                                       \
     .offset = AT(field),                                                                          \
     .fallback = value,                                                                            \
     .lo = low,                                                                                    \
     .hi = high,                                                                                   \
     .help = about}
#define CHOICE(env_name, flag_name, field, value, words, about)                                    \
    {.env = env_name,                                                                              \
     .flag = flag_name,                                                                            \
     .kind = CP_SETTING_CHOICE,                                                                    \
     .offset = AT(field),                                                                          \
     .fallback = value,                                                                            \
     .choices = words,                                                                             \
     .help = about}

/* The words of APP_ENV, LOG_LEVEL, LOG_FORMAT and KV_CACHE stand in the order of their enums. */
static const cp_setting table[] = {
    TEXT("LLM_MODE", "llm-mode", llm_mode, "mock",
         "mock, a model's name (a folder in MODEL_CACHE_DIR, or a known model of the hub; qwen is "
         "Qwen3-4B-Thinking-2507), or a path to a model folder"),
    TEXT("MODEL_CACHE_DIR", "model-cache-dir", model_cache_dir, "models",
         "Folder that holds the model folders"),
    TEXT("EMBEDDING_MODEL", "embedding-model", embedding_model, "",
         "Model that makes vectors, for retrieval and /v1/embeddings: a folder in MODEL_CACHE_DIR, "
         "or "
         "a path"),
    TEXT("RERANKER_MODEL", "reranker-model", reranker_model, "",
         "Model that puts passages in order, and for /v1/rerank: a folder in MODEL_CACHE_DIR, or a "
         "path"),
    CHOICE("APP_ENV", "app-env", app_env, "development", "development|staging|production",
           "Outside development memory cannot be dumped or traced; production needs API keys, a "
           "secret and a model"),
    CHOICE("UNREVIEWED_RULES", "unreviewed-rules", unreviewed_rules, "refuse", "refuse|allow",
           "Whether production starts with triage rules that no clinician has signed "
           "(docs/safety.md)"),
    TEXT("HOST", "host", host, "127.0.0.1", "Address to listen on"),
    NUMBER("PORT", "port", port, "8002", 0, 65535, "Port to listen on; 0 takes any free one"),
    TEXT("API_KEYS_FILE", "api-keys-file", api_keys_file, "",
         "File of API keys (carepath keys makes it); without keys HOST must be this machine"),
    SECRET("SECRET_KEY", secret_key,
           "32 bytes or more that nobody can guess; what is sealed and hashed depends on it"),
    TEXT("SECRET_KEY_FILE", "secret-key-file", secret_key_file, "", "File that holds SECRET_KEY"),
    TEXT("AUDIT_FILE", "audit-file", audit_file, "",
         "Log of every answer and of reads of records, written before they leave (docs/audit.md); "
         "off: none. Production needs one of both"),
    TEXT("TLS_CERT_FILE", "tls-cert-file", tls_cert_file, "",
         "Certificate chain (PEM); with TLS_KEY_FILE the server speaks HTTPS only"),
    TEXT("TLS_KEY_FILE", "tls-key-file", tls_key_file, "", "The certificate's private key (PEM)"),
    TEXT("TRUSTED_PROXIES", "trusted-proxies", trusted_proxies, "",
         "Networks (10.0.0.0/8, fd00::/8, ...) whose X-Forwarded-For and X-Forwarded-Proto count"),
    TEXT("CORS_ORIGINS", "cors-origins", cors_origins, "",
         "Web pages (https://app.example, ...) whose scripts may ask; none by default"),
    CHOICE("LOG_LEVEL", "log-level", log_level, "info", "debug|info|warn|error|off",
           "Least level that is logged"),
    CHOICE("LOG_FORMAT", "log-format", log_format, "text", "text|json", "Form of a log line"),
    NUMBER("THREADS", "threads", threads, "0", 0, 1024,
           "Threads of the engine; 0 is one a processor"),
    TEXT("DATA_DIR", "data-dir", data_dir, "data",
         "Folder with synthetic/ (patients) and triage/ (rules)"),
    CHOICE("PATIENT_STORE", "patient-store", patient_store, "jsonl", "jsonl|mongo|http",
           "Where patients are: files in DATA_DIR, a MongoDB server, a db-api"),
    SECRET("MONGO_URI", mongo_uri,
           "Connection string of the MongoDB server (mongodb://..., with its TLS options)"),
    TEXT("MONGO_DATABASE", "mongo-database", mongo_database, "carepath",
         "Database on the MongoDB server"),
    TEXT("DB_API_BASE_URL", "db-api-base-url", db_api_base_url, "http://127.0.0.1:8001",
         "The db-api, which answers GET /patients/MRN below this"),
    SECRET("DB_API_KEY", db_api_key, "Sent to the db-api as a bearer token"),
    NUMBER("STORE_TIMEOUT_MS", "store-timeout-ms", store_timeout_ms, "2000", 10, 60000,
           "Milliseconds a MongoDB server or db-api has to answer; then the record is missing"),
    NUMBER("STORE_CONNECTIONS", "store-connections", store_connections, "4", 1, 64,
           "Most questions that are put to it at once"),
    NUMBER("ENABLE_VECTOR_CONTEXT", "enable-vector-context", enable_vector_context, "1", 0, 1,
           "1 looks for passages of the record and the knowledge base for each question "
           "(docs/vector-store.md)"),
    NUMBER("VECTOR_STORE_TOP_K", "vector-store-top-k", vector_store_top_k, "5", 0, 20,
           "Most passages that are quoted to the model"),
    CHOICE("VECTOR_MODE", "vector-mode", vector_mode, "local", "local|pinecone|off",
           "Where vectors are, when there is an EMBEDDING_MODEL: in the index, at Pinecone; off: "
           "nothing is looked for"),
    TEXT("INDEX_DIR", "index-dir", index_dir, "",
         "Folder of the index that carepath ingest fills; without: in memory, made at the start"),
    TEXT("PINECONE_HOST", "pinecone-host", pinecone_host, "",
         "URL of the Pinecone index (https://NAME-PROJECT.svc.REGION.pinecone.io)"),
    SECRET("PINECONE_API_KEY", pinecone_api_key, "Sent to Pinecone"),
    TEXT("PINECONE_NAMESPACE", "pinecone-namespace", pinecone_namespace, "",
         "Namespace in the Pinecone index; without: its default one"),
    NUMBER("CONTEXT_TOKENS", "context-tokens", context_tokens, "4096", 64, 262144,
           "Most tokens of prompt and answer together"),
    CHOICE(
        "KV_CACHE", "kv-cache", kv_cache, "auto", "auto|f32|f16|int8",
        "How keys and values are kept; auto is f32 for unquantized models, else f16, or int8 where "
        "memory is short"),
    NUMBER("MAX_NEW_TOKENS", "max-new-tokens", max_new_tokens, "1024", 1, 131072,
           "Most tokens of an answer, thinking included; a request may ask for fewer"),
    NUMBER("MAX_RUNNING", "max-running", max_running, "8", 1, 64,
           "Requests that the model works on together"),
    NUMBER("KV_CACHE_MIB", "kv-cache-mib", kv_cache_mib, "0", 0, 1048576,
           "Memory for keys and values of all requests; 0 is what they can need, at most half of "
           "what the weights leave"),
    NUMBER("KV_CACHE_TTL_S", "kv-cache-ttl-s", kv_cache_ttl_s, "3600", 0, 2592000,
           "Seconds that keys and values are kept unused for prompts that begin alike; 0 is until "
           "their memory is needed"),
    NUMBER("CONVERSATION_TTL_S", "conversation-ttl-s", conversation_ttl_s, "3600", 0, 604800,
           "Seconds that a session_id's turns are kept after the last one; 0 keeps none"),
    NUMBER("CONVERSATION_NOTES_TTL_S", "conversation-notes-ttl-s", conversation_notes_ttl_s,
           "2592000", 0, 31536000,
           "Seconds that what the rules noted in a conversation stays in the patient's summary"),
    NUMBER("CONVERSATION_MIB", "conversation-mib", conversation_mib, "64", 1, 65536,
           "Memory for conversations; those that rested longest go first, of the API key with "
           "most"),
    NUMBER("SPECULATION", "speculation", speculation, "1", 0, 1,
           "1 guesses words that repeat the prompt; answers are the same"),
    NUMBER("QUEUE_MAX", "queue-max", queue_max, "8", 1, 1024,
           "Requests that may wait for the model; more get 503"),
    NUMBER("MAX_CONNECTIONS", "max-connections", max_connections, "512", 16, 16384,
           "Open connections; near the limit those that send nothing are closed"),
    NUMBER("REFUSALS_PER_MINUTE", "refusals-per-minute", refusals_per_minute, "60", 0, CP_RATE_MAX,
           "Requests a minute without a valid key that one address may send; more get 429 (0: no "
           "limit)"),
    NUMBER("KEYLESS_PER_MINUTE", "keyless-per-minute", keyless_per_minute, "0", 0, CP_RATE_MAX,
           "Where there are no API keys: requests a minute of one address (0: no limit)"),
    NUMBER("REQUEST_TIMEOUT_S", "request-timeout-s", request_timeout_s, "300", 1, 3600,
           "Seconds from accepting a request to its answer; then a triage is answered by the rules "
           "alone, others with 504"),
    NUMBER("HEADER_TIMEOUT_S", "header-timeout-s", header_timeout_s, "10", 1, 600,
           "Seconds a client has to send a request's headers"),
    NUMBER("BODY_TIMEOUT_S", "body-timeout-s", body_timeout_s, "20", 1, 600,
           "Seconds a client has to send a body, and to take the answer"),
    NUMBER("IDLE_TIMEOUT_S", "idle-timeout-s", idle_timeout_s, "30", 1, 600,
           "Seconds a connection may rest between requests"),
    NUMBER("SHUTDOWN_GRACE_S", "shutdown-grace-s", shutdown_grace_s, "30", 0, 3600,
           "Seconds that accepted work may go on after SIGTERM"),
    TEXT("OTEL_EXPORTER_OTLP_ENDPOINT", "otel-exporter-otlp-endpoint", otlp_endpoint, "",
         "Traces go to this URL + /v1/traces, by OTLP/HTTP JSON (docs/observability.md); without: "
         "none"),
    TEXT("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otel-exporter-otlp-traces-endpoint",
         otlp_traces_endpoint, "", "The same, as a whole URL"),
    SECRET("OTEL_EXPORTER_OTLP_HEADERS", otlp_headers,
           "Sent with traces: key=value,key=value, values percent-encoded"),
    NUMBER("OTEL_EXPORTER_OTLP_TIMEOUT", "otel-exporter-otlp-timeout", otlp_timeout_ms, "10000", 10,
           60000, "Milliseconds that the receiver has to take a batch"),
    TEXT("OTEL_SERVICE_NAME", "otel-service-name", otel_service_name, "carepath",
         "This service's name in traces"),
    TEXT("OTEL_RESOURCE_ATTRIBUTES", "otel-resource-attributes", otel_resource, "",
         "More about it: key=value,key=value, values percent-encoded"),
    CHOICE("OTEL_TRACES_SAMPLER", "otel-traces-sampler", otel_sampler, "parentbased_traceidratio",
           "parentbased_traceidratio|parentbased_always_on|parentbased_always_off|traceidratio|"
           "always_on|always_off",
           "Which requests are traced"),
    TEXT("OTEL_TRACES_SAMPLER_ARG", "otel-traces-sampler-arg", otel_sampler_arg, "1",
         "The ratio, 0 to 1"),
    NUMBER("OTEL_BSP_SCHEDULE_DELAY", "otel-bsp-schedule-delay", otel_delay_ms, "5000", 10, 60000,
           "Milliseconds that spans wait for others"),
    NUMBER("OTEL_BSP_MAX_QUEUE_SIZE", "otel-bsp-max-queue-size", otel_queue, "2048", 16, 65536,
           "Spans that wait; more are dropped and counted"),
    CHOICE("OTEL_SDK_DISABLED", "otel-sdk-disabled", otel_disabled, "false", "false|true",
           "true: no traces, whatever the endpoint"),
};

const cp_setting *cp_settings_table(size_t *n) {
    *n = CP_COUNT_OF(table);
    return table;
}

/* The n-th word of "a|b|c", or a NULL run. */
static cp_str choice_word(const char *choices, int64_t n) {
    const char *word = choices;
    for (; n > 0 && word; n--) {
        word = strchr(word, '|');
        word = word ? word + 1 : NULL;
    }
    return word ? (cp_str){word, strcspn(word, "|")} : (cp_str){NULL, 0};
}

static bool choice_find(const char *choices, const char *word, int64_t *out) {
    for (int64_t i = 0;; i++) {
        cp_str choice = choice_word(choices, i);
        if (!choice.data)
            return false;
        if (choice.n == strlen(word) && strncasecmp(choice.data, word, choice.n) == 0) {
            *out = i;
            return true;
        }
    }
}

/* Stores `value`; `name` is what the user wrote: PORT or --port. */
static cp_status store(cp_settings *settings, const cp_setting *row, const char *name,
                       const char *value, cp_error *err) {
    void *target = (char *)settings + row->offset;
    switch (row->kind) {
    case CP_SETTING_TEXT:
        if (!*value && *row->fallback)
            return cp_error_set(err, CP_ERR_USAGE, "%s is empty, expected a text", name);
        *(const char **)target = value;
        return CP_OK;
    case CP_SETTING_SECRET:
        *(const char **)target = value;
        return CP_OK;
    case CP_SETTING_INT:
        if (!cp_args_int(value, (double)row->lo, (double)row->hi, target))
            return cp_error_set(err, CP_ERR_USAGE,
                                "%s is \"%s\", expected an integer from %lld to %lld", name, value,
                                (long long)row->lo, (long long)row->hi);
        return CP_OK;
    case CP_SETTING_CHOICE:
        if (!choice_find(row->choices, value, target))
            return cp_error_set(err, CP_ERR_USAGE, "%s is \"%s\", expected one of %s", name, value,
                                row->choices);
        return CP_OK;
    }
    return cp_error_set(err, CP_ERR_USAGE, "%s has no kind", name);
}

cp_status cp_settings_from_env(cp_settings *out, cp_getenv *get, cp_error *err) {
    cp_status status = CP_OK;
    *out = (cp_settings){0};
    for (size_t i = 0; i < CP_COUNT_OF(table) && status == CP_OK; i++) {
        const char *value = get(table[i].env);
        bool given = value && *value;
        status = store(out, &table[i], table[i].env, given ? value : table[i].fallback, err);
    }
    return status;
}

const char *cp_settings_word(const cp_settings *settings, const char *env) {
    static const char *const words[][5] = {
        {"development", "staging", "production"},
        {"debug", "info", "warn", "error", "off"},
        {"text", "json"},
    };
    if (strcmp(env, "APP_ENV") == 0)
        return words[0][settings->app_env];
    if (strcmp(env, "LOG_LEVEL") == 0)
        return words[1][settings->log_level];
    return strcmp(env, "LOG_FORMAT") == 0 ? words[2][settings->log_format] : "";
}

/* What --help shows for a row: "Port to listen on; 0 takes any free one [PORT, 8002]". */
static void help_line(const cp_setting *row, char *out, size_t cap) {
    const char *words = row->choices ? row->choices : "";
    snprintf(out, cap, "%s%s%s%s [%s, %s]", row->help, *words ? " (" : "", words, *words ? ")" : "",
             row->env, *row->fallback ? row->fallback : "none");
}

static const char *value_word(const cp_setting *row) {
    if (row->kind == CP_SETTING_CHOICE)
        return "WORD";
    return row->kind == CP_SETTING_INT ? "N" : "TEXT";
}

cp_args_result cp_settings_read(cp_settings *out, int argc, char **argv, cp_getenv *get,
                                bool *markdown, cp_error *err) {
    static char help[CP_COUNT_OF(table)][256];
    const char *given[CP_COUNT_OF(table)] = {NULL};
    const cp_setting *rows[CP_COUNT_OF(table)]; /* [n_args]: those that have a flag */
    cp_arg args[CP_COUNT_OF(table) + 1];
    size_t n_args = 0;
    *markdown = false;
    *err = (cp_error){0};
    for (size_t i = 0; i < CP_COUNT_OF(table); i++) {
        if (!table[i].flag)
            continue;
        help_line(&table[i], help[i], sizeof help[i]);
        rows[n_args] = &table[i];
        args[n_args] = (cp_arg){.name = table[i].flag,
                                .kind = CP_ARG_TEXT,
                                .target = &given[n_args],
                                .value = value_word(&table[i]),
                                .help = help[i]};
        n_args++;
    }
    args[n_args] = (cp_arg){.name = "settings-markdown",
                            .kind = CP_ARG_FLAG,
                            .target = markdown,
                            .help = "Print this table as Markdown and stop"};
    const cp_command_line line = {
        .usage = "carepath serve [--llm-mode mock|NAME|PATH] [--port N] [...]",
        .summary =
            "Answers POST /triage, GET /health, /ready and /metrics over HTTP. Each setting "
            "is read from its\nflag, else from the environment variable in brackets, else "
            "from the default behind it. SECRET_KEY, MONGO_URI, DB_API_KEY, PINECONE_API_KEY "
            "and\nOTEL_EXPORTER_OTLP_HEADERS are read from the environment only.",
        .args = args,
        .n_args = n_args + 1,
    };
    cp_args_result result = cp_args_parse(&line, argc, argv);
    if (result != CP_ARGS_RUN || *markdown)
        return result;
    if (cp_settings_from_env(out, get, err) != CP_OK)
        return CP_ARGS_BAD;
    for (size_t i = 0; i < n_args; i++) {
        char name[64];
        snprintf(name, sizeof name, "--%s", rows[i]->flag);
        if (given[i] && store(out, rows[i], name, given[i], err) != CP_OK)
            return CP_ARGS_BAD;
    }
    return CP_ARGS_RUN;
}

static void append_values(cp_strbuf *out, const cp_setting *row) {
    if (row->kind == CP_SETTING_INT)
        cp_strbuf_printf(out, "%lld to %lld", (long long)row->lo, (long long)row->hi);
    else if (row->kind != CP_SETTING_CHOICE)
        cp_strbuf_puts(out, "text");
    else
        for (const char *c = row->choices; *c; c++)
            cp_strbuf_puts(out, *c == '|' ? ", " : (char[]){*c, '\0'});
}

/* "`--port`", or "none". */
static void append_code(cp_strbuf *out, const char *prefix, const char *text) {
    if (text)
        cp_strbuf_printf(out, "`%s%s`", prefix, text);
    else
        cp_strbuf_puts(out, "none");
}

void cp_settings_append_markdown(cp_strbuf *out) {
    cp_strbuf_puts(out,
                   "| variable | flag | values | default | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < CP_COUNT_OF(table); i++) {
        const cp_setting *row = &table[i];
        cp_strbuf_printf(out, "| `%s` | ", row->env);
        append_code(out, row->flag ? "--" : "", row->flag);
        cp_strbuf_puts(out, " | ");
        append_values(out, row);
        cp_strbuf_puts(out, " | ");
        append_code(out, "", *row->fallback ? row->fallback : NULL);
        cp_strbuf_printf(out, " | %s |\n", row->help);
    }
}
