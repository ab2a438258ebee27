/* The metadata of a GGUF file as a model config, and that as config.json.
 *
 * Metadata and config mean the same under other names; what the engine does not compute (experts,
 * RoPE scaling, windows) is refused by its key. Plain values: no ownership. */
#ifndef CP_CONVERT_GGUF_CONFIG_H
#define CP_CONVERT_GGUF_CONFIG_H

#include "convert/gguf.h"
#include "engine/config.h"

typedef struct cp_gguf_family {
    const char *name;         /* general.architecture; before the keys' dots */
    const char *architecture; /* "Qwen3ForCausalLM" */
    const char *model_type;
    bool qk_norm;
    bool paired_rows; /* q and k are stored for RoPE over neighbours */
} cp_gguf_family;

/* Reads all but the ends of sequence, which are the vocabulary's business. */
cp_status cp_gguf_config_read(const cp_gguf *file, const cp_gguf_family **family,
                              cp_model_config *out, cp_error *err) CP_MUST_CHECK;
/* Writes DIR/config.json; bos is -1 for none. */
cp_status cp_gguf_config_write(const cp_gguf_family *family, const cp_model_config *config,
                               int32_t bos, const char *dir, cp_error *err) CP_MUST_CHECK;

#endif
