/* What one step must read and compute of a model, whatever the kernels do. */
#ifndef CP_BENCH_WEIGHT_TRAFFIC_H
#define CP_BENCH_WEIGHT_TRAFFIC_H

#include "base/error.h"
#include "engine/engine.h"

#include <stddef.h>

#define CP_TRAFFIC_PAGE 4096 /* bytes; what "physical" counts, whatever the machine's pages are */

/* What a decode step reads. Logical bytes are those of the files and of keys and values, as if each
 * could be read alone. Physical bytes are the pages in which they lie, each once: with the padding
 * of tiles, what shares a page with a tensor, and the copies of norms that are read instead of the
 * file's. docs/performance.md has the definitions. */
typedef struct cp_traffic {
    size_t weights;          /* logical; of a table of embeddings that is not the head nothing */
    size_t physical_weights; /* the same, but of such a table nothing and of norms the copies */
    size_t physical_row;     /* a token's row (quantized: its tile of rows) of such a table; or 0 */
    size_t kv_token;         /* keys and values of a position, all layers */
    size_t n_kv_runs;        /* a kv head's keys, or values, of a layer: each lies by itself */
} cp_traffic;

cp_status cp_traffic_measure(const char *dir, const cp_engine *engine, cp_traffic *out,
                             cp_error *err) CP_MUST_CHECK;
/* Per token of `batch` sequences that decode together, mean of `gen` tokens behind `depth`. */
double cp_traffic_bytes(const cp_traffic *t, size_t depth, size_t gen, size_t batch);
double cp_traffic_physical_bytes(const cp_traffic *t, size_t depth, size_t gen, size_t batch);

/* Operations (two a multiply-add) of the layers' products for one prompt token; attention and the
 * head, which prefill computes for one token only, are not in it. */
double cp_weight_ops_per_token(const cp_model_config *config);

#endif
