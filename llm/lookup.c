#include "llm/lookup.h"

#include <string.h>

#define LONGEST_MATCH  3
#define SHORTEST_MATCH 2
#define SEARCH         4096 /* how far back */
/* A row beside another costs some tenth of a step, so a draft pays from about that chance on. */
#define LEAST_CHANCE 0.15
#define PAUSE        32
#define MEMORY       0.9 /* of the average */

void cp_lookup_init(cp_lookup *l) {
    *l = (cp_lookup){.accepted = 0.5};
}

/* Where what followed the latest earlier occurrence of the last `match` ids begins; 0 if nowhere.
 */
static size_t find(const int32_t *ids, size_t n, size_t match) {
    const int32_t *tail = ids + n - match;
    size_t last = n > SEARCH ? n - SEARCH : 0;
    for (size_t at = n - match; at-- > last;)
        if (memcmp(ids + at, tail, match * sizeof *ids) == 0)
            return at + match;
    return 0;
}

const int32_t *cp_lookup_draft(cp_lookup *l, const int32_t *ids, size_t n, size_t most,
                               size_t *n_draft) {
    *n_draft = l->drafted = 0;
    if (l->pause > 0) {
        l->pause--;
        return ids;
    }
    most = most < CP_LOOKUP_MAX_DRAFT ? most : CP_LOOKUP_MAX_DRAFT;
    size_t at = 0;
    for (size_t match = LONGEST_MATCH; match >= SHORTEST_MATCH && at == 0; match--)
        at = n > match ? find(ids, n, match) : 0;
    if (at == 0)
        return ids;
    *n_draft = l->drafted = n - at < most ? n - at : most;
    l->total_drafted += *n_draft;
    return ids + at;
}

void cp_lookup_note(cp_lookup *l, size_t n_accepted) {
    if (l->drafted == 0)
        return;
    double share = (double)n_accepted / (double)l->drafted;
    l->total_accepted += n_accepted;
    l->accepted = MEMORY * l->accepted + (1 - MEMORY) * share;
    l->drafted = 0;
    if (l->accepted < LEAST_CHANCE) {
        l->pause = PAUSE;
        l->accepted = 2 * LEAST_CHANCE; /* a few failures end the next try */
    }
}
