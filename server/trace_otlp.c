#include "server/trace_otlp.h"

#include "base/crypto.h"
#include "base/json.h"
#include "base/json_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_ERROR   2
#define HAS_IS_REMOTE  0x100u /* Span.flags: whether the parent is known to be remote or not */
#define IS_REMOTE      0x200u
#define MAX_ANSWER_INT INT64_C(1000000)
#define SCOPE          "carepath"
#define MAX_NAME       320

static void put_id(cp_json_writer *w, const char *key, const unsigned char *id, size_t n) {
    char hex[2 * CP_TRACE_ID_BYTES + 1];
    cp_hex(id, n, hex);
    cp_json_member_text(w, key, hex);
}

/* 64-bit integers are strings in this encoding. */
static void put_u64(cp_json_writer *w, const char *key, uint64_t value) {
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, value);
    cp_json_member_text(w, key, digits);
}

static void open_attribute(cp_json_writer *w, const char *key) {
    cp_json_open_object(w);
    cp_json_member_text(w, "key", key);
    cp_json_key(w, "value");
    cp_json_open_object(w);
}

static void close_attribute(cp_json_writer *w) {
    cp_json_close_object(w);
    cp_json_close_object(w);
}

static void put_text(cp_json_writer *w, const char *key, const char *text) {
    open_attribute(w, key);
    cp_json_member_text(w, "stringValue", text);
    close_attribute(w);
}

static void put_words(cp_json_writer *w, const char *word) {
    cp_json_key(w, "arrayValue");
    cp_json_open_object(w);
    cp_json_key(w, "values");
    cp_json_open_array(w);
    cp_json_open_object(w);
    cp_json_member_text(w, "stringValue", word);
    cp_json_close_object(w);
    cp_json_close_array(w);
    cp_json_close_object(w);
}

static void put_attribute(cp_json_writer *w, const cp_trace_span_attribute *attribute) {
    char digits[24];
    open_attribute(w, attribute->key);
    switch (attribute->kind) {
    case CP_SPAN_TEXT:
        cp_json_member_text(w, "stringValue", attribute->text);
        break;
    case CP_SPAN_WORDS:
        put_words(w, attribute->text);
        break;
    case CP_SPAN_INT:
        snprintf(digits, sizeof digits, "%" PRId64, attribute->number);
        cp_json_member_text(w, "intValue", digits);
        break;
    }
    close_attribute(w);
}

static bool has_parent(const cp_trace_span *span) {
    static const unsigned char none[CP_SPAN_ID_BYTES];
    return memcmp(span->parent, none, sizeof none) != 0;
}

static void put_name(cp_json_writer *w, const cp_trace_span *span) {
    char name[MAX_NAME];
    snprintf(name, sizeof name, "%s%s%s", span->name, span->subject ? " " : "",
             span->subject ? span->subject : "");
    cp_json_member_text(w, "name", name);
}

static void put_span(cp_json_writer *w, const cp_trace_span *span, uint64_t offset_ns) {
    unsigned flags = (span->flags & 0xff) | HAS_IS_REMOTE;
    cp_json_open_object(w);
    put_id(w, "traceId", span->trace_id, CP_TRACE_ID_BYTES);
    put_id(w, "spanId", span->id, CP_SPAN_ID_BYTES);
    if (has_parent(span))
        put_id(w, "parentSpanId", span->parent, CP_SPAN_ID_BYTES);
    cp_json_member_int(w, "flags", flags | (span->has_remote_parent ? IS_REMOTE : 0));
    put_name(w, span);
    cp_json_member_int(w, "kind", span->kind);
    put_u64(w, "startTimeUnixNano", span->begun_ns + offset_ns);
    put_u64(w, "endTimeUnixNano", span->ended_ns + offset_ns);
    cp_json_key(w, "attributes");
    cp_json_open_array(w);
    for (size_t i = 0; i < span->n_attributes; i++)
        put_attribute(w, &span->attributes[i]);
    cp_json_close_array(w);
    cp_json_key(w, "status");
    cp_json_open_object(w);
    if (span->failed)
        cp_json_member_int(w, "code", STATUS_ERROR);
    cp_json_close_object(w);
    cp_json_close_object(w);
}

