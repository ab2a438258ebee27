#include "server/audit_head.h"

#include "base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The slot's bytes: line, blanks, line end. */
static void render(const cp_audit_place *next, const char *key_id, const char *mark_name,
                   const char *mark, char out[CP_AUDIT_SLOT_BYTES], size_t *marked) {
    memset(out, ' ', CP_AUDIT_SLOT_BYTES);
    int n = snprintf(out, CP_AUDIT_SLOT_BYTES,
                     "{\"seq\":%" PRIu64 ",\"at\":%" PRIu64 ",\"last\":\"%s\",\"key\":\"%s\"",
                     next->seq - 1, next->at, next->prev, key_id);
    *marked = (size_t)n;
    n += snprintf(out + n, CP_AUDIT_SLOT_BYTES - (size_t)n, ",\"%s\":\"%s\"}", mark_name, mark);
    out[n] = ' '; /* the NUL */
    out[CP_AUDIT_SLOT_BYTES - 1] = '\n';
}

static cp_status render_marked(const cp_audit_keys *keys, const cp_audit_place *next,
                               char out[CP_AUDIT_SLOT_BYTES], cp_error *err) {
    char mark[CP_AUDIT_HEX_CAP];
    size_t marked;
    render(next, keys->id, "", "", out, &marked);
    cp_status status = cp_audit_chain_mark(keys, (cp_str){out, marked}, mark, err);
    if (status == CP_OK)
        render(next, keys->id, cp_audit_mark_name(keys), mark, out, &marked);
    return status;
}

/* A slot is good when it says what we would have written for it; without SECRET_KEY the mark of a
 * slot that was made with one may be any. */
static cp_status read_slot(const cp_audit_keys *keys, const char bytes[CP_AUDIT_SLOT_BYTES],
                           cp_audit_slot *slot, char key_id[17], cp_error *err) {
    char text[CP_AUDIT_SLOT_BYTES + 1], again[CP_AUDIT_SLOT_BYTES], mark[CP_AUDIT_HEX_CAP] = "";
    size_t marked;
    memcpy(text, bytes, CP_AUDIT_SLOT_BYTES);
    text[CP_AUDIT_SLOT_BYTES] = '\0';
    *slot = (cp_audit_slot){0};
    key_id[0] = '\0';
    int n = sscanf(text,
                   "{\"seq\":%18" SCNu64 ",\"at\":%18" SCNu64
                   ",\"last\":\"%64[0-9a-f]\",\"key\":\"%16[0-9a-f]\",\"hmac\":\"%64[0-9a-f]",
                   &slot->next.seq, &slot->next.at, slot->next.prev, key_id, mark);
    if (n < 3)
        return CP_OK;
    slot->next.seq++;
    cp_status status = CP_OK;
    if (key_id[0] && !keys->secret)
        render(&slot->next, key_id, "hmac", mark, again, &marked);
    else
        status = render_marked(keys, &slot->next, again, err);
    slot->good = status == CP_OK && memcmp(again, bytes, CP_AUDIT_SLOT_BYTES) == 0;
    return status;
}

cp_status cp_audit_head_read(const char *path, const cp_audit_keys *keys, cp_audit_head *out,
                             cp_error *err) {
    cp_strbuf text;
    char ids[2][17] = {"", ""};
    *out = (cp_audit_head){0};
    cp_status status = cp_file_read(path, 4 * CP_AUDIT_SLOT_BYTES, &text, err);
    if (status == CP_ERR_LIMIT)
        status = CP_OK; /* no head of ours: no slot is good */
    out->whole = status == CP_OK && text.n == 2 * CP_AUDIT_SLOT_BYTES;
    for (unsigned i = 0; i < 2 && out->whole && status == CP_OK; i++)
        status = read_slot(keys, text.data + i * CP_AUDIT_SLOT_BYTES, &out->slots[i], ids[i], err);
    cp_strbuf_deinit(&text);
    const cp_audit_slot *a = &out->slots[0], *b = &out->slots[1];
    out->newest = b->good && (!a->good || b->next.seq > a->next.seq);
    memcpy(out->key_id, ids[out->newest], sizeof out->key_id);
    out->other_key = out->whole && !a->good && !b->good && strcmp(ids[0], keys->id) != 0 &&
                     strcmp(ids[0], ids[1]) == 0;
    return status;
}

cp_status cp_audit_head_write(int fd, unsigned slot, const cp_audit_keys *keys,
                              const cp_audit_place *next, cp_error *err) {
    char bytes[CP_AUDIT_SLOT_BYTES];
    cp_status status = render_marked(keys, next, bytes, err);
    ssize_t put;
    if (status != CP_OK)
        return status;
    do
        put = pwrite(fd, bytes, sizeof bytes, (off_t)(slot * CP_AUDIT_SLOT_BYTES));
    while (put < 0 && errno == EINTR);
    if (put != (ssize_t)sizeof bytes || fdatasync(fd) != 0)
        return cp_error_set(err, CP_ERR_IO, "the audit log's head cannot be written: %s",
                            put < 0 || put == (ssize_t)sizeof bytes ? strerror(errno)
                                                                    : "short write");
    return CP_OK;
}
