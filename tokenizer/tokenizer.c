#include "tokenizer/tokenizer.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer/bpe.h"
#include "tokenizer/nfc.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/tokenizer_state.h"

#include <stdlib.h>
#include <string.h>

/* ---- lifecycle ----------------------------------------------------------------------------- */

cp_status cp_tokenizer_open(const char *dir, cp_tokenizer **out, cp_error *err) {
    char path[CP_PATH_CAP];
    *out = NULL;
    cp_tokenizer *tok = calloc(1, sizeof *tok);
    if (!tok)
        return cp_error_no_memory(err, "the tokenizer");
    cp_status status = cp_path_join(dir, "tokenizer.json", path, sizeof path, err);
    if (status == CP_OK)
        status = cp_tokenizer_json_load(tok, path, err);
    if (status == CP_OK)
        status = cp_chat_template_load(&tok->chat, dir, err);
    if (status == CP_OK)
        *out = tok;
    else
        cp_tokenizer_close(tok);
    return status;
}

void cp_tokenizer_close(cp_tokenizer *tok) {
    if (!tok)
        return;
    cp_vocab_deinit(&tok->vocab);
    cp_added_tokens_deinit(&tok->added);
    cp_pretokenizer_deinit(&tok->pretokenizer);
    cp_chat_template_deinit(&tok->chat);
    free(tok);
}

/* ---- questions about ids ------------------------------------------------------------------- */

size_t cp_tokenizer_n_ids(const cp_tokenizer *tok) {
    return tok->vocab.n_ids;
}

int32_t cp_tokenizer_added_id(const cp_tokenizer *tok, const char *text) {
    return cp_added_tokens_id(&tok->added, &tok->vocab, (cp_str){text, strlen(text)});
}

static bool has_row(const cp_tokenizer *tok, int32_t id) {
    return id >= 0 && (size_t)id < tok->vocab.n_ids;
}

cp_str cp_tokenizer_id_bytes(const cp_tokenizer *tok, int32_t id) {
    return has_row(tok, id) ? cp_vocab_bytes(&tok->vocab, id) : (cp_str){"", 0};
}

bool cp_tokenizer_is_special(const cp_tokenizer *tok, int32_t id) {
    return has_row(tok, id) && (tok->vocab.tokens[id].kinds & CP_TOKEN_SPECIAL);
}

void cp_ids_deinit(cp_ids *ids) {
    free(ids->ids);
    *ids = (cp_ids){NULL, 0, 0};
}

cp_status cp_ids_push(cp_ids *ids, int32_t id, cp_error *err) {
    if (!cp_grow((void **)&ids->ids, &ids->cap, ids->n + 1, sizeof *ids->ids))
        return cp_error_no_memory(err, "token ids");
    ids->ids[ids->n++] = id;
    return CP_OK;
}

/* ---- encoding ------------------------------------------------------------------------------ */

/* One call's working memory. */
typedef struct encoding {
    const cp_tokenizer *tok;
    cp_splitter splitter;
    cp_bpe_scratch bpe;
    cp_strbuf repaired, normal;
    cp_ids *out;
} encoding;

static cp_status encode_piece(void *context, const char *piece, size_t n, cp_error *err) {
    encoding *e = context;
    if (e->tok->ignore_merges) {
        int32_t whole = cp_vocab_find(&e->tok->vocab, (cp_str){piece, n});
        if (whole >= 0)
            return cp_ids_push(e->out, whole, err);
    }
    return cp_bpe_encode(&e->tok->vocab, piece, n, &e->bpe, e->out, err);
}

/* A run of text without added tokens. It is repaired, normalised and split by itself: nothing
 * composes or matches across an added token. Plain text, which is nearly all, is not copied. */
