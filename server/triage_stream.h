/* An answer of /triage as events: `rules` at once, then `thinking` and `answer` with the model's
 * words as they come, and `done` with the whole object, which is what counts.
 *
 * One thread at a time. Without memory, or when the client is too slow, the stream is lost: nothing
 * more is sent and the work behind it should end. */
#ifndef CP_SERVER_TRIAGE_STREAM_H
#define CP_SERVER_TRIAGE_STREAM_H

#include "llm/llm.h"
#include "server/http_server.h"

typedef struct cp_triage_stream cp_triage_stream;

cp_status cp_triage_stream_create(cp_http_request *http, cp_triage_stream **out) CP_MUST_CHECK;
void cp_triage_stream_free(cp_triage_stream *stream); /* NULL is allowed */

/* Begins the HTTP answer; the request is deferred. */
void cp_triage_stream_rules(cp_triage_stream *stream, const cp_strbuf *json);
/* Words of the model: of its thought, or bytes of its answer's JSON. */
void cp_triage_stream_push(cp_triage_stream *stream, cp_text_part part, cp_str text);
/* What was held back, then the object; the caller ends the HTTP stream. */
void cp_triage_stream_done(cp_triage_stream *stream, cp_str json);
bool cp_triage_stream_is_lost(const cp_triage_stream *stream);

#endif
