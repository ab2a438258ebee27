
/* The keywords of one subschema, as they are read before anything is made of them, and how a schema
 * is refused: every sentence names what is wrong and its JSON pointer. For json_schema_compile.c.
 */
#ifndef CP_LLM_JSON_SCHEMA_KEYWORDS_H
#define CP_LLM_JSON_SCHEMA_KEYWORDS_H

#include "llm/json_schema.h"

#include <cJSON.h>

/* One step of a JSON pointer; the steps are a list on the stack. */
typedef struct cp_pointer {
    const struct cp_pointer *up;
    const char *name; /* NULL: the index */
    int index;
} cp_pointer;

typedef enum cp_keyword {
    CP_KEY_TYPE,
    CP_KEY_PROPERTIES,
    CP_KEY_REQUIRED,
    CP_KEY_ADDITIONAL,
    CP_KEY_ITEMS,
    CP_KEY_MIN_ITEMS,
    CP_KEY_MAX_ITEMS,
    CP_KEY_MIN_LENGTH,
    CP_KEY_MAX_LENGTH,
    CP_KEY_MINIMUM,
    CP_KEY_MAXIMUM,
    CP_KEY_EXCLUSIVE_MINIMUM,
    CP_KEY_EXCLUSIVE_MAXIMUM,
    CP_KEY_ENUM,
    CP_KEY_CONST,
    CP_KEY_ANY_OF,
    CP_KEY_ONE_OF,
    CP_KEY_REF,
    CP_N_KEYWORDS,
} cp_keyword;

extern const char *const cp_keyword_names[CP_N_KEYWORDS];

/* The JSON types of `type`, beside the CP_KIND_ bits. */
enum { CP_TYPE_INTEGER = 16, CP_TYPE_BOOLEAN = 32, CP_TYPE_NULL = 64, CP_TYPE_ALL = 127 };

/* The keywords of one subschema; NULL where absent. */
typedef struct cp_subschema {
    const cJSON *keys[CP_N_KEYWORDS];
    const cp_pointer *at;
    unsigned depth;
} cp_subschema;

cp_status cp_schema_refuse(cp_error *err, cp_status status, const cp_pointer *at, const char *fmt,
                           ...) CP_PRINTF(4, 5);
/* "KEYWORD" WHY, at the keyword's pointer. */
cp_status cp_schema_refuse_key(cp_error *err, cp_status status, const cp_subschema *sub,
                               cp_keyword key, const char *why);

/* Sorts the members of `schema` into sub->keys; refuses those that are not known. */
cp_status cp_subschema_read(const cJSON *schema, cp_subschema *sub, cp_error *err) CP_MUST_CHECK;
static inline bool cp_subschema_has(const cp_subschema *sub, cp_keyword key) {
    return sub->keys[key] != NULL;
}
/* A count in 0..CP_SCHEMA_MAX_COUNT, `otherwise` when absent. */
cp_status cp_subschema_count(const cp_subschema *sub, cp_keyword key, uint32_t otherwise,
                             uint32_t *out, cp_error *err) CP_MUST_CHECK;
/* A finite number; *out stays when absent. */
cp_status cp_subschema_bound(const cp_subschema *sub, cp_keyword key, double *out,
                             cp_error *err) CP_MUST_CHECK;
/* CP_KIND_ and CP_TYPE_ bits: of "type", else the types that the other keywords speak of, else all.
 */
cp_status cp_subschema_types(const cp_subschema *sub, int *types, cp_error *err) CP_MUST_CHECK;
/* True for {}, true, and what has notes only: any value. */
bool cp_schema_is_anything(const cJSON *schema);

#endif
