/* The embedded store's files, one of which is anything: the first byte says which. The last of them
 * is the journal of imports. Every patient that is found can be read and shown. */
#include "tests/fuzz/fuzz.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "server/patient_store.h"
#include "server/patient_summary.h"

#include <unistd.h>

static const char *const names[] = {"patients.jsonl",  "encounters.jsonl", "claims.jsonl",
                                    "documents.jsonl", "chat_logs.jsonl",  "imports.jsonl"};
#define N_FILES 5 /* that must be there */

/* Patients, and nothing about them: what is small is read often. */
static void restore(size_t file) {
    if (file == 0)
        fuzz_copy("data/synthetic/patients.jsonl", names[0]);
    else if (file < N_FILES)
        fuzz_write(names[file], "", 0);
    else
        unlink(fuzz_path(names[file]));
}

static void show(cp_patient_store *store, const char *mrn) {
    cp_error err;
    cp_patient_record *record;
    cp_strbuf out;
    if (!fuzz_ok(store->get(store, mrn, &record, &err), &err))
        return;
    cp_strbuf_init(&out, CP_RECORD_MAX_BYTES);
    cp_patient_facts facts = cp_patient_facts_of(record, "2026-11-21");
    fuzz_expect(facts.age_years >= -1 && facts.age_months >= 0 && facts.age_months < 12);
    cp_patient_summary_append(record, NULL, "2026-11-21", 4000, &out);
    fuzz_expect(out.n <= 4000 && cp_utf8_is_valid(cp_strbuf_text(&out), out.n));
    cp_strbuf_deinit(&out);
    cp_patient_record_free(record);
}

static void visit(void *user, const cJSON *patient) {
    const cJSON *mrn = cp_json_member(patient, "mrn");
    fuzz_expect(cJSON_IsString(mrn) && cp_mrn_is_valid(mrn->valuestring));
    ++*(size_t *)user;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static bool made;
    cp_error err;
    cp_patient_store *store;
    size_t n_patients = 0;
    for (size_t i = 0; !made && i < N_FILES; i++)
        restore(i);
    made = true;
    if (n == 0)
        return 0;
    size_t file = data[0] % CP_COUNT_OF(names);
    fuzz_write(names[file], data + 1, n - 1);
    if (fuzz_ok(cp_patient_store_open_jsonl(fuzz_dir(), &store, &err), &err)) {
        store->each(store, visit, &n_patients);
        fuzz_expect(n_patients == store->count(store));
        show(store, "MRN-001");
        show(store, "FHIR-1");
        show(store, "$where");
        store->close(store);
    }
    restore(file);
    return 0;
}
