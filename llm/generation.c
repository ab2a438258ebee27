#include "llm/generation.h"

#include "base/clock.h"
#include "base/mem.h"
#include "llm/thinking_plan.h"

#include <stdlib.h>
#include <string.h>

#define SCHEMA_SLACK 512 /* appended tokens beside as many as are sampled */

/* ---- creation -------------------------------------------------------------------------------- */

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

static cp_status check_prompt(const cp_llm *llm, const cp_ids *prompt, cp_error *err) {
    size_t context = cp_llm_context(llm), vocab = cp_engine_config(llm->engine)->vocab_size;
    if (prompt->n >= context)
        return cp_error_set(
            err, CP_ERR_LIMIT,
            "the prompt has %zu tokens, the context holds %zu and needs one for the answer",
            prompt->n, context);
    for (size_t i = 0; i < prompt->n; i++)
        if (prompt->ids[i] < 0 || (size_t)prompt->ids[i] >= vocab)
            return cp_error_set(err, CP_ERR_USAGE, "token id %d at place %zu, expected 0 to %zu",
                                (int)prompt->ids[i], i, vocab - 1);
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

/* The last token drawn is never evaluated, so the answer may be one longer than the room left. What
 * closes a thought must find room as well. */
static void limit_length(cp_generation *g) {
    const cp_llm_request *r = &g->request;
    size_t left = cp_llm_context(g->llm) - g->tokens.n + 1, most = SIZE_MAX;
    size_t farewell = r->n_messages > 0 ? g->llm->farewell.n : 0;
    if (r->schema && !cp_size_mul(r->max_new_tokens, 2, &most))
        most = SIZE_MAX;
    else if (!r->schema)
        most = r->max_new_tokens;
    if (!cp_size_add(most, (r->schema ? SCHEMA_SLACK : 0) + farewell, &most))
        most = SIZE_MAX;
    g->room = most < left ? most : left;
    size_t writable = g->room > farewell ? g->room - farewell : 1;
    g->max_new = r->max_new_tokens < writable ? r->max_new_tokens : writable;
}

/* Room for every token that may come, so that nothing is allocated between tokens. */
static cp_status prepare(cp_generation *g, cp_error *err) {
    const cp_llm_request *r = &g->request;
    cp_status status = encode_prompt(g->llm, r, &g->tokens, err);
    if (status == CP_OK)
        status = check_prompt(g->llm, &g->tokens, err);
    if (status != CP_OK)
        return status;
    limit_length(g);
    g->result.prompt_tokens = g->tokens.n;
    g->result.seed = r->sampling.seed;
    bool in_thought = r->n_messages > 0 && ends_in_thought(g->llm, &g->tokens);
    if (!cp_grow((void **)&g->tokens.ids, &g->tokens.cap, g->tokens.n + g->room,
                 sizeof *g->tokens.ids))
        return cp_error_no_memory(err, "generated ids");
    return cp_text_splitter_init(&g->splitter, g->llm, &g->request, &g->result, g->room, in_thought,
                                 err);
}

cp_status cp_generation_create(const cp_llm *llm, const cp_llm_request *request,
                               cp_generation **out, cp_error *err) {
    *out = NULL;
    if (request->schema && request->stops[0])
        return cp_error_set(err, CP_ERR_USAGE, "stop strings and a schema exclude each other");
    cp_generation *g = calloc(1, sizeof *g);
    if (!g)
        return cp_error_no_memory(err, "generation");
    g->llm = llm;
    g->request = *request;
    g->created_ns = cp_clock_ns();
    cp_llm_result_init(&g->result);
    cp_status status = prepare(g, err);
    if (status == CP_OK)
        *out = g;
    else
        cp_generation_free(g);
    return status;
}

void cp_generation_free(cp_generation *g) {
    if (!g)
        return;
    cp_text_splitter_deinit(&g->splitter);
    cp_llm_result_deinit(&g->result);
    cp_ids_deinit(&g->tokens);
    free(g);
}

cp_llm_result *cp_generation_result(cp_generation *g) {
    return &g->result;
}

cp_status cp_generation_status(const cp_generation *g, cp_error *err) {
    if (g->status != CP_OK && err)
        *err = g->err;
    return g->status;
}

void *cp_generation_user(const cp_generation *g) {
    return g->request.user;
}

/* ---- its end --------------------------------------------------------------------------------- */

void cp_generation_fail(cp_generation *g, cp_status status, const cp_error *err) {
    g->status = status;
    g->err = *err;
    g->is_done = true;
}

static void end(cp_generation *g, cp_finish finish) {
    g->result.finish = finish;
    g->is_done = true;
}

static double ms_between(uint64_t from, uint64_t to) {
    return to > from ? (double)(to - from) / 1e6 : 0;
}

/* Texts and ids as the caller gets them. */
static void conclude(cp_generation *g, uint64_t now_ns) {
    cp_llm_result *out = &g->result;
    cp_error err;
    cp_text_splitter_finish(&g->splitter);
    if (g->read_ns)
        out->generate_ms = ms_between(g->read_ns, now_ns);
    else if (g->started_ns)
        out->prompt_ms = ms_between(g->started_ns, now_ns);
    cp_status status = cp_strbuf_check(&out->answer, "answer", &err);
    if (status == CP_OK)
        status = cp_strbuf_check(&out->thinking, "thinking", &err);
    size_t n = g->tokens.n - out->prompt_tokens;
    if (status == CP_OK && !cp_grow((void **)&out->ids.ids, &out->ids.cap, n, sizeof(int32_t)))
        status = cp_error_no_memory(&err, "generated ids");
    if (status != CP_OK) {
        cp_generation_fail(g, status, &err);
        return;
    }
    if (n > 0)
        memcpy(out->ids.ids, g->tokens.ids + out->prompt_tokens, n * sizeof(int32_t));
    out->ids.n = n;
    out->drafted_tokens = g->lookup.total_drafted;
    out->accepted_tokens = g->lookup.total_accepted;
}

/* ---- appending ------------------------------------------------------------------------------- */

static bool in_thought(const cp_generation *g) {
    return g->request.n_messages > 0 && g->splitter.part == CP_TEXT_THINKING;
}

static void push(cp_generation *g, int32_t id) {
    cp_error err;
    cp_status status = cp_ids_push(&g->tokens, id, &err);
    if (status != CP_OK)
        cp_generation_fail(g, status, &err);
    else if (!cp_config_is_eos(cp_engine_config(g->llm->engine), id))
        cp_text_splitter_push(&g->splitter, id);
}

/* Tokens that nobody drew. */
static void append(cp_generation *g, const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n && !g->is_done; i++)
        push(g, ids[i]);
    g->result.appended_tokens += n;
}

