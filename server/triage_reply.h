/* From the model's answer and the rules' finding to the reply.
 *
 * The level is the more urgent of the rules' floor and the model's: the model can raise the urgency
 * and never lower it, whatever it wrote. Where neither gives a level the acuity is null and a
 * clinician decides; there is no default. No citation leaves that was not found in what the model
 * was given (triage_citations.h). Without a model's answer, or with half of one, the reply
 * is what the rules say, marked as degraded. Pure functions of their arguments. */
#ifndef CP_SERVER_TRIAGE_REPLY_H
#define CP_SERVER_TRIAGE_REPLY_H

#include "llm/llm.h"
#include "server/http_reply.h"
#include "server/metrics.h"
#include "server/safety.h"
#include "server/triage_answer.h"
#include "server/triage_citations.h"
#include "server/triage_lane.h"

extern const char cp_triage_disclaimer[];

typedef struct cp_triage_verdict {
    int acuity; /* CP_ACUITY_NONE: null */
    cp_acuity_source source;
    const char *disposition;
    const char *degraded;      /* why the model's part is missing or not whole; NULL: it is whole */
    cp_support_counts support; /* what became of its citations and claims */
} cp_triage_verdict;

/* `model_level` is CP_ACUITY_NONE when there is none. */
cp_triage_verdict cp_triage_combine(const cp_safety_finding *finding, int model_level);

typedef struct cp_triage_outcome {
    const char *trace_id, *mrn, *session_id; /* session_id may be NULL */
    const char *llm_mode, *model;
    const cp_safety_finding *finding;
    const cp_triage_past *past;       /* of the conversation; NULL: none is kept */
    const cp_llm_result *result;      /* NULL: no model answered */
    const char *fault;                /* what is known to be wrong with it ("deadline"), or NULL */
    const cp_triage_grounds *grounds; /* what it was given; NULL: nothing */
    const cp_api_error *error;        /* why the record is missing; NULL: it is there */
    const char *request_id;           /* beside it */
    uint64_t seed;
    double total_ms;
    cp_strbuf *said; /* what the model said to people is appended here; NULL: not wanted */
} cp_triage_outcome;

/* What is known before a model answers: level, flags, disclaimer. The first event of a stream. */
void cp_triage_rules_append(const cp_triage_outcome *outcome, cp_strbuf *out);
/* Appends the JSON object of a 200 and tells the verdict. What the model wrote may be anything.
 * Without the record it is that of a 503: "error" first, then what the rules find in the query. */
void cp_triage_reply_append(const cp_triage_outcome *outcome, cp_strbuf *out,
                            cp_triage_verdict *verdict);

#endif
