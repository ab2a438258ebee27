/* Every setting of the server: one table with environment variable, flag, range, default and help
 * line.
 *
 * Read once at start, environment first and flags over it, into a struct that nobody changes
 * afterwards; nothing else in the server reads the environment. An empty variable counts as unset.
 * --help, the README's table and the tests are made from the same table. Texts are borrowed from
 * the environment, argv or the table, all of which live as long as the process. */
#ifndef CP_SERVER_SETTINGS_H
#define CP_SERVER_SETTINGS_H

#include "base/args.h"
#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cp_app_env { CP_ENV_DEVELOPMENT, CP_ENV_STAGING, CP_ENV_PRODUCTION } cp_app_env;

typedef enum cp_unreviewed_rules { CP_UNREVIEWED_REFUSE, CP_UNREVIEWED_ALLOW } cp_unreviewed_rules;

typedef enum cp_store_kind { CP_STORE_JSONL, CP_STORE_MONGO, CP_STORE_HTTP } cp_store_kind;

typedef enum cp_vector_mode { CP_VECTOR_LOCAL, CP_VECTOR_PINECONE, CP_VECTOR_OFF } cp_vector_mode;

typedef struct cp_settings {
    const char *llm_mode, *model_cache_dir, *data_dir, *host;
    /* "" where there is none */
    const char *embedding_model, *reranker_model;
    const char *api_keys_file, *secret_key, *secret_key_file;
    const char *audit_file;
    const char *tls_cert_file, *tls_key_file, *trusted_proxies, *cors_origins;
    const char *mongo_uri, *mongo_database, *db_api_base_url, *db_api_key;
    const char *index_dir, *pinecone_host, *pinecone_api_key, *pinecone_namespace;
    const char *otlp_endpoint, *otlp_traces_endpoint, *otlp_headers; /* server/trace_options.h */
    const char *otel_service_name, *otel_resource, *otel_sampler_arg;
    int64_t otel_sampler; /* cp_trace_sampler */
    int64_t otel_disabled, otlp_timeout_ms, otel_delay_ms, otel_queue;
    int64_t patient_store; /* cp_store_kind */
    int64_t store_timeout_ms, store_connections;
    int64_t vector_mode; /* cp_vector_mode */
    int64_t enable_vector_context, vector_store_top_k;
    int64_t app_env;               /* cp_app_env */
    int64_t unreviewed_rules;      /* cp_unreviewed_rules */
    int64_t log_level, log_format; /* cp_log_level, cp_log_format */
    int64_t kv_cache;              /* cp_kv: the words stand in its order */
    int64_t port, threads, context_tokens, max_new_tokens;
    int64_t max_running, kv_cache_mib, kv_cache_ttl_s, speculation;
    int64_t conversation_ttl_s, conversation_mib, conversation_notes_ttl_s;
    int64_t queue_max, max_connections;
    int64_t refusals_per_minute, keyless_per_minute; /* of one address; 0: no limit */
    int64_t request_timeout_s, header_timeout_s, body_timeout_s, idle_timeout_s, shutdown_grace_s;
} cp_settings;

typedef enum cp_setting_kind {
    CP_SETTING_TEXT,   /* empty only where the default is */
    CP_SETTING_SECRET, /* a text of the environment that no flag sets and nothing shows */
    CP_SETTING_INT,    /* lo..hi */
    CP_SETTING_CHOICE, /* one of `choices`, any case; stored as its place in the list */
} cp_setting_kind;

typedef struct cp_setting {
    const char *env, *flag; /* flag: NULL for a secret */
    cp_setting_kind kind;
    size_t offset; /* in cp_settings */
    const char *fallback;
    int64_t lo, hi;
    const char *choices; /* "text|json" */
    const char *help;
} cp_setting;

const cp_setting *cp_settings_table(size_t *n);
/* The word for a choice: cp_settings_word(settings, "APP_ENV") is "production". "" for other kinds.
 */
const char *cp_settings_word(const cp_settings *settings, const char *env);

typedef char *cp_getenv(const char *name);
/* Defaults and environment alone. */
cp_status cp_settings_from_env(cp_settings *out, cp_getenv *get, cp_error *err) CP_MUST_CHECK;
/* The whole of it, --help and --settings-markdown (*markdown) included. CP_ARGS_BAD: either
 * the line is already on stderr and err->status is CP_OK, or err holds the sentence. */
cp_args_result cp_settings_read(cp_settings *out, int argc, char **argv, cp_getenv *get,
                                bool *markdown, cp_error *err) CP_MUST_CHECK;

/* The table as Markdown, one line a setting. */
void cp_settings_append_markdown(cp_strbuf *out);

#endif
