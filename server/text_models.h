/* The models beside the chat model, as the settings name them: EMBEDDING_MODEL, RERANKER_MODEL.
 * After they are opened only the engine's thread works with them, in errands
 * (server/inference.h). */
#ifndef CP_SERVER_TEXT_MODELS_H
#define CP_SERVER_TEXT_MODELS_H

#include "llm/embedder.h"
#include "llm/reranker.h"
#include "server/settings.h"

/* *out is NULL with CP_OK when the setting names none. */
cp_status cp_text_models_open_embedder(const cp_settings *settings, cp_embedder **out,
                                       cp_error *err) CP_MUST_CHECK;
cp_status cp_text_models_open_reranker(const cp_settings *settings, cp_reranker **out,
                                       cp_error *err) CP_MUST_CHECK;

#endif
