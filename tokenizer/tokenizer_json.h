/* Reading tokenizer.json into a cp_tokenizer, value by value, without a tree of the 11 MB.
 *
 * The file is not trusted: sizes are capped, keys may not repeat, every id and name is checked, and
 * what would change the ids in a way that is not implemented is refused by name rather than
 * ignored. Keys that do not change ids are skipped: "version", and "truncation" and "padding",
 * which callers of the format's own library override on every call. Errors begin with the path.
 * Used by cp_tokenizer_open only; nothing of the file is kept but what is copied into the
 * tokenizer. */
#ifndef CP_TOKENIZER_TOKENIZER_JSON_H
#define CP_TOKENIZER_TOKENIZER_JSON_H

#include "base/json_reader.h"
#include "tokenizer/tokenizer.h"

#define CP_TOKENIZER_JSON_MAX ((size_t)64 << 20)

/* Fills a zeroed tokenizer; after a failure it holds a part, which cp_tokenizer_close releases. */
cp_status cp_tokenizer_json_load(cp_tokenizer *tok, const char *path, cp_error *err) CP_MUST_CHECK;

/* ---- shared by the loader's files ---------------------------------------------------------- */

/* Steps to the object's next key that is in `names` (NULL-terminated) and sets *field to its index,
 * or to -1 at the end of the object. Other keys are skipped. A key of the list that comes twice is
 * an error; *seen, 0 at first, remembers. The value is left to be read. */
cp_status cp_json_next_field(cp_json_reader *r, const char *const *names, unsigned *seen,
                             int *field, cp_error *err) CP_MUST_CHECK;
/* Passes over a null; *was_null tells. */
cp_status cp_json_take_null(cp_json_reader *r, bool *was_null, cp_error *err) CP_MUST_CHECK;
/* CP_ERR_UNSUPPORTED with the reader's source in front. */
cp_status cp_json_unsupported(const cp_json_reader *r, cp_error *err, const char *fmt, ...)
    CP_PRINTF(3, 4);

/* The value of the key of the same name (components_json.c). */
cp_status cp_read_normalizer(cp_json_reader *r, cp_tokenizer *tok, cp_error *err) CP_MUST_CHECK;
cp_status cp_read_pre_tokenizer(cp_json_reader *r, cp_tokenizer *tok, cp_error *err) CP_MUST_CHECK;
cp_status cp_read_post_processor(cp_json_reader *r, cp_tokenizer *tok, cp_error *err) CP_MUST_CHECK;
cp_status cp_read_decoder(cp_json_reader *r, cp_error *err) CP_MUST_CHECK;

#endif
