#include "server/triage_trace.h"

#include "base/clock.h"
#include "server/trace_spans.h"

void cp_triage_trace_rules(cp_triage_job *j) {
    cp_trace_span span;
    uint64_t now = cp_clock_ns();
    if (cp_trace_span_begin(&span, &j->http->trace, "rules", j->stage_ns)) {
        cp_trace_span_number(&span, "carepath.red_flags", (int64_t)cp_safety_n_flags(&j->finding));
        cp_trace_span_end(&span, now);
    }
    j->stage_ns = now;
}

void cp_triage_trace_retrieval(cp_triage_job *j) {
    cp_trace_span span;
    uint64_t now = cp_clock_ns();
    if (cp_trace_span_begin_part(&span, &j->retrieval, "retrieval", j->stage_ns)) {
        cp_trace_span_text(&span, "carepath.retrieval_mode", j->grounding.mode);
        cp_trace_span_number(&span, "carepath.passages", (int64_t)j->grounding.found.n);
        cp_trace_span_end(&span, now);
    }
    j->stage_ns = now;
}

void cp_triage_trace_prompt(cp_triage_job *j) {
    cp_trace_stage(&j->http->trace, "prompt", &j->stage_ns);
}

void cp_triage_trace_model(cp_triage_job *j, cp_status status, const cp_llm_result *result) {
    const cp_trace_generation generation = {
        .operation = "chat",
        .model = cp_inference_model(j->triage->with.inference),
        .submitted_ns = j->stage_ns,
        .max_new_tokens = j->asked.max_new_tokens,
        .status = status,
        .result = result,
    };
    cp_trace_generation_over(&j->http->trace, &generation);
    j->stage_ns = cp_clock_ns();
}

void cp_triage_trace_reply(cp_triage_job *j) {
    const cp_triage_verdict *verdict = &j->verdict;
    cp_trace_span span;
    uint64_t now = cp_clock_ns();
    if (cp_trace_span_begin(&span, &j->http->trace, "reply", j->stage_ns)) {
        cp_trace_span_text(&span, "carepath.acuity_source", cp_acuity_source_name(verdict->source));
        cp_trace_span_text(&span, "carepath.degraded", verdict->degraded);
        cp_trace_span_end(&span, now);
    }
    j->stage_ns = now;
}

void cp_triage_trace_record(cp_triage_job *j, cp_status status) {
    cp_trace_span span;
    uint64_t now = cp_clock_ns();
    if (cp_trace_span_begin(&span, &j->http->trace, "audit write", j->stage_ns)) {
        if (status != CP_OK)
            cp_trace_span_fail(&span, "audit_unavailable");
        cp_trace_span_end(&span, now);
    }
    j->stage_ns = now;
}
