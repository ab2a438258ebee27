/* How a negation is recognised. An occurrence of a phrase is negated when a negator of the rule
 * file ("no", "denies", "do not have") stands right before it, with nothing between but a few
 * bridging words ("any", "signs of"); or when "or" joins it to an occurrence that is itself
 * negated. All on one side of any punctuation, within REACH words, with no other word between: "no
 * idea why my chest hurts" is not a negation. It is undone by a negative word before the negator
 * ("not without"), by a word in or after the phrase that tells of its going on ("no chest pain is
 * worse", "but"), and for phrases that are negative themselves ("cant breathe"). */
#include "server/safety_match.h"

#include <string.h>

#define WINDOW 1024
#define AHEAD  32 /* a phrase's reach: words, gaps and one more */
#define BEHIND 32 /* a negation's reach */
#define REACH  5  /* words between a negator and its phrase */

_Static_assert(AHEAD > CP_PHRASE_MAX_WORDS + CP_PHRASE_MAX_GAPS * CP_PHRASE_GAP_WORDS,
               "phrases fit");
_Static_assert(BEHIND > REACH + CP_NEGATOR_MAX_WORDS + 2, "negations fit");

typedef struct token {
    int32_t id, other;
    uint32_t
        place; /* among all words: a jump of more than one means that ignored words stood between */
    uint8_t border; /* cp_border before it, ignored words included */
    uint8_t roles;
    bool exact;       /* not a corrected misspelling */
    bool broken;      /* a word that undoes a negation follows */
    bool negated_end; /* a negated occurrence ends here */
} token;

typedef struct window {
    const cp_rule_table *table;
    cp_group_set *seen;
    token tokens[WINDOW];
    size_t n, next; /* next: the first token not yet tried as a start */
    uint32_t place;
    uint8_t border; /* of ignored words since the last token */
} window;

/* ---- phrases ---------------------------------------------------------------------------- */

static bool means(const token *t, int32_t id) {
    return t->id == id || t->other == id;
}

static bool joins(const window *w, size_t at) {
    return at < w->n && w->tokens[at].border != CP_BORDER_HARD;
}

/* Whether ids[0..n) stand at `at`; *end is set behind the last one. Recursion is bounded by the
 * gaps. */
static bool follows(const window *w, size_t at, const int32_t *ids, size_t n, size_t *end) {
    for (size_t i = 0; i < n; i++, at++) {
        if (ids[i] == CP_PHRASE_GAP) {
            for (size_t skip = 0; skip <= CP_PHRASE_GAP_WORDS && joins(w, at + skip); skip++)
                if (follows(w, at + skip, ids + i + 1, n - i - 1, end))
                    return true;
            return false;
        }
        if (!joins(w, at) || !means(&w->tokens[at], ids[i]))
            return false;
    }
    *end = at;
    return true;
}

/* ---- negation --------------------------------------------------------------------------- */

/* Nothing at all between the token and the one before it. */
static bool touches_previous(const window *w, size_t at) {
    return at > 0 && at < w->n && w->tokens[at].border == CP_BORDER_NONE &&
           w->tokens[at].place == w->tokens[at - 1].place + 1;
}

/* A negator that ends right before `at`; its start, or `at` when there is none. */
static size_t negator_before(const window *w, size_t at) {
    for (size_t i = 0; i < w->table->n_negators; i++) {
        const cp_phrase *negator = &w->table->negators[i];
        const int32_t *ids = w->table->ids + negator->first_id;
        size_t from = at, left = negator->n;
        while (left > 0 && touches_previous(w, from) && w->tokens[from - 1].id == ids[left - 1] &&
               w->tokens[from - 1].exact) {
            from--;
            left--;
        }
        if (left == 0)
            return from;
    }
    return at;
}

/* Within one stretch of words, and nothing after or inside it says that it goes on. */
static bool can_be_negated(const window *w, size_t start, size_t end) {
    for (size_t at = start; at < end; at++)
        if (w->tokens[at].broken || (at > start && w->tokens[at].border != CP_BORDER_NONE))
            return false;
    return true;
}

