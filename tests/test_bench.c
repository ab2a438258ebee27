/* carepath bench as a script would use it: the forms of its reports. No time is asserted. */
#include "tests/test.h"

#include "base/file.h"
#include "tests/report_form.h"

#include <math.h>
#include <unistd.h>

#define MODEL   GOLDEN "/models/tied-gqa2"
#define UNTIED  GOLDEN "/models/untied-gqa4-sharded"
#define TEXT_OF 3000 /* bytes of the quality tests' text */

static test_run bench(const char *const *argv) {
    return test_run_program(argv, NULL, NULL);
}

/* ---- speed ------------------------------------------------------------------------------------
 */

#define TINY 1e-12
#define HUGE 1e15

static const form_field model_fields[] = {
    {"model", cJSON_String, 0, 0},
    {"quant", cJSON_String, 0, 0},
    {"kv", cJSON_String, 0, 0},
    {"isa", cJSON_String, 0, 0},
    {"threads", cJSON_Number, 1, 256},
    {"cpu", cJSON_String, 0, 0},
    {"version", cJSON_String, 0, 0},
    {"date", cJSON_String, 0, 0},
    {"seed", cJSON_Number, 7, 7},
    {"gen", cJSON_Number, 6, 6},
    {"repeat", cJSON_Number, 2, 2},
    {"read_gb_s", cJSON_Number, TINY, HUGE},
    {"load_s", cJSON_Number, TINY, HUGE},
    {"first_token_cold_s", cJSON_Number, TINY, HUGE},
    {"first_token_warm_s", cJSON_Number, TINY, HUGE},
    {"rss_bytes", cJSON_Number, 1 << 20, HUGE},
    {"weight_bytes", cJSON_Number, 1, HUGE},
    {"session_bytes", cJSON_Number, 1, HUGE},
    {"kv_bytes_per_token", cJSON_Number, 1, HUGE},
    {"prefill", cJSON_Array, 0, 0},
    {"decode", cJSON_Array, 0, 0},
    {"skipped", cJSON_Array, 0, 0},
};

static const form_field prefill_fields[] = {
    {"n", cJSON_Number, 1, HUGE},
    {"tok_s", cJSON_Number, TINY, HUGE},
    {"tok_s_min", cJSON_Number, TINY, HUGE},
    {"tok_s_max", cJSON_Number, TINY, HUGE},
    {"gop_s", cJSON_Number, TINY, HUGE},
    {"share_of_peak", cJSON_Number, 0, HUGE},
};

static const form_field decode_fields[] = {
    {"depth", cJSON_Number, 0, HUGE},
    {"batch", cJSON_Number, 1, 64},
    {"tok_s", cJSON_Number, TINY, HUGE},
    {"tok_s_min", cJSON_Number, TINY, HUGE},
    {"tok_s_max", cJSON_Number, TINY, HUGE},
    {"bytes_per_token", cJSON_Number, 1, HUGE},
    {"physical_bytes_per_token", cJSON_Number, 4096, HUGE},
    {"read_gb_s", cJSON_Number, TINY, HUGE},
    {"share_of_bandwidth", cJSON_Number, TINY, HUGE},
    {"share_of_plain_read", cJSON_Number, 0, HUGE}, /* 0: the model is too small */
};

static void check_range(const cJSON *row) {
    assert_true(form_number(row, "tok_s_min") <= form_number(row, "tok_s"));
    assert_true(form_number(row, "tok_s") <= form_number(row, "tok_s_max"));
}

static const char *const speed_words[] = {
    NULL, "bench",     "speed", "--model",  MODEL, "--prompt", "32,16", "--gen",
    "6",  "--depth",   "20,0",  "--batch",  "3,1", "--repeat", "2",     "--seed",
    "7",  "--threads", "2",     "--buffer", "16",  "--json",   NULL};