/* Ours come first, and theirs do not replace them; of two of theirs the last counts. */
static bool is_told(const cp_http_field *ours, size_t n_ours, const cp_pairs *theirs, size_t at) {
    const char *name = theirs->pairs[at].name;
    for (size_t i = 0; i < n_ours; i++)
        if (strcmp(ours[i].name, name) == 0)
            return false;
    for (size_t i = at + 1; i < theirs->n; i++)
        if (strcmp(theirs->pairs[i].name, name) == 0)
            return false;
    return true;
}

static void put_resource(cp_json_writer *w, const cp_otlp_resource *resource) {
    const cp_trace_options *options = resource->options;
    const cp_http_field ours[] = {
        {"service.name", options->service_name},
        {"service.version", CP_VERSION},
        {"service.instance.id", resource->instance},
        {"deployment.environment.name", options->environment},
        {"telemetry.sdk.name", "carepath"},
        {"telemetry.sdk.language", "c"},
    };
    size_t n_ours = sizeof ours / sizeof ours[0];
    cp_json_key(w, "resource");
    cp_json_open_object(w);
    cp_json_key(w, "attributes");
    cp_json_open_array(w);
    for (size_t i = 0; i < n_ours; i++)
        put_text(w, ours[i].name, ours[i].value);
    for (size_t i = 0; i < options->resource.n; i++)
        if (is_told(ours, n_ours, &options->resource, i))
            put_text(w, options->resource.pairs[i].name, options->resource.pairs[i].value);
    cp_json_close_array(w);
    cp_json_close_object(w);
}

static void put_scope(cp_json_writer *w) {
    cp_json_key(w, "scope");
    cp_json_open_object(w);
    cp_json_member_text(w, "name", SCOPE);
    cp_json_member_text(w, "version", CP_VERSION);
    cp_json_close_object(w);
}

void cp_otlp_append(const cp_otlp_resource *resource, const cp_trace_span *spans, size_t n,
                    uint64_t unix_offset_ns, cp_strbuf *out) {
    cp_json_writer w;
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    cp_json_key(&w, "resourceSpans");
    cp_json_open_array(&w);
    cp_json_open_object(&w);
    put_resource(&w, resource);
    cp_json_key(&w, "scopeSpans");
    cp_json_open_array(&w);
    cp_json_open_object(&w);
    put_scope(&w);
    cp_json_key(&w, "spans");
    cp_json_open_array(&w);
    for (size_t i = 0; i < n; i++)
        put_span(&w, &spans[i], unix_offset_ns);
    cp_json_close_array(&w);
    cp_json_close_object(&w);
    cp_json_close_array(&w);
    cp_json_close_object(&w);
    cp_json_close_array(&w);
    cp_json_close_object(&w);
}

/* {"partialSuccess":{"rejectedSpans":"3","errorMessage":"..."}}; numbers are taken, too. */
size_t cp_otlp_n_rejected(cp_str answer) {
    cJSON *tree = NULL;
    int64_t n = 0;
    if (cp_json_parse("the receiver's answer", answer.data, answer.n, &tree, NULL) != CP_OK)
        return 0;
    const cJSON *rejected = cp_json_member(cp_json_member(tree, "partialSuccess"), "rejectedSpans");
    if (cJSON_IsString(rejected)) {
        if (!cp_args_int(rejected->valuestring, 0, (double)MAX_ANSWER_INT, &n))
            n = 0;
    } else if (cJSON_IsNumber(rejected) && rejected->valuedouble >= 0 &&
               rejected->valuedouble <= (double)MAX_ANSWER_INT) {
        n = (int64_t)rejected->valuedouble;
    }
    cJSON_Delete(tree);
    return (size_t)n;
}
