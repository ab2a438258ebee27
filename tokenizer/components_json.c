/* The small parts of tokenizer.json: normalizer, pre_tokenizer, post_processor, decoder. Each is a
 * component with a "type", or a Sequence of such. */
#include "tokenizer/tokenizer_json.h"

#include "base/mem.h"
#include "tokenizer/tokenizer_state.h"

#include <stdio.h>
#include <string.h>

#define TYPE_MAX 40

/* Looks into the object that comes next for its "type", and stays in front of it. */
static cp_status peek_type(cp_json_reader *r, char type[TYPE_MAX], cp_error *err) {
    static const char *const names[] = {"type", NULL};
    size_t pos = r->pos;
    unsigned depth = r->depth, seen = 0;
    int field;
    cp_str text;
    type[0] = '\0';
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK &&
           (status = cp_json_next_field(r, names, &seen, &field, err)) == CP_OK && field >= 0) {
        status = cp_json_read_string(r, &text, err);
        if (status == CP_OK)
            snprintf(type, TYPE_MAX, "%.*s", (int)(text.n < TYPE_MAX ? text.n : TYPE_MAX - 1),
                     text.data);
    }
    if (status == CP_OK && !seen)
        status = cp_json_fail(r, err, "a component without a type");
    r->pos = pos;
    r->depth = depth;
    return status;
}

typedef cp_status component_fn(cp_json_reader *r, const char *type, cp_tokenizer *tok,
                               cp_error *err);

/* One component, or the members of a Sequence, whose list stands under `list`. A Sequence in a
 * Sequence is not met in practice and is refused by `read`, as any type it does not know. */
static cp_status each_component(cp_json_reader *r, const char *list, component_fn *read,
                                cp_tokenizer *tok, cp_error *err) {
    const char *const names[] = {list, NULL};
    char type[TYPE_MAX];
    unsigned seen = 0;
    int field;
    cp_status status = peek_type(r, type, err);
    if (status != CP_OK)
        return status;
    if (strcmp(type, "Sequence") != 0)
        return read(r, type, tok, err);
    status = cp_json_enter_object(r, err);
    while (status == CP_OK &&
           (status = cp_json_next_field(r, names, &seen, &field, err)) == CP_OK && field >= 0) {
        bool more = false;
        status = cp_json_enter_array(r, err);
        while (status == CP_OK && (status = cp_json_next_element(r, &more, err)) == CP_OK && more) {
            status = peek_type(r, type, err);
            if (status == CP_OK)
                status = read(r, type, tok, err);
        }
    }
    if (status == CP_OK && !seen)
        status = cp_json_fail(r, err, "a Sequence without \"%s\"", list);
    return status;
}

static cp_status unknown_type(const cp_json_reader *r, const char *part, const char *type,
                              const char *supported, cp_error *err) {
    return cp_json_unsupported(r, err, "%s \"%s\" is not supported (supported: %s)", part, type,
                               supported);
}

/* ---- normalizer ---------------------------------------------------------------------------- */

static cp_status one_normalizer(cp_json_reader *r, const char *type, cp_tokenizer *tok,
                                cp_error *err) {
    if (strcmp(type, "NFC") != 0)
        return unknown_type(r, "normalizer", type, "NFC", err);
    tok->nfc = true;
    return cp_json_skip(r, err);
}

cp_status cp_read_normalizer(cp_json_reader *r, cp_tokenizer *tok, cp_error *err) {
    bool null;
    cp_status status = cp_json_take_null(r, &null, err);
    return status != CP_OK || null ? status
                                   : each_component(r, "normalizers", one_normalizer, tok, err);
}

/* ---- pre_tokenizer ------------------------------------------------------------------------- */

static cp_status add_step(cp_json_reader *r, cp_tokenizer *tok, cp_str pattern, cp_error *err) {
    cp_status status = cp_pretokenizer_add(&tok->pretokenizer, pattern, err);
    return status == CP_OK ? CP_OK : cp_error_prefix(err, "%s: pre_tokenizer", r->source);
}

