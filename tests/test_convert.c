/* Model folders converted: what is in them, that they appear whole, and what is refused. */
#include "tests/test.h"

#include "base/file.h"
#include "convert/convert.h"
#include "convert/output_folder.h"
#include "convert/quantize.h"
#include "convert/synthetic.h"
#include "engine/checkpoint.h"
#include "engine/engine.h"
#include "engine/safetensors.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const models[] = {
    GOLDEN "/models/tied-gqa2",
    GOLDEN "/models/untied-gqa4-sharded",
    GOLDEN "/models/embedding-gqa1",
    GOLDEN "/models/llama",
};
#define N_MODELS (sizeof models / sizeof models[0])
#define BASELINE GOLDEN "/valid-edge/baseline"

/* Converts into a fresh place and gives its path (as short-lived as test_path's). */
static const char *convert(const char *src, cp_quant_level level, size_t n_threads,
                           cp_convert_report *report) {
    cp_error err;
    cp_source source;
    cp_convert_report unused;
    const char *dst = test_path(test_tmp_dir(), "made");
    assert_cp_ok(cp_source_open(src, &source, &err));
    assert_cp_ok(cp_convert(&source, dst, &(cp_convert_options){level, n_threads, false},
                            report ? report : &unused, &err));
    cp_source_close(&source);
    return dst;
}

static cp_strbuf weights_of(const char *dir) {
    cp_error err;
    cp_strbuf bytes;
    assert_cp_ok(cp_file_read(test_path(dir, "model.safetensors"), 1 << 26, &bytes, &err));
    return bytes;
}

static void assert_same_weights(const char *dir, const char *other) {
    cp_strbuf a = weights_of(dir), b = weights_of(other);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.data, b.data, a.n);
    cp_strbuf_deinit(&a);
    cp_strbuf_deinit(&b);
}

/* What DST.partial leaves behind: nothing. */
static void assert_no_partial(const char *dst) {
    char partial[CP_PATH_CAP + sizeof ".partial"];
    snprintf(partial, sizeof partial, "%s.partial", dst);
    assert_false(cp_file_exists(partial));
}

static int opens(const char *dir) {
    cp_engine *engine;
    cp_status status = cp_engine_open(dir, &(cp_engine_options){.n_threads = 1}, &engine, NULL);
    if (status == CP_OK)
        cp_engine_close(engine);
    return status == CP_OK;
}

/* ---- what is in the folder
 * ------------------------------------------------------------------------ */

/* The stored rows against the source's: at most half a step off per weight, by storage. */
static double stored_value(const cp_tensor *t, size_t cols, size_t row, size_t col) {
    if (t->dtype == CP_F32) {
        float value;
        memcpy(&value, t->data + (row * cols + col) * 4, sizeof value);
        return (double)value;
    }
    if (t->dtype == CP_BF16) {
        uint32_t bits = 0;
        memcpy((char *)&bits + 2, t->data + (row * cols + col) * 2, 2);
        float value;
        memcpy(&value, &bits, sizeof value);
        return (double)value;
    }
    cp_quant quant;
    assert_true(cp_quant_of_bytes(t->shape[2], &quant));
    int8_t values[CP_GROUP];
    uint16_t half;
    cp_quant_unpack(quant,
                    t->data + row / CP_TILE_ROWS * cp_quant_tile_bytes(quant, cols) +
                        col / CP_SUPER * t->shape[2],
                    row % CP_TILE_ROWS, col / CP_GROUP % CP_GROUPS_A_SUPER, values, &half);
    return (double)values[col % CP_GROUP] * (double)cp_float_of_half(half);
}

