#include "base/trace_context.h"

#include "base/crypto.h"

#include <stdio.h>
#include <string.h>

#define KNOWN_FLAGS (CP_TRACE_SAMPLED | CP_TRACE_RANDOM)
#define PARENT_N    (CP_TRACE_PARENT_CAP - 1)
#define MAX_MEMBERS 32
#define MAX_KEY     256
#define MAX_VALUE   256

static bool read_id(const char *text, unsigned char *out, size_t n) {
    unsigned char any = 0;
    if (!cp_unhex((cp_str){text, 2 * n}, out, n))
        return false;
    for (size_t i = 0; i < n; i++)
        any |= out[i];
    return any != 0;
}

bool cp_trace_parse(const char *traceparent, cp_trace_context *out) {
    unsigned char version, flags;
    size_t n = traceparent ? strlen(traceparent) : 0;
    *out = (cp_trace_context){.flags = 0};
    if (n < PARENT_N || traceparent[2] != '-' || traceparent[35] != '-' || traceparent[52] != '-' ||
        !cp_unhex((cp_str){traceparent, 2}, &version, 1) || version == 0xff ||
        !cp_unhex((cp_str){traceparent + 53, 2}, &flags, 1))
        return false;
    if (n > PARENT_N && (version == 0 || traceparent[PARENT_N] != '-'))
        return false;
    if (!read_id(traceparent + 3, out->trace_id, CP_TRACE_ID_BYTES) ||
        !read_id(traceparent + 36, out->span_id, CP_SPAN_ID_BYTES)) {
        *out = (cp_trace_context){.flags = 0};
        return false;
    }
    out->flags = flags & (version == 0 ? KNOWN_FLAGS : CP_TRACE_SAMPLED);
    return true;
}

void cp_trace_format(const cp_trace_context *context, char out[CP_TRACE_PARENT_CAP]) {
    char trace_id[2 * CP_TRACE_ID_BYTES + 1], span_id[2 * CP_SPAN_ID_BYTES + 1];
    cp_hex(context->trace_id, CP_TRACE_ID_BYTES, trace_id);
    cp_hex(context->span_id, CP_SPAN_ID_BYTES, span_id);
    snprintf(out, CP_TRACE_PARENT_CAP, "00-%s-%s-%02x", trace_id, span_id,
             context->flags & KNOWN_FLAGS);
}

/* ---- tracestate ------------------------------------------------------------------------------ */

void cp_trace_state_add(cp_trace_state *state, const char *header) {
    size_t n = strlen(state->text), more = strlen(header);
    size_t comma = n > 0 ? 1 : 0;
    if (state->dropped || n + comma + more >= sizeof state->text) {
        state->dropped = true;
        state->text[0] = '\0';
        return;
    }
    if (comma)
        state->text[n] = ',';
    memcpy(state->text + n + comma, header, more + 1);
}

static cp_str trimmed(cp_str text) {
    while (text.n > 0 && (*text.data == ' ' || *text.data == '\t')) {
        text.data++;
        text.n--;
    }
    while (text.n > 0 && (text.data[text.n - 1] == ' ' || text.data[text.n - 1] == '\t'))
        text.n--;
    return text;
}

static bool is_key(cp_str key) {
    static const char marks[] = "_-*/@";
    for (size_t i = 0; i < key.n; i++) {
        char c = key.data[i];
        bool first = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!first && (i == 0 || c == '\0' || !strchr(marks, c)))
            return false;
    }
    return key.n > 0 && key.n <= MAX_KEY;
}

/* Printable ASCII without comma and equals sign; a blank at its end was trimmed. */
static bool is_value(cp_str value) {
    for (size_t i = 0; i < value.n; i++) {
        char c = value.data[i];
        if (c < 0x20 || c > 0x7e || c == ',' || c == '=')
            return false;
    }
    return value.n > 0 && value.n <= MAX_VALUE;
}

static bool is_member(cp_str member, cp_str *key) {
    const char *equals = memchr(member.data, '=', member.n);
    if (!equals)
        return false;
    *key = (cp_str){member.data, (size_t)(equals - member.data)};
    return is_key(*key) && is_value((cp_str){equals + 1, member.n - key->n - 1});
}

bool cp_trace_state_is_valid(const char *text) {
    cp_str keys[MAX_MEMBERS];
    size_t n = 0;
    for (bool more = true; more; text++) {
        size_t length = strcspn(text, ",");
        cp_str member = trimmed((cp_str){text, length});
        text += length;
        more = *text == ',';
        if (member.n == 0)
            continue; /* empty members are allowed */
        if (n == MAX_MEMBERS || !is_member(member, &keys[n]))
            return false;
        for (size_t i = 0; i < n; i++)
            if (cp_str_equal(keys[i], keys[n]))
                return false;
        n++;
    }
    return n > 0;
}

/* ---- on the way out -------------------------------------------------------------------------- */

static _Thread_local const cp_trace_carrier *carried;

void cp_trace_carry(const cp_trace_carrier *carrier) {
    carried = carrier;
}

const cp_trace_carrier *cp_trace_carried(void) {
    return carried;
}