/* {"Regex": "..."}; the pattern is compiled here and now. */
static cp_status read_pattern(cp_json_reader *r, cp_tokenizer *tok, cp_error *err) {
    static const char *const names[] = {"Regex", NULL};
    unsigned seen = 0;
    int field;
    cp_str pattern;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK &&
           (status = cp_json_next_field(r, names, &seen, &field, err)) == CP_OK && field >= 0) {
        status = cp_json_read_string(r, &pattern, err);
        if (status == CP_OK)
            status = add_step(r, tok, pattern, err);
    }
    if (status == CP_OK && !seen)
        return cp_json_unsupported(r, err,
                                   "pre_tokenizer Split: only a Regex pattern is supported");
    return status;
}

static cp_status read_split(cp_json_reader *r, cp_tokenizer *tok, cp_error *err) {
    static const char *const names[] = {"pattern", "behavior", "invert", NULL};
    enum { PATTERN, BEHAVIOR, INVERT };
    unsigned seen = 0;
    int field;
    cp_str behavior;
    bool invert = false, isolated = true;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK &&
           (status = cp_json_next_field(r, names, &seen, &field, err)) == CP_OK && field >= 0) {
        if (field == PATTERN) {
            status = read_pattern(r, tok, err);
        } else if (field == BEHAVIOR) {
            status = cp_json_read_string(r, &behavior, err);
            isolated = status == CP_OK && cp_str_is(behavior, "Isolated");
        } else {
            status = cp_json_read_bool(r, &invert, err);
        }
    }
    if (status == CP_OK && (seen & 3u) != 3u)
        return cp_json_fail(r, err, "pre_tokenizer Split lacks its pattern or behavior");
    if (status == CP_OK && (!isolated || invert))
        return cp_json_unsupported(r, err, "pre_tokenizer Split: only \"Isolated\", not inverted");
    return status;
}

/* The one flag of Digits, or the flags of ByteLevel. */
static cp_status read_flags(cp_json_reader *r, const char *const *names, bool *values,
                            unsigned *seen, cp_error *err) {
    int field;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK && (status = cp_json_next_field(r, names, seen, &field, err)) == CP_OK &&
           field >= 0)
        status = cp_json_read_bool(r, &values[field], err);
    return status;
}

static cp_status read_digits(cp_json_reader *r, cp_tokenizer *tok, cp_error *err) {
    static const char *const names[] = {"individual_digits", NULL};
    bool individual = false;
    unsigned seen = 0;
    cp_status status = read_flags(r, names, &individual, &seen, err);
    if (status != CP_OK)
        return status;
    return add_step(r, tok, individual ? CP_STR(CP_PATTERN_DIGIT) : CP_STR(CP_PATTERN_DIGITS), err);
}

static cp_status read_byte_level(cp_json_reader *r, cp_tokenizer *tok, cp_error *err) {
    static const char *const names[] = {"add_prefix_space", "use_regex", NULL};
    bool values[2] = {true, true}; /* the format's defaults */
    unsigned seen = 0;
    cp_status status = read_flags(r, names, values, &seen, err);
    if (status == CP_OK && values[0])
        return cp_json_unsupported(
            r, err, "pre_tokenizer ByteLevel with add_prefix_space is not supported");
    return status == CP_OK && values[1] ? add_step(r, tok, CP_STR(CP_PATTERN_GPT2), err) : status;
}

static cp_status one_pre_tokenizer(cp_json_reader *r, const char *type, cp_tokenizer *tok,
                                   cp_error *err) {
    if (tok->byte_level) /* what follows would see the alphabet's letters, not the text */
        return cp_json_unsupported(r, err,
                                   "pre_tokenizer: a step after ByteLevel is not supported");
    if (strcmp(type, "Split") == 0)
        return read_split(r, tok, err);
    if (strcmp(type, "Digits") == 0)
        return read_digits(r, tok, err);
    if (strcmp(type, "ByteLevel") == 0) {
        tok->byte_level = true;
        return read_byte_level(r, tok, err);
    }
    return unknown_type(r, "pre_tokenizer", type, "Split, Digits, ByteLevel", err);
}

