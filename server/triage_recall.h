/* What came before a question of /triage: its conversation, the notes on its patient, and how much
 * of it the model can be told beside record, question and answer.
 *
 * One thread at a time; it lies where its job lies and is not copied. */
#ifndef CP_SERVER_TRIAGE_RECALL_H
#define CP_SERVER_TRIAGE_RECALL_H

#include "server/inference.h"
#include "server/triage_lane.h"

typedef struct cp_triage_recall {
    cp_conversation_key key; /* session "" where the question has none */
    cp_conversation earlier;
    cp_triage_past past; /* of `earlier` */
    const cp_inference *inference;
} cp_triage_recall;

/* What is asked, borrowed during the call. */
typedef struct cp_triage_recall_for {
    const char *owner, *mrn, *session_id; /* session_id may be NULL */
    size_t context_tokens;                /* where there is no model (yet) to tell it */
    size_t answer_tokens;                 /* that the answer may take */
} cp_triage_recall_for;

/* Finds it; nothing is no error. Turns may take a quarter of the context, sources another, and
 * never the answer's room (of which half a context counts). Tokens are counted by the model's
 * tokenizer in the caller's thread, some milliseconds at most. Release with deinit,
 * also after failure. */
cp_status cp_triage_recall_read(cp_triage_recall *recall, cp_conversations *all,
                                const cp_inference *inference, const cp_triage_recall_for *what,
                                cp_error *err) CP_MUST_CHECK;
/* Also of one that is all zeros. */
void cp_triage_recall_deinit(cp_triage_recall *recall);

#endif
