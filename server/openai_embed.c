/* POST /v1/embeddings: a job of pieces between the steps of the chat model. */
#include "server/openai_embeddings.h"
#include "server/openai_errand.h"

#include <stdlib.h>

typedef struct job {
    cp_openai_errand errand;
    cp_openai_embeddings request;
    cp_embedding_task task;
    float *vectors; /* [n_inputs, width] */
} job;

static bool piece(cp_openai_errand *errand) {
    return cp_embedder_piece(errand->openai->embedder, &((job *)errand)->task);
}

static void answer(cp_openai_errand *errand) {
    job *j = (job *)errand;
    const cp_embedder *embedder = errand->openai->embedder;
    cp_openai_embeddings_append(&j->request, cp_embedder_model(embedder), j->vectors,
                                cp_embedder_width(embedder), j->task.work.n_tokens,
                                &errand->http->reply.body);
}

static void free_job(cp_openai_errand *errand) {
    job *j = (job *)errand;
    cp_embedder_release(errand->openai->embedder, &j->task);
    cp_openai_embeddings_deinit(&j->request);
    free(j->vectors);
    free(j);
}

/* False with an answer. */
static bool prepare(job *j) {
    const cp_openai *openai = j->errand.openai;
    cp_http_request *http = j->errand.http;
    cp_body_fault fault;
    size_t width = cp_embedder_width(openai->embedder);
    const cp_embedding_limits limits = {
        .width = width,
        .n_ids = cp_embedder_n_ids(openai->embedder),
        .context = cp_embedder_context(openai->embedder),
    };
    if (!cp_openai_embeddings_parse(cp_strbuf_str(&http->body), &limits, &j->request, &fault)) {
        cp_http_fail(http, &fault.error);
        return false;
    }
    if (!cp_openai_errand_check_model(http, j->request.model, cp_embedder_model(openai->embedder),
                                      openai->settings->embedding_model))
        return false;
    j->vectors = calloc(j->request.n_inputs * width, sizeof *j->vectors);
    j->task = (cp_embedding_task){
        .inputs = j->request.inputs, .n_inputs = j->request.n_inputs, .out = j->vectors};
    if (!j->vectors)
        cp_http_fail(http, &cp_api_no_memory);
    return j->vectors != NULL;
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
    j->errand = (cp_openai_errand){.work = &j->task.work,
                                   .context = cp_embedder_context(openai->embedder),
                                   .text_field = "input",
                                   .piece = piece,
                                   .answer = answer,
                                   .free = free_job};
    cp_openai_errand_init(&j->errand, openai, request);
    if (prepare(j))
        cp_openai_errand_submit(&j->errand);
    else
        free_job(&j->errand);
}
