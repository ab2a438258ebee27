#include "retrieval/segment_write.h"

#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define FILE_BUFFER ((size_t)1 << 20)

/* Bytes on their way out. In memory the buffer is the whole image; of a file it is what has not
 * been written yet. */
typedef struct sink {
    int fd;
    unsigned char *bytes;
    size_t n, cap;
    uint64_t written; /* before `bytes` */
} sink;

typedef struct array {
    void *items;
    size_t n, cap, size;
} array;

struct cp_segment_writer {
    cp_segment_header header;
    const char *path;
    sink out;
    cp_status status;
    cp_error err;
    array terms, docs, chunks, words, scales, checks, strings;
    XXH3_state_t *group; /* of the vectors that have no checksum yet */
    size_t n_group;
    unsigned char *block; /* the encoded postings of one term */
    size_t block_cap;
    const char *mrn; /* the last document's, in `strings` by its offset */
    uint32_t mrn_at;
};

/* ---- bytes out --------------------------------------------------------------------------------
 */

static void fail(cp_segment_writer *w, cp_status status) {
    if (w->status == CP_OK)
        w->status = status;
}

static void out_of_memory(cp_segment_writer *w) {
    fail(w, cp_error_no_memory(&w->err, "an index segment"));
}

static bool write_at(cp_segment_writer *w, const void *bytes, size_t n, uint64_t at) {
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(w->out.fd, (const char *)bytes + done, n - done, (off_t)(at + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            fail(w, cp_error_set(&w->err, CP_ERR_IO, "%s: cannot write: %s", w->path,
                                 strerror(put < 0 ? errno : ENOSPC)));
            return false;
        }
        done += (size_t)put;
    }
    return true;
}

static void flush(cp_segment_writer *w) {
    if (write_at(w, w->out.bytes, w->out.n, w->out.written))
        w->out.written += w->out.n;
    w->out.n = 0;
}

/* Room for n bytes more at the image's end. */
static bool grow_image(cp_segment_writer *w, size_t n) {
    sink *out = &w->out;
    size_t need, cap = out->cap ? out->cap : 1024;
    if (!cp_size_add(out->n, n, &need))
        return false;
    while (cap < need)
        if (!cp_size_mul(cap, 2, &cap))
            return false;
    if (cap == out->cap)
        return true;
    unsigned char *bytes = aligned_alloc(CP_SEGMENT_ALIGN, cap);
    if (!bytes)
        return false;
    if (out->n > 0)
        memcpy(bytes, out->bytes, out->n);
    free(out->bytes);
    out->bytes = bytes;
    out->cap = cap;
    return true;
}

/* bytes NULL: zeros. */
static void put(cp_segment_writer *w, const void *bytes, size_t n) {
    while (w->status == CP_OK && n > 0) {
        size_t part = n;
        if (w->out.fd >= 0) {
            if (w->out.n == w->out.cap)
                flush(w);
            part = n < w->out.cap - w->out.n ? n : w->out.cap - w->out.n;
        } else if (!grow_image(w, n)) {
            out_of_memory(w);
            return;
        }
        if (bytes)
            memcpy(w->out.bytes + w->out.n, bytes, part);
        else
            memset(w->out.bytes + w->out.n, 0, part);
        bytes = bytes ? (const char *)bytes + part : NULL;
        w->out.n += part;
        n -= part;
    }
}

static uint64_t place(const cp_segment_writer *w) {
    return w->out.written + w->out.n;
}

static void align(cp_segment_writer *w) {
    put(w, NULL, (size_t)(-place(w) % CP_SEGMENT_ALIGN));
}

/* ---- what is kept until the end ---------------------------------------------------------------
 */

static void *add(cp_segment_writer *w, array *a, size_t n) {
    if (w->status != CP_OK)
        return NULL;
    if (!cp_grow(&a->items, &a->cap, a->n + n, a->size)) {
        out_of_memory(w);
        return NULL;
    }
    void *at = (char *)a->items + a->n * a->size;
    a->n += n;
    return at;
}

static void too_large(cp_segment_writer *w, const char *what) {
    fail(w, cp_error_set(&w->err, CP_ERR_LIMIT, "the index has too many %s", what));
}

static uint32_t add_string(cp_segment_writer *w, const char *text) {
    size_t n = strlen(text) + 1;
    if (w->strings.n > UINT32_MAX - n) {
        too_large(w, "names");
        return 0;
    }
    char *at = add(w, &w->strings, n);
    if (!at)
        return 0;
    memcpy(at, text, n);
    return (uint32_t)(w->strings.n - n);
}

static void end_vector_group(cp_segment_writer *w) {
    uint64_t *check = w->n_group > 0 ? add(w, &w->checks, 1) : NULL;
    if (check) {
        *check = XXH3_64bits_digest(w->group);
        (void)XXH3_64bits_reset(w->group);
    }
    w->n_group = 0;
}

