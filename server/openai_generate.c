/* Chat and text completions: a job from its body to its last chunk. */
#include "base/clock.h"
#include "base/log.h"
#include "server/admission.h"
#include "server/audit_answer.h"
#include "server/openai_reply.h"
#include "server/openai_service.h"
#include "server/trace_spans.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_EVENT_BYTES ((size_t)1 << 20)
#define BEGIN_AFTER_MS  1000 /* then a stream's headers go out, whatever the model does */

typedef struct job {
    cp_openai *openai;
    cp_http_request *http;
    cp_openai_request request;
    cp_openai_answer answer;
    cp_openai_logprobs logprobs;
    char fingerprint[160];
    uint64_t submitted_ns, recorded_ns; /* to the model; to the audit log */
    /* Of the callbacks. */
    cp_strbuf event;
    bool begun;   /* the stream */
    bool refused; /* nobody takes its bytes */
    bool starved; /* no memory for a chunk */
} job;

static void free_job(job *j) {
    cp_openai_request_deinit(&j->request);
    cp_openai_logprobs_deinit(&j->logprobs);
    cp_strbuf_deinit(&j->event);
    free(j);
}

/* ---- the stream ------------------------------------------------------------------------------ */

/* Sends j->event. */
static void send_event(job *j) {
    if (j->event.failed != CP_OK)
        j->starved = true;
    if (!j->refused && !j->starved)
        j->refused = !cp_http_stream_write(j->http, cp_strbuf_text(&j->event), j->event.n);
    cp_strbuf_clear(&j->event);
}

static void begin_stream(job *j) {
    if (j->begun)
        return;
    j->begun = true;
    cp_http_stream_begin(j->http, "text/event-stream");
    cp_openai_chunk_begin(&j->answer, &j->event);
    if (j->event.n > 0)
        send_event(j);
}

static void on_text(void *user, cp_text_part part, const char *text, size_t n) {
    job *j = user;
    if (!j->request.stream || j->refused || j->starved)
        return;
    begin_stream(j);
    cp_openai_chunk_text(&j->answer, part, (cp_str){text, n}, &j->event);
    send_event(j);
}

static void on_token(void *user, const cp_token_logprobs *token) {
    job *j = user;
    if (!j->starved && !cp_openai_logprobs_add(&j->logprobs, token))
        j->starved = true;
}

static bool is_cancelled(void *user) {
    job *j = user;
    if (atomic_load(&j->openai->cancel_all) || j->starved || j->refused ||
        cp_http_client_gone(j->http))
        return true;
    if (j->request.stream && cp_clock_ms_since(j->http->received_ns) > BEGIN_AFTER_MS)
        begin_stream(j);
    return false;
}

/* ---- the end --------------------------------------------------------------------------------- */

static const cp_api_error *cancel_reason(const job *j) {
    if (j->starved)
        return &cp_api_no_memory;
    return atomic_load(&j->openai->cancel_all) ? &cp_api_draining : &cp_api_client_left;
}

/* What a failed generation means to the client. */
static cp_api_error failure(const job *j, cp_status status, const cp_error *err, char *sentence,
                            size_t cap) {
    const char *param = j->request.kind == CP_OPENAI_CHAT ? "messages" : "prompt";
    switch (status) {
    case CP_ERR_LIMIT:
        snprintf(sentence, cap, "the prompt is too long for the model's context of %zu tokens",
                 cp_openai_context(j->openai));
        return (cp_api_error){400, "context_length_exceeded", sentence, param, 0};
    case CP_ERR_UNSUPPORTED:
        return (cp_api_error){400, "unsupported",
                              "this model has no chat template that is known; use /v1/completions",
                              param, 0};
    case CP_ERR_USAGE:
        return (cp_api_error){422, "invalid", "the prompt has no tokens", param, 0};
    case CP_ERR_NO_MEMORY:
        return cp_api_no_memory;
    case CP_ERR_BUSY:
        return cp_openai_queue_full(j->openai);
    default:
        cp_log(CP_LOG_ERROR, "generation failed", CP_LOG_S("trace_id", j->http->trace_id),
               CP_LOG_S("reason", err ? err->message : ""));
        return cp_openai_broken;
    }
}