static void check_tensor(const cp_source *source, size_t index, const cp_tensor *t,
                         cp_quant_level level) {
    const cp_source_tensor *want = &source->tensors[index];
    cp_error err;
    double error = 0, energy = 0;
    float *row = calloc(want->cols, sizeof *row);
    assert_non_null(row);
    assert_non_null(t);
    if (!cp_kind_is_matrix(want->kind)) {
        assert_true(t->dtype == CP_F32 && t->n_dims == 1 && t->shape[0] == want->cols);
    } else if (level == CP_LEVEL_BF16 || level == CP_LEVEL_F32) {
        assert_true(t->dtype == (level == CP_LEVEL_F32 ? CP_F32 : CP_BF16) && t->n_dims == 2 &&
                    t->shape[0] == want->rows && t->shape[1] == want->cols);
    } else {
        assert_true(t->dtype == CP_U8 && t->n_dims == 3);
        assert_int_equal(t->shape[0], cp_quant_tiles(want->rows));
        assert_int_equal(t->shape[1], cp_quant_supers(want->cols));
        cp_quant quant;
        assert_true(cp_quant_of_bytes(t->shape[2], &quant));
        assert_true(level != CP_LEVEL_INT8 || quant == CP_INT8);
        assert_true(level != CP_LEVEL_INT4 || quant != CP_INT5);
        assert_int_equal((uintptr_t)t->data % 64, 0);
    }
    for (size_t r = 0; r < want->rows; r++) {
        assert_cp_ok(source->ops->read_rows(source, index, r, 1, row, &err));
        for (size_t c = 0; c < want->cols; c++) {
            double off = (double)row[c] - stored_value(t, want->cols, r, c);
            error += off * off;
            energy += (double)row[c] * (double)row[c];
        }
    }
    double rms = sqrt(error / energy);
    if (rms > (t->dtype != CP_U8 ? 0 : t->shape[2] == CP_INT8_SUPER_BYTES ? 0.006 : 0.1))
        fail_msg("%s: relative error %g", want->name, rms);
    free(row);
}

static cJSON *metadata_of(const char *dir) {
    cp_strbuf bytes = weights_of(dir);
    uint64_t n;
    memcpy(&n, bytes.data, sizeof n);
    cJSON *header = cJSON_ParseWithLength(bytes.data + 8, (size_t)n);
    assert_non_null(header);
    cJSON *metadata = cJSON_DetachItemFromObject(header, "__metadata__");
    assert_non_null(metadata);
    cJSON_Delete(header);
    cp_strbuf_deinit(&bytes);
    return metadata;
}

static const char *entry(const cJSON *metadata, const char *key) {
    const cJSON *item = cp_json_member(metadata, key);
    if (!cJSON_IsString(item))
        fail_msg("metadata has no %s", key);
    return item->valuestring;
}

static void golden_models_convert_to_every_level(void **state) {
    (void)state;
    for (size_t m = 0; m < N_MODELS; m++)
        for (int level = 0; level < CP_N_LEVELS; level++) {
            cp_error err;
            cp_source source;
            cp_safetensors file;
            cp_convert_report report;
            const char *dst = convert(models[m], (cp_quant_level)level, 2, &report);
            assert_cp_ok(cp_source_open(models[m], &source, &err));
            assert_cp_ok(cp_safetensors_open(test_path(dst, "model.safetensors"), &file, &err));
            assert_int_equal(file.n, source.n_tensors);
            assert_int_equal(file.mapping.n_bytes, report.file_bytes);
            for (size_t i = 0; i < source.n_tensors; i++)
                check_tensor(&source, i, cp_safetensors_find(&file, source.tensors[i].name),
                             (cp_quant_level)level);
            cJSON *metadata = metadata_of(dst);
            assert_string_equal(entry(metadata, "carepath_format"), "1");
            assert_string_equal(entry(metadata, "carepath_quant"),
                                cp_quant_level_name((cp_quant_level)level));
            assert_string_equal(entry(metadata, "carepath_version"), CP_VERSION);
            assert_string_equal(entry(metadata, "carepath_source_hash"), report.source_hash);
            assert_string_equal(entry(metadata, "carepath_source"), strrchr(models[m], '/') + 1);
            assert_true(opens(dst));
            assert_no_partial(dst);
            cJSON_Delete(metadata);
            cp_safetensors_close(&file);
            cp_source_close(&source);
        }
}

