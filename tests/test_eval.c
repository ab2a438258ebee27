/* The score: intervals, counting, variants, refusals, and the command itself. */
#include "tests/test.h"

#include "base/file.h"
#include "server/eval_score.h"
#include "server/eval_variants.h"

#include <math.h>

static bool near(double a, double b) {
    return fabs(a - b) < 5e-4;
}

/* Values from Wilson's formula worked out by hand and in tables. */
static void intervals_are_wilsons(void **state) {
    (void)state;
    cp_share none = cp_share_of(0, 10), half = cp_share_of(5, 10), all = cp_share_of(10, 10);
    assert_true(none.low == 0 && near(none.high, 0.2775));
    assert_true(near(half.low, 0.2366) && near(half.high, 0.7634) && half.value == 0.5);
    assert_true(all.high == 1 && near(all.low, 0.7225));
    assert_int_equal(cp_share_of(0, 0).n, 0);
}

static void counts_follow_what_is_accepted(void **state) {
    (void)state;
    const cp_vignette emergency = {.level = 2, .most = 1, .least = 2},
                      mild = {.level = 5, .most = 4, .least = 5};
    cp_eval_score score = {0}, sum = {0};
    cp_eval_score_add(&score, &emergency, 1, true);
    cp_eval_score_add(&score, &emergency, 3, false);
    cp_eval_score_add(&score, &mild, 4, true);
    cp_eval_score_add(&score, &mild, 2, true);
    assert_int_equal(score.right, 2);
    assert_int_equal(score.under, 1);
    assert_int_equal(score.over, 1);
    assert_int_equal(score.emergencies, 2);
    assert_int_equal(score.emergencies_under, 1);
    assert_int_equal(score.unmatched, 1);
    assert_int_equal(score.confusion[2][3], 1);
    assert_int_equal(score.accepted[5], 1);
    cp_eval_score_merge(&sum, &score);
    cp_eval_score_merge(&sum, &score);
    assert_int_equal(sum.n, 8);
    assert_int_equal(cp_eval_score_n_level(&sum, 5), 4);
}

static void vignettes_are_enough_and_well_formed(void **state) {
    cp_error err;
    cp_vignettes all = {0};
    size_t emergencies = 0;
    (void)state;
    assert_cp_ok(cp_vignettes_read("data/vignettes/train.jsonl", "train", &all, &err));
    assert_cp_ok(cp_vignettes_read("data/vignettes/held.jsonl", "held", &all, &err));
    for (size_t i = 0; i < all.n; i++)
        emergencies += cp_vignette_is_emergency(&all.items[i]);
    assert_true(all.n >= 120);
    assert_true(3 * emergencies >= all.n);
    cp_vignettes_deinit(&all);
}

#define LINE(fields) "{\"id\":\"a\",\"query\":\"q\",\"source\":\"s\"," fields "}\n"
#define PLAIN        "\"level\":2,\"accepted\":[1,2],\"patient\":{\"age_years\":3}"

