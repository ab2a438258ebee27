/* The rules on any text: more text never lowers a level that is already a warning's. */
#include "tests/fuzz/fuzz.h"

#include "server/safety.h"

#include <stdlib.h>
#include <string.h>

static int level(const cp_safety *safety, const char *query) {
    cp_safety_finding found;
    cp_safety_check(safety, query, NULL, &found);
    fuzz_expect(found.n <= CP_SAFETY_MAX_HITS && (found.n == 0) == (found.floor == CP_ACUITY_NONE));
    for (size_t i = 1; i < found.n; i++)
        fuzz_expect(found.rules[i - 1]->acuity <= found.rules[i]->acuity);
    if (found.n > 0)
        fuzz_expect(found.floor == found.rules[0]->acuity);
    return cp_safety_level_alone(safety, &found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static cp_safety *safety;
    static const char more[] = ". I have crushing chest pain and I am sweating.";
    cp_error err;
    if (!safety && !fuzz_ok(cp_safety_open("data/triage/rules.json", &safety, &err), &err))
        exit(2);
    char *query = fuzz_text(data, n), *longer = malloc(n + sizeof more);
    fuzz_expect(longer);
    size_t n_query = strlen(query);
    memcpy(longer, query, n_query);
    memcpy(longer + n_query, more, sizeof more);
    int alone = level(safety, query);
    fuzz_expect(alone >= CP_ACUITY_MOST_URGENT && alone <= CP_ACUITY_LEAST_URGENT);
    fuzz_expect(level(safety, longer) <= 2);
    free(query);
    free(longer);
    return 0;
}
