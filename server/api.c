#include "server/api.h"

#include "base/json_writer.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/admission.h"
#include "server/trace_spans.h"

#include <stdio.h>
#include <string.h>

#define PING_INTERVAL_S   10
#define V1_MAX_BODY_BYTES ((size_t)1 << 20)

static const char *state_word(const cp_inference *inference) {
    switch (cp_inference_get_state(inference)) {
    case CP_INFERENCE_LOADING:
        return "loading";
    case CP_INFERENCE_FAILED:
        return "failed";
    case CP_INFERENCE_READY:
        break;
    }
    return cp_inference_is_stuck(inference) ? "stuck" : "ok";
}

static void handle_triage(void *app, cp_http_request *request) {
    cp_api *api = app;
    cp_triage_handle(api->triage, request);
}

static void handle_record(void *app, cp_http_request *request) {
    cp_patients_handle_record(&((cp_api *)app)->patients, request);
}

static void handle_summary(void *app, cp_http_request *request) {
    cp_patients_handle_summary(&((cp_api *)app)->patients, request);
}

static void handle_encounters(void *app, cp_http_request *request) {
    cp_patients_handle_encounters(&((cp_api *)app)->patients, request);
}

static void handle_documents(void *app, cp_http_request *request) {
    cp_patients_handle_documents(&((cp_api *)app)->patients, request);
}

static void handle_document(void *app, cp_http_request *request) {
    cp_patients_handle_document(&((cp_api *)app)->patients, request);
}

static void handle_import(void *app, cp_http_request *request) {
    cp_patients_handle_import(&((cp_api *)app)->patients, request);
}

static void handle_chat(void *app, cp_http_request *request) {
    cp_openai_handle_chat(((cp_api *)app)->openai, request);
}

static void handle_completion(void *app, cp_http_request *request) {
    cp_openai_handle_completion(((cp_api *)app)->openai, request);
}

static void handle_embeddings(void *app, cp_http_request *request) {
    cp_openai_handle_embeddings(((cp_api *)app)->openai, request);
}

static void handle_rerank(void *app, cp_http_request *request) {
    cp_openai_handle_rerank(((cp_api *)app)->openai, request);
}

static void handle_models(void *app, cp_http_request *request) {
    cp_openai_handle_models(((cp_api *)app)->openai, request);
}

static void handle_model(void *app, cp_http_request *request) {
    cp_openai_handle_model(((cp_api *)app)->openai, request);
}

/* "download" while the model is being fetched. */
static void put_download(cp_json_writer *w, const cp_inference *inference) {
    cp_model_pull_progress progress;
    if (!cp_inference_is_fetching(inference, &progress))
        return;
    cp_json_key(w, "download");
    cp_json_open_object(w);
    cp_json_member_int(w, "done_bytes", (int64_t)progress.done_bytes);
    cp_json_member_int(w, "total_bytes", (int64_t)progress.total_bytes);
    cp_json_close_object(w);
}

/* Not ready: being loaded, or fetched, and then how far that is. */
static void fail_loading(const cp_api *api, cp_http_request *request) {
    cp_model_pull_progress progress;
    cp_api_error error = cp_api_loading;
    char message[128];
    if (cp_inference_is_fetching(api->inference, &progress)) {
        snprintf(message, sizeof message, "the model is being fetched: %llu of %llu MB are here",
                 (unsigned long long)progress.done_bytes / 1000000,
                 (unsigned long long)progress.total_bytes / 1000000);
        error.message = message;
    }
    cp_http_fail(request, &error);
}

/* The process is alive: 200, unless the model's thread has stopped moving. */
static void handle_health(void *app, cp_http_request *request) {
    const cp_api *api = app;
    cp_json_writer w;
    cp_json_writer_init(&w, &request->reply.body);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "status", state_word(api->inference));
    cp_json_member_text(&w, "env", cp_settings_word(api->settings, "APP_ENV"));
    cp_json_member_text(&w, "version", CP_VERSION);
    cp_json_member_text(&w, "llm_mode", cp_inference_llm_mode(api->inference));
    cp_json_member_text(&w, "model", cp_inference_model(api->inference));
    put_download(&w, api->inference);
    cp_json_close_object(&w);
    cp_strbuf_putc(&request->reply.body, '\n');
    request->reply.status = cp_inference_is_stuck(api->inference) ? 503 : 200;
}