static size_t room_left(const cp_generation *g) {
    size_t used = g->tokens.n - g->result.prompt_tokens;
    return g->room > used ? g->room - used : 0;
}

/* ---- under a schema -------------------------------------------------------------------------- */

/* The next turn of the constraint; with `last` nothing more may be drawn. */
static bool take_turn(cp_generation *g, bool last, cp_turn *turn) {
    cp_error err;
    cp_status status =
        cp_constraint_turn(&g->constraint, g->masks, last ? 0 : room_left(g), turn, &err);
    g->result.structured.n_turns++;
    if (status != CP_OK)
        cp_generation_fail(g, status, &err);
    return status == CP_OK;
}

/* What the schema leaves no choice about, until something must be drawn or nothing is left; `last`
 * closes the text. */
static void follow_schema(cp_generation *g, bool last) {
    cp_structured_report *report = &g->result.structured;
    cp_turn turn;
    while (!g->is_done && take_turn(g, last, &turn) && turn.kind != CP_TURN_DRAW) {
        size_t answer_bytes = g->result.answer.n;
        append(g, turn.ids, turn.n);
        if (turn.kind == CP_TURN_APPEND) {
            report->forced_tokens += turn.n;
        } else if (turn.kind == CP_TURN_CLOSE) {
            report->tail_tokens = turn.n;
            report->tail_bytes = g->result.answer.n - answer_bytes;
            end(g, CP_FINISH_LENGTH);
        } else {
            end(g, CP_FINISH_STOP);
        }
    }
}

