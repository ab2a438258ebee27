#include "server/triage_lane.h"

#include "server/patient_notes.h"
#include "server/triage_prompt.h"

#include <string.h>

#define MAX_TEXT_BYTES ((size_t)256 << 10)

/* ---- rules ----------------------------------------------------------------------------------- */

/* What the rules find when the questions are read one after the other, each a paragraph. */
static cp_status check_together(const cp_safety *safety, const cp_patient_facts *facts,
                                const cp_conversation *past, const char *query,
                                cp_safety_finding *finding) {
    cp_safety_finding together;
    cp_strbuf text;
    cp_strbuf_init(&text, MAX_TEXT_BYTES);
    for (size_t i = 0; i < past->n_turns; i++)
        cp_strbuf_printf(&text, "%s.\n\n", past->turns[i].question);
    cp_strbuf_puts(&text, query);
    cp_status status = text.failed;
    if (status == CP_OK) {
        cp_safety_check(safety, cp_strbuf_text(&text), facts, &together);
        for (size_t i = 0; i < together.n; i++)
            cp_safety_add_earlier(finding, together.rules[i]);
    }
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status check(const cp_safety *safety, const cp_patient_facts *facts,
                       const cp_conversation *past, const char *query, cp_safety_finding *finding) {
    cp_safety_check(safety, query, facts, finding);
    if (!past)
        return CP_OK;
    for (size_t i = 0; i < past->n_flags; i++)
        cp_safety_add_earlier(finding, past->flags[i].rule);
    return past->n_turns > 0 ? check_together(safety, facts, past, query, finding) : CP_OK;
}

/* ---- prompt ---------------------------------------------------------------------------------- */

/* How many of the last turns the model can be told, beside a message of `n_tokens`. */
static cp_status choose_turns(const cp_triage_past *past, size_t n_tokens, size_t *n) {
    const cp_conversation *c = past->conversation;
    size_t left = past->most_tokens > n_tokens ? past->most_tokens - n_tokens : 0;
    cp_strbuf text;
    left = left < past->most_turn_tokens ? left : past->most_turn_tokens;
    cp_strbuf_init(&text, MAX_TEXT_BYTES);
    for (*n = 0; *n < c->n_turns; (*n)++) {
        cp_strbuf_clear(&text);
        cp_triage_turn_append(&c->turns[c->n_turns - 1 - *n], &text);
        size_t needed = past->count_tokens(past->user, cp_strbuf_str(&text));
        if (text.failed != CP_OK || needed > left)
            break;
        left -= needed;
    }
    cp_status status = text.failed;
    cp_strbuf_deinit(&text);
    return status;
}

/* The message without earlier turns, and where there are some, then again with those that fit. */
static cp_status append_prompt(cp_str summary, cp_triage_past *past, const char *query,
                               const cp_safety_finding *finding, cp_strbuf *prompt) {
    cp_triage_turns turns = {past ? past->conversation : NULL, 0};
    size_t begin = prompt->n;
    cp_triage_prompt_append(summary, &turns, query, finding, prompt);
    if (!past || past->conversation->n_turns == 0 || prompt->failed != CP_OK)
        return prompt->failed;
    cp_str alone = {prompt->data + begin, prompt->n - begin};
    cp_status status = choose_turns(past, past->count_tokens(past->user, alone), &turns.n);
    past->n_told = turns.n;
    if (status != CP_OK || turns.n == 0)
        return status;
    cp_strbuf_truncate(prompt, begin);
    cp_triage_prompt_append(summary, &turns, query, finding, prompt);
    return prompt->failed;
}

cp_status cp_triage_prepare(const cp_safety *safety, const cp_patient_record *record,
                            cp_triage_past *past, const char *query, const char *today,
                            cp_safety_finding *finding, cp_strbuf *prompt) {
    const cp_conversation *conversation = past ? past->conversation : NULL;
    cp_patient_facts facts = cp_patient_facts_of(record, today);
    cp_patient_notes notes;
    cp_strbuf summary;
    cp_status status = check(safety, &facts, conversation, query, finding);
    if (!prompt || status != CP_OK)
        return status;
    status = cp_patient_notes_find(safety, record, conversation, finding, &notes);
    if (status != CP_OK)
        return status;
    cp_strbuf_init(&summary, CP_TRIAGE_SUMMARY_BYTES + 1);
    cp_patient_summary_append(record, &notes, today, CP_TRIAGE_SUMMARY_BYTES, &summary);
    status = summary.failed;
    if (status == CP_OK)
        status = append_prompt(cp_strbuf_str(&summary), past, query, finding, prompt);
    cp_strbuf_deinit(&summary);
    return status;
}
