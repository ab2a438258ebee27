#include "server/triage_recall.h"

#include "server/triage_prompt.h"

#include <string.h>

/* More than what a chat template writes around two messages, the headings of turns and sources, and
 * what the answer's schema forces beyond the tokens that are drawn. */
#define TEMPLATE_TOKENS 192

/* NULL for the mock, and before there is one. */
static const cp_llm *model_of(const cp_inference *inference) {
    bool ready = cp_inference_get_state(inference) == CP_INFERENCE_READY;
    return ready ? cp_inference_llm(inference) : NULL;
}

/* Without a model a rough number. */
static size_t count_tokens(void *user, cp_str text) {
    const cp_triage_recall *recall = user;
    const cp_llm *llm = model_of(recall->inference);
    const cp_encode_options options = {0};
    cp_ids ids = {0};
    cp_error err;
    if (!llm)
        return text.n / 3 + 1;
    cp_status status =
        cp_tokenizer_encode(cp_llm_tokenizer(llm), text.data, text.n, &options, &ids, &err);
    size_t n = status == CP_OK ? ids.n : text.n; /* no token stands for less than a byte */
    cp_ids_deinit(&ids);
    return n;
}

static void plan(cp_triage_recall *recall, const cp_triage_recall_for *what) {
    const cp_llm *llm = model_of(recall->inference);
    size_t context = llm ? cp_llm_context(llm) : what->context_tokens, half = context / 2;
    size_t taken = (what->answer_tokens < half ? what->answer_tokens : half) + TEMPLATE_TOKENS;
    cp_str instructions = {cp_triage_instructions, strlen(cp_triage_instructions)};
    taken += count_tokens(recall, instructions);
    recall->past.most_turn_tokens = recall->past.most_source_tokens = context / 4;
    recall->past.most_tokens = context > taken ? context - taken : 0;
}

cp_status cp_triage_recall_read(cp_triage_recall *recall, cp_conversations *all,
                                const cp_inference *inference, const cp_triage_recall_for *what,
                                cp_error *err) {
    *recall = (cp_triage_recall){.inference = inference};
    recall->past = (cp_triage_past){
        .conversation = &recall->earlier, .count_tokens = count_tokens, .user = recall};
    cp_status status =
        cp_conversation_key_make(what->owner, what->mrn, what->session_id, &recall->key, err);
    if (status == CP_OK)
        status = cp_conversations_read(all, &recall->key, cp_moment_now(), &recall->earlier, err);
    if (status == CP_OK)
        plan(recall, what);
    return status;
}

void cp_triage_recall_deinit(cp_triage_recall *recall) {
    cp_conversation_deinit(&recall->earlier);
}
