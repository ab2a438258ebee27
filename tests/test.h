/* What every test file includes: cmocka, group registration, and help with files and programs.
 *
 * A file of tests ends with CP_TEST_GROUP(name, tests); main finds the groups by itself. Tests run
 * from the repository's root. A test's name says what failure it would catch. */
#ifndef CP_TESTS_TEST_H
#define CP_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strbuf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct cp_test_group {
    const char *name;
    const struct CMUnitTest *tests;
    size_t n;
    struct cp_test_group *next;
} cp_test_group;
void cp_test_register(cp_test_group *group);

#define CP_TEST_GROUP(group_name, test_array)                                                      \
    __attribute__((constructor)) static void register_##group_name(void) {                         \
        static cp_test_group group = {.name = #group_name,                                         \
                                      .tests = test_array,                                         \
                                      .n = sizeof(test_array) / sizeof((test_array)[0])};          \
        cp_test_register(&group);                                                                  \
    }

/* Asserts success and shows the sentence otherwise. */
#define assert_cp_ok(call)                                                                         \
    do {                                                                                           \
        cp_status cp_status_ = (call);                                                             \
        if (cp_status_ != CP_OK)                                                                   \
            fail_msg("%s: %s", #call, err.message);                                                \
    } while (0)

#define GOLDEN "tests/golden"

/* The JSON values of a JSON Lines file, one a line; asserts that the file is readable. Free with
 * cJSON_Delete (it is an array). */
cJSON *test_read_jsonl(const char *path);
cJSON *test_read_json(const char *path);
/* The decoded bytes of a base64 text; free(). */
unsigned char *test_base64(const char *text, size_t *n);

/* A fresh folder under the system's temporary folder, removed with everything in it at exit. */
const char *test_tmp_dir(void);
/* "DIR/NAME", in one of a few rotating buffers. */
const char *test_path(const char *dir, const char *name);
void test_write_file(const char *path, const void *bytes, size_t n);

/* Qwen3's tokenizer with its hybrid template, and a folder where it has the thinking model's. */
#define TEST_HYBRID "models/qwen3-tokenizer"
const char *test_thinking_folder(void);

typedef struct test_run {
    int exit_code; /* 128 + signal when killed */
    cp_strbuf out, err;
    long max_rss_kib;
    double seconds;
} test_run;
/* Runs a program (argv NULL-terminated; argv[0] NULL means carepath) with `input` on stdin. The
 * environment is ours plus `env` ("NAME=value", NULL-terminated, may be NULL). Killed after 120 s
 * (400 with sanitizers). */
test_run test_run_program(const char *const *argv, const char *const *env, const char *input);
/* What a successful run wrote to stdout, as JSON; freed by the caller. Anything else fails the
 * test. */
cJSON *test_run_json(const test_run *run);
/* A copy of a golden model at a quantization level ("int8"), made once for each. */
const char *test_quantized(const char *source, const char *level);
/* A folder with the model of `from`, one of golden's or a copy of it, and golden's tokenizer with
 * two merges more: it is too small to have tokens for "yes" and "no". */
const char *test_reranker_folder(const char *from);
/* Appends text n times. */
void test_append_times(cp_strbuf *out, const char *text, size_t n);
void test_run_free(test_run *run);

/* Memory that this process comes to hold: since test_peak_begin at most `mib` more than then. Says
 * nothing with sanitizers, or where the system does not tell. */
void test_peak_begin(void);
void test_peak_within(long mib);

/* A deterministic generator for property tests: print the seed, draw from it. */
uint64_t test_random(uint64_t *state);

/* ---- allocation faults (alloc_fault.c) --------------------------------------------------------
 */

/* The n-th allocation from now on (1 is the next) fails, and with `persist` every one after it; 0
 * turns it off. Counts are of all threads. */
void test_alloc_fail_at(long n, int persist);
/* Allocations since the last reset. */
long test_alloc_count(void);
void test_alloc_reset(void);

#endif
