/* A source into a model folder at one quantization level.
 *
 * Tensors stream through in chunks of some MiB: read as float32, stored, hashed and measured by all
 * threads, written in order by the caller. The bytes do not depend on the number of threads. The
 * folder appears under its name when it is complete (output_folder.h). */
#ifndef CP_CONVERT_CONVERT_H
#define CP_CONVERT_CONVERT_H

#include "convert/quant_policy.h"
#include "convert/source.h"

typedef struct cp_convert_options {
    cp_quant_level level;
    size_t n_threads; /* 0: one a processor this process may use */
    bool force;       /* replace a model folder */
} cp_convert_options;

/* What became of the tensors of one kind. */
typedef struct cp_convert_kind {
    size_t n_stored[CP_N_STORAGES]; /* tensors */
    uint64_t weights, bytes;
    double error, energy; /* sum (w - stored w)^2, sum w^2 */
} cp_convert_kind;

#define CP_SOURCE_HASH_CHARS 32

typedef struct cp_convert_report {
    cp_convert_kind kinds[CP_N_KINDS];
    cp_convert_kind total; /* error and energy of the matrices only */
    uint64_t file_bytes;   /* of model.safetensors */
    /* XXH3-128 of the XXH3-128s of each 16 rows as float32, in the file's order: the same for the
     * same weights in whatever container and float type. */
    char source_hash[CP_SOURCE_HASH_CHARS + 1];
    double seconds;
} cp_convert_report;

cp_status cp_convert(const cp_source *source, const char *dst, const cp_convert_options *options,
                     cp_convert_report *report, cp_error *err) CP_MUST_CHECK;

#endif
