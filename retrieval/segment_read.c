#include "retrieval/segment_read.h"

#include "base/file.h"
#include "base/mem.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct cp_segment {
    atomic_uint refs;
    cp_segment_header head;
    char *name; /* for errors: the path */
    cp_mapping file;
    unsigned char *image; /* in the place of `file` */
    const int8_t *vectors;
    const unsigned char *postings;
    const cp_segment_term *terms;
    const cp_segment_doc *docs;
    const cp_segment_chunk *chunks;
    const uint32_t *words;
    const float *scales;
    const uint64_t *vector_checks;
    const char *strings;
    size_t n_strings;
    /* One a term, one a group of vectors: 1 once it was found right. NULL: nothing to check. */
    atomic_uchar *terms_checked, *groups_checked;
};

static cp_status damaged(const cp_segment *s, const char *what, cp_error *err) {
    if (s->file.data) {
        cp_status status = cp_file_check_whole(&s->file, s->name, CP_OK, err);
        if (status != CP_OK)
            return status;
    }
    return cp_error_set(err, CP_ERR_FORMAT, "%s: damaged: %s", s->name, what);
}

/* ---- opening: bounds --------------------------------------------------------------------------
 */

static cp_status check_header(const cp_segment *s, size_t n_bytes, cp_error *err) {
    const cp_segment_header *h = &s->head;
    if (h->magic != CP_SEGMENT_MAGIC)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: no index segment", s->name);
    if (h->version != CP_SEGMENT_VERSION)
        return cp_error_set(err, CP_ERR_UNSUPPORTED,
                            "%s: an index of version %u, expected %u; ingest anew", s->name,
                            h->version, CP_SEGMENT_VERSION);
    if (h->check != XXH3_64bits(h, offsetof(cp_segment_header, check)))
        return damaged(s, "its header's checksum is wrong", err);
    if (h->n_bytes != n_bytes)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: damaged: %zu bytes, its header says %llu",
                            s->name, n_bytes, (unsigned long long)h->n_bytes);
    if (h->width > CP_MAX_VECTOR_WIDTH || h->n_chunks > CP_SEGMENT_MAX_CHUNKS ||
        h->n_docs > h->n_chunks || h->model[CP_SEGMENT_MODEL_CAP - 1] != '\0')
        return damaged(s, "its header's numbers are out of range", err);
    return CP_OK;
}

/* A section of `size` bytes; SIZE_MAX: any. NULL when it does not fit. */
static const void *section(const cp_segment *s, cp_segment_part part, size_t size) {
    const cp_segment_section *at = &s->head.sections[part];
    const unsigned char *bytes = s->image ? s->image : s->file.data;
    if (at->at % CP_SEGMENT_ALIGN != 0 || at->at < sizeof s->head || at->at > s->head.n_bytes ||
        at->n_bytes > s->head.n_bytes - at->at || (size != SIZE_MAX && at->n_bytes != size))
        return NULL;
    return bytes + at->at;
}

static bool is_right(const cp_segment *s, cp_segment_part part, const void *bytes) {
    const cp_segment_section *at = &s->head.sections[part];
    return XXH3_64bits(bytes, at->n_bytes) == at->check;
}

static size_t n_groups(const cp_segment_header *h) {
    return h->width == 0 ? 0 : ((size_t)h->n_chunks + CP_VECTORS_GROUP - 1) / CP_VECTORS_GROUP;
}