/* A thought comes first where the template knows thinking and it was not turned off: the model is
 * in it already, or must open it, so that it cannot skip it unseen. */
static cp_arm arm_of(const cp_generation *g) {
    const cp_llm_request *r = &g->request;
    const char *family = cp_chat_template_name(g->llm->tokenizer);
    bool thinks = family && strncmp(family, "qwen3", 5) == 0;
    if (in_thought(g))
        return CP_ARM_AFTER_THOUGHT;
    return r->n_messages > 0 && thinks && r->thinking != CP_THINKING_OFF ? CP_ARM_OPEN_THOUGHT
                                                                         : CP_ARM_NOW;
}

static void begin_schema(cp_generation *g) {
    cp_error err;
    cp_status status =
        cp_constraint_start(&g->constraint, g->masks, g->request.schema, arm_of(g), &err);
    if (status == CP_OK)
        follow_schema(g, false);
    else
        cp_generation_fail(g, status, &err);
}

/* ---- thinking -------------------------------------------------------------------------------- */

/* Says farewell and goes on to the answer. */
static void close_thought(cp_generation *g) {
    const cp_llm *llm = g->llm;
    cp_accept accepted = CP_ACCEPT_OK;
    cp_error err;
    cp_status status = CP_OK;
    g->result.thinking_truncated = true;
    append(g, llm->farewell.ids, llm->n_farewell_text);
    append(g, &llm->think_close, 1);
    if (!g->request.schema) {
        size_t done = llm->n_farewell_text + 1;
        append(g, llm->farewell.ids + done, llm->farewell.n - done);
        return;
    }
    status = cp_constraint_accept(&g->constraint, g->masks, llm->think_close, room_left(g),
                                  &accepted, &err);
    if (status == CP_OK && accepted != CP_ACCEPT_OK)
        status = cp_error_set(&err, CP_ERR_FORMAT, "the schema does not let its thought end");
    if (status == CP_OK)
        follow_schema(g, false);
    else
        cp_generation_fail(g, status, &err);
}

static bool must_answer_now(const cp_generation *g) {
    const cp_llm_request *r = &g->request;
    size_t left = g->max_new - g->result.sampled_tokens;
    if (!in_thought(g))
        return false;
    if (g->result.thinking_tokens >= g->result.thinking_planned)
        return true;
    return r->deadline_ns > 0 && g->token_ms > 0 &&
           cp_thinking_is_late(ms_between(g->now_ns, r->deadline_ns), g->token_ms,
                               cp_answer_reserve(left));
}

static size_t plan(const cp_generation *g, const cp_generation_start *s) {
    const cp_llm_request *r = &g->request;
    bool never = r->thinking == CP_THINKING_OFF && in_thought(g); /* a model that always thinks */
    const cp_thinking_limits limits = {
        .max_new = g->max_new,
        .budget = never                    ? 0
                  : r->has_thinking_budget ? r->thinking_budget
                                           : CP_LLM_NO_LIMIT,
        .has_deadline = r->deadline_ns > 0,
        .left_ms = ms_between(s->now_ns, r->deadline_ns),
        .ahead_ms = s->prompt_token_ms * (double)cp_generation_n_pending(g),
        .token_ms = s->token_ms,
    };
    return cp_thinking_plan(&limits);
}

void cp_generation_begin(cp_generation *g, const cp_generation_start *s) {
    g->session = s->session;
    g->sampler = s->sampler;
    g->masks = s->masks;
    g->speculates = s->speculates && !g->request.schema;
    g->started_ns = g->now_ns = s->now_ns;
    g->token_ms = s->token_ms;
    g->result.queue_ms = ms_between(g->created_ns, s->now_ns);
    cp_sampler_start(g->sampler, &g->request.sampling);
    cp_lookup_init(&g->lookup);
    g->result.thinking_planned = plan(g, s);
    if (g->request.schema)
        begin_schema(g);
    if (!g->is_done && must_answer_now(g))
        close_thought(g);
    size_t cached = cp_session_adopt(g->session, g->tokens.ids, g->tokens.n);
    g->result.cached_tokens = cached < g->result.prompt_tokens ? cached : g->result.prompt_tokens;
    if (g->is_done)
        conclude(g, s->now_ns);
}

