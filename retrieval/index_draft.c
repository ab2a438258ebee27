#include "retrieval/index_draft.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One put or remove. */
typedef struct op {
    char *mrn, *id; /* one allocation, mrn's */
    size_t seq;
    bool removed;
    cp_entry_kind kind;
    cp_content_hash hash;
    size_t first, n_chunks; /* of the draft's */
} op;

typedef struct draft_chunk {
    uint32_t begin, n, n_words;
    float scale; /* 0: no vector */
    size_t first, n_terms;
} draft_chunk;

struct cp_index_draft {
    size_t width;
    op *ops;
    draft_chunk *chunks;
    cp_term *terms;  /* of all chunks, in order */
    int8_t *vectors; /* [n_chunks, width] */
    size_t n_ops, n_chunks, n_terms;
    size_t ops_cap, chunks_cap, terms_cap, vectors_cap;
};

cp_status cp_index_draft_create(size_t width, cp_index_draft **out, cp_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return cp_error_no_memory(err, "an index draft");
    (*out)->width = width;
    return CP_OK;
}

void cp_index_draft_free(cp_index_draft *draft) {
    if (!draft)
        return;
    cp_index_draft_clear(draft);
    free(draft->ops);
    free(draft->chunks);
    free(draft->terms);
    free(draft->vectors);
    free(draft);
}

bool cp_index_draft_is_empty(const cp_index_draft *draft) {
    return draft->n_ops == 0;
}

/* Keeps the memory of small drafts only: the next is likely as small. */
void cp_index_draft_clear(cp_index_draft *draft) {
    for (size_t i = 0; i < draft->n_ops; i++)
        free(draft->ops[i].mrn);
    draft->n_ops = draft->n_chunks = draft->n_terms = 0;
    if (draft->terms_cap <= 1 << 16)
        return;
    free(draft->terms);
    free(draft->vectors);
    draft->terms = NULL;
    draft->vectors = NULL;
    draft->terms_cap = draft->vectors_cap = 0;
}

/* ---- putting ----------------------------------------------------------------------------------
 */

/* Errors name no MRN and no id: they are a patient's. */
static cp_status check_name(const char *mrn, const char *id, cp_error *err) {
    size_t n_mrn = strnlen(mrn, CP_MAX_MRN_BYTES + 1), n_id = strnlen(id, CP_DOC_ID_BYTES + 1);
    if (n_mrn > CP_MAX_MRN_BYTES)
        return cp_error_set(err, CP_ERR_USAGE, "index: an MRN is longer than %d bytes",
                            CP_MAX_MRN_BYTES);
    if (strcmp(mrn, CP_ANY_MRN) == 0)
        return cp_error_set(err, CP_ERR_USAGE, "index: no MRN can be \"%s\"", CP_ANY_MRN);
    if (n_id == 0 || n_id > CP_DOC_ID_BYTES)
        return cp_error_set(err, CP_ERR_USAGE,
                            "index: a document's id has %s bytes, expected 1 to %d",
                            n_id == 0 ? "0" : "more", CP_DOC_ID_BYTES);
    return CP_OK;
}

static cp_status check_chunk(const cp_chunk *chunk, size_t width, cp_error *err) {
    for (size_t i = 0; i < chunk->n_terms; i++)
        if (chunk->terms[i].count == 0 ||
            (i > 0 && chunk->terms[i].hash <= chunk->terms[i - 1].hash))
            return cp_error_set(err, CP_ERR_USAGE,
                                "index: an entry's words are not ascending or have no count");
    if (width > 0 && chunk->vector.values &&
        !(isfinite(chunk->vector.scale) && chunk->vector.scale > 0))
        return cp_error_set(err, CP_ERR_USAGE,
                            "index: a vector's scale is %g, expected more than 0",
                            (double)chunk->vector.scale);
    return CP_OK;
}

static cp_status check_doc(const cp_index_doc *doc, size_t width, cp_error *err) {
    cp_status status = check_name(doc->mrn, doc->id, err);
    if (status == CP_OK && (doc->n_chunks == 0 || (unsigned)doc->kind >= CP_N_ENTRY_KINDS))
        status = cp_error_set(err, CP_ERR_USAGE, "index: a document of %zu entries and kind %d",
                              doc->n_chunks, (int)doc->kind);
    for (size_t i = 0; i < doc->n_chunks && status == CP_OK; i++)
        status = check_chunk(&doc->chunks[i], width, err);
    return status;
}

