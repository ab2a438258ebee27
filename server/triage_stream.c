#include "server/triage_stream.h"

#include "base/json_writer.h"
#include "server/triage_answer.h"
#include "server/triage_text.h"

#include <stdlib.h>

#define MAX_EVENT_BYTES ((size_t)4 << 20)

struct cp_triage_stream {
    cp_http_request *http;
    cp_triage_reader reader;                     /* of the answer's JSON */
    cp_triage_cleaner thinking_cleaner, cleaner; /* of the thought, of the answer's text */
    cp_strbuf raw, text, event;                  /* scratch */
    bool lost;
};

cp_status cp_triage_stream_create(cp_http_request *http, cp_triage_stream **out) {
    cp_triage_stream *s = calloc(1, sizeof *s);
    *out = s;
    if (!s)
        return CP_ERR_NO_MEMORY;
    s->http = http;
    cp_triage_reader_init(&s->reader);
    cp_triage_cleaner_init(&s->thinking_cleaner);
    cp_triage_cleaner_init(&s->cleaner);
    cp_strbuf_init(&s->raw, MAX_EVENT_BYTES);
    cp_strbuf_init(&s->text, MAX_EVENT_BYTES);
    cp_strbuf_init(&s->event, MAX_EVENT_BYTES);
    return CP_OK;
}

void cp_triage_stream_free(cp_triage_stream *s) {
    if (!s)
        return;
    cp_triage_cleaner_deinit(&s->thinking_cleaner);
    cp_triage_cleaner_deinit(&s->cleaner);
    cp_strbuf_deinit(&s->raw);
    cp_strbuf_deinit(&s->text);
    cp_strbuf_deinit(&s->event);
    free(s);
}

bool cp_triage_stream_is_lost(const cp_triage_stream *s) {
    return s->lost;
}

static void send_event(cp_triage_stream *s, const char *name, cp_str json) {
    cp_strbuf_clear(&s->event);
    cp_strbuf_printf(&s->event, "event: %s\ndata: ", name);
    cp_strbuf_append(&s->event, json.data, json.n);
    cp_strbuf_puts(&s->event, "\n\n");
    s->lost |= s->event.failed != CP_OK ||
               !cp_http_stream_write(s->http, cp_strbuf_text(&s->event), s->event.n);
}

/* {"text": ...} of what s->text holds; nothing when it is empty. */
static void send_text(cp_triage_stream *s, const char *name) {
    cp_json_writer w;
    if (s->text.failed != CP_OK)
        s->lost = true;
    if (s->lost || s->text.n == 0)
        return;
    cp_strbuf_clear(&s->raw);
    cp_json_writer_init(&w, &s->raw);
    cp_json_open_object(&w);
    cp_json_member_str(&w, "text", cp_strbuf_str(&s->text));
    cp_json_close_object(&w);
    send_event(s, name, cp_strbuf_str(&s->raw));
}

static void push_thinking(cp_triage_stream *s, cp_str text, bool last) {
    cp_strbuf_clear(&s->text);
    cp_triage_cleaner_push(&s->thinking_cleaner, text, last, &s->text);
    send_text(s, "thinking");
}

static void push_answer(cp_triage_stream *s, cp_str json, bool last) {
    cp_strbuf_clear(&s->raw);
    cp_strbuf_clear(&s->text);
    cp_triage_reader_push(&s->reader, json.data, json.n, &s->raw);
    cp_triage_cleaner_push(&s->cleaner, cp_strbuf_str(&s->raw), last, &s->text);
    send_text(s, "answer");
}

void cp_triage_stream_rules(cp_triage_stream *s, const cp_strbuf *json) {
    cp_http_stream_begin(s->http, "text/event-stream");
    s->lost |= json->failed != CP_OK;
    if (!s->lost)
        send_event(s, "rules", cp_strbuf_str(json));
}

void cp_triage_stream_push(cp_triage_stream *s, cp_text_part part, cp_str text) {
    if (s->lost)
        return;
    if (part == CP_TEXT_THINKING)
        push_thinking(s, text, false);
    else
        push_answer(s, text, false);
}

void cp_triage_stream_done(cp_triage_stream *s, cp_str json) {
    const cp_str nothing = {"", 0};
    push_thinking(s, nothing, true);
    push_answer(s, nothing, true);
    if (!s->lost)
        send_event(s, "done", json);
}