static void handle_ready(void *app, cp_http_request *request) {
    const cp_api *api = app;
    if (atomic_load(&api->draining)) {
        cp_http_fail(request, &cp_api_draining);
    } else if (cp_inference_get_state(api->inference) != CP_INFERENCE_READY) {
        fail_loading(api, request);
    } else {
        bool reviewed = cp_triage_rules_reviewed_by(api->triage) != NULL;
        cp_strbuf_printf(&request->reply.body, "{\"status\":\"ready\",\"rules_reviewed\":%s}\n",
                         reviewed ? "true" : "false");
        request->reply.status = 200;
    }
}

static void handle_metrics(void *app, cp_http_request *request) {
    const cp_api *api = app;
    char last[CP_AUDIT_HEX_CAP];
    bool open = strstr(request->accept, "application/openmetrics-text") != NULL;
    const cp_metrics_gauges gauges = {
        .queued = cp_inference_n_queued(api->inference),
        .running = cp_inference_n_running(api->inference),
        .api_keys = cp_access_n_keys(api->access),
        .api_key_failures = cp_access_n_bad_reloads(api->access),
        .rejected = cp_inference_n_rejected(api->inference),
        .scheduler = cp_inference_stats(api->inference),
        .conversations = cp_conversations_get_stats(cp_triage_memory(api->triage).conversations),
        .sources = cp_grounding_gauges(api->grounding),
        .queue_max = (uint64_t)api->settings->queue_max,
        .running_max = (uint64_t)api->settings->max_running,
        .audit_records = api->patients.audit ? cp_audit_n_records(api->patients.audit, last) : 0,
        .audit_failures = api->patients.audit ? cp_audit_n_failed(api->patients.audit) : 0,
        .has_audit = api->patients.audit != NULL,
        .traces = cp_tracer_get_stats(api->tracer),
        .has_tracer = api->tracer != NULL,
        .store = cp_patients_store(api->patients.patients)->kind,
        .model_stuck = cp_inference_is_stuck(api->inference),
        .model_loaded = cp_inference_get_state(api->inference) == CP_INFERENCE_READY,
        .rules_reviewed = cp_triage_rules_reviewed_by(api->triage) != NULL,
        .llm_mode = cp_inference_llm_mode(api->inference),
        .model = cp_inference_model(api->inference),
    };
    cp_metrics_append(api->metrics, &gauges, open, &request->reply.body);
    request->reply.status = 200;
    request->reply.content_type = open ? cp_metrics_openmetrics_type : cp_metrics_text_type;
}

static void admit(void *app, cp_http_request *request) {
    cp_api *api = app;
    const cp_admission admission = {
        .access = api->access,
        .metrics = api->metrics,
        .addresses = api->addresses,
        .refusals_per_minute = (uint64_t)api->settings->refusals_per_minute,
        .keyless_per_minute = (uint64_t)api->settings->keyless_per_minute,
    };
    cp_admission_check(&admission, request);
}

static void on_done(void *app, const cp_http_request *request, double ms) {
    const cp_api *api = app;
    const char *route = request->route ? request->route->path : "other";
    int status = request->reply.status;
    bool probe = request->route && !request->route->is_post && status == 200;
    cp_access_count(api->access, cp_access_owner(request),
                    request->prompt_tokens + request->completion_tokens);
    const unsigned char *trace_id =
        cp_trace_is_probe(request) ? NULL : cp_trace_exemplar(&request->trace, api->tracer);
    cp_metrics_http(api->metrics, route, request->method, status, ms / 1e3, trace_id);
    cp_trace_request_over(request);
    cp_log(probe ? CP_LOG_DEBUG : CP_LOG_INFO, "request", CP_LOG_S("trace_id", request->trace_id),
           CP_LOG_S("request_id", request->request_id), CP_LOG_S("route", route),
           CP_LOG_S("key", *request->owner ? request->owner : NULL), CP_LOG_I("status", status),
           CP_LOG_S("code", request->reply.code), CP_LOG_N("ms", ms),
           CP_LOG_I("prompt_tokens", request->prompt_tokens),
           CP_LOG_I("completion_tokens", request->completion_tokens));
}