cp_status cp_read_pre_tokenizer(cp_json_reader *r, cp_tokenizer *tok, cp_error *err) {
    bool null;
    cp_status status = cp_json_take_null(r, &null, err);
    if (status == CP_OK && !null)
        status = each_component(r, "pretokenizers", one_pre_tokenizer, tok, err);
    if (status == CP_OK && !tok->byte_level)
        return cp_json_unsupported(r, err,
                                   "pre_tokenizer: only byte-level tokenizers are supported");
    return status;
}

/* ---- post_processor ------------------------------------------------------------------------ */

#define MAX_SPECIALS   8
#define NAME_MAX_BYTES 64

typedef struct special {
    char name[NAME_MAX_BYTES];
    int32_t ids[CP_POST_PROCESS_MAX];
    size_t n_ids;
} special;

typedef struct template {
    char items[CP_POST_PROCESS_MAX + 1]
              [NAME_MAX_BYTES]; /* special tokens by name; "": the text itself */
    size_t n_items;
    special specials[MAX_SPECIALS];
    size_t n_specials;
}
template;

static cp_status copy_name(cp_json_reader *r, cp_str text, char out[NAME_MAX_BYTES],
                           cp_error *err) {
    if (text.n == 0 || text.n >= NAME_MAX_BYTES)
        return cp_json_unsupported(r, err, "post_processor: a name of %zu bytes", text.n);
    memcpy(out, text.data, text.n);
    out[text.n] = '\0';
    return CP_OK;
}

/* {"Sequence": {"id": "A", ...}} or {"SpecialToken": {"id": "<|endoftext|>", ...}} */
static cp_status read_item(cp_json_reader *r, template *t, cp_error *err) {
    static const char *const kinds[] = {"Sequence", "SpecialToken", NULL}, *const names[] = {"id",
                                                                                             NULL};
    unsigned seen_kind = 0, seen = 0;
    int kind, field;
    cp_str id;
    if (t->n_items == CP_COUNT_OF(t->items))
        return cp_json_unsupported(r, err, "post_processor: more than %d tokens",
                                   CP_POST_PROCESS_MAX);
    char *item = t->items[t->n_items++];
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK &&
           (status = cp_json_next_field(r, kinds, &seen_kind, &kind, err)) == CP_OK && kind >= 0) {
        status = cp_json_enter_object(r, err);
        while (status == CP_OK &&
               (status = cp_json_next_field(r, names, &seen, &field, err)) == CP_OK && field >= 0) {
            status = cp_json_read_string(r, &id, err);
            if (status == CP_OK && kind == 1)
                status = copy_name(r, id, item, err);
            else if (status == CP_OK && !cp_str_is(id, "A"))
                return cp_json_unsupported(r, err, "post_processor: only one text, \"A\"");
        }
    }
    if (status == CP_OK && (!seen || seen_kind == 3u))
        return cp_json_fail(r, err, "post_processor: an item is neither Sequence nor SpecialToken");
    return status;
}

static cp_status read_items(cp_json_reader *r, template *t, cp_error *err) {
    bool more = false;
    cp_status status = cp_json_enter_array(r, err);
    while (status == CP_OK && (status = cp_json_next_element(r, &more, err)) == CP_OK && more)
        status = read_item(r, t, err);
    return status;
}

static cp_status read_special_ids(cp_json_reader *r, special *s, cp_error *err) {
    static const char *const names[] = {"ids", NULL};
    unsigned seen = 0;
    int field;
    bool more = false;
    int64_t id;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK &&
           (status = cp_json_next_field(r, names, &seen, &field, err)) == CP_OK && field >= 0) {
        status = cp_json_enter_array(r, err);
        while (status == CP_OK && (status = cp_json_next_element(r, &more, err)) == CP_OK && more) {
            status = cp_json_read_int(r, "a special token's id", 0, CP_VOCAB_MAX_IDS - 1, &id, err);
            if (status == CP_OK && s->n_ids == CP_POST_PROCESS_MAX)
                return cp_json_unsupported(r, err, "post_processor: a special token of many ids");
            if (status == CP_OK)
                s->ids[s->n_ids++] = (int32_t)id;
        }
    }
    return status;
}