static cp_status encode_segment(encoding *e, cp_str text, cp_error *err) {
    cp_status status = CP_OK;
    if (text.n == 0 || cp_nfc_plain_prefix(text.data, text.n) == text.n)
        return cp_splitter_run(&e->splitter, text.data, text.n, err);
    if (!cp_utf8_is_valid(text.data, text.n)) {
        cp_strbuf_clear(&e->repaired);
        cp_strbuf_append_repaired(&e->repaired, text.data, text.n);
        status = cp_strbuf_check(&e->repaired, "repaired text", err);
        text = cp_strbuf_str(&e->repaired);
    }
    if (status == CP_OK && e->tok->nfc) {
        cp_strbuf_clear(&e->normal);
        status = cp_nfc_append(&e->normal, text.data, text.n, err);
        text = cp_strbuf_str(&e->normal);
    }
    return status == CP_OK ? cp_splitter_run(&e->splitter, text.data, text.n, err) : status;
}

/* Encodes the added tokens of a zone and the segments before them; *done moves behind the last. */
static cp_status encode_zone(encoding *e, const char *text, cp_span zone, size_t *done,
                             cp_error *err) {
    size_t at, from = zone.begin;
    int32_t id;
    while (cp_added_tokens_find(&e->tok->added, &e->tok->vocab, text, from, zone.end, &at, &id)) {
        cp_status status = encode_segment(e, (cp_str){text + *done, at - *done}, err);
        if (status == CP_OK)
            status = cp_ids_push(e->out, id, err);
        if (status != CP_OK)
            return status;
        *done = from = at + cp_vocab_bytes(&e->tok->vocab, id).n;
    }
    return CP_OK;
}

static cp_status encode_text(encoding *e, cp_str text, const cp_encode_options *o, cp_error *err) {
    size_t done = 0, last_end = 0;
    cp_status status = CP_OK;
    if (o->parse_special)
        status = encode_zone(e, text.data, (cp_span){0, text.n}, &done, err);
    for (size_t i = 0; !o->parse_special && i < o->n_control && status == CP_OK; i++) {
        cp_span zone = o->control[i];
        while (i + 1 < o->n_control && o->control[i + 1].begin == zone.end &&
               o->control[i + 1].end >= zone.end) /* neighbours count as one */
            zone.end = o->control[++i].end;
        if (zone.begin < last_end || zone.end < zone.begin || zone.end > text.n)
            return cp_error_set(err, CP_ERR_USAGE,
                                "control span %zu..%zu is not in order within %zu bytes",
                                zone.begin, zone.end, text.n);
        last_end = zone.end;
        status = encode_zone(e, text.data, zone, &done, err);
    }
    return status == CP_OK ? encode_segment(e, (cp_str){text.data + done, text.n - done}, err)
                           : status;
}

static cp_status push_all(cp_ids *out, const int32_t *ids, size_t n, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < n && status == CP_OK; i++)
        status = cp_ids_push(out, ids[i], err);
    return status;
}

cp_status cp_tokenizer_encode(const cp_tokenizer *tok, const char *text, size_t n,
                              const cp_encode_options *options, cp_ids *out, cp_error *err) {
    static const cp_encode_options ordinary = {.control = NULL};
    const cp_encode_options *o = options ? options : &ordinary;
    if (n > CP_TOKENIZER_MAX_TEXT)
        return cp_error_set(err, CP_ERR_LIMIT, "a text of %zu bytes, at most %zu are encoded", n,
                            CP_TOKENIZER_MAX_TEXT);
    encoding e = {.tok = tok, .out = out};
    size_t n_before = out->n;
    /* A bad byte becomes three; normalisation may triple again. Piece indices stay below 2^32. */
    cp_strbuf_init(&e.repaired, CP_TOKENIZER_MAX_TEXT * 3);
    cp_strbuf_init(&e.normal, CP_TOKENIZER_MAX_TEXT * 9);
    cp_status status = cp_splitter_init(&e.splitter, &tok->pretokenizer, encode_piece, &e, err);
    if (status == CP_OK && o->post_process)
        status = push_all(out, tok->before, tok->n_before, err);
    if (status == CP_OK)
        status = encode_text(&e, (cp_str){text, n}, o, err);
    if (status == CP_OK && o->post_process)
        status = push_all(out, tok->after, tok->n_after, err);
    if (status != CP_OK)
        out->n = n_before; /* all or nothing */
    cp_splitter_deinit(&e.splitter);
    cp_bpe_scratch_deinit(&e.bpe);
    cp_strbuf_deinit(&e.repaired);
    cp_strbuf_deinit(&e.normal);
    return status;
}
