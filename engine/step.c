/* Steps: tokens of one or several sequences through the model together. */
#include "engine/engine.h"

#include "engine/engine_internal.h"

#include <string.h>

/* ---- a step ---------------------------------------------------------------------------------- */

static cp_status check_part(const cp_engine *e, const cp_step_part *p, cp_error *err) {
    const cp_session *s = p->session;
    if (p->n > s->max_tokens - s->n_tokens)
        return cp_error_set(err, CP_ERR_LIMIT,
                            "%zu tokens after %zu do not fit in a context of %zu", p->n,
                            s->n_tokens, s->max_tokens);
    for (size_t i = 0; i < p->n; i++)
        if (p->ids[i] < 0 || (size_t)p->ids[i] >= e->config.vocab_size)
            return cp_error_set(err, CP_ERR_USAGE, "token id %d at place %zu, expected 0 to %zu",
                                (int)p->ids[i], i, e->config.vocab_size - 1);
    return CP_OK;
}

static cp_status check_parts(const cp_engine *e, const cp_step_part *parts, size_t n_parts,
                             cp_error *err) {
    size_t n_tokens = 0;
    for (size_t i = 0; i < n_parts; i++)
        n_tokens += parts[i].n <= CP_STEP_MAX_TOKENS ? parts[i].n : CP_STEP_MAX_TOKENS + 1;
    if (n_tokens == 0 || n_tokens > CP_STEP_MAX_TOKENS)
        return cp_error_set(err, CP_ERR_USAGE, "%zu tokens in a step, expected 1 to %d", n_tokens,
                            CP_STEP_MAX_TOKENS);
    for (size_t i = 0; i < n_parts; i++) {
        cp_status status = check_part(e, &parts[i], err);
        if (status != CP_OK)
            return status;
    }
    for (size_t i = 0; i < n_parts; i++)
        if (!cp_session_make_room(parts[i].session, parts[i].n))
            return cp_error_set(err, CP_ERR_BUSY, "the KV cache has no free block");
    return CP_OK;
}

static void add_rows(cp_engine *e, const cp_step_part *p) {
    cp_workspace *ws = &e->workspace;
    cp_session *s = p->session;
    if (s->ids)
        memcpy(s->ids + s->n_tokens, p->ids, p->n * sizeof *p->ids);
    for (size_t i = 0; i < p->n; i++)
        ws->rows[ws->n_rows++] = (cp_row){s, s->n_tokens++, p->ids[i]};
}

static cp_status run_parts(cp_engine *e, const cp_step_part *parts, size_t n_parts,
                           const cp_eval_hooks *hooks, cp_error *err) {
    cp_status status = check_parts(e, parts, n_parts, err);
    if (status != CP_OK)
        return status;
    e->workspace.n_rows = 0;
    for (size_t i = 0; i < n_parts; i++)
        add_rows(e, &parts[i]);
    cp_forward_step(e, hooks);
    return CP_OK;
}

/* Rows whose logits are computed together, and whose they are. */
typedef struct head_block {
    size_t n, rows[CP_LOGITS_BLOCK], part[CP_LOGITS_BLOCK], token[CP_LOGITS_BLOCK];
} head_block;

static void flush(cp_engine *e, head_block *b, const cp_step_hooks *hooks) {
    if (b->n == 0)
        return;
    cp_forward_head(e, b->rows, b->n, NULL);
    for (size_t i = 0; i < b->n; i++)
        hooks->on_logits(hooks->user, b->part[i], b->token[i],
                         e->workspace.logits + i * e->config.vocab_size);
    b->n = 0;
}

static void report_hidden(cp_engine *e, const cp_step_part *parts, size_t n_parts,
                          const cp_step_hooks *hooks) {
    for (size_t i = 0, end = 0; i < n_parts; i++) {
        end += parts[i].n;
        if (!parts[i].wants_hidden)
            continue;
        cp_forward_norm(e, &(size_t){end - 1}, 1);
        hooks->on_hidden(hooks->user, i, e->workspace.final);
    }
}

cp_status cp_engine_step(cp_engine *e, const cp_step_part *parts, size_t n_parts,
                         const cp_step_hooks *hooks, cp_error *err) {
    head_block block = {0};
    cp_status status = run_parts(e, parts, n_parts, NULL, err);
    if (status != CP_OK)
        return status;
    report_hidden(e, parts, n_parts, hooks);
    for (size_t i = 0, end = 0; i < n_parts; i++) {
        end += parts[i].n;
        size_t wanted = parts[i].n_logits < parts[i].n ? parts[i].n_logits : parts[i].n;
        for (size_t k = wanted; k > 0; k--) {
            if (block.n == CP_LOGITS_BLOCK)
                flush(e, &block, hooks);
            block.rows[block.n] = end - k;
            block.part[block.n] = i;
            block.token[block.n++] = parts[i].n - k;
        }
    }
    flush(e, &block, hooks);
    return CP_OK;
}

