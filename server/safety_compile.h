/* Compiling the rule file, the parts that rules and language share: refusals, words, phrases,
 * groups.
 *
 * For safety_rules.c and safety_language.c alone. Every refusal is one sentence of the same form,
 * "FILE: rule ID: FIELD is VALUE, expected EXPECTED", so that who edits the rules finds the place.
 * All memory belongs to the table, which its owner releases also after a failure. */
#ifndef CP_SERVER_SAFETY_COMPILE_H
#define CP_SERVER_SAFETY_COMPILE_H

#include "server/safety_rules.h"

typedef struct cp_rule_compiler {
    cp_rule_table *table;
    const cJSON *lists; /* "lists" of the file, may be NULL */
    const char *path;   /* of the file */
    char place[96];     /* "rule ID", "language", ... */
    cp_error *err;
} cp_rule_compiler;

/* "FILE: PLACE: FIELD is VALUE, expected EXPECTED"; a NULL value is "missing". */
cp_status cp_compile_refuse(cp_rule_compiler *c, const char *field, const cJSON *value,
                            const char *expected);
/* The same for a value that is a text, quoted; used for a phrase or a name inside a field. */
cp_status cp_compile_refuse_text(cp_rule_compiler *c, const char *field, const char *value,
                                 const char *expected);
cp_status cp_compile_no_memory(cp_rule_compiler *c);

/* An object with no other keys than these, and none of them null (except reviewed_by): a key that
 * nobody reads is a condition or a phrase that silently does not work. */
cp_status cp_compile_only_keys(cp_rule_compiler *c, const char *field, const cJSON *object,
                               const char *const *keys, size_t n) CP_MUST_CHECK;
cp_status cp_compile_list(cp_rule_compiler *c, const char *field,
                          const cJSON *list) CP_MUST_CHECK; /* not empty */

/* The id of a text that must be exactly one word. */
cp_status cp_compile_word(cp_rule_compiler *c, const char *field, const cJSON *item,
                          int32_t *id) CP_MUST_CHECK;
/* "pain ... arm": words, and gaps between words; ignored words are left out. */
cp_status cp_compile_phrase(cp_rule_compiler *c, const char *field, const char *text,
                            cp_phrase *phrase) CP_MUST_CHECK;
cp_status cp_compile_add_phrase(cp_rule_compiler *c, cp_phrase_list *list,
                                const cp_phrase *phrase) CP_MUST_CHECK;
/* A new group of the phrases in `items`, "@name" standing for a list. */
cp_status cp_compile_group(cp_rule_compiler *c, const char *field, const cJSON *items,
                           uint16_t *group) CP_MUST_CHECK;

/* The "language" part; before any rule. */
cp_status cp_compile_language(cp_rule_compiler *c, const cJSON *language) CP_MUST_CHECK;

#endif