static void speed_json_has_its_promised_form(void **state) {
    (void)state;
    test_run run = bench(speed_words);
    cJSON *tree = test_run_json(&run);
    FORM_CHECK(tree, model_fields);
    assert_string_equal(cJSON_GetObjectItem(tree, "model")->valuestring, "tied-gqa2");
    assert_string_equal(cJSON_GetObjectItem(tree, "quant")->valuestring, "bf16");
    assert_int_equal(form_number(tree, "threads"), 2);
    const cJSON *prefill = cJSON_GetObjectItem(tree, "prefill"),
                *decode = cJSON_GetObjectItem(tree, "decode"), *row;
    assert_int_equal(cJSON_GetArraySize(prefill), 2);
    assert_int_equal(form_number(cJSON_GetArrayItem(prefill, 0), "n"), 16);
    assert_int_equal(form_number(cJSON_GetArrayItem(prefill, 1), "n"), 32);
    cJSON_ArrayForEach(row, prefill) {
        FORM_CHECK(row, prefill_fields);
        check_range(row);
    }
    assert_int_equal(cJSON_GetArraySize(decode), 4); /* every depth with every batch */
    int i = 0;
    double weights = form_number(tree, "weight_bytes"),
           kv = form_number(tree, "kv_bytes_per_token");
    cJSON_ArrayForEach(row, decode) {
        FORM_CHECK(row, decode_fields);
        check_range(row);
        double depth = i / 2 ? 20 : 0, batch = i % 2 ? 3 : 1;
        assert_true(form_number(row, "depth") == depth && form_number(row, "batch") == batch);
        assert_true(
            fabs(form_number(row, "bytes_per_token") - (weights / batch + (depth + 3.5) * kv)) <
            1); /* positions read by 6 tokens: depth + 1 .. depth + 6 */
        /* A page at most for each kv head's keys and values of a layer, and some for the file. */
        double more =
            form_number(row, "physical_bytes_per_token") - form_number(row, "bytes_per_token");
        assert_true(more > -4096 && more < 4096 * 40);
        i++;
    }
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(tree, "skipped")), 0);
    cJSON_Delete(tree);
    test_run_free(&run);
}

/* The untied model's embedding table is not read by a step; two models make an array. */
static void several_models_make_an_array(void **state) {
    (void)state;
    test_run run =
        bench((const char *[]){NULL,       "bench",   "speed",    "--model", MODEL "," UNTIED,
                               "--model",  MODEL,     "--prompt", "8",       "--gen",
                               "2",        "--depth", "0",        "--batch", "1",
                               "--repeat", "1",       "--buffer", "16",      "--kv",
                               "int8",     "--json",  NULL});
    cJSON *tree = test_run_json(&run);
    assert_true(cJSON_IsArray(tree));
    assert_int_equal(cJSON_GetArraySize(tree), 3);
    const cJSON *untied = cJSON_GetArrayItem(tree, 1);
    assert_string_equal(cJSON_GetObjectItem(untied, "model")->valuestring, "untied-gqa4-sharded");
    assert_string_equal(cJSON_GetObjectItem(untied, "kv")->valuestring, "int8");
    const cJSON *row = cJSON_GetArrayItem(cJSON_GetObjectItem(untied, "decode"), 0);
    assert_true(form_number(row, "bytes_per_token") < 0.95 * form_number(untied, "weight_bytes"));
    cJSON_Delete(tree);
    test_run_free(&run);
}

static void the_html_report_stands_alone(void **state) {
    (void)state;
    const char *path = test_path(test_tmp_dir(), "report.html");
    test_run run = bench((const char *[]){
        NULL,   "bench",    "speed", "--model", MODEL, "--model", UNTIED,          "--prompt",
        "8,16", "--gen",    "2",     "--depth", "0,8", "--batch", "1,2",           "--repeat",
        "2",    "--buffer", "16",    "--html",  path,  "--note",  "a <b> & \"c\"", NULL});
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(cp_strbuf_text(&run.out), "decode at 8, batch 2"));
    cp_strbuf html;
    cp_error err;
    assert_cp_ok(cp_file_read(path, 1 << 20, &html, &err));
    form_check_page(html.data);
    assert_int_equal(form_count(html.data, "<svg "), 6);
    assert_int_equal(form_count(html.data, "<table>"), 3);
    assert_int_equal(form_count(html.data, "http://"),
                     form_count(html.data, "xmlns=\"http://www.w3.org/2000/svg\""));
    assert_null(strstr(html.data, "a <b>"));
    static const char *const present[] = {"prefers-color-scheme",
                                          "tokens/s",
                                          "MiB",
                                          "untied-gqa4-sharded",
                                          "a &lt;b&gt; &amp; &quot;c&quot;",
                                          "carepath bench speed"};
    for (size_t i = 0; i < sizeof present / sizeof present[0]; i++)
        if (!strstr(html.data, present[i]))
            fail_msg("the report has no \"%s\"", present[i]);
    cp_strbuf_deinit(&html);
    test_run_free(&run);
}

