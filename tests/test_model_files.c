/* Model folders from strangers: every malformed case through the real program, and mutants of good
 * files. */
#include "tests/test.h"

#include "base/file.h"
#include "engine/engine.h"
#include "engine/safetensors.h"

#include <sys/stat.h>

#define BASE_MODEL GOLDEN "/valid-edge/baseline"

static int mentions_one_of(const char *text, const cJSON *words) {
    const cJSON *word;
    cJSON_ArrayForEach(word, words) if (strstr(text, word->valuestring)) return 1;
    return 0;
}

/* Exit status 1, one line that names the file or the fault, no crash, little memory. */
static void malformed_folders_are_refused(void **state) {
    (void)state;
    cJSON *cases = test_read_jsonl(GOLDEN "/malformed/manifest.jsonl");
    const cJSON *item;
    size_t n = 0;
    cJSON_ArrayForEach(item, cases) {
        char dir[256];
        const char *name = cJSON_GetObjectItem(item, "case")->valuestring;
        snprintf(dir, sizeof dir, GOLDEN "/malformed/%s", name);
        static const char *const commands[] = {"logits", "perplexity", "generate", "doctor"};
        for (size_t c = 0; c < 4; c++) {
            const char *argv[] = {NULL,  commands[c], "--model", dir, c == 2 ? "--ids" : NULL,
                                  "[1]", NULL};
            test_run run = test_run_program(argv, NULL, "{\"ids\": [1, 2]}\n");
            if (run.exit_code != 1)
                fail_msg("%s %s: exit %d: %s", commands[c], name, run.exit_code,
                         cp_strbuf_text(&run.err));
            const char *newline = strchr(cp_strbuf_text(&run.err), '\n');
            if (!newline || newline[1] != '\0' || run.out.n != 0)
                fail_msg("%s %s: not one line: %s", commands[c], name, cp_strbuf_text(&run.err));
            if (!mentions_one_of(cp_strbuf_text(&run.err),
                                 cJSON_GetObjectItem(item, "error_mentions_one_of")))
                fail_msg("%s %s: says not what is wrong: %s", commands[c], name,
                         cp_strbuf_text(&run.err));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
            assert_true(run.max_rss_kib < 64 * 1024);
#endif
            test_run_free(&run);
        }
        n++;
    }
    assert_int_equal(n, 36);
    cJSON_Delete(cases);
}

/* ---- mutants ----------------------------------------------------------------------------------
 */

static void copy_file(const char *from, const char *to) {
    cp_error err;
    cp_strbuf bytes;
    assert_cp_ok(cp_file_read(from, 1 << 24, &bytes, &err));
    test_write_file(to, cp_strbuf_text(&bytes), bytes.n);
    cp_strbuf_deinit(&bytes);
}

/* A copy of the baseline folder; its path lives as long as test_tmp_dir's. */
static const char *copy_baseline(void) {
    static const char *const files[] = {"config.json", "generation_config.json",
                                        "model.safetensors"};
    const char *dir = test_tmp_dir();
    for (size_t i = 0; i < 3; i++)
        copy_file(test_path(BASE_MODEL, files[i]), test_path(dir, files[i]));
    return dir;
}

/* Opens whatever `bytes` are as NAME in a copy of the baseline; if it opens, it must compute. */
static int opens(const char *dir, const char *name, const char *bytes, size_t n) {
    cp_error err = {0};
    cp_engine *engine;
    cp_session *session;
    test_write_file(test_path(dir, name), bytes, n);
    cp_status status = cp_engine_open(dir, &(cp_engine_options){.n_threads = 1}, &engine, &err);
    if (status != CP_OK) {
        assert_null(engine);
        if (!strchr(err.message, '.') || strlen(err.message) < 10)
            fail_msg("an error without a file's name: %s", err.message);
        return 0;
    }
    int32_t ids[] = {1, 2, 3};
    assert_cp_ok(cp_session_create(engine, 8, &session, &err));
    assert_cp_ok(cp_session_eval(session, ids, 3, NULL, &err));
    cp_session_free(session);
    cp_engine_close(engine);
    return 1;
}

