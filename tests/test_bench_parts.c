/* The parts of bench that compute: lists, statistics, divergence, bytes, charts. */
#include "tests/test.h"

#include "bench/divergence.h"
#include "bench/lists.h"
#include "bench/rates.h"
#include "bench/read_probe.h"
#include "bench/statistics.h"
#include "bench/svg_chart.h"
#include "bench/team.h"
#include "bench/weight_traffic.h"

#include <math.h>
#include <stdatomic.h>

static void number_lists_are_sorted_and_bounded(void **state) {
    (void)state;
    cp_error err;
    cp_number_list list;
    assert_cp_ok(cp_number_list_parse("batch", "8,1,4", 1, 64, &list, &err));
    assert_int_equal(list.n, 3);
    assert_int_equal(list.values[0], 1);
    assert_int_equal(list.values[1], 4);
    assert_int_equal(list.values[2], 8);
    assert_cp_ok(cp_number_list_parse("depth", "0", 0, 64, &list, &err));
    assert_int_equal(list.n, 1);
}

static void bad_number_lists_name_option_and_item(void **state) {
    (void)state;
    static const struct {
        const char *text, *said;
    } bad[] = {
        {"", "\"\" is not an integer"},
        {"1,", "\"\" is not an integer"},
        {"1,,2", "\"\" is not an integer"},
        {"1,two", "\"two\" is not an integer from 1 to 64"},
        {"0", "\"0\" is not"},
        {"65", "\"65\" is not"},
        {"-1", "\"-1\" is not"},
        {"1.5", "\"1.5\" is not"},
        {"99999999999999999999999999", "is not an integer"},
        {"4,2,4", "lists 4 twice"},
        {"1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "more than 16"},
    };
    cp_error err;
    cp_number_list list;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(cp_number_list_parse("batch", bad[i].text, 1, 64, &list, &err),
                         CP_ERR_USAGE);
        if (!strstr(err.message, bad[i].said) || !strstr(err.message, "--batch"))
            fail_msg("\"%s\": %s", bad[i].text, err.message);
    }
}

static void repeated_options_add_up(void **state) {
    (void)state;
    char *argv[] = {(char *)"speed",  (char *)"--model",   (char *)"a,b",
                    (char *)"--json", (char *)"--model=c", (char *)"--models"};
    cp_error err;
    cp_word_list list = {.n = 0};
    assert_cp_ok(cp_word_list_from_args("model", 6, argv, &list, &err));
    assert_int_equal(list.n, 3);
    assert_string_equal(list.words[0], "a");
    assert_string_equal(list.words[1], "b");
    assert_string_equal(list.words[2], "c");
    assert_int_equal(cp_word_list_add("model", "d,,e", &list, &err), CP_ERR_USAGE);
    cp_word_list_deinit(&list);
}

static void statistics_of_known_values(void **state) {
    (void)state;
    double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2}, sorted[] = {0, 10, 20, 30, 40};
    cp_spread s = cp_stats_spread(odd, 3);
    assert_true(s.median == 3 && s.min == 1 && s.max == 5);
    assert_true(cp_stats_spread(even, 4).median == 2.5);
    assert_true(cp_stats_spread(NULL, 0).median == 0);
    assert_true(cp_stats_percentile(sorted, 5, 0) == 0);
    assert_true(cp_stats_percentile(sorted, 5, 1) == 40);
    assert_true(fabs(cp_stats_percentile(sorted, 5, 0.99) - 39.6) < 1e-9);
    assert_true(cp_stats_percentile(sorted, 1, 0.99) == 0);

    cp_running r = {0};
    const double values[] = {2, 4, 4, 4, 5, 5, 7, 9}; /* mean 5, squares about it 32 */
    for (size_t i = 0; i < 8; i++)
        cp_running_add(&r, values[i]);
    assert_true(fabs(r.mean - 5) < 1e-12);
    assert_true(fabs(cp_running_error(&r) - sqrt(32.0 / 7 / 8)) < 1e-12);
    assert_true(cp_running_error(&(cp_running){.n = 1}) == 0);
}

