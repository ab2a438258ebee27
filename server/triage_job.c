#include "server/triage_service.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/admission.h"
#include "server/audit_answer.h"
#include "server/patients_api.h"
#include "server/triage_lane.h"
#include "server/triage_trace.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PROMPT_BYTES ((size_t)1 << 20) /* a turn of line ends alone grows threefold */
#define MAX_RULES_BYTES  ((size_t)256 << 10)
#define MAX_SAID_BYTES   ((size_t)1 << 20)

/* ---- a job's end ----------------------------------------------------------------------------- */

void cp_triage_job_free(cp_triage_job *j) {
    cp_triage_stream_free(j->stream);
    cp_triage_request_deinit(&j->request);
    cp_triage_recall_deinit(&j->recall);
    cp_strbuf_deinit(&j->prompt);
    cp_strbuf_deinit(&j->given);
    cp_strbuf_deinit(&j->said);
    cp_grounding_release(&j->grounding);
    cp_patient_record_free(j->record);
    free(j);
}

/* Hands the request back to the HTTP server. */
static void finish(cp_triage_job *j) {
    cp_http_request *http = j->http;
    cp_triage *triage = j->triage;
    bool streams = j->stream != NULL;
    cp_triage_job_free(j);
    if (streams)
        cp_http_stream_end(http);
    else
        cp_http_finish(http);
    atomic_fetch_sub(&triage->n_unfinished, 1);
}

static void finish_with(cp_triage_job *j, const cp_api_error *error) {
    if (j->stream)
        cp_http_stream_fail(j->http, error);
    else
        cp_http_fail(j->http, error);
    finish(j);
}

/* The turns of this conversation are kept. */
static bool keeps_turns(const cp_triage_job *j) {
    return j->request.session_id && j->triage->with.settings->conversation_ttl_s > 0;
}

static cp_triage_outcome outcome_of(const cp_triage_job *j) {
    return (cp_triage_outcome){
        .trace_id = j->http->trace_id,
        .mrn = j->request.mrn,
        .session_id = j->request.session_id,
        .llm_mode = cp_inference_llm_mode(j->triage->with.inference),
        .model = cp_inference_model(j->triage->with.inference),
        .finding = &j->finding,
        .past = keeps_turns(j) ? &j->recall.past : NULL,
        .grounds = j->grounds.terms ? &j->grounds : NULL,
        .seed = j->seed,
        .total_ms = cp_clock_ms_since(j->http->received_ns),
    };
}

static void note(const cp_triage_job *j) {
    const cp_triage_verdict *verdict = &j->verdict;
    size_t n_flags = cp_safety_n_flags(&j->finding);
    cp_metrics_triage(j->triage->with.metrics, verdict->acuity, verdict->source, n_flags);
    cp_metrics_support(j->triage->with.metrics, j->sources.n_told, &verdict->support);
    if (verdict->degraded)
        cp_metrics_degraded(j->triage->with.metrics, verdict->degraded);
    cp_log(CP_LOG_INFO, "triage answered", CP_LOG_S("trace_id", j->http->trace_id),
           CP_LOG_S("session_id", j->request.session_id), CP_LOG_I("acuity", verdict->acuity),
           CP_LOG_S("source", cp_acuity_source_name(verdict->source)),
           CP_LOG_I("red_flags", n_flags), CP_LOG_S("degraded", verdict->degraded),
           CP_LOG_S("finish_reason", j->finish_reason),
           CP_LOG_N("total_ms", cp_clock_ms_since(j->http->received_ns)));
}

/* The reply from what there is; `result` is NULL without a model. False without memory. */
static bool compose(cp_triage_job *j, const cp_llm_result *result, const char *fault) {
    cp_triage_outcome outcome = outcome_of(j);
    cp_http_reply *reply = &j->http->reply;
    outcome.result = result;
    outcome.fault = fault;
    if (j->no_record.status) {
        outcome.error = &j->no_record;
        outcome.request_id = j->http->request_id;
    }
    if (keeps_turns(j)) {
        cp_strbuf_clear(&j->said);
        outcome.said = &j->said;
    }
    cp_strbuf_clear(&reply->body);
    cp_triage_reply_append(&outcome, &reply->body, &j->verdict);
    j->finish_reason = result ? cp_finish_name(result->finish) : NULL;
    if (result) {
        j->http->prompt_tokens = (int64_t)result->prompt_tokens;
        j->http->completion_tokens = (int64_t)result->sampled_tokens;
    }
    cp_triage_trace_reply(j);
    return reply->body.failed == CP_OK;
}

