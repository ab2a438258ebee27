/* Counting how levels agree with what is accepted, with intervals.
 *
 * Plain sums; no memory, no text. A vignette is right when its level is accepted, under-triaged
 * when less urgent than everything accepted, over-triaged when more urgent. */
#ifndef CP_SERVER_EVAL_SCORE_H
#define CP_SERVER_EVAL_SCORE_H

#include "server/eval_vignettes.h"

/* A share with its 95% Wilson score interval (Wilson 1927); all zero when n is. */
typedef struct cp_share {
    size_t k, n;
    double value, low, high; /* 0 to 1 */
} cp_share;
cp_share cp_share_of(size_t k, size_t n);

typedef struct cp_eval_score {
    size_t n, right, under, over;
    size_t emergencies, emergencies_under;
    size_t flags, flags_found; /* rules that should have fired, and did */
    size_t unmatched;          /* no rule and no model had an opinion */
    /* [best level][given level]; 0 is unused */
    size_t confusion[CP_VIGNETTE_LEVELS_CAP][CP_VIGNETTE_LEVELS_CAP];
    size_t accepted[CP_VIGNETTE_LEVELS_CAP]; /* by best level: the given one is accepted */
} cp_eval_score;

/* `given` is 1 to 5; `matched` tells whether somebody had an opinion. */
void cp_eval_score_add(cp_eval_score *score, const cp_vignette *vignette, int given, bool matched);
void cp_eval_score_flags(cp_eval_score *score, const cp_vignette *vignette,
                         const cp_safety_finding *finding);
/* a += b */
void cp_eval_score_merge(cp_eval_score *a, const cp_eval_score *b);
/* Vignettes whose best level this is. */
size_t cp_eval_score_n_level(const cp_eval_score *score, int level);

static inline bool cp_eval_is_under(const cp_vignette *v, int given) {
    return given > v->least;
}

#endif
