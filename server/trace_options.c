#include "server/trace_options.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LIST_BYTES ((size_t)8192)

static const char headers_name[] = "OTEL_EXPORTER_OTLP_HEADERS";
static const char resource_name[] = "OTEL_RESOURCE_ATTRIBUTES";

/* ---- "key=value,key=value" ------------------------------------------------------------------- */

static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %41 becomes A, in place. False for a % without two digits, and for control characters. */
static bool decode(char *text) {
    char *to = text;
    for (const char *at = text; *at; at++) {
        char c = *at;
        if (c == '%') {
            int high = digit(at[1]), low = high < 0 ? -1 : digit(at[2]);
            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            at += 2;
        }
        if ((unsigned char)c < 0x20 || c == 0x7f)
            return false;
        *to++ = c;
    }
    *to = '\0';
    return true;
}

static cp_str trim(cp_str text) {
    while (text.n > 0 && (*text.data == ' ' || *text.data == '\t'))
        text = (cp_str){text.data + 1, text.n - 1};
    while (text.n > 0 && (text.data[text.n - 1] == ' ' || text.data[text.n - 1] == '\t'))
        text.n--;
    return text;
}

static bool is_token(const char *text) {
    static const char marks[] = "!#$%&'*+-.^_`|~/";
    size_t n = 0;
    for (; text[n]; n++) {
        char c = text[n];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && !strchr(marks, c))
            return false;
    }
    return n > 0;
}

static cp_status bad_list(const char *name, cp_error *err) {
    return cp_error_set(err, CP_ERR_USAGE,
                        "%s is not of the form key=value,key=value with %%-encoded values, at most "
                        "%d of them",
                        name, CP_TRACE_MAX_PAIRS);
}

static cp_status add_pair(cp_pairs *out, cp_str member, const char *name, cp_error *err) {
    const char *equals = memchr(member.data, '=', member.n);
    if (!equals || out->n == CP_TRACE_MAX_PAIRS)
        return bad_list(name, err);
    cp_str key = trim((cp_str){member.data, (size_t)(equals - member.data)});
    cp_str value = trim((cp_str){equals + 1, member.n - (size_t)(equals + 1 - member.data)});
    char *own_key = cp_copy_bytes(key.data, key.n);
    char *own_value = cp_copy_bytes(value.data, value.n);
    out->pairs[out->n++] = (cp_http_field){own_key, own_value};
    if (!own_key || !own_value)
        return cp_error_no_memory(err, name);
    bool fits = decode(own_value) && is_token(own_key) &&
                (name != headers_name || !strchr(own_key, '/')) &&
                cp_utf8_is_valid(own_value, strlen(own_value));
    return fits ? CP_OK : bad_list(name, err);
}

static cp_status read_list(const char *name, const char *text, cp_pairs *out, cp_error *err) {
    cp_status status = CP_OK;
    if (strlen(text) > MAX_LIST_BYTES)
        return cp_error_set(err, CP_ERR_USAGE, "%s is longer than %zu bytes", name, MAX_LIST_BYTES);
    while (*text && status == CP_OK) {
        size_t n = strcspn(text, ",");
        cp_str member = trim((cp_str){text, n});
        if (member.n > 0)
            status = add_pair(out, member, name, err);
        text += n + (text[n] == ',');
    }
    return status;
}

static void free_list(cp_pairs *list) {
    for (size_t i = 0; i < list->n; i++) {
        free((char *)(uintptr_t)list->pairs[i].name);
        free((char *)(uintptr_t)list->pairs[i].value);
    }
    list->n = 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* The endpoint for traces as it stands, or the one for everything and /v1/traces. */
static cp_status find_url(const cp_settings *s, cp_trace_options *out, cp_error *err) {
    cp_http_url url;
    bool own = *s->otlp_traces_endpoint != '\0';
    const char *name = own ? "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" : "OTEL_EXPORTER_OTLP_ENDPOINT";
    const char *text = own ? s->otlp_traces_endpoint : s->otlp_endpoint;
    size_t n = strlen(text);
    cp_status status = cp_http_url_parse(name, text, &url, err);
    if (status == CP_OK && strpbrk(text, "?#"))
        status =
            cp_error_set(err, CP_ERR_USAGE, "%s has a query or fragment, expected a path", name);
    while (!own && n > 0 && text[n - 1] == '/')
        n--;
    if (status == CP_OK && n >= CP_TRACE_URL_CAP - sizeof "/v1/traces")
        status = cp_error_set(err, CP_ERR_USAGE, "%s is longer than %d bytes", name,
                              CP_TRACE_URL_CAP - (int)sizeof "/v1/traces");
    if (status == CP_OK)
        snprintf(out->url, sizeof out->url, "%.*s%s", (int)n, text, own ? "" : "/v1/traces");
    return status;
}

static bool by_ratio(cp_trace_sampler sampler) {
    return sampler == CP_TRACE_SAMPLER_RATIO || sampler == CP_TRACE_SAMPLER_PARENT_RATIO;
}

cp_status cp_trace_options_read(const cp_settings *s, cp_trace_options *out, cp_error *err) {
    *out = (cp_trace_options){.service_name = s->otel_service_name,
                              .environment = cp_settings_word(s, "APP_ENV"),
                              .sampler = (cp_trace_sampler)s->otel_sampler,
                              .ratio = 1,
                              .timeout_ms = s->otlp_timeout_ms,
                              .delay_ms = s->otel_delay_ms,
                              .queue_cap = (size_t)s->otel_queue};
    if (s->otel_disabled || (!*s->otlp_endpoint && !*s->otlp_traces_endpoint))
        return CP_OK;
    cp_status status = find_url(s, out, err);
    if (status == CP_OK && by_ratio(out->sampler) &&
        !cp_args_number(s->otel_sampler_arg, 0, 1, &out->ratio))
        status = cp_error_set(err, CP_ERR_USAGE,
                              "OTEL_TRACES_SAMPLER_ARG is \"%s\", expected a number from 0 to 1",
                              s->otel_sampler_arg);
    if (status == CP_OK)
        status = read_list(headers_name, s->otlp_headers, &out->headers, err);
    if (status == CP_OK)
        status = read_list(resource_name, s->otel_resource, &out->resource, err);
    return status;
}

void cp_trace_options_deinit(cp_trace_options *options) {
    for (size_t i = 0; i < options->headers.n; i++) {
        char *value = (char *)(uintptr_t)options->headers.pairs[i].value;
        if (value)
            explicit_bzero(value, strlen(value));
    }
    free_list(&options->headers);
    free_list(&options->resource);
}