/* ---- drawing --------------------------------------------------------------------------------- */

/* The best of the logits, best first, the smaller id of equals; returns how many. */
static size_t select_top(const float *logits, size_t vocab, size_t most, cp_token_logprob *top) {
    size_t n = 0;
    for (size_t i = 0; i < vocab && most > 0; i++) {
        if (n == most && !(logits[i] > top[n - 1].logprob))
            continue;
        size_t at = n < most ? n++ : n - 1;
        for (; at > 0 && logits[i] > top[at - 1].logprob; at--)
            top[at] = top[at - 1];
        top[at] = (cp_token_logprob){(int32_t)i, logits[i]};
    }
    return n;
}

static void report_token(const cp_generation *g, int32_t id, const float *logits) {
    const cp_llm_request *r = &g->request;
    cp_token_logprob top[CP_LLM_MAX_TOP_LOGPROBS];
    size_t vocab = cp_engine_config(g->llm->engine)->vocab_size, most = r->n_top_logprobs;
    most = most < CP_LLM_MAX_TOP_LOGPROBS ? most : CP_LLM_MAX_TOP_LOGPROBS;
    double shift = cp_log_sum_exp(logits, vocab);
    size_t n = select_top(logits, vocab, most, top);
    for (size_t i = 0; i < n; i++)
        top[i].logprob = (float)(top[i].logprob - shift);
    r->on_token(r->user, &(cp_token_logprobs){{id, (float)(logits[id] - shift)}, top, n});
}

/* Nothing more may be sampled. */
static void cut(cp_generation *g) {
    if (g->request.schema)
        follow_schema(g, true);
    if (!g->is_done)
        end(g, CP_FINISH_LENGTH);
}

/* An end token inside a thought ends the thought only: the answer is still owed. */
static void take_end_token(cp_generation *g) {
    if (!in_thought(g)) {
        end(g, CP_FINISH_STOP);
        return;
    }
    g->tokens.n--;
    close_thought(g);
}

/* A token that was drawn and is legal. */
static void keep(cp_generation *g, int32_t id, const float *logits) {
    bool is_end = cp_config_is_eos(cp_engine_config(g->llm->engine), id);
    g->result.sampled_tokens++;
    g->result.thinking_tokens += in_thought(g);
    if (g->request.on_token && !is_end && !in_thought(g))
        report_token(g, id, logits);
    push(g, id);
    if (g->is_done)
        return;
    if (is_end && !g->request.schema)
        take_end_token(g);
    else if (g->splitter.stopped)
        end(g, CP_FINISH_STOP);
    if (g->is_done)
        return;
    if (g->request.schema && cp_constraint_is_complete(&g->constraint))
        end(g, CP_FINISH_STOP);
    else if (g->result.sampled_tokens >= g->max_new || room_left(g) == 0)
        cut(g);
    else if (must_answer_now(g))
        close_thought(g);
    else if (g->request.schema)
        follow_schema(g, false);
}

static void draw_from_schema(cp_generation *g, const float *logits) {
    cp_turn turn;
    cp_accept accepted;
    cp_error err;
    if (!take_turn(g, false, &turn))
        return;
    if (turn.kind != CP_TURN_DRAW) {
        (void)cp_error_set(&err, CP_ERR_FORMAT, "the schema changed its mind about a place");
        cp_generation_fail(g, CP_ERR_FORMAT, &err);
        return;
    }
    int32_t id = cp_sampler_next_allowed(g->sampler, logits, turn.mask);
    cp_status status =
        cp_constraint_accept(&g->constraint, g->masks, id, room_left(g) - 1, &accepted, &err);
    if (status == CP_OK && accepted == CP_ACCEPT_ILLEGAL)
        status = cp_error_set(&err, CP_ERR_FORMAT,
                              "token %d was drawn although the schema forbids it", (int)id);
    if (status != CP_OK)
        cp_generation_fail(g, status, &err);
    else if (accepted == CP_ACCEPT_TOO_LONG)
        cut(g);
    else
        keep(g, id, logits);
}

