/* What this folder's files share. */
#ifndef CP_LLM_LLM_INTERNAL_H
#define CP_LLM_LLM_INTERNAL_H

#include "llm/llm.h"

struct cp_llm {
    char *name;
    cp_engine *engine;
    cp_tokenizer *tokenizer;
    cp_session *session;
    cp_sampler *sampler;
    cp_masks *masks;                 /* made for the first answer under a schema; NULL until then */
    size_t max_token_bytes;          /* of the longest token's text */
    int32_t think_open, think_close; /* <think>, </think>; -1 when the tokenizer has none */
};

struct cp_text_splitter;
/* Draws an answer of r->schema; the session holds the prompt. At most max_new ids, and what closes
 * a cut text. Called by cp_llm_generate. */
cp_status cp_llm_draw_structured(cp_llm *llm, const cp_llm_request *r, size_t max_new,
                                 bool in_thought, struct cp_text_splitter *splitter,
                                 cp_llm_result *out, cp_error *err) CP_MUST_CHECK;

/* Every id that the tokenizer can produce must have an embedding. */
cp_status cp_model_check_vocabulary(const char *dir, const cp_tokenizer *tok, size_t vocab_size,
                                    cp_error *err) CP_MUST_CHECK;

#endif