/* The turn becomes a part of its conversation. A model's words only where they are whole. */
static void remember(cp_triage_job *j) {
    cp_error err;
    const cp_conversation_turn turn = {
        .acuity = j->verdict.acuity,
        .question = j->request.query,
        .answer = j->verdict.degraded ? "" : cp_strbuf_text(&j->said),
    };
    if (cp_conversations_add(j->triage->conversations, &j->recall.key, cp_moment_now(), &turn,
                             &err) != CP_OK)
        cp_log(CP_LOG_WARN, "a turn is not kept", CP_LOG_S("trace_id", j->http->trace_id),
               CP_LOG_S("reason", err.message));
}

/* What was composed leaves. */
static void deliver(cp_triage_job *j) {
    cp_http_reply *reply = &j->http->reply;
    note(j);
    remember(j);
    if (j->stream) {
        cp_triage_stream_done(j->stream, cp_strbuf_str(&reply->body));
    } else {
        cp_strbuf_putc(&reply->body, '\n');
        reply->status = j->no_record.status ? j->no_record.status : 200;
    }
    reply->code = j->no_record.code;
    finish(j);
}

/* ---- its audit record ------------------------------------------------------------------------ */

/* No model's answer leaves without its record. What the rules say does: a triage is never silent;
 * the log tells that it went unrecorded. */
static void deliver_unrecorded(cp_triage_job *j, const cp_error *err) {
    cp_log(CP_LOG_ERROR, "triage answered without a record: by the rules alone",
           CP_LOG_S("trace_id", j->http->trace_id), CP_LOG_S("reason", err->message));
    if (compose(j, NULL, "audit_unavailable"))
        deliver(j);
    else
        finish_with(j, &cp_api_no_memory);
}

static void on_recorded(void *user, cp_status status, const cp_error *err) {
    cp_triage_job *j = user;
    cp_triage_trace_record(j, status);
    if (status == CP_OK)
        deliver(j);
    else
        deliver_unrecorded(j, err);
}

static cp_status submit_record(cp_triage_job *j, const cp_llm_result *result, cp_audit_done *done,
                               cp_error *err) {
    const char *rules[CP_SAFETY_MAX_HITS];
    const cp_audit_support support = {
        .retrieval = j->grounds.mode, .n_sources = j->sources.n_told, .counts = j->verdict.support};
    cp_audit_entry entry = cp_audit_entry_of(j->triage->with.inference, j->http);
    for (size_t i = 0; i < j->finding.n; i++)
        rules[i] = j->finding.rules[i]->id;
    entry.mrn = j->request.mrn;
    entry.session_id = j->request.session_id;
    entry.question = j->request.query;
    entry.rules = rules;
    entry.rules_earlier = j->finding.earlier;
    entry.n_rules = j->finding.n;
    entry.acuity = j->verdict.acuity;
    entry.support = j->grounds.terms ? &support : NULL;
    entry.acuity_source = cp_acuity_source_name(j->verdict.source);
    entry.degraded = j->verdict.degraded;
    entry.request = result ? &j->asked : NULL;
    entry.result = result;
    entry.schema_text = result ? cp_triage_answer_schema : NULL;
    entry.answer = cp_strbuf_str(&j->http->reply.body);
    return cp_audit_submit(j->triage->with.audit, &entry, done, j, err);
}

/* The reply from what there is of `result`, once the record of what left is on the disk: `seen`,
 * where a stream showed more than the reply says. */
static void answer_seen(cp_triage_job *j, const cp_llm_result *result, const cp_llm_result *seen,
                        const char *fault, int retry_after_s) {
    cp_error err;
    if (!j->stream) /* whose head has left */
        j->http->reply.retry_after_s = retry_after_s;
    if (!compose(j, result, fault))
        finish_with(j, &cp_api_no_memory);
    else if (!j->triage->with.audit)
        deliver(j);
    else if (submit_record(j, seen, on_recorded, &err) != CP_OK)
        on_recorded(j, err.status, &err);
}

