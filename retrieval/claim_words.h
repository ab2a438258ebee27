/* What the search for claims knows by itself: names, endings, units. Small on purpose: the
 * knowledge base and the record bring the names that matter, this finds what neither has heard
 * of. Words are folded and without plural (cp_claim_word). */
#ifndef CP_RETRIEVAL_CLAIM_WORDS_H
#define CP_RETRIEVAL_CLAIM_WORDS_H

#include "base/strbuf.h"

/* NULL-terminated; a group is names with "=" between them. */
extern const char *const cp_claim_medicines[];
extern const char *const cp_claim_diagnoses[];
extern const char *const cp_claim_allergens[];
/* Names of conditions in records, heads and the list of words that are no diagnosis in a sentence:
 * "falls". */
bool cp_claim_is_everyday(cp_str name);

/* The word without a plural's "s". */
cp_str cp_claim_word(cp_str folded);
/* By their endings: "ramipril", "appendicitis". */
bool cp_claim_sounds_like_medicine(cp_str word);
bool cp_claim_sounds_like_diagnosis(cp_str word);

/* What a unit measures, and how many of the smallest unit one is. 0 in n: no unit. */
typedef struct cp_claim_unit {
    const char *word, *measures;
    double n;
} cp_claim_unit;
cp_claim_unit cp_claim_unit_of(cp_str word);
/* "two": 2; -1: no number. */
double cp_claim_number_word(cp_str word);
/* "daily", "day", "weekly", ...: "day", "week"; NULL. */
const char *cp_claim_period(cp_str word);
/* What follows "allergic to" and names nothing: "it", "medicine", "any". */
bool cp_claim_is_vague(cp_str word);

#endif
