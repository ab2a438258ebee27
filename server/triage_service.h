/* What the files of the triage service share: the service, and one question on its way. */
#ifndef CP_SERVER_TRIAGE_SERVICE_H
#define CP_SERVER_TRIAGE_SERVICE_H

#include "server/grounding.h"
#include "server/triage.h"
#include "server/triage_recall.h"
#include "server/triage_reply.h"
#include "server/triage_request.h"
#include "server/triage_stream.h"

#include <stdatomic.h>

struct cp_triage {
    cp_triage_parts with;
    cp_safety *safety;
    cp_conversations *conversations;
    cp_schema *schema; /* of the model's answer */
    uint64_t swept_ns; /* the tick's */
    atomic_bool draining, cancel_all;
    atomic_size_t n_unfinished;
};

/* record → rules → sources → prompt → model → reply → audit record. */
typedef struct cp_triage_job {
    cp_patient_lookup lookup; /* first: its callback gets a pointer to it */
    cp_triage *triage;
    cp_http_request *http;
    cp_triage_request request;
    cp_safety_finding finding;
    cp_triage_recall recall;
    cp_patient_record *record; /* NULL: none */
    cp_grounding_job grounding;
    cp_triage_sources sources;
    cp_triage_grounds grounds;     /* once there is a prompt */
    cp_strbuf prompt, given, said; /* to the model; what of it is no model's word; by it, as it is
                                      kept */
    cp_chat_message messages[2];
    cp_triage_stream *stream; /* NULL: the answer comes whole */
    cp_llm_request asked;     /* as it was submitted */
    cp_api_error no_record;   /* why there is no patient record; status 0: there is one */
    cp_triage_verdict verdict;
    const char *finish_reason; /* of the model's part; NULL without */
    uint64_t seed, deadline_ns;
    uint64_t stage_ns;  /* when the stage at hand began; kept for spans */
    cp_trace retrieval; /* the trace of what retrieval does */
} cp_triage_job;

/* A question that was read; NULL without memory. */
cp_triage_job *cp_triage_job_create(cp_triage *triage, cp_http_request *http) CP_MUST_CHECK;
void cp_triage_job_free(cp_triage_job *job);
/* Goes on until the request is finished and the job freed, here or in other threads. The request is
 * deferred. */
void cp_triage_job_run(cp_triage_job *job);

#endif