void cp_api_note_lookup(void *user, const cp_patient_lookup *lookup, const cp_lookup_times *times,
                        cp_status status) {
    const cp_api *api = user;
    const unsigned char *trace_id =
        lookup->trace ? cp_trace_exemplar(lookup->trace, api->tracer) : NULL;
    cp_metrics_lookup(api->metrics, times, cp_lookup_outcome_of(status), trace_id);
    cp_trace_lookup_over(lookup, times, status);
}

static void on_tick(void *app) {
    cp_api *api = app;
    cp_access_tick(api->access);
    cp_patients_tick(api->patients.patients);
    cp_triage_tick(api->triage);
    cp_grounding_tick(api->grounding);
}

static const cp_http_route routes[] = {
    {.path = "/triage", .is_post = true, .handle = handle_triage, .scope = CP_SCOPE_TRIAGE},
    {.path = "/patients/{}", .handle = handle_record, .scope = CP_SCOPE_PATIENTS_READ},
    {.path = "/patients/{}/summary", .handle = handle_summary, .scope = CP_SCOPE_PATIENTS_READ},
    {.path = "/patients/{}/encounters",
     .handle = handle_encounters,
     .scope = CP_SCOPE_PATIENTS_READ},
    {.path = "/patients/{}/documents", .handle = handle_documents, .scope = CP_SCOPE_PATIENTS_READ},
    {.path = "/patients/{}/documents/{}",
     .handle = handle_document,
     .scope = CP_SCOPE_PATIENTS_READ},
    {.path = "/patients/$import",
     .is_post = true,
     .handle = handle_import,
     .max_body_bytes = CP_IMPORT_MAX_BYTES,
     .scope = CP_SCOPE_PATIENTS_WRITE},
    {.path = "/v1/chat/completions",
     .is_post = true,
     .handle = handle_chat,
     .max_body_bytes = V1_MAX_BODY_BYTES,
     .scope = CP_SCOPE_CHAT},
    {.path = "/v1/completions",
     .is_post = true,
     .handle = handle_completion,
     .max_body_bytes = V1_MAX_BODY_BYTES,
     .scope = CP_SCOPE_CHAT},
    {.path = "/v1/embeddings",
     .is_post = true,
     .handle = handle_embeddings,
     .max_body_bytes = V1_MAX_BODY_BYTES,
     .scope = CP_SCOPE_CHAT},
    {.path = "/v1/rerank",
     .is_post = true,
     .handle = handle_rerank,
     .max_body_bytes = V1_MAX_BODY_BYTES,
     .scope = CP_SCOPE_CHAT},
    {.path = "/v1/models", .handle = handle_models, .scope = CP_SCOPE_CHAT},
    {.path = "/v1/models/{}", .handle = handle_model, .scope = CP_SCOPE_CHAT},
    {.path = "/health", .handle = handle_health, .scope = CP_SCOPE_OPEN},
    {.path = "/ready", .handle = handle_ready, .scope = CP_SCOPE_OPEN},
    {.path = "/metrics", .handle = handle_metrics, .scope = CP_SCOPE_METRICS},
};

cp_status cp_api_read_lists(cp_api *api, const cp_settings *settings, cp_error *err) {
    cp_status status = cp_origins_parse(settings->cors_origins, "CORS_ORIGINS", &api->origins, err);
    if (status == CP_OK)
        status =
            cp_networks_parse(settings->trusted_proxies, "TRUSTED_PROXIES", &api->proxies, err);
    return status;
}

cp_http_config cp_api_http_config(cp_api *api) {
    const cp_settings *s = api->settings;
    return (cp_http_config){
        .host = s->host,
        .port = (int)s->port,
        .max_connections = (size_t)s->max_connections,
        .header_timeout_s = s->header_timeout_s,
        .body_timeout_s = s->body_timeout_s,
        .idle_timeout_s = s->idle_timeout_s,
        .ping_interval_s = PING_INTERVAL_S,
        .tracer = api->tracer,
        .routes = routes,
        .n_routes = CP_COUNT_OF(routes),
        .app = api,
        .admit = admit,
        .tls_cert_file = s->tls_cert_file,
        .tls_key_file = s->tls_key_file,
        .origins = &api->origins,
        .proxies = &api->proxies,
        .on_done = on_done,
        .on_tick = on_tick,
    };
}
