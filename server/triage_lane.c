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

cp_status cp_triage_check(const cp_safety *safety, const cp_patient_record *record,
                          const cp_triage_past *past, const char *query, const char *today,
                          cp_safety_finding *finding) {
    cp_patient_facts facts = cp_patient_facts_of(record, today);
    return check(safety, &facts, past ? past->conversation : NULL, query, finding);
}

/* ---- prompt ---------------------------------------------------------------------------------- */

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* How many of the last turns, or of the first sources, fit into `left` tokens: `put` writes the
 * i-th that is tried. What they take is taken off `*left`. */
static cp_status count_fitting(const cp_triage_past *past, size_t n_all, size_t most,
                               void (*put)(const void *from, size_t i, cp_strbuf *out),
                               const void *from, size_t *left, size_t *n) {
    cp_strbuf text;
    size_t room = smaller(*left, most), begun = room;
    cp_strbuf_init(&text, MAX_TEXT_BYTES);
    for (*n = 0; *n < n_all; (*n)++) {
        cp_strbuf_clear(&text);
        put(from, *n, &text);
        size_t needed = past->count_tokens(past->user, cp_strbuf_str(&text));
        if (text.failed != CP_OK || needed > room)
            break;
        room -= needed;
    }
    *left -= begun - room;
    cp_status status = text.failed == CP_ERR_LIMIT ? CP_OK : text.failed;
    cp_strbuf_deinit(&text);
    return status;
}

static void put_turn(const void *from, size_t i, cp_strbuf *out) {
    const cp_conversation *c = from;
    cp_triage_turn_append(&c->turns[c->n_turns - 1 - i], out);
}

static void put_source(const void *from, size_t i, cp_strbuf *out) {
    cp_triage_source_append((const cp_passage *)from + i, i, out);
}

/* Sources and turns that fit beside a message of `n_tokens`: sources first. */
static cp_status choose(cp_triage_past *past, size_t n_tokens, cp_triage_sources *sources,
                        cp_triage_turns *turns) {
    size_t left = past->most_tokens > n_tokens ? past->most_tokens - n_tokens : 0;
    const cp_conversation *c = past->conversation;
    cp_status status = count_fitting(past, sources->n, past->most_source_tokens, put_source,
                                     sources->passages, &left, &sources->n_told);
    if (status == CP_OK && c)
        status =
            count_fitting(past, c->n_turns, past->most_turn_tokens, put_turn, c, &left, &turns->n);
    past->n_told = turns->n;
    return status;
}

/* The message without turns and sources, and where there are some, then again with those that fit.
 */
static cp_status append_prompt(cp_str summary, const cp_triage_told *told, cp_strbuf *prompt) {
    cp_triage_past *past = told->past;
    cp_triage_sources none = {.n = 0}, *sources = told->sources ? told->sources : &none;
    cp_triage_turns turns = {past ? past->conversation : NULL, 0};
    size_t begin = prompt->n;
    sources->n_told = past ? 0 : sources->n; /* without a past nobody says what fits */
    cp_triage_prompt_append(summary, &turns, sources, told->query, told->finding, prompt);
    bool more = past && (sources->n > 0 || (turns.of && turns.of->n_turns > 0));
    if (!more || prompt->failed != CP_OK)
        return prompt->failed;
    cp_str alone = {prompt->data + begin, prompt->n - begin};
    cp_status status = choose(past, past->count_tokens(past->user, alone), sources, &turns);
    if (status != CP_OK || turns.n + sources->n_told == 0)
        return status;
    cp_strbuf_truncate(prompt, begin);
    cp_triage_prompt_append(summary, &turns, sources, told->query, told->finding, prompt);
    return prompt->failed;
}

/* Record, sources, rules and questions, without what a model answered to earlier ones. */
static cp_status append_given(cp_str summary, const cp_triage_told *told, cp_strbuf *given) {
    const cp_triage_sources none = {.n = 0};
    const cp_triage_turns no_turns = {.n = 0};
    const cp_conversation *c = told->past ? told->past->conversation : NULL;
    cp_triage_prompt_append(summary, &no_turns, told->sources ? told->sources : &none, told->query,
                            told->finding, given);
    for (size_t i = 0; c && i < c->n_turns; i++)
        cp_strbuf_printf(given, "%s\n", c->turns[i].question);
    return given->failed;
}

cp_status cp_triage_write_prompt(const cp_safety *safety, const cp_triage_told *told,
                                 cp_strbuf *prompt) {
    cp_patient_notes notes;
    cp_strbuf summary;
    cp_status status = cp_patient_notes_find(
        safety, told->record, told->past ? told->past->conversation : NULL, told->finding, &notes);
    if (status != CP_OK)
        return status;
    cp_strbuf_init(&summary, CP_TRIAGE_SUMMARY_BYTES + 1);
    cp_patient_summary_append(told->record, &notes, told->today, CP_TRIAGE_SUMMARY_BYTES, &summary);
    status = summary.failed;
    if (status == CP_OK)
        status = append_prompt(cp_strbuf_str(&summary), told, prompt);
    if (status == CP_OK && told->given)
        status = append_given(cp_strbuf_str(&summary), told, told->given);
    cp_strbuf_deinit(&summary);
    return status;
}
