#include "server/patient_store.h"

#include <stdlib.h>

#define MRN_MAX 32

static bool is_alphanumeric(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool cp_mrn_is_valid(const char *mrn) {
    if (!mrn || !is_alphanumeric(mrn[0]))
        return false;
    size_t n = 1;
    for (; mrn[n]; n++)
        if (n == MRN_MAX ||
            !(is_alphanumeric(mrn[n]) || mrn[n] == '.' || mrn[n] == '_' || mrn[n] == '-'))
            return false;
    return true;
}

void cp_patient_record_free(cp_patient_record *record) {
    if (!record)
        return;
    cJSON_Delete(record->patient);
    cJSON_Delete(record->encounters);
    cJSON_Delete(record->claims);
    cJSON_Delete(record->documents);
    cJSON_Delete(record->chat_logs);
    free(record);
}
