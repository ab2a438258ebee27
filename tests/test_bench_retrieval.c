/* carepath bench retrieval: the forms of its reports, the paths with models, wrong options. The
 * models are random: what they find is nothing, and no time is asserted. */
#include "tests/report_form.h"

#include "base/file.h"

#define EMBEDDER GOLDEN "/models/embedding-gqa1"

static test_run bench(const char *const *options) {
    const char *argv[24] = {NULL, "bench", "retrieval", "--repeat", "1"};
    size_t n = 5;
    for (; *options; options++)
        argv[n++] = *options;
    argv[n] = NULL;
    return test_run_program(argv, NULL, NULL);
}
#define BENCH(...) bench((const char *const[]){__VA_ARGS__, NULL})

static const form_field measure_fields[] = {
    {"questions", cJSON_Number, 1, 1e6}, {"recall_at_1", cJSON_Number, 0, 1},
    {"recall_at_5", cJSON_Number, 0, 1}, {"recall_at_10", cJSON_Number, 0, 1},
    {"ndcg_at_10", cJSON_Number, 0, 1},
};
static const form_field mode_fields[] = {
    {"all", cJSON_Object, 0, 0},
    {"train", cJSON_Object, 0, 0},
    {"held", cJSON_Object, 0, 0},
    {"same", cJSON_Object, 0, 0},
    {"other", cJSON_Object, 0, 0},
    {"misspelled", cJSON_Object, 0, 0},
    {"foreign_documents", cJSON_Number, 0, 0},
    {"never_documents", cJSON_Number, 0, 0},
    {"p50_ms", cJSON_Number, 0, 1e5},
    {"p99_ms", cJSON_Number, 0, 1e5},
};
static const form_field scale_fields[] = {
    {"chunks", cJSON_Number, 1, 1e7},           {"patients", cJSON_Number, 1, 1e7},
    {"index_bytes", cJSON_Number, 1, 1e12},     {"patient_p50_ms", cJSON_Number, 0, 1e5},
    {"patient_p99_ms", cJSON_Number, 0, 1e5},   {"everybody_p50_ms", cJSON_Number, 0, 1e5},
    {"everybody_p99_ms", cJSON_Number, 0, 1e5},
};

static void check_mode(const cJSON *report, const char *name) {
    static const char *const groups[] = {"all", "train", "held", "same", "other", "misspelled"};
    const cJSON *mode = cp_json_member(cp_json_member(report, "modes"), name);
    assert_non_null(mode);
    FORM_CHECK(mode, mode_fields);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        const cJSON *group = cp_json_member(mode, groups[i]);
        FORM_CHECK(group, measure_fields);
        assert_true(form_number(group, "recall_at_1") <= form_number(group, "recall_at_5"));
        assert_true(form_number(group, "recall_at_5") <= form_number(group, "recall_at_10"));
    }
}

static double recall_of(const cJSON *report, const char *mode) {
    const cJSON *all = cp_json_member(cp_json_member(cp_json_member(report, "modes"), mode), "all");
    return form_number(all, "recall_at_5");
}

static void the_report_says_what_was_found(void **state) {
    (void)state;
    test_run run = BENCH("--json", "--scales", "300,1000");
    cJSON *report = test_run_json(&run);
    check_mode(report, "lexical");
    assert_null(cp_json_member(cp_json_member(report, "modes"), "vector"));
    assert_null(cp_json_member(report, "embedding_model"));
    assert_true(recall_of(report, "lexical") >= 0.9);
    const cJSON *row, *scales = cp_json_member(report, "scales");
    double before = 0;
    assert_int_equal(cJSON_GetArraySize(scales), 2);
    cJSON_ArrayForEach(row, scales) {
        FORM_CHECK(row, scale_fields);
        assert_true(form_number(row, "chunks") > before);
        before = form_number(row, "chunks");
    }
    assert_true(before >= 1000 && before < 1020);
    cJSON_Delete(report);
    test_run_free(&run);
}

