#include "engine/sampler.h"

#include "base/mem.h"
#include "engine/mathfn.h"

#include <stdlib.h>

typedef struct candidate {
    float logit; /* penalties applied */
    int32_t id;
} candidate;

struct cp_sampler {
    size_t vocab_size;
    cp_sampling s;
    uint64_t state, increment; /* PCG32 */
    int32_t *counts;           /* [vocab_size]: how often each token was drawn */
    int32_t *drawn; /* [vocab_size]: those with a count, so that a start clears only them */
    size_t n_drawn;
    candidate *candidates; /* [vocab_size] */
    double *weights;       /* [vocab_size]: exp((logit - best) / temperature) */
};

/* ---- PCG32 ------------------------------------------------------------------------------------
 */

static uint32_t pcg32(cp_sampler *s) {
    uint64_t old = s->state;
    s->state = old * 6364136223846793005u + s->increment;
    uint32_t shifted = (uint32_t)((old >> 18 ^ old) >> 27), turn = (uint32_t)(old >> 59);
    return shifted >> turn | shifted << (-turn & 31);
}

/* pcg32_srandom with stream 54, the reference's own example. */
static void pcg32_seed(cp_sampler *s, uint64_t seed) {
    s->state = 0;
    s->increment = 54u << 1 | 1;
    (void)pcg32(s);
    s->state += seed;
    (void)pcg32(s);
}

/* ---- the k best candidates, best first ---------------------------------------------------------
 */

/* a is a worse choice than b: smaller logit, or the larger id of two equals. */
static bool worse(candidate a, candidate b) {
    return a.logit < b.logit || (a.logit == b.logit && a.id > b.id);
}

