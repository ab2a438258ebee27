#include "retrieval/pinecone_link.h"

#include "base/crypto.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TRIES    6
#define PAUSE_MS     100
#define MAX_PAUSE_MS 5000
#define MAX_IDLE     4
#define MAX_ANSWER   ((size_t)16 << 20)
#define NOT_FOUND    5 /* the "code" of an answer about something that is not there */

/* ---- requests --------------------------------------------------------------------------- */

static void append_escaped(cp_strbuf *out, const char *text) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            strchr("-._~", c))
            cp_strbuf_putc(out, (char)c);
        else
            cp_strbuf_printf(out, "%%%02X", c);
    }
}

void cp_pinecone_add_parameter(cp_strbuf *query, const char *name, const char *value) {
    cp_strbuf_printf(query, "%c%s=", query->n ? '&' : '?', name);
    append_escaped(query, value);
}

cp_status cp_pinecone_refused(const cp_pinecone *p, int status, cp_error *err) {
    const char *hint = "";
    if (status == 401 || status == 403)
        hint = " (see PINECONE_API_KEY)";
    else if (status == 404)
        hint = " (see PINECONE_HOST)";
    else if (status == 429)
        hint = " (too many requests, or a quota is used up)";
    else if (status / 100 == 3)
        hint = " (a redirect, which is not followed)";
    return cp_error_set(err, status == 429 ? CP_ERR_BUSY : CP_ERR_IO, "Pinecone at %s answers %d%s",
                        p->url.origin, status, hint);
}

cp_status cp_pinecone_bad(const cp_pinecone *p, const char *what, cp_error *err) {
    return cp_error_set(err, CP_ERR_FORMAT, "Pinecone at %s: the answer's %s", p->url.origin, what);
}

/* The answer as a tree. What it says of its text stays here: that could be a patient's. */
static cp_status parse(const cp_pinecone *p, const cp_http_answer *answer, cJSON **tree,
                       cp_error *err) {
    cp_status status =
        cp_json_parse("answer", cp_strbuf_text(&answer->body), answer->body.n, tree, NULL);
    if (status == CP_ERR_NO_MEMORY)
        return cp_error_no_memory(err, "Pinecone's answer");
    if (status == CP_OK && cJSON_IsObject(*tree))
        return CP_OK;
    cJSON_Delete(*tree);
    *tree = NULL;
    return cp_pinecone_bad(p, "body is not a JSON object", err);
}

/* A namespace that nothing was ever put into is not there: no fault, nothing in it. */
static bool says_not_found(const cp_pinecone *p, const cp_http_answer *answer) {
    cJSON *tree = NULL;
    int64_t code = 0;
    cp_error ignored;
    bool is = answer->status == 404 && parse(p, answer, &tree, &ignored) == CP_OK &&
              cp_json_get_int(tree, "answer", "code", 0, 99, &code, &ignored) == CP_OK &&
              code == NOT_FOUND;
    cJSON_Delete(tree);
    return is;
}

cp_status cp_pinecone_ask(cp_pinecone *p, const char *path, const cp_strbuf *query,
                          const cp_strbuf *body, cJSON **tree, cp_error *err) {
    const cp_http_field fields[] = {{"Api-Key", p->key},
                                    {"X-Pinecone-Api-Version", CP_PINECONE_API},
                                    {"Accept", "application/json"},
                                    {"Content-Type", "application/json"}};
    cp_http_answer answer = {.status = 0};
    cp_strbuf url;
    *tree = NULL;
    cp_strbuf_init(&url, (size_t)64 << 10);
    cp_strbuf_printf(&url, "%s%s%s", p->prefix, path, query ? cp_strbuf_text(query) : "");
    cp_status status = cp_strbuf_check(&url, "Pinecone's URL", err);
    if (status == CP_OK && query)
        status = cp_strbuf_check(query, "Pinecone's URL", err);
    if (status == CP_OK && body)
        status = cp_strbuf_check(body, "a request to Pinecone", err);
    if (status == CP_OK) {
        const cp_http_call call = {.method = body ? "POST" : "GET",
                                   .url = cp_strbuf_text(&url),
                                   .fields = fields,
                                   .n_fields = body ? 4 : 3,
                                   .body = body ? cp_strbuf_str(body) : CP_STR(""),
                                   .max_bytes = MAX_ANSWER};
        status = cp_http_pool_send(p->pool, &call, &answer, err);
        if (status != CP_OK)
            cp_error_prefix(err, "Pinecone");
        else if (answer.status == 200)
            status = parse(p, &answer, tree, err);
        else if (!says_not_found(p, &answer))
            status = cp_pinecone_refused(p, answer.status, err);
    }
    cp_http_answer_deinit(&answer);
    cp_strbuf_deinit(&url);
    return status;
}

