/* A strict JSON reader that pulls values one at a time and builds no tree.
 *
 * For large files from strangers (tokenizer.json, a safetensors header), where a tree would cost
 * many times the file. It accepts exactly RFC 8259: UTF-8 only, no lone surrogates, no trailing
 * commas, no NaN, at most CP_JSON_MAX_DEPTH levels. Duplicate keys are the caller's to refuse.
 * Errors name the source, the byte offset and what was expected. One thread per reader; nothing it
 * returns outlives the text, and a decoded string lives until the next call. */
#ifndef CP_BASE_JSON_READER_H
#define CP_BASE_JSON_READER_H

#include "base/strbuf.h"

#include <stdint.h>

#define CP_JSON_MAX_DEPTH 64

typedef enum cp_json_kind {
    CP_JSON_NULL,
    CP_JSON_BOOL,
    CP_JSON_NUMBER,
    CP_JSON_STRING,
    CP_JSON_ARRAY,
    CP_JSON_OBJECT,
} cp_json_kind;

typedef struct cp_json_reader {
    const char *source; /* named in errors */
    const char *text;
    size_t n, pos;
    unsigned depth;
    bool at_start[CP_JSON_MAX_DEPTH + 1]; /* nothing read yet at this level */
    cp_strbuf decoded;                    /* the last string, when it had escapes */
    bool refuse_nul; /* strings with U+0000 are an error (for C-string users) */
} cp_json_reader;

/* Borrows source and text. */
void cp_json_reader_init(cp_json_reader *r, const char *source, const char *text, size_t n);
void cp_json_reader_deinit(cp_json_reader *r);

/* What comes next; an error at the end of the text or at a byte that starts no value. */
cp_status cp_json_peek(cp_json_reader *r, cp_json_kind *kind, cp_error *err) CP_MUST_CHECK;

/* Objects: enter, then next_key until *more is false; each key's value must be read or skipped. */
cp_status cp_json_enter_object(cp_json_reader *r, cp_error *err) CP_MUST_CHECK;
cp_status cp_json_next_key(cp_json_reader *r, cp_str *key, bool *more, cp_error *err) CP_MUST_CHECK;
/* Arrays: enter, then next_element until *more is false. */
cp_status cp_json_enter_array(cp_json_reader *r, cp_error *err) CP_MUST_CHECK;
cp_status cp_json_next_element(cp_json_reader *r, bool *more, cp_error *err) CP_MUST_CHECK;

cp_status cp_json_read_string(cp_json_reader *r, cp_str *out, cp_error *err) CP_MUST_CHECK;
/* An integer in lo..hi; `what` names it in the error. */
cp_status cp_json_read_int(cp_json_reader *r, const char *what, int64_t lo, int64_t hi,
                           int64_t *out, cp_error *err) CP_MUST_CHECK;
cp_status cp_json_read_bool(cp_json_reader *r, bool *out, cp_error *err) CP_MUST_CHECK;
/* Checks and passes over any value. */
cp_status cp_json_skip(cp_json_reader *r, cp_error *err) CP_MUST_CHECK;
/* Only white space may remain. */
cp_status cp_json_finish(cp_json_reader *r, cp_error *err) CP_MUST_CHECK;

/* An error at the reader's place: "SOURCE: byte N: MESSAGE". */
cp_status cp_json_fail(const cp_json_reader *r, cp_error *err, const char *fmt, ...)
    CP_PRINTF(3, 4);

#endif