static void small_files_are_carried_over_unchanged(void **state) {
    (void)state;
    static const char *const names[] = {"config.json", "generation_config.json", "tokenizer.json",
                                        "tokenizer_config.json"};
    char dst[CP_PATH_CAP];
    snprintf(dst, sizeof dst, "%s", convert(models[0], CP_LEVEL_INT4, 1, NULL));
    for (size_t i = 0; i < 4; i++) {
        cp_error err;
        cp_strbuf from, to;
        assert_cp_ok(cp_file_read(test_path(models[0], names[i]), 1 << 24, &from, &err));
        assert_cp_ok(cp_file_read(test_path(dst, names[i]), 1 << 24, &to, &err));
        assert_true(cp_str_equal(cp_strbuf_str(&from), cp_strbuf_str(&to)));
        cp_strbuf_deinit(&from);
        cp_strbuf_deinit(&to);
    }
}

static void threads_do_not_change_the_bytes(void **state) {
    (void)state;
    for (int level = 0; level < CP_N_LEVELS; level++) {
        cp_convert_report one, other;
        char first[CP_PATH_CAP];
        snprintf(first, sizeof first, "%s", convert(models[1], (cp_quant_level)level, 1, &one));
        for (size_t n = 2; n <= 3; n++) {
            assert_same_weights(first, convert(models[1], (cp_quant_level)level, n, &other));
            assert_true(one.total.error == other.total.error);
        }
    }
}

/* The hash is of the values: shards, the header's order and the norms' type do not matter, a
 * changed weight does. */
static void source_hash_is_of_the_values(void **state) {
    (void)state;
    static const char *const same[] = {"baseline", "two-shards", "header-order-reversed",
                                       "f32-norms", "unused-tensors"};
    cp_convert_report report;
    char first[CP_SOURCE_HASH_CHARS + 1] = "";
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        char src[256];
        snprintf(src, sizeof src, GOLDEN "/valid-edge/%s", same[i]);
        (void)convert(src, CP_LEVEL_INT4, 2, &report);
        if (first[0])
            assert_string_equal(report.source_hash, first);
        memcpy(first, report.source_hash, sizeof first);
    }
    const char *dst = convert(BASELINE, CP_LEVEL_BF16, 1, &report);
    assert_string_equal(report.source_hash, first);
    cp_strbuf bytes = weights_of(dst);
    bytes.data[bytes.n - 1000] ^= 0x10;
    test_write_file(test_path(dst, "model.safetensors"), bytes.data, bytes.n);
    cp_strbuf_deinit(&bytes);
    (void)convert(dst, CP_LEVEL_BF16, 1, &report);
    assert_string_not_equal(report.source_hash, first);
}

/* ---- synthetic sources and the policy
 * ---------------------------------------------------------------- */

static void synthetic_rows_do_not_depend_on_how_they_are_read(void **state) {
    (void)state;
    enum { WIDTH = 1024 };
    cp_error err;
    cp_source source;
    static float together[7 * WIDTH], alone[WIDTH];
    double sum = 0, squares = 0;
    assert_cp_ok(cp_synthetic_open("qwen3-0.6b", "models/qwen3-tokenizer", 1, &source, &err));
    assert_int_equal(source.tensors[0].cols, WIDTH);
    for (size_t tensor = 0; tensor < 3; tensor += 2) {
        assert_cp_ok(source.ops->read_rows(&source, tensor, 100, 7, together, &err));
        for (size_t r = 0; r < 7; r++) {
            assert_cp_ok(source.ops->read_rows(&source, tensor, 100 + r, 1, alone, &err));
            assert_memory_equal(alone, together + r * WIDTH, sizeof alone);
        }
        for (size_t i = 0; i < 7 * WIDTH; i++) {
            sum += (double)together[i];
            squares += (double)together[i] * (double)together[i];
        }
    }
    assert_true(fabs(sum / (14 * WIDTH)) < 0.001);
    assert_true(fabs(sqrt(squares / (14 * WIDTH)) - 0.02) < 0.0005);
    cp_source_close(&source);
}

