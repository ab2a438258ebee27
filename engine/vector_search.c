#include "engine/vector_search.h"

#include "base/mem.h"
#include "engine/kernels/kernels.h"
#include "engine/threads.h"

#include <math.h>
#include <stdlib.h>

#define BLOCK_ROWS   256         /* whose products are made before they are looked at */
#define PIECE_BYTES  (512 << 10) /* that a thread takes at a time */
#define THREAD_BYTES (2 << 20)   /* worth a thread: starting one takes as long as reading so much */

/* ---- the best so far ------------------------------------------------------------------------- */

static bool is_better(cp_vector_hit a, cp_vector_hit b) {
    return a.score > b.score || (a.score == b.score && a.row < b.row);
}

/* A heap whose first is the worst of them. */
typedef struct best {
    cp_vector_hit *hits; /* [k] */
    size_t n, k;
} best;

static void sink(best *b, size_t at, cp_vector_hit hit) {
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= b->n)
            break;
        if (child + 1 < b->n && is_better(b->hits[child], b->hits[child + 1]))
            child++;
        if (!is_better(hit, b->hits[child]))
            break;
        b->hits[at] = b->hits[child];
        at = child;
    }
    b->hits[at] = hit;
}

static void rise(best *b, size_t at, cp_vector_hit hit) {
    for (; at > 0 && is_better(b->hits[(at - 1) / 2], hit); at = (at - 1) / 2)
        b->hits[at] = b->hits[(at - 1) / 2];
    b->hits[at] = hit;
}

static void offer(best *b, cp_vector_hit hit) {
    if (b->n < b->k)
        rise(b, b->n++, hit);
    else if (is_better(hit, b->hits[0]))
        sink(b, 0, hit);
}