static void answer(cp_triage_job *j, const cp_llm_result *result, const char *fault,
                   int retry_after_s) {
    answer_seen(j, result, result, fault, retry_after_s);
}

/* What a client has seen of a stream that went wrong; NULL: nothing. */
static const cp_llm_result *seen_of(const cp_triage_job *j, const cp_llm_result *result) {
    bool seen = j->stream && result && result->answer.n + result->thinking.n > 0;
    return seen ? result : NULL;
}

static void on_parting_recorded(void *user, cp_status status, const cp_error *err) {
    cp_triage_job *j = user;
    cp_triage_trace_record(j, status);
    if (status != CP_OK)
        cp_log(CP_LOG_ERROR, "a stream that was left has no record",
               CP_LOG_S("trace_id", j->http->trace_id), CP_LOG_S("reason", err->message));
    finish_with(j, &cp_api_client_left);
}

/* The client has gone; what it has seen of a stream is recorded all the same. */
static void part(cp_triage_job *j, const cp_llm_result *result) {
    cp_error err;
    if (!seen_of(j, result) || !j->triage->with.audit || !compose(j, NULL, "client_left"))
        finish_with(j, &cp_api_client_left); /* nobody is there to read it */
    else if (submit_record(j, result, on_parting_recorded, &err) != CP_OK)
        on_parting_recorded(j, err.status, &err);
}

/* ---- what the model says --------------------------------------------------------------------- */

static bool is_cancelled(void *user) {
    const cp_triage_job *j = user;
    return atomic_load(&j->triage->cancel_all) || cp_http_client_gone(j->http) ||
           (j->stream && cp_triage_stream_is_lost(j->stream));
}

static void on_text(void *user, cp_text_part part, const char *text, size_t n) {
    cp_triage_job *j = user;
    cp_triage_stream_push(j->stream, part, (cp_str){text, n});
}

/* Why a result is not whole; NULL when it is. */
static const char *fault_of(const cp_triage_job *j, const cp_llm_result *result) {
    if (result->finish == CP_FINISH_CANCELLED)
        return "shutdown";
    if (result->finish == CP_FINISH_LENGTH)
        return cp_clock_ns() >= j->deadline_ns ? "deadline" : "cut_off";
    return NULL;
}

static const char *reason_of(cp_status status) {
    if (status == CP_ERR_LIMIT)
        return "too_long";
    return status == CP_ERR_BUSY ? "queue_full" : "broken";
}

static void on_done(void *user, cp_status status, const cp_llm_result *result,
                    const cp_error *err) {
    cp_triage_job *j = user;
    cp_triage_trace_model(j, status, status == CP_OK ? result : NULL);
    bool was_cancelled = status == CP_OK && result->finish == CP_FINISH_CANCELLED;
    if (was_cancelled && !atomic_load(&j->triage->cancel_all)) {
        part(j, result);
        return;
    }
    if (was_cancelled) {
        answer_seen(j, NULL, seen_of(j, result), fault_of(j, result), 0);
        return;
    }
    if (status == CP_OK) {
        answer(j, result, fault_of(j, result), 0);
        return;
    }
    cp_log(CP_LOG_ERROR, "generation failed", CP_LOG_S("trace_id", j->http->trace_id),
           CP_LOG_S("reason", err->message));
    answer_seen(j, NULL, seen_of(j, result), reason_of(status), 0);
}

