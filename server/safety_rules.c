#include "server/safety_compile.h"

#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_FILE_BYTES  ((size_t)4 << 20)
#define MAX_RULES       1024
#define MAX_AGE         130
#define RECENT_YEARS    2 /* events of this year and the last are not history */
#define LEAST_UNMATCHED 3 /* the least urgent level that may stand for "no rule knows" */
#define MIN_EXAMPLES    2

typedef cp_rule_compiler compiler;

/* ---- conditions and patterns ------------------------------------------------------------ */

static cp_status read_bound(compiler *c, const cJSON *object, const char *key, int max, int *out) {
    const cJSON *member = cp_json_member(object, key);
    char expected[64];
    *out = -1;
    if (!member)
        return CP_OK;
    snprintf(expected, sizeof expected, "a whole number from 0 to %d", max);
    if (!cJSON_IsNumber(member) || !(member->valuedouble >= 0 && member->valuedouble <= max) ||
        member->valuedouble != (int)member->valuedouble)
        return cp_compile_refuse(c, key, member, expected);
    *out = (int)member->valuedouble;
    return CP_OK;
}

static cp_status read_ages(compiler *c, const cJSON *object, const char *field,
                           cp_rule_condition *out) {
    cp_status status = read_bound(c, object, "min_age", MAX_AGE, &out->min_age);
    if (status == CP_OK)
        status = read_bound(c, object, "max_age", MAX_AGE, &out->max_age);
    if (status == CP_OK)
        status = read_bound(c, object, "min_age_months", MAX_AGE * 12, &out->min_age_months);
    if (status == CP_OK)
        status = read_bound(c, object, "max_age_months", MAX_AGE * 12, &out->max_age_months);
    if (status != CP_OK)
        return status;
    if ((out->max_age >= 0 && out->min_age > out->max_age) ||
        (out->max_age_months >= 0 && out->min_age_months > out->max_age_months))
        return cp_compile_refuse_text(c, field, "a minimum above its maximum",
                                      "a minimum that is not above the maximum");
    return CP_OK;
}

static cp_status read_sex_and_pregnancy(compiler *c, const cJSON *object, cp_rule_condition *out) {
    const cJSON *sex = cp_json_member(object, "sex"),
                *pregnant = cp_json_member(object, "pregnant");
    if (sex && cJSON_IsString(sex) && strcmp(sex->valuestring, "female") == 0)
        out->sex = CP_SEX_FEMALE;
    else if (sex && cJSON_IsString(sex) && strcmp(sex->valuestring, "male") == 0)
        out->sex = CP_SEX_MALE;
    else if (sex)
        return cp_compile_refuse(c, "sex", sex, "\"female\" or \"male\"");
    if (pregnant && !cJSON_IsTrue(pregnant))
        return cp_compile_refuse(c, "pregnant", pregnant, "true");
    out->pregnant = pregnant != NULL;
    return CP_OK;
}

/* The phrases that an entry of the patient's list must contain. */
static cp_status read_record_group(compiler *c, const cJSON *object, const char *key,
                                   int32_t *out) {
    const cJSON *items = cp_json_member(object, key);
    uint16_t group = 0;
    *out = CP_NO_GROUP;
    if (!items)
        return CP_OK;
    cp_status status = cp_compile_group(c, key, items, &group);
    *out = group;
    return status;
}

static cp_status read_condition(compiler *c, const cJSON *pattern, const char *field,
                                cp_rule_condition *out) {
    static const char *const keys[] = {"min_age",        "max_age", "min_age_months",
                                       "max_age_months", "sex",     "pregnant",
                                       "medication",     "allergy", "condition"};
    const cJSON *object = cp_json_member(pattern, field);
    *out = (cp_rule_condition){.min_age = -1,
                               .max_age = -1,
                               .min_age_months = -1,
                               .max_age_months = -1,
                               .medication = CP_NO_GROUP,
                               .allergy = CP_NO_GROUP,
                               .condition = CP_NO_GROUP};
    if (!object)
        return CP_OK;
    cp_status status = cp_compile_only_keys(c, field, object, keys, CP_COUNT_OF(keys));
    if (status == CP_OK && !object->child)
        status = cp_compile_refuse(c, field, object, "at least one condition");
    if (status == CP_OK)
        status = read_ages(c, object, field, out);
    if (status == CP_OK)
        status = read_sex_and_pregnancy(c, object, out);
    if (status == CP_OK)
        status = read_record_group(c, object, "medication", &out->medication);
    if (status == CP_OK)
        status = read_record_group(c, object, "allergy", &out->allergy);
    if (status == CP_OK)
        status = read_record_group(c, object, "condition", &out->condition);
    out->given = true;
    return status;
}

