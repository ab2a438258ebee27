#include "tests/index_fixture.h"

#include "base/file.h"
#include "tests/test.h"

#include <dirent.h>
#include <sys/stat.h>

char index_dir[512];

const char *index_new_dir(void) {
    static int n;
    snprintf(index_dir, sizeof index_dir, "%s/index-files-%d", test_tmp_dir(), n++);
    return index_dir;
}

cp_status index_try_open(bool write, size_t tail_bytes, cp_index **index, cp_error *err) {
    cp_index_options options = {.dir = index_dir,
                                .write = write,
                                .width = write ? TWIN_WIDTH : 0,
                                .model = write ? "twin" : NULL,
                                .tail_bytes = tail_bytes};
    return cp_index_open(&options, index, err);
}

cp_index *index_open(bool write) {
    cp_error err;
    cp_index *index;
    assert_cp_ok(index_try_open(write, 0, &index, &err));
    return index;
}

uint64_t index_digest(cp_index *index) {
    cp_index_view *view = cp_index_view_take(index);
    uint64_t digest = twin_digest(view);
    cp_index_view_release(view);
    return digest;
}

size_t index_n_docs(cp_index *index) {
    cp_index_view *view = cp_index_view_take(index);
    size_t n = cp_index_view_stats(view).n_docs;
    cp_index_view_release(view);
    return n;
}

/* Puts n random documents and commits. */
void index_commit_some(cp_index *index, size_t n, uint64_t *random) {
    cp_error err;
    for (size_t i = 0; i < n; i++) {
        twin_doc doc;
        twin_make_doc(&doc, test_random(random) % TWIN_PATIENTS, test_random(random) % TWIN_IDS,
                      random);
        twin_put(index, &doc);
    }
    assert_cp_ok(cp_index_commit(index, &err));
}

/* Every file of the folder: its permissions, and nothing that should not be there. Returns how many
 * there are. */
size_t index_check_folder(void) {
    size_t n = 0;
    struct stat info;
    DIR *list = opendir(index_dir);
    assert_non_null(list);
    assert_int_equal(stat(index_dir, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    for (struct dirent *entry; (entry = readdir(list));) {
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(stat(test_path(index_dir, entry->d_name), &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
        n++;
    }
    closedir(list);
    return n;
}

/* The file that begins so: the only one. */
const char *index_only_file(const char *stem) {
    static char paths[2][600];
    static size_t next;
    char *path = paths[next++ % 2];
    size_t n = 0;
    DIR *list = opendir(index_dir);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list));)
        if (strncmp(entry->d_name, stem, strlen(stem)) == 0) {
            snprintf(path, sizeof paths[0], "%s", test_path(index_dir, entry->d_name));
            n++;
        }
    closedir(list);
    assert_int_equal(n, 1);
    return path;
}

static cp_strbuf read_file(const char *path) {
    cp_error err;
    cp_strbuf bytes;
    assert_cp_ok(cp_file_read(path, (size_t)1 << 28, &bytes, &err));
    return bytes;
}

void index_make_sample(index_sample *s) {
    uint64_t random = 4;
    cp_error err;
    struct stat info;
    index_new_dir();
    cp_index *index = index_open(true);
    index_commit_some(index, 6, &random);
    assert_cp_ok(cp_index_compact(index, &err));
    index_commit_some(index, 2, &random);
    assert_cp_ok(cp_index_remove(index, twin_mrns[1], "doc-1", &err));
    index_commit_some(index, 1, &random);
    s->before = index_digest(index);
    snprintf(s->tail_path, sizeof s->tail_path, "%s", index_only_file("tail-"));
    assert_int_equal(stat(s->tail_path, &info), 0);
    s->last_frame = (size_t)info.st_size;
    assert_cp_ok(cp_index_remove(index, twin_mrns[2], "doc-2", &err));
    index_commit_some(index, 1, &random);
    s->after = index_digest(index);
    assert_true(s->before != s->after);
    cp_index_close(index);
    snprintf(s->segment_path, sizeof s->segment_path, "%s", index_only_file("segment-"));
    snprintf(s->current_path, sizeof s->current_path, "%s", index_only_file("current"));
    s->segment = read_file(s->segment_path);
    s->tail = read_file(s->tail_path);
    s->current = read_file(s->current_path);
}

void index_free_sample(index_sample *s) {
    cp_strbuf_deinit(&s->segment);
    cp_strbuf_deinit(&s->tail);
    cp_strbuf_deinit(&s->current);
}

void index_write_private(const char *path, const char *bytes, size_t n) {
    test_write_file(path, bytes, n);
    assert_int_equal(chmod(path, 0600), 0);
}

/* What is known of document `number` before it is written. */
void index_make_numbered(twin_doc *doc, uint32_t number) {
    uint64_t random = number;
    twin_make_doc(doc, number % TWIN_PATIENTS, 0, &random);
    snprintf(doc->id, sizeof doc->id, "n-%u", number);
    memcpy(doc->hash.bytes, &number, sizeof number);
}
