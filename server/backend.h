/* What answers a prompt: a model folder, or the mock. One interface, so that everything around it
 * (prompt, parsing, rules, reply) is the same for both.
 *
 * Created at once and cheaply, which finds a missing model before the server listens; loaded in
 * the worker's thread, which is also the only one that calls generate, one at a time. The names may
 * be read by any thread from creation on. */
#ifndef CP_SERVER_BACKEND_H
#define CP_SERVER_BACKEND_H

#include "llm/llm.h"
#include "server/settings.h"

typedef struct cp_backend_request {
    const cp_chat_message *messages; /* [n_messages] */
    size_t n_messages;
    cp_thinking thinking;
    size_t max_new_tokens;
    bool has_temperature;
    double temperature;
    uint64_t seed;
    bool (*is_cancelled)(void *user); /* asked at least once a token */
    void *user;
} cp_backend_request;

typedef struct cp_backend_reply {
    cp_strbuf answer, thinking;
    bool has_thinking;
    cp_finish finish;
    size_t prompt_tokens, completion_tokens; /* 0 where nothing counts tokens */
    double prompt_ms, generate_ms;
} cp_backend_reply;
void cp_backend_reply_init(cp_backend_reply *reply);
void cp_backend_reply_deinit(cp_backend_reply *reply);

typedef struct cp_backend cp_backend;
struct cp_backend {
    char llm_mode[128]; /* "mock", the model's name as it was asked for; never a path */
    char model[128];
    bool is_mock;
    cp_status (*load)(cp_backend *backend, cp_error *err);
    /* CP_OK also when cancelled or cut by length. CP_ERR_LIMIT: the prompt leaves no room. */
    cp_status (*generate)(cp_backend *backend, const cp_backend_request *request,
                          cp_backend_reply *out, cp_error *err);
    void (*close)(cp_backend *backend);
};

/* By LLM_MODE. A model that is not there: a sentence that says where it looked and what to do. */
cp_status cp_backend_create(const cp_settings *settings, cp_backend **out,
                            cp_error *err) CP_MUST_CHECK;

/* The two kinds; `dir` is copied. */
cp_status cp_backend_create_mock(cp_backend **out, cp_error *err) CP_MUST_CHECK;
cp_status cp_backend_create_engine(const char *dir, const cp_settings *settings, cp_backend **out,
                                   cp_error *err) CP_MUST_CHECK;

#endif
