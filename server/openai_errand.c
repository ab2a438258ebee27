#include "server/openai_errand.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <stdio.h>

void cp_openai_errand_init(cp_openai_errand *e, cp_openai *openai, cp_http_request *http) {
    e->openai = openai;
    e->http = http;
    e->deadline_ns = cp_http_deadline_ns(http, openai->settings->request_timeout_s, 0);
}

bool cp_openai_errand_check_model(cp_http_request *http, const char *asked, const char *folder,
                                  const char *setting_value) {
    cp_str word = cp_path_last(setting_value);
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)word.n, word.data);
    if (cp_openai_names_model(asked, folder, name))
        return true;
    cp_openai_fail_unknown_model(http);
    return false;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void finish(cp_openai_errand *e) {
    cp_openai *openai = e->openai;
    cp_http_request *http = e->http;
    e->free(e);
    atomic_fetch_sub(&openai->n_errands, 1);
    cp_openai_finish(openai, http);
}

static void finish_with(cp_openai_errand *e, const cp_api_error *error) {
    cp_http_fail(e->http, error);
    finish(e);
}

static void finish_failed(cp_openai_errand *e) {
    char sentence[128];
    if (e->work->status == CP_ERR_LIMIT) {
        snprintf(sentence, sizeof sentence,
                 "a text of %s is too long for the model's context of %zu tokens", e->text_field,
                 e->context);
        finish_with(e, &(cp_api_error){400, "context_length_exceeded", sentence, e->text_field, 0});
    } else if (e->work->status == CP_ERR_NO_MEMORY) {
        finish_with(e, &cp_api_no_memory);
    } else {
        cp_log(CP_LOG_ERROR, "a model beside the chat model failed",
               CP_LOG_S("trace_id", e->http->trace_id), CP_LOG_S("reason", e->work->err.message));
        finish_with(e, &cp_openai_broken);
    }
}

static void finish_well(cp_openai_errand *e) {
    e->http->reply.status = 200;
    e->http->prompt_tokens = (int64_t)e->work->n_tokens;
    e->answer(e);
    if (e->http->reply.body.failed != CP_OK)
        cp_http_fail(e->http, &cp_api_no_memory);
    finish(e);
}

/* ---- working --------------------------------------------------------------------------------- */

/* Why this job should not go on, or NULL. */
static const cp_api_error *stop_reason(const cp_openai_errand *e) {
    if (atomic_load(&e->openai->cancel_all))
        return &cp_api_draining;
    if (cp_clock_ns() >= e->deadline_ns)
        return &cp_openai_late;
    return cp_http_client_gone(e->http) ? &cp_api_client_left : NULL;
}

/* In the engine's thread. */
static bool piece(void *user) {
    cp_openai_errand *e = user;
    const cp_api_error *why = stop_reason(e);
    if (why) {
        finish_with(e, why);
        return false;
    }
    if (e->piece(e))
        return true;
    if (e->work->status == CP_OK)
        finish_well(e);
    else
        finish_failed(e);
    return false;
}

void cp_openai_errand_submit(cp_openai_errand *e) {
    cp_openai *openai = e->openai;
    cp_error err;
    if (!cp_openai_accept(openai, e->http)) {
        e->free(e);
        return;
    }
    /* As many wait as may wait for the chat model. */
    size_t before = atomic_fetch_add(&openai->n_errands, 1);
    cp_status status = before < (size_t)openai->settings->queue_max
                           ? cp_inference_errand(openai->inference, piece, e, &err)
                           : cp_error_set(&err, CP_ERR_BUSY, "all places are taken");
    if (status == CP_OK)
        return;
    cp_api_error error = cp_openai_queue_full(openai);
    if (status != CP_ERR_BUSY)
        error = status == CP_ERR_NO_MEMORY ? cp_api_no_memory : cp_openai_broken;
    finish_with(e, &error);
}
