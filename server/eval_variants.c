#include "server/eval_variants.h"

#include "base/json.h"
#include "base/mem.h"

#include <string.h>
#include <strings.h>

#define MAX_FILE_BYTES ((size_t)1 << 20)
#define MAX_TEXT_BYTES ((size_t)128 << 10)
#define MAX_SENTENCES  64
#define MAX_LONG_WORDS 256
#define LONG_WORD      5 /* letters */
#define MAX_WORD_BYTES 40
#define MAX_TYPO_DRAWS 16

const char *cp_variant_kind_name(cp_variant_kind kind) {
    static const char *const names[] = {"paraphrase", "minimising", "demographics", "order",
                                        "typo",       "noise",      "mixed"};
    return kind < CP_N_VARIANT_KINDS ? names[kind] : "";
}

/* ---- the file --------------------------------------------------------------------------- */

static bool is_texts(const cJSON *list) {
    const cJSON *item;
    if (!cJSON_IsArray(list) || !list->child)
        return false;
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsString(item) || !item->valuestring[0])
            return false;
    }
    return true;
}

static cp_status take(const cp_variant_source *source, const char *path, const char *key,
                      const cJSON **out, cp_error *err) {
    *out = cp_json_member(source->tree, key);
    return is_texts(*out)
               ? CP_OK
               : cp_error_set(err, CP_ERR_FORMAT,
                              "%s: %s: expected a list of texts that is not empty", path, key);
}

static cp_status take_synonyms(cp_variant_source *source, const char *path, cp_error *err) {
    const cJSON *group;
    source->synonyms = cp_json_member(source->tree, "synonyms");
    bool good = cJSON_IsArray(source->synonyms) && source->synonyms->child;
    cJSON_ArrayForEach(group, source->synonyms) {
        good = good && is_texts(group) && cJSON_GetArraySize(group) >= 2;
    }
    return good ? CP_OK
                : cp_error_set(err, CP_ERR_FORMAT,
                               "%s: synonyms: expected a list of lists of two texts or more", path);
}

cp_status cp_variant_source_read(const char *path, cp_variant_source *out, cp_error *err) {
    *out = (cp_variant_source){0};
    cp_status status = cp_json_parse_file(path, MAX_FILE_BYTES, &out->tree, err);
    if (status == CP_OK)
        status = take_synonyms(out, path, err);
    if (status == CP_OK)
        status = take(out, path, "minimising_before", &out->before, err);
    if (status == CP_OK)
        status = take(out, path, "minimising_after", &out->after, err);
    if (status == CP_OK)
        status = take(out, path, "demographics", &out->demographics, err);
    if (status == CP_OK)
        status = take(out, path, "noise", &out->noise, err);
    if (status != CP_OK)
        cp_variant_source_deinit(out);
    return status;
}

void cp_variant_source_deinit(cp_variant_source *source) {
    cJSON_Delete(source->tree);
    *source = (cp_variant_source){0};
}

/* ---- drawing ---------------------------------------------------------------------------- */

static uint64_t draw(uint64_t *state) { /* SplitMix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t start(uint64_t seed, const char *id, cp_variant_kind kind, size_t number) {
    uint64_t state = seed;
    for (; *id; id++)
        state = (state ^ (unsigned char)*id) * 1099511628211u;
    state ^= (uint64_t)kind << 48 ^ (uint64_t)number << 32;
    draw(&state);
    return state;
}

static const char *pick(const cJSON *list, uint64_t *state) {
    int n = cJSON_GetArraySize(list);
    return cJSON_GetArrayItem(list, (int)(draw(state) % (uint64_t)n))->valuestring;
}

/* ---- the kinds -------------------------------------------------------------------------- */

static bool is_letter(char c) {
    return ((unsigned char)c | 32) >= 'a' && ((unsigned char)c | 32) <= 'z';
}

static bool is_word_byte(char c) {
    return is_letter(c) || c == '\'' || (unsigned char)c >= 0x80;
}

/* The group that has a member at text[0..], or NULL; *n is set to the member's length. */
static const cJSON *find_synonym(const cJSON *groups, const char *text, size_t *n) {
    const cJSON *group, *member;
    cJSON_ArrayForEach(group, groups) {
        cJSON_ArrayForEach(member, group) {
            *n = strlen(member->valuestring);
            if (strncasecmp(text, member->valuestring, *n) == 0 && !is_word_byte(text[*n]))
                return group;
        }
    }
    return NULL;
}

static bool paraphrase(const cp_variant_source *source, const char *text, uint64_t *state,
                       cp_strbuf *out) {
    bool changed = false;
    for (const char *at = text; *at;) {
        size_t n;
        bool starts = at == text || !is_word_byte(at[-1]);
        const cJSON *group = starts ? find_synonym(source->synonyms, at, &n) : NULL;
        if (group && draw(state) % 3 != 0) {
            cp_strbuf_puts(out, pick(group, state));
            changed = true;
            at += n;
        } else {
            cp_strbuf_putc(out, *at++);
        }
    }
    return changed;
}

static void minimise(const cp_variant_source *source, const char *text, uint64_t *state,
                     cp_strbuf *out) {
    uint64_t where = draw(state) % 3;
    if (where != 1)
        cp_strbuf_puts(out, pick(source->before, state));
    cp_strbuf_puts(out, text);
    if (where != 0)
        cp_strbuf_puts(out, pick(source->after, state));
}

/* Cuts behind ". ", "! " and "? "; returns how many. */
static size_t cut_sentences(const char *text, cp_str *out) {
    size_t n = 0;
    const char *begin = text;
    for (const char *at = text; *at; at++) {
        bool ends = (*at == '.' || *at == '!' || *at == '?') && (at[1] == ' ' || !at[1]);
        if (!ends || n + 1 == MAX_SENTENCES)
            continue;
        out[n++] = (cp_str){begin, (size_t)(at + 1 - begin)};
        begin = at + 1 + (at[1] == ' ');
    }
    if (*begin)
        out[n++] = (cp_str){begin, strlen(begin)};
    return n;
}

static void join(const cp_str *sentences, size_t n, cp_strbuf *out) {
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            cp_strbuf_putc(out, ' ');
        cp_strbuf_append(out, sentences[i].data, sentences[i].n);
    }
}

