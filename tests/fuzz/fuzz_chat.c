/* The bodies that clients send: /triage, the chat, completions, embeddings and reranking of /v1. */
#include "tests/fuzz/fuzz.h"

#include "base/json.h"
#include "server/openai_embeddings.h"
#include "server/openai_reranking.h"
#include "server/openai_request.h"
#include "server/patient_record.h"
#include "server/triage_request.h"

#include <string.h>

#define MAX_NEW 512

static void check_fault(const cp_body_fault *fault) {
    const cp_api_error *e = &fault->error;
    fuzz_expect(e->status >= 400 && e->status < 600 && e->code && e->message && *e->message);
    fuzz_expect(!strpbrk(e->message, "\n\r"));
}

static void triage(cp_str body) {
    cp_triage_request request;
    cp_body_fault fault;
    if (!cp_triage_request_parse(body, MAX_NEW, &request, &fault)) {
        check_fault(&fault);
    } else {
        fuzz_expect(cp_mrn_is_valid(request.mrn));
        fuzz_expect(*request.query && strlen(request.query) <= CP_TRIAGE_MAX_QUERY_BYTES);
        fuzz_expect(request.max_new_tokens >= 1);
    }
    cp_triage_request_deinit(&request);
}

static void generation(cp_str body, cp_openai_kind kind) {
    static cp_openai_request request; /* large */
    cp_body_fault fault;
    if (!cp_openai_request_parse(body, kind, MAX_NEW, &request, &fault)) {
        check_fault(&fault);
    } else {
        cp_sampling s = cp_openai_request_sampling(&request, (cp_sampling){.temperature = 1});
        fuzz_expect(s.temperature >= 0);
        fuzz_expect(request.llm.messages || request.llm.text || request.llm.ids);
        for (size_t i = 0; i < request.llm.n_messages; i++)
            fuzz_touch(request.llm.messages[i].content, strlen(request.llm.messages[i].content));
    }
    cp_openai_request_deinit(&request);
}

static void embeddings(cp_str body) {
    static cp_openai_embeddings request; /* large */
    cp_body_fault fault;
    const cp_embedding_limits limits = {.width = 64, .n_ids = 1000, .context = 128};
    if (!cp_openai_embeddings_parse(body, &limits, &request, &fault))
        check_fault(&fault);
    else
        fuzz_expect(request.n_inputs > 0 && request.dimensions <= limits.width);
    cp_openai_embeddings_deinit(&request);
}

static void reranking(cp_str body) {
    static cp_openai_reranking request; /* large */
    cp_body_fault fault;
    if (!cp_openai_reranking_parse(body, &request, &fault))
        check_fault(&fault);
    else
        fuzz_expect(request.n_docs > 0 && request.top_n > 0 && request.top_n <= request.n_docs);
    cp_openai_reranking_deinit(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_str body = fuzz_str(data, n);
    triage(body);
    generation(body, CP_OPENAI_CHAT);
    generation(body, CP_OPENAI_TEXT);
    embeddings(body);
    reranking(body);
    return 0;
}
