/* A request that another model than the chat's answers, in pieces between the steps of running
 * answers: what embeddings and reranking share. Included by server/openai_*.c only.
 *
 * A job begins with a cp_openai_errand and belongs to its HTTP thread until it is submitted, then
 * to the engine's thread; it ends with exactly one answer and `free`. */
#ifndef CP_SERVER_OPENAI_ERRAND_H
#define CP_SERVER_OPENAI_ERRAND_H

#include "server/openai_service.h"

typedef struct cp_openai_errand cp_openai_errand;
struct cp_openai_errand {
    cp_openai *openai;
    cp_http_request *http;
    uint64_t deadline_ns;
    const cp_text_task *work;
    size_t context; /* of the model, and the field that is at fault when a text is longer */
    const char *text_field;
    bool (*piece)(cp_openai_errand *errand);  /* of the model's work; false: it is over */
    void (*answer)(cp_openai_errand *errand); /* writes the reply's body */
    void (*free)(cp_openai_errand *errand);   /* releases the task and the job */
};

/* Sets the common part. */
void cp_openai_errand_init(cp_openai_errand *errand, cp_openai *openai, cp_http_request *http);
/* Answers, now or later, and frees. */
void cp_openai_errand_submit(cp_openai_errand *errand);

/* Whether `asked` names a model of this folder's name that this setting's value names; false with
 * 404 in the reply. */
bool cp_openai_errand_check_model(cp_http_request *http, const char *asked, const char *folder,
                                  const char *setting_value) CP_MUST_CHECK;

#endif
