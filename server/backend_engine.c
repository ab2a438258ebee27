/* The real thing: a model folder through llm/. */
#include "server/backend.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

typedef struct engine_backend {
    cp_backend base; /* first: callers hold a pointer to it */
    char *dir;
    cp_llm_options options;
    cp_llm *llm; /* NULL until loaded */
} engine_backend;

static cp_status load(cp_backend *backend, cp_error *err) {
    engine_backend *self = (engine_backend *)backend;
    return cp_llm_open(self->dir, &self->options, &self->llm, err);
}

/* Moves the texts over, so that the long ones are not copied. */
static void take_result(cp_llm_result *result, cp_backend_reply *out) {
    cp_strbuf empty;
    cp_strbuf_init(&empty, out->answer.max_bytes);
    cp_backend_reply_deinit(out);
    out->answer = result->answer;
    out->thinking = result->thinking;
    result->answer = result->thinking = empty;
    out->has_thinking = result->has_thinking;
    out->finish = result->finish;
    out->prompt_tokens = result->prompt_tokens;
    out->completion_tokens = result->ids.n;
    out->prompt_ms = result->prompt_ms;
    out->generate_ms = result->generate_ms;
}

static cp_status generate(cp_backend *backend, const cp_backend_request *request,
                          cp_backend_reply *out, cp_error *err) {
    engine_backend *self = (engine_backend *)backend;
    cp_llm_request asked = {
        .messages = request->messages,
        .n_messages = request->n_messages,
        .thinking = request->thinking,
        .sampling = cp_llm_default_sampling(self->llm, request->thinking),
        .max_new_tokens = request->max_new_tokens,
        .is_cancelled = request->is_cancelled,
        .user = request->user,
    };
    asked.sampling.seed = request->seed;
    if (request->has_temperature)
        asked.sampling.temperature = request->temperature;
    cp_llm_result result;
    cp_llm_result_init(&result);
    cp_status status = cp_llm_generate(self->llm, &asked, &result, err);
    if (status == CP_OK)
        take_result(&result, out);
    cp_llm_result_deinit(&result);
    return status;
}

static void close_engine(cp_backend *backend) {
    engine_backend *self = (engine_backend *)backend;
    if (self->llm)
        cp_llm_close(self->llm);
    free(self->dir);
    free(self);
}

cp_status cp_backend_create_engine(const char *dir, const cp_settings *settings, cp_backend **out,
                                   cp_error *err) {
    *out = NULL;
    engine_backend *self = calloc(1, sizeof *self);
    char *copy = cp_copy_bytes(dir, strlen(dir));
    if (!self || !copy) {
        free(self);
        free(copy);
        return cp_error_no_memory(err, "the model");
    }
    self->dir = copy;
    self->options = (cp_llm_options){
        .n_threads = (size_t)settings->threads,
        .context_cap = (size_t)settings->context_tokens,
        .kv = (cp_kv)settings->kv_cache,
    };
    self->base.load = load;
    self->base.generate = generate;
    self->base.close = close_engine;
    *out = &self->base;
    return CP_OK;
}
