/* A segment or a tail of the index: the first byte says which, and whether its checksums are made
 * right first, so that what stands behind them is read, too. Nobody is shown an entry of somebody
 * else, and what verifies can be merged. */
#include "tests/fuzz/fuzz.h"

#include "base/mem.h"
#include "retrieval/index_pair.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SALT       7u
#define WIDTH      8u
#define MAX_CHUNKS 4096

/* ---- checksums --------------------------------------------------------------------------------
 */

static bool lies_within(uint64_t at, uint64_t n_bytes, uint64_t n) {
    return at <= n && n_bytes <= n - at;
}

static void mend_terms(unsigned char *bytes, const cp_segment_header *head) {
    const cp_segment_section *terms = &head->sections[CP_PART_TERMS],
                             *postings = &head->sections[CP_PART_POSTINGS];
    for (uint64_t i = 0; i < terms->n_bytes / sizeof(cp_segment_term); i++) {
        unsigned char *at = bytes + terms->at + i * sizeof(cp_segment_term);
        cp_segment_term term;
        memcpy(&term, at, sizeof term);
        if (!lies_within(term.at, term.n_bytes, postings->n_bytes))
            continue;
        term.check = (uint32_t)XXH3_64bits(bytes + postings->at + term.at, term.n_bytes);
        memcpy(at, &term, sizeof term);
    }
}

static void mend_vectors(unsigned char *bytes, const cp_segment_header *head) {
    const cp_segment_section *vectors = &head->sections[CP_PART_VECTORS],
                             *checks = &head->sections[CP_PART_VECTOR_CHECKS];
    uint64_t group = (uint64_t)head->width * CP_VECTORS_GROUP;
    for (uint64_t i = 0; i < checks->n_bytes / 8 && i * group < vectors->n_bytes; i++) {
        uint64_t left = vectors->n_bytes - i * group;
        uint64_t check = XXH3_64bits(bytes + vectors->at + i * group, left < group ? left : group);
        memcpy(bytes + checks->at + i * 8, &check, sizeof check);
    }
}

static void mend_segment(unsigned char *bytes, size_t n, uint64_t salt) {
    cp_segment_header head;
    if (n < sizeof head)
        return;
    memcpy(&head, bytes, sizeof head);
    head.magic = CP_SEGMENT_MAGIC;
    head.version = CP_SEGMENT_VERSION;
    head.n_bytes = n;
    head.salt = salt;
    bool whole = true;
    for (size_t i = 0; i < CP_N_SEGMENT_PARTS; i++)
        whole = whole && head.sections[i].at >= sizeof head &&
                lies_within(head.sections[i].at, head.sections[i].n_bytes, n);
    if (whole) {
        mend_terms(bytes, &head);
        mend_vectors(bytes, &head);
    }
    for (size_t i = CP_PART_TERMS; whole && i < CP_N_SEGMENT_PARTS; i++)
        head.sections[i].check = XXH3_64bits(bytes + head.sections[i].at, head.sections[i].n_bytes);
    head.check = XXH3_64bits(&head, offsetof(cp_segment_header, check));
    memcpy(bytes, &head, sizeof head);
}

/* Eight numbers of a head of a tail or a frame, the last of which is its checksum. */
typedef struct head64 {
    uint64_t of[8];
} head64;

static void put_head(unsigned char *at, head64 *head) {
    head->of[7] = XXH3_64bits(head, sizeof *head - sizeof head->of[7]);
    memcpy(at, head, sizeof *head);
}

/* `bytes` begins with the heads of a true tail: magic numbers are taken from there. */
static void mend_tail(unsigned char *bytes, size_t n, uint64_t tail_magic, uint64_t frame_magic) {
    head64 head = {{tail_magic, 1, SALT, 1}};
    if (n < 2 * sizeof head)
        return;
    put_head(bytes, &head);
    for (uint64_t at = sizeof head; lies_within(at, sizeof head, n);) {
        memcpy(&head, bytes + at, sizeof head);
        uint64_t n_removed = head.of[4], n_image = head.of[5], body = at + sizeof head;
        uint64_t padded = (n_removed + 63) / 64 * 64;
        if (n_removed > n || !lies_within(body, padded, n) ||
            !lies_within(body + padded, n_image, n))
            return;
        mend_segment(bytes + body + padded, n_image, SALT);
        head.of[0] = frame_magic;
        head.of[1] = SALT;
        head.of[2] = 1;
        head.of[3] = at;
        head.of[6] =
            XXH3_64bits_withSeed(bytes + body + padded, n_image, XXH3_64bits(bytes + body, padded));
        put_head(bytes + at, &head);
        at = body + padded + n_image;
    }
}

/* ---- using what was opened --------------------------------------------------------------------
 */

static bool touch_doc(void *user, const cp_indexed_doc *doc) {
    (void)user;
    fuzz_expect(strlen(doc->mrn) <= CP_MAX_MRN_BYTES);
    fuzz_expect(strlen(doc->id) >= 1 && strlen(doc->id) <= CP_DOC_ID_BYTES);
    fuzz_expect((unsigned)doc->kind < CP_N_ENTRY_KINDS && doc->n_chunks > 0);
    return true;
}

static void check_hits(const cp_index_view *view, const char *mrn, const cp_hit *hits, size_t n) {
    for (size_t i = 0; i < n; i++) {
        cp_index_item item = cp_index_view_item(view, hits[i].number);
        fuzz_expect(strcmp(item.mrn, mrn) == 0);
        if (item.vector.values)
            fuzz_touch(item.vector.values, cp_segment_head(view->parts[0].segment)->width);
    }
}