static cp_status read_pattern(compiler *c, const cJSON *item) {
    static const char *const keys[] = {"all", "when", "unless", "note"};
    cp_rule_table *t = c->table;
    cp_rule_pattern pattern = {.first_group = (uint16_t)t->n_groups};
    cp_status status = cp_compile_only_keys(c, "pattern", item, keys, CP_COUNT_OF(keys));
    const cJSON *groups = cp_json_member(item, "all"), *group;
    if (status == CP_OK)
        status = cp_compile_list(c, "all", groups);
    cJSON_ArrayForEach(group, groups) {
        uint16_t number;
        if (status == CP_OK)
            status = cp_compile_group(c, "group of all", group, &number);
    }
    pattern.n_groups = (uint16_t)(t->n_groups - pattern.first_group);
    if (status == CP_OK)
        status = read_condition(c, item, "when", &pattern.when);
    if (status == CP_OK)
        status = read_condition(c, item, "unless", &pattern.unless);
    if (status != CP_OK)
        return status;
    if (!cp_grow((void **)&t->patterns, &t->patterns_cap, t->n_patterns + 1, sizeof *t->patterns))
        return cp_compile_no_memory(c);
    t->patterns[t->n_patterns++] = pattern;
    return CP_OK;
}

/* ---- rules ------------------------------------------------------------------------------ */

static bool is_id(const char *text) {
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return n > 0 && n <= 64 && !text[n];
}

static cp_status read_id(compiler *c, const cJSON *rule, size_t number, const char **id) {
    snprintf(c->place, sizeof c->place, "rule number %zu", number);
    const cJSON *member = cp_json_member(rule, "id");
    if (!cJSON_IsString(member) || !is_id(member->valuestring))
        return cp_compile_refuse(c, "id", member, "1 to 64 lower-case letters, digits and '-'");
    *id = member->valuestring;
    snprintf(c->place, sizeof c->place, "rule %s", *id);
    for (size_t i = 0; i < c->table->n_rules; i++)
        if (strcmp(c->table->rules[i].shown.id, *id) == 0)
            return cp_compile_refuse(c, "id", member, "an id that is not used twice");
    return CP_OK;
}

static cp_status read_text(compiler *c, const cJSON *rule, const char *key, const char **out) {
    const cJSON *member = cp_json_member(rule, key);
    if (!cJSON_IsString(member) || !member->valuestring[0])
        return cp_compile_refuse(c, key, member, "a text");
    *out = member->valuestring;
    return CP_OK;
}

/* The disposition is one of the list, and at least as urgent as the acuity asks for. */
static cp_status check_disposition(compiler *c, const cp_safety_rule *rule) {
    char expected[96];
    for (int level = CP_ACUITY_MOST_URGENT; level <= CP_ACUITY_LEAST_URGENT; level++) {
        if (strcmp(rule->disposition, cp_acuity_disposition(level)) != 0)
            continue;
        if (level <= rule->acuity)
            return CP_OK;
        snprintf(expected, sizeof expected, "one no less urgent than acuity %d (%s)", rule->acuity,
                 cp_acuity_disposition(rule->acuity));
        return cp_compile_refuse_text(c, "disposition", rule->disposition, expected);
    }
    return cp_compile_refuse_text(c, "disposition", rule->disposition,
                                  "call_emergency, emergency_department_now, same_day_care, "
                                  "see_doctor_soon or self_care");
}

static cp_status read_level(compiler *c, const cJSON *object, const char *key, int last, int *out) {
    const cJSON *member = cp_json_member(object, key);
    char expected[64];
    snprintf(expected, sizeof expected, "a whole number from %d to %d", CP_ACUITY_MOST_URGENT,
             last);
    if (!cJSON_IsNumber(member) ||
        !(member->valuedouble >= CP_ACUITY_MOST_URGENT && member->valuedouble <= last) ||
        member->valuedouble != (int)member->valuedouble)
        return cp_compile_refuse(c, key, member, expected);
    *out = (int)member->valuedouble;
    return CP_OK;
}

static cp_status read_texts(compiler *c, const cJSON *rule, cp_safety_rule *out) {
    cp_status status = read_text(c, rule, "title", &out->title);
    if (status == CP_OK)
        status = read_text(c, rule, "disposition", &out->disposition);
    if (status == CP_OK)
        status = read_text(c, rule, "advice", &out->advice);
    if (status == CP_OK)
        status = read_text(c, rule, "source", &out->source);
    if (status == CP_OK)
        status = read_level(c, rule, "acuity", CP_ACUITY_LEAST_URGENT, &out->acuity);
    return status == CP_OK ? check_disposition(c, out) : status;
}

