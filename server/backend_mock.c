/* The mock: an answer from a template, so that everything but the model can be tried and tested. It
 * says what it is, reads nothing of the question, and counts no tokens because none were read. */
#include "server/backend.h"

#include <stdlib.h>

static const char template[] =
    "This is a mock answer: the server runs with LLM_MODE=mock and no model read the question. "
    "The safety rules did read it; what they found stands in red_flags.\n"
    "\n"
    "With a model, its reasoning would stand here: what the question and the record suggest, what "
    "would make it more urgent, and what to do next.\n"
    "\n"
    "ACUITY: 3";
static const char thought[] = "A mock does not think; this stands where a model's thinking would.";

static cp_status load(cp_backend *backend, cp_error *err) {
    (void)backend, (void)err;
    return CP_OK;
}

static cp_status generate(cp_backend *backend, const cp_backend_request *request,
                          cp_backend_reply *out, cp_error *err) {
    (void)backend;
    if (request->is_cancelled(request->user)) {
        out->finish = CP_FINISH_CANCELLED;
        return CP_OK;
    }
    cp_strbuf_puts(&out->answer, template);
    out->has_thinking = request->thinking == CP_THINKING_ON;
    if (out->has_thinking)
        cp_strbuf_puts(&out->thinking, thought);
    out->finish = CP_FINISH_STOP;
    cp_status status = cp_strbuf_check(&out->answer, "the answer", err);
    return status == CP_OK ? cp_strbuf_check(&out->thinking, "the thinking", err) : status;
}

static void close_mock(cp_backend *backend) {
    free(backend);
}

cp_status cp_backend_create_mock(cp_backend **out, cp_error *err) {
    *out = malloc(sizeof **out);
    if (!*out)
        return cp_error_no_memory(err, "the mock");
    **out = (cp_backend){
        .llm_mode = "mock",
        .model = "mock",
        .is_mock = true,
        .load = load,
        .generate = generate,
        .close = close_mock,
    };
    return CP_OK;
}