/* Bits a weight of the matrices; with the 4-bit levels never more than the peers' mixes take. */
static double policy_bits(const cp_source *source, cp_quant_level level) {
    double bits = 0, weights = 0;
    cp_storage *storages = calloc(source->n_tensors, sizeof *storages);
    assert_non_null(storages);
    cp_policy_choose(source, level, storages);
    for (size_t i = 0; i < source->n_tensors; i++) {
        const cp_source_tensor *t = &source->tensors[i];
        if (!cp_kind_is_matrix(t->kind)) {
            assert_int_equal(storages[i], CP_STORE_F32);
            continue;
        }
        bits += 8.0 * (double)cp_storage_bytes(storages[i], t->rows, t->cols);
        weights += (double)t->rows * (double)t->cols;
    }
    free(storages);
    return bits / weights;
}

/* The mixed level of a small model: int5 is in use, and its name is the level's. */
static void the_mixed_level_uses_int5(void **state) {
    (void)state;
    char dst[CP_PATH_CAP];
    snprintf(dst, sizeof dst, "%s", convert(models[0], CP_LEVEL_INT4_MIXED, 1, NULL));
    cp_error err;
    cp_checkpoint checkpoint;
    size_t n_int5 = 0;
    assert_cp_ok(cp_checkpoint_open(dst, &checkpoint, &err));
    for (size_t f = 0; f < checkpoint.n; f++)
        for (size_t i = 0; i < checkpoint.files[f].n; i++) {
            const cp_tensor *t = &checkpoint.files[f].tensors[i];
            n_int5 += t->dtype == CP_U8 && t->shape[2] == CP_INT5_SUPER_BYTES;
        }
    cp_checkpoint_close(&checkpoint);
    assert_true(n_int5 > 0);
    cp_engine *engine;
    assert_cp_ok(cp_engine_open(dst, &(cp_engine_options){.n_threads = 1}, &engine, &err));
    assert_string_equal(cp_engine_quant(engine), "int4-mixed");
    cp_engine_close(engine);
}

/* As many bytes, but the last dimension is no level's: refused, with the tensor's name. */
static void tiles_of_no_level_are_refused(void **state) {
    (void)state;
    char dst[CP_PATH_CAP];
    cp_error err;
    cp_engine *engine = NULL;
    snprintf(dst, sizeof dst, "%s", convert(models[0], CP_LEVEL_INT4_MIXED, 1, NULL));
    cp_strbuf weights = weights_of(dst);
    char *header = (char *)(uintptr_t)cp_strbuf_text(&weights) + 8, *at = strstr(header, ",704]");
    assert_true(at && at[-2] == ',');
    const char swapped[] = {'7', '0', '4', ',', at[-1]}; /* [tiles, 704, superblocks] */
    memcpy(at - 1, swapped, sizeof swapped);
    assert_cp_ok(cp_file_write(test_path(dst, "model.safetensors"), cp_strbuf_str(&weights), &err));
    assert_int_not_equal(cp_engine_open(dst, &(cp_engine_options){.n_threads = 1}, &engine, &err),
                         CP_OK);
    assert_null(engine);
    assert_non_null(strstr(err.message, "nor a matrix that carepath convert made"));
    cp_strbuf_deinit(&weights);
}

static void four_bit_levels_keep_to_their_budget(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double q4_0, q4_k_m; /* llama.cpp's bits a weight for these shapes */
    } cases[] = {
        {"qwen3-0.6b", 5.039, 5.249}, {"qwen3-1.7b", 4.873, 5.101}, {"qwen3-4b", 4.700, 4.956}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cp_error err;
        cp_source source;
        assert_cp_ok(cp_synthetic_open(cases[i].name, "", 1, &source, &err));
        double int4 = policy_bits(&source, CP_LEVEL_INT4),
               mixed = policy_bits(&source, CP_LEVEL_INT4_MIXED);
        print_message("%s: int4 %.3f, int4-mixed %.3f bits a weight\n", cases[i].name, int4, mixed);
        assert_true(int4 >= 4.5 && int4 <= cases[i].q4_0);
        assert_true(mixed > 4.85 && mixed <= cases[i].q4_k_m);
        assert_true(policy_bits(&source, CP_LEVEL_INT8) == 8.5);
        assert_true(policy_bits(&source, CP_LEVEL_BF16) == 16);
        cp_source_close(&source);
    }
}

