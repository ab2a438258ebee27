#include "server/embedder.h"

#include "base/file.h"
#include "base/mem.h"
#include "server/model_path.h"

#include <stdlib.h>
#include <string.h>

/* Streams wait for a piece: with a model of 0.6B some 100 ms on two cores. Fixed, so that a vector
 * does not depend on the company. */
#define PIECE_TOKENS ((size_t)64)

struct cp_embedder {
    char *model;
    cp_tokenizer *tok;
    cp_engine *engine;
    cp_session *session;
    size_t context;
    cp_embedding_task *holder; /* whose text is in the session; NULL: nobody's */
};

/* ---- opening --------------------------------------------------------------------------------- */

static cp_status check_vocabulary(const cp_embedder *e, const char *dir, cp_error *err) {
    size_t n_ids = cp_tokenizer_n_ids(e->tok), rows = cp_engine_config(e->engine)->vocab_size;
    if (n_ids <= rows)
        return CP_OK;
    return cp_error_set(err, CP_ERR_FORMAT,
                        "%s/tokenizer.json: token id %zu is beyond config.json's vocab_size %zu",
                        dir, n_ids - 1, rows);
}

static cp_status open_parts(cp_embedder *e, const char *dir, const cp_settings *settings,
                            cp_error *err) {
    size_t context = (size_t)settings->context_tokens;
    const cp_engine_options options = {
        .n_threads = (size_t)settings->threads,
        .kv = (cp_kv)settings->kv_cache,
        .plan_tokens = context,
    };
    cp_status status = cp_engine_open(dir, &options, &e->engine, err);
    if (status == CP_OK)
        status = cp_tokenizer_open(dir, &e->tok, err);
    if (status == CP_OK)
        status = check_vocabulary(e, dir, err);
    if (status != CP_OK)
        return status;
    size_t most = cp_engine_config(e->engine)->max_positions;
    e->context = context < most ? context : most;
    return cp_session_create(e->engine, e->context, &e->session, err);
}

cp_status cp_embedder_open(const cp_settings *settings, cp_embedder **out, cp_error *err) {
    char dir[CP_PATH_CAP];
    *out = NULL;
    if (!*settings->embedding_model)
        return CP_OK;
    cp_status status = cp_model_path_find("EMBEDDING_MODEL", settings->embedding_model,
                                          settings->model_cache_dir, "", dir, err);
    if (status != CP_OK)
        return status;
    cp_embedder *e = calloc(1, sizeof *e);
    cp_str name = cp_path_last(dir);
    if (e)
        e->model = cp_copy_bytes(name.data, name.n);
    status = e && e->model ? open_parts(e, dir, settings, err)
                           : cp_error_no_memory(err, "the embedding model");
    if (status == CP_OK) {
        *out = e;
        return CP_OK;
    }
    cp_embedder_close(e);
    return cp_error_prefix(err, "EMBEDDING_MODEL");
}

void cp_embedder_close(cp_embedder *e) {
    if (!e)
        return;
    cp_session_free(e->session);
    cp_tokenizer_close(e->tok);
    if (e->engine)
        cp_engine_close(e->engine);
    free(e->model);
    free(e);
}

const char *cp_embedder_model(const cp_embedder *e) {
    return e->model;
}

const char *cp_embedder_quant(const cp_embedder *e) {
    return cp_engine_quant(e->engine);
}

size_t cp_embedder_width(const cp_embedder *e) {
    return cp_engine_config(e->engine)->hidden_size;
}

size_t cp_embedder_context(const cp_embedder *e) {
    return e->context;
}

size_t cp_embedder_n_ids(const cp_embedder *e) {
    return cp_engine_config(e->engine)->vocab_size;
}

/* ---- working --------------------------------------------------------------------------------- */

/* The next input's ids into task->ids, and an empty session. */
static cp_status begin(cp_embedder *e, cp_embedding_task *task, cp_error *err) {
    const cp_embedding_input *input = &task->inputs[task->n_done];
    const cp_encode_options options = {.post_process = true};
    cp_status status = CP_OK;
    task->ids.n = task->n_eval = 0;
    if (input->text)
        status = cp_tokenizer_encode(e->tok, input->text, strlen(input->text), &options, &task->ids,
                                     err);
    for (size_t i = 0; !input->text && i < input->n_ids && status == CP_OK; i++)
        status = cp_ids_push(&task->ids, input->ids[i], err);
    if (status == CP_OK && (task->ids.n == 0 || task->ids.n > e->context))
        status = cp_error_set(err, CP_ERR_LIMIT, "an input has %zu tokens, expected 1 to %zu",
                              task->ids.n, e->context);
    if (status != CP_OK)
        return status;
    cp_session_rewind(e->session, 0);
    task->n_tokens += task->ids.n;
    task->begun = true;
    return CP_OK;
}

static cp_status go_on(cp_embedder *e, cp_embedding_task *task, cp_error *err) {
    size_t left = task->ids.n - task->n_eval;
    size_t n = left < PIECE_TOKENS ? left : PIECE_TOKENS;
    cp_status status = cp_session_eval(e->session, task->ids.ids + task->n_eval, n, NULL, err);
    task->n_eval += n;
    if (status != CP_OK || n < left)
        return status;
    cp_session_embedding(e->session, task->out + task->n_done * cp_embedder_width(e));
    task->n_done++;
    task->begun = false;
    return CP_OK;
}

static bool is_over(const cp_embedding_task *task) {
    return task->status != CP_OK || task->n_done == task->n_inputs;
}

/* Works on the text that is begun, also when that is another task's: whoever is asked next, all
 * come to their end. */
bool cp_embedder_piece(cp_embedder *e, cp_embedding_task *task) {
    if (is_over(task))
        return false;
    cp_embedding_task *now = e->holder ? e->holder : task;
    now->status = now->begun ? go_on(e, now, &now->err) : begin(e, now, &now->err);
    e->holder = now->begun && now->status == CP_OK ? now : NULL;
    return !is_over(task);
}

void cp_embedder_release(cp_embedder *e, cp_embedding_task *task) {
    if (e->holder == task)
        e->holder = NULL;
    cp_ids_deinit(&task->ids);
}
