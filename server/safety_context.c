/* Negation and history: what stands around a phrase and takes it away.
 *
 * Both are narrow grammars, because every phrase they wrongly take away is a missed emergency.
 *
 * An occurrence of a phrase is negated when a negator of the rule file ("no", "denies", "do not
 * have") stands right before it, with nothing between but a few bridging words ("any", "signs of");
 * or when "or" joins it to an occurrence that is itself negated. All on one side of any
 * punctuation, within REACH words, with no other word between: "no idea why my chest hurts" is not
 * a negation. It is undone by a negative word before the negator ("not without"), by a word in or
 * after the phrase that tells of its going on ("no chest pain is worse", "but"), and for phrases
 * that are negative themselves ("cant breathe").
 *
 * Only a phrase with the name of an event ("stroke", "seizure") can be history. It is when
 * "history of" or the like stands right before it, or a time long past ("years ago", "in 2010") is
 * near it, without punctuation between. It is undone by any word that speaks of now in the same
 * sentence, and by one that compares ("again", "the same") in this or the neighbouring ones. Whose
 * history it is does not matter: "my father had a stroke in 2010" is history, "my father is having
 * a stroke" is not. */
#include "server/safety_window.h"

#define REACH       5  /* words between a negator and its phrase */
#define TIME_AFTER  4  /* tokens from a phrase's end to the start of a time */
#define TIME_BEFORE 3  /* tokens from a time's end to the phrase */
#define LEAD        2  /* tokens between "history of" and the phrase */
#define SCOPE       24 /* tokens on each side that may undo history */

_Static_assert(CP_WINDOW_BEHIND > REACH + CP_NEGATOR_MAX_WORDS + 2, "negations fit");
_Static_assert(CP_WINDOW_BEHIND > SCOPE && CP_WINDOW_BEHIND > TIME_BEFORE + CP_PHRASE_MAX_WORDS,
               "history fits behind");
_Static_assert(CP_WINDOW_AHEAD > CP_PHRASE_MAX_WORDS + CP_PHRASE_MAX_GAPS * CP_PHRASE_GAP_WORDS +
                                     SCOPE + TIME_AFTER,
               "history fits ahead");

/* ---- negation --------------------------------------------------------------------------- */

/* Nothing at all between the token and the one before it. */
static bool touches_previous(const cp_window *w, size_t at) {
    return at > 0 && at < w->n && w->tokens[at].border == CP_BORDER_NONE &&
           w->tokens[at].place == w->tokens[at - 1].place + 1;
}

/* A negator that ends right before `at`; its start, or `at` when there is none. */
static size_t negator_before(const cp_window *w, size_t at) {
    for (size_t i = 0; i < w->table->negators.n; i++) {
        const cp_phrase *negator = &w->table->negators.items[i];
        const int32_t *ids = w->table->ids + negator->first_id;
        size_t from = at, left = negator->n;
        while (left > 0 && touches_previous(w, from) &&
               w->tokens[from - 1].read.ids[0] == ids[left - 1] && w->tokens[from - 1].read.exact) {
            from--;
            left--;
        }
        if (left == 0)
            return from;
    }
    return at;
}

bool cp_window_can_be_negated(const cp_window *w, size_t start, size_t end) {
    for (size_t at = start; at < end; at++)
        if (w->tokens[at].broken || (at > start && w->tokens[at].border != CP_BORDER_NONE))
            return false;
    return true;
}

bool cp_window_is_negated(const cp_window *w, size_t start) {
    size_t at = start;
    for (int step = 0; step <= REACH && touches_previous(w, at); step++) {
        size_t negator = negator_before(w, at);
        if (negator < at)
            return !(touches_previous(w, negator) &&
                     w->tokens[negator - 1].read.roles & CP_ROLE_NEGATIVE);
        at--;
        if (w->tokens[at].read.roles & CP_ROLE_LINK)
            return touches_previous(w, at) && w->tokens[at - 1].negated_end;
        if (!(w->tokens[at].read.roles & CP_ROLE_BRIDGE))
            return false;
    }
    return false;
}

/* ---- history ---------------------------------------------------------------------------- */

/* Whether one of the runs stands at tokens[at..], without a border inside; *n is set to its length.
 */
static bool run_at(const cp_window *w, const cp_phrase_list *runs, size_t at, size_t *n) {
    for (size_t i = 0; i < runs->n; i++) {
        const int32_t *ids = w->table->ids + runs->items[i].first_id;
        size_t k = 0;
        while (k < runs->items[i].n && at + k < w->n && w->tokens[at + k].read.ids[0] == ids[k] &&
               w->tokens[at + k].read.exact &&
               (k == 0 || w->tokens[at + k].border == CP_BORDER_NONE))
            k++;
        *n = k;
        if (k == runs->items[i].n)
            return true;
    }
    return false;
}

/* A time long past at tokens[at]; *n is set to its length. */
static bool time_at(const cp_window *w, size_t at, size_t *n) {
    *n = 1;
    return w->tokens[at].is_past || run_at(w, &w->table->history_times, at, n);
}

/* "history of (a severe) stroke": with at most LEAD words between. */
static bool is_called_history(const cp_window *w, size_t start) {
    size_t n;
    for (size_t back = 1; back <= start && back <= LEAD + CP_PHRASE_MAX_WORDS; back++) {
        if (w->tokens[start - back + 1].border != CP_BORDER_NONE)
            return false;
        if (run_at(w, &w->table->history_before, start - back, &n) && back <= n + LEAD)
            return true;
    }
    return false;
}

static bool has_time_after(const cp_window *w, size_t end) {
    size_t n;
    for (size_t at = end; at < w->n && at <= end + TIME_AFTER; at++) {
        if (w->tokens[at].border != CP_BORDER_NONE)
            return false;
        if (time_at(w, at, &n))
            return true;
    }
    return false;
}

static bool has_time_before(const cp_window *w, size_t start) {
    size_t n;
    for (size_t back = 1; back <= start && back <= TIME_BEFORE + CP_PHRASE_MAX_WORDS; back++) {
        if (w->tokens[start - back + 1].border != CP_BORDER_NONE)
            return false;
        if (time_at(w, start - back, &n) && back <= n + TIME_BEFORE)
            return true;
    }
    return false;
}

static bool undoes(const cp_token *t, bool same_sentence) {
    uint16_t roles = t->read.roles | t->after;
    return roles & CP_ROLE_ECHO || (same_sentence && roles & CP_ROLE_NOW);
}

/* Looks at every word in reach, those of the phrase itself included. */
static bool speaks_of_now(const cp_window *w, size_t start, size_t end) {
    bool same = true;
    for (size_t at = start; at < w->n && at < end + SCOPE; at++) {
        same &= at == start || w->tokens[at].border != CP_BORDER_HARD;
        if (undoes(&w->tokens[at], same))
            return true;
    }
    same = true;
    for (size_t back = 1; back <= start && back <= SCOPE; back++) {
        same &= w->tokens[start - back + 1].border != CP_BORDER_HARD;
        if (undoes(&w->tokens[start - back], same))
            return true;
    }
    return false;
}

bool cp_window_is_history(const cp_window *w, size_t start, size_t end) {
    return (is_called_history(w, start) || has_time_after(w, end) || has_time_before(w, start)) &&
           !speaks_of_now(w, start, end);
}