static bool reorder(const char *text, uint64_t *state, cp_strbuf *out) {
    cp_str sentences[MAX_SENTENCES];
    size_t n = cut_sentences(text, sentences);
    for (size_t i = n; i > 1; i--) {
        size_t k = (size_t)(draw(state) % i);
        cp_str swap = sentences[i - 1];
        sentences[i - 1] = sentences[k];
        sentences[k] = swap;
    }
    join(sentences, n, out);
    return n > 1;
}

static void add_noise(const cp_variant_source *source, const char *text, uint64_t *state,
                      cp_strbuf *out) {
    cp_str sentences[MAX_SENTENCES + 1];
    size_t n = cut_sentences(text, sentences), at = (size_t)(draw(state) % (n + 1));
    const char *noise = pick(source->noise, state);
    memmove(sentences + at + 1, sentences + at, (n - at) * sizeof *sentences);
    sentences[at] = (cp_str){noise, strlen(noise)};
    join(sentences, n + 1, out);
}

/* One letter less, more or different, or two swapped. */
static size_t misspell(cp_str word, uint64_t *state, char out[MAX_WORD_BYTES]) {
    size_t at = (size_t)(draw(state) % word.n);
    char letter = (char)('a' + draw(state) % 26);
    uint64_t edit = draw(state) % 4;
    memcpy(out, word.data, word.n);
    if (edit == 0) {
        memmove(out + at, out + at + 1, word.n - at - 1);
        return word.n - 1;
    }
    if (edit == 1) {
        memmove(out + at + 1, out + at, word.n - at);
        out[at] = letter;
        return word.n + 1;
    }
    if (edit == 2) {
        out[at] = letter;
        return word.n;
    }
    at = at + 1 < word.n ? at : at - 1;
    out[at] = word.data[at + 1];
    out[at + 1] = word.data[at];
    return word.n;
}

static size_t find_long_words(const char *text, cp_str *out) {
    size_t n = 0;
    for (const char *at = text; *at && n < MAX_LONG_WORDS;) {
        const char *begin = at;
        bool plain = true;
        for (; is_word_byte(*at); at++)
            plain &= is_letter(*at);
        size_t length = (size_t)(at - begin);
        size_t bare = length - (length > 0 && (at[-1] | 32) == 's'); /* without a plural's ending */
        if (plain && bare >= LONG_WORD && length < MAX_WORD_BYTES - 1)
            out[n++] = (cp_str){begin, length};
        at += length == 0;
    }
    return n;
}

static bool mistype(const cp_safety *safety, const char *text, uint64_t *state, cp_strbuf *out) {
    cp_str words[MAX_LONG_WORDS];
    size_t n = find_long_words(text, words);
    for (int i = 0; n > 0 && i < MAX_TYPO_DRAWS; i++) {
        char typo[MAX_WORD_BYTES];
        cp_str word = words[draw(state) % n];
        cp_str written = {typo, misspell(word, state, typo)};
        if (cp_str_equal(word, written) || cp_safety_knows_word(safety, written))
            continue;
        cp_strbuf_append(out, text, (size_t)(word.data - text));
        cp_strbuf_append(out, written.data, written.n);
        cp_strbuf_puts(out, word.data + word.n);
        return true;
    }
    cp_strbuf_puts(out, text);
    return false;
}

static bool apply(const cp_variant_source *source, const cp_safety *safety, cp_variant_kind kind,
                  const char *text, uint64_t *state, cp_strbuf *out) {
    switch (kind) {
    case CP_VARIANT_PARAPHRASE:
        return paraphrase(source, text, state, out);
    case CP_VARIANT_MINIMISING:
        minimise(source, text, state, out);
        return true;
    case CP_VARIANT_DEMOGRAPHICS:
        cp_strbuf_puts(out, pick(source->demographics, state));
        cp_strbuf_puts(out, text);
        return true;
    case CP_VARIANT_ORDER:
        return reorder(text, state, out);
    case CP_VARIANT_TYPO:
        return mistype(safety, text, state, out);
    case CP_VARIANT_NOISE:
        add_noise(source, text, state, out);
        return true;
    case CP_VARIANT_MIXED:
    case CP_N_VARIANT_KINDS:
        break;
    }
    return false;
}

bool cp_variant_make(const cp_variant_source *source, const cp_safety *safety, const char *id,
                     const char *query, cp_variant_kind kind, uint64_t seed, size_t number,
                     cp_strbuf *out) {
    uint64_t state = start(seed, id, kind, number);
    cp_strbuf_clear(out);
    if (kind != CP_VARIANT_MIXED)
        return apply(source, safety, kind, query, &state, out) && out->failed == CP_OK;
    cp_strbuf text;
    cp_strbuf_init(&text, MAX_TEXT_BYTES);
    cp_strbuf_puts(&text, query);
    for (int k = 0; k < CP_VARIANT_MIXED; k++) {
        cp_strbuf_clear(out);
        apply(source, safety, (cp_variant_kind)k, cp_strbuf_text(&text), &state, out);
        cp_strbuf_clear(&text);
        cp_strbuf_append(&text, cp_strbuf_text(out), out->n);
    }
    bool complete = text.failed == CP_OK && out->failed == CP_OK;
    cp_strbuf_deinit(&text);
    return complete;
}