/* Examples are for who reads the file and for the tests, which try each of them; here only their
 * shape is checked. */
static cp_status check_examples(compiler *c, const cJSON *rule) {
    static const char *const keys[] = {"query", "patient"};
    const cJSON *list = cp_json_member(rule, "examples"), *item;
    cp_status status = cp_compile_list(c, "examples", list);
    if (status == CP_OK && cJSON_GetArraySize(list) < MIN_EXAMPLES)
        return cp_compile_refuse(c, "examples", list, "at least two");
    cJSON_ArrayForEach(item, list) {
        if (status != CP_OK || cJSON_IsString(item))
            continue;
        status = cp_compile_only_keys(c, "example", item, keys, CP_COUNT_OF(keys));
        if (status == CP_OK && !cJSON_IsString(cp_json_member(item, "query")))
            status = cp_compile_refuse(c, "query", cp_json_member(item, "query"), "a text");
        if (status == CP_OK && !cJSON_IsObject(cp_json_member(item, "patient")))
            status = cp_compile_refuse(c, "patient", cp_json_member(item, "patient"), "an object");
    }
    return status;
}

static cp_status read_rule(compiler *c, const cJSON *item, size_t number) {
    static const char *const keys[] = {"id",     "title",    "acuity",   "disposition", "advice",
                                       "source", "patterns", "examples", "note"};
    cp_rule_table *t = c->table;
    cp_compiled_rule rule = {.first_pattern = t->n_patterns};
    cp_status status = read_id(c, item, number, &rule.shown.id);
    if (status == CP_OK)
        status = cp_compile_only_keys(c, "rule", item, keys, CP_COUNT_OF(keys));
    if (status == CP_OK)
        status = read_texts(c, item, &rule.shown);
    const cJSON *patterns = cp_json_member(item, "patterns"), *pattern;
    if (status == CP_OK)
        status = cp_compile_list(c, "patterns", patterns);
    cJSON_ArrayForEach(pattern, patterns) {
        if (status == CP_OK)
            status = read_pattern(c, pattern);
    }
    if (status == CP_OK)
        status = check_examples(c, item);
    if (status != CP_OK)
        return status;
    rule.n_patterns = t->n_patterns - rule.first_pattern;
    if (t->n_rules == MAX_RULES)
        return cp_error_set(c->err, CP_ERR_FORMAT, "%s: %s: expected at most %d rules", c->path,
                            c->place, MAX_RULES);
    if (!cp_grow((void **)&t->rules, &t->rules_cap, t->n_rules + 1, sizeof *t->rules))
        return cp_compile_no_memory(c);
    t->rules[t->n_rules++] = rule;
    return CP_OK;
}

/* A stable sort: few rules, so insertion will do. */
static void sort_rules(cp_rule_table *t) {
    for (size_t i = 1; i < t->n_rules; i++) {
        cp_compiled_rule rule = t->rules[i];
        size_t at = i;
        for (; at > 0 && t->rules[at - 1].shown.acuity > rule.shown.acuity; at--)
            t->rules[at] = t->rules[at - 1];
        t->rules[at] = rule;
    }
}

static int compare_phrases(const void *a, const void *b, void *ids) {
    const cp_phrase *x = a, *y = b;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    const int32_t *first = ids;
    return memcmp(first + x->first_id, first + y->first_id, x->n * sizeof *first);
}

/* Lists stand in many rules, so phrases do, too: within the phrases of each first word equal ones
 * come together, and are looked for once. */
static void join_equal_phrases(cp_rule_table *t) {
    for (size_t id = 1; id <= t->words.n; id++) {
        uint32_t from = t->phrases_from[id], to = t->phrases_from[id + 1];
        qsort_r(t->phrases.items + from, to - from, sizeof *t->phrases.items, compare_phrases,
                t->ids);
        for (uint32_t i = from + 1; i < to; i++)
            t->phrases.items[i].repeats =
                compare_phrases(&t->phrases.items[i - 1], &t->phrases.items[i], t->ids) == 0;
    }
}

