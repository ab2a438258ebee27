#include "llm/reranker.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The prompt, as the model was trained. What is the template's own is control; the rest is not. */
#define BEFORE                                                                                     \
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "    \
    "and "                                                                                         \
    "the Instruct provided. Note that the answer can only be \"yes\" or "                          \
    "\"no\".<|im_end|>\n<|im_start|>user\n"
#define BEHIND "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

struct cp_reranker {
    cp_text_batch *batch;
    int32_t yes, no;
};

/* ---- opening --------------------------------------------------------------------------------- */

static cp_status find_word(const cp_reranker *r, const char *dir, const char *word, int32_t *out,
                           cp_error *err) {
    cp_ids ids = {0};
    cp_status status = cp_tokenizer_encode(cp_text_batch_tokenizer(r->batch), word, strlen(word),
                                           &(cp_encode_options){0}, &ids, err);
    if (status == CP_OK && ids.n != 1)
        status = cp_error_set(err, CP_ERR_UNSUPPORTED,
                              "%s/tokenizer.json: \"%s\" is %zu tokens, expected 1: this model "
                              "cannot be asked for yes or no",
                              dir, word, ids.n);
    if (status == CP_OK)
        *out = ids.ids[0];
    cp_ids_deinit(&ids);
    return status;
}

static cp_status check_mark(const cp_reranker *r, const char *dir, const char *mark,
                            cp_error *err) {
    if (cp_tokenizer_added_id(cp_text_batch_tokenizer(r->batch), mark) >= 0)
        return CP_OK;
    return cp_error_set(err, CP_ERR_UNSUPPORTED,
                        "%s/tokenizer.json: no token %s, which the reranker's prompt needs", dir,
                        mark);
}

static cp_status open_parts(cp_reranker *r, const char *dir, const cp_text_batch_options *options,
                            cp_error *err) {
    cp_status status = cp_text_batch_open(dir, options, &r->batch, err);
    if (status == CP_OK)
        status = check_mark(r, dir, "<|im_start|>", err);
    if (status == CP_OK)
        status = check_mark(r, dir, "<|im_end|>", err);
    if (status == CP_OK)
        status = find_word(r, dir, "yes", &r->yes, err);
    return status == CP_OK ? find_word(r, dir, "no", &r->no, err) : status;
}

cp_status cp_reranker_open(const char *dir, const cp_text_batch_options *options, cp_reranker **out,
                           cp_error *err) {
    *out = NULL;
    cp_reranker *r = calloc(1, sizeof *r);
    if (!r)
        return cp_error_no_memory(err, "the reranking model");
    cp_status status = open_parts(r, dir, options, err);
    if (status == CP_OK)
        *out = r;
    else
        cp_reranker_close(r);
    return status;
}

cp_status cp_reranker_open_folder(const char *dir, size_t n_threads, cp_reranker **out,
                                  cp_error *err) {
    return cp_reranker_open(dir, &(cp_text_batch_options){.n_threads = n_threads}, out, err);
}

void cp_reranker_close(cp_reranker *r) {
    if (!r)
        return;
    cp_text_batch_close(r->batch);
    free(r);
}

const char *cp_reranker_model(const cp_reranker *r) {
    return cp_text_batch_model(r->batch);
}

const char *cp_reranker_quant(const cp_reranker *r) {
    return cp_engine_quant(cp_text_batch_engine(r->batch));
}

size_t cp_reranker_context(const cp_reranker *r) {
    return cp_text_batch_context(r->batch);
}

int32_t cp_reranker_yes(const cp_reranker *r) {
    return r->yes;
}

int32_t cp_reranker_no(const cp_reranker *r) {
    return r->no;
}

/* ---- the prompt ------------------------------------------------------------------------------ */

static void write_question(const char *instruction, const char *query, cp_strbuf *out) {
    cp_strbuf_puts(out, BEFORE "<Instruct>: ");
    cp_strbuf_puts(out, instruction ? instruction : CP_TEXT_SEARCH_TASK);
    cp_strbuf_puts(out, "\n<Query>: ");
    cp_strbuf_puts(out, query);
    cp_strbuf_puts(out, "\n<Document>:");
}

/* With doc NULL what is before it, up to a place where no token reaches across. */
static cp_status encode_prompt(const cp_reranker *r, const char *instruction, const char *query,
                               const cp_str *doc, cp_ids *out, cp_error *err) {
    cp_strbuf text;
    cp_strbuf_init(&text, CP_TOKENIZER_MAX_TEXT);
    write_question(instruction, query, &text);
    if (doc) {
        cp_strbuf_puts(&text, " ");
        cp_strbuf_append(&text, doc->data, doc->n);
    }
    size_t end = text.n;
    cp_span control[2] = {{0, sizeof BEFORE - 1}};
    if (doc)
        cp_strbuf_puts(&text, BEHIND);
    control[1] = (cp_span){end, text.n};
    const cp_encode_options options = {.control = control, .n_control = doc ? 2 : 1};
    cp_status status = cp_strbuf_check(&text, "a document to rank", err);
    if (status == CP_OK)
        status = cp_tokenizer_encode(cp_text_batch_tokenizer(r->batch), cp_strbuf_text(&text),
                                     text.n, &options, out, err);
    cp_strbuf_deinit(&text);
    return status;
}

cp_status cp_reranker_prompt_ids(const cp_reranker *r, const char *instruction, const char *query,
                                 cp_str doc, cp_ids *out, cp_error *err) {
    return encode_prompt(r, instruction, query, &doc, out, err);
}

/* ---- working --------------------------------------------------------------------------------- */

static cp_status encode(void *user, size_t i, cp_ids *out, cp_error *err) {
    const cp_rerank_task *task = user;
    const cp_str *doc = i == CP_TEXT_SHARED ? NULL : &task->docs[i];
    return encode_prompt(task->reranker, task->instruction, task->query, doc, out, err);
}

static void take(void *user, size_t i, const float *logits) {
    cp_rerank_task *task = user;
    double distance = (double)logits[task->reranker->no] - (double)logits[task->reranker->yes];
    if (isnan(distance))
        task->work.status =
            cp_error_set(&task->work.err, CP_ERR_FORMAT, "the model's logits are no numbers");
    task->scores[i] = (float)(1 / (1 + exp(distance)));
}

static void prepare(cp_reranker *r, cp_rerank_task *task) {
    task->reranker = r;
    task->work.n_texts = task->n_docs;
    task->work.encode = encode;
    task->work.shares = true;
    task->work.on_logits = take;
    task->work.user = task;
}

bool cp_reranker_piece(cp_reranker *r, cp_rerank_task *task) {
    prepare(r, task);
    return cp_text_batch_piece(r->batch, &task->work);
}

void cp_reranker_release(cp_reranker *r, cp_rerank_task *task) {
    cp_text_batch_release(r->batch, &task->work);
}

cp_status cp_reranker_run(cp_reranker *r, const char *instruction, const char *query,
                          const cp_str *docs, size_t n_docs, float *scores, cp_error *err) {
    cp_rerank_task task = {.instruction = instruction,
                           .query = query,
                           .docs = docs,
                           .n_docs = n_docs,
                           .scores = scores};
    prepare(r, &task);
    return cp_text_batch_run(r->batch, &task.work, err);
}
