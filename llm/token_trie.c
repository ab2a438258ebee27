#include "llm/token_trie.h"

#include "base/mem.h"
#include "llm/json_string.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry {
    cp_str bytes;
    int32_t id;
} entry;

typedef enum token_class { TOKEN_TEXT, TOKEN_EDGE, TOKEN_OUTSIDE } token_class;

static int compare_entries(const void *a, const void *b) {
    const entry *x = a, *y = b;
    size_t n = x->bytes.n < y->bytes.n ? x->bytes.n : y->bytes.n;
    int order = memcmp(x->bytes.data, y->bytes.data, n);
    return order ? order : (x->bytes.n > y->bytes.n) - (x->bytes.n < y->bytes.n);
}

/* An added token's text, as the tokenizer would find it by its letters. */
static bool is_added(const cp_tokenizer *tok, int32_t id, cp_str bytes) {
    char text[CP_TRIE_MAX_DEPTH + 1];
    if (cp_tokenizer_is_special(tok, id))
        return true;
    memcpy(text, bytes.data, bytes.n);
    text[bytes.n] = '\0';
    return cp_tokenizer_added_id(tok, text) == id;
}

/* What a token is to a string that stands between two characters; *chars is set for TOKEN_TEXT. */
static token_class classify(cp_str bytes, uint32_t *chars) {
    cp_string_phase phase = CP_STRING_PLAIN;
    *chars = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        *chars += phase == CP_STRING_PLAIN;
        phase = cp_string_step(phase, (unsigned char)bytes.data[i]);
        if (phase == CP_STRING_END)
            return TOKEN_EDGE;
        if (phase == CP_STRING_BAD)
            return TOKEN_OUTSIDE;
    }
    return phase == CP_STRING_PLAIN ? TOKEN_TEXT : TOKEN_EDGE;
}

static void measure(cp_token_trie *t, cp_str bytes) {
    uint32_t commas = 0, chars = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        commas += bytes.data[i] == ',' && (i == 0 || bytes.data[i - 1] != ',');
        chars += ((unsigned char)bytes.data[i] & 0xc0) != 0x80;
    }
    t->max_elements = commas > t->max_elements ? commas : t->max_elements;
    t->max_chars = chars > t->max_chars ? chars : t->max_chars;
}

/* ---- the tries --------------------------------------------------------------------------------
 */

static size_t common_prefix(cp_str a, cp_str b) {
    size_t n = 0;
    while (n < a.n && n < b.n && a.data[n] == b.data[n])
        n++;
    return n;
}

/* From sorted entries, no two alike. */
static cp_status build_trie(const entry *entries, size_t n, cp_trie *trie, cp_error *err) {
    uint32_t path[CP_TRIE_MAX_DEPTH]; /* the nodes of the last entry */
    size_t n_bytes = 0, depth = 0;
    for (size_t i = 0; i < n; i++)
        n_bytes +=
            entries[i].bytes.n - (i ? common_prefix(entries[i - 1].bytes, entries[i].bytes) : 0);
    trie->n = 0;
    trie->nodes = calloc(n_bytes ? n_bytes : 1, sizeof *trie->nodes);
    if (!trie->nodes)
        return cp_error_no_memory(err, "token trie");
    for (size_t i = 0; i < n; i++) {
        cp_str bytes = entries[i].bytes;
        size_t shared = i ? common_prefix(entries[i - 1].bytes, bytes) : 0;
        for (; depth > shared; depth--)
            trie->nodes[path[depth - 1]].skip = (uint32_t)trie->n;
        for (; depth < bytes.n; depth++) {
            path[depth] = (uint32_t)trie->n;
            trie->nodes[trie->n++] = (cp_trie_node){
                .id = -1, .byte = (uint8_t)bytes.data[depth], .depth = (uint8_t)(depth + 1)};
        }
        trie->nodes[path[depth - 1]].id = entries[i].id;
    }
    for (; depth > 0; depth--)
        trie->nodes[path[depth - 1]].skip = (uint32_t)trie->n;
    return CP_OK;
}