/* Vectors of another model: what --texts asks for, --vectors takes. */
static void vectors_come_from_a_file_too(void **state) {
    const char *texts = test_path(test_tmp_dir(), "texts.jsonl"),
               *vectors = test_path(test_tmp_dir(), "vectors.jsonl");
    cp_strbuf out;
    const cJSON *line;
    (void)state;
    test_run run = BENCH("--texts", texts);
    assert_int_equal(run.exit_code, 0);
    test_run_free(&run);
    cJSON *asked = test_read_jsonl(texts);
    assert_true(cJSON_GetArraySize(asked) > 700);
    cp_strbuf_init(&out, 1 << 20);
    cJSON_ArrayForEach(line, asked) {
        const char *text = cp_json_text(line, "text", "");
        cp_strbuf_printf(&out, "{\"text_sha256\": \"%s\", \"vector\": [%zu, 1, %d]}\n",
                         cp_json_text(line, "text_sha256", ""), strlen(text), text[0]);
    }
    test_write_file(vectors, out.data, out.n);
    run = BENCH("--json", "--vectors", vectors);
    cJSON *report = test_run_json(&run);
    check_mode(report, "hybrid");
    assert_non_null(strstr(cp_json_text(report, "embedding_model", ""), "3 wide"));
    cJSON_Delete(report);
    test_run_free(&run);
    /* One is missing. */
    test_write_file(vectors, out.data, (size_t)(strchr(out.data, '\n') + 1 - out.data));
    run = BENCH("--vectors", vectors);
    assert_int_equal(run.exit_code, 1);
    assert_non_null(strstr(cp_strbuf_text(&run.err), "no vector of the text with SHA-256"));
    test_run_free(&run);
    cp_strbuf_deinit(&out);
    cJSON_Delete(asked);
}

/* A random model finds by chance; words beside it still find. */
static void models_take_part(void **state) {
    (void)state;
    test_run run = BENCH("--json", "--embedding-model", EMBEDDER);
    cJSON *report = test_run_json(&run);
    check_mode(report, "lexical");
    check_mode(report, "vector");
    check_mode(report, "hybrid");
    assert_non_null(strstr(cp_json_text(report, "embedding_model", ""), "embedding-gqa1"));
    assert_true(recall_of(report, "vector") < recall_of(report, "hybrid"));
    cJSON_Delete(report);
    test_run_free(&run);
}

static void the_page_stands_alone(void **state) {
    const char *path = test_path(test_tmp_dir(), "retrieval.html");
    cp_strbuf page;
    cp_error err;
    (void)state;
    test_run run = BENCH("--html", path, "--scales", "300,400", "--note", "a <note>");
    assert_int_equal(run.exit_code, 0);
    const char *table = cp_strbuf_text(&run.out);
    assert_non_null(strstr(table, "embedding model: none"));
    assert_non_null(strstr(table, "misspelled"));
    assert_cp_ok(cp_file_read(path, 1 << 20, &page, &err));
    form_check_page(cp_strbuf_text(&page));
    assert_int_equal(form_count(cp_strbuf_text(&page), "a &lt;note&gt;"), 2); /* and the command */
    assert_non_null(strstr(cp_strbuf_text(&page), "Latency against size"));
    cp_strbuf_deinit(&page);
    test_run_free(&run);
}

static void an_index_in_files_says_the_same(void **state) {
    const char *dir = test_path(test_tmp_dir(), "retrieval-index");
    (void)state;
    test_run memory = BENCH("--json");
    cJSON *expected = test_run_json(&memory);
    for (unsigned turn = 0; turn < 2; turn++) { /* made, then found there */
        test_run run = BENCH("--json", "--index", dir);
        cJSON *report = test_run_json(&run);
        assert_true(recall_of(report, "lexical") == recall_of(expected, "lexical"));
        cJSON_Delete(report);
        test_run_free(&run);
    }
    cJSON_Delete(expected);
    test_run_free(&memory);
}

static void wrong_options_are_explained(void **state) {
    static const struct {
        const char *option, *value;
        int exit_code;
        const char *said;
    } cases[] = {
        {"--scales", "x", 2, "\"x\""},
        {"--scales", "1,2,3,4,5", 2, "expected at most 4"},
        {"--data", "no-such", 1, "no-such/knowledge"},
        {"--data", "tests", 1, "tests/knowledge"},
        {"--embedding-model", "no-such", 1, "no-such"},
        {"--reranker-model", "no-such", 1, "no-such"},
        {"--vectors", "no-such", 1, "no-such"},
        {"--vectors", "README.md", 1, "README.md"},
        {"--repeat", "0", 2, "--repeat"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_run run = BENCH(cases[i].option, cases[i].value);
        if (run.exit_code != cases[i].exit_code || !strstr(cp_strbuf_text(&run.err), cases[i].said))
            fail_msg("case %zu: exit %d, %s", i, run.exit_code, cp_strbuf_text(&run.err));
        test_run_free(&run);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_report_says_what_was_found),
    cmocka_unit_test(vectors_come_from_a_file_too),
    cmocka_unit_test(models_take_part),
    cmocka_unit_test(the_page_stands_alone),
    cmocka_unit_test(an_index_in_files_says_the_same),
    cmocka_unit_test(wrong_options_are_explained),
};
CP_TEST_GROUP(bench_retrieval, tests)