/* ---- whole or not at all
 * ------------------------------------------------------------------------------ */

/* Starts convert and kills it after `microseconds`; the exit status, 128 + 9 when killed. */
static int convert_and_kill(const char *src, const char *dst, const char *level, bool force,
                            unsigned microseconds) {
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execl(CP_TEST_PROGRAM, "carepath", "convert", src, dst, "--quant", level,
              force ? "--force" : (char *)NULL, (char *)NULL);
        _exit(127);
    }
    usleep(microseconds);
    kill(pid, SIGKILL);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Microseconds of a run that nobody kills, and some more: kills fall into all of it. */
static unsigned run_time(const char *src) {
    const char *argv[] = {NULL,      "convert", src, test_path(test_tmp_dir(), "made"),
                          "--quant", "int4",    NULL};
    test_run run = test_run_program(argv, NULL, NULL);
    assert_int_equal(run.exit_code, 0);
    test_run_free(&run);
    return (unsigned)(run.seconds * 1.2e6);
}

static void killed_runs_leave_nothing_that_opens(void **state) {
    (void)state;
    uint64_t random = 4711;
    char whole[CP_PATH_CAP], dst[CP_PATH_CAP];
    int n_killed = 0, n_done = 0;
    unsigned longest = run_time(models[1]);
    snprintf(whole, sizeof whole, "%s", convert(models[1], CP_LEVEL_INT4, 1, NULL));
    print_message("seed %llu\n", (unsigned long long)random);
    for (int i = 0; i < 30; i++) {
        snprintf(dst, sizeof dst, "%s", test_path(test_tmp_dir(), "made"));
        int exit_code = convert_and_kill(models[1], dst, "int4", false,
                                         (unsigned)(test_random(&random) % longest));
        n_killed += exit_code == 128 + SIGKILL;
        n_done += exit_code == 0;
        assert_true(exit_code == 0 || exit_code == 128 + SIGKILL);
        if (cp_file_exists(dst))
            assert_same_weights(dst, whole);
        assert_true(exit_code != 0 || cp_file_exists(dst));
        const char *again[] = {NULL, "convert", models[1], dst, "--quant", "int4", "--force", NULL};
        test_run run = test_run_program(again, NULL, NULL);
        if (run.exit_code != 0)
            fail_msg("after a kill: %s", cp_strbuf_text(&run.err));
        test_run_free(&run);
        assert_same_weights(dst, whole);
        assert_true(opens(dst));
        assert_no_partial(dst);
    }
    print_message("%d killed, %d done before the kill\n", n_killed, n_done);
}

/* A replacement that is killed leaves the old model or the new one, at every moment. */
static void killed_replacements_leave_one_model(void **state) {
    (void)state;
    uint64_t random = 1147;
    unsigned longest = run_time(models[0]);
    print_message("seed %llu\n", (unsigned long long)random);
    char int4[CP_PATH_CAP], int8[CP_PATH_CAP], dst[CP_PATH_CAP];
    snprintf(int4, sizeof int4, "%s", convert(models[0], CP_LEVEL_INT4, 1, NULL));
    snprintf(int8, sizeof int8, "%s", convert(models[0], CP_LEVEL_INT8, 1, NULL));
    snprintf(dst, sizeof dst, "%s", convert(models[0], CP_LEVEL_INT8, 1, NULL));
    cp_strbuf a = weights_of(int4), b = weights_of(int8);
    for (int i = 0; i < 30; i++) {
        (void)convert_and_kill(models[0], dst, i % 2 ? "int8" : "int4", true,
                               (unsigned)(test_random(&random) % longest));
        cp_strbuf now = weights_of(dst);
        assert_true(cp_str_equal(cp_strbuf_str(&now), cp_strbuf_str(&a)) ||
                    cp_str_equal(cp_strbuf_str(&now), cp_strbuf_str(&b)));
        cp_strbuf_deinit(&now);
        assert_true(opens(dst));
    }
    cp_strbuf_deinit(&a);
    cp_strbuf_deinit(&b);
}