static bool add_op(cp_index_draft *draft, const op *added, const char *mrn, const char *id) {
    size_t n_mrn = strlen(mrn) + 1, n_id = strlen(id) + 1;
    if (!cp_grow((void **)&draft->ops, &draft->ops_cap, draft->n_ops + 1, sizeof *draft->ops))
        return false;
    char *names = malloc(n_mrn + n_id);
    if (!names)
        return false;
    memcpy(names, mrn, n_mrn);
    memcpy(names + n_mrn, id, n_id);
    op *at = &draft->ops[draft->n_ops];
    *at = *added;
    at->mrn = names;
    at->id = names + n_mrn;
    at->seq = draft->n_ops++;
    return true;
}

static bool reserve(cp_index_draft *draft, const cp_index_doc *doc) {
    size_t n_terms = draft->n_terms, n_chunks = draft->n_chunks + doc->n_chunks;
    for (size_t i = 0; i < doc->n_chunks; i++)
        n_terms += doc->chunks[i].n_terms;
    return cp_grow((void **)&draft->chunks, &draft->chunks_cap, n_chunks, sizeof *draft->chunks) &&
           cp_grow((void **)&draft->terms, &draft->terms_cap, n_terms, sizeof *draft->terms) &&
           (draft->width == 0 ||
            cp_grow((void **)&draft->vectors, &draft->vectors_cap, n_chunks, draft->width));
}

static void add_chunk(cp_index_draft *draft, const cp_chunk *chunk) {
    bool has_vector = draft->width > 0 && chunk->vector.values;
    draft->chunks[draft->n_chunks] = (draft_chunk){.begin = chunk->begin,
                                                   .n = chunk->n,
                                                   .n_words = chunk->n_words,
                                                   .scale = has_vector ? chunk->vector.scale : 0,
                                                   .first = draft->n_terms,
                                                   .n_terms = chunk->n_terms};
    if (chunk->n_terms > 0)
        memcpy(draft->terms + draft->n_terms, chunk->terms, chunk->n_terms * sizeof *chunk->terms);
    if (has_vector)
        memcpy(draft->vectors + draft->n_chunks * draft->width, chunk->vector.values, draft->width);
    draft->n_terms += chunk->n_terms;
    draft->n_chunks++;
}

cp_status cp_index_draft_put(cp_index_draft *draft, const cp_index_doc *doc, cp_error *err) {
    cp_status status = check_doc(doc, draft->width, err);
    if (status != CP_OK)
        return status;
    if (doc->n_chunks > CP_SEGMENT_MAX_CHUNKS - draft->n_chunks)
        return cp_error_set(err, CP_ERR_LIMIT, "index: more than %u entries in one commit",
                            CP_SEGMENT_MAX_CHUNKS);
    op put = {
        .kind = doc->kind, .hash = doc->hash, .first = draft->n_chunks, .n_chunks = doc->n_chunks};
    if (!reserve(draft, doc) || !add_op(draft, &put, doc->mrn, doc->id))
        return cp_error_no_memory(err, "an index entry");
    for (size_t i = 0; i < doc->n_chunks; i++)
        add_chunk(draft, &doc->chunks[i]);
    return CP_OK;
}

cp_status cp_index_draft_remove(cp_index_draft *draft, const char *mrn, const char *id,
                                cp_error *err) {
    cp_status status = check_name(mrn, id, err);
    op removed = {.removed = true};
    if (status == CP_OK && !add_op(draft, &removed, mrn, id))
        status = cp_error_no_memory(err, "an index entry");
    return status;
}

/* ---- making a segment -------------------------------------------------------------------------
 */

/* A word in a chunk, by the chunk's number in the segment. */
typedef struct occurrence {
    uint64_t hash;
    cp_posting posting;
} occurrence;

static int by_name(const void *a, const void *b) {
    const op *x = *(op *const *)a, *y = *(op *const *)b;
    int order = strcmp(x->mrn, y->mrn);
    if (order == 0)
        order = strcmp(x->id, y->id);
    return order != 0 ? order : (x->seq > y->seq) - (x->seq < y->seq);
}

static int by_hash(const void *a, const void *b) {
    const occurrence *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->posting.number > y->posting.number) - (x->posting.number < y->posting.number);
}

