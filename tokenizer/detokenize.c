/* Ids to text: whole, and as tokens arrive. */
#include "tokenizer/tokenizer_state.h"

#include "base/utf8.h"

#include <string.h>

void cp_detokenizer_init(cp_detokenizer *d, const cp_tokenizer *tok, bool skip_special) {
    *d = (cp_detokenizer){.tok = tok, .skip_special = skip_special};
}

/* One byte more for a sequence that is under way: it may complete it, go on with it, or show that
 * it was bad; then the byte itself is looked at anew. */
static void push_byte(cp_detokenizer *d, char byte, cp_strbuf *out) {
    d->pending[d->n_pending++] = byte;
    while (d->n_pending > 0) {
        cp_utf8_step step = cp_utf8_decode(d->pending, d->n_pending);
        if (step.cut)
            return;
        if (step.valid)
            cp_strbuf_append(out, d->pending, step.n_bytes);
        else
            cp_strbuf_puts(out, CP_UTF8_REPLACEMENT);
        d->n_pending -= step.n_bytes;
        memmove(d->pending, d->pending + step.n_bytes, d->n_pending);
    }
}

/* The length of the whole, valid sequences at the start. */
static size_t valid_prefix(cp_str bytes) {
    size_t i = 0;
    while (i < bytes.n) {
        cp_utf8_step step = cp_utf8_decode(bytes.data + i, bytes.n - i);
        if (!step.valid)
            break;
        i += step.n_bytes;
    }
    return i;
}

void cp_detokenizer_push(cp_detokenizer *d, int32_t id, cp_strbuf *out) {
    if (d->skip_special && cp_tokenizer_is_special(d->tok, id))
        return;
    cp_str bytes = cp_tokenizer_id_bytes(d->tok, id);
    size_t done = 0;
    while (done < bytes.n) {
        if (d->n_pending == 0) {
            cp_str rest = {bytes.data + done, bytes.n - done};
            size_t n = valid_prefix(rest);
            cp_strbuf_append(out, rest.data, n);
            done += n;
        }
        if (done < bytes.n)
            push_byte(d, bytes.data[done++], out);
    }
}

void cp_detokenizer_finish(cp_detokenizer *d, cp_strbuf *out) {
    if (d->n_pending > 0) /* a cut sequence is one bad part */
        cp_strbuf_puts(out, CP_UTF8_REPLACEMENT);
    d->n_pending = 0;
}

cp_status cp_tokenizer_decode(const cp_tokenizer *tok, const int32_t *ids, size_t n,
                              bool skip_special, cp_strbuf *out, cp_error *err) {
    cp_detokenizer d;
    cp_detokenizer_init(&d, tok, skip_special);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= cp_tokenizer_n_ids(tok))
            return cp_error_set(err, CP_ERR_USAGE, "id %d is outside 0..%zu of the tokenizer",
                                (int)ids[i], cp_tokenizer_n_ids(tok) - 1);
        cp_detokenizer_push(&d, ids[i], out);
    }
    cp_detokenizer_finish(&d, out);
    return cp_strbuf_check(out, "decoded text", err);
}