uint32_t cp_trie_child(const cp_trie *trie, uint32_t node, unsigned char byte) {
    uint32_t at = node == UINT32_MAX ? 0 : node + 1;
    uint32_t end = node == UINT32_MAX ? (uint32_t)trie->n : trie->nodes[node].skip;
    for (; at < end; at = trie->nodes[at].skip)
        if (trie->nodes[at].byte == byte)
            return at;
    return UINT32_MAX;
}

/* ---- texts ------------------------------------------------------------------------------------
 */

static uint64_t *text_set(const cp_token_trie *t, size_t chars) {
    return t->texts + chars * t->n_words;
}

static cp_status add_text(cp_token_trie *t, size_t *cap, int32_t id, uint32_t chars,
                          cp_error *err) {
    for (size_t n = chars; n <= CP_TRIE_TEXT_SETS; n++)
        cp_bit_set(text_set(t, n), id);
    if (chars < CP_TRIE_TEXT_SETS)
        return CP_OK;
    cp_bit_set(text_set(t, CP_TRIE_TEXT_SETS), id);
    if (!cp_grow((void **)&t->long_texts, cap, t->n_long_texts + 1, sizeof *t->long_texts))
        return cp_error_no_memory(err, "token trie");
    t->long_texts[t->n_long_texts++] = (cp_token_text){id, chars};
    return CP_OK;
}

void cp_token_trie_texts(const cp_token_trie *t, uint32_t chars, uint64_t *bits) {
    size_t set = chars < CP_TRIE_TEXT_SETS ? chars : CP_TRIE_TEXT_SETS;
    memcpy(bits, text_set(t, set), t->n_words * sizeof *bits);
    if (chars >= CP_TRIE_TEXT_SETS)
        for (size_t i = 0; i < t->n_long_texts; i++)
            if (t->long_texts[i].chars > chars)
                cp_bit_clear(bits, t->long_texts[i].id);
}

/* ---- building ---------------------------------------------------------------------------------
 */

/* The ordinary tokens, sorted by their bytes. */
static size_t list_tokens(const cp_tokenizer *tok, size_t n_ids, entry *out) {
    size_t n = 0;
    for (size_t id = 0; id < n_ids; id++) {
        cp_str bytes = cp_tokenizer_id_bytes(tok, (int32_t)id);
        if (bytes.n > 0 && bytes.n <= CP_TRIE_MAX_DEPTH && !is_added(tok, (int32_t)id, bytes))
            out[n++] = (entry){bytes, (int32_t)id};
    }
    qsort(out, n, sizeof *out, compare_entries);
    return n;
}

static cp_status build(cp_token_trie *t, entry *entries, size_t n, cp_error *err) {
    size_t cap = 0, n_edge = 0;
    cp_status status = build_trie(entries, n, &t->all, err);
    for (size_t i = 0; i < n && status == CP_OK; i++) {
        uint32_t chars;
        measure(t, entries[i].bytes);
        token_class class = classify(entries[i].bytes, &chars);
        if (class == TOKEN_TEXT)
            status = add_text(t, &cap, entries[i].id, chars, err);
        else if (class == TOKEN_EDGE)
            entries[n_edge++] = entries[i];
    }
    return status == CP_OK ? build_trie(entries, n_edge, &t->edge, err) : status;
}

cp_status cp_token_trie_build(const cp_tokenizer *tok, size_t vocab_size, cp_token_trie *out,
                              cp_error *err) {
    size_t n_ids = cp_tokenizer_n_ids(tok);
    n_ids = n_ids < vocab_size ? n_ids : vocab_size;
    *out = (cp_token_trie){.n_words = (vocab_size + 63) / 64};
    entry *entries = calloc(n_ids ? n_ids : 1, sizeof *entries);
    out->texts = calloc((CP_TRIE_TEXT_SETS + 1) * out->n_words, sizeof *out->texts);
    cp_status status = CP_OK;
    if (!entries || !out->texts)
        status = cp_error_no_memory(err, "token trie");
    else
        status = build(out, entries, list_tokens(tok, n_ids, entries), err);
    free(entries);
    if (status != CP_OK)
        cp_token_trie_deinit(out);
    return status;
}

void cp_token_trie_deinit(cp_token_trie *t) {
    free(t->all.nodes);
    free(t->edge.nodes);
    free(t->texts);
    free(t->long_texts);
    *t = (cp_token_trie){0};
}