/* Pointers to the last op on each document, in order. */
static cp_status last_words(const cp_index_draft *draft, const op ***out, size_t *n,
                            cp_error *err) {
    const op **ops = malloc((draft->n_ops + 1) * sizeof *ops);
    *out = ops;
    *n = 0;
    if (!ops)
        return cp_error_no_memory(err, "an index commit");
    for (size_t i = 0; i < draft->n_ops; i++)
        ops[i] = &draft->ops[i];
    qsort(ops, draft->n_ops, sizeof *ops, by_name);
    for (size_t i = 0; i < draft->n_ops; i++)
        if (i + 1 == draft->n_ops || strcmp(ops[i]->mrn, ops[i + 1]->mrn) != 0 ||
            strcmp(ops[i]->id, ops[i + 1]->id) != 0)
            ops[(*n)++] = ops[i];
    return CP_OK;
}

/* Writes one document; its words follow `*n_words` occurrences. */
static void write_doc(const cp_index_draft *draft, const op *doc, cp_segment_writer *writer,
                      uint32_t *number, occurrence *words, size_t *n_words) {
    cp_segment_writer_doc(writer, doc->mrn, doc->id, doc->kind, &doc->hash);
    for (size_t c = doc->first; c < doc->first + doc->n_chunks; c++, ++*number) {
        const draft_chunk *chunk = &draft->chunks[c];
        cp_vector vector = {.values = NULL};
        if (chunk->scale > 0)
            vector = (cp_vector){draft->vectors + c * draft->width, chunk->scale};
        cp_segment_writer_chunk(writer, chunk->begin, chunk->n, chunk->n_words, vector);
        for (size_t t = chunk->first; t < chunk->first + chunk->n_terms; t++)
            words[(*n_words)++] = (occurrence){draft->terms[t].hash,
                                               {.number = *number, .count = draft->terms[t].count}};
    }
}

/* Occurrences in order, one term at a time. `postings` has room for all. */
static void write_terms(const occurrence *words, size_t n, cp_posting *postings,
                        cp_segment_writer *writer) {
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i; end < n && words[end].hash == words[i].hash; end++)
            postings[end - i] = words[end].posting;
        cp_segment_writer_term(writer, words[i].hash, postings, end - i);
    }
}

static cp_status write_puts(const cp_index_draft *draft, const op *const *ops, size_t n,
                            cp_segment_writer *writer, cp_error *err) {
    occurrence *words = malloc((draft->n_terms + 1) * sizeof *words);
    cp_posting *postings = malloc((draft->n_terms + 1) * sizeof *postings);
    uint32_t number = 0;
    size_t n_words = 0;
    cp_status status = words && postings ? CP_OK : cp_error_no_memory(err, "an index commit");
    for (size_t i = 0; i < n && status == CP_OK; i++)
        if (!ops[i]->removed)
            write_doc(draft, ops[i], writer, &number, words, &n_words);
    if (status == CP_OK) {
        qsort(words, n_words, sizeof *words, by_hash);
        write_terms(words, n_words, postings, writer);
    }
    free(words);
    free(postings);
    return status;
}

cp_status cp_index_draft_make(const cp_index_draft *draft, const cp_segment_about *about,
                              unsigned char **image, size_t *n_image, cp_strbuf *removed,
                              cp_error *err) {
    const op **ops;
    cp_segment_writer *writer = NULL;
    size_t n, n_puts = 0;
    *image = NULL;
    *n_image = 0;
    cp_status status = last_words(draft, &ops, &n, err);
    for (size_t i = 0; i < n; i++)
        if (ops[i]->removed) {
            cp_strbuf_append(removed, ops[i]->mrn, strlen(ops[i]->mrn) + 1);
            cp_strbuf_append(removed, ops[i]->id, strlen(ops[i]->id) + 1);
        } else
            n_puts++;
    if (status == CP_OK)
        status = cp_strbuf_check(removed, "an index commit's removed documents", err);
    if (status == CP_OK && n_puts > 0)
        status = cp_segment_writer_create(about, -1, "index", &writer, err);
    if (writer && status == CP_OK)
        status = write_puts(draft, ops, n, writer, err);
    if (writer && status == CP_OK)
        status = cp_segment_writer_finish(writer, image, n_image, err);
    cp_segment_writer_free(writer);
    free(ops);
    return status;
}
