/* A GGUF file as a source: one model of the Qwen3 or Llama family with its tokenizer.
 *
 * general.architecture "qwen3" or "llama" (dense, without RoPE scaling, biases or sliding windows).
 * The config comes from the metadata, the shapes are checked against it, and every tensor in the
 * file must have its place. Files of the llama architecture hold the rows of q and k in pairs, for
 * RoPE over neighbours; they are read back in the order of the two halves. Rows that hold
 * infinities or NaN are refused when read. */
#ifndef CP_CONVERT_GGUF_SOURCE_H
#define CP_CONVERT_GGUF_SOURCE_H

#include "convert/source.h"

/* *out is cleared on failure. */
cp_status cp_source_open_gguf(const char *path, cp_source *out, cp_error *err) CP_MUST_CHECK;
/* True for a path that ends in ".gguf". */
bool cp_source_is_gguf(const char *path);

#endif
