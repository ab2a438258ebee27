/* A model folder for commands that work on token ids: the engine, and the tokenizer mostly to check
 * that the folder is whole. */
#ifndef CP_LLM_MODEL_FOLDER_H
#define CP_LLM_MODEL_FOLDER_H

#include "engine/engine.h"
#include "tokenizer/tokenizer.h"

/* The word of a --kv option; NULL is auto. */
cp_status cp_model_parse_kv(const char *word, cp_kv *out, cp_error *err) CP_MUST_CHECK;

/* Opens the engine; when DIR has a tokenizer.json it must be right and fit the model, too. It is
 * kept in *tok, unless that is NULL; *tok is NULL where there is none. */
cp_status cp_model_folder_open(const char *dir, const cp_engine_options *options, cp_engine **out,
                               cp_tokenizer **tok, cp_error *err) CP_MUST_CHECK;

#endif
