#include "convert/gguf_vocab.h"

#include "base/json_writer.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TOKENS       (1 << 21)
#define MAX_TOKEN_BYTES  4096
#define MAX_JSON_BYTES   ((size_t)64 << 20)
#define MAX_CONFIG_BYTES ((size_t)2 << 20)

/* ---- text splitting ------------------------------------------------------------------------ */

struct cp_gguf_splitting {
    const char *name;    /* tokenizer.ggml.pre */
    const char *pattern; /* of a Split step; NULL: single digits, then the GPT-2 pattern */
    bool nfc, ignore_merges;
    bool add_bos; /* where the file does not say */
};

static const cp_gguf_splitting splittings[] = {
    {
        .name = "qwen2",
        .pattern = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
                   "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        .nfc = true,
    },
    {.name = "smollm"},
    {
        .name = "llama-bpe",
        .pattern = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
                   "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        .ignore_merges = true,
        .add_bos = true,
    },
};

/* ---- opening ------------------------------------------------------------------------------- */

/* tokenizer.ggml.token_type */
enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5 };

static int32_t kind_of(const cp_gguf_vocab *v, size_t id) {
    return cp_gguf_array_int32(v->kinds, id);
}

static bool is_special(int32_t kind) {
    return kind == CONTROL || kind == UNKNOWN;
}

static cp_status find_splitting(cp_gguf_vocab *v, cp_error *err) {
    cp_str model, pre;
    cp_status status = cp_gguf_get_string(v->file, "tokenizer.ggml.model", &model, err);
    if (status == CP_OK && !cp_str_is(model, "gpt2"))
        return cp_error_set(err, CP_ERR_UNSUPPORTED,
                            "%s: tokenizer.ggml.model is \"%.*s\", only \"gpt2\" (byte-level BPE) "
                            "is supported",
                            v->file->path, (int)(model.n < 40 ? model.n : 40), model.data);
    if (status == CP_OK)
        status = cp_gguf_get_string(v->file, "tokenizer.ggml.pre", &pre, err);
    for (size_t i = 0; i < CP_COUNT_OF(splittings) && status == CP_OK; i++)
        if (cp_str_is(pre, splittings[i].name))
            v->splitting = &splittings[i];
    if (status == CP_OK && !v->splitting)
        return cp_error_set(err, CP_ERR_UNSUPPORTED,
                            "%s: tokenizer.ggml.pre is \"%.*s\", supported are qwen2, smollm, "
                            "llama-bpe",
                            v->file->path, (int)(pre.n < 40 ? pre.n : 40), pre.data);
    return status;
}

static cp_status token_fault(const cp_gguf_vocab *v, size_t id, const char *what, cp_error *err) {
    return cp_error_set(err, CP_ERR_FORMAT, "%s: tokenizer.ggml.tokens: token %zu %s",
                        v->file->path, id, what);
}

static cp_status read_tokens(cp_gguf_vocab *v, size_t max_ids, cp_error *err) {
    const cp_gguf_value *tokens;
    const unsigned char *at = NULL;
    cp_status status =
        cp_gguf_get_array(v->file, "tokenizer.ggml.tokens", CP_GGUF_STRING, &tokens, err);
    if (status == CP_OK)
        status =
            cp_gguf_get_array(v->file, "tokenizer.ggml.token_type", CP_GGUF_INT32, &v->kinds, err);
    if (status != CP_OK)
        return status;
    if (tokens->n == 0 || tokens->n > max_ids || tokens->n > MAX_TOKENS)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: tokenizer.ggml.tokens has %zu tokens, expected 1 to %zu",
                            v->file->path, tokens->n, max_ids < MAX_TOKENS ? max_ids : MAX_TOKENS);
    if (v->kinds->n != tokens->n)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: tokenizer.ggml.token_type has %zu entries, the tokens are %zu",
                            v->file->path, v->kinds->n, tokens->n);
    v->tokens = calloc(tokens->n, sizeof *v->tokens);
    if (!v->tokens)
        return cp_error_no_memory(err, v->file->path);
    v->n = tokens->n;
    for (size_t i = 0; i < v->n; i++) {
        cp_str text = v->tokens[i] = cp_gguf_array_next_string(tokens, &at);
        int32_t kind = kind_of(v, i);
        if (kind < NORMAL || kind > UNUSED)
            return token_fault(v, i, "has a token_type that is not supported", err);
        if (kind == UNUSED)
            continue;
        if (text.n == 0 || text.n > MAX_TOKEN_BYTES)
            return token_fault(v, i, "is empty or has more than 4096 bytes", err);
        if (!cp_utf8_is_valid(text.data, text.n) || memchr(text.data, '\0', text.n))
            return token_fault(v, i, "is not UTF-8 or has a zero byte", err);
    }
    return CP_OK;
}

