#include "llm/embedder.h"

#include <stdlib.h>
#include <string.h>

struct cp_embedder {
    cp_text_batch *batch;
};

cp_status cp_embedder_open(const char *dir, const cp_text_batch_options *options, cp_embedder **out,
                           cp_error *err) {
    *out = NULL;
    cp_embedder *e = calloc(1, sizeof *e);
    if (!e)
        return cp_error_no_memory(err, "the embedding model");
    cp_status status = cp_text_batch_open(dir, options, &e->batch, err);
    if (status == CP_OK)
        *out = e;
    else
        free(e);
    return status;
}

cp_status cp_embedder_open_folder(const char *dir, size_t n_threads, cp_embedder **out,
                                  cp_error *err) {
    return cp_embedder_open(dir, &(cp_text_batch_options){.n_threads = n_threads}, out, err);
}

void cp_embedder_close(cp_embedder *e) {
    if (!e)
        return;
    cp_text_batch_close(e->batch);
    free(e);
}

const char *cp_embedder_model(const cp_embedder *e) {
    return cp_text_batch_model(e->batch);
}

const char *cp_embedder_quant(const cp_embedder *e) {
    return cp_engine_quant(cp_text_batch_engine(e->batch));
}

size_t cp_embedder_width(const cp_embedder *e) {
    return cp_engine_config(cp_text_batch_engine(e->batch))->hidden_size;
}

size_t cp_embedder_context(const cp_embedder *e) {
    return cp_text_batch_context(e->batch);
}

size_t cp_embedder_n_ids(const cp_embedder *e) {
    return cp_engine_config(cp_text_batch_engine(e->batch))->vocab_size;
}

void cp_embedding_query_text(const char *task, const char *query, cp_strbuf *out) {
    cp_strbuf_printf(out, "Instruct: %s\nQuery:%s", task ? task : CP_TEXT_SEARCH_TASK, query);
}

/* ---- working --------------------------------------------------------------------------------- */

static cp_status encode(void *user, size_t i, cp_ids *out, cp_error *err) {
    const cp_embedding_task *task = user;
    const cp_embedding_input *input = &task->inputs[i];
    const cp_encode_options options = {.post_process = true};
    if (input->text)
        return cp_tokenizer_encode(cp_text_batch_tokenizer(task->embedder->batch), input->text,
                                   strlen(input->text), &options, out, err);
    cp_status status = CP_OK;
    for (size_t k = 0; k < input->n_ids && status == CP_OK; k++)
        status = cp_ids_push(out, input->ids[k], err);
    return status;
}

static void take(void *user, size_t i, const float *hidden) {
    const cp_embedding_task *task = user;
    size_t width = cp_embedder_width(task->embedder);
    cp_embedding_of_hidden(hidden, width, task->out + i * width);
}

static void prepare(cp_embedder *e, cp_embedding_task *task) {
    task->embedder = e;
    task->work.n_texts = task->n_inputs;
    task->work.encode = encode;
    task->work.on_hidden = take;
    task->work.user = task;
}

bool cp_embedder_piece(cp_embedder *e, cp_embedding_task *task) {
    prepare(e, task);
    return cp_text_batch_piece(e->batch, &task->work);
}

void cp_embedder_release(cp_embedder *e, cp_embedding_task *task) {
    cp_text_batch_release(e->batch, &task->work);
}

cp_status cp_embedder_run(cp_embedder *e, const char *const *texts, size_t n, float *out,
                          cp_error *err) {
    cp_embedding_input *inputs = calloc(n ? n : 1, sizeof *inputs);
    if (!inputs)
        return cp_error_no_memory(err, "texts to embed");
    for (size_t i = 0; i < n; i++)
        inputs[i].text = texts[i];
    cp_embedding_task task = {.inputs = inputs, .n_inputs = n, .out = out};
    prepare(e, &task);
    cp_status status = cp_text_batch_run(e->batch, &task.work, err);
    free(inputs);
    return status;
}
