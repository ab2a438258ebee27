#include "tokenizer/vocab.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 1024
#define ID_MASK     0x3fffffu /* of a slot: the id and one */
#define RANK_BITS   22
#define PAIR_BITS   21 /* of each id of a pair */

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

/* A slot's upper bits: most entries that are not meant differ in them, so their bytes are not
 * fetched. The table's index comes from the lower end of the hash. */
static uint32_t tag(uint32_t hash) {
    return hash & ~ID_MASK;
}

static int32_t slot_id(uint32_t slot) {
    return (int32_t)(slot & ID_MASK) - 1;
}

/* The slot that holds these bytes, or the free one where they would go. */
static uint32_t *probe(const cp_vocab *vocab, cp_str bytes, uint32_t hash) {
    size_t mask = vocab->n_slots - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        uint32_t *slot = &vocab->slots[i];
        if (!*slot ||
            (tag(*slot) == tag(hash) && cp_str_equal(cp_vocab_bytes(vocab, slot_id(*slot)), bytes)))
            return slot;
    }
}

/* Slots for one entry more: doubled when the table would be more than three quarters full. */
static size_t slots_wanted(size_t n_slots, size_t n_entries) {
    if (n_slots == 0)
        return FIRST_SLOTS;
    return n_entries < n_slots / 4 * 3 ? n_slots : n_slots * 2;
}

static bool make_slot_room(cp_vocab *vocab) {
    size_t n = slots_wanted(vocab->n_slots, vocab->n_indexed);
    if (n == vocab->n_slots)
        return true;
    uint32_t *slots = calloc(n, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < vocab->n_slots; i++) {
        uint32_t old = vocab->slots[i];
        if (!old)
            continue;
        size_t at = hash_bytes(cp_vocab_bytes(vocab, slot_id(old))) & (n - 1);
        while (slots[at])
            at = (at + 1) & (n - 1);
        slots[at] = old;
    }
    free(vocab->slots);
    vocab->slots = slots;
    vocab->n_slots = n;
    return true;
}

int32_t cp_vocab_find(const cp_vocab *vocab, cp_str bytes) {
    return vocab->n_slots ? slot_id(*probe(vocab, bytes, hash_bytes(bytes))) : -1;
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
        vocab->tokens[vocab->n_ids] = (cp_token){.kinds = CP_TOKEN_NONE};
    if (vocab->tokens[row].kinds != CP_TOKEN_NONE)
        return cp_error_set(err, CP_ERR_FORMAT, "token id %lld is used twice, by \"%.*s\" too",
                            (long long)id, SHOWN(bytes));
    memcpy(vocab->bytes + vocab->n_bytes, bytes.data, bytes.n);
    vocab->tokens[row].offset = (uint32_t)vocab->n_bytes;
    vocab->tokens[row].n = (unsigned)bytes.n;
    vocab->n_bytes += bytes.n;
    return CP_OK;
}

cp_status cp_vocab_add_base(cp_vocab *vocab, cp_str bytes, int64_t id, cp_error *err) {
    if (!make_slot_room(vocab))
        return cp_error_no_memory(err, "the vocabulary");
    uint32_t hash = hash_bytes(bytes);
    uint32_t *slot = probe(vocab, bytes, hash);
    if (*slot)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "token \"%.*s\" is in the vocabulary twice, as %d and %lld",
                            SHOWN(bytes), (int)slot_id(*slot), (long long)id);
    cp_status status = place(vocab, bytes, id, err);
    if (status != CP_OK)
        return status;
    vocab->tokens[id].kinds = CP_TOKEN_BASE;
    *slot = tag(hash) | (uint32_t)(id + 1);
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

static uint64_t pair_key(int32_t left, int32_t right) {
    return (uint64_t)left << PAIR_BITS | (uint64_t)right;
}

/* The slot of a pair, or the free one where it would go. */
static uint64_t *probe_merge(const cp_vocab *vocab, uint64_t key) {
    size_t mask = vocab->n_merge_slots - 1;
    for (size_t i = mix(key) & mask;; i = (i + 1) & mask) {
        uint64_t *slot = &vocab->merges[i];
        if (!*slot || *slot >> RANK_BITS == key)
            return slot;
    }
}

/* CP_RANK_NONE for a free slot, since that is -1. */
static uint32_t slot_rank(uint64_t slot) {
    return (uint32_t)(slot & ((1u << RANK_BITS) - 1)) - 1;
}

static bool make_merge_room(cp_vocab *vocab) {
    cp_vocab bigger = {.n_merge_slots = slots_wanted(vocab->n_merge_slots, vocab->n_merges)};
    if (bigger.n_merge_slots == vocab->n_merge_slots)
        return true;
    bigger.merges = calloc(bigger.n_merge_slots, sizeof *bigger.merges);
    if (!bigger.merges)
        return false;
    for (size_t i = 0; i < vocab->n_merge_slots; i++)
        if (vocab->merges[i])
            *probe_merge(&bigger, vocab->merges[i] >> RANK_BITS) = vocab->merges[i];
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
    if (rank == CP_VOCAB_MAX_MERGES)
        return cp_error_set(err, CP_ERR_LIMIT, "more than %d merges", CP_VOCAB_MAX_MERGES);
    if (!make_merge_room(vocab) ||
        !cp_grow((void **)&vocab->results, &vocab->cap_results, rank + 1, sizeof *vocab->results))
        return cp_error_no_memory(err, "the merges");
    uint64_t key = pair_key(a, b), *slot = probe_merge(vocab, key);
    if (*slot)
        return cp_error_set(err, CP_ERR_FORMAT, "merges %u and %zu are the same",
                            (unsigned)slot_rank(*slot), rank);
    *slot = key << RANK_BITS | (rank + 1);
    vocab->results[vocab->n_merges++] = result;
    return CP_OK;
}

uint32_t cp_vocab_merge_rank(const cp_vocab *vocab, int32_t left, int32_t right) {
    return vocab->n_merge_slots ? slot_rank(*probe_merge(vocab, pair_key(left, right)))
                                : CP_RANK_NONE;
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
