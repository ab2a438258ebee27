/* One answer under load, read as it comes: whole JSON or an event stream, of any target.
 *
 * What is kept: how it ended (answered, or the error's code), when content began (the caller looks
 * at n_content after each feed), the tokens it says it used, and its text for comparisons:
 * thinking, answer and verdict, without what differs from request to request (ids, times). Server
 * input is hostile: sizes are bounded and a code is letters, digits and "_.-" only. Reused for the
 * next answer without allocating anew. */
#ifndef CP_BENCH_LOAD_ANSWER_H
#define CP_BENCH_LOAD_ANSWER_H

#include "base/http_client.h"
#include "base/sse_reader.h"
#include "bench/load_requests.h"

#define CP_LOAD_CODE_CAP     40
#define CP_LOAD_ANSWER_BYTES ((size_t)4 << 20) /* of a whole answer, of an event, of a text */

typedef struct cp_load_answer {
    cp_load_target target;
    bool stream;
    cp_sse_reader events;
    cp_strbuf whole;                     /* the body where it is no stream of events */
    cp_strbuf thinking, answer, verdict; /* of the text */
    size_t n_content;                    /* events with content; 1 for a whole answer */
    bool ended;                          /* the stream said that it is whole */
    int64_t prompt_tokens, completion_tokens;
    char code[CP_LOAD_CODE_CAP];     /* "" while nothing is wrong */
    char degraded[CP_LOAD_CODE_CAP]; /* why /triage answered without its model; "": it did not */
} cp_load_answer;

void cp_load_answer_init(cp_load_answer *a, cp_load_target target, bool stream);
void cp_load_answer_deinit(cp_load_answer *a);
/* Forgets the last answer. */
void cp_load_answer_begin(cp_load_answer *a);
/* Body bytes of an answer with this status; false when no more are wanted (a->code says why). */
bool cp_load_answer_feed(cp_load_answer *a, int status, cp_str bytes) CP_MUST_CHECK;
/* The request has ended; true when it was answered, else a->code is never empty: the error's code,
 * "http_404" where there was none, how the connection ended ("timeout", "cut", ...), "unfinished"
 * for a stream without its end, "bad_answer" for what could not be read. */
bool cp_load_answer_end(cp_load_answer *a, cp_http_end end, int status) CP_MUST_CHECK;
/* What a repetition of the same request must repeat, appended. */
void cp_load_answer_text(const cp_load_answer *a, cp_strbuf *out);

#endif
