/* The spans of a triage (docs/observability.md): each is made when its stage is over, from
 * job->stage_ns, and begins the next. Without traces they cost a look at the clock. */
#ifndef CP_SERVER_TRIAGE_TRACE_H
#define CP_SERVER_TRIAGE_TRACE_H

#include "server/triage_service.h"

void cp_triage_trace_rules(cp_triage_job *job);
void cp_triage_trace_retrieval(cp_triage_job *job);
void cp_triage_trace_prompt(cp_triage_job *job);
/* `result` NULL: none. */
void cp_triage_trace_model(cp_triage_job *job, cp_status status, const cp_llm_result *result);
void cp_triage_trace_reply(cp_triage_job *job);
/* The audit record is on the disk, or is not. */
void cp_triage_trace_record(cp_triage_job *job, cp_status status);

#endif
