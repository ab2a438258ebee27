#include "tests/fuzz/fuzz.h"

#include "base/file.h"
#include "base/log.h"
#include "base/utf8.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_FILE_BYTES ((size_t)64 << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv);
cp_status __wrap_cp_file_map(const char *path, cp_mapping *out, cp_error *err);
void __wrap_cp_file_unmap(cp_mapping *mapping);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    cp_log_configure(CP_LOG_OFF, CP_LOG_TEXT);
    return 0;
}

_Noreturn void fuzz_broken(const char *promise, const char *file, int line) {
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, promise);
    abort();
}

bool fuzz_ok(cp_status status, const cp_error *err) {
    if (status == CP_OK)
        return true;
    fuzz_expect(status < 0);
    size_t n = strnlen(err->message, sizeof err->message);
    fuzz_expect(n > 0 && n < sizeof err->message);
    fuzz_expect(!strpbrk(err->message, "\n\r"));
    fuzz_expect(cp_utf8_is_valid(err->message, n));
    return false;
}

/* ---- files ------------------------------------------------------------------------------------
 */

static char folder[64];

static void remove_folder(void) {
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0)
        fprintf(stderr, "%s stays behind\n", folder);
}

const char *fuzz_dir(void) {
    if (folder[0])
        return folder;
    snprintf(folder, sizeof folder, "%s/carepath-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    fuzz_expect(mkdtemp(folder));
    atexit(remove_folder);
    return folder;
}

const char *fuzz_path(const char *name) {
    static char paths[8][192];
    static unsigned next;
    char *path = paths[next++ % 8];
    int n = snprintf(path, sizeof paths[0], "%s/%s", fuzz_dir(), name);
    fuzz_expect(n > 0 && (size_t)n < sizeof paths[0]);
    return path;
}

const char *fuzz_write(const char *name, const void *bytes, size_t n) {
    const char *path = fuzz_path(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    fuzz_expect(fd >= 0);
    fuzz_expect(n == 0 || write(fd, bytes, n) == (ssize_t)n);
    close(fd);
    return path;
}

void fuzz_copy(const char *from, const char *name) {
    cp_error err;
    cp_strbuf bytes;
    if (!fuzz_ok(cp_file_read(from, MAX_FILE_BYTES, &bytes, &err), &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(2);
    }
    fuzz_write(name, cp_strbuf_text(&bytes), bytes.n);
    cp_strbuf_deinit(&bytes);
}

char *fuzz_text(const uint8_t *data, size_t n) {
    char *text = malloc(n + 1);
    fuzz_expect(text);
    if (n > 0)
        memcpy(text, data, n);
    text[n] = '\0';
    return text;
}

void fuzz_touch(const void *bytes, size_t n) {
    const volatile unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++)
        (void)at[i];
}

/* Instead of a mapping, whose last page can be read past the file's end (linked with --wrap). */
cp_status __wrap_cp_file_map(const char *path, cp_mapping *out, cp_error *err) {
    cp_strbuf bytes;
    *out = (cp_mapping){.data = NULL};
    cp_status status = cp_file_read(path, MAX_FILE_BYTES, &bytes, err);
    if (status == CP_OK && bytes.n > 0) {
        unsigned char *copy = malloc(bytes.n);
        fuzz_expect(copy);
        memcpy(copy, bytes.data, bytes.n);
        *out = (cp_mapping){copy, bytes.n, 0};
    }
    cp_strbuf_deinit(&bytes);
    return status;
}

void __wrap_cp_file_unmap(cp_mapping *mapping) {
    free((void *)mapping->data);
    *mapping = (cp_mapping){.data = NULL};
}
