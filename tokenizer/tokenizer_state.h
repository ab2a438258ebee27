/* What a cp_tokenizer is made of; for the files of this folder only.
 *
 * Written by the loaders while cp_tokenizer_open runs, constant afterwards. */
#ifndef CP_TOKENIZER_TOKENIZER_STATE_H
#define CP_TOKENIZER_TOKENIZER_STATE_H

#include "tokenizer/added_tokens.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab.h"

#define CP_POST_PROCESS_MAX 8

struct cp_tokenizer {
    cp_vocab vocab;
    cp_added_tokens added;
    cp_pretokenizer pretokenizer;
    bool byte_level; /* the pre-tokenizer ends in ByteLevel; always, after loading */
    bool nfc;
    bool ignore_merges; /* a piece that is a token as a whole stays whole */
    int32_t before[CP_POST_PROCESS_MAX], after[CP_POST_PROCESS_MAX]; /* the post-processor's ids */
    size_t n_before, n_after;
    cp_chat_template chat;
};

#endif