/* A deadline that passed before anything was there. */
static bool is_empty_handed(const cp_llm_result *result) {
    return result->finish == CP_FINISH_LENGTH && result->sampled_tokens == 0 &&
           result->answer.n == 0;
}

/* For the access line; metrics are told by the inference service. */
static void note(const job *j, const cp_llm_result *r) {
    j->http->prompt_tokens = (int64_t)r->prompt_tokens;
    j->http->completion_tokens = (int64_t)r->sampled_tokens;
}

/* Frees the job. */
static void finish(job *j) {
    cp_openai *openai = j->openai;
    cp_http_request *http = j->http;
    bool is_stream = j->begun;
    free_job(j);
    if (is_stream) {
        cp_http_stream_end(http);
        atomic_fetch_sub(&openai->n_unfinished, 1);
    } else {
        cp_openai_finish(openai, http);
    }
}

static void finish_with(job *j, const cp_api_error *error) {
    if (j->begun)
        cp_http_stream_fail(j->http, error);
    else
        cp_http_fail(j->http, error);
    finish(j);
}

/* What was composed leaves. */
static void deliver(job *j) {
    if (j->request.stream) {
        send_event(j);
        if (j->starved)
            cp_http_stream_fail(j->http, &cp_api_no_memory);
    } else {
        j->http->reply.status = 200;
    }
    finish(j);
}

static void trace_record(job *j) {
    cp_trace_stage(&j->http->trace, "audit write", &j->recorded_ns);
}

static void on_recorded(void *user, cp_status status, const cp_error *err) {
    static const cp_api_error unavailable = {
        503, "audit_unavailable", "the answer could not be recorded; nothing leaves unrecorded",
        NULL, 5};
    job *j = user;
    trace_record(j);
    if (status == CP_OK) {
        deliver(j);
        return;
    }
    cp_log(CP_LOG_ERROR, "an answer was held back: it has no record",
           CP_LOG_S("trace_id", j->http->trace_id), CP_LOG_S("reason", err->message));
    finish_with(j, &unavailable);
}

/* Only what a client has seen of a stream; the rest of the job is over. */
static void on_parting_recorded(void *user, cp_status status, const cp_error *err) {
    job *j = user;
    trace_record(j);
    if (status != CP_OK)
        cp_log(CP_LOG_ERROR, "a stream that was left has no record",
               CP_LOG_S("trace_id", j->http->trace_id), CP_LOG_S("reason", err->message));
    finish_with(j, cancel_reason(j));
}

/* Calls `done`, now or from the audit thread. */
static void record(job *j, const cp_llm_result *result, cp_audit_done *done) {
    cp_error err;
    cp_audit_entry entry = cp_audit_entry_of(j->openai->inference, j->http);
    entry.request = &j->request.llm;
    entry.result = result;
    entry.schema_text = j->request.schema_text;
    j->recorded_ns = cp_clock_ns();
    cp_status status = cp_audit_submit(j->openai->audit, &entry, done, j, &err);
    if (status != CP_OK)
        done(j, status, &err);
}

static void finish_well(job *j, const cp_llm_result *result) {
    cp_http_reply *reply = &j->http->reply;
    if (j->request.stream) {
        begin_stream(j);
        cp_openai_chunk_end(&j->answer, result, &j->event);
    } else {
        cp_openai_reply_append(&j->answer, result, &reply->body);
        if (reply->body.failed != CP_OK || j->starved) {
            finish_with(j, &cp_api_no_memory);
            return;
        }
    }
    if (j->openai->audit)
        record(j, result, on_recorded);
    else
        deliver(j);
}

static void part(job *j, const cp_llm_result *result) {
    bool seen = j->begun && result->answer.n + result->thinking.n > 0;
    if (seen && j->openai->audit)
        record(j, result, on_parting_recorded);
    else
        finish_with(j, cancel_reason(j));
}

static void trace(const job *j, cp_status status, const cp_llm_result *result) {
    const cp_trace_generation generation = {
        .operation = j->request.kind == CP_OPENAI_CHAT ? "chat" : "text_completion",
        .model = j->answer.model,
        .submitted_ns = j->submitted_ns,
        .max_new_tokens = j->request.llm.max_new_tokens,
        .status = status,
        .result = status == CP_OK ? result : NULL,
    };
    cp_trace_generation_over(&j->http->trace, &generation);
}

