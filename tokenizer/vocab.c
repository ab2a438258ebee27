#include "tokenizer/vocab.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 1024

void cp_vocab_deinit(cp_vocab *vocab) {
    free(vocab->bytes);
    free(vocab->tokens);
    free(vocab->slots);
    free(vocab->merges);
    free(vocab->results);
    *vocab = (cp_vocab){0};
}

/* ---- ids by bytes -------------------------------------------------------------------------- */

static uint64_t mix(uint64_t a) {
    a *= 0x9e3779b97f4a7c15u;
    return a ^ a >> 32;
}

/* Eight bytes at a time; the length goes in so that a zero tail differs from no tail. */
static uint32_t hash_bytes(cp_str bytes) {
    uint64_t hash = mix(bytes.n + 1), word;
    size_t i = 0;
    for (; i + 8 <= bytes.n; i += 8) {
        memcpy(&word, bytes.data + i, 8);
        hash = mix(hash ^ word);
    }
    word = 0;
    if (i < bytes.n)
        memcpy(&word, bytes.data + i, bytes.n - i);
    return (uint32_t)(mix(hash ^ word) >> 16);
}

/* The slot that holds these bytes, or the free one where they would go. */
static cp_vocab_slot *probe(const cp_vocab *vocab, cp_str bytes, uint32_t hash) {
    size_t mask = vocab->n_slots - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        cp_vocab_slot *slot = &vocab->slots[i];
        if (slot->id < 0 ||
            (slot->hash == hash && cp_str_equal(cp_vocab_bytes(vocab, slot->id), bytes)))
            return slot;
    }
}

/* Doubles the table when it would be more than half full. */
static bool make_slot_room(cp_vocab *vocab) {
    if (vocab->n_indexed * 2 < vocab->n_slots)
        return true;
    size_t n = vocab->n_slots ? vocab->n_slots * 2 : FIRST_SLOTS;
    cp_vocab_slot *slots = malloc(n * sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < n; i++)
        slots[i] = (cp_vocab_slot){0, -1};
    for (size_t i = 0; i < vocab->n_slots; i++) {
        cp_vocab_slot old = vocab->slots[i];
        size_t at = old.hash & (n - 1);
        if (old.id < 0)
            continue;
        while (slots[at].id >= 0)
            at = (at + 1) & (n - 1);
        slots[at] = old;
    }
    free(vocab->slots);
    vocab->slots = slots;
    vocab->n_slots = n;
    return true;
}

int32_t cp_vocab_find(const cp_vocab *vocab, cp_str bytes) {
    return vocab->n_slots ? probe(vocab, bytes, hash_bytes(bytes))->id : -1;
}

/* ---- tokens -------------------------------------------------------------------------------- */

/* For messages: at most 48 bytes of a token. */
#define SHOWN(bytes) (int)((bytes).n < 48 ? (bytes).n : 48), (bytes).data

/* Makes the row of `id` exist, and copies the bytes. */
static cp_status place(cp_vocab *vocab, cp_str bytes, int64_t id, cp_error *err) {
    if (bytes.n == 0)
        return cp_error_set(err, CP_ERR_FORMAT, "token id %lld has no text", (long long)id);
    if (id < 0 || id >= CP_VOCAB_MAX_IDS)
        return cp_error_set(err, CP_ERR_FORMAT, "token id %lld is outside 0..%d", (long long)id,
                            CP_VOCAB_MAX_IDS - 1);
    size_t row = (size_t)id;
    if (!cp_grow((void **)&vocab->tokens, &vocab->cap_ids, row + 1, sizeof *vocab->tokens) ||
        !cp_grow((void **)&vocab->bytes, &vocab->cap_bytes, vocab->n_bytes + bytes.n, 1))
        return cp_error_no_memory(err, "the vocabulary");
    for (; vocab->n_ids <= row; vocab->n_ids++)
        vocab->tokens[vocab->n_ids] = (cp_token){0, 0, CP_TOKEN_NONE};
    if (vocab->tokens[row].kinds != CP_TOKEN_NONE)
        return cp_error_set(err, CP_ERR_FORMAT, "token id %lld is used twice, by \"%.*s\" too",
                            (long long)id, SHOWN(bytes));
    memcpy(vocab->bytes + vocab->n_bytes, bytes.data, bytes.n);
    vocab->tokens[row].offset = (uint32_t)vocab->n_bytes;
    vocab->tokens[row].n = (uint32_t)bytes.n;
    vocab->n_bytes += bytes.n;
    return CP_OK;
}

cp_status cp_vocab_add_base(cp_vocab *vocab, cp_str bytes, int64_t id, cp_error *err) {
    if (!make_slot_room(vocab))
        return cp_error_no_memory(err, "the vocabulary");
    uint32_t hash = hash_bytes(bytes);
    cp_vocab_slot *slot = probe(vocab, bytes, hash);
    if (slot->id >= 0)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "token \"%.*s\" is in the vocabulary twice, as %d and %lld",
                            SHOWN(bytes), (int)slot->id, (long long)id);
    cp_status status = place(vocab, bytes, id, err);
    if (status != CP_OK)
        return status;
    vocab->tokens[id].kinds = CP_TOKEN_BASE;
    *slot = (cp_vocab_slot){hash, (int32_t)id};
    vocab->n_indexed++;
    return CP_OK;
}

