#include "server/openai_api.h"

#include "server/openai_reply.h"
#include "server/openai_service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const cp_api_error cp_openai_late = {504, "deadline", "the answer was not ready in time", NULL, 0};
const cp_api_error cp_openai_broken = {500, "internal", "the model could not answer", NULL, 0};

/* ---- the service ----------------------------------------------------------------------------- */

cp_status cp_openai_create(const cp_settings *settings, cp_inference *inference, cp_audit *audit,
                           cp_openai **out, cp_error *err) {
    *out = NULL;
    cp_openai *openai = calloc(1, sizeof *openai);
    if (!openai)
        return cp_error_no_memory(err, "the API");
    openai->settings = settings;
    openai->inference = inference;
    openai->audit = audit;
    openai->created = (int64_t)time(NULL);
    cp_status status = cp_text_models_open_embedder(settings, &openai->embedder, err);
    if (status == CP_OK)
        *out = openai;
    else
        cp_openai_free(openai);
    return status;
}

void cp_openai_free(cp_openai *openai) {
    if (!openai)
        return;
    cp_embedder_close(openai->embedder);
    free(openai);
}

void cp_openai_drain(cp_openai *openai) {
    atomic_store(&openai->draining, true);
}

void cp_openai_cancel_all(cp_openai *openai) {
    atomic_store(&openai->cancel_all, true);
}

size_t cp_openai_n_unfinished(const cp_openai *openai) {
    return atomic_load(&openai->n_unfinished);
}

/* ---- for handlers ---------------------------------------------------------------------------- */

bool cp_openai_is_open(const cp_openai *openai, cp_http_request *request) {
    if (atomic_load(&openai->draining))
        cp_http_fail(request, &cp_api_draining);
    else if (cp_inference_get_state(openai->inference) != CP_INFERENCE_READY)
        cp_http_fail(request, &cp_api_loading);
    return request->reply.status == 0;
}

/* Counted before the last look at `draining`: either this sees the drain, or the drain sees the
 * job. Suspended here, before any other thread can answer. */
bool cp_openai_accept(cp_openai *openai, cp_http_request *request) {
    atomic_fetch_add(&openai->n_unfinished, 1);
    if (atomic_load(&openai->draining)) {
        atomic_fetch_sub(&openai->n_unfinished, 1);
        cp_http_fail(request, &cp_api_draining);
        return false;
    }
    cp_http_defer(request);
    return true;
}

void cp_openai_finish(cp_openai *openai, cp_http_request *request) {
    cp_http_finish(request);
    atomic_fetch_sub(&openai->n_unfinished, 1);
}

cp_api_error cp_openai_queue_full(const cp_openai *openai) {
    return (cp_api_error){503, "queue_full", "all places are taken; try again later", NULL,
                          cp_inference_retry_after_s(openai->inference)};
}

bool cp_openai_names_model(const char *asked, const char *folder, const char *word) {
    return !asked || strcmp(asked, folder) == 0 || strcmp(asked, word) == 0 ||
           strcmp(asked, "default") == 0;
}

void cp_openai_fail_unknown_model(cp_http_request *request) {
    static const cp_api_error unknown = {404, "model_not_found",
                                         "there is no such model here; GET /v1/models lists them",
                                         "model", 0};
    cp_http_fail(request, &unknown);
}

static const cp_engine *chat_engine(const cp_openai *openai) {
    const cp_llm *llm = cp_inference_llm(openai->inference);
    return llm ? cp_llm_engine_of(llm) : NULL;
}

void cp_openai_fingerprint(const cp_openai *openai, char *out, size_t cap) {
    const cp_engine *engine = chat_engine(openai);
    snprintf(out, cap, "%s%s%s", cp_inference_model(openai->inference), engine ? " " : "",
             engine ? cp_engine_quant(engine) : "");
}

size_t cp_openai_context(const cp_openai *openai) {
    const cp_llm *llm = cp_inference_llm(openai->inference);
    return llm ? cp_llm_context(llm) : (size_t)openai->settings->context_tokens;
}

/* ---- models ---------------------------------------------------------------------------------- */

static cp_openai_model describe_chat_model(const cp_openai *openai) {
    bool ready = cp_inference_get_state(openai->inference) == CP_INFERENCE_READY;
    const cp_engine *engine = ready ? chat_engine(openai) : NULL;
    return (cp_openai_model){
        .id = cp_inference_model(openai->inference),
        .quant = engine ? cp_engine_quant(engine) : NULL,
        .use = "chat",
        .context = ready ? cp_openai_context(openai) : 0,
        .created = openai->created,
    };
}

static cp_openai_model describe_embedder(const cp_openai *openai) {
    return (cp_openai_model){
        .id = cp_embedder_model(openai->embedder),
        .quant = cp_embedder_quant(openai->embedder),
        .use = "embedding",
        .context = cp_embedder_context(openai->embedder),
        .created = openai->created,
    };
}

static void answer(cp_http_request *request) {
    if (request->reply.body.failed != CP_OK)
        cp_http_fail(request, &cp_api_no_memory);
    else
        request->reply.status = 200;
}

void cp_openai_handle_models(cp_openai *openai, cp_http_request *request) {
    cp_openai_model models[2] = {describe_chat_model(openai)};
    size_t n = 1;
    if (openai->embedder)
        models[n++] = describe_embedder(openai);
    cp_openai_models_append(models, n, &request->reply.body);
    answer(request);
}

void cp_openai_handle_model(cp_openai *openai, cp_http_request *request) {
    const char *asked = request->params[0];
    cp_openai_model model = describe_chat_model(openai);
    bool is_embedder = openai->embedder && strcmp(asked, cp_embedder_model(openai->embedder)) == 0;
    if (is_embedder)
        model = describe_embedder(openai);
    else if (!cp_openai_names_model(asked, model.id, cp_inference_llm_mode(openai->inference))) {
        cp_openai_fail_unknown_model(request);
        return;
    }
    cp_openai_model_append(&model, &request->reply.body);
    answer(request);
}
