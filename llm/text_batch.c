#include "llm/text_batch.h"

#include "base/file.h"
#include "base/mem.h"
#include "llm/llm_internal.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_CONTEXT 8192
#define MAX_LANES       CP_STEP_MAX_TOKENS
#define LONG_TEXT       2048 /* tokens: making so many is a piece of its own */

/* A text under way. */
typedef struct lane {
    cp_text_task *task;
    size_t number; /* of the task's texts, or CP_TEXT_SHARED */
    cp_session *session;
    int32_t *ids; /* [n] */
    size_t n, n_blocks;
} lane;

struct cp_text_batch {
    char *model;
    cp_tokenizer *tok;
    cp_engine *engine;
    cp_kv_pool *pool;
    size_t context, n_pool_blocks;
    lane lanes[MAX_LANES]; /* oldest first */
    size_t n_lanes;
    cp_step_part parts[MAX_LANES]; /* of the first lanes, in a step */
};

/* ---- opening --------------------------------------------------------------------------------- */

static cp_status open_parts(cp_text_batch *b, const char *dir, const cp_text_batch_options *options,
                            cp_error *err) {
    size_t context = options->context ? options->context : DEFAULT_CONTEXT;
    const cp_engine_options engine = {
        .n_threads = options->n_threads, .kv = options->kv, .plan_tokens = context};
    cp_status status = cp_engine_open(dir, &engine, &b->engine, err);
    if (status == CP_OK)
        status = cp_tokenizer_open(dir, &b->tok, err);
    if (status == CP_OK)
        status =
            cp_model_check_vocabulary(dir, b->tok, cp_engine_config(b->engine)->vocab_size, err);
    if (status != CP_OK)
        return status;
    size_t most = cp_engine_config(b->engine)->max_positions;
    b->context = context < most ? context : most;
    /* The longest text, and short ones beside it. Pages that are not reached cost nothing. */
    b->n_pool_blocks = cp_kv_blocks(b->context) + MAX_LANES;
    return cp_engine_make_pool(b->engine, b->n_pool_blocks * CP_KV_BLOCK, &b->pool, err);
}

cp_status cp_text_batch_open(const char *dir, const cp_text_batch_options *options,
                             cp_text_batch **out, cp_error *err) {
    *out = NULL;
    cp_text_batch *b = calloc(1, sizeof *b);
    cp_str name = cp_path_last(dir);
    if (b)
        b->model = cp_copy_bytes(name.data, name.n);
    cp_status status =
        b && b->model ? open_parts(b, dir, options, err) : cp_error_no_memory(err, "a model");
    if (status == CP_OK)
        *out = b;
    else
        cp_text_batch_close(b);
    return status;
}

static void end_lane(cp_text_batch *b, size_t i) {
    cp_session_free(b->lanes[i].session);
    free(b->lanes[i].ids);
    b->n_lanes--;
    memmove(&b->lanes[i], &b->lanes[i + 1], (b->n_lanes - i) * sizeof *b->lanes);
}

void cp_text_batch_close(cp_text_batch *b) {
    if (!b)
        return;
    while (b->n_lanes > 0)
        end_lane(b, b->n_lanes - 1);
    cp_kv_pool_free(b->pool);
    cp_tokenizer_close(b->tok);
    if (b->engine)
        cp_engine_close(b->engine);
    free(b->model);
    free(b);
}

const char *cp_text_batch_model(const cp_text_batch *b) {
    return b->model;
}

const cp_tokenizer *cp_text_batch_tokenizer(const cp_text_batch *b) {
    return b->tok;
}

const cp_engine *cp_text_batch_engine(const cp_text_batch *b) {
    return b->engine;
}

size_t cp_text_batch_context(const cp_text_batch *b) {
    return b->context;
}

/* ---- lanes ----------------------------------------------------------------------------------- */

/* Tokens that lanes have yet to go, counted as far as `most`. */
static size_t tokens_waiting(const cp_text_batch *b, size_t most) {
    size_t n = 0;
    for (size_t i = 0; i < b->n_lanes && n < most; i++)
        n += b->lanes[i].n - cp_session_n_tokens(b->lanes[i].session);
    return n;
}

static size_t blocks_promised(const cp_text_batch *b) {
    size_t n = 0;
    for (size_t i = 0; i < b->n_lanes; i++)
        n += b->lanes[i].n_blocks;
    return n;
}

/* Takes over what was computed of its beginning, where the task's texts share one. */
static cp_status fill_lane(cp_text_batch *b, lane *l, const cp_ids *ids, cp_error *err) {
    l->n = ids->n;
    l->n_blocks = cp_kv_blocks(ids->n);
    l->ids = malloc(ids->n * sizeof *ids->ids);
    if (!l->ids)
        return cp_error_no_memory(err, "a text's tokens");
    memcpy(l->ids, ids->ids, ids->n * sizeof *ids->ids);
    cp_status status = cp_session_create_in(b->engine, b->pool, "", ids->n, &l->session, err);
    if (status == CP_OK && l->task->shared == CP_SHARED_THERE)
        (void)cp_session_adopt(l->session, l->ids, l->n);
    return status;
}

static cp_status add_lane(cp_text_batch *b, cp_text_task *task, size_t number, const cp_ids *ids,
                          cp_error *err) {
    lane l = {.task = task, .number = number};
    if (ids->n == 0 || ids->n > b->context)
        return cp_error_set(err, CP_ERR_LIMIT, "a text has %zu tokens, expected 1 to %zu", ids->n,
                            b->context);
    cp_status status = fill_lane(b, &l, ids, err);
    b->lanes[b->n_lanes++] = l;
    if (status != CP_OK)
        end_lane(b, b->n_lanes - 1);
    return status;
}