/* ---- refusals
 * ----------------------------------------------------------------------------------------- */

static cp_status try_output(const char *dst, bool force) {
    cp_error err = {0};
    cp_output_folder folder;
    cp_status status = cp_output_folder_open(dst, force, &folder, &err);
    assert_true(status == CP_OK || strlen(err.message) > 10);
    cp_output_folder_close(&folder);
    return status;
}

static void outputs_that_are_in_the_way_are_refused(void **state) {
    (void)state;
    const char *dir = test_tmp_dir();
    char dst[CP_PATH_CAP];
    snprintf(dst, sizeof dst, "%s", test_path(dir, "there"));
    assert_int_equal(mkdir(dst, 0755), 0);
    assert_int_equal(try_output(dst, false), CP_OK); /* empty */
    test_write_file(test_path(dst, "notes.txt"), "x", 1);
    assert_int_equal(try_output(dst, false), CP_ERR_USAGE);
    assert_int_equal(try_output(dst, true), CP_ERR_USAGE); /* not a model folder */
    test_write_file(test_path(dst, "config.json"), "{}", 2);
    assert_int_equal(try_output(dst, false), CP_ERR_USAGE);
    assert_int_equal(try_output(dst, true), CP_OK);
    assert_int_equal(mkdir(test_path(dst, "folder"), 0755), 0);
    assert_int_equal(try_output(dst, true), CP_ERR_USAGE); /* holds more than a model */
    assert_true(cp_file_exists(test_path(dst, "notes.txt")));
    assert_int_equal(try_output(test_path(dst, "notes.txt"), true), CP_ERR_USAGE);
    assert_int_equal(symlink(dst, test_path(dir, "link")), 0);
    assert_int_equal(try_output(test_path(dir, "link"), true), CP_ERR_USAGE);
    assert_int_equal(try_output(test_path(dir, "no/such/parent"), false), CP_ERR_IO);
    static const char *const nameless[] = {"", ".", "..", "/", "a/..", "./"};
    for (size_t i = 0; i < sizeof nameless / sizeof nameless[0]; i++)
        assert_int_equal(try_output(nameless[i], true), CP_ERR_USAGE);
}

static void two_runs_do_not_write_the_same_folder(void **state) {
    (void)state;
    cp_error err;
    cp_output_folder one, two;
    const char *dst = test_path(test_tmp_dir(), "made");
    assert_cp_ok(cp_output_folder_open(dst, false, &one, &err));
    test_write_file(test_path(one.partial, "config.json"), "{}", 2);
    assert_int_equal(cp_output_folder_open(dst, false, &two, &err), CP_ERR_BUSY);
    assert_true(cp_file_exists(test_path(one.partial, "config.json")));
    cp_output_folder_close(&two);
    assert_cp_ok(cp_output_folder_commit(&one, &err));
    cp_output_folder_close(&one);
    assert_true(cp_file_exists(test_path(dst, "config.json")));
    assert_no_partial(dst);
}

static void a_full_disk_is_told_before_writing(void **state) {
    (void)state;
    cp_error err;
    cp_output_folder folder;
    assert_cp_ok(cp_output_folder_open(test_path(test_tmp_dir(), "made"), false, &folder, &err));
    assert_cp_ok(cp_output_folder_need(&folder, 1, &err));
    assert_int_equal(cp_output_folder_need(&folder, (uint64_t)1 << 60, &err), CP_ERR_LIMIT);
    assert_non_null(strstr(err.message, "GB are free"));
    cp_output_folder_close(&folder);
}

