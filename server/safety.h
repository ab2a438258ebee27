/* The deterministic rules lane: red flags, and a floor under the urgency.
 *
 * Rules are data (data/triage/), compiled at start; the whole file is refused if any rule is
 * malformed. Checking a query allocates nothing that grows with traffic, never fails and never
 * lowers a level: words that play symptoms down are not understood as anything. Immutable after
 * open, so any number of threads may check at once. The engine and the model have no say here. */
#ifndef CP_SERVER_SAFETY_H
#define CP_SERVER_SAFETY_H

#include "base/error.h"
#include "server/patient_summary.h"

#include <stdbool.h>
#include <stddef.h>

/* Acuity: ESI 1 (immediate) to 5 (no resources); smaller is more urgent; 0 means not determined. */
#define CP_ACUITY_NONE         0
#define CP_ACUITY_MOST_URGENT  1
#define CP_ACUITY_LEAST_URGENT 5

typedef struct cp_safety_rule {
    const char *id;          /* "cardiac-chest-pain" */
    const char *title;       /* "Chest pain with breathlessness, sweating or spread" */
    int acuity;              /* the floor it sets */
    const char *disposition; /* "call_emergency" */
    const char *advice;      /* what the patient is told to do now */
    const char *source;      /* where the rule is from */
} cp_safety_rule;

typedef struct cp_safety cp_safety;
cp_status cp_safety_open(const char *path, cp_safety **out, cp_error *err) CP_MUST_CHECK;
void cp_safety_close(cp_safety *safety);
size_t cp_safety_n_rules(const cp_safety *safety);
/* The clinician who has signed the rule file; NULL: nobody has. Borrowed from `safety`. */
const char *cp_safety_reviewed_by(const cp_safety *safety);
/* The level that stands for a text the rules do not know, where nothing else judges it (1 to 3,
 * from the rule file): not a floor, and never a reason to wait. */
int cp_safety_unmatched_acuity(const cp_safety *safety);

/* Whether the rule file has this very word, in whatever role; letters or digits only. */
bool cp_safety_knows_word(const cp_safety *safety, cp_str word);

#define CP_SAFETY_MAX_HITS 16
typedef struct cp_safety_finding {
    const cp_safety_rule *rules[CP_SAFETY_MAX_HITS]; /* most urgent first; borrowed */
    bool earlier[CP_SAFETY_MAX_HITS]; /* not by this text alone: for what an earlier one said */
    size_t n;
    int floor; /* CP_ACUITY_NONE when no rule fired */
    /* No rule that fired is a warning, and together they know every part of the text. */
    bool understood;
} cp_safety_finding;

/* The level when there is no model: the floor; but a level that is no warning only where the text
 * is understood. So one harmless word ("probably just a cold") beside what no rule knows never
 * makes it less urgent than the unmatched level. */
int cp_safety_level_alone(const cp_safety *safety, const cp_safety_finding *finding);

/* Rules of this level and above are warnings; those below it know everyday complaints and say only
 * what the level is when nobody knows better. */
#define CP_ACUITY_LEAST_FLAG 3
/* The first rules of the finding that are warnings. */
size_t cp_safety_n_flags(const cp_safety_finding *finding);

/* Reads `query` (UTF-8) with what is known of the patient (facts may be NULL). When more rules fire
 * than fit, the most urgent are kept. */
void cp_safety_check(const cp_safety *safety, const char *query, const cp_patient_facts *facts,
                     cp_safety_finding *out);

/* Adds a warning that an earlier text of the conversation gives reason for: it counts like those of
 * this text. One that is there already, and a rule that is no warning, adds nothing. When there are
 * too many, the most urgent are kept. */
void cp_safety_add_earlier(cp_safety_finding *finding, const cp_safety_rule *rule);

/* The more urgent of two levels; CP_ACUITY_NONE yields to any level. */
int cp_acuity_more_urgent(int a, int b);
/* What to do at a level: "call_emergency", "emergency_department_now", "same_day_care",
 * "see_doctor_soon", "self_care"; "clinician_review" for CP_ACUITY_NONE. */
const char *cp_acuity_disposition(int acuity);

#endif
