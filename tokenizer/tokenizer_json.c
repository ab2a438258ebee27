#include "tokenizer/tokenizer_json.h"

#include "base/file.h"
#include "base/mem.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/tokenizer_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A vocabulary entry that is not written in the byte alphabet: only an added token may be. */
typedef struct odd_token {
    int64_t id;
    size_t offset, n; /* in load.odd_bytes */
} odd_token;

typedef struct load {
    cp_json_reader r;
    cp_tokenizer *tok;
    cp_byte_alphabet alphabet;
    cp_strbuf left, right; /* the sides of a merge, decoded */
    cp_strbuf odd_bytes;
    odd_token *odd;
    size_t n_odd, cap_odd;
    bool has_vocab, has_merges;
    size_t merges_at; /* where the merges stand, when they came before the vocabulary; else 0 */
} load;

/* ---- shared helpers ------------------------------------------------------------------------ */

cp_status cp_json_next_field(cp_json_reader *r, const char *const *names, unsigned *seen,
                             int *field, cp_error *err) {
    for (;;) {
        cp_str key;
        bool more = false;
        *field = -1;
        cp_status status = cp_json_next_key(r, &key, &more, err);
        if (status != CP_OK || !more)
            return status;
        for (int i = 0; names[i]; i++)
            if (cp_str_is(key, names[i]))
                *field = i;
        if (*field >= 0) {
            if (*seen & 1u << *field)
                return cp_json_fail(r, err, "the key \"%s\" is there twice", names[*field]);
            *seen |= 1u << *field;
            return CP_OK;
        }
        status = cp_json_skip(r, err);
        if (status != CP_OK)
            return status;
    }
}

cp_status cp_json_take_null(cp_json_reader *r, bool *was_null, cp_error *err) {
    cp_json_kind kind;
    cp_status status = cp_json_peek(r, &kind, err);
    *was_null = status == CP_OK && kind == CP_JSON_NULL;
    return *was_null ? cp_json_skip(r, err) : status;
}

cp_status cp_json_unsupported(const cp_json_reader *r, cp_error *err, const char *fmt, ...) {
    char message[320];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    return cp_error_set(err, CP_ERR_UNSUPPORTED, "%s: %s", r->source, message);
}

/* Puts the file's name before a sentence of the tables. */
static cp_status in_file(const load *l, cp_status status, cp_error *err) {
    return status == CP_OK ? CP_OK : cp_error_prefix(err, "%s", l->r.source);
}

/* ---- added tokens -------------------------------------------------------------------------- */

/* The options that would let a token swallow neighbouring blanks, match whole words only, or match
 * in normalised text. No byte-level model in view uses them. */
static cp_status refuse_option(load *l, const char *name, cp_error *err) {
    bool value = false;
    cp_status status = cp_json_read_bool(&l->r, &value, err);
    if (status == CP_OK && value)
        return cp_json_unsupported(&l->r, err, "an added token with \"%s\": true is not supported",
                                   name);
    return status;
}

static cp_status read_added_token(load *l, cp_error *err) {
    static const char *const names[] = {"id",     "content", "special",    "single_word",
                                        "lstrip", "rstrip",  "normalized", NULL};
    enum { ID, CONTENT, SPECIAL, ALL };
    unsigned seen = 0;
    int field;
    int64_t id = -1;
    bool special = false;
    cp_str text;
    cp_strbuf_clear(&l->left); /* the content must outlive the next read */
    cp_status status = cp_json_enter_object(&l->r, err);
    while (status == CP_OK &&
           (status = cp_json_next_field(&l->r, names, &seen, &field, err)) == CP_OK && field >= 0) {
        if (field == ID) {
            status =
                cp_json_read_int(&l->r, "an added token's id", 0, CP_VOCAB_MAX_IDS - 1, &id, err);
        } else if (field == CONTENT) {
            status = cp_json_read_string(&l->r, &text, err);
            if (status == CP_OK)
                cp_strbuf_append(&l->left, text.data, text.n);
        } else if (field == SPECIAL) {
            status = cp_json_read_bool(&l->r, &special, err);
        } else {
            status = refuse_option(l, names[field], err);
        }
    }
    if (status == CP_OK && (seen & 3u) != 3u)
        status = cp_json_fail(&l->r, err, "an added token lacks its id or content");
    if (status == CP_OK)
        status = cp_strbuf_check(&l->left, l->r.source, err);
    if (status != CP_OK)
        return status;
    return in_file(l, cp_vocab_add_added(&l->tok->vocab, cp_strbuf_str(&l->left), id, special, err),
                   err);
}

/* Called last, see read_file. */
static cp_status read_added_tokens(load *l, cp_error *err) {
    bool more = false;
    cp_status status = cp_json_enter_array(&l->r, err);
    while (status == CP_OK && (status = cp_json_next_element(&l->r, &more, err)) == CP_OK && more)
        status = read_added_token(l, err);
    return status;
}

