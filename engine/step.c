/* Steps: tokens of one sequence in chunks, or one token of each of several. */
#include "engine/engine.h"

#include "engine/engine_internal.h"

#include <string.h>

static cp_status check_id(const cp_engine *e, int32_t id, size_t place, cp_error *err) {
    if (id >= 0 && (size_t)id < e->config.vocab_size)
        return CP_OK;
    return cp_error_set(err, CP_ERR_USAGE, "token id %d at place %zu, expected 0 to %zu", id, place,
                        e->config.vocab_size - 1);
}

static cp_status check_room(const cp_session *s, size_t n, cp_error *err) {
    if (n <= s->max_tokens - s->n_tokens)
        return CP_OK;
    return cp_error_set(err, CP_ERR_LIMIT, "%zu tokens after %zu do not fit in a context of %zu", n,
                        s->n_tokens, s->max_tokens);
}

/* Appends one row for the session's next position; the session counts it. */
static void add_row(cp_session *s, int32_t id) {
    cp_workspace *ws = &s->engine->workspace;
    ws->rows[ws->n_rows++] = (cp_row){s, s->n_tokens++, id};
}

/* Keeps row `i` of the block that the head has just computed as the session's outputs. */
static void keep_outputs(cp_session *s, size_t i) {
    const cp_workspace *ws = &s->engine->workspace;
    const cp_model_config *c = &s->engine->config;
    memcpy(s->logits, ws->logits + i * c->vocab_size, c->vocab_size * sizeof *s->logits);
    memcpy(s->hidden, ws->final + i * c->hidden_size, c->hidden_size * sizeof *s->hidden);
}

/* The logits of every row of the chunk that was just run, a block at a time. */
static void report_logits(cp_session *s, size_t n, const cp_eval_hooks *hooks) {
    size_t first = s->n_tokens - n, vocab = s->engine->config.vocab_size;
    for (size_t row = 0; row < n; row += CP_LOGITS_BLOCK) {
        size_t block = n - row < CP_LOGITS_BLOCK ? n - row : CP_LOGITS_BLOCK;
        cp_forward_head(s->engine, row, block, hooks);
        for (size_t i = 0; i < block; i++)
            hooks->on_logits(hooks->user, first + row + i, s->engine->workspace.logits + i * vocab);
        keep_outputs(s, block - 1);
    }
}

/* One chunk of a sequence; `last` asks for its last token's logits. */
static void run_chunk(cp_session *s, const int32_t *ids, size_t n, bool last,
                      const cp_eval_hooks *hooks) {
    s->engine->workspace.n_rows = 0;
    for (size_t i = 0; i < n; i++)
        add_row(s, ids[i]);
    cp_forward_step(s->engine, hooks);
    if (hooks && hooks->on_logits) {
        report_logits(s, n, hooks);
    } else if (last) {
        cp_forward_head(s->engine, n - 1, 1, hooks);
        keep_outputs(s, 0);
    }
}

cp_status cp_session_eval(cp_session *s, const int32_t *ids, size_t n, const cp_eval_hooks *hooks,
                          cp_error *err) {
    if (n == 0)
        return cp_error_set(err, CP_ERR_USAGE, "no token ids to evaluate");
    cp_status status = check_room(s, n, err);
    for (size_t i = 0; i < n && status == CP_OK; i++)
        status = check_id(s->engine, ids[i], i, err);
    for (size_t done = 0; done < n && status == CP_OK;) {
        size_t chunk = n - done < CP_STEP_MAX_TOKENS ? n - done : CP_STEP_MAX_TOKENS;
        if (hooks && hooks->is_cancelled && hooks->is_cancelled(hooks->user))
            return cp_error_set(err, CP_ERR_CANCELLED, "cancelled after %zu of %zu tokens", done,
                                n);
        run_chunk(s, ids + done, chunk, done + chunk == n, hooks);
        done += chunk;
    }
    return status;
}

cp_status cp_sessions_decode(cp_session *const *sessions, const int32_t *ids, size_t n,
                             cp_error *err) {
    if (n == 0 || n > CP_STEP_MAX_TOKENS)
        return cp_error_set(err, CP_ERR_USAGE, "%zu sequences in a step, expected 1 to %d", n,
                            CP_STEP_MAX_TOKENS);
    cp_engine *e = sessions[0]->engine;
    cp_status status = CP_OK;
    for (size_t i = 0; i < n && status == CP_OK; i++) {
        status = check_room(sessions[i], 1, err);
        if (status == CP_OK)
            status = check_id(e, ids[i], i, err);
    }
    if (status != CP_OK)
        return status;
    e->workspace.n_rows = 0;
    for (size_t i = 0; i < n; i++)
        add_row(sessions[i], ids[i]);
    cp_forward_step(e, NULL);
    for (size_t row = 0; row < n; row += CP_LOGITS_BLOCK) {
        size_t block = n - row < CP_LOGITS_BLOCK ? n - row : CP_LOGITS_BLOCK;
        cp_forward_head(e, row, block, NULL);
        for (size_t i = 0; i < block; i++)
            keep_outputs(sessions[row + i], i);
    }
    return CP_OK;
}
