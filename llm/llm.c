#include "llm/llm.h"

#include "base/mem.h"
#include "llm/llm_internal.h"
#include "llm/scheduler.h"
#include "llm/thinking_plan.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_CONTEXT 4096

/* The last component of a path, without trailing slashes. */
static char *folder_name(const char *dir) {
    size_t end = strlen(dir);
    while (end > 1 && dir[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && dir[begin - 1] != '/')
        begin--;
    return cp_copy_bytes(dir + begin, end - begin);
}

static cp_status encode(const cp_llm *llm, const char *text, cp_ids *out, cp_error *err) {
    return cp_tokenizer_encode(llm->tokenizer, text, strlen(text), &(cp_encode_options){0}, out,
                               err);
}

static cp_status make_farewell(cp_llm *llm, cp_error *err) {
    cp_status status = encode(llm, cp_thinking_farewell, &llm->farewell, err);
    llm->n_farewell_text = llm->farewell.n;
    if (status == CP_OK)
        status = cp_ids_push(&llm->farewell, llm->think_close, err);
    return status == CP_OK ? encode(llm, "\n\n", &llm->farewell, err) : status;
}

static cp_status open_parts(cp_llm *llm, const char *dir, const cp_llm_options *options,
                            cp_error *err) {
    size_t context = options && options->context_cap ? options->context_cap : DEFAULT_CONTEXT;
    cp_engine_options engine_options = {.n_threads = options ? options->n_threads : 0,
                                        .kv = options ? options->kv : CP_KV_AUTO,
                                        .plan_tokens = context};
    cp_status status = cp_engine_open(dir, &engine_options, &llm->engine, err);
    if (status == CP_OK)
        status = cp_tokenizer_open(dir, &llm->tokenizer, err);
    if (status == CP_OK)
        status = cp_model_check_vocabulary(dir, llm->tokenizer,
                                           cp_engine_config(llm->engine)->vocab_size, err);
    if (status != CP_OK)
        return status;
    const cp_model_config *config = cp_engine_config(llm->engine);
    if (context > config->max_positions)
        context = config->max_positions;
    llm->context = context;
    llm->think_open = cp_tokenizer_added_id(llm->tokenizer, "<think>");
    llm->think_close = cp_tokenizer_added_id(llm->tokenizer, "</think>");
    for (size_t id = 0; id < cp_tokenizer_n_ids(llm->tokenizer); id++) {
        size_t n = cp_tokenizer_id_bytes(llm->tokenizer, (int32_t)id).n;
        llm->max_token_bytes = n > llm->max_token_bytes ? n : llm->max_token_bytes;
    }
    return llm->think_close >= 0 ? make_farewell(llm, err) : CP_OK;
}

cp_status cp_llm_open(const char *dir, const cp_llm_options *options, cp_llm **out, cp_error *err) {
    *out = NULL;
    cp_llm *llm = calloc(1, sizeof *llm);
    if (!llm)
        return cp_error_no_memory(err, "model");
    llm->name = folder_name(dir);
    cp_status status =
        llm->name ? open_parts(llm, dir, options, err) : cp_error_no_memory(err, "model name");
    if (status == CP_OK)
        *out = llm;
    else
        cp_llm_close(llm);
    return status;
}

void cp_llm_close(cp_llm *llm) {
    if (!llm)
        return;
    cp_scheduler_free(llm->scheduler);
    cp_masks_free(llm->masks);
    cp_ids_deinit(&llm->farewell);
    cp_tokenizer_close(llm->tokenizer);
    cp_engine_close(llm->engine);
    free(llm->name);
    free(llm);
}

const cp_tokenizer *cp_llm_tokenizer(const cp_llm *llm) {
    return llm->tokenizer;
}

cp_engine *cp_llm_engine(cp_llm *llm) {
    return llm->engine;
}

const cp_engine *cp_llm_engine_of(const cp_llm *llm) {
    return llm->engine;
}

const char *cp_llm_name(const cp_llm *llm) {
    return llm->name;
}

size_t cp_llm_context(const cp_llm *llm) {
    return llm->context;
}

cp_status cp_llm_prepare_structured(cp_llm *llm, cp_error *err) {
    const cp_model_config *config = cp_engine_config(llm->engine);
    return llm->masks ? CP_OK
                      : cp_masks_create(llm->tokenizer, config->vocab_size, config->eos_ids,
                                        config->n_eos, 0, &llm->masks, err);
}

cp_sampling cp_llm_default_sampling(const cp_llm *llm, cp_thinking thinking) {
    cp_sampling sampling = *cp_engine_sampling(llm->engine);
    if (thinking == CP_THINKING_OFF && !cp_chat_starts_in_thought(llm->tokenizer)) {
        sampling.temperature = 0.7; /* Qwen3's model card, for hybrid models without thinking */
        sampling.top_p = 0.8;
    }
    return sampling;
}

const char *cp_finish_name(cp_finish finish) {
    static const char *const names[] = {"stop", "length", "cancelled"};
    return names[finish];
}