/* Exit status 1, one line, and nothing made. Tokenizers are carried over unread. */
static void malformed_sources_are_refused(void **state) {
    (void)state;
    cJSON *cases = test_read_jsonl(GOLDEN "/malformed/manifest.jsonl");
    const cJSON *item;
    size_t n = 0;
    cJSON_ArrayForEach(item, cases) {
        char src[256];
        const char *name = cJSON_GetObjectItem(item, "case")->valuestring;
        const char *dst = test_path(test_tmp_dir(), "made");
        snprintf(src, sizeof src, GOLDEN "/malformed/%s", name);
        if (strncmp(name, "tok-", 4) == 0)
            continue;
        const char *argv[] = {NULL, "convert", src, dst, "--quant", "int4", NULL};
        test_run run = test_run_program(argv, NULL, NULL);
        const char *newline = strchr(cp_strbuf_text(&run.err), '\n');
        if (run.exit_code != 1 || !newline || newline[1] != '\0' || run.out.n != 0)
            fail_msg("%s: exit %d: %s", name, run.exit_code, cp_strbuf_text(&run.err));
        assert_false(cp_file_exists(dst));
        assert_no_partial(dst);
        test_run_free(&run);
        n++;
    }
    assert_int_equal(n, 32);
    cJSON_Delete(cases);
}

/* A weight that is no number is found on the way, and the half-made folder goes. */
static void weights_that_are_no_numbers_are_refused(void **state) {
    (void)state;
    cp_error err = {0};
    cp_source source;
    cp_safetensors file;
    cp_convert_report report;
    const char *src = convert(BASELINE, CP_LEVEL_BF16, 1, NULL);
    const char *dst = test_path(test_tmp_dir(), "made"),
               *path = test_path(src, "model.safetensors");
    assert_cp_ok(cp_safetensors_open(path, &file, &err));
    const cp_tensor *t = cp_safetensors_find(&file, "model.layers.0.mlp.up_proj.weight");
    assert_non_null(t);
    cp_strbuf bytes = weights_of(src);
    size_t at = (size_t)(t->data - file.mapping.data) + 3 * t->shape[1] * 2;
    bytes.data[at] = (char)0xc0;
    bytes.data[at + 1] = 0x7f;
    cp_safetensors_close(&file);
    test_write_file(path, bytes.data, bytes.n);
    cp_strbuf_deinit(&bytes);
    assert_cp_ok(cp_source_open(src, &source, &err));
    for (size_t n = 1; n <= 3; n++) {
        assert_int_equal(
            cp_convert(&source, dst, &(cp_convert_options){CP_LEVEL_INT4, n, false}, &report, &err),
            CP_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.message, "model.layers.0.mlp.up_proj.weight: row 3 "));
        assert_false(cp_file_exists(dst));
        assert_no_partial(dst);
    }
    cp_source_close(&source);
}

static void quantized_folders_are_not_quantized_again(void **state) {
    (void)state;
    cp_error err = {0};
    cp_source source;
    const char *src = convert(models[0], CP_LEVEL_INT8, 1, NULL);
    assert_int_equal(cp_source_open(src, &source, &err), CP_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "quantized already"));
    assert_null(source.ops);
}

/* Every allocation failed in turn: an error, nothing left behind, nothing leaked (the sanitizer
 * build says so). */
static void failed_allocations_leave_nothing(void **state) {
    (void)state;
    cp_error err;
    const char *dst = test_path(test_tmp_dir(), "made");
    bool done = false;
    for (long n = 1; !done; n++) {
        cp_source source;
        cp_convert_report report;
        test_alloc_fail_at(n, 1);
        cp_status status = cp_source_open(BASELINE, &source, &err);
        if (status == CP_OK)
            status = cp_convert(&source, dst, &(cp_convert_options){CP_LEVEL_INT4, 2, false},
                                &report, &err);
        test_alloc_fail_at(0, 0);
        cp_source_close(&source);
        done = status == CP_OK;
        if (!done)
            assert_false(cp_file_exists(dst));
        assert_no_partial(dst);
    }
    assert_true(cp_file_exists(dst));
}

/* ---- the command
 * ---------------------------------------------------------------------------------------- */

