#include "bench/retrieval_set.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE ((size_t)1 << 20)

enum { PATIENTS, QUESTIONS, LISTS }; /* trees: LISTS to LISTS + 3 are the linked lists */
static const char *const files[] = {"synthetic/patients.jsonl",  "retrieval/questions.jsonl",
                                    "synthetic/documents.jsonl", "synthetic/encounters.jsonl",
                                    "synthetic/claims.jsonl",    "synthetic/chat_logs.jsonl"};

/* ---- reading ------------------------------------------------------------------------------- */

static cp_status read_lines(const char *path, FILE *in, cJSON *list, cp_error *err) {
    cp_strbuf line;
    bool more = true;
    size_t number = 0;
    cp_status status = CP_OK;
    cp_strbuf_init(&line, MAX_LINE);
    while (status == CP_OK) {
        cJSON *value = NULL;
        status = cp_file_next_line(in, &line, &more, err);
        if (status != CP_OK || !more)
            break;
        number++;
        status = cp_json_parse(path, cp_strbuf_text(&line), line.n, &value, err);
        if (status == CP_OK && (!cJSON_IsObject(value) || !cJSON_AddItemToArray(list, value)))
            status =
                cp_error_set(err, CP_ERR_FORMAT, "%s: line %zu: expected an object", path, number);
        if (status != CP_OK)
            cJSON_Delete(value);
    }
    cp_strbuf_deinit(&line);
    return status;
}

static cp_status read_list(const char *dir, const char *name, cJSON **out, cp_error *err) {
    char path[CP_PATH_CAP];
    cp_status status = cp_path_join(dir, name, path, sizeof path, err);
    if (status != CP_OK)
        return status;
    FILE *in = fopen(path, "r");
    if (!in)
        return cp_error_set(err, CP_ERR_IO, "%s: %s", path, strerror(errno));
    *out = cJSON_CreateArray();
    status = *out ? read_lines(path, in, *out, err) : cp_error_no_memory(err, "retrieval set");
    fclose(in);
    return status;
}

/* ---- patients ------------------------------------------------------------------------------ */

/* The "name" of each. */
static const char **names_of(const cJSON *list, size_t *n) {
    const cJSON *item;
    const char **names = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *names);
    *n = 0;
    cJSON_ArrayForEach(item, list) {
        const char *name = cp_json_text(item, "name", NULL);
        if (names && name)
            names[(*n)++] = name;
    }
    return names;
}

/* The rows that belong to this patient, as references. */
static cJSON *rows_of(const cJSON *all, const char *mrn) {
    const cJSON *row;
    cJSON *own = cJSON_CreateArray();
    cJSON_ArrayForEach(row, all) {
        if (own && strcmp(cp_json_text(row, "mrn", ""), mrn) == 0)
            cJSON_AddItemReferenceToArray(own, (cJSON *)row);
    }
    return own;
}

static cp_status make_patient(const cp_retrieval_set *set, const cJSON *tree, cp_set_patient *p,
                              cp_error *err) {
    p->mrn = cp_json_text(tree, "mrn", NULL);
    if (!p->mrn)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: a patient without mrn", files[PATIENTS]);
    p->medicines = names_of(cp_json_member(tree, "medications"), &p->n_medicines);
    p->conditions = names_of(cp_json_member(tree, "conditions"), &p->n_conditions);
    bool good = p->medicines && p->conditions;
    for (unsigned i = 0; i < CP_COUNT_OF(p->lists); i++) {
        p->lists[i] = rows_of(set->trees[LISTS + i], p->mrn);
        good = good && p->lists[i];
    }
    if (!good)
        return cp_error_no_memory(err, "retrieval set");
    return cp_record_docs_make(p->mrn, p->lists[0], p->lists[1], p->lists[2], p->lists[3],
                               &p->record, err);
}

static cp_status make_patients(cp_retrieval_set *set, cp_error *err) {
    const cJSON *tree;
    set->patients =
        calloc((size_t)cJSON_GetArraySize(set->trees[PATIENTS]) + 1, sizeof *set->patients);
    if (!set->patients)
        return cp_error_no_memory(err, "retrieval set");
    cJSON_ArrayForEach(tree, set->trees[PATIENTS]) {
        cp_status status = make_patient(set, tree, &set->patients[set->n_patients++], err);
        if (status != CP_OK)
            return status;
    }
    return CP_OK;
}

/* ---- questions ----------------------------------------------------------------------------- */