/* ---- sessions with a cache of their own ------------------------------------------------------ */

/* Keeps row `i` of the block that the head has just computed as the session's outputs. */
static void keep_outputs(cp_session *s, size_t i) {
    const cp_workspace *ws = &s->engine->workspace;
    const cp_model_config *c = &s->engine->config;
    memcpy(s->logits, ws->logits + i * c->vocab_size, c->vocab_size * sizeof *s->logits);
    memcpy(s->hidden, ws->final + i * c->hidden_size, c->hidden_size * sizeof *s->hidden);
}

/* The head for rows [row, row + n). */
static void head_of_rows(cp_engine *e, size_t row, size_t n, const cp_eval_hooks *hooks) {
    size_t rows[CP_LOGITS_BLOCK];
    for (size_t i = 0; i < n; i++)
        rows[i] = row + i;
    cp_forward_head(e, rows, n, hooks);
}

static size_t block_size(size_t left) {
    return left < CP_LOGITS_BLOCK ? left : CP_LOGITS_BLOCK;
}

/* The logits of every row of the chunk that was just run, a block at a time. */
static void report_logits(cp_session *s, size_t n, const cp_eval_hooks *hooks) {
    size_t first = s->n_tokens - n, vocab = s->engine->config.vocab_size;
    for (size_t row = 0; row < n; row += CP_LOGITS_BLOCK) {
        size_t block = block_size(n - row);
        head_of_rows(s->engine, row, block, hooks);
        for (size_t i = 0; i < block; i++)
            hooks->on_logits(hooks->user, first + row + i, s->engine->workspace.logits + i * vocab);
        keep_outputs(s, block - 1);
    }
}

/* One chunk of a sequence; `last` asks for its last token's logits. */
static cp_status run_chunk(cp_session *s, const int32_t *ids, size_t n, bool last,
                           const cp_eval_hooks *hooks, cp_error *err) {
    cp_status status =
        run_parts(s->engine, &(cp_step_part){.session = s, .ids = ids, .n = n}, 1, hooks, err);
    if (status != CP_OK)
        return status;
    if (hooks && hooks->on_logits) {
        report_logits(s, n, hooks);
    } else if (last) {
        head_of_rows(s->engine, n - 1, 1, hooks);
        keep_outputs(s, 0);
    }
    return CP_OK;
}

cp_status cp_session_eval(cp_session *s, const int32_t *ids, size_t n, const cp_eval_hooks *hooks,
                          cp_error *err) {
    if (n == 0)
        return cp_error_set(err, CP_ERR_USAGE, "no token ids to evaluate");
    cp_status status =
        check_part(s->engine, &(cp_step_part){.session = s, .ids = ids, .n = n}, err);
    for (size_t done = 0; done < n && status == CP_OK;) {
        size_t chunk = n - done < CP_STEP_MAX_TOKENS ? n - done : CP_STEP_MAX_TOKENS;
        if (hooks && hooks->is_cancelled && hooks->is_cancelled(hooks->user))
            return cp_error_set(err, CP_ERR_CANCELLED, "cancelled after %zu of %zu tokens", done,
                                n);
        status = run_chunk(s, ids + done, chunk, done + chunk == n, hooks, err);
        done += chunk;
    }
    return status;
}

cp_status cp_sessions_decode(cp_session *const *sessions, const int32_t *ids, size_t n,
                             cp_error *err) {
    cp_step_part parts[CP_STEP_MAX_TOKENS];
    if (n == 0 || n > CP_STEP_MAX_TOKENS)
        return cp_error_set(err, CP_ERR_USAGE, "%zu sequences in a step, expected 1 to %d", n,
                            CP_STEP_MAX_TOKENS);
    cp_engine *e = sessions[0]->engine;
    for (size_t i = 0; i < n; i++)
        parts[i] = (cp_step_part){.session = sessions[i], .ids = &ids[i], .n = 1};
    cp_status status = run_parts(e, parts, n, NULL, err);
    for (size_t row = 0; row < n && status == CP_OK; row += CP_LOGITS_BLOCK) {
        size_t block = block_size(n - row);
        head_of_rows(e, row, block, NULL);
        for (size_t i = 0; i < block; i++)
            keep_outputs(sessions[row + i], i);
    }
    return status;
}
