/* rules.json. What compiles must check queries. */
#include "tests/fuzz/fuzz.h"

#include "base/mem.h"
#include "server/safety.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const char *const queries[] = {"my chest hurts, no fever. Pain in the left arm",
                                          "history of a stroke in 2010; cant breathe now", ""};
    cp_error err;
    cp_safety *safety;
    const cp_patient_facts facts = {.age_years = 1, .age_months = 2, .sex = CP_SEX_FEMALE};
    if (!fuzz_ok(cp_safety_open(fuzz_write("rules.json", data, n), &safety, &err), &err))
        return 0;
    for (size_t i = 0; i < CP_COUNT_OF(queries); i++) {
        cp_safety_finding found;
        cp_safety_check(safety, queries[i], i ? &facts : NULL, &found);
        fuzz_expect(found.n <= CP_SAFETY_MAX_HITS && found.floor <= CP_ACUITY_LEAST_URGENT);
    }
    cp_safety_close(safety);
    return 0;
}
