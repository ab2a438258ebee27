/* A sequence: the blocks of its keys and values, its position, and what it shares with others. */
#include "engine/engine.h"

#include "base/mem.h"
#include "engine/engine_internal.h"

#include <stdlib.h>
#include <string.h>

static cp_status check_size(const cp_engine *engine, size_t max_tokens, cp_error *err) {
    if (max_tokens == 0 || max_tokens > engine->config.max_positions)
        return cp_error_set(err, CP_ERR_USAGE,
                            "context is %zu tokens, expected 1 to the model's %zu", max_tokens,
                            engine->config.max_positions);
    return CP_OK;
}

cp_status cp_engine_make_pool(const cp_engine *e, size_t n_tokens, cp_kv_pool **out,
                              cp_error *err) {
    return cp_kv_pool_create(e->kv.block_bytes, cp_kv_blocks(n_tokens), out, err);
}

cp_status cp_session_bytes(cp_engine *e, size_t max_tokens, size_t *bytes, cp_error *err) {
    cp_status status = check_size(e, max_tokens, err);
    if (status != CP_OK)
        return status;
    if (!cp_size_mul(cp_kv_blocks(max_tokens), e->kv.block_bytes, bytes))
        return cp_error_set(err, CP_ERR_LIMIT, "a context of %zu tokens does not fit in memory",
                            max_tokens);
    *bytes += (e->config.vocab_size + e->config.hidden_size) * sizeof(float) +
              cp_attention_bytes(e, max_tokens);
    return CP_OK;
}

/* ---- creation -------------------------------------------------------------------------------- */

static cp_status create(cp_engine *engine, size_t max_tokens, cp_session **out, cp_error *err) {
    *out = NULL;
    cp_status status = check_size(engine, max_tokens, err);
    if (status == CP_OK)
        status = cp_attention_reserve(engine, max_tokens, err);
    if (status != CP_OK)
        return status;
    size_t n_blocks = cp_kv_blocks(max_tokens);
    cp_session *s = calloc(1, sizeof *s);
    if (!s)
        return cp_error_no_memory(err, "session");
    s->engine = engine;
    s->max_tokens = max_tokens;
    s->blocks = calloc(n_blocks, sizeof *s->blocks);
    s->memory = calloc(n_blocks, sizeof *s->memory);
    if (!s->blocks || !s->memory) {
        cp_session_free(s);
        return cp_error_no_memory(err, "session");
    }
    *out = s;
    return CP_OK;
}

cp_status cp_session_create(cp_engine *engine, size_t max_tokens, cp_session **out, cp_error *err) {
    cp_session *s;
    cp_status status = create(engine, max_tokens, &s, err);
    *out = NULL;
    if (status != CP_OK)
        return status;
    s->owns_pool = true;
    s->logits = cp_alloc_aligned(engine->config.vocab_size, sizeof *s->logits);
    s->hidden = cp_alloc_aligned(engine->config.hidden_size, sizeof *s->hidden);
    status = s->logits && s->hidden ? cp_engine_make_pool(engine, max_tokens, &s->pool, err)
                                    : cp_error_no_memory(err, "session");
    if (status == CP_OK)
        *out = s;
    else
        cp_session_free(s);
    return status;
}

cp_status cp_session_create_in(cp_engine *engine, cp_kv_pool *pool, const char *owner,
                               size_t max_tokens, cp_session **out, cp_error *err) {
    cp_session *s;
    cp_status status = create(engine, max_tokens, &s, err);
    *out = NULL;
    if (status != CP_OK)
        return status;
    s->pool = pool;
    s->places = calloc(cp_kv_blocks(max_tokens) + 1, sizeof *s->places);
    s->ids = calloc(max_tokens, sizeof *s->ids);
    if (!s->places || !s->ids) {
        cp_session_free(s);
        return cp_error_no_memory(err, "session");
    }
    s->places[0] = cp_kv_pool_root(pool, owner);
    *out = s;
    return CP_OK;
}

