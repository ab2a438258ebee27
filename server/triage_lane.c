#include "server/triage_lane.h"

#include "server/patient_summary.h"
#include "server/triage_prompt.h"

cp_status cp_triage_prepare(const cp_safety *safety, const cp_patient_record *record,
                            const char *query, const char *today, cp_safety_finding *finding,
                            cp_strbuf *prompt) {
    cp_patient_facts facts = cp_patient_facts_of(record, today);
    cp_safety_check(safety, query, &facts, finding);
    if (!prompt)
        return CP_OK;
    cp_strbuf summary;
    cp_strbuf_init(&summary, CP_TRIAGE_SUMMARY_BYTES + 1);
    cp_patient_summary_append(record, today, CP_TRIAGE_SUMMARY_BYTES, &summary);
    cp_triage_prompt_append(cp_strbuf_str(&summary), query, finding, prompt);
    cp_status status = summary.failed != CP_OK ? summary.failed : prompt->failed;
    cp_strbuf_deinit(&summary);
    return status;
}
