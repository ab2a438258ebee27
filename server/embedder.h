/* The embedding model: texts in, vectors of length 1 out (last token's hidden state, L2-normalised,
 * as Qwen3-Embedding is pooled).
 *
 * A second engine with its own tokenizer and one session. After it is opened only one thread works
 * with it: the one that runs the errands (server/inference.h), in pieces of one tokenization or at
 * most 64 tokens, so that running answers hardly pause. Name, width and tokenizer
 * may be read by any thread. */
#ifndef CP_SERVER_EMBEDDER_H
#define CP_SERVER_EMBEDDER_H

#include "engine/engine.h"
#include "server/settings.h"
#include "tokenizer/tokenizer.h"

typedef struct cp_embedder cp_embedder;

/* The model that EMBEDDING_MODEL names; *out is NULL with CP_OK when it names none. */
cp_status cp_embedder_open(const cp_settings *settings, cp_embedder **out,
                           cp_error *err) CP_MUST_CHECK;
void cp_embedder_close(cp_embedder *embedder); /* NULL is allowed */

const char *cp_embedder_model(const cp_embedder *embedder); /* the folder's last component */
const char *cp_embedder_quant(const cp_embedder *embedder);
size_t cp_embedder_width(const cp_embedder *embedder);   /* values of a vector */
size_t cp_embedder_context(const cp_embedder *embedder); /* most tokens of a text */
size_t cp_embedder_n_ids(const cp_embedder *embedder);   /* ids that it can be given */

/* One of two: a text, to which the tokenizer appends what it appends, or ids as they are. */
typedef struct cp_embedding_input {
    const char *text;
    const int32_t *ids;
    size_t n_ids;
} cp_embedding_input;

/* What is asked, and how far it is. Zeroed, then filled down to `out`. */
typedef struct cp_embedding_task {
    const cp_embedding_input *inputs;
    size_t n_inputs;
    float *out; /* [n_inputs, width] */
    /* Progress, the embedder's. */
    size_t n_done;   /* inputs */
    size_t n_tokens; /* of those that were begun */
    cp_ids ids;      /* of the input that is begun */
    size_t n_eval;   /* of those */
    bool begun;
    cp_status status;
    cp_error err;
} cp_embedding_task;

/* Does one piece of work and returns true while there is more of this task. Several tasks may take
 * turns; one text is finished before another task's is begun. Afterwards task->status says how it
 * ended; CP_ERR_LIMIT: an input has more tokens than the context. */
bool cp_embedder_piece(cp_embedder *embedder, cp_embedding_task *task) CP_MUST_CHECK;
/* Ends a task, finished or not. */
void cp_embedder_release(cp_embedder *embedder, cp_embedding_task *task);

#endif