void cp_generation_take_logits(cp_generation *g, size_t token, const float *logits) {
    size_t position = cp_session_n_tokens(g->session) - g->n_part + token;
    /* Behind a wrong guess, or before tokens that were appended: nobody needs these. */
    if (g->is_done || g->tokens.n != position + 1 || g->tokens.ids[position] != g->part_ids[token])
        return;
    if (g->request.schema)
        draw_from_schema(g, logits);
    else
        keep(g, cp_sampler_next(g->sampler, logits), logits);
}

/* ---- steps ----------------------------------------------------------------------------------- */

void cp_generation_look(cp_generation *g, uint64_t now_ns, double token_ms) {
    const cp_llm_request *r = &g->request;
    g->now_ns = now_ns;
    g->token_ms = token_ms;
    if (g->is_done)
        return;
    if (r->is_cancelled && r->is_cancelled(r->user))
        end(g, CP_FINISH_CANCELLED);
    else if (r->deadline_ns > 0 && now_ns >= r->deadline_ns) {
        if (g->result.sampled_tokens > 0)
            cut(g);
        else
            end(g, CP_FINISH_LENGTH);
    }
    if (g->is_done)
        conclude(g, now_ns);
}

size_t cp_generation_n_pending(const cp_generation *g) {
    return g->tokens.n - (g->session ? cp_session_n_tokens(g->session) : 0);
}

bool cp_generation_is_reading(const cp_generation *g) {
    return g->read_ns == 0;
}

void cp_generation_next(cp_generation *g, size_t most, size_t n_draft, cp_step_part *part) {
    size_t at = cp_session_n_tokens(g->session), pending = g->tokens.n - at;
    g->n_part = pending < most ? pending : most;
    memcpy(g->part_ids, g->tokens.ids + at, g->n_part * sizeof *g->part_ids);
    g->n_draft = 0;
    bool is_end = g->n_part == pending;
    size_t wanted = g->max_new - g->result.sampled_tokens;
    size_t room = cp_session_max_tokens(g->session) - g->tokens.n;
    n_draft = n_draft < most - g->n_part ? n_draft : most - g->n_part;
    n_draft = n_draft < room ? n_draft : room;
    n_draft = n_draft < wanted - 1 ? n_draft : wanted - 1;
    if (is_end && g->speculates && !cp_generation_is_reading(g) && n_draft > 0) {
        const int32_t *draft =
            cp_lookup_draft(&g->lookup, g->tokens.ids, g->tokens.n, n_draft, &g->n_draft);
        memcpy(g->part_ids + g->n_part, draft, g->n_draft * sizeof *draft);
        g->n_part += g->n_draft;
    }
    *part = (cp_step_part){.session = g->session,
                           .ids = g->part_ids,
                           .n = g->n_part,
                           .n_logits = is_end ? 1 + g->n_draft : 0};
}

void cp_generation_settle(cp_generation *g, uint64_t now_ns) {
    size_t from = cp_session_n_tokens(g->session) - g->n_part, same = 0;
    while (same < g->n_part && from + same < g->tokens.n &&
           g->tokens.ids[from + same] == g->part_ids[same])
        same++;
    cp_session_rewind(g->session, from + same);
    size_t certain = g->n_part - g->n_draft;
    cp_lookup_note(&g->lookup, same > certain ? same - certain : 0);
    if (g->read_ns == 0 && g->result.sampled_tokens > 0) {
        g->read_ns = now_ns;
        g->result.prompt_ms = g->result.first_token_ms = ms_between(g->started_ns, now_ns);
    }
    if (g->is_done && g->status == CP_OK)
        conclude(g, now_ns);
}
