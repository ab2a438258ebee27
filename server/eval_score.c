#include "server/eval_score.h"

#include <math.h>
#include <string.h>

#define Z95 1.959963984540054 /* 97.5th percentile of the normal distribution */

cp_share cp_share_of(size_t k, size_t n) {
    cp_share share = {.k = k, .n = n};
    if (n == 0)
        return share;
    double count = (double)n, p = (double)k / count, z2 = Z95 * Z95;
    double centre = (p + z2 / (2 * count)) / (1 + z2 / count);
    double half = Z95 / (1 + z2 / count) * sqrt(p * (1 - p) / count + z2 / (4 * count * count));
    share.value = p;
    share.low = k == 0 ? 0 : fmax(0, centre - half);
    share.high = k == n ? 1 : fmin(1, centre + half);
    return share;
}

void cp_eval_score_add(cp_eval_score *score, const cp_vignette *v, int given, bool matched) {
    bool under = cp_eval_is_under(v, given), over = given < v->most;
    score->n++;
    score->under += under;
    score->over += over;
    score->right += !under && !over;
    score->unmatched += !matched;
    score->emergencies += cp_vignette_is_emergency(v);
    score->emergencies_under += cp_vignette_is_emergency(v) && under;
    score->confusion[v->level][given]++;
    score->accepted[v->level] += !under && !over;
}

static bool has_rule(const cp_safety_finding *finding, const char *id) {
    for (size_t i = 0; i < finding->n; i++)
        if (strcmp(finding->rules[i]->id, id) == 0)
            return true;
    return false;
}

void cp_eval_score_flags(cp_eval_score *score, const cp_vignette *v,
                         const cp_safety_finding *finding) {
    score->flags += v->n_flags;
    for (size_t i = 0; i < v->n_flags; i++)
        score->flags_found += has_rule(finding, v->flags[i]);
}

void cp_eval_score_merge(cp_eval_score *a, const cp_eval_score *b) {
    a->n += b->n;
    a->right += b->right;
    a->under += b->under;
    a->over += b->over;
    a->emergencies += b->emergencies;
    a->emergencies_under += b->emergencies_under;
    a->flags += b->flags;
    a->flags_found += b->flags_found;
    a->unmatched += b->unmatched;
    for (int i = 0; i < CP_VIGNETTE_LEVELS_CAP; i++) {
        a->accepted[i] += b->accepted[i];
        for (int k = 0; k < CP_VIGNETTE_LEVELS_CAP; k++)
            a->confusion[i][k] += b->confusion[i][k];
    }
}

size_t cp_eval_score_n_level(const cp_eval_score *score, int level) {
    size_t n = 0;
    for (int k = 0; k < CP_VIGNETTE_LEVELS_CAP; k++)
        n += score->confusion[level][k];
    return n;
}
