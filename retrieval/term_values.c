#include "retrieval/term_values.h"

#include "retrieval/sentences.h"

#include <math.h>
#include <stdlib.h>

static int by_hash(const void *a, const void *b) {
    const uint64_t x = ((const cp_term_value *)a)->hash, y = ((const cp_term_value *)b)->hash;
    return x < y ? -1 : x > y;
}

static int by_term_hash(const void *key, const void *item) {
    const uint64_t x = *(const uint64_t *)key, y = ((const cp_term *)item)->hash;
    return x < y ? -1 : x > y;
}

/* As cp_index_view_idf and cp_index_view_mean_words, of these chunks. */
static void take_spare(cp_term_values *values, const cp_chunked *spare, size_t n_spare) {
    double n = 0, n_words = 0;
    for (size_t d = 0; d < n_spare; d++)
        for (size_t c = 0; c < spare[d].n; c++, n++)
            n_words += spare[d].chunks[c].n_words;
    values->mean_words = n_words > 0 ? (float)(n_words / n) : 1;
    for (size_t i = 0; i < values->n; i++) {
        double df = 0;
        for (size_t d = 0; d < n_spare; d++)
            for (size_t c = 0; c < spare[d].n; c++)
                df += spare[d].chunks[c].n_terms > 0 &&
                      bsearch(&values->items[i].hash, spare[d].chunks[c].terms,
                              spare[d].chunks[c].n_terms, sizeof(cp_term), by_term_hash);
        values->items[i].idf = (float)log(1 + (n - df + 0.5) / (df + 0.5));
    }
}

cp_status cp_term_values_make(const cp_index_view *view, const cp_query_terms *terms, uint64_t salt,
                              const cp_chunked *spare, size_t n_spare, cp_term_values *out,
                              cp_error *err) {
    *out = (cp_term_values){.n = terms->n,
                            .n_groups = terms->n_groups,
                            .salt = salt,
                            .mean_words = cp_index_view_mean_words(view)};
    out->items = calloc(terms->n + 1, sizeof *out->items);
    out->best = calloc((size_t)terms->n_groups + 1, sizeof *out->best);
    if (!out->items || !out->best) {
        cp_term_values_deinit(out);
        return cp_error_no_memory(err, "terms of a question");
    }
    for (size_t i = 0; i < terms->n; i++) {
        const cp_query_term *term = &terms->items[i];
        out->items[i] = (cp_term_value){.hash = term->hash,
                                        .weight = term->weight,
                                        .idf = cp_index_view_idf(view, term->hash),
                                        .group = term->group};
    }
    qsort(out->items, out->n, sizeof *out->items, by_hash);
    const cp_index_stats stats = cp_index_view_stats(view);
    if (stats.n_chunks + stats.n_dead == 0)
        take_spare(out, spare, n_spare);
    return CP_OK;
}

void cp_term_values_deinit(cp_term_values *values) {
    free(values->items);
    free(values->best);
    *values = (cp_term_values){0};
}

static const cp_term_value *find(const cp_term_values *values, uint64_t hash) {
    const cp_term_value key = {.hash = hash};
    return bsearch(&key, values->items, values->n, sizeof key, by_hash);
}

/* The best of each group counts. Returns what the sum grew by. */
static float raise_group(cp_term_values *values, uint32_t group, float score) {
    const float grown = score - values->best[group];
    if (grown <= 0)
        return 0;
    values->best[group] = score;
    return grown;
}

static void forget_groups(cp_term_values *values) {
    for (size_t i = 0; i < values->n_groups; i++)
        values->best[i] = 0;
}

/* Both are in the order of hashes. */
float cp_score_chunk(cp_term_values *values, const cp_chunk *chunk) {
    float sum = 0;
    for (size_t i = 0, j = 0; i < values->n && j < chunk->n_terms;) {
        const cp_term_value *value = &values->items[i];
        const cp_term *term = &chunk->terms[j];
        if (value->hash == term->hash)
            sum += raise_group(values, value->group,
                               value->weight * cp_bm25(value->idf, (float)term->count,
                                                       (float)chunk->n_words, values->mean_words));
        i += value->hash <= term->hash;
        j += term->hash <= value->hash;
    }
    forget_groups(values);
    return sum;
}

cp_status cp_best_sentence(cp_term_values *values, cp_passage *passage, cp_error *err) {
    const cp_str text = {passage->doc->text.data + passage->begin, passage->n};
    size_t at = 0, begin, n, word = 0;
    float best = -1;
    cp_words words;
    cp_status status = cp_words_split(text, &words, err);
    while (status == CP_OK && cp_sentence_next(text, &at, CP_CHUNK_BYTES, &begin, &n)) {
        float sum = 0;
        for (; word < words.n && words.items[word].begin < begin + n; word++) {
            const cp_term_value *value =
                find(values, cp_term_hash(cp_word_stem(&words, word), values->salt));
            if (value)
                sum += raise_group(values, value->group, value->weight * value->idf);
        }
        forget_groups(values);
        if (sum > best) {
            best = sum;
            passage->best_begin = passage->begin + (uint32_t)begin;
            passage->best_n = (uint32_t)n;
        }
    }
    cp_words_deinit(&words);
    return status;
}
