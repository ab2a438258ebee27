/* What the model is told: instructions as the system message; record, sources and question as the
 * user message.
 *
 * Record, earlier turns, sources and question are data. Each of their lines is quoted with "> ", so
 * there is no closing mark that their text could forge: whatever it says, it stays inside the
 * quotation, and an entry of the record stays inside its line. (Control tokens cannot arise from it
 * either: the tokenizer reads contents as ordinary text.) The instructions are the same bytes for
 * every request, so that their tokens can be computed once. */
#ifndef CP_SERVER_TRIAGE_PROMPT_H
#define CP_SERVER_TRIAGE_PROMPT_H

#include "base/strbuf.h"
#include "retrieval/retriever.h"
#include "server/conversations.h"

extern const char cp_triage_instructions[];

/* The turns of the conversation that the model is told: the last `n` of it. */
typedef struct cp_triage_turns {
    const cp_conversation *of; /* NULL: none */
    size_t n;
} cp_triage_turns;

/* Passages that the model may cite: the first `n_told`, marked [S1], [S2], ... */
typedef struct cp_triage_sources {
    const cp_passage *passages; /* [n] best first */
    size_t n, n_told;
} cp_triage_sources;
#define CP_TRIAGE_MAX_SOURCES 20

/* Appends the user message. `summary` is the record's, `finding` what the rules saw. The earlier
 * turns stand before what changes with each question, so that their tokens are found again. */
void cp_triage_prompt_append(cp_str summary, const cp_triage_turns *turns,
                             const cp_triage_sources *sources, const char *query,
                             const cp_safety_finding *finding, cp_strbuf *out);
/* Source i (from 0) as it stands in there: its mark, then title and text, each one quoted line. */
void cp_triage_source_append(const cp_passage *passage, size_t i, cp_strbuf *out);
/* One earlier turn as it stands in there. */
void cp_triage_turn_append(const cp_conversation_turn *turn, cp_strbuf *out);
/* `text` with "> " before each line; every kind of line end counts (CR, LF, VT, FF, NEL, U+2028,
 * U+2029); other control characters become spaces, and what nobody sees (base/utf8.h) is left out,
 * so that a model reads what staff can read. */
void cp_triage_quote_append(cp_str text, cp_strbuf *out);

#endif
