/* POST /v1/rerank: a job of pieces between the steps of the chat model. */
#include "server/openai_errand.h"
#include "server/openai_reranking.h"

#include <stdlib.h>

typedef struct job {
    cp_openai_errand errand;
    cp_openai_reranking request;
    cp_rerank_task task;
    float scores[CP_OPENAI_MAX_DOCUMENTS];
} job;

static bool piece(cp_openai_errand *errand) {
    return cp_reranker_piece(errand->openai->reranker, &((job *)errand)->task);
}

static void answer(cp_openai_errand *errand) {
    const job *j = (const job *)errand;
    cp_openai_reranking_append(&j->request, cp_reranker_model(errand->openai->reranker), j->scores,
                               j->task.work.n_tokens, &errand->http->reply.body);
}

static void free_job(cp_openai_errand *errand) {
    job *j = (job *)errand;
    cp_reranker_release(errand->openai->reranker, &j->task);
    cp_openai_reranking_deinit(&j->request);
    free(j);
}

/* False with an answer. */
static bool prepare(job *j) {
    const cp_openai *openai = j->errand.openai;
    cp_http_request *http = j->errand.http;
    cp_body_fault fault;
    if (!cp_openai_reranking_parse(cp_strbuf_str(&http->body), &j->request, &fault)) {
        cp_http_fail(http, &fault.error);
        return false;
    }
    j->task = (cp_rerank_task){.instruction = j->request.instruction,
                               .query = j->request.query,
                               .docs = j->request.docs,
                               .n_docs = j->request.n_docs,
                               .scores = j->scores};
    return cp_openai_errand_check_model(http, j->request.model, cp_reranker_model(openai->reranker),
                                        openai->settings->reranker_model);
}

void cp_openai_handle_rerank(cp_openai *openai, cp_http_request *request) {
    static const cp_api_error none = {501, "no_reranker_model",
                                      "this server has no reranking model; its operator names one "
                                      "in RERANKER_MODEL",
                                      NULL, 0};
    if (!openai->reranker) {
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
                                   .context = cp_reranker_context(openai->reranker),
                                   .text_field = "documents",
                                   .piece = piece,
                                   .answer = answer,
                                   .free = free_job};
    cp_openai_errand_init(&j->errand, openai, request);
    if (prepare(j))
        cp_openai_errand_submit(&j->errand);
    else
        free_job(&j->errand);
}
