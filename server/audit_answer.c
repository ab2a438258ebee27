#include "server/audit_answer.h"

#include "server/admission.h"

cp_audit_entry cp_audit_entry_of(const cp_inference *inference, const cp_http_request *request) {
    bool ready = cp_inference_get_state(inference) == CP_INFERENCE_READY;
    const cp_llm *llm = ready ? cp_inference_llm(inference) : NULL;
    const char *owner = cp_access_owner(request);
    cp_audit_entry entry = {
        .endpoint = request->route ? request->route->path : NULL,
        .trace_id = request->trace_id,
        .key_id = *owner ? owner : NULL,
        .llm_mode = cp_inference_llm_mode(inference),
        .model = cp_inference_model(inference),
    };
    if (llm) {
        entry.template_name = cp_chat_template_name(cp_llm_tokenizer(llm));
        entry.context_tokens = cp_llm_context(llm);
        entry.kv = cp_kv_name(cp_engine_kv(cp_llm_engine_of(llm)));
        entry.isa = cp_engine_isa(cp_llm_engine_of(llm));
    }
    return entry;
}
