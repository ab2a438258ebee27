#include "server/safety.h"

#include "base/json.h"
#include "server/safety_match.h"

#include <stdlib.h>
#include <string.h>

struct cp_safety {
    cp_rule_table table;
};

cp_status cp_safety_open(const char *path, cp_safety **out, cp_error *err) {
    *out = NULL;
    cp_safety *safety = calloc(1, sizeof *safety);
    if (!safety)
        return cp_error_no_memory(err, "safety rules");
    cp_status status = cp_rule_table_read(path, &safety->table, err);
    if (status == CP_OK)
        *out = safety;
    else
        cp_safety_close(safety);
    return status;
}

void cp_safety_close(cp_safety *safety) {
    if (!safety)
        return;
    cp_rule_table_deinit(&safety->table);
    free(safety);
}

size_t cp_safety_n_rules(const cp_safety *safety) {
    return safety->table.n_rules;
}

const char *cp_safety_reviewed_by(const cp_safety *safety) {
    return cp_json_text(safety->table.tree, "reviewed_by", NULL);
}

int cp_safety_unmatched_acuity(const cp_safety *safety) {
    return safety->table.unmatched_acuity;
}

int cp_safety_level_alone(const cp_safety *safety, const cp_safety_finding *finding) {
    bool known = finding->floor != CP_ACUITY_NONE &&
                 (finding->floor <= CP_ACUITY_LEAST_FLAG || finding->understood);
    return known ? finding->floor : safety->table.unmatched_acuity;
}

bool cp_safety_knows_word(const cp_safety *safety, cp_str text) {
    cp_word_scanner scanner;
    cp_word word;
    cp_word_scanner_init(&scanner, text.data, text.n);
    if (!cp_word_scanner_next(&scanner, &word))
        return false;
    cp_reading reading = cp_vocabulary_read(&safety->table.words, &word);
    return reading.exact || reading.doubtful;
}

size_t cp_safety_n_flags(const cp_safety_finding *finding) {
    size_t n = 0;
    while (n < finding->n && finding->rules[n]->acuity <= CP_ACUITY_LEAST_FLAG)
        n++;
    return n;
}

/* What the query says, and what the lists of the record say. */
typedef struct evidence {
    cp_group_set query, medications, allergies, conditions;
    const cp_patient_facts *facts; /* may be NULL */
} evidence;

/* The texts under `key` of each entry, one by one: words of two entries are never one phrase. */
static void read_list(const cp_rule_table *table, const cJSON *list, const char *key,
                      cp_group_set *seen) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        const cJSON *text = cJSON_GetObjectItemCaseSensitive(item, key);
        if (cJSON_IsString(text))
            cp_safety_match(table, text->valuestring, strlen(text->valuestring), false, seen);
    }
}

static bool is_in(int value, int min, int max) {
    return (min < 0 || value >= min) && (max < 0 || value <= max);
}

static bool shows(const cp_group_set *seen, int32_t group) {
    return group == CP_NO_GROUP || cp_group_set_has(seen, (size_t)group);
}

/* Whether the record is known to meet every part. What is unknown meets nothing: so an unknown age
 * neither fires a rule for infants nor keeps one for everybody else from firing. */
static bool record_meets(const cp_rule_condition *condition, const evidence *e) {
    const cp_patient_facts *facts = e->facts;
    bool asks_age = condition->min_age >= 0 || condition->max_age >= 0 ||
                    condition->min_age_months >= 0 || condition->max_age_months >= 0;
    if (!facts || (asks_age && facts->age_years < 0))
        return false;
    if (!is_in(facts->age_years, condition->min_age, condition->max_age))
        return false;
    if (!is_in(facts->age_years * 12 + facts->age_months, condition->min_age_months,
               condition->max_age_months))
        return false;
    if (condition->sex != CP_SEX_UNKNOWN && (int)facts->sex != condition->sex)
        return false;
    if (condition->pregnant && !facts->pregnant)
        return false;
    return shows(&e->medications, condition->medication) &&
           shows(&e->allergies, condition->allergy) && shows(&e->conditions, condition->condition);
}

static bool pattern_fires(const cp_rule_pattern *pattern, const evidence *e) {
    for (size_t i = 0; i < pattern->n_groups; i++)
        if (!cp_group_set_has(&e->query, pattern->first_group + i))
            return false;
    if (pattern->when.given && !record_meets(&pattern->when, e))
        return false;
    return !pattern->unless.given || !record_meets(&pattern->unless, e);
}