/* Asks for one patient's entries by every word, and for the nearest. */
static void ask(const cp_index_view *view, const char *mrn) {
    static const int8_t query[CP_MAX_VECTOR_WIDTH] = {1, 2, 3};
    cp_error err;
    cp_hit hits[16];
    size_t n;
    cp_entry_filter filter = {mrn, mrn[0] == '\0', CP_ALL_KINDS};
    for (size_t p = 0; p < view->n_parts; p++) {
        const cp_segment *segment = view->parts[p].segment;
        for (uint32_t t = 0; t < cp_segment_head(segment)->n_terms && t < 64; t++) {
            cp_query_term terms[] = {{cp_segment_hash_at(segment, t), 1, 0},
                                     {cp_segment_hash_at(segment, t / 2), 1, t % 2}};
            if (fuzz_ok(cp_index_view_lexical(view, &filter, terms, 2, 16, hits, &n, &err), &err))
                check_hits(view, mrn, hits, n);
        }
    }
    if (fuzz_ok(cp_index_view_nearest(view, &filter, (cp_vector){query, 1}, 1, 16, hits, &n, &err),
                &err))
        check_hits(view, mrn, hits, n);
}

static void merge(const cp_index_view *view, bool is_right) {
    const cp_segment_header *head = cp_segment_head(view->parts[0].segment);
    cp_segment_about about = {.salt = head->salt, .width = head->width, .model = head->model};
    cp_error err;
    cp_segment_writer *writer;
    cp_segment *segment;
    unsigned char *image = NULL;
    size_t n_image;
    fuzz_expect(cp_segment_writer_create(&about, -1, "merged", &writer, &err) == CP_OK);
    cp_status status = cp_segments_merge(view->parts, view->n_parts, writer, &err);
    if (status == CP_OK)
        status = cp_segment_writer_finish(writer, &image, &n_image, &err);
    cp_segment_writer_free(writer);
    if (!fuzz_ok(status, &err)) {
        fuzz_expect(!is_right);
        return;
    }
    status = cp_segment_open_image(image, n_image, "merged", &segment, &err);
    if (status != CP_OK) {
        fuzz_expect(!is_right);
        return;
    }
    if (is_right)
        fuzz_expect(cp_segment_verify(segment, &err) == CP_OK);
    cp_segment_release(segment);
}

static void use(const cp_index_view *view) {
    cp_error err;
    cp_index_stats stats = cp_index_view_stats(view);
    if (stats.n_chunks + stats.n_dead > MAX_CHUNKS)
        return;
    cp_index_view_each(view, NULL, touch_doc, NULL);
    for (uint32_t i = 0; i < view->n_entries; i++)
        (void)cp_index_view_item(view, i);
    ask(view, "");
    ask(view, "A");
    if (view->n_entries > 0)
        ask(view, cp_index_view_item(view, view->n_entries - 1).mrn);
    merge(view, fuzz_ok(cp_index_view_verify(view, &err), &err));
}

/* ---- input ------------------------------------------------------------------------------------
 */

static void try_segment(const unsigned char *bytes, size_t n) {
    cp_error err;
    cp_segment *segment;
    cp_index_view *view;
    const char *path = fuzz_write("segment", bytes, n);
    if (!fuzz_ok(cp_segment_open_file(path, &segment, &err), &err))
        return;
    fuzz_expect(cp_index_view_first(segment, &view, &err) == CP_OK);
    use(view);
    cp_index_view_release(view);
    cp_segment_release(segment);
}

/* An index without entries, whose tail is replaced. Its first bytes are a head's magic; a frame is
 * added to learn that of frames. */
static void make_index(uint64_t *tail_magic, uint64_t *frame_magic) {
    cp_error err;
    cp_index_pair pair;
    cp_segment_about about = {.salt = SALT, .number = 1, .width = WIDTH, .model = ""};
    unsigned char heads[72];
    fuzz_expect(cp_index_pair_write(fuzz_dir(), &about, NULL, 0, &pair, &err) == CP_OK);
    fuzz_expect(cp_index_tail_append(&pair.tail, CP_STR("A\0a\0"), NULL, 0, &err) == CP_OK);
    cp_index_pair_close(&pair);
    FILE *tail = fopen(fuzz_path("tail-1"), "rb");
    fuzz_expect(tail && fread(heads, 1, sizeof heads, tail) == sizeof heads);
    fclose(tail);
    memcpy(tail_magic, heads, sizeof *tail_magic);
    memcpy(frame_magic, heads + 64, sizeof *frame_magic);
}

static void try_tail(const unsigned char *bytes, size_t n) {
    cp_error err;
    cp_index_pair pair;
    fuzz_write("tail-1", bytes, n);
    if (!fuzz_ok(cp_index_pair_open(fuzz_dir(), 1, false, &pair, &err), &err))
        return;
    use(pair.view);
    cp_index_pair_close(&pair);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static uint64_t tail_magic, frame_magic;
    if (tail_magic == 0)
        make_index(&tail_magic, &frame_magic);
    if (n == 0)
        return 0;
    unsigned char *bytes = (unsigned char *)fuzz_text(data + 1, n - 1);
    if ((data[0] & 3) == 1)
        mend_segment(bytes, n - 1, SALT);
    if ((data[0] & 3) == 3)
        mend_tail(bytes, n - 1, tail_magic, frame_magic);
    if (data[0] & 2)
        try_tail(bytes, n - 1);
    else
        try_segment(bytes, n - 1);
    free(bytes);
    return 0;
}