static cp_status find_sections(cp_segment *s, cp_error *err) {
    const cp_segment_header *h = &s->head;
    size_t n = h->n_chunks; /* below 2^28, so no product here overflows */
    struct {
        cp_segment_part part;
        size_t size;
        const void *at;
    } parts[CP_N_SEGMENT_PARTS] = {
        {CP_PART_VECTORS, n * h->width, NULL},
        {CP_PART_POSTINGS, SIZE_MAX, NULL},
        {CP_PART_TERMS, h->n_terms * sizeof(cp_segment_term), NULL},
        {CP_PART_DOCS, h->n_docs * sizeof(cp_segment_doc), NULL},
        {CP_PART_CHUNKS, n * sizeof(cp_segment_chunk), NULL},
        {CP_PART_WORDS, n * sizeof(uint32_t), NULL},
        {CP_PART_SCALES, h->width > 0 ? n * sizeof(float) : 0, NULL},
        {CP_PART_VECTOR_CHECKS, n_groups(h) * sizeof(uint64_t), NULL},
        {CP_PART_STRINGS, SIZE_MAX, NULL},
    };
    for (size_t i = 0; i < CP_N_SEGMENT_PARTS; i++) {
        parts[i].at = section(s, parts[i].part, parts[i].size);
        if (!parts[i].at)
            return damaged(s, "a section does not lie within it", err);
        if (i != CP_PART_VECTORS && i != CP_PART_POSTINGS && !is_right(s, i, parts[i].at))
            return damaged(s, "a section's checksum is wrong", err);
    }
    s->vectors = parts[CP_PART_VECTORS].at;
    s->postings = parts[CP_PART_POSTINGS].at;
    s->terms = parts[CP_PART_TERMS].at;
    s->docs = parts[CP_PART_DOCS].at;
    s->chunks = parts[CP_PART_CHUNKS].at;
    s->words = parts[CP_PART_WORDS].at;
    s->scales = parts[CP_PART_SCALES].at;
    s->vector_checks = parts[CP_PART_VECTOR_CHECKS].at;
    s->strings = parts[CP_PART_STRINGS].at;
    s->n_strings = h->sections[CP_PART_STRINGS].n_bytes;
    if (s->n_strings == 0 || s->strings[s->n_strings - 1] != '\0')
        return damaged(s, "its names have no end", err);
    return CP_OK;
}

/* ---- opening: contents ------------------------------------------------------------------------
 */

/* In [0, n_strings), so that it ends within the section. */
static const char *string_at(const cp_segment *s, uint32_t at) {
    return s->strings + (at < s->n_strings ? at : s->n_strings - 1);
}

static int compare(const char *mrn_a, const char *id_a, const char *mrn_b, const char *id_b) {
    int order = strcmp(mrn_a, mrn_b);
    return order != 0 ? order : strcmp(id_a, id_b);
}

static cp_status check_docs(const cp_segment *s, cp_error *err) {
    const char *mrn = NULL, *id = NULL;
    uint64_t next = 0;
    for (uint32_t i = 0; i < s->head.n_docs; i++) {
        const cp_segment_doc *doc = &s->docs[i];
        const char *doc_mrn = string_at(s, doc->mrn), *doc_id = string_at(s, doc->id);
        size_t n_id = strnlen(doc_id, CP_DOC_ID_BYTES + 1);
        if (doc->mrn >= s->n_strings || doc->id >= s->n_strings || n_id == 0 ||
            n_id > CP_DOC_ID_BYTES || strnlen(doc_mrn, CP_MAX_MRN_BYTES + 1) > CP_MAX_MRN_BYTES)
            return damaged(s, "a document's name", err);
        if (mrn && compare(mrn, id, doc_mrn, doc_id) >= 0)
            return damaged(s, "its documents are not in order", err);
        if (doc->first != next || doc->n_chunks == 0 || doc->kind >= CP_N_ENTRY_KINDS)
            return damaged(s, "a document's entries", err);
        next += doc->n_chunks;
        if (next > s->head.n_chunks)
            return damaged(s, "a document's entries", err);
        for (uint32_t c = doc->first; c < next; c++)
            if (s->chunks[c].doc != i)
                return damaged(s, "an entry's document", err);
        mrn = doc_mrn;
        id = doc_id;
    }
    return next == s->head.n_chunks ? CP_OK : damaged(s, "its number of entries", err);
}

static cp_status check_chunks(const cp_segment *s, cp_error *err) {
    uint64_t n_words = 0;
    uint32_t n_vectors = 0;
    for (uint32_t i = 0; i < s->head.n_chunks; i++) {
        n_words += s->words[i];
        if (s->head.width == 0)
            continue;
        if (!isfinite(s->scales[i]) || s->scales[i] < 0)
            return damaged(s, "a vector's scale", err);
        n_vectors += s->scales[i] > 0;
    }
    if (n_words != s->head.n_words || n_vectors != s->head.n_vectors)
        return damaged(s, "its sums", err);
    return CP_OK;
}

