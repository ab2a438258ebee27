/* A quantized copy of a pulled model: MODEL_CACHE_DIR/NAME-LEVEL, made when it is not there.
 *
 * The copy says in its metadata what it was made from (REPOSITORY@COMMIT), so that it is made once
 * for each commit. A folder that was made from something else is left alone. */
#ifndef CP_CONVERT_PULLED_COPY_H
#define CP_CONVERT_PULLED_COPY_H

#include "convert/convert.h"

typedef struct cp_pulled_model {
    const char *repo, *commit, *dir; /* the snapshot */
} cp_pulled_model;

typedef struct cp_pulled_copy {
    char dir[CP_PATH_CAP];
    bool was_there;
} cp_pulled_copy;

/* `models` is created when it is missing. */
cp_status cp_pulled_copy_make(const cp_pulled_model *model, const char *models,
                              const cp_convert_options *options, cp_pulled_copy *out,
                              cp_error *err) CP_MUST_CHECK;

/* The metadata "carepath_source" of DIR/model.safetensors, "" where there is none. */
cp_status cp_pulled_copy_source(const char *dir, char *out, size_t cap,
                                cp_error *err) CP_MUST_CHECK;

#endif
