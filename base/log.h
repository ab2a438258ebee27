/* The log: one line an event on stderr, as text or JSON.
 *
 * An event is a fixed sentence (a literal of ours) and typed fields. Text that came from a patient,
 * a document or a client never goes into a field: the type system cannot enforce that, reviewers
 * do, and a test plants canaries. Lines are written whole with one write(2), so threads do not mix.
 * Configured once at start; the default is text at level info. */
#ifndef CP_BASE_LOG_H
#define CP_BASE_LOG_H

#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cp_log_level {
    CP_LOG_DEBUG,
    CP_LOG_INFO,
    CP_LOG_WARN,
    CP_LOG_ERROR,
    CP_LOG_OFF
} cp_log_level;
typedef enum cp_log_format { CP_LOG_TEXT, CP_LOG_JSON } cp_log_format;

typedef struct cp_log_field {
    const char *key;
    enum { CP_LOG_FIELD_TEXT, CP_LOG_FIELD_INT, CP_LOG_FIELD_NUMBER } kind;
    const char *text;
    int64_t integer;
    double number;
} cp_log_field;

#define CP_LOG_S(k, v) ((cp_log_field){.key = (k), .kind = CP_LOG_FIELD_TEXT, .text = (v)})
#define CP_LOG_I(k, v)                                                                             \
    ((cp_log_field){.key = (k), .kind = CP_LOG_FIELD_INT, .integer = (int64_t)(v)})
#define CP_LOG_N(k, v) ((cp_log_field){.key = (k), .kind = CP_LOG_FIELD_NUMBER, .number = (v)})

/* Sees every text field before it is written and appends what may be; NULL: fields are written as
 * they are. It must not log. */
typedef void cp_log_filter(const char *key, cp_str text, cp_strbuf *out);
void cp_log_set_filter(cp_log_filter *filter);

void cp_log_configure(cp_log_level level, cp_log_format format);
/* "debug", "info", "warn", "error", "off"; any case. False for other words. */
bool cp_log_parse_level(const char *word, cp_log_level *out);
void cp_log_write(cp_log_level level, const char *event, const cp_log_field *fields, size_t n);

/* cp_log(CP_LOG_INFO, "model loaded", CP_LOG_S("model", name), CP_LOG_N("ms", ms)); */
#define cp_log(level, event, ...)                                                                  \
    cp_log_write(                                                                                  \
        (level), (event), (const cp_log_field[]){{.key = NULL}, ##__VA_ARGS__} + 1,                \
        sizeof((const cp_log_field[]){{.key = NULL}, ##__VA_ARGS__}) / sizeof(cp_log_field) - 1)

#endif
