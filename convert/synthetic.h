/* Random-weight models in the true shapes, for measuring speed and memory where no real weights
 * are.
 *
 * Weights are normal with standard deviation 0.02 (norms are 1), from a fixed generator and seed,
 * stored as BF16: the same folder, byte for byte, on every machine. The text it generates means
 * nothing. */
#ifndef CP_CONVERT_SYNTHETIC_H
#define CP_CONVERT_SYNTHETIC_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* "qwen3-0.6b, qwen3-1.7b, ..." for help and errors. */
const char *cp_synthetic_names(void);

/* Makes the folder `dst` (which may exist, but holds no model yet) with weights, configs and the
 * tokenizer files of `tokenizer_dir`. */
cp_status cp_synthetic_write(const char *name, const char *dst, const char *tokenizer_dir,
                             uint64_t seed, cp_error *err) CP_MUST_CHECK;

#endif
