/* Members that several replies have. */
#ifndef CP_SERVER_REPLY_PARTS_H
#define CP_SERVER_REPLY_PARTS_H

#include "base/json_writer.h"

/* Tokens a second; null where nothing was counted or timed. */
void cp_reply_speed(cp_json_writer *w, const char *key, size_t tokens, double ms);
/* A number of tokens; null for CP_LLM_NO_LIMIT. */
void cp_reply_tokens(cp_json_writer *w, const char *key, size_t tokens);
/* The member "usage" where tokens are only read. */
void cp_reply_usage(cp_json_writer *w, size_t n_tokens);

#endif
