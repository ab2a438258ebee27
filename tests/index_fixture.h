/* An index in a folder, for tests of its files. */
#ifndef CP_TESTS_INDEX_FIXTURE_H
#define CP_TESTS_INDEX_FIXTURE_H

#include "tests/index_twin.h"

extern char index_dir[512]; /* of the test that runs */
const char *index_new_dir(void);
/* With the twin's width and model for writing, with what is there for reading. */
cp_status index_try_open(bool write, size_t tail_bytes, cp_index **index, cp_error *err);
cp_index *index_open(bool write);
uint64_t index_digest(cp_index *index); /* twin_digest of its newest view */
size_t index_n_docs(cp_index *index);
/* Puts n random documents and commits. */
void index_commit_some(cp_index *index, size_t n, uint64_t *random);
/* Folder and files belong to their owner alone. Returns how many files there are. */
size_t index_check_folder(void);
/* The path of the only file whose name begins so. */
const char *index_only_file(const char *stem);
void index_write_private(const char *path, const char *bytes, size_t n);
/* What is known of document `number` before it is written: the number is its hash's beginning. */
void index_make_numbered(twin_doc *doc, uint32_t number);

/* An index of a segment and three commits in its tail; the digests of all and of all but the last
 * commit; where the last frame begins. */
typedef struct index_sample {
    cp_strbuf segment, tail, current;
    char segment_path[600], tail_path[600], current_path[600];
    uint64_t before, after;
    size_t last_frame;
} index_sample;

void index_make_sample(index_sample *sample);
void index_free_sample(index_sample *sample);

#endif
