/* Log probabilities of an answer's tokens, kept until a reply or a chunk takes them.
 *
 * A token's text is its bytes where they are UTF-8, else "bytes:\xe2\x80"; so two tokens of one
 * list never look alike. Owned by one thread at a time. */
#ifndef CP_SERVER_OPENAI_LOGPROBS_H
#define CP_SERVER_OPENAI_LOGPROBS_H

#include "base/json_writer.h"
#include "llm/llm.h"

typedef struct cp_openai_logprobs {
    const cp_tokenizer *tok;
    size_t n_top;              /* asked for, of each token */
    cp_token_logprob *entries; /* [n][1 + n_top]: the chosen one, then the best; id -1 is none */
    size_t n, cap;
    size_t n_chars; /* code points of the tokens written so far: where the next one begins */
} cp_openai_logprobs;

void cp_openai_logprobs_deinit(cp_openai_logprobs *list);
/* False without memory. */
bool cp_openai_logprobs_add(cp_openai_logprobs *list, const cp_token_logprobs *token) CP_MUST_CHECK;
/* Writes the value of a "logprobs" member, and forgets the tokens. */
void cp_openai_logprobs_write_chat(cp_openai_logprobs *list, cp_json_writer *w);
void cp_openai_logprobs_write_text(cp_openai_logprobs *list, cp_json_writer *w);

#endif
