/* What the fuzz harnesses share.
 *
 * A harness is one file with LLVMFuzzerTestOneInput: it gives any bytes to a parser, uses whatever
 * the parser accepts, and stops the process (fuzz_expect) where a promise is broken that no
 * sanitizer sees. Harnesses run from the repository's root, one input at a time, with the log off.
 * Mapped files are copies on the heap that end where the file ends, so that a read past the end is
 * seen. docs/testing.md says how to run them and how to add one. */
#ifndef CP_TESTS_FUZZ_H
#define CP_TESTS_FUZZ_H

#include "base/error.h"
#include "base/strbuf.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Stops the process and says which promise does not hold. */
#define fuzz_expect(promise)                                                                       \
    do {                                                                                           \
        if (!(promise))                                                                            \
            fuzz_broken(#promise, __FILE__, __LINE__);                                             \
    } while (0)
_Noreturn void fuzz_broken(const char *promise, const char *file, int line);

/* A refusal is one line that is not empty and valid UTF-8. Returns whether `status` is CP_OK. */
bool fuzz_ok(cp_status status, const cp_error *err);

/* A folder of this process in memory, emptied and removed at its end. */
const char *fuzz_dir(void);
/* "DIR/NAME", in one of a few rotating buffers. */
const char *fuzz_path(const char *name);
/* Writes DIR/NAME; returns its path. */
const char *fuzz_write(const char *name, const void *bytes, size_t n);
/* Copies a file of the repository to DIR/NAME. */
void fuzz_copy(const char *from, const char *name);
/* The bytes with a NUL behind them; free(). */
char *fuzz_text(const uint8_t *data, size_t n);
static inline cp_str fuzz_str(const uint8_t *data, size_t n) {
    return (cp_str){(const char *)data, n};
}
/* Reads every byte, so that a sanitizer looks at each. */
void fuzz_touch(const void *bytes, size_t n);

#endif