static bool rule_fires(const cp_rule_table *table, const cp_compiled_rule *rule,
                       const evidence *e) {
    for (size_t i = 0; i < rule->n_patterns; i++)
        if (pattern_fires(&table->patterns[rule->first_pattern + i], e))
            return true;
    return false;
}

#define MAX_CLAUSES 64 /* a longer text is not understood */
#define TAKEN_BACK  8  /* words of a clause that may be about nothing but what is not there */

/* Whether one rule for an everyday complaint knows text[0..n), taken alone; or it is short and
 * takes something back ("no fever, no cough"). `e` has the record's side; its query is overwritten.
 */
static bool knows_clause(const cp_rule_table *table, const char *text, size_t n, evidence *e) {
    e->query = (cp_group_set){{0}};
    cp_match match = cp_safety_match(table, text, n, true, &e->query);
    if (match.n_words == 0 || (match.takes_back && match.n_words <= TAKEN_BACK))
        return true;
    for (size_t i = table->n_rules; i-- > 0 && table->rules[i].shown.acuity > CP_ACUITY_LEAST_FLAG;)
        if (rule_fires(table, &table->rules[i], e))
            return true;
    return false;
}

/* Whether each clause is known by itself. A clause is a sentence, or what follows "but". Because no
 * clause helps another, more text never makes a text understood that was not. */
static bool is_understood(const cp_rule_table *table, const char *query, evidence *e) {
    cp_word_scanner scanner;
    cp_word word;
    size_t n_clauses = 0;
    const char *begin = query;
    cp_word_scanner_init(&scanner, query, strlen(query));
    for (;;) {
        const char *before = (const char *)scanner.at;
        bool more = cp_word_scanner_next(&scanner, &word);
        bool begins = more && (word.border == CP_BORDER_HARD ||
                               cp_vocabulary_read(&table->words, &word).roles & CP_ROLE_CLAUSE);
        if (more && !begins)
            continue;
        if (++n_clauses > MAX_CLAUSES || !knows_clause(table, begin, (size_t)(before - begin), e))
            return false;
        if (!more)
            return true;
        begin = before;
    }
}

void cp_safety_check(const cp_safety *safety, const char *query, const cp_patient_facts *facts,
                     cp_safety_finding *out) {
    const cp_rule_table *table = &safety->table;
    evidence e = {.facts = facts};
    *out = (cp_safety_finding){.floor = CP_ACUITY_NONE};
    if (!query)
        return;
    cp_safety_match(table, query, strlen(query), false, &e.query);
    if (facts) {
        read_list(table, facts->medications, "name", &e.medications);
        read_list(table, facts->allergies, "substance", &e.allergies);
        read_list(table, facts->conditions, "name", &e.conditions);
    }
    for (size_t i = 0; i < table->n_rules && out->n < CP_SAFETY_MAX_HITS; i++)
        if (rule_fires(table, &table->rules[i], &e))
            out->rules[out->n++] = &table->rules[i].shown; /* the rules are in order of urgency */
    if (out->n > 0)
        out->floor = out->rules[0]->acuity;
    if (out->floor > CP_ACUITY_LEAST_FLAG)
        out->understood = is_understood(table, query, &e);
}

void cp_safety_add_earlier(cp_safety_finding *f, const cp_safety_rule *rule) {
    size_t place = 0;
    if (rule->acuity > CP_ACUITY_LEAST_FLAG)
        return;
    for (size_t i = 0; i < f->n; i++) {
        if (f->rules[i] == rule)
            return;
        place += f->rules[i]->acuity <= rule->acuity;
    }
    if (place == CP_SAFETY_MAX_HITS)
        return;
    f->n += f->n < CP_SAFETY_MAX_HITS;
    for (size_t i = f->n - 1; i > place; i--) {
        f->rules[i] = f->rules[i - 1];
        f->earlier[i] = f->earlier[i - 1];
    }
    f->rules[place] = rule;
    f->earlier[place] = true;
    f->floor = f->rules[0]->acuity;
    f->understood = false;
}

int cp_acuity_more_urgent(int a, int b) {
    if (a == CP_ACUITY_NONE)
        return b;
    if (b == CP_ACUITY_NONE)
        return a;
    return a < b ? a : b;
}

const char *cp_acuity_disposition(int acuity) {
    switch (acuity) {
    case 1:
        return "call_emergency";
    case 2:
        return "emergency_department_now";
    case 3:
        return "same_day_care";
    case 4:
        return "see_doctor_soon";
    case 5:
        return "self_care";
    default:
        return "clinician_review";
    }
}
