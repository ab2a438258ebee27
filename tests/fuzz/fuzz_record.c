/* A record as a db-api or the journal hands it over; what is accepted can be shown, and written and
 * read again. */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "server/patient_summary.h"

#include <string.h>

static void use(const cp_patient_record *record) {
    cp_error err;
    cp_patient_record *again;
    cp_strbuf out;
    cp_strbuf_init(&out, CP_RECORD_MAX_BYTES);
    cp_patient_facts facts = cp_patient_facts_of(record, "2026-11-21");
    fuzz_expect(facts.age_years >= -1 && facts.age_months >= 0 && facts.age_months < 12);
    for (size_t most = 0; most < 3000; most = most * 2 + 100) {
        cp_strbuf_clear(&out);
        cp_patient_summary_append(record, NULL, "2026-11-21", most, &out);
        fuzz_expect(out.n <= most && cp_utf8_is_valid(cp_strbuf_text(&out), out.n));
    }
    cp_strbuf_clear(&out);
    if (fuzz_ok(cp_patient_record_append(record, &out, &err), &err)) {
        fuzz_expect(fuzz_ok(
            cp_patient_record_parse("again", cp_strbuf_str(&out), "MRN-001", &again, &err), &err));
        cp_patient_record_free(again);
    }
    cp_strbuf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_error err;
    cp_patient_record *record;
    if (fuzz_ok(cp_patient_record_parse("record", fuzz_str(data, n), "MRN-001", &record, &err),
                &err)) {
        use(record);
        cp_patient_record_free(record);
    }
    return 0;
}