/* ---- model --------------------------------------------------------------------------------- */

static cp_status keep_odd_token(load *l, cp_str key, int64_t id, cp_error *err) {
    if (l->n_odd == CP_ADDED_TOKENS_MAX)
        return cp_json_fail(&l->r, err, "the vocabulary is not written in the byte-level alphabet");
    if (!cp_grow((void **)&l->odd, &l->cap_odd, l->n_odd + 1, sizeof *l->odd))
        return cp_error_no_memory(err, l->r.source);
    l->odd[l->n_odd++] = (odd_token){id, l->odd_bytes.n, key.n};
    cp_strbuf_append(&l->odd_bytes, key.data, key.n);
    return cp_strbuf_check(&l->odd_bytes, l->r.source, err);
}

/* Decodes a token's text into out[text.n]; the buffer's own growth is the check of its size. */
static cp_status decode_letters(load *l, cp_str text, cp_strbuf *out, bool *in_alphabet,
                                cp_error *err) {
    cp_strbuf_clear(out);
    cp_strbuf_append(out, text.data, text.n); /* makes the room: decoding never grows */
    cp_status status = cp_strbuf_check(out, l->r.source, err);
    size_t n = 0;
    if (status != CP_OK)
        return status;
    *in_alphabet = text.n > 0 && cp_byte_alphabet_decode(&l->alphabet, text, out->data, &n);
    cp_strbuf_truncate(out, n);
    return CP_OK;
}

static cp_status read_vocab(load *l, cp_error *err) {
    cp_json_kind kind;
    bool more = false;
    cp_status status = cp_json_peek(&l->r, &kind, err);
    if (status == CP_OK && kind != CP_JSON_OBJECT)
        return cp_json_fail(&l->r, err, "model.vocab is not an object");
    if (status == CP_OK)
        status = cp_json_enter_object(&l->r, err);
    cp_str key;
    while (status == CP_OK && (status = cp_json_next_key(&l->r, &key, &more, err)) == CP_OK &&
           more) {
        bool in_alphabet = false;
        int64_t id = -1;
        /* The key lives until the next read: both forms are taken now. */
        status = decode_letters(l, key, &l->left, &in_alphabet, err);
        if (status == CP_OK && !in_alphabet)
            status = keep_odd_token(l, key, -1, err);
        if (status == CP_OK)
            status = cp_json_read_int(&l->r, "a token's id", 0, CP_VOCAB_MAX_IDS - 1, &id, err);
        if (status == CP_OK && in_alphabet)
            status = in_file(l, cp_vocab_add_base(&l->tok->vocab, cp_strbuf_str(&l->left), id, err),
                             err);
        else if (status == CP_OK)
            l->odd[l->n_odd - 1].id = id;
    }
    l->has_vocab = true;
    return status;
}

/* ["a", "b"], or "a b" in older files. */
static cp_status read_merge(load *l, cp_json_reader *r, cp_error *err) {
    cp_json_kind kind;
    cp_str text;
    bool more = true, left_known = false, right_known = false;
    cp_status status = cp_json_peek(r, &kind, err);
    if (status != CP_OK)
        return status;
    if (kind == CP_JSON_STRING) {
        status = cp_json_read_string(r, &text, err);
        const char *blank = status == CP_OK ? memchr(text.data, ' ', text.n) : NULL;
        if (status == CP_OK && !blank)
            return cp_json_fail(r, err, "merge %zu has no space in it", l->tok->vocab.n_merges);
        if (status == CP_OK)
            status = decode_letters(l, (cp_str){text.data, (size_t)(blank - text.data)}, &l->left,
                                    &left_known, err);
        if (status == CP_OK)
            status =
                decode_letters(l, (cp_str){blank + 1, (size_t)(text.data + text.n - blank - 1)},
                               &l->right, &right_known, err);
    } else {
        status = cp_json_enter_array(r, err);
        for (int side = 0; status == CP_OK && side < 2; side++) {
            status = cp_json_next_element(r, &more, err);
            if (status == CP_OK && !more)
                return cp_json_fail(r, err, "merge %zu has not two sides", l->tok->vocab.n_merges);
            if (status == CP_OK)
                status = cp_json_read_string(r, &text, err);
            if (status == CP_OK)
                status = decode_letters(l, text, side ? &l->right : &l->left,
                                        side ? &right_known : &left_known, err);
        }
        if (status == CP_OK && (status = cp_json_next_element(r, &more, err)) == CP_OK && more)
            return cp_json_fail(r, err, "merge %zu has more than two sides",
                                l->tok->vocab.n_merges);
    }
    if (status == CP_OK && !(left_known && right_known))
        return cp_json_fail(r, err, "merge %zu names a token that is not in the vocabulary",
                            l->tok->vocab.n_merges);
    if (status != CP_OK)
        return status;
    return in_file(
        l,
        cp_vocab_add_merge(&l->tok->vocab, cp_strbuf_str(&l->left), cp_strbuf_str(&l->right), err),
        err);
}

