#include "server/inference_mock.h"

#include <string.h>

static const char template[] =
    "This is a mock answer: the server runs with LLM_MODE=mock and no model read the question.";
static const char thought[] = "A mock does not think; this stands where a model's thinking would.";

/* Ends the answer before the first stop string in it. */
static void cut_at_stops(const cp_llm_request *request, cp_strbuf *answer) {
    for (size_t i = 0; i < CP_LLM_MAX_STOPS && request->stops[i]; i++) {
        const char *at =
            *request->stops[i] ? strstr(cp_strbuf_text(answer), request->stops[i]) : NULL;
        if (at)
            cp_strbuf_truncate(answer, (size_t)(at - answer->data));
    }
}

static void write_answer(const cp_llm_request *request, const char *known, cp_strbuf *answer) {
    cp_json_place place;
    if (!request->schema) {
        cp_strbuf_puts(answer, template);
        cut_at_stops(request, answer);
    } else if (known) {
        cp_strbuf_puts(answer, known);
    } else {
        cp_json_begin(request->schema, &place);
        cp_json_close(request->schema, &place, answer);
    }
}

static void tell(const cp_llm_request *request, cp_text_part part, const cp_strbuf *text) {
    if (request->on_text && text->n > 0)
        request->on_text(request->user, part, text->data, text->n);
}

cp_status cp_mock_generate(const cp_llm_request *request, const char *known, cp_llm_result *out,
                           cp_error *err) {
    out->seed = request->sampling.seed;
    out->thinking_planned = CP_LLM_NO_LIMIT;
    if (request->is_cancelled && request->is_cancelled(request->user)) {
        out->finish = CP_FINISH_CANCELLED;
        return CP_OK;
    }
    out->has_thinking = request->thinking == CP_THINKING_ON;
    if (out->has_thinking)
        cp_strbuf_puts(&out->thinking, thought);
    write_answer(request, known, &out->answer);
    out->finish = CP_FINISH_STOP;
    cp_status status = cp_strbuf_check(&out->answer, "the answer", err);
    if (status == CP_OK)
        status = cp_strbuf_check(&out->thinking, "the thinking", err);
    if (status != CP_OK)
        return status;
    tell(request, CP_TEXT_THINKING, &out->thinking);
    tell(request, CP_TEXT_ANSWER, &out->answer);
    return CP_OK;
}
