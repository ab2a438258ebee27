/* What this folder's files share. */
#ifndef CP_LLM_LLM_INTERNAL_H
#define CP_LLM_LLM_INTERNAL_H

#include "llm/llm.h"

struct cp_scheduler;

struct cp_llm {
    char *name;
    cp_engine *engine;
    cp_tokenizer *tokenizer;
    size_t context;                  /* tokens of prompt and answer together */
    struct cp_scheduler *scheduler;  /* of cp_llm_generate; NULL until then */
    cp_masks *masks;                 /* made for the first answer under a schema; NULL until then */
    size_t max_token_bytes;          /* of the longest token's text */
    int32_t think_open, think_close; /* <think>, </think>; -1 when the tokenizer has none */
    cp_ids farewell; /* what closes a thought that takes too long: text, </think>, blank lines */
    size_t n_farewell_text;
};

/* Every id that the tokenizer can produce must have an embedding. */
cp_status cp_model_check_vocabulary(const char *dir, const cp_tokenizer *tok, size_t vocab_size,
                                    cp_error *err) CP_MUST_CHECK;

#endif
