#include "server/audit_reader.h"

#include "base/mem.h"
#include "server/audit_scan.h"
#include "server/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool cp_audit_is_on(const cp_settings *settings) {
    return *settings->audit_file && strcmp(settings->audit_file, "off") != 0;
}

cp_status cp_audit_reader_open(const char *file, cp_audit_reader *out, cp_error *err) {
    cp_secret secret = {""};
    *out = (cp_audit_reader){0};
    cp_status status = cp_settings_from_env(&out->settings, getenv, err);
    if (status == CP_OK && !file && !cp_audit_is_on(&out->settings))
        status = cp_error_set(err, CP_ERR_USAGE, "no audit log is named: set AUDIT_FILE or --file");
    if (status == CP_OK)
        status = cp_secret_load(&out->settings, &secret, err);
    if (status == CP_OK)
        status = cp_audit_keys_derive(secret.text, &out->keys, err);
    cp_secret_wipe(&secret);
    out->path = file ? file : out->settings.audit_file;
    return status;
}

void cp_audit_reader_close(cp_audit_reader *reader) {
    cp_audit_keys_wipe(&reader->keys);
}

/* ---- by trace id ------------------------------------------------------------------------------
 */

typedef struct search {
    const cp_audit_keys *keys;
    char wanted[64]; /* "trace_id":"..." as it stands in the clear part */
    char *body;      /* of the last line that has it, owned */
    size_t n;
    bool is_answer;   /* that line is an answer's, which a look into records does not displace */
    cp_status status; /* of that line */
    cp_error *err;
} search;

static bool look_at(void *user, const cp_audit_line *line) {
    static const char answer[] = "\"record\":{\"kind\":\"answer\"";
    search *s = user;
    bool is_answer = memmem(line->body.data, line->body.n, answer, sizeof answer - 1) != NULL;
    if (!memmem(line->body.data, line->body.n, s->wanted, strlen(s->wanted)) ||
        (s->is_answer && !is_answer))
        return true;
    s->is_answer = is_answer;
    free(s->body);
    s->body = cp_copy_bytes(line->body.data, line->body.n);
    s->n = line->body.n;
    s->status = s->body ? CP_OK : cp_error_no_memory(s->err, "audit record");
    bool checkable = line->keyed == s->keys->secret;
    if (s->status == CP_OK && checkable)
        s->status = cp_audit_line_check(s->keys, line, s->err);
    if (s->status == CP_ERR_FORMAT)
        cp_error_prefix(s->err, "the record is not as it was written, or of another SECRET_KEY");
    return s->status != CP_ERR_NO_MEMORY;
}

static bool is_trace_id(const char *text) {
    return strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32;
}

cp_status cp_audit_reader_find(const cp_audit_reader *reader, const char *trace_id,
                               cp_audit_record *out, cp_error *err) {
    search s = {.keys = &reader->keys, .err = err};
    cp_audit_scan scan = {.keys = &reader->keys, .on_line = look_at, .user = &s};
    *out = (cp_audit_record){0};
    if (!is_trace_id(trace_id))
        return cp_error_set(err, CP_ERR_USAGE, "\"%.40s\" is no trace id: 32 of 0-9 and a-f",
                            trace_id);
    snprintf(s.wanted, sizeof s.wanted, "\"trace_id\":\"%s\"", trace_id);
    cp_status status = cp_audit_scan_run(reader->path, &scan, err);
    if (status == CP_OK && scan.head.other_key)
        status = cp_error_set(err, CP_ERR_FORMAT, "%s was made with another SECRET_KEY than this",
                              reader->path);
    if (status == CP_OK && !s.body)
        status = cp_error_set(err, CP_ERR_NOT_FOUND, "%s: no record has the trace id %s",
                              reader->path, trace_id);
    if (status == CP_OK)
        status = s.status;
    if (status == CP_OK)
        status = cp_audit_record_read(&reader->keys, (cp_str){s.body, s.n}, out, err);
    free(s.body);
    return status;
}
