/* The reranking model: how well each of some documents answers a query, 0 to 1.
 *
 * Qwen3-Reranker's way: one prompt a document, which asks for "yes" or "no"; the score is the share
 * of "yes" in the softmax of those two tokens' logits at the last position. Any model with Qwen's
 * chat tokens and a token each for "yes" and "no" can be asked so; one that was trained for it
 * should be. The prompt up to the document is computed once for all of them. Queries and documents
 * are data: special tokens in them are ordinary text.
 *
 * Threads, and work as an errand of a server's engine thread: as llm/embedder.h says. */
#ifndef CP_LLM_RERANKER_H
#define CP_LLM_RERANKER_H

#include "llm/text_batch.h"

typedef struct cp_reranker cp_reranker;

/* CP_ERR_UNSUPPORTED: the tokenizer has no such tokens. */
cp_status cp_reranker_open(const char *dir, const cp_text_batch_options *options, cp_reranker **out,
                           cp_error *err) CP_MUST_CHECK;
/* The same with the defaults; n_threads 0: one a processor. */
cp_status cp_reranker_open_folder(const char *dir, size_t n_threads, cp_reranker **out,
                                  cp_error *err) CP_MUST_CHECK;
void cp_reranker_close(cp_reranker *reranker); /* NULL is allowed */

const char *cp_reranker_model(const cp_reranker *reranker); /* the folder's last component */
const char *cp_reranker_quant(const cp_reranker *reranker);
size_t cp_reranker_context(const cp_reranker *reranker); /* most tokens of prompt and document */

/* What is asked. Zeroed, then filled down to `scores`; stays where it is until it is released. */
typedef struct cp_rerank_task {
    const char *instruction; /* what a match is; NULL: CP_TEXT_SEARCH_TASK */
    const char *query;
    const cp_str *docs; /* [n_docs] */
    size_t n_docs;
    float *scores; /* [n_docs] */
    /* The reranker's. */
    cp_reranker *reranker;
    cp_text_task work; /* its status, err, n_done and n_tokens may be read */
} cp_rerank_task;

/* Does one piece of work and returns true while there is more of this task. Afterwards
 * task->work.status says how it ended; CP_ERR_LIMIT: a document does not fit in the context beside
 * the query. */
bool cp_reranker_piece(cp_reranker *reranker, cp_rerank_task *task) CP_MUST_CHECK;
/* Ends a task, finished or not. */
void cp_reranker_release(cp_reranker *reranker, cp_rerank_task *task);

/* All of it at once, in the caller's thread. */
cp_status cp_reranker_run(cp_reranker *reranker, const char *instruction, const char *query,
                          const cp_str *docs, size_t n_docs, float *scores,
                          cp_error *err) CP_MUST_CHECK;

/* The prompt of one document: what is computed, for tests and for those who wonder. */
cp_status cp_reranker_prompt_ids(const cp_reranker *reranker, const char *instruction,
                                 const char *query, cp_str doc, cp_ids *out,
                                 cp_error *err) CP_MUST_CHECK;
/* The tokens whose logits are compared. */
int32_t cp_reranker_yes(const cp_reranker *reranker);
int32_t cp_reranker_no(const cp_reranker *reranker);

#endif