/* Puts the phrases in the order of their first words, and notes where each word's begin. */
static cp_status index_phrases(compiler *c) {
    cp_rule_table *t = c->table;
    if (!cp_vocabulary_index_spelling(&t->words)) /* it may add words */
        return cp_compile_no_memory(c);
    size_t n = t->phrases.n;
    cp_phrase *sorted = calloc(n + 1, sizeof *sorted);
    t->phrases_from = calloc(t->words.n + 2, sizeof *t->phrases_from);
    if (!sorted || !t->phrases_from) {
        free(sorted);
        return cp_compile_no_memory(c);
    }
    for (size_t i = 0; i < n; i++)
        t->phrases_from[t->ids[t->phrases.items[i].first_id] + 1]++;
    for (size_t id = 1; id < t->words.n + 2; id++)
        t->phrases_from[id] += t->phrases_from[id - 1];
    for (size_t i = 0; i < n; i++) /* this moves each start one word on ... */
        sorted[t->phrases_from[t->ids[t->phrases.items[i].first_id]]++] = t->phrases.items[i];
    for (size_t id = t->words.n + 1; id > 0; id--) /* ... and this moves it back */
        t->phrases_from[id] = t->phrases_from[id - 1];
    t->phrases_from[0] = 0;
    free(t->phrases.items);
    t->phrases.items = sorted;
    join_equal_phrases(t);
    return CP_OK;
}

/* ---- the file --------------------------------------------------------------------------- */

/* Lists that no rule uses are still checked: the next rule will use them. */
static cp_status check_lists(compiler *c) {
    const cJSON *list, *phrase;
    snprintf(c->place, sizeof c->place, "lists");
    if (c->lists && !cJSON_IsObject(c->lists))
        return cp_compile_refuse(c, "lists", c->lists, "an object");
    cJSON_ArrayForEach(list, c->lists) {
        cp_status status = cp_compile_list(c, list->string, list);
        cJSON_ArrayForEach(phrase, list) {
            if (status == CP_OK && !cJSON_IsString(phrase))
                status = cp_compile_refuse(c, list->string, phrase, "a string");
        }
        if (status != CP_OK)
            return status;
    }
    return CP_OK;
}

static cp_status check_head(compiler *c) {
    static const char *const keys[] = {
        "version", "reviewed_by", "unmatched_acuity", "note", "language", "lists", "rules"};
    const cJSON *root = c->table->tree;
    int64_t version;
    snprintf(c->place, sizeof c->place, "top level");
    cp_status status = cp_compile_only_keys(c, "file", root, keys, CP_COUNT_OF(keys));
    if (status == CP_OK && cp_json_get_int(root, c->path, "version", 2, 2, &version, NULL) != CP_OK)
        status = cp_compile_refuse(c, "version", cp_json_member(root, "version"), "2");
    const cJSON *reviewed = cJSON_GetObjectItemCaseSensitive(root, "reviewed_by");
    if (status == CP_OK && !cJSON_IsNull(reviewed) &&
        (!cJSON_IsString(reviewed) || !reviewed->valuestring[0]))
        status = cp_compile_refuse(c, "reviewed_by", reviewed, "null or a name");
    if (status == CP_OK)
        status =
            read_level(c, root, "unmatched_acuity", LEAST_UNMATCHED, &c->table->unmatched_acuity);
    return status == CP_OK ? cp_compile_list(c, "rules", cp_json_member(root, "rules")) : status;
}

/* The last year that counts as history: a clock that is wrong makes it earlier or harmless, never
 * the present one. */
static int last_history_year(void) {
    time_t now = time(NULL);
    struct tm day;
    return gmtime_r(&now, &day) ? day.tm_year + 1900 - RECENT_YEARS : 0;
}

cp_status cp_rule_table_read(const char *path, cp_rule_table *out, cp_error *err) {
    *out = (cp_rule_table){.last_history_year = last_history_year()};
    compiler c = {.table = out, .path = path, .err = err};
    cp_status status = cp_json_parse_file(path, MAX_FILE_BYTES, &out->tree, err);
    if (status != CP_OK)
        return status;
    c.lists = cp_json_member(out->tree, "lists");
    status = check_head(&c);
    if (status == CP_OK)
        status = check_lists(&c);
    if (status == CP_OK)
        status = cp_compile_language(&c, cp_json_member(out->tree, "language"));
    size_t number = 0;
    const cJSON *rule;
    cJSON_ArrayForEach(rule, cp_json_member(out->tree, "rules")) {
        if (status == CP_OK)
            status = read_rule(&c, rule, ++number);
    }
    if (status != CP_OK)
        return status;
    sort_rules(out);
    return index_phrases(&c);
}

void cp_rule_table_deinit(cp_rule_table *table) {
    cJSON_Delete(table->tree);
    cp_vocabulary_deinit(&table->words);
    free(table->rules);
    free(table->patterns);
    free(table->phrases.items);
    free(table->negators.items);
    free(table->history_before.items);
    free(table->history_times.items);
    free(table->ids);
    free(table->phrases_from);
    *table = (cp_rule_table){0};
}