/* What stands before `start` negates it; the occurrence itself is not
 * looked at. */
static bool is_negated(const window *w, size_t start) {
    size_t at = start;
    for (int step = 0; step <= REACH && touches_previous(w, at); step++) {
        size_t negator = negator_before(w, at);
        if (negator < at)
            return !(touches_previous(w, negator) &&
                     w->tokens[negator - 1].roles & CP_ROLE_NEGATIVE);
        at--;
        if (w->tokens[at].roles & CP_ROLE_LINK)
            return touches_previous(w, at) && w->tokens[at - 1].negated_end;
        if (!(w->tokens[at].roles & CP_ROLE_BRIDGE))
            return false;
    }
    return false;
}

/* ---- the window ------------------------------------------------------------------------- */

static bool is_seen(const window *w, const cp_phrase *phrase) {
    return cp_group_set_has(w->seen, phrase->group);
}

static void try_phrases(window *w, size_t start, int32_t id, bool negated) {
    const cp_rule_table *table = w->table;
    size_t end;
    for (uint32_t i = table->phrases_from[id]; i < table->phrases_from[id + 1]; i++) {
        const cp_phrase *phrase = &table->phrases[i];
        const int32_t *ids = table->ids + phrase->first_id;
        if (!negated && is_seen(w, phrase)) /* one more occurrence tells nothing new */
            continue;
        if (!follows(w, start + 1, ids + 1, phrase->n - 1u, &end))
            continue;
        if (negated && !phrase->never_negated && can_be_negated(w, start, end))
            w->tokens[end - 1].negated_end = true;
        else
            w->seen->bits[phrase->group / 64] |= (uint64_t)1 << phrase->group % 64;
    }
}

static void try_starts(window *w, size_t until) {
    for (; w->next < until; w->next++) {
        int32_t id = w->tokens[w->next].id, other = w->tokens[w->next].other;
        bool negated = id != CP_WORD_UNKNOWN && is_negated(w, w->next);
        if (id != CP_WORD_UNKNOWN)
            try_phrases(w, w->next, id, negated);
        if (other != CP_WORD_UNKNOWN)
            try_phrases(w, w->next, other, negated);
    }
}

/* Makes room: what lies too far behind to matter goes. */
static void slide(window *w) {
    size_t drop = w->next - BEHIND;
    w->n -= drop;
    w->next -= drop;
    memmove(w->tokens, w->tokens + drop, w->n * sizeof *w->tokens);
}

static void take_word(window *w, const cp_word *word) {
    cp_reading reading = cp_vocabulary_read(&w->table->words, word);
    if ((uint8_t)word->border > w->border)
        w->border = (uint8_t)word->border;
    bool invisible = reading.roles & CP_ROLE_IGNORED && reading.roles & CP_ROLE_BRIDGE; /* "a" */
    w->place += !invisible;
    if (reading.roles & CP_ROLE_BREAKER && w->border == CP_BORDER_NONE && w->n > 0)
        w->tokens[w->n - 1].broken = true;
    if (reading.roles & CP_ROLE_IGNORED)
        return;
    w->tokens[w->n++] = (token){.id = reading.id,
                                .other = reading.other,
                                .place = w->place,
                                .border = w->border,
                                .roles = reading.roles,
                                .exact = reading.exact};
    w->border = CP_BORDER_NONE;
}

void cp_safety_match(const cp_rule_table *table, const char *text, size_t n, cp_group_set *seen) {
    window w; /* not zeroed: tokens[0..n) are the only ones read */
    w.table = table;
    w.seen = seen;
    w.n = w.next = 0;
    w.place = 0;
    w.border = CP_BORDER_NONE;
    cp_word_scanner scanner;
    cp_word word;
    cp_word_scanner_init(&scanner, text, n);
    while (cp_word_scanner_next(&scanner, &word)) {
        if (w.n == WINDOW) {
            try_starts(&w, w.n - AHEAD);
            slide(&w);
        }
        take_word(&w, &word);
    }
    try_starts(&w, w.n);
}
