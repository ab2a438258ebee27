/* Model folders from strangers: every malformed case through the real program, and mutants of good
 * files. */
#include "tests/test.h"

#include "base/file.h"
#include "engine/engine.h"
#include "engine/safetensors.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

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

static size_t bits_of(const char *dtype) {
    static const struct {
        const char *name;
        size_t bits;
    } known[] = {{"F64", 64}, {"I64", 64}, {"U64", 64},    {"F32", 32},    {"I32", 32},
                 {"U32", 32}, {"F16", 16}, {"BF16", 16},   {"I16", 16},    {"U16", 16},
                 {"I8", 8},   {"U8", 8},   {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"BOOL", 8}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(dtype, known[i].name) == 0)
            return known[i].bits;
    return 0;
}

/* The bytes of one tensor of a header read as a tree; fails the test when it is not right. */
static size_t check_tensor(const cJSON *tensor, size_t n_data, unsigned char *used) {
    const cJSON *offsets = cp_json_member(tensor, "data_offsets"), *dimension;
    const cJSON *dtype = cp_json_member(tensor, "dtype"), *shape = cp_json_member(tensor, "shape");
    assert_true(cJSON_IsString(dtype) && cJSON_IsArray(shape) && cJSON_GetArraySize(offsets) == 2);
    double begin = cJSON_GetArrayItem(offsets, 0)->valuedouble,
           end = cJSON_GetArrayItem(offsets, 1)->valuedouble,
           bytes = (double)bits_of(dtype->valuestring) / 8;
    cJSON_ArrayForEach(dimension, shape) {
        assert_true(cJSON_IsNumber(dimension) && dimension->valuedouble >= 0);
        bytes *= dimension->valuedouble;
    }
    assert_true(begin >= 0 && end <= (double)n_data && end - begin == bytes);
    for (size_t i = (size_t)begin; i < (size_t)end; i++)
        assert_int_equal(used[i]++, 0); /* no two tensors share a byte */
    return (size_t)bytes;
}

