/* The mock's answers: what the service says without a model. It says what it is, reads nothing of
 * the question, and counts no tokens because none were read. */
#ifndef CP_SERVER_INFERENCE_MOCK_H
#define CP_SERVER_INFERENCE_MOCK_H

#include "llm/llm.h"

/* Fills the result and calls on_text. Under a schema the answer is `known`, or where that is NULL a
 * shortest document of it. */
cp_status cp_mock_generate(const cp_llm_request *request, const char *known, cp_llm_result *out,
                           cp_error *err) CP_MUST_CHECK;

#endif
