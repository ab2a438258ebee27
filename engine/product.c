#include "engine/product.h"

#include <assert.h>
#include <cblas.h>
#include <pthread.h>
#include <stdbool.h>

/* Up to this many tokens a product with each vector is faster than widening the weights. */
#define VECTOR_TOKENS_MAX 4
/* Rows that are read for one token and, still in the cache, for the next. */
#define VECTOR_ROWS 32
#define SHARE_UNIT  CP_TILE_ROWS
/* Rows a thread takes at a time: few enough that threads end together, enough for a kernel to get
 * into its stride. Four tiles at least, which the kernels read side by side. */
#define PIECE_ROWS_LEAST 64
#define PIECE_ROWS_MOST  256
#define PIECES_A_THREAD  8

typedef struct job {
    const cp_product_context *context;
    const cp_product *products;
    size_t n, total_rows;
    const float *x;
    size_t n_tokens;
    cp_activations quantized;
} job;

static size_t whole_units(size_t rows) {
    return (rows + SHARE_UNIT - 1) / SHARE_UNIT * SHARE_UNIT;
}

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
            j->context->kernels->gemv[w->dtype](row_at(w, row), n_rows, w->cols, j->x + t * w->cols,
                                                p->out + t * p->stride + row);
    }
}

static void by_tiles(const job *j, const cp_product *p, size_t begin, size_t end, float *tile) {
    const cp_matrix *w = p->w;
    size_t tile_rows = CP_PRODUCT_TILE_FLOATS / w->cols;
    for (size_t row = begin; row < end; row += tile_rows) {
        size_t n_rows = end - row < tile_rows ? end - row : tile_rows;
        j->context->kernels->widen[w->dtype](row_at(w, row), n_rows * w->cols, tile);
        multiply(j, tile, n_rows, w->cols, p->out + row, p->stride);
    }
}

/* Rows [begin, end) of one product; begin is a multiple of SHARE_UNIT, a tile's rows. */
static void run_rows(const job *j, const cp_product *p, size_t begin, size_t end, size_t thread) {
    const cp_matrix *w = p->w;
    if (w->dtype == CP_U8)
        j->context->kernels->quant_product[w->quant](
            (const char *)w->data + begin / CP_TILE_ROWS * cp_quant_tile_bytes(w->quant, w->cols),
            end - begin, &j->quantized, j->n_tokens, p->out + begin, p->stride);
    else if (j->n_tokens <= VECTOR_TOKENS_MAX)
        by_vectors(j, p, begin, end);
    else
        by_tiles(j, p, begin, end, j->context->tiles + thread * CP_PRODUCT_TILE_FLOATS);
}

/* Rows [begin, end) of all products, laid end to end, each rounded up to whole units. */
static void run_piece(const job *j, size_t begin, size_t end, size_t thread) {
    size_t first = 0; /* where the product begins in the whole */
    for (size_t i = 0; i < j->n; i++) {
        size_t rows = j->products[i].w->rows;
        size_t from = begin > first ? begin - first : 0, to = end > first ? end - first : 0;
        to = to < rows ? to : rows;
        if (from < to)
            run_rows(j, &j->products[i], from, to, thread);
        first += whole_units(rows);
    }
}

static void share(void *arg, size_t thread, size_t n_threads) {
    const job *j = arg;
    size_t begin, end;
    (void)n_threads;
    while (cp_threads_take(j->context->threads, thread, &begin, &end))
        run_piece(j, begin, end, thread);
}

/* Quantizes one thread's share of the tokens. */
static void quantize(void *arg, size_t thread, size_t n_threads) {
    const job *j = arg;
    size_t begin, end, cols = j->products[0].w->cols, n_super = j->quantized.n_super;
    cp_threads_share(j->n_tokens, 1, thread, n_threads, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        cp_activations one = {j->quantized.values + t * n_super * CP_SUPER,
                              j->quantized.scales + t * n_super * CP_GROUPS_A_SUPER,
                              j->quantized.sums + t * n_super * CP_GROUPS_A_SUPER, n_super};
        j->context->kernels->quantize(j->x + t * cols, cols, &one);
    }
}

static size_t piece_rows(size_t rows, size_t n_threads) {
    size_t piece = rows / (n_threads * PIECES_A_THREAD) / PIECE_ROWS_LEAST * PIECE_ROWS_LEAST;
    piece = piece < PIECE_ROWS_LEAST ? PIECE_ROWS_LEAST : piece;
    return piece < PIECE_ROWS_MOST ? piece : PIECE_ROWS_MOST;
}

void cp_products_run(const cp_product_context *context, const cp_product *products, size_t n,
                     const float *x, size_t n_tokens) {
    job j = {context, products, n, 0, x, n_tokens, context->quantized};
    bool any_quantized = false;
    for (size_t i = 0; i < n; i++) {
        assert(products[i].w->cols == products[0].w->cols &&
               products[i].w->cols <= CP_PRODUCT_TILE_FLOATS);
        j.total_rows += whole_units(products[i].w->rows);
        any_quantized = any_quantized || products[i].w->dtype == CP_U8;
    }
    j.quantized.n_super = cp_quant_supers(products[0].w->cols);
    if (any_quantized && n_tokens == 1) /* less work than a barrier */
        quantize(&j, 0, 1);
    else if (any_quantized)
        cp_threads_run(context->threads, quantize, &j);
    cp_threads_divide(context->threads, j.total_rows,
                      piece_rows(j.total_rows, cp_threads_count(context->threads)));
    cp_threads_run(context->threads, share, &j);
}
