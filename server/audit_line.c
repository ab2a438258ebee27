#include "server/audit_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NONE     "0000000000000000000000000000000000000000000000000000000000000000"
#define HEAD_CAP 192

void cp_audit_place_init(cp_audit_place *place) {
    *place = (cp_audit_place){.seq = 1, .at = 0, .prev = NONE};
}

static size_t print_head(const cp_audit_place *place, char out[HEAD_CAP]) {
    return (size_t)snprintf(out, HEAD_CAP,
                            "{\"seq\":%" PRIu64 ",\"at\":%" PRIu64 ",\"prev\":\"%s\",", place->seq,
                            place->at, place->prev);
}

cp_status cp_audit_line_append(const cp_audit_keys *keys, cp_audit_place *place, cp_str body,
                               cp_strbuf *out, cp_error *err) {
    char head[HEAD_CAP], mark[CP_AUDIT_HEX_CAP], hash[CP_AUDIT_HEX_CAP];
    size_t start = out->n;
    cp_strbuf_append(out, head, print_head(place, head));
    cp_strbuf_append(out, body.data, body.n);
    cp_status status = cp_strbuf_check(out, "audit record", err);
    if (status == CP_OK && out->n - start + HEAD_CAP > CP_AUDIT_MAX_LINE)
        status = cp_error_set(err, CP_ERR_LIMIT, "audit record: longer than %zu bytes",
                              CP_AUDIT_MAX_LINE);
    if (status == CP_OK)
        status = cp_audit_chain_mark(keys, (cp_str){out->data + start, out->n - start}, mark, err);
    if (status != CP_OK)
        return status;
    cp_strbuf_printf(out, ",\"%s\":\"%s\"}\n", cp_audit_mark_name(keys), mark);
    status = cp_strbuf_check(out, "audit record", err);
    if (status == CP_OK)
        status = cp_audit_sha256((cp_str){out->data + start, out->n - start - 1}, hash, err);
    if (status != CP_OK)
        return status;
    place->seq++;
    place->at += out->n - start;
    memcpy(place->prev, hash, sizeof hash);
    return CP_OK;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static bool take(cp_str *text, const char *literal) {
    size_t n = strlen(literal);
    if (text->n < n || memcmp(text->data, literal, n) != 0)
        return false;
    text->data += n;
    text->n -= n;
    return true;
}

/* Decimal digits without a leading zero (but 0), at most 18 of them. */
static bool take_number(cp_str *text, uint64_t *out) {
    size_t n = 0;
    *out = 0;
    while (n < text->n && n < 19 && text->data[n] >= '0' && text->data[n] <= '9')
        *out = *out * 10 + (uint64_t)(text->data[n++] - '0');
    bool good = n > 0 && n < 19 && (n == 1 || text->data[0] != '0');
    text->data += n;
    text->n -= n;
    return good;
}

static bool take_hex(cp_str *text, char out[CP_AUDIT_HEX_CAP]) {
    unsigned char bytes[CP_SHA256_BYTES];
    if (text->n < CP_AUDIT_HEX ||
        !cp_unhex((cp_str){text->data, CP_AUDIT_HEX}, bytes, sizeof bytes))
        return false;
    memcpy(out, text->data, CP_AUDIT_HEX);
    out[CP_AUDIT_HEX] = '\0';
    text->data += CP_AUDIT_HEX;
    text->n -= CP_AUDIT_HEX;
    return true;
}

/* The mark at the end; `text` becomes what stands before it. */
static bool take_mark(cp_str *text, cp_audit_line *out) {
    static const char *const names[] = {",\"sha256\":\"", ",\"hmac\":\""};
    for (int keyed = 0; keyed < 2; keyed++) {
        size_t n = strlen(names[keyed]) + CP_AUDIT_HEX + 2;
        if (text->n < n)
            continue;
        cp_str end = {text->data + text->n - n, n};
        if (take(&end, names[keyed]) && take_hex(&end, out->mark) && take(&end, "\"}")) {
            out->keyed = keyed;
            text->n -= n;
            return true;
        }
    }
    return false;
}

bool cp_audit_line_parse(cp_str line, cp_audit_line *out) {
    *out = (cp_audit_line){0};
    cp_str rest = line;
    if (!take_mark(&rest, out))
        return false;
    out->marked = rest;
    if (!take(&rest, "{\"seq\":") || !take_number(&rest, &out->place.seq) ||
        !take(&rest, ",\"at\":") || !take_number(&rest, &out->place.at) ||
        !take(&rest, ",\"prev\":\"") || !take_hex(&rest, out->place.prev) || !take(&rest, "\","))
        return false;
    out->body = rest;
    return true;
}

cp_status cp_audit_line_check(const cp_audit_keys *keys, const cp_audit_line *line, cp_error *err) {
    char mark[CP_AUDIT_HEX_CAP];
    cp_status status = cp_audit_chain_mark(keys, line->marked, mark, err);
    if (status == CP_OK && !cp_equal_secret(mark, line->mark, CP_AUDIT_HEX))
        status = cp_error_set(err, CP_ERR_FORMAT, "its %s is wrong", cp_audit_mark_name(keys));
    return status;
}

cp_status cp_audit_place_after(cp_audit_place *place, const cp_audit_line *line, cp_str text,
                               cp_error *err) {
    place->seq = line->place.seq + 1;
    place->at = line->place.at + text.n + 1;
    return cp_audit_sha256(text, place->prev, err);
}

bool cp_audit_line_is_torn(const cp_audit_place *place, cp_str text) {
    char head[HEAD_CAP];
    size_t n = print_head(place, head), written = text.n;
    while (written > 0 && text.data[written - 1] == '\0')
        written--;
    return memcmp(head, text.data, n < written ? n : written) == 0;
}