/* The task's next text; what all of them begin with goes before. */
static cp_status begin_next(cp_text_batch *b, cp_text_task *task, size_t *n_made, cp_error *err) {
    bool is_shared = task->shares && task->n_texts > 1 && task->shared == CP_SHARED_NOT;
    size_t number = is_shared ? CP_TEXT_SHARED : task->n_begun;
    cp_ids ids = {0};
    cp_status status = task->encode(task->user, number, &ids, err);
    if (status == CP_OK)
        status = add_lane(b, task, number, &ids, err);
    *n_made = ids.n;
    cp_ids_deinit(&ids);
    if (status != CP_OK)
        return status;
    if (is_shared) {
        task->shared = CP_SHARED_BEGUN;
    } else {
        task->n_begun++;
        task->n_tokens += *n_made;
    }
    return CP_OK;
}

static bool has_room(const cp_text_batch *b, const cp_text_task *task) {
    return b->n_lanes < MAX_LANES && tokens_waiting(b, task->piece_tokens) < task->piece_tokens &&
           (b->n_lanes == 0 || blocks_promised(b) + cp_kv_blocks(b->context) <= b->n_pool_blocks);
}

/* As many texts as a step can take. False when making their tokens was enough for now. */
static bool begin_texts(cp_text_batch *b, cp_text_task *task) {
    size_t n_made = 0, all = 0;
    while (task->n_begun < task->n_texts && task->shared != CP_SHARED_BEGUN && has_room(b, task)) {
        task->status = begin_next(b, task, &n_made, &task->err);
        all += n_made;
        if (task->status != CP_OK)
            return false;
    }
    return all < LONG_TEXT;
}

/* ---- a step ---------------------------------------------------------------------------------- */

static void take_hidden(void *user, size_t part, const float *hidden) {
    const cp_text_batch *b = user;
    const lane *l = &b->lanes[part];
    l->task->on_hidden(l->task->user, l->number, hidden);
}

static void take_logits(void *user, size_t part, size_t token, const float *logits) {
    const cp_text_batch *b = user;
    const lane *l = &b->lanes[part];
    (void)token;
    l->task->on_logits(l->task->user, l->number, logits);
}

/* The part of lane i in a step, of at most n tokens. */
static cp_step_part make_part(const cp_text_batch *b, size_t i, size_t n) {
    const lane *l = &b->lanes[i];
    size_t at = cp_session_n_tokens(l->session), left = l->n - at;
    bool ends = left <= n && l->number != CP_TEXT_SHARED;
    return (cp_step_part){.session = l->session,
                          .ids = l->ids + at,
                          .n = left < n ? left : n,
                          .n_logits = ends && l->task->on_logits,
                          .wants_hidden = ends && l->task->on_hidden};
}

static size_t plan_step(cp_text_batch *b, size_t n_tokens) {
    size_t n = 0;
    for (; n < b->n_lanes && n_tokens > 0; n++) {
        b->parts[n] = make_part(b, n, n_tokens);
        n_tokens -= b->parts[n].n;
    }
    return n;
}

static void fail_all(cp_text_batch *b, size_t n, cp_status status, const cp_error *err) {
    for (size_t i = n; i-- > 0; end_lane(b, i)) {
        b->lanes[i].task->status = status;
        b->lanes[i].task->err = *err;
    }
}

/* Lane i is through. */
static void finish_lane(cp_text_batch *b, size_t i) {
    lane *l = &b->lanes[i];
    if (l->number == CP_TEXT_SHARED) {
        cp_session_publish(l->session, true);
        l->task->shared = CP_SHARED_THERE;
    } else {
        l->task->n_done++;
    }
    end_lane(b, i);
}

static void step(cp_text_batch *b, size_t n_tokens) {
    cp_error err;
    const cp_step_hooks hooks = {.on_hidden = take_hidden, .on_logits = take_logits, .user = b};
    size_t n = plan_step(b, n_tokens);
    if (n == 0)
        return;
    cp_status status = cp_engine_step(b->engine, b->parts, n, &hooks, &err);
    if (status != CP_OK) {
        fail_all(b, n, status, &err);
        return;
    }
    for (size_t i = n; i-- > 0;)
        if (cp_session_n_tokens(b->lanes[i].session) == b->lanes[i].n)
            finish_lane(b, i);
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static bool is_over(const cp_text_task *task) {
    return task->status != CP_OK || task->n_done == task->n_texts;
}

bool cp_text_batch_piece(cp_text_batch *b, cp_text_task *task) {
    if (is_over(task))
        return false;
    task->is_known = true;
    if (task->piece_tokens == 0)
        task->piece_tokens = CP_TEXT_PIECE_TOKENS;
    if (begin_texts(b, task))
        step(b, task->piece_tokens);
    if (is_over(task))
        cp_text_batch_release(b, task);
    return !is_over(task);
}

void cp_text_batch_release(cp_text_batch *b, cp_text_task *task) {
    if (!task->is_known)
        return;
    for (size_t i = b->n_lanes; i-- > 0;)
        if (b->lanes[i].task == task)
            end_lane(b, i);
    /* Nobody's words stay behind. */
    for (size_t i = 0; i < b->n_pool_blocks && b->n_lanes == 0; i++) {
        if (cp_kv_pool_get_stats(b->pool).n_left == 0)
            break;
        cp_kv_pool_expire(b->pool, 0, 0); /* a bounded number at a time */
    }
}

cp_status cp_text_batch_run(cp_text_batch *b, cp_text_task *task, cp_error *err) {
    task->piece_tokens = CP_TEXT_BULK_TOKENS;
    while (cp_text_batch_piece(b, task))
        ;
    if (task->status != CP_OK)
        *err = task->err;
    cp_text_batch_release(b, task);
    return task->status;
}