static void add_vector(cp_segment_writer *w, cp_vector vector) {
    static const int8_t zeros[CP_MAX_VECTOR_WIDTH];
    float *scale = add(w, &w->scales, 1);
    if (!scale)
        return;
    *scale = vector.values ? vector.scale : 0;
    w->header.n_vectors += *scale > 0;
    const int8_t *values = *scale > 0 ? vector.values : zeros;
    put(w, values, w->header.width);
    (void)XXH3_64bits_update(w->group, values, w->header.width);
    if (++w->n_group == CP_VECTORS_GROUP)
        end_vector_group(w);
}

cp_status cp_segment_writer_create(const cp_segment_about *about, int fd, const char *path,
                                   cp_segment_writer **out, cp_error *err) {
    *out = NULL;
    cp_segment_writer *w = calloc(1, sizeof *w);
    if (!w)
        return cp_error_no_memory(err, "an index segment");
    w->path = path;
    w->out.fd = fd;
    w->terms.size = sizeof(cp_segment_term);
    w->docs.size = sizeof(cp_segment_doc);
    w->chunks.size = sizeof(cp_segment_chunk);
    w->words.size = sizeof(uint32_t);
    w->scales.size = sizeof(float);
    w->checks.size = sizeof(uint64_t);
    w->strings.size = 1;
    w->header = (cp_segment_header){.magic = CP_SEGMENT_MAGIC,
                                    .version = CP_SEGMENT_VERSION,
                                    .width = about->width,
                                    .salt = about->salt,
                                    .number = about->number,
                                    .generation = about->generation};
    memcpy(w->header.model, about->model, strnlen(about->model, CP_SEGMENT_MODEL_CAP - 1));
    w->group = XXH3_createState();
    if (fd >= 0) {
        w->out.cap = FILE_BUFFER;
        w->out.bytes = malloc(FILE_BUFFER);
    }
    if (!w->group || (fd >= 0 && !w->out.bytes)) {
        cp_segment_writer_free(w);
        return cp_error_no_memory(err, "an index segment");
    }
    (void)XXH3_64bits_reset(w->group);
    (void)add_string(w, ""); /* nobody's MRN, and the last byte of an empty section */
    put(w, NULL, sizeof w->header);
    align(w);
    w->header.sections[CP_PART_VECTORS].at = place(w);
    *out = w;
    return CP_OK;
}

void cp_segment_writer_free(cp_segment_writer *w) {
    if (!w)
        return;
    array *arrays[] = {&w->terms,  &w->docs,   &w->chunks, &w->words,
                       &w->scales, &w->checks, &w->strings};
    for (size_t i = 0; i < CP_COUNT_OF(arrays); i++)
        free(arrays[i]->items);
    XXH3_freeState(w->group);
    free(w->block);
    free(w->out.bytes);
    free(w);
}

void cp_segment_writer_doc(cp_segment_writer *w, const char *mrn, const char *id,
                           cp_entry_kind kind, const cp_content_hash *hash) {
    if (w->mrn_at == 0 ? mrn[0] != '\0'
                       : strcmp((const char *)w->strings.items + w->mrn_at, mrn) != 0)
        w->mrn_at = add_string(w, mrn);
    uint32_t id_at = add_string(w, id);
    cp_segment_doc *doc = add(w, &w->docs, 1);
    if (doc)
        *doc = (cp_segment_doc){.mrn = w->mrn_at,
                                .id = id_at,
                                .first = (uint32_t)w->chunks.n,
                                .kind = kind,
                                .hash = *hash};
}

void cp_segment_writer_chunk(cp_segment_writer *w, uint32_t begin, uint32_t n, uint32_t n_words,
                             cp_vector vector) {
    if (w->chunks.n >= CP_SEGMENT_MAX_CHUNKS)
        too_large(w, "entries");
    cp_segment_chunk *chunk = add(w, &w->chunks, 1);
    uint32_t *words = add(w, &w->words, 1);
    if (!chunk || !words)
        return;
    *chunk = (cp_segment_chunk){(uint32_t)(w->docs.n - 1), begin, n};
    *words = n_words;
    w->header.n_words += n_words;
    ((cp_segment_doc *)w->docs.items)[w->docs.n - 1].n_chunks++;
    if (w->header.width > 0)
        add_vector(w, vector);
}

/* ---- postings ---------------------------------------------------------------------------------
 */

static unsigned width_of(uint32_t largest) {
    return largest <= UINT8_MAX ? 1 : largest <= UINT16_MAX ? 2 : 4;
}

static unsigned char *put_number(unsigned char *at, uint32_t value, unsigned width) {
    memcpy(at, &value, width); /* little-endian */
    return at + width;
}

