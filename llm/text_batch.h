/* Many texts through a model together, each for what its last token gives: what the embedder and
 * the reranker share.
 *
 *     task ─► its next texts become tokens ─► lanes ─► a step of so many tokens, oldest lane first
 *          ◄─ hidden state or logits of a text's last token, as lanes come to their end
 *
 * A batch is an engine of its own with its tokenizer, and a pool of keys and values in which every
 * text that is under way has a lane. Lanes of several tasks go through one step; with quantized
 * weights each gets the same bits as alone. A task may name a beginning that all its texts share:
 * it is computed once. Keys and values are cleared when no text is under way. One thread works with
 * a batch; what is constant in it (tokenizer, configuration) may be read by any. */
#ifndef CP_LLM_TEXT_BATCH_H
#define CP_LLM_TEXT_BATCH_H

#include "engine/engine.h"
#include "tokenizer/tokenizer.h"

#include <stdbool.h>

typedef struct cp_text_batch cp_text_batch;

/* What is looked for, unless a caller says otherwise: the instruction that both kinds of models
 * read with a query. */
#define CP_TEXT_SEARCH_TASK                                                                        \
    "Given a question about a patient, retrieve passages of the medical record or of a clinical "  \
    "guideline that help to answer it"

typedef struct cp_text_batch_options {
    size_t n_threads; /* 0: one a processor this process may use */
    size_t context;   /* most tokens of a text; 0: 8192. Never more than the model's */
    cp_kv kv;
} cp_text_batch_options;

cp_status cp_text_batch_open(const char *dir, const cp_text_batch_options *options,
                             cp_text_batch **out, cp_error *err) CP_MUST_CHECK;
void cp_text_batch_close(cp_text_batch *batch); /* NULL is allowed */

const char *cp_text_batch_model(const cp_text_batch *batch); /* the folder's last component */
const cp_tokenizer *cp_text_batch_tokenizer(const cp_text_batch *batch);
const cp_engine *cp_text_batch_engine(const cp_text_batch *batch);
size_t cp_text_batch_context(const cp_text_batch *batch); /* most tokens of a text */

/* Tokens of a step: between two of these running answers wait, some 100 ms with a model of 0.6B on
 * two cores; and where nobody waits. */
#define CP_TEXT_PIECE_TOKENS ((size_t)64)
#define CP_TEXT_BULK_TOKENS  ((size_t)CP_STEP_MAX_TOKENS)

/* What is asked, and how far it is. Zeroed, then filled down to `user`. */
typedef struct cp_text_task {
    size_t n_texts;
    size_t piece_tokens; /* 0: CP_TEXT_PIECE_TOKENS */
    /* Appends the ids of text i to out; of CP_TEXT_SHARED: those that all texts begin with. */
    cp_status (*encode)(void *user, size_t i, cp_ids *out, cp_error *err);
    bool shares; /* there are such */
    /* Exactly one: the last token's hidden state [hidden_size], or its logits [vocab_size]. */
    void (*on_hidden)(void *user, size_t i, const float *hidden);
    void (*on_logits)(void *user, size_t i, const float *logits);
    void *user;
    /* Progress, the batch's. */
    bool is_known;          /* to the batch: a piece was done */
    size_t n_begun, n_done; /* texts */
    size_t n_tokens;        /* of those that were begun */
    enum { CP_SHARED_NOT, CP_SHARED_BEGUN, CP_SHARED_THERE } shared;
    cp_status status;
    cp_error err;
} cp_text_task;
#define CP_TEXT_SHARED SIZE_MAX

/* Does one piece of work, one step and a few tokenizations, and returns true while there is more of
 * this task. Several tasks may take turns; a step's tokens are those of the oldest texts,
 * whosesoever they are. Afterwards task->status says how it ended; CP_ERR_LIMIT: a text has no
 * token, or more than the context. */
bool cp_text_batch_piece(cp_text_batch *batch, cp_text_task *task) CP_MUST_CHECK;
/* Ends a task, finished or not: its callbacks are not called any more. In the batch's thread; any
 * other may do it, without effect, for a task of which no piece was done. */
void cp_text_batch_release(cp_text_batch *batch, cp_text_task *task);
/* All pieces, in the caller's thread, with CP_TEXT_BULK_TOKENS. */
cp_status cp_text_batch_run(cp_text_batch *batch, cp_text_task *task, cp_error *err) CP_MUST_CHECK;

#endif