static int compare(const void *a, const void *b) {
    const cp_vector_hit *x = a, *y = b;
    return is_better(*x, *y) ? -1 : is_better(*y, *x);
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct search {
    const cp_vector_scan *scan;
    const cp_kernels *kernels;
    cp_threads *threads;
    const int8_t *query;
    float query_scale;
    best *bests; /* one a thread */
} search;

/* At most BLOCK_ROWS rows, none of which is skipped. */
static void compare_run(const search *s, size_t begin, size_t end, best *b) {
    const cp_vector_scan *scan = s->scan;
    int32_t products[BLOCK_ROWS];
    s->kernels->int8_dots(scan->values + begin * scan->width, end - begin, scan->width, s->query,
                          products);
    for (size_t row = begin; row < end; row++) {
        float score = (float)products[row - begin] * (scan->scales[row] * s->query_scale);
        if (!isnan(score))
            offer(b, (cp_vector_hit){row, score});
    }
}

static bool is_skipped(const cp_vector_scan *scan, size_t row) {
    return scan->is_left_out && scan->is_left_out(scan->user, row);
}

static void compare_rows(const search *s, size_t begin, size_t end, best *b) {
    while (begin < end) {
        while (begin < end && is_skipped(s->scan, begin))
            begin++;
        size_t most = end - begin < BLOCK_ROWS ? end : begin + BLOCK_ROWS, to = begin;
        while (to < most && (to == begin || !is_skipped(s->scan, to)))
            to++;
        if (to > begin)
            compare_run(s, begin, to, b);
        begin = to;
    }
}

static void read_pieces(void *arg, size_t thread, size_t n_threads) {
    const search *s = arg;
    size_t begin, end;
    (void)n_threads;
    while (cp_threads_take(s->threads, thread, &begin, &end))
        compare_rows(s, s->scan->begin + begin, s->scan->begin + end, &s->bests[thread]);
}

static size_t useful_threads(const cp_vector_scan *scan, size_t n_threads) {
    size_t most = (scan->end - scan->begin) / ((size_t)THREAD_BYTES / scan->width) + 1;
    return n_threads < most ? n_threads : most;
}

/* Room for what each of n threads keeps, at most k; one allocation. */
static best *make_bests(size_t n, size_t k) {
    size_t hits, bytes;
    if (!cp_size_mul(n, k, &hits) || !cp_size_mul(hits, sizeof(cp_vector_hit), &bytes) ||
        !cp_size_add(bytes, n * sizeof(best), &bytes))
        return NULL;
    best *bests = malloc(bytes);
    for (size_t i = 0; bests && i < n; i++)
        bests[i] = (best){.hits = (cp_vector_hit *)(void *)(bests + n) + i * k, .k = k};
    return bests;
}

/* All threads' into the first one's, then sorted. */
static size_t collect(best *bests, size_t n, cp_vector_hit *out) {
    best *all = &bests[0];
    for (size_t i = 1; i < n; i++)
        for (size_t h = 0; h < bests[i].n; h++)
            offer(all, bests[i].hits[h]);
    for (size_t i = 0; i < all->n; i++)
        out[i] = all->hits[i];
    qsort(out, all->n, sizeof *out, compare);
    return all->n;
}

static cp_status check(const cp_vector_scan *scan, size_t n_threads, size_t k, cp_error *err) {
    if (scan->width == 0 || scan->width > CP_VECTOR_MAX_WIDTH)
        return cp_error_set(err, CP_ERR_USAGE, "vectors of %zu values, expected 1 to %d",
                            scan->width, CP_VECTOR_MAX_WIDTH);
    if (k > CP_VECTOR_MAX_HITS)
        return cp_error_set(err, CP_ERR_USAGE, "%zu nearest vectors, expected at most %d", k,
                            CP_VECTOR_MAX_HITS);
    return n_threads > 0 ? CP_OK : cp_error_set(err, CP_ERR_USAGE, "no thread to search with");
}

cp_status cp_vector_search(const cp_vector_scan *scan, const int8_t *query, float query_scale,
                           size_t n_threads, size_t k, cp_vector_hit *hits, size_t *n_hits,
                           cp_error *err) {
    search s = {.scan = scan, .query = query, .query_scale = query_scale};
    *n_hits = 0;
    cp_status status = check(scan, n_threads, k, err);
    if (status != CP_OK || k == 0 || scan->begin >= scan->end)
        return status;
    size_t n_rows = scan->end - scan->begin, n = useful_threads(scan, n_threads);
    status = cp_kernels_choose(getenv("CAREPATH_ISA"), &s.kernels, err);
    if (status == CP_OK)
        status = cp_threads_create(n, &s.threads, err);
    if (status != CP_OK)
        return status;
    s.bests = make_bests(n, k < n_rows ? k : n_rows);
    if (s.bests) {
        size_t piece = (size_t)PIECE_BYTES / scan->width;
        cp_threads_divide(s.threads, n_rows, piece > BLOCK_ROWS ? piece : BLOCK_ROWS);
        cp_threads_run(s.threads, read_pieces, &s);
        *n_hits = collect(s.bests, n, hits);
    } else {
        status = cp_error_no_memory(err, "a search");
    }
    cp_threads_free(s.threads);
    free(s.bests);
    return status;
}

/* ---- vectors --------------------------------------------------------------------------------- */

void cp_vector_quantize(const float *v, size_t width, int8_t *out, float *scale) {
    float max = 0;
    for (size_t i = 0; i < width; i++)
        max = fabsf(v[i]) > max || isnan(v[i]) ? fabsf(v[i]) : max;
    bool usable = isfinite(max) && max >= 0x1p-100f; /* smaller ones have no 127 / max */
    float factor = usable ? 127 / max : 0;
    *scale = usable ? max / 127 : 0;
    for (size_t i = 0; i < width; i++)
        out[i] = usable ? (int8_t)rintf(v[i] * factor) : 0;
}

void cp_vector_truncate(float *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    double scale = sum > 0 && isfinite(sum) ? 1 / sqrt(sum) : 0;
    for (size_t i = 0; i < n; i++)
        v[i] = scale > 0 ? (float)((double)v[i] * scale) : 0;
}
