/* Reading words out of whatever a patient wrote.
 *
 * The same reading serves the phrases of the rules and the queries, so that both sides agree by
 * construction. A word is a run of letters or of digits ("6wk" is two words, "38.5" is one), in
 * lower case, apostrophes dropped, straight or curly ("can't" is "cant"), plural endings folded
 * ("rashes" is "rash"). Bytes that are not UTF-8 part words like a space does. Everything else is a
 * space, or a border of one of two kinds. Nothing is allocated and nothing can fail. */
#ifndef CP_SERVER_SAFETY_TEXT_H
#define CP_SERVER_SAFETY_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#define CP_WORD_CAP 32 /* longer words are cut, and then match nothing in the rules */

/* What stood between a word and the one before it. A comma ends a negation; a full stop ends a
 * phrase too. */
typedef enum cp_border { CP_BORDER_NONE, CP_BORDER_SOFT, CP_BORDER_HARD } cp_border;

typedef struct cp_word {
    char text[CP_WORD_CAP]; /* NUL-terminated */
    size_t n;
    cp_border border; /* before the word */
    bool cut;
    bool lost_s; /* a final "s" was taken for a plural */
} cp_word;

typedef struct cp_word_scanner {
    const unsigned char *at, *end;
} cp_word_scanner;

void cp_word_scanner_init(cp_word_scanner *scanner, const char *text, size_t n);
/* False at the end of the text. */
bool cp_word_scanner_next(cp_word_scanner *scanner, cp_word *word);

#endif
