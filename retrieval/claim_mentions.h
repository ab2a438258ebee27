/* What a text names: medicines, doses, allergies, diagnoses, sentence by sentence, each as a number
 * that is the same for the same thing in another text. Behind retrieval/claims.h. */
#ifndef CP_RETRIEVAL_CLAIM_MENTIONS_H
#define CP_RETRIEVAL_CLAIM_MENTIONS_H

#include "retrieval/claims.h"
#include "retrieval/name_table.h"
#include "retrieval/terms.h"

#define CP_NAME_MAX_WORDS 6

typedef struct cp_mention {
    cp_claim_kind kind;
    uint64_t thing;       /* the medicine, the diagnosis, what is allergic to, number and unit */
    uint64_t medicine;    /* of a dose: the one beside it, in its sentence; 0: none */
    uint64_t shorter;     /* of a medicine, or a dose's medicine: a name within its name; 0: none */
    uint64_t carried;     /* of a dose without one: the last medicine before its sentence */
    bool is_frequency;    /* of a dose: "twice daily" */
    uint32_t first, last; /* words of the text, last included */
    size_t begin, end;    /* bytes of the text */
    size_t sentence_begin, sentence_end;
} cp_mention;

/* A text as it is read; the tables are borrowed. */
typedef struct cp_mention_reader {
    const cp_name_table *tables[2]; /* the terms', the request's (may be NULL) */
    /* Also the shorter names within a longer one ("insulin" in "insulin glargine"), and each word
     * of a sentence on allergies as one that an allergy may be of: for texts that support. */
    bool generous;
    cp_str text;
    cp_words words;
    cp_mention *items;
    size_t n, cap;
} cp_mention_reader;
/* Fills items; deinit also after failure. */
cp_status cp_mentions_read(cp_mention_reader *reader, cp_str text, cp_error *err) CP_MUST_CHECK;
void cp_mentions_deinit(cp_mention_reader *reader);

/* The number of a name of at most CP_NAME_MAX_WORDS words of `words` from `first`. */
uint64_t cp_mention_hash(const cp_words *words, size_t first, size_t n);

#endif
