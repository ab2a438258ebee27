/* The words of the rules, as small numbers.
 *
 * Filled while the rules are compiled, then only read. A word of a query is looked up exactly
 * first; a word that the rules do not know may be a misspelling of one of 5 letters and more that
 * they do: one letter added, missing, changed, or two swapped, anywhere in the word. All candidates
 * are kept, up to CP_READING_MAX, because reading a word in one more way can only raise the
 * urgency. A real word that looks like a misspelling ("prison" for "poison", CP_ROLE_KNOWN) is read
 * as the other one only in the company of another word of the same phrase. A corrected word never
 * plays a part in a negation or in history. */
#ifndef CP_SERVER_SAFETY_WORDS_H
#define CP_SERVER_SAFETY_WORDS_H

#include "server/safety_text.h"

#include <stdint.h>

#define CP_WORD_UNKNOWN 0 /* ids start at 1 */

/* What the rule file's "language" part says about a word; a bit set. */
enum {
    CP_ROLE_IGNORED = 1,   /* passed over on both sides: "my", "really" */
    CP_ROLE_BRIDGE = 2,    /* may stand between a negator and a phrase: "no signs of ..." */
    CP_ROLE_BREAKER = 4,   /* after a phrase it undoes the negation: "no chest pain is worse" */
    CP_ROLE_NEGATIVE = 8,  /* a phrase with it is never negated: "cant breathe" */
    CP_ROLE_LINK = 16,     /* carries a negation on: "no chest pain or ..." */
    CP_ROLE_KNOWN = 32,    /* a real word, hardly somebody's misspelling: "prison" for "poison" */
    CP_ROLE_NOW = 64,      /* in the same sentence, an event is not history: "and now again" */
    CP_ROLE_ECHO = 128,    /* even in a sentence beside it: "it feels the same" */
    CP_ROLE_EVENT = 256,   /* a phrase with it may be history: "stroke" */
    CP_ROLE_CLAUSE = 1024, /* begins something new: "but" */
    CP_ROLE_MINIMISER = 2048, /* plays down what follows: "probably" */
    CP_ROLE_USED = 512,       /* stands in a phrase (not in the file: the compiler sets it) */
};

typedef struct cp_vocabulary_word {
    char text[CP_WORD_CAP];
    uint8_t n;
    uint16_t roles;
    int32_t meaning; /* the id phrases use: its own, or that of the word it stands for */
} cp_vocabulary_word;

typedef struct cp_vocabulary {
    cp_vocabulary_word *words; /* [n + 1], words[0] unused */
    size_t n, cap;
    int32_t *slots; /* [n_slots] open addressing, 0 is empty; n_slots is a power of two */
    size_t n_slots;
    /* Ids that a misspelling may mean, by one letter and the length. One edit cannot change both
     * the first letter and the last, so looking among the words with the same first one and then
     * among those with the same last one finds them all. */
    struct cp_spelling_index {
        int32_t *ids;
        uint32_t from[26][CP_WORD_CAP + 2];
    } by_first, by_last;
} cp_vocabulary;

#define CP_READING_MAX 6
typedef struct cp_reading {
    int32_t ids[CP_READING_MAX]; /* meanings; a misspelling may have several */
    uint8_t n;                   /* 0: a word that the rules do not know */
    uint16_t roles; /* of the word as written; a corrected word has CP_ROLE_IGNORED at most */
    bool exact;     /* not a corrected misspelling */
    bool doubtful;  /* corrected although it is a real word */
} cp_reading;

void cp_vocabulary_deinit(cp_vocabulary *v);
/* The id of the word, added when it is new; CP_WORD_UNKNOWN when there is no memory. */
int32_t cp_vocabulary_add(cp_vocabulary *v, const cp_word *word);
/* To be called once, after the last add; false when there is no memory. */
bool cp_vocabulary_index_spelling(cp_vocabulary *v);
cp_reading cp_vocabulary_read(const cp_vocabulary *v, const cp_word *word);

#endif
