/* Vectors that somebody else's model made, one JSON object a line:
 *
 *     {"text_sha256": "64 lower-case hexadecimal digits", "vector": [0.1, ...]}
 *
 * All of one width; each is made length 1. Read once, then constant. */
#ifndef CP_BENCH_VECTOR_FILE_H
#define CP_BENCH_VECTOR_FILE_H

#include "base/strbuf.h"

typedef struct cp_vector_file cp_vector_file;
cp_status cp_vector_file_open(const char *path, cp_vector_file **out, cp_error *err) CP_MUST_CHECK;
void cp_vector_file_close(cp_vector_file *file); /* NULL is allowed */
size_t cp_vector_file_width(const cp_vector_file *file);
/* The vectors of texts [n] into out [n, width]; CP_ERR_NOT_FOUND names the hash that is missing. */
cp_status cp_vector_file_get(const cp_vector_file *file, const char *const *texts, size_t n,
                             float *out, cp_error *err) CP_MUST_CHECK;
/* Appends the line that asks for a text's vector: {"text_sha256": ..., "text": ...}. */
cp_status cp_vector_file_ask(const char *text, cp_strbuf *out, cp_error *err) CP_MUST_CHECK;

#endif