static cp_status check_terms(const cp_segment *s, cp_error *err) {
    uint64_t next = 0, n_postings = 0;
    for (uint32_t i = 0; i < s->head.n_terms; i++) {
        const cp_segment_term *term = &s->terms[i];
        uint64_t n_blocks = ((uint64_t)term->df + CP_POSTINGS_BLOCK - 1) / CP_POSTINGS_BLOCK;
        if (i > 0 && term->hash <= s->terms[i - 1].hash)
            return damaged(s, "its words are not in order", err);
        if (term->at != next || term->df == 0 || term->df > s->head.n_chunks ||
            term->n_bytes < n_blocks * (CP_BLOCK_HEAD_BYTES + 1))
            return damaged(s, "a word's postings", err);
        next += term->n_bytes;
        n_postings += term->df;
    }
    if (next != s->head.sections[CP_PART_POSTINGS].n_bytes || n_postings != s->head.n_postings)
        return damaged(s, "its postings", err);
    return CP_OK;
}

static cp_status examine(cp_segment *s, const unsigned char *bytes, size_t n_bytes, cp_error *err) {
    if (n_bytes < sizeof s->head)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: %zu bytes are no index segment", s->name,
                            n_bytes);
    memcpy(&s->head, bytes, sizeof s->head);
    cp_status status = check_header(s, n_bytes, err);
    if (status == CP_OK)
        status = find_sections(s, err);
    if (status == CP_OK)
        status = check_docs(s, err);
    if (status == CP_OK)
        status = check_chunks(s, err);
    return status == CP_OK ? check_terms(s, err) : status;
}

static cp_segment *new_segment(const char *name) {
    cp_segment *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    s->name = cp_copy_bytes(name, strlen(name));
    if (s->name)
        return s;
    free(s);
    return NULL;
}

cp_status cp_segment_open_file(const char *path, cp_segment **out, cp_error *err) {
    *out = NULL;
    cp_segment *s = new_segment(path);
    if (!s)
        return cp_error_no_memory(err, "an index segment");
    cp_status status = cp_file_map(path, &s->file, err);
    if (status == CP_OK)
        status = examine(s, s->file.data, s->file.n_bytes, err);
    if (status == CP_OK) {
        s->terms_checked = calloc(s->head.n_terms + 1, 1);
        s->groups_checked = calloc(n_groups(&s->head) + 1, 1);
        if (!s->terms_checked || !s->groups_checked)
            status = cp_error_no_memory(err, "an index segment");
    }
    if (s->file.data)
        status = cp_file_check_whole(&s->file, path, status, err);
    if (status == CP_OK)
        *out = s;
    else
        cp_segment_release(s);
    return status;
}

cp_status cp_segment_open_image(unsigned char *image, size_t n_bytes, const char *name,
                                cp_segment **out, cp_error *err) {
    *out = NULL;
    cp_segment *s = new_segment(name);
    if (!s) {
        free(image);
        return cp_error_no_memory(err, "an index segment");
    }
    s->image = image;
    cp_status status = examine(s, image, n_bytes, err);
    if (status == CP_OK)
        *out = s;
    else
        cp_segment_release(s);
    return status;
}

