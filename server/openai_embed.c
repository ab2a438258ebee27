/* POST /v1/embeddings: a job of pieces between the steps of the chat model. */
#include "base/clock.h"
#include "base/log.h"
#include "server/model_path.h"
#include "server/openai_embeddings.h"
#include "server/openai_service.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct job {
    cp_openai *openai;
    cp_http_request *http;
    cp_openai_embeddings request;
    cp_embedding_task task;
    float *vectors; /* [n_inputs, width] */
    uint64_t deadline_ns;
} job;

static void free_job(job *j) {
    cp_embedder_release(j->openai->embedder, &j->task);
    cp_openai_embeddings_deinit(&j->request);
    free(j->vectors);
    free(j);
}

static void finish(job *j) {
    cp_openai *openai = j->openai;
    cp_http_request *http = j->http;
    free_job(j);
    atomic_fetch_sub(&openai->n_embedding, 1);
    cp_openai_finish(openai, http);
}

static void finish_with(job *j, const cp_api_error *error) {
    cp_http_fail(j->http, error);
    finish(j);
}

/* Why this job should not go on, or NULL. */
static const cp_api_error *stop_reason(const job *j) {
    if (atomic_load(&j->openai->cancel_all))
        return &cp_api_draining;
    if (cp_clock_ns() >= j->deadline_ns)
        return &cp_openai_late;
    return cp_http_client_gone(j->http) ? &cp_api_client_left : NULL;
}

static void finish_failed(job *j) {
    char sentence[96];
    if (j->task.work.status == CP_ERR_LIMIT) {
        snprintf(sentence, sizeof sentence,
                 "an input is too long for the model's context of %zu tokens",
                 cp_embedder_context(j->openai->embedder));
        finish_with(j, &(cp_api_error){400, "context_length_exceeded", sentence, "input", 0});
    } else if (j->task.work.status == CP_ERR_NO_MEMORY) {
        finish_with(j, &cp_api_no_memory);
    } else {
        cp_log(CP_LOG_ERROR, "embedding failed", CP_LOG_S("trace_id", j->http->trace_id),
               CP_LOG_S("reason", j->task.work.err.message));
        finish_with(j, &cp_openai_broken);
    }
}

static void finish_well(job *j) {
    cp_embedder *embedder = j->openai->embedder;
    cp_http_reply *reply = &j->http->reply;
    cp_openai_embeddings_append(&j->request, cp_embedder_model(embedder), j->vectors,
                                cp_embedder_width(embedder), j->task.work.n_tokens, &reply->body);
    reply->status = 200;
    j->http->prompt_tokens = (int64_t)j->task.work.n_tokens;
    if (reply->body.failed != CP_OK)
        cp_http_fail(j->http, &cp_api_no_memory);
    finish(j);
}

/* In the engine's thread. */
static bool piece(void *user) {
    job *j = user;
    const cp_api_error *why = stop_reason(j);
    if (why) {
        finish_with(j, why);
        return false;
    }
    if (cp_embedder_piece(j->openai->embedder, &j->task))
        return true;
    if (j->task.work.status == CP_OK)
        finish_well(j);
    else
        finish_failed(j);
    return false;
}

/* False with an answer. */
static bool prepare(job *j) {
    const cp_openai *openai = j->openai;
    cp_body_fault fault;
    size_t width = cp_embedder_width(openai->embedder);
    const cp_embedding_limits limits = {
        .width = width,
        .n_ids = cp_embedder_n_ids(openai->embedder),
        .context = cp_embedder_context(openai->embedder),
    };
    if (!cp_openai_embeddings_parse(cp_strbuf_str(&j->http->body), &limits, &j->request, &fault)) {
        cp_http_fail(j->http, &fault.error);
        return false;
    }
    cp_str word = cp_path_last(openai->settings->embedding_model);
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)word.n, word.data);
    if (!cp_openai_names_model(j->request.model, cp_embedder_model(openai->embedder), name)) {
        cp_openai_fail_unknown_model(j->http);
        return false;
    }
    j->vectors = calloc(j->request.n_inputs * width, sizeof *j->vectors);
    j->task = (cp_embedding_task){
        .inputs = j->request.inputs, .n_inputs = j->request.n_inputs, .out = j->vectors};
    if (!j->vectors)
        cp_http_fail(j->http, &cp_api_no_memory);
    return j->vectors != NULL;
}

static void submit(job *j) {
    cp_openai *openai = j->openai;
    cp_error err;
    if (!cp_openai_accept(openai, j->http)) {
        free_job(j);
        return;
    }
    /* As many wait as may wait for the chat model. */
    size_t before = atomic_fetch_add(&openai->n_embedding, 1);
    cp_status status = before < (size_t)openai->settings->queue_max
                           ? cp_inference_errand(openai->inference, piece, j, &err)
                           : cp_error_set(&err, CP_ERR_BUSY, "all places are taken");
    if (status == CP_OK)
        return;
    cp_api_error error = cp_openai_queue_full(openai);
    if (status != CP_ERR_BUSY)
        error = status == CP_ERR_NO_MEMORY ? cp_api_no_memory : cp_openai_broken;
    finish_with(j, &error);
}

void cp_openai_handle_embeddings(cp_openai *openai, cp_http_request *request) {
    static const cp_api_error none = {501, "no_embedding_model",
                                      "this server has no embedding model; its operator names one "
                                      "in EMBEDDING_MODEL",
                                      NULL, 0};
    if (!openai->embedder) {
        cp_http_fail(request, &none);
        return;
    }
    if (!cp_openai_is_open(openai, request))
        return;
    job *j = calloc(1, sizeof *j);
    if (!j) {
        cp_http_fail(request, &cp_api_no_memory);
        return;
    }
    j->openai = openai;
    j->http = request;
    j->deadline_ns = cp_http_deadline_ns(request, openai->settings->request_timeout_s, 0);
    if (prepare(j))
        submit(j);
    else
        free_job(j);
}
