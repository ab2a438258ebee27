#include "tokenizer/added_tokens.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void cp_added_tokens_deinit(cp_added_tokens *added) {
    free(added->ids);
    *added = (cp_added_tokens){.n = 0};
}

static unsigned first_byte(cp_str bytes) {
    return (unsigned char)bytes.data[0]; /* no token is empty */
}

/* By first byte, then length, longest first; then by bytes, so that equal ones are neighbours. */
static int compare(const void *a, const void *b, void *context) {
    cp_str x = cp_vocab_bytes(context, *(const int32_t *)a);
    cp_str y = cp_vocab_bytes(context, *(const int32_t *)b);
    if (first_byte(x) != first_byte(y))
        return first_byte(x) < first_byte(y) ? -1 : 1;
    if (x.n != y.n)
        return x.n > y.n ? -1 : 1;
    return memcmp(x.data, y.data, x.n);
}

cp_status cp_added_tokens_build(cp_added_tokens *added, const cp_vocab *vocab, cp_error *err) {
    for (size_t id = 0; id < vocab->n_ids; id++) {
        if (!(vocab->tokens[id].kinds & CP_TOKEN_ADDED))
            continue;
        if (added->n == CP_ADDED_TOKENS_MAX)
            return cp_error_set(err, CP_ERR_LIMIT, "more than %d added tokens",
                                CP_ADDED_TOKENS_MAX);
        if (!cp_grow((void **)&added->ids, &added->cap, added->n + 1, sizeof *added->ids))
            return cp_error_no_memory(err, "the added tokens");
        added->ids[added->n++] = (int32_t)id;
    }
    if (added->n > 0)
        qsort_r(added->ids, added->n, sizeof *added->ids, compare, (void *)vocab);
    for (size_t i = 0; i < added->n; i++)
        added->first[first_byte(cp_vocab_bytes(vocab, added->ids[i])) + 1]++;
    for (unsigned b = 1; b < 257; b++)
        added->first[b] += added->first[b - 1];
    for (size_t i = 1; i < added->n; i++)
        if (compare(&added->ids[i - 1], &added->ids[i], (void *)vocab) == 0)
            return cp_error_set(err, CP_ERR_FORMAT, "added tokens %d and %d have the same text",
                                (int)added->ids[i - 1], (int)added->ids[i]);
    return CP_OK;
}

bool cp_added_tokens_find(const cp_added_tokens *added, const cp_vocab *vocab, const char *text,
                          size_t from, size_t end, size_t *at, int32_t *id) {
    if (added->n == 0)
        return false;
    for (size_t i = from; i < end; i++) {
        unsigned byte = (unsigned char)text[i];
        for (uint32_t k = added->first[byte]; k < added->first[byte + 1]; k++) {
            cp_str token = cp_vocab_bytes(vocab, added->ids[k]);
            if (token.n <= end - i && memcmp(text + i, token.data, token.n) == 0) {
                *at = i;
                *id = added->ids[k];
                return true;
            }
        }
    }
    return false;
}

int32_t cp_added_tokens_id(const cp_added_tokens *added, const cp_vocab *vocab, cp_str text) {
    for (size_t i = 0; i < added->n; i++)
        if (cp_str_equal(cp_vocab_bytes(vocab, added->ids[i]), text))
            return added->ids[i];
    return -1;
}
