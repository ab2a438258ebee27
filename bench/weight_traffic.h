/* What one step must read and compute of a model's weights, whatever the kernels do. */
#ifndef CP_BENCH_WEIGHT_TRAFFIC_H
#define CP_BENCH_WEIGHT_TRAFFIC_H

#include "base/error.h"
#include "engine/engine.h"

#include <stddef.h>

/* Bytes of weights that a decode step reads: all of them, but of an embedding table that is not the
 * head too only a row, which does not count. */
cp_status cp_weight_bytes_read(const char *dir, const cp_engine *engine, size_t *bytes,
                               cp_error *err) CP_MUST_CHECK;
/* Operations (two a multiply-add) of the layers' products for one prompt token; attention and the
 * head, which prefill computes for one token only, are not in it. */
double cp_weight_ops_per_token(const cp_model_config *config);

#endif