static void a_wrong_vignette_refuses_the_file(void **state) {
    static const struct {
        const char *text, *place, *problem;
    } bad[] = {
        {"{\n", "line 1", ""},
        {LINE(PLAIN) LINE(PLAIN), "line 2", "twice"},
        {LINE(PLAIN ",\"levl\":2"), "line 1", "levl"},
        {LINE("\"level\":2,\"accepted\":[1,3],\"patient\":{}"), "line 1", "accepted"},
        {LINE("\"level\":3,\"accepted\":[1,2],\"patient\":{}"), "line 1", "accepted"},
        {LINE("\"level\":2,\"accepted\":[],\"patient\":{}"), "line 1", "accepted"},
        {LINE("\"level\":9,\"accepted\":[1],\"patient\":{}"), "line 1", "level"},
        {LINE("\"level\":1,\"accepted\":[1]"), "line 1", "object"},
        {LINE("\"level\":1,\"accepted\":[1],\"patient\":{\"age\":3}"), "line 1", "age"},
        {LINE("\"level\":1,\"accepted\":[1],\"patient\":{\"age_years\":3,\"age_months\":2}"),
         "line 1", "age_years"},
        {LINE("\"level\":1,\"accepted\":[1],\"patient\":{\"sex\":\"x\"}"), "line 1", "sex"},
        {LINE("\"level\":1,\"accepted\":[1],\"patient\":{\"medications\":[7]}"), "line 1",
         "medications"},
        {"{\"id\":\"a\",\"level\":1,\"accepted\":[1],\"patient\":{},\"source\":\"s\"}\n", "line 1",
         "query"},
    };
    (void)state;
    const char *path = test_path(test_tmp_dir(), "vignettes.jsonl");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cp_error err = {0};
        cp_vignettes read = {0};
        test_write_file(path, bad[i].text, strlen(bad[i].text));
        if (cp_vignettes_read(path, "train", &read, &err) == CP_OK)
            fail_msg("accepted: %s", bad[i].text);
        if (!strstr(err.message, bad[i].place) || !strstr(err.message, bad[i].problem))
            fail_msg("expected %s and %s in: %s", bad[i].place, bad[i].problem, err.message);
        cp_vignettes_deinit(&read);
    }
}

/* The same seed makes the same variants; every kind changes the text, and keeps what it must. */
static void variants_are_made_again_from_their_seed(void **state) {
    static const char query[] = "My belly hurts badly since this morning. I can't breathe.";
    cp_error err;
    cp_safety *safety = NULL;
    cp_variant_source source;
    cp_strbuf a, b;
    (void)state;
    assert_cp_ok(cp_safety_open("data/triage/rules.json", &safety, &err));
    assert_cp_ok(cp_variant_source_read("data/vignettes/variants.json", &source, &err));
    cp_strbuf_init(&a, 100000);
    cp_strbuf_init(&b, 100000);
    for (int k = 0; k < CP_N_VARIANT_KINDS; k++) {
        size_t changed = 0;
        for (size_t i = 1; i <= 20; i++) {
            bool made = cp_variant_make(&source, safety, "v", query, (cp_variant_kind)k, 7, i, &a);
            assert_int_equal(
                cp_variant_make(&source, safety, "v", query, (cp_variant_kind)k, 7, i, &b), made);
            assert_string_equal(cp_strbuf_text(&a), cp_strbuf_text(&b));
            changed += strcmp(cp_strbuf_text(&a), query) != 0;
            if (k == CP_VARIANT_MINIMISING || k == CP_VARIANT_DEMOGRAPHICS)
                assert_non_null(strstr(cp_strbuf_text(&a), query));
        }
        if (changed < 5)
            fail_msg("%s changes nothing", cp_variant_kind_name((cp_variant_kind)k));
    }
    assert_false(cp_variant_make(&source, safety, "v", "one sentence", CP_VARIANT_ORDER, 7, 1, &a));
    cp_strbuf_deinit(&a);
    cp_strbuf_deinit(&b);
    cp_variant_source_deinit(&source);
    cp_safety_close(safety);
}

static test_run eval(const char *const *more) {
    const char *argv[16] = {NULL, "eval"};
    static const char *const env[] = {"LLM_MODE=mock", NULL};
    for (size_t i = 0; more[i]; i++)
        argv[2 + i] = more[i];
    return test_run_program(argv, env, NULL);
}