static cp_status read_merges(load *l, cp_json_reader *r, cp_error *err) {
    bool more = false;
    cp_status status = cp_json_enter_array(r, err);
    while (status == CP_OK && (status = cp_json_next_element(r, &more, err)) == CP_OK && more)
        status = read_merge(l, r, err);
    return status;
}

/* The merges name tokens: when they come first, they are passed over and read at the end. */
static cp_status read_or_keep_merges(load *l, cp_error *err) {
    l->has_merges = true;
    if (l->has_vocab)
        return read_merges(l, &l->r, err);
    l->merges_at = l->r.pos;
    return cp_json_skip(&l->r, err);
}

static cp_status read_kept_merges(load *l, cp_error *err) {
    if (l->merges_at == 0)
        return CP_OK;
    cp_json_reader again;
    cp_json_reader_init(&again, l->r.source, l->r.text, l->r.n);
    again.pos = l->merges_at;
    cp_status status = read_merges(l, &again, err);
    cp_json_reader_deinit(&again);
    return status;
}

/* null or "" */
static cp_status refuse_affix(load *l, const char *name, bool null_only, cp_error *err) {
    bool null;
    cp_str text = {NULL, 0};
    cp_json_kind kind;
    cp_status status = cp_json_take_null(&l->r, &null, err);
    if (status != CP_OK || null)
        return status;
    status = cp_json_peek(&l->r, &kind, err);
    if (status == CP_OK && kind == CP_JSON_STRING && !null_only) {
        status = cp_json_read_string(&l->r, &text, err);
        if (status == CP_OK && text.n == 0)
            return CP_OK;
    }
    return status != CP_OK ? status
                           : cp_json_unsupported(&l->r, err, "model.%s is not supported", name);
}

static cp_status read_flag(load *l, bool *out, cp_error *err) {
    bool null;
    cp_status status = cp_json_take_null(&l->r, &null, err);
    return status != CP_OK || null ? status : cp_json_read_bool(&l->r, out, err);
}

static cp_status read_model_type(load *l, cp_error *err) {
    cp_str type;
    cp_status status = cp_json_read_string(&l->r, &type, err);
    if (status == CP_OK && !cp_str_is(type, "BPE"))
        return cp_json_unsupported(&l->r, err, "model.type is \"%.*s\", only \"BPE\" is supported",
                                   (int)(type.n < 40 ? type.n : 40), type.data);
    return status;
}

static cp_status read_model_field(load *l, int field, const char *name, cp_error *err) {
    enum { TYPE, VOCAB, MERGES, IGNORE_MERGES, BYTE_FALLBACK, DROPOUT, UNK_TOKEN };
    bool fallback = false;
    cp_status status;
    switch (field) {
    case TYPE:
        return read_model_type(l, err);
    case VOCAB:
        return read_vocab(l, err);
    case MERGES:
        return read_or_keep_merges(l, err);
    case IGNORE_MERGES:
        return read_flag(l, &l->tok->ignore_merges, err);
    case BYTE_FALLBACK:
        status = read_flag(l, &fallback, err);
        if (status == CP_OK && fallback)
            return cp_json_unsupported(&l->r, err, "model.byte_fallback is not supported");
        return status;
    case DROPOUT:
    case UNK_TOKEN:
        return refuse_affix(l, name, true, err);
    default:
        return refuse_affix(l, name, false, err);
    }
}

static cp_status read_model(load *l, cp_error *err) {
    static const char *const names[] = {"type",
                                        "vocab",
                                        "merges",
                                        "ignore_merges",
                                        "byte_fallback",
                                        "dropout",
                                        "unk_token",
                                        "continuing_subword_prefix",
                                        "end_of_word_suffix",
                                        NULL};
    unsigned seen = 0;
    int field;
    cp_status status = cp_json_enter_object(&l->r, err);
    while (status == CP_OK &&
           (status = cp_json_next_field(&l->r, names, &seen, &field, err)) == CP_OK && field >= 0)
        status = read_model_field(l, field, names[field], err);
    if (status == CP_OK && !(seen & 1u)) /* a model of another kind may lack the key as well */
        return cp_json_fail(&l->r, err, "model.type is missing, expected \"BPE\"");
    if (status == CP_OK && !(l->has_vocab && l->has_merges))
        return cp_json_fail(&l->r, err, "model.%s is missing", l->has_vocab ? "merges" : "vocab");
    return status == CP_OK ? read_kept_merges(l, err) : status;
}

