/* Which groups of phrases a text contains.
 *
 * The text is read once, word by word, through a window of a fixed size on the stack, so a text of
 * any length is read to its last word without memory. An occurrence that is plainly negated, or
 * long past, does not count; both are narrow grammars (safety_context.c), because every phrase they
 * wrongly take away is a missed emergency. */
#ifndef CP_SERVER_SAFETY_MATCH_H
#define CP_SERVER_SAFETY_MATCH_H

#include "server/safety_rules.h"

/* One bit a group. */
typedef struct cp_group_set {
    uint64_t bits[CP_RULES_MAX_GROUPS / 64];
} cp_group_set;

static inline bool cp_group_set_has(const cp_group_set *set, size_t group) {
    return set->bits[group / 64] >> group % 64 & 1;
}

typedef struct cp_match {
    size_t n_words;  /* that are not ignored */
    bool takes_back; /* something was plainly negated, or long past */
} cp_match;

/* Adds the groups that are found to `seen`. `strict` leaves out words that are misspelled and what
 * is played down ("probably just a cold"). */
cp_match cp_safety_match(const cp_rule_table *table, const char *text, size_t n, bool strict,
                         cp_group_set *seen);

#endif
