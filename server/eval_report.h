/* The result of `carepath eval`, and its three forms: a table, JSON, a page.
 *
 * Holds numbers and the names of vignettes, all borrowed; the forms are appended to a buffer. */
#ifndef CP_SERVER_EVAL_REPORT_H
#define CP_SERVER_EVAL_REPORT_H

#include "server/eval_score.h"
#include "server/eval_variants.h"

enum { CP_EVAL_TRAIN, CP_EVAL_HELD, CP_EVAL_ALL, CP_N_EVAL_SETS };
enum { CP_LANE_RULES, CP_LANE_MODEL, CP_N_EVAL_LANES }; /* the model's lane has the rules in it */

typedef struct cp_variant_score {
    size_t n, lowered, raised, emergencies_under;
} cp_variant_score;

#define CP_EVAL_MAX_FAULTS 200
/* Something that went wrong, to be looked at by a person. */
typedef struct cp_eval_fault {
    const char *id, *what; /* vignette; "under", "over", "flag", or the kind of a variant */
    int lane, expected, given;
    uint64_t number; /* of the variant */
} cp_eval_fault;

typedef struct cp_eval_result {
    cp_eval_score scores[CP_N_EVAL_LANES][CP_N_EVAL_SETS];
    cp_variant_score variants[CP_N_VARIANT_KINDS]; /* rules alone */
    cp_eval_fault faults[CP_EVAL_MAX_FAULTS];
    size_t n_faults;                /* that are kept */
    size_t n_rules;                 /* in the rule file */
    size_t n_checks;                /* texts that the rules read */
    double mean_us, p99_us, max_us; /* of one reading, record included */
    uint64_t seed;
    int unmatched_level;
    const char *model;   /* NULL: rules alone */
    size_t n_unreadable; /* answers of the model without a level */
} cp_eval_result;

/* Whether the rules do what must hold: no emergency under-triaged, nothing lowered by a variant. */
bool cp_eval_passes(const cp_eval_result *result);

void cp_eval_append_table(const cp_eval_result *result, cp_strbuf *out);
void cp_eval_append_json(const cp_eval_result *result, cp_strbuf *out);
/* One page without scripts or anything loaded from elsewhere. */
void cp_eval_append_html(const cp_eval_result *result, cp_strbuf *out);

#endif
