#include "server/eval_vignettes.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define MAX_LINE_BYTES ((size_t)64 << 10)
#define MAX_VIGNETTES  100000
#define MAX_AGE        130
#define THIS_YEAR      2026 /* of CP_EVAL_TODAY */
#define THIS_MONTH     11

/* ---- the patient ------------------------------------------------------------------------ */

/* Born in the middle of a month, so that the age holds on CP_EVAL_TODAY: whole months are full, and
 * an age in years is half a year old. */
static cp_status set_birth(const cJSON *patient, cJSON *out, cp_error *err) {
    int64_t years = -1, months = 6;
    char day[32];
    cp_status status =
        cp_json_optional(cp_json_get_int(patient, "patient", "age_years", 0, MAX_AGE, &years, err));
    bool given = status == CP_OK && cp_json_member(patient, "age_months");
    if (given)
        status = cp_json_get_int(patient, "patient", "age_months", 0, MAX_AGE * 12, &months, err);
    if (status != CP_OK)
        return status;
    if (given && years >= 0)
        return cp_error_set(err, CP_ERR_FORMAT, "age_years and age_months: expected one of them");
    if (!given && years < 0)
        return CP_OK;
    int64_t born = (THIS_YEAR - (given ? 0 : years)) * 12 + THIS_MONTH - 1 - months;
    snprintf(day, sizeof day, "%04d-%02d-01", (int)(born / 12), (int)(born % 12 + 1));
    return cJSON_AddStringToObject(out, "date_of_birth", day)
               ? CP_OK
               : cp_error_no_memory(err, "the patient");
}

/* ["warfarin"] becomes [{"name": "warfarin"}]. */
static cp_status set_list(const cJSON *patient, const char *key, const char *name, cJSON *out,
                          cp_error *err) {
    const cJSON *list = cp_json_member(patient, key), *item;
    if (!list)
        return CP_OK;
    if (!cJSON_IsArray(list))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: expected a list of names", key);
    cJSON *made = cJSON_AddArrayToObject(out, key);
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsString(item) || !item->valuestring[0])
            return cp_error_set(err, CP_ERR_FORMAT, "%s: expected a list of names", key);
        cJSON *entry = cJSON_CreateObject();
        if (!made || !entry || !cJSON_AddStringToObject(entry, name, item->valuestring)) {
            cJSON_Delete(entry);
            return cp_error_no_memory(err, "the patient");
        }
        cJSON_AddItemToArray(made, entry);
    }
    return made ? CP_OK : cp_error_no_memory(err, "the patient");
}

static cp_status set_sex(const cJSON *patient, cJSON *out, cp_error *err) {
    const cJSON *sex = cp_json_member(patient, "sex"),
                *pregnant = cp_json_member(patient, "pregnant");
    if (sex && (!cJSON_IsString(sex) ||
                (strcmp(sex->valuestring, "female") != 0 && strcmp(sex->valuestring, "male") != 0)))
        return cp_error_set(err, CP_ERR_FORMAT, "sex: expected \"female\" or \"male\"");
    if (pregnant && !cJSON_IsBool(pregnant))
        return cp_error_set(err, CP_ERR_FORMAT, "pregnant: expected true or false");
    if ((sex && !cJSON_AddStringToObject(out, "sex", sex->valuestring)) ||
        (pregnant && !cJSON_AddBoolToObject(out, "pregnant", cJSON_IsTrue(pregnant))))
        return cp_error_no_memory(err, "the patient");
    return CP_OK;
}

static cp_status check_keys(const cJSON *object, const char *const *keys, size_t n, cp_error *err) {
    const cJSON *member;
    if (!cJSON_IsObject(object))
        return cp_error_set(err, CP_ERR_FORMAT, "expected an object");
    cJSON_ArrayForEach(member, object) {
        size_t i = 0;
        while (i < n && strcmp(keys[i], member->string) != 0)
            i++;
        if (i == n)
            return cp_error_set(err, CP_ERR_FORMAT, "unknown key \"%.40s\"", member->string);
    }
    return CP_OK;
}

void cp_eval_record_deinit(cp_patient_record *record) {
    cJSON_Delete(record->patient);
    cJSON_Delete(record->encounters);
    cJSON_Delete(record->claims);
    cJSON_Delete(record->documents);
    cJSON_Delete(record->chat_logs);
    *record = (cp_patient_record){0};
}

cp_status cp_eval_record_of(const cJSON *patient, cp_patient_record *out, cp_error *err) {
    static const char *const keys[] = {"age_years",  "age_months",  "sex",      "pregnant",
                                       "conditions", "medications", "allergies"};
    *out = (cp_patient_record){.patient = cJSON_CreateObject(),
                               .encounters = cJSON_CreateArray(),
                               .claims = cJSON_CreateArray(),
                               .documents = cJSON_CreateArray(),
                               .chat_logs = cJSON_CreateArray()};
    cp_status status = check_keys(patient, keys, CP_COUNT_OF(keys), err);
    if (status == CP_OK &&
        (!out->patient || !out->encounters || !out->claims || !out->documents || !out->chat_logs))
        status = cp_error_no_memory(err, "the patient");
    if (status == CP_OK)
        status = set_birth(patient, out->patient, err);
    if (status == CP_OK)
        status = set_sex(patient, out->patient, err);
    if (status == CP_OK)
        status = set_list(patient, "conditions", "name", out->patient, err);
    if (status == CP_OK)
        status = set_list(patient, "medications", "name", out->patient, err);
    if (status == CP_OK)
        status = set_list(patient, "allergies", "substance", out->patient, err);
    if (status != CP_OK)
        cp_eval_record_deinit(out);
    return status;
}

