/* The forms that bench's reports promise: JSON with its fields and ranges, pages that stand alone.
 */
#ifndef CP_TESTS_REPORT_FORM_H
#define CP_TESTS_REPORT_FORM_H

#include "tests/test.h"

typedef struct form_field {
    const char *key;
    int type; /* cJSON_String, cJSON_Number, ...; several joined by | */
    double lo, hi;
} form_field;

/* Every field is there with its type and range, texts are not empty, and there is nothing else. */
void form_check_object(const cJSON *object, const form_field *fields, size_t n);
#define FORM_CHECK(object, fields)                                                                 \
    form_check_object(object, fields, sizeof(fields) / sizeof(fields)[0])

/* The number at this key, which must be one. */
double form_number(const cJSON *object, const char *key);
/* How often a word occurs. */
size_t form_count(const char *text, const char *word);
/* Tags close in order, there is no script, nothing is fetched, no number is missing. */
void form_check_page(const char *html);

#endif
