/* A small validator of JSON schemas, written apart from llm/, and schemas at random for it. */
#ifndef CP_TESTS_SCHEMA_CHECKER_H
#define CP_TESTS_SCHEMA_CHECKER_H

#include "tests/test.h"

/* NULL when the document keeps the schema, else what is wrong. root holds $defs. */
const char *schema_fault(const cJSON *root, const cJSON *schema, const cJSON *document);
/* Writes a random schema that we support; the seed moves on. */
void schema_random(uint64_t *seed, cp_strbuf *out);

#endif