static void submit(cp_triage_job *j) {
    cp_inference *inference = j->triage->with.inference;
    const cp_triage_request *asked = &j->request;
    cp_thinking thinking = CP_THINKING_DEFAULT;
    cp_error err;
    if (asked->has_thinking)
        thinking = asked->enable_thinking ? CP_THINKING_ON : CP_THINKING_OFF;
    if (cp_inference_get_state(inference) != CP_INFERENCE_READY) {
        answer(j, NULL, "loading", 0);
        return;
    }
    j->asked = (cp_llm_request){
        .messages = j->messages,
        .n_messages = 2,
        .thinking = thinking,
        .sampling = cp_inference_default_sampling(inference, thinking),
        .max_new_tokens = (size_t)asked->max_new_tokens,
        .schema = j->triage->schema,
        .has_thinking_budget = asked->has_thinking_budget,
        .thinking_budget = (size_t)asked->thinking_budget,
        .deadline_ns = j->deadline_ns,
        .owner = j->http->owner,
        .on_text = j->stream ? on_text : NULL,
        .is_cancelled = is_cancelled,
        .user = j,
    };
    j->asked.sampling.seed = j->seed;
    if (asked->has_temperature)
        j->asked.sampling.temperature = asked->temperature;
    j->stage_ns = cp_clock_ns();
    cp_status status = cp_inference_submit(inference, &j->asked, on_done, &err);
    if (status == CP_OK)
        return; /* the job is on_done's, or gone */
    cp_triage_trace_model(j, status, NULL);
    answer(j, NULL, reason_of(status),
           status == CP_ERR_BUSY ? cp_inference_retry_after_s(inference) : 0);
}

/* ---- what came before ------------------------------------------------------------------------ */

static cp_status recall(cp_triage_job *j) {
    cp_error err;
    const cp_triage_recall_for what = {
        .owner = cp_access_owner(j->http),
        .mrn = j->request.mrn,
        .session_id = j->request.session_id,
        .context_tokens = (size_t)j->triage->with.settings->context_tokens,
        .answer_tokens = (size_t)j->request.max_new_tokens,
    };
    return cp_triage_recall_read(&j->recall, j->triage->conversations, j->triage->with.inference,
                                 &what, &err);
}

/* What the rules found holds from here on, also for a request that comes before this one's answer.
 */
static cp_status keep_flags(cp_triage_job *j) {
    cp_error err;
    return cp_conversations_note(j->triage->conversations, &j->recall.key, cp_moment_now(),
                                 &j->finding, &err);
}

/* ---- the record ------------------------------------------------------------------------------ */

static const char *today(char date[CP_CLOCK_DATE_CAP]) {
    cp_clock_format_date(cp_clock_unix_s(), date);
    return date;
}

/* What the rules find in what was said, as a 503 that says what is missing. */
static void answer_without_record(cp_triage_job *j, const cp_api_error *error) {
    char date[CP_CLOCK_DATE_CAP];
    cp_status status = recall(j);
    if (status == CP_OK)
        status = cp_triage_check(j->triage->safety, NULL, &j->recall.past, j->request.query,
                                 today(date), &j->finding);
    if (status == CP_OK)
        status = keep_flags(j);
    if (status != CP_OK) {
        finish_with(j, &cp_api_no_memory);
        return;
    }
    cp_triage_trace_rules(j);
    j->no_record = *error;
    answer(j, NULL, "no_record", error->retry_after_s);
}

/* What the rules say, and what came before. */
static cp_status check_rules(cp_triage_job *j) {
    char date[CP_CLOCK_DATE_CAP];
    cp_status status = recall(j);
    if (status == CP_OK)
        status = cp_triage_check(j->triage->safety, j->record, &j->recall.past, j->request.query,
                                 today(date), &j->finding);
    if (status == CP_OK)
        status = keep_flags(j);
    if (status == CP_OK && j->request.stream)
        status = cp_triage_stream_create(j->http, &j->stream);
    cp_triage_trace_rules(j);
    return status;
}

static cp_status write_prompt(cp_triage_job *j) {
    char date[CP_CLOCK_DATE_CAP];
    cp_grounding_job *grounding = &j->grounding;
    j->sources =
        (cp_triage_sources){.passages = grounding->found.passages, .n = grounding->found.n};
    const cp_triage_told told = {
        .record = j->record,
        .past = &j->recall.past,
        .sources = &j->sources,
        .query = j->request.query,
        .today = today(date),
        .finding = &j->finding,
        .given = &j->given,
    };
    cp_status status = cp_triage_write_prompt(j->triage->safety, &told, &j->prompt);
    j->grounds = (cp_triage_grounds){
        .sources = &j->sources,
        .given = cp_strbuf_str(&j->given),
        .terms = cp_grounding_terms(j->triage->with.grounding),
        .names = &grounding->names,
        .mode = grounding->mode,
    };
    j->messages[0] = (cp_chat_message){.role = CP_ROLE_SYSTEM, .content = cp_triage_instructions};
    j->messages[1] = (cp_chat_message){.role = CP_ROLE_USER, .content = cp_strbuf_text(&j->prompt)};
    return status;
}