/* ---- the whole file ------------------------------------------------------------------------ */

/* What can be said only when all parts are known, in whatever order they came. */
static cp_status finish(load *l, cp_error *err) {
    cp_vocab *vocab = &l->tok->vocab;
    cp_status status = cp_vocab_finish(vocab, err);
    if (status == CP_OK)
        status = cp_added_tokens_build(&l->tok->added, vocab, err);
    for (size_t i = 0; i < l->n_odd && status == CP_OK; i++) {
        cp_str text = {l->odd_bytes.data + l->odd[i].offset, l->odd[i].n};
        if (text.n == 0 || cp_added_tokens_id(&l->tok->added, vocab, text) != l->odd[i].id)
            status = cp_error_set(err, CP_ERR_FORMAT,
                                  "token id %lld is not written in the byte-level alphabet",
                                  (long long)l->odd[i].id);
    }
    for (size_t i = 0; i < l->tok->n_before + l->tok->n_after && status == CP_OK; i++) {
        int32_t id = i < l->tok->n_before ? l->tok->before[i] : l->tok->after[i - l->tok->n_before];
        if ((size_t)id >= vocab->n_ids || vocab->tokens[id].kinds == CP_TOKEN_NONE)
            status = cp_error_set(err, CP_ERR_FORMAT, "post_processor: token id %d does not exist",
                                  (int)id);
    }
    return in_file(l, status, err);
}

enum { ADDED_TOKENS, NORMALIZER, PRE_TOKENIZER, POST_PROCESSOR, DECODER, MODEL };

static cp_status read_field(load *l, int field, cp_error *err) {
    switch (field) {
    case NORMALIZER:
        return cp_read_normalizer(&l->r, l->tok, err);
    case PRE_TOKENIZER:
        return cp_read_pre_tokenizer(&l->r, l->tok, err);
    case POST_PROCESSOR:
        return cp_read_post_processor(&l->r, l->tok, err);
    case DECODER:
        return cp_read_decoder(&l->r, err);
    default:
        return read_model(l, err);
    }
}

static cp_status read_file(load *l, cp_error *err) {
    static const char *const names[] = {
        "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model", NULL};
    unsigned seen = 0;
    int field;
    size_t added_at = 0,
           end = 0; /* read last: an added token may repeat an entry of the vocabulary */
    cp_status status = cp_json_enter_object(&l->r, err);
    while (status == CP_OK &&
           (status = cp_json_next_field(&l->r, names, &seen, &field, err)) == CP_OK && field >= 0) {
        if (field == ADDED_TOKENS)
            added_at = l->r.pos;
        status = field == ADDED_TOKENS ? cp_json_skip(&l->r, err) : read_field(l, field, err);
    }
    if (status == CP_OK)
        status = cp_json_finish(&l->r, err);
    static const int required[] = {MODEL, PRE_TOKENIZER, DECODER};
    for (size_t i = 0; i < CP_COUNT_OF(required) && status == CP_OK; i++)
        if (!(seen & 1u << required[i]))
            status = cp_json_fail(&l->r, err, "\"%s\" is missing", names[required[i]]);
    if (status == CP_OK && added_at > 0) {
        end = l->r.pos;
        l->r.pos = added_at;
        status = read_added_tokens(l, err);
        l->r.pos = end;
    }
    return status == CP_OK ? finish(l, err) : status;
}

cp_status cp_tokenizer_json_load(cp_tokenizer *tok, const char *path, cp_error *err) {
    cp_mapping file;
    cp_status status = cp_file_map(path, &file, err);
    if (status != CP_OK)
        return status;
    load l = {.tok = tok};
    cp_json_reader_init(&l.r, path, (const char *)file.data, file.n_bytes);
    cp_byte_alphabet_init(&l.alphabet);
    cp_strbuf_init(&l.left, CP_TOKENIZER_JSON_MAX);
    cp_strbuf_init(&l.right, CP_TOKENIZER_JSON_MAX);
    cp_strbuf_init(&l.odd_bytes, CP_TOKENIZER_JSON_MAX);
    if (file.n_bytes > CP_TOKENIZER_JSON_MAX)
        status = cp_error_set(err, CP_ERR_LIMIT, "%s: %zu bytes, at most %zu are read", path,
                              file.n_bytes, CP_TOKENIZER_JSON_MAX);
    else
        status = read_file(&l, err);
    free(l.odd);
    cp_strbuf_deinit(&l.odd_bytes);
    cp_strbuf_deinit(&l.right);
    cp_strbuf_deinit(&l.left);
    cp_json_reader_deinit(&l.r);
    status = cp_file_check_whole(&file, path, status, err);
    cp_file_unmap(&file);
    return status;
}