static const form_field search_fields[] = {
    {"vectors", cJSON_Number, 1, HUGE},          {"ms_p50", cJSON_Number, TINY, HUGE},
    {"ms_p99", cJSON_Number, TINY, HUGE},        {"ms_min", cJSON_Number, TINY, HUGE},
    {"gb_s", cJSON_Number, TINY, HUGE},          {"read_gb_s", cJSON_Number, TINY, HUGE},
    {"share_of_read", cJSON_Number, TINY, HUGE},
};

static void search_tells_time_and_share(void **state) {
    (void)state;
    test_run run = bench((const char *[]){NULL, "bench", "search", "--n", "30000", "--width", "96",
                                          "--threads", "2", "--repeat", "4", "--json", NULL});
    cJSON *tree = test_run_json(&run);
    const cJSON *sizes = cJSON_GetObjectItem(tree, "sizes"), *row = cJSON_GetArrayItem(sizes, 0);
    assert_int_equal(cJSON_GetArraySize(sizes), 1);
    FORM_CHECK(row, search_fields);
    assert_int_equal(form_number(row, "vectors"), 30000);
    double ms = form_number(row, "ms_p50"), rate = form_number(row, "gb_s");
    assert_true(ms >= form_number(row, "ms_min") && ms <= form_number(row, "ms_p99"));
    assert_true(fabs(rate - 30000 * 96 / ms / 1e6) < rate * 1e-3);
    assert_true(fabs(form_number(row, "share_of_read") - rate / form_number(row, "read_gb_s")) <
                1e-3 * form_number(row, "share_of_read"));
    cJSON_Delete(tree);
    test_run_free(&run);
    run = bench((const char *[]){NULL, "bench", "search", "--n", "1", "--width", "5", "--repeat",
                                 "1", "--threads", "1", NULL});
    assert_int_equal(run.exit_code, 0); /* too few bytes for a plain read beside it */
    assert_non_null(strstr(run.out.data, "int8 vectors of 5 values"));
    test_run_free(&run);
}

static void limits_are_positive(void **state) {
    (void)state;
    test_run run = bench((const char *[]){NULL, "bench", "limits", "--buffer", "16", "--window",
                                          "2", "--json", NULL});
    cJSON *tree = test_run_json(&run);
    static const char *const spreads[] = {"read_gb_s", "read_gb_s_1_thread"};
    for (int i = 0; i < 2; i++) {
        const cJSON *s = cJSON_GetObjectItem(tree, spreads[i]);
        assert_true(form_number(s, "min") > 0 && form_number(s, "min") <= form_number(s, "median"));
        assert_true(form_number(s, "median") <= form_number(s, "max"));
    }
    assert_true(form_number(tree, "int8_gop_s") > 0 && form_number(tree, "f32_gflop_s") > 0);
    assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(tree, "rates")) >= 2);
    cJSON_Delete(tree);
    test_run_free(&run);
}

/* ---- quality ----------------------------------------------------------------------------------
 */

static const char *text_file(void) {
    static const char words[] = "The patient reports chest pain and 38.5 fever since Monday. ";
    char text[TEXT_OF];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = words[(i * 7 + i / 59) % (sizeof words - 1)];
    const char *path = test_path(test_tmp_dir(), "text.txt");
    test_write_file(path, text, sizeof text);
    return path;
}

static cJSON *quality(const char *model, const char *reference, const char *text) {
    test_run run = bench((const char *[]){NULL, "bench", "quality", "--model", model, "--reference",
                                          reference, "--text", text, "--context", "64", "--windows",
                                          "5", "--kv", "f32", "--json", NULL});
    cJSON *tree = test_run_json(&run);
    test_run_free(&run);
    return tree;
}