/* Restores the heap (worst on top) below `at`. */
static void sift(candidate *heap, size_t n, size_t at) {
    candidate moving = heap[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && worse(heap[child + 1], heap[child]))
            child++;
        if (!worse(heap[child], moving))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

static float penalised(const cp_sampler *s, const float *logits, size_t id) {
    int32_t count = s->counts[id];
    if (count == 0)
        return logits[id];
    return (float)(logits[id] - s->s.presence_penalty - s->s.frequency_penalty * count);
}

/* The first allowed id from `id` on, vocab_size when there is none. */
static size_t next_allowed(const cp_sampler *s, const uint64_t *allowed, size_t id) {
    if (!allowed || id >= s->vocab_size)
        return id;
    uint64_t word = allowed[id / 64] >> id % 64;
    if (word)
        id += (size_t)__builtin_ctzll(word);
    else {
        size_t at = id / 64 + 1, n_words = (s->vocab_size + 63) / 64;
        while (at < n_words && !allowed[at])
            at++;
        id = at < n_words ? at * 64 + (size_t)__builtin_ctzll(allowed[at]) : s->vocab_size;
    }
    return id < s->vocab_size ? id : s->vocab_size;
}

/* Fills candidates with the k best of the vocabulary, best first; NaN is nobody's choice. Returns
 * how many there are. A heap of the k best so far, worst on top, then sorted in place by taking the
 * worst off. */
static size_t select_best(cp_sampler *s, const float *logits, const uint64_t *allowed, size_t k) {
    candidate *heap = s->candidates;
    size_t n = 0;
    for (size_t id = 0; (id = next_allowed(s, allowed, id)) < s->vocab_size; id++) {
        candidate c = {penalised(s, logits, id), (int32_t)id};
        if (c.logit != c.logit)
            continue;
        if (n < k) {
            heap[n++] = c;
            if (n == k)
                for (size_t i = k / 2; i-- > 0;)
                    sift(heap, k, i);
        } else if (worse(heap[0], c)) {
            heap[0] = c;
            sift(heap, k, 0);
        }
    }
    if (n < k)
        for (size_t i = n / 2; i-- > 0;)
            sift(heap, n, i);
    for (size_t left = n; left > 1;) {
        candidate worst = heap[0];
        heap[0] = heap[--left];
        sift(heap, left, 0);
        heap[left] = worst;
    }
    return n;
}

/* ---- the filters and the draw ------------------------------------------------------------------
 */

/* How many of the n candidates stay after top_p and min_p; weights of the rest are not used. */
static size_t filter(const cp_sampler *s, size_t n) {
    double total = 0, mass = 0;
    for (size_t i = 0; i < n; i++)
        total += s->weights[i];
    size_t keep = 0;
    while (keep < n && (keep == 0 || mass < s->s.top_p * total) &&
           (keep == 0 || s->weights[keep] >= s->s.min_p * s->weights[0]))
        mass += s->weights[keep++];
    return keep;
}

static int32_t draw(cp_sampler *s, const float *logits, const uint64_t *allowed) {
    size_t k =
        s->s.top_k > 0 && (size_t)s->s.top_k < s->vocab_size ? (size_t)s->s.top_k : s->vocab_size;
    size_t n = select_best(s, logits, allowed, k);
    double u = pcg32(s) * 0x1p-32; /* one draw a token, whatever is chosen from */
    if (n == 0)
        return (int32_t)next_allowed(s, allowed, 0);
    for (size_t i = 0; i < n; i++) {
        double gap =
            (double)s->candidates[i].logit - s->candidates[0].logit; /* NaN: both are infinite */
        s->weights[i] = gap == gap ? cp_exp(gap / s->s.temperature) : 1.0;
    }
    size_t keep = filter(s, n);
    double mass = 0, sum = 0;
    for (size_t i = 0; i < keep; i++)
        mass += s->weights[i];
    for (size_t i = 0; i + 1 < keep; i++) {
        sum += s->weights[i];
        if (u * mass < sum)
            return s->candidates[i].id;
    }
    return s->candidates[keep - 1].id;
}

static int32_t greedy(const cp_sampler *s, const float *logits, const uint64_t *allowed) {
    candidate best = {0, -1};
    for (size_t id = 0; (id = next_allowed(s, allowed, id)) < s->vocab_size; id++) {
        candidate c = {penalised(s, logits, id), (int32_t)id};
        if (c.logit == c.logit && (best.id < 0 || worse(best, c)))
            best = c;
    }
    return best.id < 0 ? (int32_t)next_allowed(s, allowed, 0) : best.id;
}

int32_t cp_sampler_next_allowed(cp_sampler *s, const float *logits, const uint64_t *allowed) {
    int32_t id = s->s.temperature > 0 ? draw(s, logits, allowed) : greedy(s, logits, allowed);
    if (s->counts[id]++ == 0)
        s->drawn[s->n_drawn++] = id;
    return id;
}

int32_t cp_sampler_next(cp_sampler *s, const float *logits) {
    return cp_sampler_next_allowed(s, logits, NULL);
}

cp_status cp_sampler_create(size_t vocab_size, cp_sampler **out, cp_error *err) {
    cp_sampler *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return cp_error_no_memory(err, "sampler");
    s->vocab_size = vocab_size;
    s->counts = calloc(vocab_size, sizeof *s->counts);
    s->drawn = calloc(vocab_size, sizeof *s->drawn);
    s->candidates = calloc(vocab_size, sizeof *s->candidates);
    s->weights = calloc(vocab_size, sizeof *s->weights);
    if (!s->counts || !s->drawn || !s->candidates || !s->weights) {
        cp_sampler_free(s);
        return cp_error_no_memory(err, "sampler");
    }
    *out = s;
    return CP_OK;
}

void cp_sampler_free(cp_sampler *s) {
    if (!s)
        return;
    free(s->counts);
    free(s->drawn);
    free(s->candidates);
    free(s->weights);
    free(s);
}

void cp_sampler_start(cp_sampler *s, const cp_sampling *sampling) {
    s->s = *sampling;
    pcg32_seed(s, sampling->seed);
    while (s->n_drawn > 0)
        s->counts[s->drawn[--s->n_drawn]] = 0;
}
