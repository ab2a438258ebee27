#include "server/triage_reply.h"

#include "base/json_writer.h"
#include "base/mem.h"
#include "server/reply_parts.h"
#include "server/triage_text.h"

#include <string.h>

const char cp_triage_disclaimer[] =
    "CarePath supports clinical staff. It is not a diagnosis and does not replace a clinician's "
    "judgement. In an emergency call your local emergency number.";

static const char silent_text[] = "No model answered this request; what stands here comes from the "
                                  "clinic's safety rules alone. A "
                                  "clinician must review it.";
static const char no_record_text[] =
    "The patient's record was not available: nothing of age, conditions, medicines or allergies is "
    "taken into account here. ";
static const char cut_text[] =
    "The model's answer is not complete. A clinician must review this request.";

/* ---- the verdict ----------------------------------------------------------------------------- */

/* Smaller is more urgent; words that are not ours come from a rule and stand above all. */
static size_t disposition_rank(const char *disposition) {
    static const char *const order[] = {"call_emergency", "emergency_department_now",
                                        "same_day_care",  "see_doctor_soon",
                                        "self_care",      "clinician_review"};
    for (size_t i = 0; i < CP_COUNT_OF(order); i++)
        if (strcmp(order[i], disposition) == 0)
            return i + 1;
    return 0;
}

cp_triage_verdict cp_triage_combine(const cp_safety_finding *finding, int model_level) {
    if (model_level < CP_ACUITY_MOST_URGENT || model_level > CP_ACUITY_LEAST_URGENT)
        model_level = CP_ACUITY_NONE;
    cp_triage_verdict verdict = {.acuity = cp_acuity_more_urgent(finding->floor, model_level)};
    verdict.disposition = cp_acuity_disposition(verdict.acuity);
    if (verdict.acuity != CP_ACUITY_NONE)
        verdict.source = verdict.acuity == finding->floor ? CP_SOURCE_RULES : CP_SOURCE_MODEL;
    for (size_t i = 0; i < finding->n; i++) {
        const char *wanted = finding->rules[i]->disposition;
        if (disposition_rank(wanted) < disposition_rank(verdict.disposition))
            verdict.disposition = wanted;
    }
    return verdict;
}

/* ---- the object ------------------------------------------------------------------------------ */

/* What the rules advise that are warnings and at the floor, and every one at level 1 or 2, each
 * sentence once, then the model's words. Milder advice beside it ("see a clinician today") could be
 * mistaken for the answer; it stands in red_flags only. What a rule for an everyday complaint
 * advises is for when no model judged. */
static void put_advice(const cp_safety_finding *finding, cp_strbuf *out) {
    size_t n_flags = cp_safety_n_flags(finding);
    for (size_t i = 0; i < n_flags; i++) {
        bool said = finding->rules[i]->acuity > 2 && finding->rules[i]->acuity > finding->floor;
        for (size_t k = 0; k < i; k++)
            said |= strcmp(finding->rules[k]->advice, finding->rules[i]->advice) == 0;
        if (!said)
            cp_strbuf_printf(out, "%s%s\n",
                             finding->earlier[i] ? "Because of what was said earlier: " : "",
                             finding->rules[i]->advice);
    }
    if (n_flags > 0)
        cp_strbuf_putc(out, '\n');
}

static void put_response(const cp_triage_outcome *outcome, const cp_triage_answer *answer,
                         const cp_triage_support *support, bool degraded, cp_strbuf *out) {
    put_advice(outcome->finding, out);
    cp_strbuf_append(out, cp_strbuf_text(&answer->text), answer->text.n);
    cp_triage_support_warn(answer, support, out);
    if (outcome->error)
        cp_strbuf_puts(out, no_record_text);
    if (degraded)
        cp_strbuf_printf(out, "%s%s", answer->text.n > 0 ? "\n\n" : "",
                         answer->text.n > 0 ? cut_text : silent_text);
}