/* ---- a line ----------------------------------------------------------------------------- */

static cp_status read_text(const cJSON *tree, const char *key, const char **out, cp_error *err) {
    const cJSON *member = cp_json_member(tree, key);
    if (!cJSON_IsString(member) || !member->valuestring[0])
        return cp_error_set(err, CP_ERR_FORMAT, "%s: expected a text", key);
    *out = member->valuestring;
    return CP_OK;
}

/* Accepted levels are neighbours, in ascending order, and the best one is among them. */
static cp_status read_levels(cp_vignette *v, cp_error *err) {
    const cJSON *list = cp_json_member(v->tree, "accepted"), *item;
    int64_t level = 0;
    cp_status status = cp_json_get_int(v->tree, "vignette", "level", CP_ACUITY_MOST_URGENT,
                                       CP_ACUITY_LEAST_URGENT, &level, err);
    if (status != CP_OK)
        return status;
    v->level = (int)level;
    cJSON_ArrayForEach(item, list) {
        int last = v->least;
        double value = cJSON_IsNumber(item) ? item->valuedouble : 0;
        if (!(value >= CP_ACUITY_MOST_URGENT && value <= CP_ACUITY_LEAST_URGENT) ||
            value != (int)value || (last > 0 && (int)value != last + 1))
            return cp_error_set(err, CP_ERR_FORMAT,
                                "accepted: expected neighbouring levels 1 to 5 in order");
        v->least = (int)value;
        if (v->most == 0)
            v->most = (int)value;
    }
    if (v->level < v->most || v->level > v->least)
        return cp_error_set(err, CP_ERR_FORMAT, "accepted: expected a list with level %d in it",
                            v->level);
    return CP_OK;
}

static cp_status read_flags(cp_vignette *v, cp_error *err) {
    const cJSON *list = cp_json_member(v->tree, "red_flags"), *item;
    if (list && !cJSON_IsArray(list))
        return cp_error_set(err, CP_ERR_FORMAT, "red_flags: expected a list");
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsString(item) || v->n_flags == CP_VIGNETTE_MAX_FLAGS)
            return cp_error_set(err, CP_ERR_FORMAT, "red_flags: expected at most %d rule ids",
                                CP_VIGNETTE_MAX_FLAGS);
        v->flags[v->n_flags++] = item->valuestring;
    }
    return CP_OK;
}

static void deinit_vignette(cp_vignette *v) {
    cp_eval_record_deinit(&v->record);
    cJSON_Delete(v->tree);
}

static cp_status read_line(cp_str line, cp_vignette *v, cp_error *err) {
    static const char *const keys[] = {"id",    "level",  "accepted",  "patient",
                                       "query", "source", "red_flags", "note"};
    cp_status status = cp_json_parse("vignette", line.data, line.n, &v->tree, err);
    if (status == CP_OK)
        status = check_keys(v->tree, keys, CP_COUNT_OF(keys), err);
    if (status == CP_OK)
        status = read_text(v->tree, "id", &v->id, err);
    if (status == CP_OK)
        status = read_text(v->tree, "query", &v->query, err);
    if (status == CP_OK)
        status = read_text(v->tree, "source", &v->source, err);
    if (status == CP_OK)
        status = read_levels(v, err);
    if (status == CP_OK)
        status = read_flags(v, err);
    return status == CP_OK ? cp_eval_record_of(cp_json_member(v->tree, "patient"), &v->record, err)
                           : status;
}

static cp_status add(cp_vignettes *out, const cp_vignette *v, cp_error *err) {
    for (size_t i = 0; i < out->n; i++)
        if (strcmp(out->items[i].id, v->id) == 0)
            return cp_error_set(err, CP_ERR_FORMAT, "id: \"%.40s\" is used twice", v->id);
    if (out->n == MAX_VIGNETTES)
        return cp_error_set(err, CP_ERR_LIMIT, "more than %d vignettes", MAX_VIGNETTES);
    if (!cp_grow((void **)&out->items, &out->cap, out->n + 1, sizeof *out->items))
        return cp_error_no_memory(err, "vignettes");
    out->items[out->n++] = *v;
    return CP_OK;
}

cp_status cp_vignettes_read(const char *path, const char *split, cp_vignettes *out, cp_error *err) {
    FILE *in = fopen(path, "re");
    if (!in)
        return cp_error_set(err, CP_ERR_NOT_FOUND, "%s: cannot be opened", path);
    cp_strbuf line;
    cp_strbuf_init(&line, MAX_LINE_BYTES);
    bool more = true;
    cp_status status = CP_OK;
    for (size_t number = 1; status == CP_OK; number++) {
        cp_vignette v = {.split = split};
        status = cp_file_next_line(in, &line, &more, err);
        if (status == CP_OK && !more)
            break;
        if (status == CP_OK && line.n == 0)
            continue;
        if (status == CP_OK)
            status = read_line(cp_strbuf_str(&line), &v, err);
        if (status == CP_OK)
            status = add(out, &v, err);
        if (status != CP_OK) {
            deinit_vignette(&v);
            cp_error_prefix(err, "%s: line %zu", path, number);
        }
    }
    cp_strbuf_deinit(&line);
    fclose(in);
    return status;
}

void cp_vignettes_deinit(cp_vignettes *vignettes) {
    for (size_t i = 0; i < vignettes->n; i++)
        deinit_vignette(&vignettes->items[i]);
    free(vignettes->items);
    *vignettes = (cp_vignettes){0};
}
