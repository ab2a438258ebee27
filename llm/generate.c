/* One generation from its prompt to its end. */
#include "llm/llm.h"

#include "base/clock.h"
#include "base/mem.h"
#include "llm/llm_internal.h"
#include "llm/text_splitter.h"

#include <string.h>

#define MAX_ANSWER_BYTES ((size_t)16 << 20)

void cp_llm_result_init(cp_llm_result *result) {
    *result = (cp_llm_result){0};
    cp_strbuf_init(&result->answer, MAX_ANSWER_BYTES);
    cp_strbuf_init(&result->thinking, MAX_ANSWER_BYTES);
}

void cp_llm_result_deinit(cp_llm_result *result) {
    cp_strbuf_deinit(&result->answer);
    cp_strbuf_deinit(&result->thinking);
    cp_ids_deinit(&result->ids);
}

/* The request's prompt as ids, whichever of the three forms it has. */
static cp_status encode_prompt(const cp_llm *llm, const cp_llm_request *r, cp_ids *out,
                               cp_error *err) {
    cp_status status = CP_OK;
    if (r->n_messages > 0) {
        cp_prompt prompt;
        cp_prompt_init(&prompt);
        status = cp_chat_render(llm->tokenizer, r->messages, r->n_messages, true, r->thinking,
                                &prompt, err);
        if (status == CP_OK)
            status = cp_prompt_encode(llm->tokenizer, &prompt, false, out, err);
        cp_prompt_deinit(&prompt);
    } else if (r->text) {
        status = cp_tokenizer_encode(llm->tokenizer, r->text, strlen(r->text),
                                     &(cp_encode_options){0}, out, err);
    } else {
        for (size_t i = 0; i < r->n_ids && status == CP_OK; i++)
            status = cp_ids_push(out, r->ids[i], err);
    }
    if (status == CP_OK && out->n == 0)
        status = cp_error_set(err, CP_ERR_USAGE, "the prompt is empty");
    return status;
}

/* Room for every token that may be drawn, so that nothing is allocated between tokens. */
static cp_status reserve(cp_llm_result *out, size_t max_new, cp_error *err) {
    if (!cp_grow((void **)&out->ids.ids, &out->ids.cap, max_new, sizeof *out->ids.ids))
        return cp_error_no_memory(err, "generated ids");
    return CP_OK;
}

static bool cancelled(const cp_llm_request *r) {
    return r->is_cancelled && r->is_cancelled(r->user);
}

/* Draws until an end token, a stop string, the limit, or the caller's wish. The session holds the
 * prompt. */
static cp_status draw_tokens(cp_llm *llm, const cp_llm_request *r, size_t max_new,
                             cp_text_splitter *splitter, cp_llm_result *out, cp_error *err) {
    const cp_model_config *config = cp_engine_config(llm->engine);
    uint64_t start = cp_clock_ns();
    out->finish = CP_FINISH_LENGTH;
    while (out->ids.n < max_new) {
        int32_t id = cp_sampler_next(llm->sampler, cp_session_logits(llm->session));
        out->ids.ids[out->ids.n++] = id;
        if (out->ids.n == 1)
            out->first_token_ms = out->prompt_ms + cp_clock_ms_since(start);
        if (cp_config_is_eos(config, id)) {
            out->finish = CP_FINISH_STOP;
            break;
        }
        cp_text_splitter_push(splitter, id);
        if (splitter->stopped || cancelled(r)) {
            out->finish = splitter->stopped ? CP_FINISH_STOP : CP_FINISH_CANCELLED;
            break;
        }
        if (out->ids.n == max_new)
            break; /* no one will look at the next logits */
        cp_status status = cp_session_eval(llm->session, &id, 1, NULL, err);
        if (status != CP_OK)
            return status;
    }
    cp_text_splitter_finish(splitter);
    out->generate_ms = cp_clock_ms_since(start);
    return CP_OK;
}

/* Whether the prompt leaves the model inside a thought: its last thinking marker is the opening
 * one. */
static bool ends_in_thought(const cp_llm *llm, const cp_ids *prompt) {
    for (size_t i = prompt->n; i-- > 0 && llm->think_open >= 0;) {
        if (prompt->ids[i] == llm->think_open)
            return true;
        if (prompt->ids[i] == llm->think_close)
            return false;
    }
    return false;
}

cp_status cp_llm_generate(cp_llm *llm, const cp_llm_request *r, cp_llm_result *out, cp_error *err) {
    cp_ids prompt = {0};
    cp_text_splitter splitter = {0};
    size_t context = cp_llm_context(llm);
    cp_status status =
        r->schema && r->stops[0]
            ? cp_error_set(err, CP_ERR_USAGE, "stop strings and a schema exclude each other")
            : encode_prompt(llm, r, &prompt, err);
    if (status != CP_OK)
        goto done;
    if (prompt.n >= context) {
        status = cp_error_set(
            err, CP_ERR_LIMIT,
            "the prompt has %zu tokens, the context holds %zu and needs one for the answer",
            prompt.n, context);
        goto done;
    }
    /* The last token drawn is never evaluated, so the answer may be one longer than the room left.
     */
    size_t max_new = r->max_new_tokens, room = context - prompt.n + 1;
    max_new = max_new < room ? max_new : room;
    status = reserve(out, max_new, err);
    if (status != CP_OK)
        goto done;
    out->prompt_tokens = prompt.n;
    out->seed = r->sampling.seed;
    cp_sampler_start(llm->sampler, &r->sampling);
    bool in_thought = r->n_messages > 0 && ends_in_thought(llm, &prompt);
    status = cp_text_splitter_init(&splitter, llm, r, out, max_new, in_thought, err);
    if (status != CP_OK)
        goto done;

    uint64_t start = cp_clock_ns();
    cp_eval_hooks hooks = {.is_cancelled = r->is_cancelled, .user = r->user};
    cp_session_rewind(llm->session, 0);
    status = cp_session_eval(llm->session, prompt.ids, prompt.n, &hooks, err);
    out->prompt_ms = cp_clock_ms_since(start);
    if (status == CP_ERR_CANCELLED) {
        out->finish = CP_FINISH_CANCELLED;
        status = CP_OK;
    } else if (status == CP_OK) {
        status = r->schema
                     ? cp_llm_draw_structured(llm, r, max_new, in_thought, &splitter, out, err)
                     : draw_tokens(llm, r, max_new, &splitter, out, err);
    }
    if (status == CP_OK)
        status = cp_strbuf_check(&out->answer, "answer", err);
    if (status == CP_OK)
        status = cp_strbuf_check(&out->thinking, "thinking", err);
done:
    cp_text_splitter_deinit(&splitter);
    cp_ids_deinit(&prompt);
    return status;
}