static cp_status read_id(const cp_gguf_vocab *v, const char *key, int32_t *out, cp_error *err) {
    int64_t id = -1;
    cp_status status =
        cp_gguf_optional(cp_gguf_get_int(v->file, key, 0, (int64_t)v->n - 1, &id, err));
    *out = (int32_t)id;
    return status;
}

static void add_end(cp_gguf_vocab *v, int32_t id) {
    for (size_t i = 0; i < v->n_ends; i++)
        if (v->ends[i] == id)
            return;
    if (id >= 0 && v->n_ends < CP_COUNT_OF(v->ends))
        v->ends[v->n_ends++] = id;
}

/* A file names one end of sequence; the models' own generation settings often have more, so ends of
 * turns and texts are known by their names as well. */
static cp_status read_ids(cp_gguf_vocab *v, cp_error *err) {
    static const char *const ends[] = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>",
                                       "<|end_of_text|>", "<|eom_id|>"};
    int32_t turn = -1;
    cp_status status = read_id(v, "tokenizer.ggml.bos_token_id", &v->bos, err);
    if (status == CP_OK)
        status = read_id(v, "tokenizer.ggml.eos_token_id", &v->eos, err);
    if (status == CP_OK)
        status = read_id(v, "tokenizer.ggml.padding_token_id", &v->pad, err);
    if (status == CP_OK)
        status = read_id(v, "tokenizer.ggml.eot_token_id", &turn, err);
    if (status != CP_OK)
        return status;
    add_end(v, v->eos);
    add_end(v, turn);
    for (size_t i = 0; i < v->n; i++)
        for (size_t k = 0; k < CP_COUNT_OF(ends) && kind_of(v, i) == CONTROL; k++)
            if (cp_str_is(v->tokens[i], ends[k]))
                add_end(v, (int32_t)i);
    v->add_bos = v->splitting->add_bos && v->bos >= 0;
    status = cp_gguf_optional(
        cp_gguf_get_bool(v->file, "tokenizer.ggml.add_bos_token", &v->add_bos, err));
    if (status == CP_OK)
        status = cp_gguf_optional(
            cp_gguf_get_bool(v->file, "tokenizer.ggml.add_eos_token", &v->add_eos, err));
    if (status == CP_OK && ((v->add_bos && v->bos < 0) || (v->add_eos && v->eos < 0)))
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%s: tokenizer.ggml.add_%s_token is true, but its id is missing",
                            v->file->path, v->add_bos && v->bos < 0 ? "bos" : "eos");
    return status;
}

cp_status cp_gguf_vocab_open(const cp_gguf *file, size_t max_ids, cp_gguf_vocab *out,
                             cp_error *err) {
    *out = (cp_gguf_vocab){.file = file};
    cp_status status = find_splitting(out, err);
    if (status == CP_OK)
        status = read_tokens(out, max_ids, err);
    if (status == CP_OK)
        status = read_ids(out, err);
    if (status == CP_OK)
        status =
            cp_gguf_get_array(file, "tokenizer.ggml.merges", CP_GGUF_STRING, &out->merges, err);
    if (status != CP_OK)
        cp_gguf_vocab_close(out);
    return status == CP_ERR_NOT_FOUND ? CP_ERR_FORMAT : status; /* a key, not the file */
}

void cp_gguf_vocab_close(cp_gguf_vocab *vocab) {
    free(vocab->tokens);
    *vocab = (cp_gguf_vocab){0};
}

/* ---- tokenizer.json ------------------------------------------------------------------------ */

