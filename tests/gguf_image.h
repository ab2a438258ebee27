/* A small GGUF file in memory, for tests: a Qwen3 or Llama model of one layer with a tokenizer of
 * 256 bytes, three merges and four added tokens, and single changes to it.
 *
 * Weights are reproducible nonsense. The file is right as it stands; each change makes one thing
 * wrong. */
#ifndef CP_TESTS_GGUF_IMAGE_H
#define CP_TESTS_GGUF_IMAGE_H

#include "tests/test.h"

#define IMAGE_HIDDEN  64
#define IMAGE_FFN     96
#define IMAGE_HEADS   4
#define IMAGE_KV      2
#define IMAGE_DIM     16
#define IMAGE_VOCAB   263
#define IMAGE_LAYERS  1
#define IMAGE_TENSORS 13 /* of the qwen3 one */

typedef struct gguf_info {
    const char *name;
    uint32_t n_dims, type;
    uint64_t dims[4]; /* innermost first, as in the file */
    uint64_t offset;
} gguf_info;

typedef struct gguf_change {
    const char *without;                    /* no such metadata key, or no such tensor */
    void (*values)(cp_strbuf *, size_t *n); /* writes more metadata */
    const char *tensor;                     /* this tensor's info goes through `edit` */
    void (*edit)(gguf_info *info);
    size_t at; /* bytes from here (0: none) become `bytes` */
    const char *bytes;
    size_t n_bytes;
    size_t cut; /* so many bytes are missing at the end */
} gguf_change;

/* The file's bytes; cp_strbuf_deinit. `change` may be NULL. */
cp_strbuf gguf_image(bool llama, const gguf_change *change);

void gguf_put_u32(cp_strbuf *out, uint32_t value);
void gguf_put_u64(cp_strbuf *out, uint64_t value);
void gguf_put_str(cp_strbuf *out, const char *text);
/* Whole metadata values. */
void gguf_put_key_u32(cp_strbuf *out, const char *key, uint32_t value);
void gguf_put_key_f32(cp_strbuf *out, const char *key, float value);
void gguf_put_key_str(cp_strbuf *out, const char *key, const char *value);

#endif
