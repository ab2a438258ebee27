/* The retrieval set with all that may be found: questions, the patients' records as documents, the
 * knowledge base. Read once, then constant. */
#ifndef CP_BENCH_RETRIEVAL_SET_H
#define CP_BENCH_RETRIEVAL_SET_H

#include "retrieval/knowledge.h"
#include "retrieval/record_docs.h"

typedef struct cp_set_patient {
    const char *mrn;
    cJSON *lists[4]; /* documents, encounters, claims, chats */
    cp_record_docs record;
    const char **medicines, **conditions; /* [n_...] */
    size_t n_medicines, n_conditions;
} cp_set_patient;

typedef struct cp_set_relevant {
    const char *id;
    unsigned grade; /* 1, 2 */
} cp_set_relevant;

typedef struct cp_set_question {
    const char *id, *text, *words, *split;
    const cp_set_patient *patient; /* NULL: the knowledge base alone */
    cp_set_relevant *relevant;     /* [n_relevant] */
    size_t n_relevant;
    const char **never; /* [n_never] */
    size_t n_never;
} cp_set_question;

typedef struct cp_retrieval_set {
    cp_knowledge *knowledge;
    cp_set_patient *patients;
    size_t n_patients;
    cp_set_question *questions;
    size_t n_questions;
    cJSON *trees[6]; /* what the texts are borrowed from */
} cp_retrieval_set;
/* `dir`: the folder that has knowledge/, synthetic/ and retrieval/. */
cp_status cp_retrieval_set_open(const char *dir, cp_retrieval_set *out,
                                cp_error *err) CP_MUST_CHECK;
void cp_retrieval_set_close(cp_retrieval_set *set);

#endif
