#include "engine/product.h"

#include <assert.h>
#include <cblas.h>
#include <pthread.h>
#include <stdbool.h>

/* Up to this many tokens a product with each vector is faster than widening the weights. */
#define VECTOR_TOKENS_MAX 4
/* Rows that are read for one token and, still in the cache, for the next. */
#define VECTOR_ROWS 32
#define SHARE_UNIT  16

typedef struct job {
    const cp_kernels *kernels;
    const cp_product *products;
    size_t n, total_rows;
    const float *x;
    size_t n_tokens;
    float *tiles;
} job;

/* OpenBLAS's sequential build shares a buffer without a lock, so two callers silently spoil each
 * other's result; where that build is installed the calls take turns. The threaded builds lock for
 * themselves. */
static pthread_mutex_t sequential_lock = PTHREAD_MUTEX_INITIALIZER;

void cp_product_init(void) {
    openblas_set_num_threads(1);
}

/* out [n_tokens, n_rows], rows `stride` apart, = x [n_tokens, cols] times tile [n_rows, cols]
 * transposed. */
static void multiply(const job *j, const float *tile, size_t n_rows, size_t cols, float *out,
                     size_t stride) {
    bool sequential = openblas_get_parallel() == OPENBLAS_SEQUENTIAL;
    if (sequential)
        pthread_mutex_lock(&sequential_lock);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)j->n_tokens, (int)n_rows, (int)cols,
                1.0f, j->x, (int)cols, tile, (int)cols, 0.0f, out, (int)stride);
    if (sequential)
        pthread_mutex_unlock(&sequential_lock);
}

static const char *row_at(const cp_matrix *w, size_t row) {
    return (const char *)w->data + row * w->cols * cp_dtype_bytes(w->dtype);
}

static void by_vectors(const job *j, const cp_product *p, size_t begin, size_t end) {
    const cp_matrix *w = p->w;
    for (size_t row = begin; row < end; row += VECTOR_ROWS) {
        size_t n_rows = end - row < VECTOR_ROWS ? end - row : VECTOR_ROWS;
        for (size_t t = 0; t < j->n_tokens; t++)
            j->kernels->gemv[w->dtype](row_at(w, row), n_rows, w->cols, j->x + t * w->cols,
                                       p->out + t * p->stride + row);
    }
}

static void by_tiles(const job *j, const cp_product *p, size_t begin, size_t end, float *tile) {
    const cp_matrix *w = p->w;
    size_t tile_rows = CP_PRODUCT_TILE_FLOATS / w->cols;
    for (size_t row = begin; row < end; row += tile_rows) {
        size_t n_rows = end - row < tile_rows ? end - row : tile_rows;
        j->kernels->widen[w->dtype](row_at(w, row), n_rows * w->cols, tile);
        multiply(j, tile, n_rows, w->cols, p->out + row, p->stride);
    }
}

/* One thread's share of the rows of all products, laid end to end. */
static void share(void *arg, size_t thread, size_t n_threads) {
    const job *j = arg;
    size_t begin, end, first = 0; /* first: where the product begins in the whole */
    cp_threads_share(j->total_rows, SHARE_UNIT, thread, n_threads, &begin, &end);
    for (size_t i = 0; i < j->n; first += j->products[i].w->rows, i++) {
        size_t rows = j->products[i].w->rows;
        size_t from = begin > first ? begin - first : 0, to = end > first ? end - first : 0;
        to = to < rows ? to : rows;
        if (from >= to)
            continue;
        if (j->n_tokens <= VECTOR_TOKENS_MAX)
            by_vectors(j, &j->products[i], from, to);
        else
            by_tiles(j, &j->products[i], from, to, j->tiles + thread * CP_PRODUCT_TILE_FLOATS);
    }
}

void cp_products_run(cp_threads *threads, const cp_kernels *kernels, const cp_product *products,
                     size_t n, const float *x, size_t n_tokens, float *tiles) {
    job j = {kernels, products, n, 0, x, n_tokens, tiles};
    for (size_t i = 0; i < n; i++) {
        assert(products[i].w->cols == products[0].w->cols &&
               products[i].w->cols <= CP_PRODUCT_TILE_FLOATS);
        j.total_rows += products[i].w->rows;
    }
    cp_threads_run(threads, share, &j);
}
