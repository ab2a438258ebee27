/* From logits to the next token.
 *
 * Order of operations: presence and frequency penalties, temperature, top_k, top_p, min_p, draw.
 * The generator is PCG32 (O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good
 * Algorithms", pcg32 XSH-RR), seeded from a 64-bit number, one draw a token; exp is our own. So a
 * seed gives the same tokens on every machine that computes the same logits. Ties go to the smaller
 * id. */
#ifndef CP_ENGINE_SAMPLER_H
#define CP_ENGINE_SAMPLER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cp_sampling {
    double temperature; /* 0: greedy */
    int64_t top_k;      /* 0: all */
    double top_p;       /* 1: all */
    double min_p;       /* 0: all; share of the best token's probability */
    double presence_penalty, frequency_penalty;
    uint64_t seed;
} cp_sampling;

typedef struct cp_sampler cp_sampler;

/* Buffers for vocab_size logits; nothing is allocated per token. */
cp_status cp_sampler_create(size_t vocab_size, cp_sampler **out, cp_error *err) CP_MUST_CHECK;
void cp_sampler_free(cp_sampler *sampler);
/* Begins a sequence: settings, the generator at its seed, no tokens counted. */
void cp_sampler_start(cp_sampler *sampler, const cp_sampling *sampling);
/* Draws from logits [vocab_size] (not changed) and counts the token for the penalties. NaN logits
 * are never drawn. */
int32_t cp_sampler_next(cp_sampler *sampler, const float *logits);
/* The same among the tokens whose bit is set in `allowed` only (token id: bit id % 64 of word
 * id / 64), as if all others had a logit of minus infinity before any filter. At least one bit must
 * be set; where all allowed logits are NaN it is the first such token. NULL allows all. */
int32_t cp_sampler_next_allowed(cp_sampler *sampler, const float *logits, const uint64_t *allowed);

#endif
