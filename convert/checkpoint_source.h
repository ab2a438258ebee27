/* A Hugging Face folder as a source: safetensors with F32, F16 or BF16 weights, mapped. */
#ifndef CP_CONVERT_CHECKPOINT_SOURCE_H
#define CP_CONVERT_CHECKPOINT_SOURCE_H

#include "convert/source.h"

/* A folder that convert has quantized already is refused. *out is cleared on failure. */
cp_status cp_checkpoint_source_open(const char *dir, cp_source *out, cp_error *err) CP_MUST_CHECK;

#endif
