#include "server/safety_window.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_YEAR  1900
#define PLAYED_DOWN 4 /* tokens after "probably" that it plays down */

/* ---- phrases ---------------------------------------------------------------------------- */

static bool joins(const cp_window *w, size_t at) {
    return at < w->n && w->tokens[at].border != CP_BORDER_HARD;
}

/* Whether the token can be read as `id`; a doubtful one only where `company` is given: in a phrase
 * of several words without a gap. */
static bool means(const cp_window *w, const cp_token *t, int32_t id, bool company) {
    if ((w->strict && !t->read.exact) || (!company && t->read.doubtful))
        return false;
    for (uint8_t i = 0; i < t->read.n; i++)
        if (t->read.ids[i] == id)
            return true;
    return false;
}

/* Whether ids[0..n) stand at `at`; *end is set behind the last one. Recursion is bounded by the
 * gaps. */
static bool follows(const cp_window *w, size_t at, const int32_t *ids, size_t n, bool company,
                    size_t *end) {
    for (size_t i = 0; i < n; i++, at++) {
        if (ids[i] == CP_PHRASE_GAP) {
            for (size_t skip = 0; skip <= CP_PHRASE_GAP_WORDS && joins(w, at + skip); skip++)
                if (follows(w, at + skip, ids + i + 1, n - i - 1, company, end))
                    return true;
            return false;
        }
        if (!joins(w, at) || !means(w, &w->tokens[at], ids[i], company))
            return false;
    }
    *end = at;
    return true;
}

/* ---- the window ------------------------------------------------------------------------- */

static void try_phrases(cp_window *w, size_t start, int32_t id, bool negated) {
    const cp_rule_table *table = w->table;
    size_t end = start;
    bool tried = false, fits = false; /* the words of the phrase at hand, and of its repeats */
    for (uint32_t i = table->phrases_from[id]; i < table->phrases_from[id + 1]; i++) {
        const cp_phrase *phrase = &table->phrases.items[i];
        const int32_t *ids = table->ids + phrase->first_id;
        tried &= phrase->repeats;
        bool company = phrase->n > 1 && phrase->n == phrase->n_words;
        if (!negated && cp_group_set_has(w->seen, phrase->group))
            continue; /* one more occurrence tells nothing new */
        if (!tried)
            fits = means(w, &w->tokens[start], id, company) &&
                   follows(w, start + 1, ids + 1, phrase->n - 1u, company, &end);
        tried = true;
        if (!fits)
            continue;
        if (negated && !phrase->never_negated && cp_window_can_be_negated(w, start, end)) {
            w->tokens[end - 1].negated_end = true;
            w->result.takes_back = true;
        } else if (phrase->may_be_history && cp_window_is_history(w, start, end)) {
            w->result.takes_back = true;
        } else if (!w->strict || !w->tokens[start].played_down) {
            w->seen->bits[phrase->group / 64] |= (uint64_t)1 << phrase->group % 64;
        }
    }
}

static void try_starts(cp_window *w, size_t until) {
    for (; w->next < until; w->next++) {
        const cp_reading *read = &w->tokens[w->next].read;
        bool negated = read->n > 0 && cp_window_is_negated(w, w->next);
        for (uint8_t i = 0; i < read->n; i++)
            try_phrases(w, w->next, read->ids[i], negated);
    }
}

/* Makes room: what lies too far behind to matter goes. */
static void slide(cp_window *w) {
    size_t drop = w->next - CP_WINDOW_BEHIND;
    w->n -= drop;
    w->next -= drop;
    memmove(w->tokens, w->tokens + drop, w->n * sizeof *w->tokens);
}

/* "1998": four digits, and long over. */
static bool is_past_year(const cp_window *w, const cp_word *word) {
    if (word->n != 4 || strspn(word->text, "0123456789") != 4)
        return false;
    int year = atoi(word->text);
    return year >= FIRST_YEAR && year <= w->table->last_history_year;
}

static void take_word(cp_window *w, const cp_word *word) {
    cp_reading reading = cp_vocabulary_read(&w->table->words, word);
    if ((uint8_t)word->border > w->border)
        w->border = (uint8_t)word->border;
    bool invisible = reading.roles & CP_ROLE_IGNORED && reading.roles & CP_ROLE_BRIDGE; /* "a" */
    w->place += !invisible;
    if (reading.roles & CP_ROLE_BREAKER && w->border == CP_BORDER_NONE && w->n > 0)
        w->tokens[w->n - 1].broken = true;
    if (reading.roles & CP_ROLE_MINIMISER)
        w->down = PLAYED_DOWN;
    if (reading.roles & CP_ROLE_IGNORED) {
        if (w->n > 0)
            w->tokens[w->n - 1].after |= reading.roles;
        return;
    }
    w->tokens[w->n++] = (cp_token){.read = reading,
                                   .place = w->place,
                                   .border = w->border,
                                   .played_down = w->down > 0,
                                   .is_past = is_past_year(w, word)};
    w->border = CP_BORDER_NONE;
    w->down -= w->down > 0;
    w->result.n_words++;
}

cp_match cp_safety_match(const cp_rule_table *table, const char *text, size_t n, bool strict,
                         cp_group_set *seen) {
    cp_window w; /* not zeroed: tokens[0..n) are the only ones read */
    w.table = table;
    w.seen = seen;
    w.strict = strict;
    w.n = w.next = 0;
    w.place = 0;
    w.border = CP_BORDER_NONE;
    w.down = 0;
    w.result = (cp_match){0};
    cp_word_scanner scanner;
    cp_word word;
    cp_word_scanner_init(&scanner, text, n);
    while (cp_word_scanner_next(&scanner, &word)) {
        if (w.n == CP_WINDOW_TOKENS) {
            try_starts(&w, w.n - CP_WINDOW_AHEAD);
            slide(&w);
        }
        take_word(&w, &word);
    }
    try_starts(&w, w.n);
    return w.result;
}
