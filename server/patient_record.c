#include "server/patient_record.h"

#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATE_BYTES 10 /* "YYYY-MM-DD" */
#define PLACE_CAP  200

static const char *const list_names[CP_N_LISTS] = {"encounters", "claims", "documents",
                                                   "chat_logs"};

const char *cp_record_list_name(unsigned list) {
    return list_names[list];
}

cJSON **cp_record_list(cp_patient_record *record, unsigned list) {
    cJSON **lists[CP_N_LISTS] = {&record->encounters, &record->claims, &record->documents,
                                 &record->chat_logs};
    return lists[list];
}

static bool is_alphanumeric(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool cp_mrn_is_valid(const char *mrn) {
    if (!mrn || !is_alphanumeric(mrn[0]))
        return false;
    size_t n = 1;
    for (; mrn[n]; n++)
        if (n == CP_MRN_CAP - 1 || !(is_alphanumeric(mrn[n]) || mrn[n] == '_' || mrn[n] == '-'))
            return false;
    return true;
}

void cp_patient_record_free(cp_patient_record *record) {
    if (!record)
        return;
    cJSON_Delete(record->patient);
    for (unsigned list = 0; list < CP_N_LISTS; list++)
        cJSON_Delete(*cp_record_list(record, list));
    free(record);
}

cp_patient_record *cp_patient_record_create(const char *mrn) {
    cp_patient_record *record = calloc(1, sizeof *record);
    if (!record)
        return NULL;
    record->patient = cJSON_CreateObject();
    bool made = record->patient && cJSON_AddStringToObject(record->patient, "mrn", mrn);
    for (unsigned list = 0; list < CP_N_LISTS; list++)
        made = (*cp_record_list(record, list) = cJSON_CreateArray()) && made;
    if (made)
        return record;
    cp_patient_record_free(record);
    return NULL;
}

/* ---- checks ----------------------------------------------------------------------------- */

/* A required string; the sentence of a failure never shows its value. */
static cp_status required_string(const char *source, const cJSON *tree, const char *key,
                                 const char **out, cp_error *err) {
    cp_status status = cp_json_get_string(tree, source, key, out, err);
    return status == CP_ERR_NOT_FOUND
               ? cp_error_set(err, CP_ERR_FORMAT, "%s: %s is missing", source, key)
               : status;
}

static cp_status check_mrn(const char *source, const cJSON *tree, const char *mrn, cp_error *err) {
    const char *found;
    if (!cJSON_IsObject(tree))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: not a JSON object", source);
    cp_status status = required_string(source, tree, "mrn", &found, err);
    if (status != CP_OK)
        return status;
    if (!cp_mrn_is_valid(found))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: mrn is not " CP_MRN_RULE, source);
    if (mrn && strcmp(mrn, found) != 0)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: mrn is another patient's", source);
    return CP_OK;
}

cp_status cp_record_check_patient(const char *source, const cJSON *patient, const char *mrn,
                                  cp_error *err) {
    return check_mrn(source, patient, mrn, err);
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* "YYYY-MM-DD", or that with "T" or a blank and anything behind it. */
static bool is_date(const char *text) {
    static const char shape[] = "dddd-dd-dd";
    for (size_t i = 0; i < DATE_BYTES; i++)
        if (shape[i] == 'd' ? !is_digit(text[i]) : text[i] != '-')
            return false;
    return !text[DATE_BYTES] || text[DATE_BYTES] == 'T' || text[DATE_BYTES] == ' ';
}

/* A document can be cited, so it needs something to be cited by and something to cite. */
static cp_status check_document(const char *source, const cJSON *tree, cp_error *err) {
    static const char *const keys[] = {"id", "title", "text"};
    for (size_t i = 0; i < CP_COUNT_OF(keys); i++) {
        const char *value;
        cp_status status = required_string(source, tree, keys[i], &value, err);
        if (status != CP_OK)
            return status;
        if (!value[0])
            return cp_error_set(err, CP_ERR_FORMAT, "%s: %s is empty", source, keys[i]);
    }
    return CP_OK;
}

cp_status cp_record_check_row(const char *source, unsigned list, cJSON *row, const char *mrn,
                              cp_error *err) {
    const char *date;
    cp_status status = check_mrn(source, row, mrn, err);
    if (status == CP_OK)
        status = required_string(source, row, "date", &date, err);
    if (status == CP_OK && list == CP_LIST_DOCUMENTS)
        status = check_document(source, row, err);
    if (status != CP_OK)
        return status;
    if (!is_date(date))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: date is not YYYY-MM-DD", source);
    cJSON_GetObjectItemCaseSensitive(row, "date")->valuestring[DATE_BYTES] = '\0';
    return CP_OK;
}

/* ---- order ------------------------------------------------------------------------------ */

typedef struct dated {
    cJSON *row;
    const char *date;
    size_t place;
} dated;

static int compare_dated(const void *left, const void *right) {
    const dated *a = left, *b = right;
    int by_date = strcmp(a->date, b->date);
    return by_date != 0 ? by_date : (a->place > b->place) - (a->place < b->place);
}

cp_status cp_record_sort(cJSON *list, cp_error *err) {
    size_t n = (size_t)cJSON_GetArraySize(list);
    if (n < 2)
        return CP_OK;
    dated *rows = calloc(n, sizeof *rows);
    if (!rows)
        return cp_error_no_memory(err, "patient record");
    for (size_t i = 0; i < n; i++) {
        cJSON *row = cJSON_DetachItemViaPointer(list, list->child);
        const cJSON *date = cp_json_member(row, "date");
        rows[i] = (dated){row, cJSON_IsString(date) ? date->valuestring : "", i};
    }
    qsort(rows, n, sizeof *rows, compare_dated);
    for (size_t i = 0; i < n; i++)
        cJSON_AddItemToArray(list, rows[i].row); /* links; allocates nothing */
    free(rows);
    return CP_OK;
}

/* ---- JSON ------------------------------------------------------------------------------- */

/* Takes member `key` out of `tree`; NULL when it is absent or null. */
static cJSON *take(cJSON *tree, const char *key) {
    return cp_json_member(tree, key) ? cJSON_DetachItemFromObjectCaseSensitive(tree, key) : NULL;
}

static cp_status take_list(const char *source, cJSON *tree, unsigned list, const char *mrn,
                           cJSON **out, cp_error *err) {
    char place[PLACE_CAP];
    *out = take(tree, list_names[list]);
    if (!*out && !(*out = cJSON_CreateArray()))
        return cp_error_no_memory(err, source);
    if (!cJSON_IsArray(*out))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: %s is not an array", source, list_names[list]);
    size_t number = 0;
    cJSON *row;
    cJSON_ArrayForEach(row, *out) {
        snprintf(place, sizeof place, "%s: %s %zu", source, list_names[list], ++number);
        cp_status status = cp_record_check_row(place, list, row, mrn, err);
        if (status != CP_OK)
            return status;
    }
    return cp_record_sort(*out, err);
}

static cp_status take_record(const char *source, cJSON *tree, const char *mrn,
                             cp_patient_record *record, cp_error *err) {
    char place[PLACE_CAP];
    if (!cJSON_IsObject(tree))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: not a JSON object", source);
    record->patient = take(tree, "patient");
    if (!record->patient)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: patient is missing", source);
    snprintf(place, sizeof place, "%s: patient", source);
    cp_status status = cp_record_check_patient(place, record->patient, mrn, err);
    for (unsigned list = 0; list < CP_N_LISTS && status == CP_OK; list++)
        status = take_list(source, tree, list, mrn, cp_record_list(record, list), err);
    return status;
}

cp_status cp_patient_record_parse(const char *source, cp_str text, const char *mrn,
                                  cp_patient_record **out, cp_error *err) {
    *out = NULL;
    cJSON *tree;
    cp_status status = cp_json_parse(source, text.data, text.n, &tree, err);
    if (status != CP_OK)
        return status;
    cp_patient_record *record = calloc(1, sizeof *record);
    status = record ? take_record(source, tree, mrn, record, err) : cp_error_no_memory(err, source);
    cJSON_Delete(tree);
    if (status == CP_OK)
        *out = record;
    else
        cp_patient_record_free(record);
    return status;
}

cp_status cp_record_append_tree(const cJSON *tree, cp_strbuf *out, cp_error *err) {
    char *text = cJSON_PrintUnformatted(tree);
    if (!text)
        return cp_error_no_memory(err, "patient record");
    cp_strbuf_puts(out, text);
    cJSON_free(text);
    return cp_strbuf_check(out, "patient record", err);
}

cp_status cp_patient_record_append(const cp_patient_record *record, cp_strbuf *out, cp_error *err) {
    cp_patient_record lists = *record;
    cp_strbuf_puts(out, "{\"patient\":");
    cp_status status = cp_record_append_tree(record->patient, out, err);
    for (unsigned list = 0; list < CP_N_LISTS && status == CP_OK; list++) {
        cp_strbuf_printf(out, ",\"%s\":", list_names[list]);
        status = cp_record_append_tree(*cp_record_list(&lists, list), out, err);
    }
    cp_strbuf_putc(out, '}');
    return status == CP_OK ? cp_strbuf_check(out, "patient record", err) : status;
}

/* ---- changes ---------------------------------------------------------------------------- */

cp_status cp_patient_change_check(const cp_patient_change *change, cp_error *err) {
    if (!cp_mrn_is_valid(change->mrn))
        return cp_error_set(err, CP_ERR_USAGE, "change: mrn is not " CP_MRN_RULE);
    cp_status status =
        cp_record_check_patient("change: patient", change->patient, change->mrn, err);
    char place[PLACE_CAP];
    size_t number = 0;
    cJSON *row;
    cJSON_ArrayForEach(row, change->documents) {
        snprintf(place, sizeof place, "change: documents %zu", ++number);
        if (status == CP_OK)
            status = cp_record_check_row(place, CP_LIST_DOCUMENTS, row, change->mrn, err);
    }
    return status;
}

static bool put_member(cJSON *object, const cJSON *member) {
    cJSON *copy = cJSON_Duplicate(member, true); /* with its key */
    cJSON *old = cJSON_GetObjectItemCaseSensitive(object, member->string);
    if (copy && old)
        return cJSON_ReplaceItemViaPointer(object, old, copy);
    if (copy && cJSON_AddItemToObject(object, member->string, copy))
        return true;
    cJSON_Delete(copy);
    return false;
}

static cJSON *with_id(cJSON *list, const char *id) {
    cJSON *row;
    cJSON_ArrayForEach(row, list) {
        const cJSON *found = cp_json_member(row, "id");
        if (cJSON_IsString(found) && strcmp(found->valuestring, id) == 0)
            return row;
    }
    return NULL;
}

static bool put_document(cJSON *list, const cJSON *document) {
    cJSON *copy = cJSON_Duplicate(document, true);
    if (!copy)
        return false;
    cJSON *old = with_id(list, cp_json_member(document, "id")->valuestring);
    if (old)
        return cJSON_ReplaceItemViaPointer(list, old, copy);
    return cJSON_AddItemToArray(list, copy);
}

cp_status cp_patient_record_apply(cp_patient_record *record, const cp_patient_change *change,
                                  cp_error *err) {
    const cJSON *item;
    cJSON_ArrayForEach(item, change->patient) {
        if (!put_member(record->patient, item))
            return cp_error_no_memory(err, "patient record");
    }
    cJSON_ArrayForEach(item, change->documents) {
        if (!put_document(record->documents, item))
            return cp_error_no_memory(err, "patient record");
    }
    return cp_record_sort(record->documents, err);
}

cp_status cp_patient_change_append(const cp_patient_change *change, cp_strbuf *out, cp_error *err) {
    cp_strbuf_puts(out, "{\"patient\":");
    cp_status status = cp_record_append_tree(change->patient, out, err);
    cp_strbuf_puts(out, ",\"documents\":");
    if (status == CP_OK && change->documents)
        status = cp_record_append_tree(change->documents, out, err);
    else
        cp_strbuf_puts(out, "[]");
    cp_strbuf_putc(out, '}');
    return status == CP_OK ? cp_strbuf_check(out, "patient record", err) : status;
}
