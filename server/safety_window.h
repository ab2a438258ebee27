/* The part of a text that is being looked at, and what surrounds a phrase in it.
 *
 * For safety_match.c and safety_context.c alone. The window lies on the stack of the one thread
 * that reads the text. */
#ifndef CP_SERVER_SAFETY_WINDOW_H
#define CP_SERVER_SAFETY_WINDOW_H

#include "server/safety_match.h"

#define CP_WINDOW_TOKENS 1024
#define CP_WINDOW_AHEAD  64 /* tokens that must stand behind a phrase's first word to judge it */
#define CP_WINDOW_BEHIND 32 /* and before it */

/* A word of the text that is not ignored. */
typedef struct cp_token {
    cp_reading read; /* what it may mean */
    uint32_t
        place; /* among all words: a jump of more than one means that ignored words stood between */
    uint16_t after;   /* roles of the ignored words that follow it */
    uint8_t border;   /* cp_border before it, ignored words included */
    bool is_past;     /* a year that is long over */
    bool played_down; /* "probably" or the like stands shortly before */
    bool broken;      /* a word that undoes a negation follows */
    bool negated_end; /* a negated occurrence ends here */
} cp_token;

typedef struct cp_window {
    const cp_rule_table *table;
    cp_group_set *seen;
    bool strict; /* see cp_safety_match */
    cp_token tokens[CP_WINDOW_TOKENS];
    size_t n, next; /* next: the first token not yet tried as a start */
    uint32_t place;
    uint8_t border; /* of ignored words since the last token */
    uint8_t down;   /* so many of the next tokens are played down */
    cp_match result;
} cp_window;

/* Whether a negator stands before the token at `start`; the phrase itself is not looked at. */
bool cp_window_is_negated(const cp_window *w, size_t start);
/* Within one stretch of words, and nothing after or inside it says that it goes on. */
bool cp_window_can_be_negated(const cp_window *w, size_t start, size_t end);
/* Whether the occurrence at start..end is told as something long past. */
bool cp_window_is_history(const cp_window *w, size_t start, size_t end);

#endif