static void on_grounded(void *user) {
    cp_triage_job *j = user;
    cp_triage_trace_retrieval(j);
    cp_status status = write_prompt(j);
    cp_triage_trace_prompt(j);
    if (status == CP_OK)
        submit(j);
    else
        finish_with(j, &cp_api_no_memory);
}

/* What the rules say goes out at once. */
static void begin_stream(cp_triage_job *j) {
    const cp_triage_outcome outcome = outcome_of(j);
    cp_strbuf json;
    cp_strbuf_init(&json, MAX_RULES_BYTES);
    cp_triage_rules_append(&outcome, &json);
    cp_triage_stream_rules(j->stream, &json);
    cp_strbuf_deinit(&json);
}

/* The rules' part is out; what the model's needs is looked for. */
static void ground(cp_triage_job *j) {
    if (j->stream)
        begin_stream(j);
    j->grounding.record = j->record;
    j->grounding.mrn = j->request.mrn;
    j->grounding.query = j->request.query;
    j->grounding.deadline_ns = j->deadline_ns;
    j->grounding.is_unwanted = is_cancelled;
    j->grounding.on_done = on_grounded;
    j->grounding.user = j;
    cp_trace_enter(&j->http->trace, &j->retrieval);
    j->grounding.trace = &j->retrieval;
    cp_grounding_find(j->triage->with.grounding, &j->grounding);
}

/* From the HTTP thread with an embedded store, from one of the store's with a remote one. */
static void on_record(cp_patient_lookup *lookup, cp_status status, cp_patient_record *record,
                      const cp_error *err) {
    cp_triage_job *j = (cp_triage_job *)lookup;
    const cp_api_error error = cp_patients_error(status, "patient_mrn");
    j->stage_ns = cp_clock_ns();
    if (status == CP_OK) {
        j->record = record;
        if (check_rules(j) == CP_OK)
            ground(j);
        else
            finish_with(j, &cp_api_no_memory);
    } else if (error.status == 503 && status != CP_ERR_NO_MEMORY) {
        cp_log(CP_LOG_WARN, "no record", CP_LOG_S("trace_id", j->http->trace_id),
               CP_LOG_S("reason", err->message));
        answer_without_record(j, &error);
    } else {
        finish_with(j, &error);
    }
}

static bool is_unwanted(const cp_patient_lookup *lookup) {
    const cp_triage_job *j = (const cp_triage_job *)lookup;
    return atomic_load(&j->triage->cancel_all) || cp_clock_ns() >= j->deadline_ns ||
           cp_http_client_gone(j->http);
}

/* ---- its beginning --------------------------------------------------------------------------- */

cp_triage_job *cp_triage_job_create(cp_triage *triage, cp_http_request *http) {
    cp_triage_job *j = calloc(1, sizeof *j);
    if (!j)
        return NULL;
    j->triage = triage;
    j->http = http;
    cp_strbuf_init(&j->prompt, MAX_PROMPT_BYTES);
    cp_strbuf_init(&j->given, MAX_PROMPT_BYTES);
    cp_strbuf_init(&j->said, MAX_SAID_BYTES);
    return j;
}

void cp_triage_job_run(cp_triage_job *j) {
    const cp_triage_request *asked = &j->request;
    memcpy(j->lookup.mrn, asked->mrn, strlen(asked->mrn) + 1);
    j->lookup.on_done = on_record;
    j->lookup.is_unwanted = is_unwanted;
    j->lookup.trace = &j->http->trace;
    j->deadline_ns = cp_http_deadline_ns(j->http, j->triage->with.settings->request_timeout_s,
                                         asked->has_deadline ? asked->deadline_ms : 0);
    j->seed = asked->has_seed ? (uint64_t)asked->seed : cp_http_random_seed();
    cp_patients_look_up(j->triage->with.patients, &j->lookup);
}