/* What opened is right by a reading that shares nothing with ours but the strict JSON. */
static void check_safetensors(const char *bytes, size_t n) {
    cp_error err;
    cJSON *header, *tensor;
    uint64_t n_header;
    size_t sum = 0;
    assert_true(n >= 8);
    memcpy(&n_header, bytes, 8);
    assert_true(n_header <= n - 8);
    size_t n_data = n - 8 - (size_t)n_header;
    assert_cp_ok(cp_json_parse("header", bytes + 8, (size_t)n_header, &header, &err));
    unsigned char *used = calloc(n_data + 1, 1);
    assert_non_null(used);
    cJSON_ArrayForEach(tensor, header) {
        if (strcmp(tensor->string, "__metadata__") != 0)
            sum += check_tensor(tensor, n_data, used);
    }
    assert_int_equal(sum, n_data);
    free(used);
    cJSON_Delete(header);
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
    test_peak_begin();
    for (size_t f = 0; f < 3; f++) {
        const char *dir = copy_baseline();
        cp_error err;
        cp_strbuf good;
        assert_cp_ok(cp_file_read(test_path(BASE_MODEL, files[f]), 1 << 24, &good, &err));
        char *mutant = malloc(good.n);
        assert_non_null(mutant);
        size_t header =
            f == 0 ? 8 + (unsigned char)good.data[0] + 256u * (unsigned char)good.data[1] : good.n;
        for (int round = 0; round < 2000; round++) {
            memcpy(mutant, good.data, good.n);
            for (size_t k = test_random(&seed) % 4 + 1; k > 0; k--) {
                static const char tokens[] = "0123456789-{}[]\",:\\u eE.\x80\xff\n\t";
                size_t at = test_random(&seed) % header;
                mutant[at] = test_random(&seed) % 2
                                 ? tokens[test_random(&seed) % (sizeof tokens - 1)]
                                 : (char)test_random(&seed);
            }
            if (opens(dir, files[f], mutant, good.n) && f == 0)
                check_safetensors(mutant, good.n);
        }
        free(mutant);
        cp_strbuf_deinit(&good);
    }
    test_peak_within(64);
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

/* A file without tensors is right, and must not make us sort nothing at NULL (found by fuzzing). */
static void a_file_without_tensors_has_none(void **state) {
    (void)state;
    static const char bytes[] = "\2\0\0\0\0\0\0\0{}";
    cp_error err;
    cp_safetensors file;
    const char *path = test_path(test_tmp_dir(), "none.safetensors");
    test_write_file(path, bytes, sizeof bytes - 1);
    assert_cp_ok(cp_safetensors_open(path, &file, &err));
    assert_int_equal(file.n, 0);
    assert_null(cp_safetensors_find(&file, "x"));
    cp_safetensors_close(&file);
}

/* ---- files that are cut meanwhile ------------------------------------------------------------ */

static void what_a_cut_file_lost_reads_as_zeros(void **state) {
    (void)state;
    cp_error err = {.message = ""};
    cp_mapping file;
    char bytes[20000];
    memset(bytes, 'x', sizeof bytes);
    const char *path = test_path(test_tmp_dir(), "cut");
    test_write_file(path, bytes, sizeof bytes);
    assert_cp_ok(cp_file_map(path, &file, &err));
    assert_int_equal(truncate(path, 5000), 0);
    assert_int_equal(file.data[4999], 'x');
    assert_int_equal(cp_file_check_whole(&file, path, CP_ERR_FORMAT, &err), CP_ERR_FORMAT);
    for (size_t i = 8192; i < sizeof bytes; i++)
        assert_int_equal(file.data[i], 0);
    assert_int_equal(file.data[100], 'x');
    assert_int_equal(cp_file_check_whole(&file, path, CP_OK, &err), CP_ERR_IO);
    assert_non_null(strstr(err.message, "was cut"));
    cp_file_unmap(&file);
    assert_cp_ok(cp_file_map(path, &file, &err)); /* the same place in the table, not marked */
    assert_cp_ok(cp_file_check_whole(&file, path, CP_OK, &err));
    cp_file_unmap(&file);
}

typedef struct cutter {
    const char *path;
    const cp_strbuf *good;
    atomic_bool stop;
    size_t n;
} cutter;

static void *cut_and_restore(void *user) {
    cutter *c = user;
    for (uint64_t seed = 1; !atomic_load(&c->stop); c->n++) {
        if (truncate(c->path, (off_t)(test_random(&seed) % c->good->n)) != 0)
            break;
        test_write_file(c->path, c->good->data, c->good->n);
    }
    return NULL;
}

/* Whatever is cut at whatever moment: the folder opens or is refused. */
static void a_model_cut_while_it_is_opened_is_refused(void **state) {
    (void)state;
    cp_error err;
    pthread_t thread;
    cp_strbuf good;
    const char *dir = copy_baseline();
    char path[512];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_cp_ok(cp_file_read(path, 1 << 24, &good, &err));
    cutter c = {.path = path, .good = &good};
    size_t n_opened = 0;
    assert_int_equal(pthread_create(&thread, NULL, cut_and_restore, &c), 0);
    for (int round = 0; round < 2000; round++) {
        cp_engine *engine;
        err.message[0] = '\0';
        cp_status status = cp_engine_open(dir, &(cp_engine_options){.n_threads = 1}, &engine, &err);
        if (status == CP_OK)
            n_opened++;
        else
            assert_non_null(strstr(err.message, "model.safetensors"));
        cp_engine_close(engine);
    }
    atomic_store(&c.stop, true);
    pthread_join(thread, NULL);
    print_message("%zu of 2000 opened beside %zu cuts\n", n_opened, c.n);
    assert_true(n_opened < 2000 && c.n > 0);
    cp_strbuf_deinit(&good);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* A config that promises more than the weights hold: nothing is allocated on its word. */
static void a_config_alone_takes_no_memory(void **state) {
    (void)state;
    static const char *const changes[][2] = {
        {"\"num_hidden_layers\": 1", "\"num_hidden_layers\": 1024"},
        {"\"hidden_size\": 16", "\"hidden_size\": 262144"},
        {"\"vocab_size\": 296", "\"vocab_size\": 4194304"},
        {"\"max_position_embeddings\": ", "\"max_position_embeddings\": 9"},
    };
    cp_error err;
    for (unsigned set = 1; set < 16; set++) {
        const char *dir = copy_baseline();
        cp_strbuf text, out;
        assert_cp_ok(cp_file_read(test_path(dir, "config.json"), 1 << 20, &text, &err));
        for (size_t i = 0; i < 4; i++) {
            const char *at = strstr(cp_strbuf_text(&text), changes[i][0]);
            assert_non_null(at);
            if (!(set >> i & 1))
                continue;
            size_t before = (size_t)(at - text.data);
            cp_strbuf_init(&out, 1 << 20);
            cp_strbuf_append(&out, text.data, before);
            cp_strbuf_puts(&out, changes[i][1]);
            cp_strbuf_puts(&out, at + strlen(changes[i][0]));
            cp_strbuf_deinit(&text);
            text = out;
        }
        test_write_file(test_path(dir, "config.json"), text.data, text.n);
        cp_strbuf_deinit(&text);
        const char *argv[] = {NULL, "logits", "--model", dir, NULL};
        test_run run = test_run_program(argv, NULL, "{\"ids\": [1, 2]}\n");
        if (set & 7)
            assert_int_equal(run.exit_code, 1);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        if (run.max_rss_kib >= 64 * 1024)
            fail_msg("changes %u: %ld KiB", set, run.max_rss_kib);
#endif
        test_run_free(&run);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(malformed_folders_are_refused),
    cmocka_unit_test(truncations_are_refused),
    cmocka_unit_test(mutants_do_no_harm),
    cmocka_unit_test(a_header_of_many_tensors_is_refused),
    cmocka_unit_test(a_folder_or_pipe_is_no_file),
    cmocka_unit_test(a_file_without_tensors_has_none),
    cmocka_unit_test(what_a_cut_file_lost_reads_as_zeros),
    cmocka_unit_test(a_model_cut_while_it_is_opened_is_refused),
    cmocka_unit_test(a_config_alone_takes_no_memory),
};
CP_TEST_GROUP(model_files, tests)