static cp_status make_relevant(const cJSON *list, cp_set_question *q, cp_error *err) {
    const cJSON *item;
    q->relevant = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *q->relevant);
    if (!q->relevant)
        return cp_error_no_memory(err, "retrieval set");
    cJSON_ArrayForEach(item, list) {
        const cJSON *grade = cp_json_member(item, "grade");
        const char *id = cp_json_text(item, "id", NULL);
        if (!id || !cJSON_IsNumber(grade) || (grade->valuedouble != 1 && grade->valuedouble != 2))
            return cp_error_set(err, CP_ERR_FORMAT,
                                "%s: %s: expected relevant to have id and grade", files[QUESTIONS],
                                q->id);
        q->relevant[q->n_relevant++] = (cp_set_relevant){id, (unsigned)grade->valueint};
    }
    return CP_OK;
}

static cp_status make_never(const cJSON *list, cp_set_question *q, cp_error *err) {
    const cJSON *item;
    q->never = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *q->never);
    if (!q->never)
        return cp_error_no_memory(err, "retrieval set");
    cJSON_ArrayForEach(item, list) {
        if (cJSON_IsString(item))
            q->never[q->n_never++] = item->valuestring;
    }
    return CP_OK;
}

static const cp_set_patient *find_patient(const cp_retrieval_set *set, const char *mrn) {
    for (size_t i = 0; i < set->n_patients; i++)
        if (strcmp(set->patients[i].mrn, mrn) == 0)
            return &set->patients[i];
    return NULL;
}

static cp_status make_question(const cp_retrieval_set *set, const cJSON *tree, cp_set_question *q,
                               cp_error *err) {
    const char *mrn = cp_json_text(tree, "mrn", NULL);
    q->id = cp_json_text(tree, "id", "?");
    q->text = cp_json_text(tree, "question", NULL);
    q->words = cp_json_text(tree, "words", "");
    q->split = cp_json_text(tree, "split", "");
    q->patient = mrn ? find_patient(set, mrn) : NULL;
    if (!q->text || (mrn && !q->patient))
        return cp_error_set(err, CP_ERR_FORMAT, "%s: %s: expected a question and a known mrn",
                            files[QUESTIONS], q->id);
    cp_status status = make_relevant(cp_json_member(tree, "relevant"), q, err);
    return status == CP_OK ? make_never(cp_json_member(tree, "never"), q, err) : status;
}

static cp_status make_questions(cp_retrieval_set *set, cp_error *err) {
    const cJSON *tree;
    set->questions =
        calloc((size_t)cJSON_GetArraySize(set->trees[QUESTIONS]) + 1, sizeof *set->questions);
    if (!set->questions)
        return cp_error_no_memory(err, "retrieval set");
    cJSON_ArrayForEach(tree, set->trees[QUESTIONS]) {
        cp_status status = make_question(set, tree, &set->questions[set->n_questions++], err);
        if (status != CP_OK)
            return status;
    }
    return CP_OK;
}

/* ---- all of it ----------------------------------------------------------------------------- */

cp_status cp_retrieval_set_open(const char *dir, cp_retrieval_set *out, cp_error *err) {
    char knowledge[CP_PATH_CAP];
    *out = (cp_retrieval_set){0};
    cp_status status = cp_path_join(dir, "knowledge", knowledge, sizeof knowledge, err);
    if (status == CP_OK)
        status = cp_knowledge_open(knowledge, &out->knowledge, err);
    for (size_t i = 0; i < CP_COUNT_OF(files) && status == CP_OK; i++)
        status = read_list(dir, files[i], &out->trees[i], err);
    if (status == CP_OK)
        status = make_patients(out, err);
    if (status == CP_OK)
        status = make_questions(out, err);
    if (status != CP_OK)
        cp_retrieval_set_close(out);
    return status;
}

static void close_patient(cp_set_patient *p) {
    cp_record_docs_deinit(&p->record);
    for (size_t i = 0; i < CP_COUNT_OF(p->lists); i++)
        cJSON_Delete(p->lists[i]);
    free(p->medicines);
    free(p->conditions);
}

void cp_retrieval_set_close(cp_retrieval_set *set) {
    for (size_t i = 0; i < set->n_patients; i++)
        close_patient(&set->patients[i]);
    for (size_t i = 0; i < set->n_questions; i++) {
        free(set->questions[i].relevant);
        free(set->questions[i].never);
    }
    free(set->patients);
    free(set->questions);
    for (size_t i = 0; i < CP_COUNT_OF(set->trees); i++)
        cJSON_Delete(set->trees[i]);
    cp_knowledge_close(set->knowledge);
    *set = (cp_retrieval_set){0};
}