cp_segment *cp_segment_hold(cp_segment *s) {
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void cp_segment_release(cp_segment *s) {
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    cp_file_unmap(&s->file);
    free(s->image);
    free(s->terms_checked);
    free(s->groups_checked);
    free(s->name);
    free(s);
}

const cp_segment_header *cp_segment_head(const cp_segment *s) {
    return &s->head;
}

cp_status cp_segment_check_whole(const cp_segment *s, cp_error *err) {
    return s->file.data ? cp_file_check_whole(&s->file, s->name, CP_OK, err) : CP_OK;
}

/* ---- documents and chunks ---------------------------------------------------------------------
 */

cp_segment_doc_view cp_segment_doc_at(const cp_segment *s, uint32_t i) {
    const cp_segment_doc *doc = &s->docs[i];
    uint32_t n = s->head.n_chunks, first = doc->first < n ? doc->first : n;
    return (cp_segment_doc_view){.mrn = string_at(s, doc->mrn),
                                 .id = string_at(s, doc->id),
                                 .kind = doc->kind < CP_N_ENTRY_KINDS ? (cp_entry_kind)doc->kind
                                                                      : CP_ENTRY_KNOWLEDGE,
                                 .first = first,
                                 .n_chunks = doc->n_chunks < n - first ? doc->n_chunks : n - first,
                                 .hash = doc->hash};
}

cp_segment_chunk_view cp_segment_chunk_at(const cp_segment *s, uint32_t number) {
    const cp_segment_chunk *chunk = &s->chunks[number];
    cp_segment_chunk_view view = {.doc = chunk->doc < s->head.n_docs ? chunk->doc : 0,
                                  .begin = chunk->begin,
                                  .n = chunk->n,
                                  .n_words = s->words[number]};
    if (s->head.width > 0 && s->scales[number] > 0)
        view.vector = (cp_vector){s->vectors + (size_t)number * s->head.width, s->scales[number]};
    return view;
}

/* The first document at or behind (mrn, id). */
static uint32_t lower_bound(const cp_segment *s, const char *mrn, const char *id) {
    uint32_t low = 0, high = s->head.n_docs;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const cp_segment_doc *doc = &s->docs[middle];
        if (compare(string_at(s, doc->mrn), string_at(s, doc->id), mrn, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t cp_segment_find(const cp_segment *s, const char *mrn, const char *id) {
    uint32_t i = lower_bound(s, mrn, id);
    if (i < s->head.n_docs &&
        compare(string_at(s, s->docs[i].mrn), string_at(s, s->docs[i].id), mrn, id) == 0)
        return i;
    return s->head.n_docs;
}

cp_run cp_segment_docs_of(const cp_segment *s, const char *mrn) {
    uint32_t begin = lower_bound(s, mrn, ""), low = begin, high = s->head.n_docs;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (strcmp(string_at(s, s->docs[middle].mrn), mrn) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return (cp_run){begin, low};
}

cp_run cp_segment_chunks_of(const cp_segment *s, cp_run docs) {
    if (docs.begin >= docs.end)
        return (cp_run){0, 0};
    cp_segment_doc_view first = cp_segment_doc_at(s, docs.begin),
                        last = cp_segment_doc_at(s, docs.end - 1);
    uint32_t end = last.first + last.n_chunks;
    return first.first < end ? (cp_run){first.first, end} : (cp_run){0, 0};
}

/* ---- vectors ----------------------------------------------------------------------------------
 */

const int8_t *cp_segment_vectors(const cp_segment *s) {
    return s->vectors;
}

const float *cp_segment_scales(const cp_segment *s) {
    return s->scales;
}

static bool group_is_right(const cp_segment *s, size_t group) {
    size_t first = group * CP_VECTORS_GROUP, n = s->head.n_chunks - first;
    n = n < CP_VECTORS_GROUP ? n : CP_VECTORS_GROUP;
    return XXH3_64bits(s->vectors + first * s->head.width, n * s->head.width) ==
           s->vector_checks[group];
}

cp_status cp_segment_check_vectors(const cp_segment *s, cp_run run, cp_error *err) {
    if (!s->groups_checked || s->head.width == 0 || run.begin >= run.end)
        return CP_OK;
    for (size_t g = run.begin / CP_VECTORS_GROUP; g <= (run.end - 1) / CP_VECTORS_GROUP; g++) {
        if (atomic_load_explicit(&s->groups_checked[g], memory_order_relaxed))
            continue;
        if (!group_is_right(s, g))
            return damaged(s, "its vectors' checksum is wrong", err);
        atomic_store_explicit(&s->groups_checked[g], 1, memory_order_relaxed);
    }
    return CP_OK;
}

/* ---- postings ---------------------------------------------------------------------------------
 */

static const cp_segment_term *find_term(const cp_segment *s, uint64_t hash) {
    uint32_t low = 0, high = s->head.n_terms;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->terms[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->head.n_terms && s->terms[low].hash == hash ? &s->terms[low] : NULL;
}

uint32_t cp_segment_df(const cp_segment *s, uint64_t hash) {
    const cp_segment_term *term = find_term(s, hash);
    return term ? term->df : 0;
}

static cp_status postings_of(const cp_segment *s, const cp_segment_term *found, bool again,
                             cp_postings *out, cp_error *err) {
    cp_segment_term term = *found;
    size_t i = (size_t)(found - s->terms), n = s->head.sections[CP_PART_POSTINGS].n_bytes;
    uint64_t n_blocks = ((uint64_t)term.df + CP_POSTINGS_BLOCK - 1) / CP_POSTINGS_BLOCK;
    *out = (cp_postings){.df = 0};
    if (term.at > n || term.n_bytes > n - term.at || n_blocks * CP_BLOCK_HEAD_BYTES > term.n_bytes)
        return damaged(s, "a word's postings", err);
    *out = (cp_postings){s->postings + term.at, term.n_bytes, term.df, (uint32_t)n_blocks,
                         s->head.n_chunks};
    if (!again &&
        (!s->terms_checked || atomic_load_explicit(&s->terms_checked[i], memory_order_relaxed)))
        return CP_OK;
    if ((uint32_t)XXH3_64bits(out->bytes, out->n_bytes) != term.check)
        return damaged(s, "the checksum of a word's postings is wrong", err);
    if (s->terms_checked)
        atomic_store_explicit(&s->terms_checked[i], 1, memory_order_relaxed);
    return CP_OK;
}

cp_status cp_segment_postings(const cp_segment *s, uint64_t hash, cp_postings *out, cp_error *err) {
    const cp_segment_term *term = find_term(s, hash);
    *out = (cp_postings){.df = 0};
    return term ? postings_of(s, term, false, out, err) : CP_OK;
}

cp_status cp_segment_postings_at(const cp_segment *s, uint32_t i, cp_postings *out, cp_error *err) {
    return postings_of(s, &s->terms[i], false, out, err);
}

uint64_t cp_segment_hash_at(const cp_segment *s, uint32_t i) {
    return s->terms[i].hash;
}

const uint32_t *cp_segment_words(const cp_segment *s) {
    return s->words;
}

/* ---- everything -------------------------------------------------------------------------------
 */

static cp_status verify_postings(const cp_segment *s, const cp_postings *p, cp_error *err) {
    uint32_t numbers[CP_POSTINGS_BLOCK], counts[CP_POSTINGS_BLOCK];
    uint64_t next = 0;
    for (uint32_t b = 0; b < p->n_blocks; b++) {
        size_t n = cp_postings_block(p, b, numbers, counts);
        if (n == 0 || numbers[0] < next)
            return damaged(s, "a word's postings", err);
        next = (uint64_t)numbers[n - 1] + 1;
        for (size_t i = 0; i < n; i++)
            if (counts[i] == 0)
                return damaged(s, "a word's counts", err);
    }
    return CP_OK;
}

cp_status cp_segment_verify(const cp_segment *s, cp_error *err) {
    cp_segment again = {.head = s->head, .name = s->name, .file = s->file, .image = s->image};
    const unsigned char *bytes = s->image ? s->image : s->file.data;
    cp_status status = examine(&again, bytes, s->head.n_bytes, err);
    for (uint32_t i = 0; i < s->head.n_terms && status == CP_OK; i++) {
        cp_postings postings;
        status = postings_of(s, &s->terms[i], true, &postings, err);
        if (status == CP_OK)
            status = verify_postings(s, &postings, err);
    }
    for (size_t g = 0; g < n_groups(&s->head) && status == CP_OK; g++)
        if (!group_is_right(s, g))
            status = damaged(s, "its vectors' checksum is wrong", err);
    return s->file.data ? cp_file_check_whole(&s->file, s->name, status, err) : status;
}
