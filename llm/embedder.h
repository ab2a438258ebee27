/* The embedding model: texts in, vectors of length 1 out (last token's hidden state, L2-normalised,
 * as Qwen3-Embedding is pooled).
 *
 * An engine of its own with its tokenizer (llm/text_batch.h): one thread works with it after it is
 * opened; name, width and tokenizer may be read by any. Documents are embedded as they are, queries
 * as cp_embedding_query_text writes them. With quantized weights a text has the same vector
 * whatever is embedded beside it; with float weights the last bits depend on the company.
 *
 * Without a server: cp_embedder_run. In a server the thread is the engine's, and work goes there as
 * an errand (server/inference.h), piece by piece between the steps of running answers:
 *
 *     static bool piece(void *user) {                in the engine's thread, again and again
 *         job *j = user;
 *         if (cp_embedder_piece(j->embedder, &j->task))
 *             return true;
 *         use j->task.work.status and j->task.out     done or failed: tell whoever waits, at once:
 *         cp_embedder_release(j->embedder, &j->task); running answers wait meanwhile
 *         return false;
 *     }
 *     cp_inference_errand(inference, piece, job, &err)   in any thread; CP_ERR_BUSY: too many
 *
 * A piece may also decide to give up (deadline, client gone): release, return false. */
#ifndef CP_LLM_EMBEDDER_H
#define CP_LLM_EMBEDDER_H

#include "llm/text_batch.h"

typedef struct cp_embedder cp_embedder;

cp_status cp_embedder_open(const char *dir, const cp_text_batch_options *options, cp_embedder **out,
                           cp_error *err) CP_MUST_CHECK;
/* The same with the defaults; n_threads 0: one a processor. */
cp_status cp_embedder_open_folder(const char *dir, size_t n_threads, cp_embedder **out,
                                  cp_error *err) CP_MUST_CHECK;
void cp_embedder_close(cp_embedder *embedder); /* NULL is allowed */

const char *cp_embedder_model(const cp_embedder *embedder); /* the folder's last component */
const char *cp_embedder_quant(const cp_embedder *embedder);
size_t cp_embedder_width(const cp_embedder *embedder);   /* values of a vector */
size_t cp_embedder_context(const cp_embedder *embedder); /* most tokens of a text */
size_t cp_embedder_n_ids(const cp_embedder *embedder);   /* ids that it can be given */

/* Appends a query as the model was trained to read it: "Instruct: {task}\nQuery:{query}". NULL:
 * CP_TEXT_SEARCH_TASK. */
void cp_embedding_query_text(const char *task, const char *query, cp_strbuf *out);

/* One of two: a text, to which the tokenizer appends what it appends, or ids as they are. Special
 * tokens in a text are ordinary text. */
typedef struct cp_embedding_input {
    const char *text;
    const int32_t *ids;
    size_t n_ids;
} cp_embedding_input;

/* What is asked. Zeroed, then filled down to `out`; stays where it is until it is released. */
typedef struct cp_embedding_task {
    const cp_embedding_input *inputs;
    size_t n_inputs;
    float *out; /* [n_inputs, width] */
    /* The embedder's. */
    cp_embedder *embedder;
    cp_text_task work; /* its status, err, n_done and n_tokens may be read */
} cp_embedding_task;

/* Does one piece of work and returns true while there is more of this task. Several tasks may take
 * turns, and go through steps together. Afterwards task->work.status says how it ended;
 * CP_ERR_LIMIT: an input has more tokens than the context. */
bool cp_embedder_piece(cp_embedder *embedder, cp_embedding_task *task) CP_MUST_CHECK;
/* Ends a task, finished or not. */
void cp_embedder_release(cp_embedder *embedder, cp_embedding_task *task);

/* All of it at once, in the caller's thread: texts [n] to out [n, width]. */
cp_status cp_embedder_run(cp_embedder *embedder, const char *const *texts, size_t n, float *out,
                          cp_error *err) CP_MUST_CHECK;

#endif