void cp_session_free(cp_session *s) {
    if (!s)
        return;
    if (s->owns_pool)
        cp_kv_pool_free(s->pool);
    else
        while (s->n_blocks > 0) /* the last of a chain goes first when memory is needed */
            cp_kv_pool_drop(s->pool, s->blocks[--s->n_blocks]);
    free(s->blocks);
    free(s->memory);
    free(s->places);
    free(s->ids);
    free(s->logits);
    free(s->hidden);
    free(s);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static void set_block(cp_session *s, size_t i, cp_kv_block_id id) {
    s->blocks[i] = id;
    s->memory[i] = cp_kv_pool_memory(s->pool, id);
}

static bool append_block(cp_session *s) {
    cp_kv_block_id id = cp_kv_pool_take(s->pool);
    if (id == CP_KV_NO_BLOCK)
        return false;
    set_block(s, s->n_blocks++, id);
    return true;
}

/* Block i becomes this session's alone, with the same contents. */
static bool own_block(cp_session *s, size_t i) {
    if (cp_kv_pool_is_private(s->pool, s->blocks[i]))
        return true;
    cp_kv_block_id shared = s->blocks[i], own = cp_kv_pool_take(s->pool);
    if (own == CP_KV_NO_BLOCK)
        return false;
    memcpy(cp_kv_pool_memory(s->pool, own), s->memory[i], s->engine->kv.block_bytes);
    set_block(s, i, own);
    cp_kv_pool_drop(s->pool, shared);
    return true;
}

bool cp_session_make_room(cp_session *s, size_t n) {
    size_t first = s->n_tokens / CP_KV_BLOCK, end = cp_kv_blocks(s->n_tokens + n);
    while (s->n_blocks < end)
        if (!append_block(s))
            return false;
    for (size_t i = first; i < end; i++)
        if (!own_block(s, i))
            return false;
    return true;
}

/* The block that begins with most of the tokens to come is copied. */
static void adopt_part(cp_session *s, const int32_t *ids, size_t n) {
    size_t n_same;
    cp_kv_link next;
    cp_kv_block_id from =
        cp_kv_pool_find(s->pool, s->places[s->n_published], ids, n, &n_same, &next);
    if (from == CP_KV_NO_BLOCK)
        return;
    cp_kv_pool_hold(s->pool, from); /* or taking a block could take this one */
    if (append_block(s)) {
        memcpy(s->memory[s->n_blocks - 1], cp_kv_pool_memory(s->pool, from),
               s->engine->kv.block_bytes);
        s->n_tokens += n_same;
    }
    cp_kv_pool_drop(s->pool, from);
}

size_t cp_session_adopt(cp_session *s, const int32_t *ids, size_t n) {
    size_t most = n > s->max_tokens ? s->max_tokens : n;
    most = most > 0 ? most - 1 : 0;
    if (s->owns_pool || s->n_tokens > 0 || s->n_blocks > 0)
        return 0;
    while (s->n_tokens + CP_KV_BLOCK <= most) {
        size_t n_same;
        cp_kv_link next;
        cp_kv_block_id id = cp_kv_pool_find(s->pool, s->places[s->n_published], ids + s->n_tokens,
                                            CP_KV_BLOCK, &n_same, &next);
        if (n_same < CP_KV_BLOCK)
            break;
        cp_kv_pool_hold(s->pool, id);
        set_block(s, s->n_blocks++, id);
        s->n_tokens += CP_KV_BLOCK;
        s->places[++s->n_published] = next;
    }
    size_t left = most - s->n_tokens;
    if (left > 0)
        adopt_part(s, ids + s->n_tokens, left < CP_KV_BLOCK ? left : CP_KV_BLOCK);
    memcpy(s->ids, ids, s->n_tokens * sizeof *ids);
    return s->n_tokens;
}

void cp_session_publish(cp_session *s, bool rest) {
    if (s->owns_pool)
        return;
    for (size_t i = s->n_published; (i + 1) * CP_KV_BLOCK <= s->n_tokens; i++) {
        s->places[i + 1] = cp_kv_pool_publish(s->pool, s->places[i], s->ids + i * CP_KV_BLOCK,
                                              CP_KV_BLOCK, s->blocks[i]);
        s->n_published = i + 1;
    }
    size_t done = s->n_published * CP_KV_BLOCK;
    if (rest && done < s->n_tokens && cp_kv_pool_is_private(s->pool, s->blocks[s->n_published]))
        (void)cp_kv_pool_publish(s->pool, s->places[s->n_published], s->ids + done,
                                 s->n_tokens - done, s->blocks[s->n_published]);
}

/* ---- looking --------------------------------------------------------------------------------- */

cp_engine *cp_session_engine(const cp_session *s) {
    return s->engine;
}

size_t cp_session_n_tokens(const cp_session *s) {
    return s->n_tokens;
}

size_t cp_session_max_tokens(const cp_session *s) {
    return s->max_tokens;
}

void cp_session_rewind(cp_session *s, size_t n_tokens) {
    if (n_tokens >= s->n_tokens)
        return;
    s->n_tokens = n_tokens;
    if (n_tokens / CP_KV_BLOCK < s->n_published)
        s->n_published = n_tokens / CP_KV_BLOCK;
}

const float *cp_session_logits(const cp_session *s) {
    return s->logits;
}

const float *cp_session_hidden(const cp_session *s) {
    return s->hidden;
}
