/* A FHIR Bundle: what is taken from it must be a change that a store can keep. */
#include "tests/fuzz/fuzz.h"

#include "base/json.h"
#include "server/fhir_import.h"

static void keep(const cp_fhir_patient *p) {
    cp_error err;
    cp_patient_record *record = cp_patient_record_create(p->mrn);
    const cp_patient_change change = {p->mrn, p->patient, p->documents};
    cp_strbuf out;
    fuzz_expect(record);
    cp_strbuf_init(&out, CP_RECORD_MAX_BYTES);
    fuzz_expect(cp_mrn_is_valid(p->mrn));
    if (fuzz_ok(cp_patient_change_check(&change, &err), &err)) {
        fuzz_expect(fuzz_ok(cp_patient_change_append(&change, &out, &err), &err));
        (void)fuzz_ok(cp_patient_record_apply(record, &change, &err), &err);
    }
    cp_strbuf_deinit(&out);
    cp_patient_record_free(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_error err;
    cJSON *bundle;
    cp_fhir_import import;
    if (!fuzz_ok(cp_json_parse("the body", (const char *)data, n, &bundle, &err), &err))
        return 0;
    if (fuzz_ok(cp_fhir_read(bundle, &import, &err), &err))
        for (size_t i = 0; i < import.n; i++)
            keep(&import.patients[i]);
    cp_fhir_import_deinit(&import);
    cJSON_Delete(bundle);
    return 0;
}
