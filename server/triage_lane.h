/* What is done with a question before a model sees it: facts of the record, rules, prompt.
 *
 * The same functions for the server and for `carepath eval`, so that what is scored is what
 * answers. Pure but for memory; any thread. */
#ifndef CP_SERVER_TRIAGE_LANE_H
#define CP_SERVER_TRIAGE_LANE_H

#include "server/conversations.h"
#include "server/patient_store.h"
#include "server/triage_prompt.h"

/* Longest summary of a record that a model is told. */
#define CP_TRIAGE_SUMMARY_BYTES 6000

/* What came before, and how much of it the model may be told. */
typedef struct cp_triage_past {
    const cp_conversation *conversation;
    /* Earlier turns leave out their oldest, and sources their last, until each are at most this,
     * and the user message with them at most that, in tokens as `count_tokens` counts. */
    size_t most_turn_tokens, most_source_tokens, most_tokens;
    size_t (*count_tokens)(void *user, cp_str text);
    void *user;
    size_t n_told; /* out: turns that the prompt holds */
} cp_triage_past;

/* Checks `query` against the rules with what `record` (NULL: not known) says on the day `today`
 * ("YYYY-MM-DD").
 *
 * With a `past` (NULL: none) a warning of an earlier turn stays one, whatever is asked now, and the
 * rules also read the earlier questions and this one as one text: chest pain now and breathlessness
 * a turn later are found together. So the floor never falls within a conversation.
 *
 * CP_ERR_NO_MEMORY; the finding is complete in any case, but for what the turns say together. */
cp_status cp_triage_check(const cp_safety *safety, const cp_patient_record *record,
                          const cp_triage_past *past, const char *query, const char *today,
                          cp_safety_finding *finding) CP_MUST_CHECK;

/* What is asked and known, for the prompt. */
typedef struct cp_triage_told {
    const cp_patient_record *record;
    cp_triage_past *past;       /* NULL: none */
    cp_triage_sources *sources; /* n_told is set: as many as fit. NULL: none */
    const char *query, *today;
    const cp_safety_finding *finding;
    cp_strbuf *given; /* what of it is no model's word is appended here: all but earlier answers.
                         NULL: not wanted */
} cp_triage_told;
/* Appends the model's user message to `prompt`. CP_ERR_NO_MEMORY, or what the prompt failed with.
 */
cp_status cp_triage_write_prompt(const cp_safety *safety, const cp_triage_told *told,
                                 cp_strbuf *prompt) CP_MUST_CHECK;

#endif