static void put_red_flags(cp_json_writer *w, const cp_safety_finding *finding) {
    cp_json_key(w, "red_flags");
    cp_json_open_array(w);
    size_t n_flags = cp_safety_n_flags(finding);
    for (size_t i = 0; i < n_flags; i++) {
        const cp_safety_rule *rule = finding->rules[i];
        cp_json_open_object(w);
        cp_json_member_text(w, "id", rule->id);
        cp_json_member_text(w, "title", rule->title);
        cp_json_member_int(w, "acuity", rule->acuity);
        cp_json_member_text(w, "advice", rule->advice);
        cp_json_member_bool(w, "from_earlier_turn", finding->earlier[i]);
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
}

static void put_usage(cp_json_writer *w, const cp_llm_result *r) {
    cp_json_key(w, "usage");
    cp_json_open_object(w);
    cp_json_member_int(w, "prompt_tokens", (int64_t)r->prompt_tokens);
    cp_json_member_int(w, "cached_tokens", (int64_t)r->cached_tokens);
    cp_json_member_int(w, "completion_tokens", (int64_t)r->sampled_tokens);
    cp_json_member_int(w, "thinking_tokens", (int64_t)r->thinking_tokens);
    cp_json_member_int(w, "appended_tokens", (int64_t)r->appended_tokens);
    cp_json_member_int(w, "total_tokens", (int64_t)(r->prompt_tokens + r->sampled_tokens));
    cp_json_close_object(w);
}

static void put_thinking_budget(cp_json_writer *w, const cp_llm_result *r) {
    cp_json_member_bool(w, "thinking_truncated", r->thinking_truncated);
    cp_json_key(w, "thinking_budget");
    cp_json_open_object(w);
    cp_reply_tokens(w, "planned", r->thinking_planned);
    cp_json_member_int(w, "used", (int64_t)r->thinking_tokens);
    cp_json_close_object(w);
}

static void put_timings(cp_json_writer *w, const cp_triage_outcome *outcome) {
    const cp_llm_result *r = outcome->result;
    cp_json_key(w, "timings");
    cp_json_open_object(w);
    cp_json_member_number(w, "queue_ms", r->queue_ms, 6);
    cp_json_member_number(w, "prompt_ms", r->prompt_ms, 6);
    cp_json_member_number(w, "first_token_ms", r->first_token_ms, 6);
    cp_json_member_number(w, "generate_ms", r->generate_ms, 6);
    cp_json_member_number(w, "total_ms", outcome->total_ms, 6);
    cp_reply_speed(w, "prompt_per_second", r->prompt_tokens - r->cached_tokens, r->prompt_ms);
    cp_reply_speed(w, "predicted_per_second", r->sampled_tokens, r->generate_ms);
    cp_json_member_int(w, "draft_n", (int64_t)r->drafted_tokens);
    cp_json_member_int(w, "draft_n_accepted", (int64_t)r->accepted_tokens);
    cp_json_close_object(w);
}

/* How many turns came before this one, and how many of them the model was told. */
static void put_conversation(cp_json_writer *w, const cp_triage_past *past) {
    const cp_conversation *c = past->conversation;
    cp_json_key(w, "conversation");
    cp_json_open_object(w);
    cp_json_member_int(w, "earlier_turns", (int64_t)(c->n_dropped + c->n_turns));
    cp_json_member_int(w, "told_to_model", (int64_t)past->n_told);
    cp_json_close_object(w);
}

static void put_verdict(cp_json_writer *w, const cp_triage_verdict *verdict) {
    if (verdict->acuity == CP_ACUITY_NONE) {
        cp_json_key(w, "acuity");
        cp_json_put_null(w);
    } else {
        cp_json_member_int(w, "acuity", verdict->acuity);
    }
    cp_json_member_text(w, "acuity_source", cp_acuity_source_name(verdict->source));
    cp_json_member_text(w, "disposition", verdict->disposition);
}

static void put_names(cp_json_writer *w, const cp_triage_outcome *outcome) {
    cp_json_member_text(w, "trace_id", outcome->trace_id);
    cp_json_member_text(w, "patient_mrn", outcome->mrn);
    if (outcome->session_id)
        cp_json_member_text(w, "session_id", outcome->session_id);
    cp_json_member_text(w, "llm_mode", outcome->llm_mode);
    cp_json_member_text(w, "model", outcome->model);
}

void cp_triage_rules_append(const cp_triage_outcome *outcome, cp_strbuf *out) {
    const cp_triage_verdict verdict = cp_triage_combine(outcome->finding, CP_ACUITY_NONE);
    cp_json_writer w;
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    put_names(&w, outcome);
    put_verdict(&w, &verdict);
    put_red_flags(&w, outcome->finding);
    cp_json_member_text(&w, "disclaimer", cp_triage_disclaimer);
    cp_json_close_object(&w);
}

/* What only a model's run can tell; false without memory. */
static bool put_run(cp_json_writer *w, const cp_triage_outcome *outcome, cp_strbuf *text) {
    const cp_llm_result *r = outcome->result;
    if (r->has_thinking) {
        cp_strbuf_clear(text);
        cp_triage_clean_append(cp_strbuf_str(&r->thinking), text);
        cp_json_member_str(w, "thinking", cp_strbuf_str(text));
    }
    cp_json_member_text(w, "finish_reason", cp_finish_name(r->finish));
    put_thinking_budget(w, r);
    put_usage(w, r);
    put_timings(w, outcome);
    return text->failed == CP_OK;
}

/* What the model said, what of it holds, and the verdict. False without memory for the gate: then
 * nothing of the answer may leave. */
static bool judge(const cp_triage_outcome *outcome, cp_triage_answer *answer,
                  cp_triage_support *support, cp_triage_verdict *verdict) {
    const cp_triage_grounds none = {.sources = NULL};
    cp_status status = CP_OK;
    *answer = (cp_triage_answer){.acuity = CP_ACUITY_NONE};
    if (outcome->result)
        status = cp_triage_answer_read(outcome->result, answer, NULL);
    bool checked = cp_triage_support_check(outcome->grounds ? outcome->grounds : &none, answer,
                                           support, NULL) == CP_OK;
    *verdict = cp_triage_combine(outcome->finding, answer->acuity);
    verdict->degraded = status == CP_OK ? outcome->fault : "broken";
    if (!verdict->degraded && answer->acuity == CP_ACUITY_NONE)
        verdict->degraded = "cut_off";
    verdict->support = support->counts;
    return checked;
}

void cp_triage_reply_append(const cp_triage_outcome *outcome, cp_strbuf *out,
                            cp_triage_verdict *verdict) {
    cp_triage_answer answer;
    cp_triage_support support;
    cp_strbuf text;
    cp_json_writer w;
    cp_strbuf_init(&text, out->max_bytes);
    bool whole = judge(outcome, &answer, &support, verdict);
    put_response(outcome, &answer, &support, verdict->degraded != NULL, &text);
    if (outcome->said)
        cp_strbuf_append(outcome->said, cp_strbuf_text(&answer.text), answer.text.n);
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    if (outcome->error)
        cp_api_error_put(&w, outcome->error, outcome->request_id);
    put_names(&w, outcome);
    cp_json_member_str(&w, "response", cp_strbuf_str(&text));
    whole &= text.failed == CP_OK;
    put_verdict(&w, verdict);
    put_red_flags(&w, outcome->finding);
    if (outcome->grounds && whole)
        cp_triage_support_put(&w, outcome->grounds, &answer, &support);
    if (outcome->past)
        put_conversation(&w, outcome->past);
    cp_json_member_text(&w, "disclaimer", cp_triage_disclaimer);
    cp_json_member_bool(&w, "record_available", !outcome->error);
    cp_json_member_bool(&w, "degraded", verdict->degraded != NULL);
    cp_json_member_text(&w, "degraded_reason", verdict->degraded);
    if (outcome->result)
        whole &= put_run(&w, outcome, &text);
    cp_json_member_int(&w, "seed", (int64_t)outcome->seed);
    cp_json_close_object(&w);
    if (!whole) /* an answer with a part missing is no answer */
        out->failed = CP_ERR_NO_MEMORY;
    cp_triage_support_deinit(&support);
    cp_triage_answer_deinit(&answer);
    cp_strbuf_deinit(&text);
}
