/* Turns the tokens of an answer into text, in two parts: the thinking and the answer itself.
 *
 * Thinking lies between <think> and </think>, which are tokens, never letters: a model that writes
 * the letters does not open or close anything. Stop strings act on the answer only; text that could
 * be the beginning of one is held back until it is clear. Blank lines around the thinking are
 * dropped. */
#ifndef CP_LLM_TEXT_SPLITTER_H
#define CP_LLM_TEXT_SPLITTER_H

#include "llm/llm.h"

typedef struct cp_text_splitter {
    const cp_llm_request *request;
    cp_llm_result *result;
    cp_detokenizer detokenizer;
    cp_strbuf decoded;               /* of one token; its memory is kept */
    int32_t think_open, think_close; /* -1: nothing is thinking */
    cp_text_part part;
    bool at_part_start; /* blanks are dropped until the part's first visible byte */
    size_t emitted;     /* bytes of the answer already given to the sink */
    bool stopped;       /* a stop string was found; the answer ends before it */
} cp_text_splitter;

/* Borrows the request and the result, and writes the result's texts. think_open and think_close are
 * the markers' ids, -1 when text is not to be split. Allocates room for max_new tokens, so that
 * pushing them allocates nothing. */
cp_status cp_text_splitter_init(cp_text_splitter *s, const cp_llm *llm,
                                const cp_llm_request *request, cp_llm_result *result,
                                size_t max_new, bool starts_in_thought,
                                cp_error *err) CP_MUST_CHECK;
void cp_text_splitter_deinit(cp_text_splitter *s);
/* Takes one token; afterwards s->stopped may be true. End tokens are not given to it. */
void cp_text_splitter_push(cp_text_splitter *s, int32_t id);
/* Hands out what was held back. */
void cp_text_splitter_finish(cp_text_splitter *s);

#endif