static void the_rules_pass_and_say_so_in_three_forms(void **state) {
    (void)state;
    const char *page = test_path(test_tmp_dir(), "score.html");
    test_run run = eval((const char *[]){"--json", "--html", page, NULL});
    cJSON *tree = cJSON_Parse(cp_strbuf_text(&run.out));
    if (run.exit_code != 0 || !tree)
        fail_msg("exit %d: %.2000s", run.exit_code, cp_strbuf_text(&run.err));
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(tree, "passes")));
    const cJSON *all = cJSON_GetObjectItem(
        cJSON_GetObjectItem(cJSON_GetObjectItem(tree, "lanes"), "rules"), "all");
    assert_true(cJSON_GetObjectItem(all, "vignettes")->valueint >= 120);
    assert_int_equal(
        cJSON_GetObjectItem(cJSON_GetObjectItem(all, "emergency_under_triage"), "count")->valueint,
        0);
    assert_true(cJSON_GetObjectItem(cJSON_GetObjectItem(tree, "rules_us"), "mean")->valuedouble <
                5000);
    cJSON_Delete(tree);
    test_run_free(&run);
    cp_strbuf html;
    cp_error err;
    assert_cp_ok(cp_file_read(page, 1 << 22, &html, &err));
    assert_non_null(strstr(cp_strbuf_text(&html), "<svg"));
    assert_non_null(strstr(cp_strbuf_text(&html), "</html>"));
    assert_null(strstr(cp_strbuf_text(&html), "<script"));
    assert_null(strstr(cp_strbuf_text(&html), "http"));
    cp_strbuf_deinit(&html);
    run = eval((const char *[]){"--split", "held", "--variants", "0", NULL});
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(cp_strbuf_text(&run.out), "emergencies under-triaged"));
    assert_null(strstr(cp_strbuf_text(&run.out), "rules, train"));
    test_run_free(&run);
}

static void a_model_is_scored_with_the_rules(void **state) {
    (void)state;
    test_run run = eval((const char *[]){"--model", "mock", "--variants", "0", "--json", NULL});
    cJSON *tree = cJSON_Parse(cp_strbuf_text(&run.out));
    assert_non_null(tree);
    const cJSON *lanes = cJSON_GetObjectItem(tree, "lanes");
    const cJSON *both = cJSON_GetObjectItem(cJSON_GetObjectItem(lanes, "rules + model"), "all");
    assert_non_null(both);
    /* the mock always says 3: no emergency gets lower by that */
    assert_int_equal(
        cJSON_GetObjectItem(cJSON_GetObjectItem(both, "emergency_under_triage"), "count")->valueint,
        0);
    cJSON_Delete(tree);
    test_run_free(&run);
}

/* An emergency that no rule knows fails the command. */
static void missed_emergencies_exit_with_1(void **state) {
    (void)state;
    const char *dir = test_tmp_dir();
    char command[512];
    snprintf(command, sizeof command, "mkdir %s/miss && cp -r data/triage data/vignettes %s/miss/",
             dir, dir);
    assert_int_equal(system(command), 0);
    const char *miss = LINE("\"level\":2,\"accepted\":[1,2],\"patient\":{\"age_years\":50}");
    test_write_file(test_path(dir, "miss/vignettes/held.jsonl"), miss, strlen(miss));
    test_run run =
        eval((const char *[]){"--data", test_path(dir, "miss"), "--split", "held", NULL});
    assert_int_equal(run.exit_code, 1);
    assert_non_null(strstr(cp_strbuf_text(&run.out), "FAIL"));
    test_run_free(&run);
    run = eval((const char *[]){"--split", "other", NULL});
    assert_int_equal(run.exit_code, 2);
    test_run_free(&run);
    run = eval((const char *[]){"--data", "no/such/folder", NULL});
    assert_int_equal(run.exit_code, 1);
    assert_int_equal(run.out.n, 0);
    test_run_free(&run);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(intervals_are_wilsons),
    cmocka_unit_test(counts_follow_what_is_accepted),
    cmocka_unit_test(vignettes_are_enough_and_well_formed),
    cmocka_unit_test(a_wrong_vignette_refuses_the_file),
    cmocka_unit_test(variants_are_made_again_from_their_seed),
    cmocka_unit_test(the_rules_pass_and_say_so_in_three_forms),
    cmocka_unit_test(a_model_is_scored_with_the_rules),
    cmocka_unit_test(missed_emergencies_exit_with_1),
};
CP_TEST_GROUP(eval, tests)
