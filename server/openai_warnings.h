/* What a reply warns of: fields that were not known, wishes that were cut. */
#ifndef CP_SERVER_OPENAI_WARNINGS_H
#define CP_SERVER_OPENAI_WARNINGS_H

#include "base/json.h"
#include "base/json_writer.h"

#define CP_OPENAI_MAX_WARNINGS 16 /* more are not listed */
#define CP_OPENAI_WARNING_CAP  96

typedef struct cp_openai_warnings {
    char text[CP_OPENAI_MAX_WARNINGS][CP_OPENAI_WARNING_CAP];
    size_t n;
} cp_openai_warnings;

void cp_openai_warn(cp_openai_warnings *warnings, const char *fmt, ...) CP_PRINTF(2, 3);
/* "unknown field: PATHNAME" for each member of `object` that is in none of the lists
 * (NULL-terminated, each may be NULL). Of a name stay at most 40 characters of [A-Za-z0-9_.-]. */
void cp_openai_warn_unknown(cp_openai_warnings *warnings, const cJSON *object, const char *path,
                            const char *const *known, const char *const *also,
                            const char *const *ignored);
/* The member "warnings", when there are any. */
void cp_openai_warnings_write(const cp_openai_warnings *warnings, cp_json_writer *w);

/* Whether a NULL-terminated list (or NULL) has the word. */
bool cp_openai_is_listed(const char *const *list, const char *word);

#endif