/* A safetensors file cut anywhere, or with bytes behind it, never opens. */
static void truncations_are_refused(void **state) {
    (void)state;
    const char *dir = copy_baseline();
    cp_error err;
    cp_strbuf good;
    assert_cp_ok(cp_file_read(BASE_MODEL "/model.safetensors", 1 << 24, &good, &err));
    assert_true(opens(dir, "model.safetensors", good.data, good.n));
    for (size_t n = 0; n < good.n; n += n < 2048 ? 7 : 997)
        assert_false(opens(dir, "model.safetensors", good.data, n));
    cp_strbuf_putc(&good, '\0');
    assert_false(opens(dir, "model.safetensors", good.data, good.n));
    cp_strbuf_deinit(&good);
}

/* Random damage to the header: refused, or harmless; never a crash or a read out of bounds (the
 * sanitizer build says so). */
static void mutants_do_no_harm(void **state) {
    (void)state;
    static const char *const files[] = {"model.safetensors", "config.json",
                                        "generation_config.json"};
    const char *given = getenv("CP_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 20261121;
    printf("             seed %llu\n", (unsigned long long)seed);
    for (size_t f = 0; f < 3; f++) {
        const char *dir = copy_baseline();
        cp_error err;
        cp_strbuf good;
        assert_cp_ok(cp_file_read(test_path(BASE_MODEL, files[f]), 1 << 24, &good, &err));
        char *mutant = malloc(good.n);
        assert_non_null(mutant);
        size_t header =
            f == 0 ? 8 + (unsigned char)good.data[0] + 256u * (unsigned char)good.data[1] : good.n;
        for (int round = 0; round < 700; round++) {
            memcpy(mutant, good.data, good.n);
            for (size_t k = test_random(&seed) % 4 + 1; k > 0; k--) {
                static const char tokens[] = "0123456789-{}[]\",:\\u eE.\x80\xff\n\t";
                size_t at = test_random(&seed) % header;
                mutant[at] = test_random(&seed) % 2
                                 ? tokens[test_random(&seed) % (sizeof tokens - 1)]
                                 : (char)test_random(&seed);
            }
            (void)opens(dir, files[f], mutant, good.n);
        }
        free(mutant);
        cp_strbuf_deinit(&good);
    }
}

/* A header whose tensors are many and tiny must not make us hold many times its size. */
static void a_header_of_many_tensors_is_refused(void **state) {
    (void)state;
    cp_error err;
    cp_safetensors file;
    cp_strbuf text;
    cp_strbuf_init(&text, 1 << 26);
    cp_strbuf_append(&text, "\0\0\0\0\0\0\0\0", 8);
    for (int i = 0; i < 70000; i++)
        cp_strbuf_printf(&text,
                         "%c\"t%d\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}",
                         i ? ',' : '{', i);
    cp_strbuf_putc(&text, '}');
    uint64_t length = text.n - 8;
    memcpy(text.data, &length, 8);
    const char *path = test_path(test_tmp_dir(), "many.safetensors");
    test_write_file(path, text.data, text.n);
    assert_int_equal(cp_safetensors_open(path, &file, &err), CP_ERR_LIMIT);
    cp_strbuf_deinit(&text);
}

static void a_folder_or_pipe_is_no_file(void **state) {
    (void)state;
    cp_error err;
    cp_safetensors file;
    const char *dir = test_tmp_dir(), *pipe = test_path(dir, "pipe.safetensors");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(cp_safetensors_open(pipe, &file, &err), CP_ERR_IO);
    assert_int_equal(cp_safetensors_open(dir, &file, &err), CP_ERR_IO);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(malformed_folders_are_refused),
    cmocka_unit_test(truncations_are_refused),
    cmocka_unit_test(mutants_do_no_harm),
    cmocka_unit_test(a_header_of_many_tensors_is_refused),
    cmocka_unit_test(a_folder_or_pipe_is_no_file),
};
CP_TEST_GROUP(model_files, tests)
