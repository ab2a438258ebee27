#include "base/log.h"

#include "base/clock.h"
#include "base/json_writer.h"

#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define MAX_LINE_BYTES 8192

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};
static atomic_int configured_level = CP_LOG_INFO;
static atomic_int configured_format = CP_LOG_TEXT;
static _Atomic(cp_log_filter *) configured_filter;

void cp_log_set_filter(cp_log_filter *filter) {
    atomic_store(&configured_filter, filter);
}

void cp_log_configure(cp_log_level level, cp_log_format format) {
    atomic_store(&configured_level, (int)level);
    atomic_store(&configured_format, (int)format);
}

bool cp_log_parse_level(const char *word, cp_log_level *out) {
    for (int i = CP_LOG_DEBUG; i <= CP_LOG_OFF; i++)
        if (strcasecmp(word, level_names[i]) == 0) {
            *out = (cp_log_level)i;
            return true;
        }
    return false;
}

static void put_filtered(cp_json_writer *w, const cp_log_field *field, cp_log_filter *filter) {
    cp_strbuf text;
    cp_strbuf_init(&text, MAX_LINE_BYTES);
    filter(field->key, (cp_str){field->text, strlen(field->text)}, &text);
    cp_json_put_text(w, text.failed == CP_OK ? cp_strbuf_text(&text) : "[TEXT]");
    cp_strbuf_deinit(&text);
}

static void put_field(cp_json_writer *w, const cp_log_field *field) {
    cp_log_filter *filter = atomic_load(&configured_filter);
    if (field->kind == CP_LOG_FIELD_TEXT && field->text && filter)
        put_filtered(w, field, filter);
    else if (field->kind == CP_LOG_FIELD_TEXT)
        cp_json_put_text(w, field->text);
    else if (field->kind == CP_LOG_FIELD_INT)
        cp_json_put_int(w, field->integer);
    else
        cp_json_put_number(w, field->number, 6);
}

static void json_line(cp_strbuf *line, const char *stamp, cp_log_level level, const char *event,
                      const cp_log_field *fields, size_t n) {
    cp_json_writer w;
    cp_json_writer_init(&w, line);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "time", stamp);
    cp_json_member_text(&w, "level", level_names[level]);
    cp_json_member_text(&w, "event", event);
    for (size_t i = 0; i < n; i++) {
        cp_json_key(&w, fields[i].key);
        put_field(&w, &fields[i]);
    }
    cp_json_close_object(&w);
}

/* key=value, values quoted as JSON: no value can start a new line or forge a field. */
static void text_line(cp_strbuf *line, const char *stamp, cp_log_level level, const char *event,
                      const cp_log_field *fields, size_t n) {
    cp_strbuf_printf(line, "%s %-5s %s", stamp, level_names[level], event);
    for (size_t i = 0; i < n; i++) {
        cp_json_writer w;
        cp_json_writer_init(&w, line);
        cp_strbuf_printf(line, " %s=", fields[i].key);
        put_field(&w, &fields[i]);
    }
}

void cp_log_write(cp_log_level level, const char *event, const cp_log_field *fields, size_t n) {
    if ((int)level < atomic_load(&configured_level) || level == CP_LOG_OFF)
        return;
    char stamp[CP_CLOCK_STAMP_CAP];
    cp_clock_stamp(stamp);
    cp_strbuf line;
    cp_strbuf_init(&line, MAX_LINE_BYTES);
    if (atomic_load(&configured_format) == CP_LOG_JSON)
        json_line(&line, stamp, level, event, fields, n);
    else
        text_line(&line, stamp, level, event, fields, n);
    cp_strbuf_putc(&line, '\n');
    if (line.failed == CP_OK) {
        ssize_t ignored = write(STDERR_FILENO, line.data, line.n); /* nowhere to report it */
        (void)ignored;
    }
    cp_strbuf_deinit(&line);
}
