/* What the model says about a patient: JSON of a fixed schema, which it cannot leave.
 *
 * The level comes after the assessment, so that it is reasoned for, and before the rest, so that it
 * is there when a long answer is cut. What the server added to close a cut answer is never taken
 * for the model's word, and a citation that was cut is none. */
#ifndef CP_SERVER_TRIAGE_ANSWER_H
#define CP_SERVER_TRIAGE_ANSWER_H

#include "base/json.h"
#include "llm/llm.h"
#include "retrieval/citations.h"

extern const char cp_triage_answer_schema[]; /* JSON schema */
extern const char cp_triage_mock_answer[];   /* what the mock says, of that schema */

typedef struct cp_triage_answer {
    cp_strbuf text; /* for people: the assessment, next steps, when to seek help sooner; cleaned */
    int acuity;     /* CP_ACUITY_NONE where the model did not get to say it */
    cp_citation_claimed *cited; /* [n_cited] not checked yet; its texts are the tree's */
    size_t n_cited;
    cJSON *tree;
} cp_triage_answer;

/* Reads a result; an empty text and no level where there is nothing. Release with deinit.
 * CP_ERR_NO_MEMORY, or CP_ERR_FORMAT for what is not of the schema. */
cp_status cp_triage_answer_read(const cp_llm_result *result, cp_triage_answer *out,
                                cp_error *err) CP_MUST_CHECK;
void cp_triage_answer_deinit(cp_triage_answer *answer);

/* The same text while the JSON is still being written: takes its bytes as they come. A plain value
 * of one answer. */
typedef struct cp_triage_reader {
    enum { CP_READER_OUTSIDE, CP_READER_KEY, CP_READER_TEXT } where;
    char key[24];
    size_t n_key;
    bool is_key;     /* the next string is a member's name */
    char escape[12]; /* an escape that is not complete: \u with a surrogate pair at most */
    size_t n_escape;
    bool is_silent; /* the string is none of the text: a citation's */
    size_t n_items; /* strings of this member so far */
} cp_triage_reader;
void cp_triage_reader_init(cp_triage_reader *reader);
/* Appends to `out` the text that json[0..n) adds. */
void cp_triage_reader_push(cp_triage_reader *reader, const char *json, size_t n, cp_strbuf *out);

#endif