/* ---- opening ---------------------------------------------------------------------------- */

static bool is_this_machine(const char *host) {
    return strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
           strcmp(host, "[::1]") == 0;
}

static cp_status check_config(const cp_pinecone_config *config, cp_http_url *url, cp_error *err) {
    if (!config->host[0])
        return cp_error_set(err, CP_ERR_USAGE,
                            "PINECONE_HOST is not set, expected the index's own URL, https://...");
    cp_status status = cp_http_url_parse("PINECONE_HOST", config->host, url, err);
    if (status != CP_OK)
        return status;
    if (!url->tls && !is_this_machine(url->host))
        return cp_error_set(err, CP_ERR_USAGE,
                            "PINECONE_HOST is http://, expected https://: vectors and MRNs are not "
                            "sent unencrypted");
    if (strcmp(url->path, "/") != 0 || strpbrk(config->host, "?#"))
        return cp_error_set(err, CP_ERR_USAGE,
                            "PINECONE_HOST has a path or query, expected https://host");
    if (!config->api_key || !config->api_key[0])
        return cp_error_set(err, CP_ERR_USAGE, "PINECONE_API_KEY is not set");
    if (config->width == 0 || config->width > CP_MAX_VECTOR_WIDTH)
        return cp_error_set(
            err, CP_ERR_USAGE,
            "Pinecone: vectors of width %zu, expected 1 to %d (VECTOR_MODE=pinecone "
            "needs an EMBEDDING_MODEL)",
            config->width, CP_MAX_VECTOR_WIDTH);
    if (config->model && strlen(config->model) >= CP_PINECONE_MODEL_CAP)
        return cp_error_set(err, CP_ERR_USAGE,
                            "Pinecone: the model's name has %zu bytes, at most %d",
                            strlen(config->model), CP_PINECONE_MODEL_CAP - 1);
    return CP_OK;
}

static cp_status copy_config(cp_pinecone *p, const cp_pinecone_config *config, cp_error *err) {
    const cp_http_pool_options options = {.max_idle = MAX_IDLE,
                                          .timeout_ms = config->timeout_ms,
                                          .max_tries = MAX_TRIES,
                                          .pause_ms = PAUSE_MS,
                                          .max_pause_ms = MAX_PAUSE_MS};
    size_t n = strlen(config->host);
    while (n > 0 && config->host[n - 1] == '/')
        n--;
    p->prefix = cp_copy_bytes(config->host, n);
    p->key = strdup(config->api_key);
    p->namespace_ = strdup(config->namespace_ ? config->namespace_ : "");
    p->width = config->width;
    if (config->model)
        memcpy(p->model, config->model, strlen(config->model) + 1);
    bool whole = p->prefix && p->key && p->namespace_;
    return whole ? cp_http_pool_create(&options, &p->pool, err)
                 : cp_error_no_memory(err, "Pinecone");
}

cp_status cp_pinecone_open(const cp_pinecone_config *config, cp_pinecone **out, cp_error *err) {
    *out = NULL;
    cp_pinecone *p = calloc(1, sizeof *p);
    if (!p)
        return cp_error_no_memory(err, "Pinecone");
    cp_status status = check_config(config, &p->url, err);
    if (status == CP_OK)
        status = copy_config(p, config, err);
    if (status == CP_OK)
        *out = p;
    else
        cp_pinecone_close(p);
    return status;
}

void cp_pinecone_close(cp_pinecone *p) {
    if (!p)
        return;
    cp_http_pool_free(p->pool);
    free(p->prefix);
    free(p->namespace_);
    if (p->key)
        cp_wipe(p->key, strlen(p->key));
    free(p->key);
    free(p);
}

const char *cp_pinecone_origin(const cp_pinecone *p) {
    return p->url.origin;
}