static void on_done(void *user, cp_status status, const cp_llm_result *result,
                    const cp_error *err) {
    job *j = user;
    char sentence[128];
    trace(j, status, result);
    if (status != CP_OK) {
        cp_api_error error = failure(j, status, err, sentence, sizeof sentence);
        finish_with(j, &error);
        return;
    }
    note(j, result);
    if (result->finish == CP_FINISH_CANCELLED)
        part(j, result);
    else if (is_empty_handed(result))
        finish_with(j, &cp_openai_late);
    else
        finish_well(j, result);
}

/* ---- the HTTP thread ------------------------------------------------------------------------- */

/* The parsed request with everything that the model and the callbacks need. */
static void complete(job *j) {
    const cp_openai *openai = j->openai;
    cp_llm_request *llm = &j->request.llm;
    llm->sampling = cp_openai_request_sampling(
        &j->request, cp_inference_default_sampling(openai->inference, llm->thinking));
    if (!cp_openai_request_has_seed(&j->request))
        llm->sampling.seed = cp_http_random_seed();
    llm->deadline_ns =
        cp_http_deadline_ns(j->http, openai->settings->request_timeout_s, j->request.deadline_ms);
    llm->owner = cp_access_owner(j->http);
    llm->on_text = on_text;
    llm->is_cancelled = is_cancelled;
    llm->user = j;
    const cp_llm *model = cp_inference_llm(openai->inference);
    if (j->request.logprobs && model) { /* the mock has no tokens */
        llm->on_token = on_token;
        j->logprobs.tok = cp_llm_tokenizer(model);
    }
    j->logprobs.n_top = llm->n_top_logprobs;
    cp_openai_fingerprint(openai, j->fingerprint, sizeof j->fingerprint);
    j->answer = (cp_openai_answer){
        .trace_id = j->http->trace_id,
        .created = (int64_t)time(NULL),
        .model = cp_inference_model(openai->inference),
        .fingerprint = j->fingerprint,
        .request = &j->request,
        .logprobs = j->request.logprobs ? &j->logprobs : NULL,
    };
}

static bool parse(job *j, cp_openai_kind kind) {
    cp_body_fault fault;
    const cp_inference *inference = j->openai->inference;
    if (!cp_openai_request_parse(cp_strbuf_str(&j->http->body), kind,
                                 j->openai->settings->max_new_tokens, &j->request, &fault)) {
        cp_http_fail(j->http, &fault.error);
        return false;
    }
    if (cp_openai_names_model(j->request.model, cp_inference_model(inference),
                              cp_inference_llm_mode(inference)))
        return true;
    cp_openai_fail_unknown_model(j->http);
    return false;
}

/* The callbacks may come before submit returns: afterwards the job is theirs. */
static void submit(job *j) {
    cp_openai *openai = j->openai;
    cp_error err;
    char sentence[128];
    if (!cp_openai_accept(openai, j->http)) {
        free_job(j);
        return;
    }
    j->submitted_ns = cp_clock_ns();
    cp_status status = cp_inference_submit(openai->inference, &j->request.llm, on_done, &err);
    if (status == CP_OK)
        return;
    trace(j, status, NULL);
    cp_api_error error = failure(j, status, &err, sentence, sizeof sentence);
    finish_with(j, &error);
}

static void handle(cp_openai *openai, cp_http_request *http, cp_openai_kind kind) {
    if (!cp_openai_is_open(openai, http))
        return;
    job *j = calloc(1, sizeof *j);
    if (!j) {
        cp_http_fail(http, &cp_api_no_memory);
        return;
    }
    j->openai = openai;
    j->http = http;
    cp_strbuf_init(&j->event, MAX_EVENT_BYTES);
    if (!parse(j, kind)) {
        free_job(j);
        return;
    }
    complete(j);
    submit(j);
}

void cp_openai_handle_chat(cp_openai *openai, cp_http_request *request) {
    handle(openai, request, CP_OPENAI_CHAT);
}

void cp_openai_handle_completion(cp_openai *openai, cp_http_request *request) {
    handle(openai, request, CP_OPENAI_TEXT);
}