cp_status cp_vocab_add_added(cp_vocab *vocab, cp_str bytes, int64_t id, bool special,
                             cp_error *err) {
    uint32_t kinds = CP_TOKEN_ADDED | (special ? CP_TOKEN_SPECIAL : 0u);
    if (id >= 0 && (size_t)id < vocab->n_ids && vocab->tokens[id].kinds == CP_TOKEN_BASE &&
        cp_str_equal(cp_vocab_bytes(vocab, (int32_t)id), bytes)) {
        vocab->tokens[id].kinds |= kinds;
        return CP_OK;
    }
    cp_status status = place(vocab, bytes, id, err);
    if (status == CP_OK)
        vocab->tokens[id].kinds = kinds;
    return status;
}

/* ---- merges -------------------------------------------------------------------------------- */

/* The slot of a pair, or the free one where it would go. */
static cp_merge_slot *probe_merge(const cp_vocab *vocab, int32_t left, int32_t right) {
    size_t mask = vocab->n_merge_slots - 1;
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    for (size_t i = mix(key) & mask;; i = (i + 1) & mask) {
        cp_merge_slot *slot = &vocab->merges[i];
        if (slot->left < 0 || (slot->left == left && slot->right == right))
            return slot;
    }
}

static bool make_merge_room(cp_vocab *vocab) {
    if (vocab->n_merges * 2 < vocab->n_merge_slots)
        return true;
    cp_vocab bigger = {.n_merge_slots =
                           vocab->n_merge_slots ? vocab->n_merge_slots * 2 : FIRST_SLOTS};
    bigger.merges = malloc(bigger.n_merge_slots * sizeof *bigger.merges);
    if (!bigger.merges)
        return false;
    for (size_t i = 0; i < bigger.n_merge_slots; i++)
        bigger.merges[i] = (cp_merge_slot){-1, -1, CP_RANK_NONE};
    for (size_t i = 0; i < vocab->n_merge_slots; i++)
        if (vocab->merges[i].left >= 0)
            *probe_merge(&bigger, vocab->merges[i].left, vocab->merges[i].right) = vocab->merges[i];
    free(vocab->merges);
    vocab->merges = bigger.merges;
    vocab->n_merge_slots = bigger.n_merge_slots;
    return true;
}

/* The base token whose bytes are left + right, or -1. The sum is put together behind the bytes in
 * use. */
static bool find_sum(cp_vocab *vocab, cp_str left, cp_str right, int32_t *id) {
    size_t n = left.n + right.n;
    if (!cp_grow((void **)&vocab->bytes, &vocab->cap_bytes, vocab->n_bytes + n, 1))
        return false;
    char *sum = vocab->bytes + vocab->n_bytes;
    memcpy(sum, left.data, left.n);
    memcpy(sum + left.n, right.data, right.n);
    *id = cp_vocab_find(vocab, (cp_str){sum, n});
    return true;
}

cp_status cp_vocab_add_merge(cp_vocab *vocab, cp_str left, cp_str right, cp_error *err) {
    int32_t a = cp_vocab_find(vocab, left), b = cp_vocab_find(vocab, right);
    int32_t result = -1;
    size_t rank = vocab->n_merges;
    if (a >= 0 && b >= 0 && !find_sum(vocab, left, right, &result))
        return cp_error_no_memory(err, "the merges");
    if (result < 0)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "merge %zu (\"%.*s\" + \"%.*s\"): %s is not in the vocabulary", rank,
                            SHOWN(left), SHOWN(right),
                            a < 0   ? "its left side"
                            : b < 0 ? "its right side"
                                    : "its result");
    if (!make_merge_room(vocab) ||
        !cp_grow((void **)&vocab->results, &vocab->cap_results, rank + 1, sizeof *vocab->results))
        return cp_error_no_memory(err, "the merges");
    cp_merge_slot *slot = probe_merge(vocab, a, b);
    if (slot->left >= 0)
        return cp_error_set(err, CP_ERR_FORMAT, "merges %u and %zu are the same",
                            (unsigned)slot->rank, rank);
    *slot = (cp_merge_slot){a, b, (uint32_t)rank};
    vocab->results[vocab->n_merges++] = result;
    return CP_OK;
}

uint32_t cp_vocab_merge_rank(const cp_vocab *vocab, int32_t left, int32_t right) {
    return vocab->n_merge_slots ? probe_merge(vocab, left, right)->rank : CP_RANK_NONE;
}

/* Vocabularies that were trained without all bytes as a start (SmolLM2) lack some that text hardly
 * has: control characters, what starts a character of planes 4 to 11 (none is assigned), and what
 * is never in UTF-8. */
static bool may_lack(unsigned byte) {
    bool control = (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7f;
    bool never = byte == 0xc0 || byte == 0xc1 || byte >= 0xf5;
    return control || never || byte == 0xf1 || byte == 0xf2;
}

cp_status cp_vocab_finish(cp_vocab *vocab, cp_error *err) {
    for (unsigned byte = 0; byte < 256; byte++) {
        char letter = (char)byte;
        vocab->byte_ids[byte] = cp_vocab_find(vocab, (cp_str){&letter, 1});
        if (vocab->byte_ids[byte] < 0 && !may_lack(byte))
            return cp_error_set(err, CP_ERR_FORMAT, "byte 0x%02x is not in the vocabulary", byte);
    }
    return CP_OK;
}