/* Against sums written out with probabilities. */
static void divergence_is_the_textbooks(void **state) {
    (void)state;
    const float p_logits[] = {1.0f, 3.0f, -2.0f, 0.5f}, q_logits[] = {2.0f, 2.5f, -1.0f, 100.0f};
    const float near[] = {101.0f, 103.0f, 98.0f, 100.5f}; /* p, shifted */
    double p[4], q[4], p_sum = 0, q_sum = 0, kl = 0;
    for (int i = 0; i < 4; i++) {
        p_sum += p[i] = exp((double)p_logits[i]);
        q_sum += q[i] = exp((double)q_logits[i]);
    }
    for (int i = 0; i < 4; i++)
        kl += p[i] / p_sum * log(p[i] / p_sum / (q[i] / q_sum));
    cp_divergence d = cp_divergence_at(p_logits, q_logits, 4, 1);
    assert_true(fabs(d.kl - kl) < 1e-9 * kl);
    assert_true(fabs(d.reference_nll + log(p[1] / p_sum)) < 1e-12);
    assert_true(fabs(d.model_nll - 97.5) < 1e-9);
    assert_false(d.same_top);
    d = cp_divergence_at(p_logits, p_logits, 4, 0);
    assert_true(d.kl == 0 && d.same_top && d.model_nll == d.reference_nll);
    assert_true(fabs(cp_divergence_at(p_logits, near, 4, 0).kl) < 1e-12);
}

static void count_up(void *arg, size_t thread) {
    atomic_size_t *counts = arg;
    counts[thread]++;
}

static void a_team_runs_each_member_once(void **state) {
    (void)state;
    cp_error err;
    atomic_size_t counts[5] = {0};
    assert_cp_ok(cp_team_run(5, count_up, counts, &err));
    assert_cp_ok(cp_team_run(1, count_up, counts, &err));
    assert_int_equal(counts[0], 2);
    for (int i = 1; i < 5; i++)
        assert_int_equal(counts[i], 1);
}

static void probes_measure_something(void **state) {
    (void)state;
    cp_error err;
    cp_read_probe *probe;
    double gb_s;
    cp_spread spread;
    cp_rate_loop loops[CP_MAX_RATE_LOOPS];
    assert_cp_ok(cp_read_probe_create(3, 8 << 20, &probe, &err));
    for (size_t threads = 1; threads <= 3; threads++) {
        assert_cp_ok(cp_read_probe_window(probe, threads, 0.002, &gb_s, &err));
        assert_true(gb_s > 0);
    }
    assert_int_equal(cp_read_probe_window(probe, 4, 0.002, &gb_s, &err), CP_ERR_USAGE);
    cp_read_probe_free(probe);
    size_t n = cp_rate_loops(loops);
    assert_in_range(n, 2, CP_MAX_RATE_LOOPS);
    for (size_t i = 0; i < n; i++) {
        assert_cp_ok(cp_rate_run(&loops[i], 2, 3, 0.001, &spread, &err));
        if (!(spread.min > 0 && spread.min <= spread.median && spread.median <= spread.max))
            fail_msg("%s: %g %g %g", loops[i].name, spread.min, spread.median, spread.max);
    }
}

/* Nothing that a name holds can become markup. */
static void names_are_escaped_in_charts(void **state) {
    (void)state;
    cp_strbuf out;
    cp_strbuf_init(&out, 1 << 16);
    const cp_chart_bar bars[] = {
        {.group = "<g>", .label = "<script>\"&'", .remark = "<r>", .value = {2, 1, 3}, .limit = 4},
        {.group = "<g>", .label = "zero", .series = 11, .value = {0, 0, 0}}};
    cp_svg_bars(&out, "a<b", "x/s", bars, 2);
    assert_int_equal(out.failed, CP_OK);
    assert_null(strstr(out.data, "<script"));
    assert_null(strstr(out.data, "<g>"));
    assert_null(strstr(out.data, "<r>"));
    assert_non_null(strstr(out.data, "&lt;script&gt;&quot;&amp;&#39;"));
    assert_null(strstr(out.data, "nan"));
    cp_strbuf_clear(&out);
    const cp_chart_bar nothing = {.label = "nothing"};
    cp_svg_bars(&out, "empty", "x/s", &nothing, 1);
    const cp_chart_line none = {.label = "none"};
    const double tick = 0;
    cp_svg_lines(&out, "empty", "x", "y", &tick, 1, false, &none, 1);
    assert_null(strstr(out.data, "nan"));
    assert_null(strstr(out.data, "inf"));
    cp_strbuf_deinit(&out);
}

