/* The messages of a chat request: roles, texts, texts in parts. A part of openai_request. */
#ifndef CP_SERVER_OPENAI_MESSAGES_H
#define CP_SERVER_OPENAI_MESSAGES_H

#include "server/openai_request.h"

/* Fills out->messages, out->joined and the prompt of out->llm. What was allocated is the request's
 * also on failure. */
bool cp_openai_read_messages(cp_body_reader *r, cp_openai_request *out) CP_MUST_CHECK;

#endif