static void json_report_tells_what_was_made(void **state) {
    (void)state;
    const char *dst = test_path(test_tmp_dir(), "made");
    const char *argv[] = {NULL, "convert", models[1], dst, "--quant", "int4-mixed", "--json", NULL};
    test_run run = test_run_program(argv, NULL, NULL);
    assert_int_equal(run.exit_code, 0);
    cJSON *json = cJSON_Parse(cp_strbuf_text(&run.out));
    assert_non_null(json);
    struct stat info;
    assert_int_equal(stat(test_path(dst, "model.safetensors"), &info), 0);
    assert_string_equal(cp_json_member(json, "quant")->valuestring, "int4-mixed");
    assert_string_equal(cp_json_member(json, "model")->valuestring, dst);
    assert_true(cp_json_member(json, "file_bytes")->valuedouble == (double)info.st_size);
    assert_int_equal(strlen(cp_json_member(json, "source_hash")->valuestring), 32);
    double bits = cp_json_member(json, "bits_a_weight")->valuedouble,
           error = cp_json_member(json, "rms_error")->valuedouble;
    assert_true(bits > 4.5 && bits < 8.5 && error > 0.01 && error < 0.1);
    double weights = 0;
    const cJSON *kind;
    cJSON_ArrayForEach(kind, cp_json_member(json, "kinds")) weights +=
        cp_json_member(kind, "weights")->valuedouble;
    assert_true(weights == cp_json_member(json, "weights")->valuedouble);
    cJSON_Delete(json);
    test_run_free(&run);
}

static void wrong_commands_say_what_was_expected(void **state) {
    (void)state;
    const char *dst = test_path(test_tmp_dir(), "made");
    const struct {
        const char *argv[8];
        int exit_code;
        const char *says;
    } cases[] = {
        {{NULL, "convert", BASELINE, dst, NULL}, 2, "--quant is missing"},
        {{NULL, "convert", BASELINE, dst, "--quant", "int3", NULL}, 2, "int4-mixed"},
        {{NULL, "convert", BASELINE, "--quant", "int4", NULL}, 2, "folder to make is missing"},
        {{NULL, "convert", "no-such-place", dst, "--quant", "int4", NULL}, 1, "no-such-place"},
        {{NULL, "convert", "Makefile", dst, "--quant", "int4", NULL}, 1, "Makefile"},
        {{NULL, "convert", "--synthetic", "qwen3-0.6b", dst, dst, NULL}, 2, "one folder"},
        {{NULL, "convert", "--synthetic", "qwen9", dst, NULL}, 2, "qwen3-4b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_run run = test_run_program(cases[i].argv, NULL, NULL);
        if (run.exit_code != cases[i].exit_code || !strstr(cp_strbuf_text(&run.err), cases[i].says))
            fail_msg("case %zu: exit %d: %s", i, run.exit_code, cp_strbuf_text(&run.err));
        test_run_free(&run);
        assert_false(cp_file_exists(dst));
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(golden_models_convert_to_every_level),
    cmocka_unit_test(small_files_are_carried_over_unchanged),
    cmocka_unit_test(threads_do_not_change_the_bytes),
    cmocka_unit_test(source_hash_is_of_the_values),
    cmocka_unit_test(synthetic_rows_do_not_depend_on_how_they_are_read),
    cmocka_unit_test(the_mixed_level_uses_int5),
    cmocka_unit_test(tiles_of_no_level_are_refused),
    cmocka_unit_test(four_bit_levels_keep_to_their_budget),
    cmocka_unit_test(killed_runs_leave_nothing_that_opens),
    cmocka_unit_test(killed_replacements_leave_one_model),
    cmocka_unit_test(outputs_that_are_in_the_way_are_refused),
    cmocka_unit_test(two_runs_do_not_write_the_same_folder),
    cmocka_unit_test(a_full_disk_is_told_before_writing),
    cmocka_unit_test(malformed_sources_are_refused),
    cmocka_unit_test(weights_that_are_no_numbers_are_refused),
    cmocka_unit_test(quantized_folders_are_not_quantized_again),
    cmocka_unit_test(failed_allocations_leave_nothing),
    cmocka_unit_test(json_report_tells_what_was_made),
    cmocka_unit_test(wrong_commands_say_what_was_expected),
};
CP_TEST_GROUP(convert, tests)
