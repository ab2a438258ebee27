/* Speculation by prompt lookup: what followed the last time that the text went like this.
 *
 * The draft for the next tokens is what followed the latest earlier occurrence of the sequence's
 * last tokens; a step then computes the draft's tokens beside the real one, and those that are
 * drawn anyway have cost next to nothing. Drafts pay where an answer repeats its prompt. Where they
 * do not, they are given up for a while by themselves. (Saxena 2023, "Prompt Lookup Decoding"; the
 * verification is Leviathan et al. 2023 for a deterministic draft.) A plain value of one sequence.
 */
#ifndef CP_LLM_LOOKUP_H
#define CP_LLM_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

#define CP_LOOKUP_MAX_DRAFT 6

typedef struct cp_lookup {
    double accepted; /* a drafted token's recent chance */
    size_t pause;    /* tokens until the next try */
    size_t drafted, total_drafted, total_accepted;
} cp_lookup;

void cp_lookup_init(cp_lookup *lookup);
/* A draft of at most `most` tokens (CP_LOOKUP_MAX_DRAFT at most) for what follows ids [n]: points
 * into ids; *n_draft is 0 when there is none. */
const int32_t *cp_lookup_draft(cp_lookup *lookup, const int32_t *ids, size_t n, size_t most,
                               size_t *n_draft);
/* How many tokens of the last draft were drawn; call after each step, also without a draft. */
void cp_lookup_note(cp_lookup *lookup, size_t n_accepted);

#endif
