/* Where spans go and which are kept: the OTEL_ settings, read and checked.
 *
 * The forms are those of the OpenTelemetry specification: lists are "key=value,key=value" with
 * percent-encoded values. An error names the setting and never its value, which may hold a key. */
#ifndef CP_SERVER_TRACE_OPTIONS_H
#define CP_SERVER_TRACE_OPTIONS_H

#include "base/http_client.h"
#include "server/settings.h"

#define CP_TRACE_MAX_PAIRS 32
#define CP_TRACE_URL_CAP   1400

/* In the order of the setting's words. */
typedef enum cp_trace_sampler {
    CP_TRACE_SAMPLER_PARENT_RATIO, /* the parent's decision; without one, by the ratio */
    CP_TRACE_SAMPLER_PARENT_ON,
    CP_TRACE_SAMPLER_PARENT_OFF,
    CP_TRACE_SAMPLER_RATIO,
    CP_TRACE_SAMPLER_ON,
    CP_TRACE_SAMPLER_OFF,
} cp_trace_sampler;

/* Decoded; its texts are owned. */
typedef struct cp_pairs {
    cp_http_field pairs[CP_TRACE_MAX_PAIRS];
    size_t n;
} cp_pairs;

typedef struct cp_trace_options {
    char url[CP_TRACE_URL_CAP]; /* "": tracing is off */
    cp_pairs headers, resource;
    const char *service_name, *environment; /* borrowed from the settings */
    cp_trace_sampler sampler;
    double ratio;
    int64_t timeout_ms, delay_ms;
    size_t queue_cap; /* spans */
} cp_trace_options;

/* Released with cp_trace_options_deinit, also after failure. */
cp_status cp_trace_options_read(const cp_settings *settings, cp_trace_options *out,
                                cp_error *err) CP_MUST_CHECK;
void cp_trace_options_deinit(cp_trace_options *options);

#endif
