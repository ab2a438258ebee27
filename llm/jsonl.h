/* JSON Lines in, JSON Lines out: the loop that `logits` and `perplexity` share. */
#ifndef CP_LLM_JSONL_H
#define CP_LLM_JSONL_H

#include "base/json_writer.h"
#include "tokenizer/tokenizer.h"

/* One request: ids in, one JSON value through the writer. The ids are not empty. */
typedef cp_status (*cp_ids_line_fn)(void *user, const cp_ids *ids, cp_json_writer *out,
                                    cp_error *err);

/* Reads {"ids": [...]} lines from stdin until its end and writes one line for each, flushed. An
 * error names the line. */
cp_status cp_jsonl_run(cp_ids_line_fn fn, void *user, cp_error *err) CP_MUST_CHECK;

/* The ids of a JSON array of integers, each 0..2^31-1; `source` names it in errors. Appends to out.
 */
cp_status cp_jsonl_read_ids(cp_str json, const char *source, cp_ids *out,
                            cp_error *err) CP_MUST_CHECK;

#endif
