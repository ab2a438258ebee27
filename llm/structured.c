/* One answer under a schema: the loop of generate.c with a constraint between logits and draw. */
#include "llm/llm.h"

#include "base/clock.h"
#include "llm/llm_internal.h"
#include "llm/text_splitter.h"

typedef struct run {
    cp_llm *llm;
    const cp_llm_request *request;
    cp_text_splitter *splitter;
    cp_llm_result *out;
    cp_constraint constraint;
    size_t max_new;
    uint64_t start;
} run;

/* The masks belong to the model's vocabulary and are made when they are first needed. */
static cp_status need_masks(cp_llm *llm, cp_error *err) {
    const cp_model_config *config = cp_engine_config(llm->engine);
    return llm->masks ? CP_OK
                      : cp_masks_create(llm->tokenizer, config->vocab_size, config->eos_ids,
                                        config->n_eos, 0, &llm->masks, err);
}

/* A thought comes first where the template knows thinking and it was not turned off: the model is
 * in it already, or must open it, so that it cannot skip it unseen. */
static cp_arm arm_of(const cp_llm *llm, const cp_llm_request *r, bool in_thought) {
    const char *family = cp_chat_template_name(llm->tokenizer);
    bool thinks = family && strncmp(family, "qwen3", 5) == 0;
    if (in_thought)
        return CP_ARM_AFTER_THOUGHT;
    return r->n_messages > 0 && thinks && r->thinking != CP_THINKING_OFF ? CP_ARM_OPEN_THOUGHT
                                                                         : CP_ARM_NOW;
}

/* Takes ids into the result and its text. */
static cp_status keep(run *x, const int32_t *ids, size_t n, cp_error *err) {
    if (x->out->ids.n == 0)
        x->out->first_token_ms = x->out->prompt_ms + cp_clock_ms_since(x->start);
    for (size_t i = 0; i < n; i++) {
        cp_status status = cp_ids_push(&x->out->ids, ids[i], err);
        if (status != CP_OK)
            return status;
        if (!cp_config_is_eos(cp_engine_config(x->llm->engine), ids[i]))
            cp_text_splitter_push(x->splitter, ids[i]);
    }
    return CP_OK;
}

static size_t budget(const run *x) {
    return x->max_new > x->out->ids.n ? x->max_new - x->out->ids.n : 0;
}

/* Draws one token; what cannot be completed in the budget is not kept, and the turn is then the
 * closing one. */
static cp_status draw(run *x, cp_turn *turn, int32_t *id, cp_error *err) {
    size_t left = budget(x);
    cp_accept result;
    *id = cp_sampler_next_allowed(x->llm->sampler, cp_session_logits(x->llm->session), turn->mask);
    cp_status status = cp_constraint_accept(&x->constraint, x->llm->masks, *id,
                                            left > 0 ? left - 1 : 0, &result, err);
    if (status == CP_OK && result == CP_ACCEPT_TOO_LONG)
        return cp_constraint_turn(&x->constraint, x->llm->masks, 0, turn, err);
    if (status == CP_OK && result == CP_ACCEPT_ILLEGAL)
        return cp_error_set(err, CP_ERR_FORMAT, "token %d was drawn although the schema forbids it",
                            (int)*id);
    turn->ids = id;
    turn->n = 1;
    return status;
}

/* Keeps the ids of a turn, and evaluates them unless they are the last. */
static cp_status follow(run *x, const cp_turn *turn, cp_error *err) {
    cp_structured_report *report = &x->out->structured;
    size_t answer_bytes = x->out->answer.n;
    cp_status status = keep(x, turn->ids, turn->n, err);
    if (turn->kind == CP_TURN_APPEND)
        report->forced_tokens += turn->n;
    if (turn->kind == CP_TURN_CLOSE) {
        report->tail_tokens = turn->n;
        report->tail_bytes = x->out->answer.n - answer_bytes;
    }
    bool goes_on = budget(x) > 0 && !cp_constraint_is_complete(&x->constraint);
    return status == CP_OK && goes_on
               ? cp_session_eval(x->llm->session, turn->ids, turn->n, NULL, err)
               : status;
}

static cp_status steps(run *x, cp_error *err) {
    cp_turn turn;
    int32_t id;
    cp_status status;
    do {
        status = cp_constraint_turn(&x->constraint, x->llm->masks, budget(x), &turn, err);
        x->out->structured.n_turns++;
        if (status == CP_OK && turn.kind == CP_TURN_DRAW)
            status = draw(x, &turn, &id, err);
        if (status == CP_OK && turn.kind != CP_TURN_END)
            status = follow(x, &turn, err);
        if (status == CP_OK && x->request->is_cancelled &&
            x->request->is_cancelled(x->request->user)) {
            x->out->finish = CP_FINISH_CANCELLED;
            return CP_OK;
        }
    } while (status == CP_OK && turn.kind != CP_TURN_END && turn.kind != CP_TURN_CLOSE);
    x->out->finish = turn.kind == CP_TURN_CLOSE ? CP_FINISH_LENGTH : CP_FINISH_STOP;
    return status;
}

cp_status cp_llm_draw_structured(cp_llm *llm, const cp_llm_request *r, size_t max_new,
                                 bool in_thought, cp_text_splitter *splitter, cp_llm_result *out,
                                 cp_error *err) {
    run x = {.llm = llm, .request = r, .splitter = splitter, .out = out, .max_new = max_new};
    cp_status status = need_masks(llm, err);
    if (status == CP_OK)
        status = cp_constraint_start(&x.constraint, llm->masks, r->schema,
                                     arm_of(llm, r, in_thought), err);
    if (status != CP_OK)
        return status;
    (void)cp_masks_take_stats(llm->masks);
    x.start = cp_clock_ns();
    status = steps(&x, err);
    cp_text_splitter_finish(splitter);
    cp_masks_stats stats = cp_masks_take_stats(llm->masks);
    out->structured.constraint_ms = stats.total_ms;
    out->structured.worst_ms = stats.worst_ms;
    out->generate_ms = cp_clock_ms_since(x.start);
    return status;
}