static cp_status read_specials(cp_json_reader *r, template *t, cp_error *err) {
    cp_str key;
    bool more = false;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK && (status = cp_json_next_key(r, &key, &more, err)) == CP_OK && more) {
        if (t->n_specials == MAX_SPECIALS)
            return cp_json_unsupported(r, err, "post_processor: more than %d special tokens",
                                       MAX_SPECIALS);
        special *s = &t->specials[t->n_specials++];
        *s = (special){.n_ids = 0};
        status = copy_name(r, key, s->name, err);
        for (size_t i = 0; i + 1 < t->n_specials && status == CP_OK; i++)
            if (strcmp(t->specials[i].name, s->name) == 0)
                return cp_json_fail(r, err, "the key \"%s\" is there twice", s->name);
        if (status == CP_OK)
            status = read_special_ids(r, s, err);
    }
    return status;
}

/* The ids of one named item go before or after the text. */
static cp_status put_item(cp_json_reader *r, const template *t, const char *name, int32_t *ids,
                          size_t *n, cp_error *err) {
    for (size_t i = 0; i < t->n_specials; i++) {
        const special *s = &t->specials[i];
        if (strcmp(s->name, name) != 0)
            continue;
        if (*n + s->n_ids > CP_POST_PROCESS_MAX)
            return cp_json_unsupported(r, err, "post_processor: more than %d ids",
                                       CP_POST_PROCESS_MAX);
        memcpy(ids + *n, s->ids, s->n_ids * sizeof *ids);
        *n += s->n_ids;
        return CP_OK;
    }
    return cp_json_fail(r, err, "post_processor: \"%s\" is not in special_tokens", name);
}

static cp_status apply_template(cp_json_reader *r, const template *t, cp_tokenizer *tok,
                                cp_error *err) {
    unsigned n_texts = 0;
    for (size_t i = 0; i < t->n_items; i++) {
        if (t->items[i][0] == '\0') {
            n_texts++;
            continue;
        }
        cp_status status = n_texts == 0
                               ? put_item(r, t, t->items[i], tok->before, &tok->n_before, err)
                               : put_item(r, t, t->items[i], tok->after, &tok->n_after, err);
        if (status != CP_OK)
            return status;
    }
    return n_texts == 1 ? CP_OK
                        : cp_json_unsupported(r, err, "post_processor: %u times the text", n_texts);
}

static cp_status read_template(cp_json_reader *r, cp_tokenizer *tok, cp_error *err) {
    static const char *const names[] = {"single", "special_tokens", NULL};
    template t = {.n_items = 0};
    unsigned seen = 0;
    int field;
    if (tok->n_before + tok->n_after > 0)
        return cp_json_unsupported(r, err, "post_processor: more than one TemplateProcessing");
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK &&
           (status = cp_json_next_field(r, names, &seen, &field, err)) == CP_OK && field >= 0)
        status = field == 0 ? read_items(r, &t, err) : read_specials(r, &t, err);
    return status == CP_OK ? apply_template(r, &t, tok, err) : status;
}

static cp_status one_post_processor(cp_json_reader *r, const char *type, cp_tokenizer *tok,
                                    cp_error *err) {
    if (strcmp(type, "ByteLevel") == 0)
        return cp_json_skip(r, err); /* it moves offsets, which nobody asks for; ids stay */
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(r, tok, err);
    return unknown_type(r, "post_processor", type, "ByteLevel, TemplateProcessing", err);
}

cp_status cp_read_post_processor(cp_json_reader *r, cp_tokenizer *tok, cp_error *err) {
    bool null;
    cp_status status = cp_json_take_null(r, &null, err);
    return status != CP_OK || null ? status
                                   : each_component(r, "processors", one_post_processor, tok, err);
}

/* ---- decoder ------------------------------------------------------------------------------- */

static cp_status one_decoder(cp_json_reader *r, const char *type, cp_tokenizer *tok,
                             cp_error *err) {
    (void)tok;
    if (strcmp(type, "ByteLevel") != 0)
        return unknown_type(r, "decoder", type, "ByteLevel", err);
    return cp_json_skip(r, err);
}

cp_status cp_read_decoder(cp_json_reader *r, cp_error *err) {
    return each_component(r, "decoders", one_decoder, NULL, err);
}