static unsigned char *put_block(unsigned char *at, const cp_posting *postings, size_t n) {
    uint32_t delta = 0, count = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t d = i > 0 ? postings[i].number - postings[i - 1].number : 0;
        delta = d > delta ? d : delta;
        count = postings[i].count > count ? postings[i].count : count;
    }
    unsigned delta_width = width_of(delta), count_width = width_of(count);
    *at++ = (unsigned char)(delta_width | count_width << 4);
    for (size_t i = 1; i < n; i++)
        at = put_number(at, postings[i].number - postings[i - 1].number, delta_width);
    for (size_t i = 0; i < n; i++)
        at = put_number(at, postings[i].count, count_width);
    return at;
}

/* The term's postings into w->block; how many bytes, or 0. */
static size_t encode(cp_segment_writer *w, const cp_posting *postings, size_t n) {
    size_t n_blocks = (n + CP_POSTINGS_BLOCK - 1) / CP_POSTINGS_BLOCK;
    size_t head = n_blocks * CP_BLOCK_HEAD_BYTES, most = head + n_blocks + n * 8;
    if (most > UINT32_MAX) {
        too_large(w, "entries");
        return 0;
    }
    if (!cp_grow((void **)&w->block, &w->block_cap, most, 1)) {
        out_of_memory(w);
        return 0;
    }
    unsigned char *at = w->block + head;
    for (size_t b = 0; b < n_blocks; b++) {
        const cp_posting *first = postings + b * CP_POSTINGS_BLOCK;
        size_t left = n - b * CP_POSTINGS_BLOCK;
        put_number(w->block + b * CP_BLOCK_HEAD_BYTES, first->number, 4);
        put_number(w->block + b * CP_BLOCK_HEAD_BYTES + 4, (uint32_t)(at - w->block), 4);
        at = put_block(at, first, left < CP_POSTINGS_BLOCK ? left : CP_POSTINGS_BLOCK);
    }
    return (size_t)(at - w->block);
}

/* Documents and vectors are all there: the next section begins. */
static void begin_postings(cp_segment_writer *w) {
    cp_segment_section *vectors = &w->header.sections[CP_PART_VECTORS];
    cp_segment_section *postings = &w->header.sections[CP_PART_POSTINGS];
    if (postings->at != 0)
        return;
    end_vector_group(w);
    vectors->n_bytes = place(w) - vectors->at;
    align(w);
    postings->at = place(w);
}

void cp_segment_writer_term(cp_segment_writer *w, uint64_t hash, const cp_posting *postings,
                            size_t n) {
    if (w->status != CP_OK)
        return;
    begin_postings(w);
    size_t n_bytes = encode(w, postings, n);
    cp_segment_term *term = add(w, &w->terms, 1);
    if (!term)
        return;
    *term = (cp_segment_term){.hash = hash,
                              .at = place(w) - w->header.sections[CP_PART_POSTINGS].at,
                              .n_bytes = (uint32_t)n_bytes,
                              .df = (uint32_t)n,
                              .check = (uint32_t)XXH3_64bits(w->block, n_bytes)};
    w->header.n_postings += n;
    put(w, w->block, n_bytes);
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static void put_section(cp_segment_writer *w, cp_segment_part part, const array *a) {
    align(w);
    w->header.sections[part] =
        (cp_segment_section){place(w), a->n * a->size, XXH3_64bits(a->items, a->n * a->size)};
    put(w, a->items, a->n * a->size);
}

cp_status cp_segment_writer_finish(cp_segment_writer *w, unsigned char **image, size_t *n_bytes,
                                   cp_error *err) {
    if (image)
        *image = NULL;
    begin_postings(w);
    cp_segment_section *postings = &w->header.sections[CP_PART_POSTINGS];
    postings->n_bytes = place(w) - postings->at;
    put_section(w, CP_PART_TERMS, &w->terms);
    put_section(w, CP_PART_DOCS, &w->docs);
    put_section(w, CP_PART_CHUNKS, &w->chunks);
    put_section(w, CP_PART_WORDS, &w->words);
    put_section(w, CP_PART_SCALES, &w->scales);
    put_section(w, CP_PART_VECTOR_CHECKS, &w->checks);
    put_section(w, CP_PART_STRINGS, &w->strings);
    align(w);
    w->header.n_bytes = place(w);
    w->header.n_docs = (uint32_t)w->docs.n;
    w->header.n_chunks = (uint32_t)w->chunks.n;
    w->header.n_terms = (uint32_t)w->terms.n;
    if (w->terms.n > UINT32_MAX)
        too_large(w, "words");
    w->header.check = XXH3_64bits(&w->header, offsetof(cp_segment_header, check));
    if (w->out.fd >= 0 && w->status == CP_OK) {
        flush(w);
        (void)write_at(w, &w->header, sizeof w->header, 0);
    }
    if (w->status != CP_OK) {
        if (err)
            *err = w->err;
        return w->status;
    }
    if (image) {
        memcpy(w->out.bytes, &w->header, sizeof w->header);
        *image = w->out.bytes;
        *n_bytes = w->out.n;
        w->out.bytes = NULL;
    }
    return CP_OK;
}
