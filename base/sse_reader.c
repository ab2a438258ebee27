#include "base/sse_reader.h"

#include <stdint.h>
#include <string.h>

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

void cp_sse_reader_init(cp_sse_reader *r, size_t max_bytes,
                        bool (*on_event)(void *user, const cp_sse_event *event), void *user) {
    *r = (cp_sse_reader){.on_event = on_event, .user = user};
    cp_strbuf_init(&r->line, max_bytes);
    cp_strbuf_init(&r->name, max_bytes);
    cp_strbuf_init(&r->data, max_bytes < SIZE_MAX ? max_bytes + 1 : max_bytes); /* with its LF */
}

void cp_sse_reader_begin(cp_sse_reader *r) {
    cp_strbuf_clear(&r->line);
    cp_strbuf_clear(&r->name);
    cp_strbuf_clear(&r->data);
    r->n_events = r->n_comments = 0;
    r->skip_lf = r->begun = r->has_data = false;
}

void cp_sse_reader_deinit(cp_sse_reader *r) {
    cp_strbuf_deinit(&r->line);
    cp_strbuf_deinit(&r->name);
    cp_strbuf_deinit(&r->data);
}

/* An empty line: what has been gathered is an event, unless no data came. */
static bool dispatch(cp_sse_reader *r) {
    bool go_on = true;
    if (r->has_data) {
        cp_sse_event event = {.name = r->name.n ? cp_strbuf_str(&r->name) : CP_STR("message"),
                              .data = cp_strbuf_str(&r->data)};
        event.data.n--; /* the LF behind its last line */
        r->n_events++;
        go_on = r->on_event(r->user, &event);
    }
    cp_strbuf_clear(&r->name);
    cp_strbuf_clear(&r->data);
    r->has_data = false;
    return go_on;
}

static bool take_line(cp_sse_reader *r, cp_str line) {
    if (line.n == 0)
        return dispatch(r);
    const char *colon = memchr(line.data, ':', line.n);
    cp_str field = {line.data, colon ? (size_t)(colon - line.data) : line.n};
    cp_str value = {"", 0};
    if (colon)
        value = (cp_str){colon + 1, line.n - field.n - 1};
    if (value.n > 0 && value.data[0] == ' ')
        value = (cp_str){value.data + 1, value.n - 1};
    if (field.n == 0) {
        r->n_comments++;
    } else if (cp_str_is(field, "event")) {
        cp_strbuf_clear(&r->name);
        cp_strbuf_append(&r->name, value.data, value.n);
    } else if (cp_str_is(field, "data")) {
        cp_strbuf_append(&r->data, value.data, value.n);
        cp_strbuf_putc(&r->data, '\n');
        r->has_data = true;
    }
    return true;
}

static cp_status check(const cp_sse_reader *r, cp_error *err) {
    cp_status status = cp_strbuf_check(&r->line, "event stream: a line", err);
    if (status == CP_OK)
        status = cp_strbuf_check(&r->name, "event stream: an event's name", err);
    if (status == CP_OK)
        status = cp_strbuf_check(&r->data, "event stream: an event's data", err);
    return status;
}

/* The line is whole. */
static cp_status end_line(cp_sse_reader *r, cp_error *err) {
    cp_str line = cp_strbuf_str(&r->line);
    if (!r->begun && line.n >= 3 && memcmp(line.data, BYTE_ORDER_MARK, 3) == 0)
        line = (cp_str){line.data + 3, line.n - 3};
    r->begun = true;
    cp_status status = check(r, err); /* before a line that was cut counts */
    if (status != CP_OK)
        return status;
    if (!take_line(r, line))
        return cp_error_set(err, CP_ERR_CANCELLED, "event stream: given up");
    cp_strbuf_clear(&r->line);
    return check(r, err);
}

cp_status cp_sse_reader_feed(cp_sse_reader *r, cp_str bytes, cp_error *err) {
    cp_status status = check(r, err);
    for (size_t i = 0; i < bytes.n && status == CP_OK;) {
        if (r->skip_lf && bytes.data[i] == '\n') {
            r->skip_lf = false;
            i++;
            continue;
        }
        r->skip_lf = false;
        size_t n = 0;
        while (i + n < bytes.n && bytes.data[i + n] != '\n' && bytes.data[i + n] != '\r')
            n++;
        cp_strbuf_append(&r->line, bytes.data + i, n);
        i += n;
        if (i == bytes.n)
            break;
        r->skip_lf = bytes.data[i++] == '\r';
        status = end_line(r, err);
    }
    return status == CP_OK ? check(r, err) : status;
}