static void a_model_equals_itself(void **state) {
    (void)state;
    const char *text = text_file();
    cJSON *tree = quality(MODEL, MODEL, text);
    assert_int_equal(form_number(tree, "windows"), 5);
    assert_int_equal(form_number(tree, "tokens"), 5 * 31); /* context/2 + 1 .. context - 1 */
    assert_true(form_number(tree, "kl_mean") == 0 && form_number(tree, "kl_max") == 0);
    assert_true(form_number(tree, "top1_agreement") == 1);
    assert_true(form_number(tree, "ppl") > 1 &&
                form_number(tree, "ppl") == form_number(tree, "reference_ppl"));
    assert_true(form_number(tree, "ppl_error") > 0);
    cJSON_Delete(tree);
}

static void different_models_diverge(void **state) {
    (void)state;
    cJSON *tree = quality(GOLDEN "/models/llama", GOLDEN "/models/embedding-gqa1", text_file());
    assert_true(form_number(tree, "kl_mean") > 0.01 && form_number(tree, "kl_mean_error") > 0);
    assert_true(form_number(tree, "kl_median") <= form_number(tree, "kl_p99"));
    assert_true(form_number(tree, "kl_p99") <= form_number(tree, "kl_max"));
    assert_true(form_number(tree, "top1_agreement") < 1);
    cJSON_Delete(tree);
}

static void models_of_other_tokens_are_refused(void **state) {
    (void)state;
    test_run run = bench((const char *[]){NULL, "bench", "quality", "--model", MODEL, "--reference",
                                          UNTIED, "--text", text_file(), NULL});
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err.data, "1024 tokens, the reference 2048"));
    test_run_free(&run);
}

static void wrong_use_is_explained(void **state) {
    (void)state;
    static const struct {
        const char *argv[12], *said;
    } cases[] = {
        {{NULL, "bench", NULL}, "subcommand is missing"},
        {{NULL, "bench", "fast", NULL}, "\"fast\" is no subcommand"},
        {{NULL, "bench", "speed", NULL}, "--model"},
        {{NULL, "bench", "speed", "--model", MODEL ",", NULL}, "empty"},
        {{NULL, "bench", "speed", "--model", MODEL, "--batch", "1,x", NULL}, "\"x\""},
        {{NULL, "bench", "speed", "--model", MODEL, "--batch", "65", NULL}, "65"},
        {{NULL, "bench", "speed", "--model", MODEL, "--kv", "int3", NULL}, "int3"},
        {{NULL, "bench", "quality", "--model", MODEL, "--reference", MODEL, NULL}, "--text"},
        {{NULL, "bench", "quality", "--model", MODEL, "--reference", MODEL, "--text", "README.md",
          "--context", "63", NULL},
         "even"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_run run = bench(cases[i].argv);
        if (run.exit_code != 2 || run.out.n != 0 ||
            !strstr(cp_strbuf_text(&run.err), cases[i].said))
            fail_msg("case %zu: exit %d, %s", i, run.exit_code, cp_strbuf_text(&run.err));
        test_run_free(&run);
    }
}

/* A model that cannot be opened fails the run in the child's words. */
static void a_missing_model_fails(void **state) {
    (void)state;
    test_run run =
        bench((const char *[]){NULL, "bench", "speed", "--model", "no-such-folder", NULL});
    assert_int_equal(run.exit_code, 1);
    assert_int_equal(run.out.n, 0);
    assert_non_null(strstr(run.err.data, "no-such-folder"));
    test_run_free(&run);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(speed_json_has_its_promised_form),
    cmocka_unit_test(several_models_make_an_array),
    cmocka_unit_test(the_html_report_stands_alone),
    cmocka_unit_test(search_tells_time_and_share),
    cmocka_unit_test(limits_are_positive),
    cmocka_unit_test(a_model_equals_itself),
    cmocka_unit_test(different_models_diverge),
    cmocka_unit_test(models_of_other_tokens_are_refused),
    cmocka_unit_test(wrong_use_is_explained),
    cmocka_unit_test(a_missing_model_fails),
};
CP_TEST_GROUP(bench, tests)
