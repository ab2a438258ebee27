/* Random-weight models in the true shapes, as a source: for measuring speed and memory where no
 * real weights are.
 *
 * Weights are normal with standard deviation 0.02 (norms are 1) and exact in BF16, a function of
 * seed and place: any row can be made at once, and the same model comes out on every machine. The
 * text it generates means nothing. */
#ifndef CP_CONVERT_SYNTHETIC_H
#define CP_CONVERT_SYNTHETIC_H

#include "convert/source.h"

#include <stdint.h>

/* "qwen3-0.6b, qwen3-1.7b, ..." for help and errors. */
const char *cp_synthetic_names(void);

/* One of those names, with the tokenizer files of `tokenizer_dir`. *out is cleared on failure. */
cp_status cp_synthetic_open(const char *name, const char *tokenizer_dir, uint64_t seed,
                            cp_source *out, cp_error *err) CP_MUST_CHECK;

#endif
