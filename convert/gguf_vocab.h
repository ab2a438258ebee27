/* The tokenizer in a GGUF file, written as tokenizer.json and tokenizer_config.json.
 *
 * Byte-level BPE only (tokenizer.ggml.model "gpt2"). The file has the tokens, their kinds and the
 * merges, but the text splitting only by name (tokenizer.ggml.pre): the names that are known here
 * stand for the published tokenizers' own steps, others are refused. Control and user-defined
 * tokens become added tokens, unused ones (padding of the embedding matrix) none.
 *
 * Open checks what can be seen of single tokens; merges are checked by reading the result with our
 * own tokenizer, which is part of writing. Borrows from the cp_gguf, which must stay open. Constant
 * after open. */
#ifndef CP_CONVERT_GGUF_VOCAB_H
#define CP_CONVERT_GGUF_VOCAB_H

#include "convert/gguf.h"

#define CP_GGUF_MAX_ENDS 8

typedef struct cp_gguf_splitting cp_gguf_splitting;

typedef struct cp_gguf_vocab {
    const cp_gguf *file;
    cp_str *tokens;             /* [n] */
    const cp_gguf_value *kinds; /* int32 [n] */
    size_t n;
    const cp_gguf_value *merges;
    const cp_gguf_splitting *splitting;
    int32_t bos, eos, pad; /* -1: none */
    bool add_bos, add_eos;
    int32_t ends[CP_GGUF_MAX_ENDS]; /* ids that end an answer: eos, and control tokens that are
                                       known as an end by their text */
    size_t n_ends;
} cp_gguf_vocab;

/* At most max_ids tokens. */
cp_status cp_gguf_vocab_open(const cp_gguf *file, size_t max_ids, cp_gguf_vocab *out,
                             cp_error *err) CP_MUST_CHECK;
void cp_gguf_vocab_close(cp_gguf_vocab *vocab);

/* Writes the two files into `dir` and opens them with our tokenizer, as a check. */
cp_status cp_gguf_vocab_write(const cp_gguf_vocab *vocab, const char *dir,
                              cp_error *err) CP_MUST_CHECK;

#endif