/* ---- bytes of a step --------------------------------------------------------------------------
 */

static void bytes_of_a_token_are_shared_and_rounded_as_promised(void **state) {
    (void)state;
    /* Four runs of 250 bytes a position: the 17th position begins each run's second page. */
    const cp_traffic t = {.weights = 100000,
                          .physical_weights = 102400,
                          .physical_row = 8192,
                          .kv_token = 1000,
                          .n_kv_runs = 4};
    assert_true(cp_traffic_bytes(&t, 0, 1, 1) == 101000);
    assert_true(cp_traffic_bytes(&t, 10, 3, 2) == 62000);
    assert_true(cp_traffic_physical_bytes(&t, 0, 1, 1) == 102400 + 8192 + 4 * 4096);
    assert_true(cp_traffic_physical_bytes(&t, 15, 2, 2) == 51200 + 8192 + 4 * 4096 * 1.5);
}

static cp_traffic traffic_of(const char *dir) {
    cp_error err;
    cp_engine *engine = NULL;
    cp_traffic t;
    assert_cp_ok(cp_engine_open(dir, &(cp_engine_options){.n_threads = 1}, &engine, &err));
    assert_cp_ok(cp_traffic_measure(dir, engine, &t, &err));
    cp_engine_close(engine);
    return t;
}

/* tied-gqa2 is one file of 837,888 bytes, 205 pages, nearly all matrices: only the header's page
 * may be missing, and the copies of the norms (under 16 KiB) come to it. */
static void all_pages_of_a_tied_model_are_read(void **state) {
    (void)state;
    cp_traffic t = traffic_of(GOLDEN "/models/tied-gqa2");
    assert_int_equal(t.weights, 837888);
    assert_int_equal(t.physical_weights % CP_TRAFFIC_PAGE, 0);
    assert_in_range(t.physical_weights, 204 * CP_TRAFFIC_PAGE, 209 * CP_TRAFFIC_PAGE);
    assert_int_equal(t.physical_row, 0);
}

/* Of three files; the table, a fifth of them, is read a row at a time. */
static void of_an_untied_table_only_a_row_is_read(void **state) {
    (void)state;
    const size_t files = 1444592 + 1417144 + 1283896;
    cp_traffic t = traffic_of(GOLDEN "/models/untied-gqa4-sharded");
    assert_in_range(t.weights, files / 2, files * 19 / 20);
    assert_in_range(t.physical_weights, t.weights - 8 * CP_TRAFFIC_PAGE,
                    t.weights + 12 * CP_TRAFFIC_PAGE);
    assert_in_range(t.physical_row, CP_TRAFFIC_PAGE, 2 * CP_TRAFFIC_PAGE);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(bytes_of_a_token_are_shared_and_rounded_as_promised),
    cmocka_unit_test(all_pages_of_a_tied_model_are_read),
    cmocka_unit_test(of_an_untied_table_only_a_row_is_read),
    cmocka_unit_test(number_lists_are_sorted_and_bounded),
    cmocka_unit_test(bad_number_lists_name_option_and_item),
    cmocka_unit_test(repeated_options_add_up),
    cmocka_unit_test(statistics_of_known_values),
    cmocka_unit_test(divergence_is_the_textbooks),
    cmocka_unit_test(a_team_runs_each_member_once),
    cmocka_unit_test(probes_measure_something),
    cmocka_unit_test(names_are_escaped_in_charts),
};
CP_TEST_GROUP(bench_parts, tests)