static void put_added_tokens(const cp_gguf_vocab *v, cp_json_writer *w) {
    static const char *const off[] = {"single_word", "lstrip", "rstrip", "normalized"};
    cp_json_key(w, "added_tokens");
    cp_json_open_array(w);
    for (size_t i = 0; i < v->n; i++) {
        int32_t kind = kind_of(v, i);
        if (kind == NORMAL || kind == UNUSED)
            continue;
        cp_json_open_object(w);
        cp_json_member_int(w, "id", (int64_t)i);
        cp_json_member_str(w, "content", v->tokens[i]);
        for (size_t k = 0; k < CP_COUNT_OF(off); k++)
            cp_json_member_bool(w, off[k], false);
        cp_json_member_bool(w, "special", is_special(kind));
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
}

static void put_byte_level(cp_json_writer *w, bool use_regex) {
    cp_json_open_object(w);
    cp_json_member_text(w, "type", "ByteLevel");
    cp_json_member_bool(w, "add_prefix_space", false);
    cp_json_member_bool(w, "trim_offsets", true);
    cp_json_member_bool(w, "use_regex", use_regex);
    cp_json_close_object(w);
}

static void put_splitting(const cp_gguf_splitting *s, cp_json_writer *w) {
    cp_json_key(w, "normalizer");
    if (s->nfc) {
        cp_json_open_object(w);
        cp_json_member_text(w, "type", "NFC");
        cp_json_close_object(w);
    } else {
        cp_json_put_null(w);
    }
    cp_json_key(w, "pre_tokenizer");
    cp_json_open_object(w);
    cp_json_member_text(w, "type", "Sequence");
    cp_json_key(w, "pretokenizers");
    cp_json_open_array(w);
    cp_json_open_object(w);
    if (s->pattern) {
        cp_json_member_text(w, "type", "Split");
        cp_json_key(w, "pattern");
        cp_json_open_object(w);
        cp_json_member_text(w, "Regex", s->pattern);
        cp_json_close_object(w);
        cp_json_member_text(w, "behavior", "Isolated");
        cp_json_member_bool(w, "invert", false);
    } else {
        cp_json_member_text(w, "type", "Digits");
        cp_json_member_bool(w, "individual_digits", true);
    }
    cp_json_close_object(w);
    put_byte_level(w, !s->pattern);
    cp_json_close_array(w);
    cp_json_close_object(w);
}

/* One item of a template: a token, or the text ("A", then "B") when id is negative. */
static void put_item(const cp_gguf_vocab *v, cp_json_writer *w, int32_t id, const char *text,
                     int type_id) {
    cp_json_open_object(w);
    cp_json_key(w, id < 0 ? "Sequence" : "SpecialToken");
    cp_json_open_object(w);
    cp_json_key(w, "id");
    cp_json_put_str(w, id < 0 ? (cp_str){text, strlen(text)} : v->tokens[id]);
    cp_json_member_int(w, "type_id", type_id);
    cp_json_close_object(w);
    cp_json_close_object(w);
}

static void put_text_items(const cp_gguf_vocab *v, cp_json_writer *w, const char *text,
                           int type_id) {
    if (v->add_bos)
        put_item(v, w, v->bos, "", type_id);
    put_item(v, w, -1, text, type_id);
    if (v->add_eos)
        put_item(v, w, v->eos, "", type_id);
}

/* Keys of the writer end in a NUL; tokens, which have none inside, are copied for it. */
static void put_key(cp_json_writer *w, cp_str text) {
    char key[MAX_TOKEN_BYTES + 1];
    memcpy(key, text.data, text.n);
    key[text.n] = '\0';
    cp_json_key(w, key);
}

static void put_special_token(const cp_gguf_vocab *v, cp_json_writer *w, int32_t id) {
    put_key(w, v->tokens[id]);
    cp_json_open_object(w);
    cp_json_member_str(w, "id", v->tokens[id]);
    cp_json_key(w, "ids");
    cp_json_put_ids(w, &id, 1);
    cp_json_key(w, "tokens");
    cp_json_open_array(w);
    cp_json_put_str(w, v->tokens[id]);
    cp_json_close_array(w);
    cp_json_close_object(w);
}

static void put_post_processor(const cp_gguf_vocab *v, cp_json_writer *w) {
    cp_json_key(w, "post_processor");
    if (!v->add_bos && !v->add_eos) {
        cp_json_put_null(w);
        return;
    }
    cp_json_open_object(w);
    cp_json_member_text(w, "type", "TemplateProcessing");
    cp_json_key(w, "single");
    cp_json_open_array(w);
    put_text_items(v, w, "A", 0);
    cp_json_close_array(w);
    cp_json_key(w, "pair");
    cp_json_open_array(w);
    put_text_items(v, w, "A", 0);
    put_text_items(v, w, "B", 1);
    cp_json_close_array(w);
    cp_json_key(w, "special_tokens");
    cp_json_open_object(w);
    if (v->add_bos)
        put_special_token(v, w, v->bos);
    if (v->add_eos && !(v->add_bos && v->eos == v->bos))
        put_special_token(v, w, v->eos);
    cp_json_close_object(w);
    cp_json_close_object(w);
}

/* Control tokens stand in the vocabulary, too, where normal ones follow them: other readers number
 * added tokens onwards from its end. */
static void put_vocab(const cp_gguf_vocab *v, cp_json_writer *w) {
    size_t n_base = v->n;
    while (n_base > 0 && kind_of(v, n_base - 1) != NORMAL)
        n_base--;
    cp_json_key(w, "vocab");
    cp_json_open_object(w);
    for (size_t i = 0; i < n_base; i++)
        if (kind_of(v, i) != UNUSED) {
            put_key(w, v->tokens[i]);
            cp_json_put_int(w, (int64_t)i);
        }
    cp_json_close_object(w);
}

static void put_model(const cp_gguf_vocab *v, cp_json_writer *w) {
    static const char *const nulls[] = {"dropout", "unk_token", "continuing_subword_prefix",
                                        "end_of_word_suffix"};
    const unsigned char *at = NULL;
    cp_json_key(w, "model");
    cp_json_open_object(w);
    cp_json_member_text(w, "type", "BPE");
    for (size_t i = 0; i < CP_COUNT_OF(nulls); i++)
        cp_json_member_text(w, nulls[i], NULL);
    cp_json_member_bool(w, "fuse_unk", false);
    cp_json_member_bool(w, "byte_fallback", false);
    cp_json_member_bool(w, "ignore_merges", v->splitting->ignore_merges);
    put_vocab(v, w);
    cp_json_key(w, "merges");
    cp_json_open_array(w);
    for (size_t i = 0; i < v->merges->n; i++)
        cp_json_put_str(w, cp_gguf_array_next_string(v->merges, &at));
    cp_json_close_array(w);
    cp_json_close_object(w);
}

static void put_tokenizer(const cp_gguf_vocab *v, cp_json_writer *w) {
    cp_json_open_object(w);
    cp_json_member_text(w, "version", "1.0");
    cp_json_member_text(w, "truncation", NULL);
    cp_json_member_text(w, "padding", NULL);
    put_added_tokens(v, w);
    put_splitting(v->splitting, w);
    put_post_processor(v, w);
    cp_json_key(w, "decoder");
    put_byte_level(w, true);
    put_model(v, w);
    cp_json_close_object(w);
}

/* ---- tokenizer_config.json ----------------------------------------------------------------- */

static void put_named_token(const cp_gguf_vocab *v, cp_json_writer *w, const char *name,
                            int32_t id) {
    if (id >= 0)
        cp_json_member_str(w, name, v->tokens[id]);
}

static void put_settings(const cp_gguf_vocab *v, cp_json_writer *w, cp_str template) {
    cp_json_open_object(w);
    cp_json_member_text(w, "tokenizer_class", "PreTrainedTokenizerFast");
    cp_json_member_bool(w, "clean_up_tokenization_spaces", false);
    cp_json_member_bool(w, "add_prefix_space", false);
    cp_json_member_bool(w, "add_bos_token", v->add_bos);
    put_named_token(v, w, "bos_token", v->bos);
    put_named_token(v, w, "eos_token", v->eos);
    put_named_token(v, w, "pad_token", v->pad);
    if (template.n > 0)
        cp_json_member_str(w, "chat_template", template);
    cp_json_close_object(w);
}

/* ---- writing ------------------------------------------------------------------------------- */

static cp_status write_text(const cp_strbuf *text, const char *dir, const char *name,
                            cp_error *err) {
    char path[CP_PATH_CAP];
    cp_status status = cp_strbuf_check(text, name, err);
    if (status == CP_OK)
        status = cp_path_join(dir, name, path, sizeof path, err);
    return status == CP_OK ? cp_file_write(path, cp_strbuf_str(text), err) : status;
}

static cp_status check_result(const cp_gguf_vocab *v, const char *dir, cp_error *err) {
    cp_tokenizer *tok;
    cp_status status = cp_tokenizer_open(dir, &tok, err);
    if (status == CP_OK)
        cp_tokenizer_close(tok);
    return status == CP_OK ? CP_OK : cp_error_prefix(err, "%s: its tokenizer", v->file->path);
}

cp_status cp_gguf_vocab_write(const cp_gguf_vocab *v, const char *dir, cp_error *err) {
    cp_strbuf text;
    cp_json_writer w;
    cp_str template = {NULL, 0};
    cp_status status =
        cp_gguf_optional(cp_gguf_get_string(v->file, "tokenizer.chat_template", &template, err));
    if (status != CP_OK)
        return status;
    cp_strbuf_init(&text, MAX_JSON_BYTES);
    cp_json_writer_init(&w, &text);
    put_tokenizer(v, &w);
    status = write_text(&text, dir, "tokenizer.json", err);
    cp_strbuf_deinit(&text);
    if (status != CP_OK)
        return status;
    cp_strbuf_init(&text, MAX_CONFIG_BYTES);
    cp_json_writer_init(&w, &text);
    put_settings(v, &w, template);
    status = write_text(&text, dir, "tokenizer_config.json", err);
    cp_strbuf_deinit(&text);
    return status == CP_OK ? check_result(v, dir, err) : status;
}
