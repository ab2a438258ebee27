/* The rule file, compiled: phrases as sequences of word ids, sorted for matching.
 *
 * The file's format is described in data/triage/README.md. Everything in it is checked: an unknown
 * key, an empty group, a name that is used twice refuses the whole file and names rule and problem,
 * because a rule that is silently not there is an emergency that is silently not seen. Immutable
 * once compiled; the texts of the rules are borrowed from the JSON tree that it owns. */
#ifndef CP_SERVER_SAFETY_RULES_H
#define CP_SERVER_SAFETY_RULES_H

#include "server/safety.h"
#include "server/safety_words.h"

#define CP_RULES_MAX_GROUPS  4096
#define CP_PHRASE_MAX_WORDS  12
#define CP_PHRASE_MAX_GAPS   3
#define CP_PHRASE_GAP_WORDS  3 /* what "..." may pass over */
#define CP_PHRASE_GAP        (-1)
#define CP_NEGATOR_MAX_WORDS 4

/* A run of ids (or CP_PHRASE_GAP) in the table's `ids`. */
typedef struct cp_phrase {
    uint32_t first_id;
    uint16_t group;
    uint8_t n, n_words;  /* ids; words among them */
    bool never_negated;  /* it holds a negative word itself */
    bool may_be_history; /* it holds the name of an event: "stroke" */
    bool repeats;        /* the same words as the phrase before it, for another group */
} cp_phrase;

typedef struct cp_phrase_list {
    cp_phrase *items;
    size_t n, cap;
} cp_phrase_list;

/* What the record must say; absent parts do not count. */
#define CP_NO_GROUP (-1)
typedef struct cp_rule_condition {
    bool given;
    int min_age, max_age;                   /* years; -1 absent */
    int min_age_months, max_age_months;     /* completed months of the whole age; -1 absent */
    int sex;                                /* CP_SEX_UNKNOWN: absent */
    bool pregnant;                          /* true: must be recorded as pregnant */
    int32_t medication, allergy, condition; /* groups that the record's lists must show */
} cp_rule_condition;

/* Every group must have been seen, anywhere in the text. */
typedef struct cp_rule_pattern {
    uint16_t first_group, n_groups;
    cp_rule_condition when, unless;
} cp_rule_pattern;

typedef struct cp_compiled_rule {
    cp_safety_rule shown;
    size_t first_pattern, n_patterns; /* any one is enough */
} cp_compiled_rule;

typedef struct cp_rule_table {
    cJSON *tree;
    int unmatched_acuity;
    int last_history_year; /* "in 2010" is history, a year after this one is not */
    cp_vocabulary words;
    cp_compiled_rule *rules; /* most urgent first, then in the file's order */
    size_t n_rules, rules_cap;
    cp_rule_pattern *patterns;
    size_t n_patterns, patterns_cap;
    cp_phrase_list phrases; /* by first word */
    cp_phrase_list negators;
    cp_phrase_list history_before; /* right before a phrase: "history of" */
    cp_phrase_list history_times;  /* near a phrase: "year ago" */
    int32_t *ids;
    size_t n_ids, ids_cap;
    uint32_t
        *phrases_from; /* [n_words + 2]: phrases that start with word w are from [w] to [w + 1] */
    size_t n_groups;
} cp_rule_table;

/* Release with cp_rule_table_deinit, also after failure. */
cp_status cp_rule_table_read(const char *path, cp_rule_table *out, cp_error *err) CP_MUST_CHECK;
void cp_rule_table_deinit(cp_rule_table *table);

#endif
