/* From the model's text and the rules' finding to the answer.
 *
 * The level is the more urgent of the rules' floor and the model's "ACUITY: n" line: the model can
 * raise the urgency and never lower it, whatever it wrote. Where neither gives a level the acuity
 * is null and a clinician decides; there is no default. Pure functions of their arguments. */
#ifndef CP_SERVER_TRIAGE_REPLY_H
#define CP_SERVER_TRIAGE_REPLY_H

#include "server/backend.h"
#include "server/metrics.h"
#include "server/safety.h"

extern const char cp_triage_disclaimer[];

typedef struct cp_triage_verdict {
    int acuity; /* CP_ACUITY_NONE: null */
    cp_acuity_source source;
    const char *disposition;
} cp_triage_verdict;

/* `model_level` is CP_ACUITY_NONE when there is none. */
cp_triage_verdict cp_triage_combine(const cp_safety_finding *finding, int model_level);

/* Reads the last readable "ACUITY: n" line of the model's text (CP_ACUITY_NONE without one) and
 * appends the text without any such line and without what has no place in an answer: control
 * characters, and the spelling of control tokens ("<|im_end|>", "</think>"). Blank ends are
 * trimmed. */
int cp_triage_read_answer(cp_str text, cp_strbuf *out);
/* The cleaning alone, for thinking. */
void cp_triage_clean_append(cp_str text, cp_strbuf *out);

typedef struct cp_triage_outcome {
    const char *trace_id, *mrn, *session_id; /* session_id may be NULL */
    const char *llm_mode, *model;
    const cp_safety_finding *finding;
    const cp_backend_reply *reply;
    uint64_t seed;
    double queue_ms, total_ms;
} cp_triage_outcome;

/* Appends the JSON object of a 200 and tells the verdict. */
void cp_triage_reply_append(const cp_triage_outcome *outcome, cp_strbuf *out,
                            cp_triage_verdict *verdict);

#endif
