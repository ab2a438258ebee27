/* The parts of bench load that compute: schedules, requests, answers, summaries, curves. */
#include "tests/test.h"

#include "bench/arrivals.h"
#include "bench/load_answer.h"
#include "bench/load_summary.h"
#include "bench/statistics.h"
#include "bench/svg_chart.h"

#include <math.h>

static void uniform_arrivals_never_drift(void **state) {
    (void)state;
    cp_arrivals a;
    cp_arrivals_init(&a, 3, false, 1);
    for (int k = 0; k < 3000; k++)
        assert_true(cp_arrivals_next(&a) == k / 3.0);
}

/* Gaps of a Poisson process: mean and standard deviation are 1 / rate, e^-1 of them longer. */
static void poisson_arrivals_are_random_and_repeat(void **state) {
    (void)state;
    enum { N = 200000 };
    cp_arrivals a, again, other;
    double last = 0, sum_sq = 0;
    size_t n_longer = 0;
    cp_arrivals_init(&a, 50, true, 7);
    cp_arrivals_init(&again, 50, true, 7);
    cp_arrivals_init(&other, 50, true, 8);
    for (int k = 0; k < N; k++) {
        double at = cp_arrivals_next(&a), gap = at - last;
        assert_true(gap >= 0 && at == cp_arrivals_next(&again));
        if (k < 100)
            assert_true(at != cp_arrivals_next(&other));
        sum_sq += gap * gap;
        n_longer += gap > 1 / 50.0;
        last = at;
    }
    double mean = last / N, deviation = sqrt(sum_sq / N - mean * mean);
    assert_true(fabs(mean * 50 - 1) < 0.01);
    assert_true(fabs(deviation * 50 - 1) < 0.02);
    assert_true(fabs((double)n_longer / N - exp(-1)) < 0.005);
}

static void slopes_of_known_lines(void **state) {
    (void)state;
    const double x[] = {0, 1, 2, 3}, line[] = {5, 7, 9, 11}, noisy[] = {1, 3, 2, 4},
                 same[] = {2, 2, 2, 2};
    assert_true(fabs(cp_stats_slope(x, line, 4) - 2) < 1e-12);
    assert_true(fabs(cp_stats_slope(x, noisy, 4) - 0.8) < 1e-12);
    assert_true(cp_stats_slope(same, line, 4) == 0);
    const double level[] = {14716928, 14716928, 14716928};
    assert_true(cp_stats_slope(x, level, 3) == 0); /* no dust of rounding */
    assert_true(cp_stats_slope(x, line, 1) == 0 && cp_stats_slope(x, line, 0) == 0);
}

/* ---- summaries ------------------------------------------------------------------------------- */

static cp_load_sample sample(double at_s, cp_load_outcome outcome, double first_s, double total_s,
                             uint32_t tokens) {
    return (cp_load_sample){.at_s = at_s,
                            .late_s = 0.25f,
                            .first_s = (float)first_s,
                            .total_s = (float)total_s,
                            .tokens = tokens,
                            .outcome = (uint8_t)outcome};
}

/* 101 answers that took 0, 1/64, 2/64 ... seconds in a shuffled order: the percentiles are known
 * exactly. */
static void percentiles_of_a_known_distribution(void **state) {
    (void)state;
    cp_load_sample samples[104];
    cp_load_summary s;
    cp_error err;
    for (size_t i = 0; i < 101; i++)
        samples[i] = sample(0.5, CP_LOAD_ANSWERED, (double)(i * 37 % 101) / 128,
                            (double)(i * 37 % 101) / 64, 2);
    samples[101] = sample(-0.5, CP_LOAD_ANSWERED, 90, 99, 2); /* warm-up */
    samples[102] = sample(0.5, CP_LOAD_FAILED, 0.5, 77, 0);   /* no answer */
    samples[103] = sample(0.5, CP_LOAD_REFUSED, -1, 0.125, 0);
    samples[103].retry_after = true;
    cp_load_result r = {.samples = samples, .n = 104, .measured_s = 2};
    assert_cp_ok(cp_load_summarize(&r, &s, &err));
    assert_int_equal(s.whole.n, 101);
    assert_true(s.whole.p50 == 50 / 64.0 && s.whole.p90 == 90 / 64.0);
    assert_true(s.whole.p95 == 95 / 64.0 && s.whole.p99 == 99 / 64.0);
    assert_true(s.whole.max == 100 / 64.0);
    assert_int_equal(s.first.n, 101);
    assert_true(s.first.p50 == 50 / 128.0 && s.first.max == 100 / 128.0);
    assert_int_equal(s.refusal.n, 1);
    assert_true(s.refusal.p50 == 0.125 && s.refusal.p99 == 0.125);
    assert_int_equal(s.late.n, 103);
    assert_true(s.late.max == 0.25);
    assert_int_equal(s.n_sent, 103);
    assert_int_equal(s.n_retry_after, 1);
    cp_load_summary_deinit(&s);
}

/* Rates count what ended in the measured time, whenever it was due; slices likewise. */
static void rates_count_what_ended_in_time(void **state) {
    (void)state;
    cp_load_sample samples[] = {
        sample(-1, CP_LOAD_ANSWERED, 0.5, 1.5, 10), /* due in the warm-up, ends at 0.5 */
        sample(0.25, CP_LOAD_ANSWERED, 0.5, 1, 20), /* ends at 1.25 */
        sample(1.5, CP_LOAD_ANSWERED, 0.5, 1, 40),  /* ends at 2.5: too late */
        sample(1.75, CP_LOAD_LEFT, 0.1, 0.125, 0),  /* ends at 1.875 */
    };
    cp_load_result r = {.samples = samples, .n = 4, .measured_s = 2};
    cp_load_summary s;
    cp_error err;
    assert_cp_ok(cp_load_summarize(&r, &s, &err));
    assert_int_equal(s.n_sent, 3);
    assert_int_equal(s.counts[CP_LOAD_ANSWERED], 2);
    assert_int_equal(s.counts[CP_LOAD_LEFT], 1);
    assert_true(s.offered_per_s == 1.5 && s.answered_per_s == 1 && s.tokens_per_s == 15);
    assert_int_equal(s.n_slices, 2);
    assert_int_equal(s.slices[0].due, 1);
    assert_int_equal(s.slices[1].due, 2);
    assert_int_equal(s.slices[0].ended[CP_LOAD_ANSWERED], 1);
    assert_int_equal(s.slices[1].ended[CP_LOAD_ANSWERED], 1);
    assert_int_equal(s.slices[1].ended[CP_LOAD_LEFT], 1);
    assert_true(s.slices[0].p50_s == 1 && s.slices[1].max_s == 1);
    cp_load_summary_deinit(&s);

    r.n = 0;
    assert_cp_ok(cp_load_summarize(&r, &s, &err)); /* nothing at all */
    assert_true(isnan(s.slices[0].p50_s) && s.answered_per_s == 0 && s.whole.n == 0);
    cp_load_summary_deinit(&s);
}

/* A megabyte a second more; what came before the load counts as such alone. */
static void memory_slope_is_per_minute(void **state) {
    (void)state;
    cp_process_sample samples[14];
    for (int i = 0; i < 14; i++)
        samples[i] = (cp_process_sample){.at_s = i - 3,
                                         .cpu_percent = i < 2    ? 4
                                                        : i == 8 ? 150
                                                                 : 50,
                                         .rss_bytes = i < 2 ? 5e6 : 1e6 * i,
                                         .n_threads = 3,
                                         .n_files = (size_t)i};
    cp_load_result r = {.measured_s = 10,
                        .watch = {.pid = 1, .samples = samples, .n = 14, .n_before = 2}};
    cp_load_summary s;
    cp_error err;
    assert_cp_ok(cp_load_summarize(&r, &s, &err));
    assert_int_equal(s.server.n, 11); /* at 0 to 10 seconds */
    assert_true(fabs(s.server.rss_slope - 60e6) < 1);
    assert_true(s.server.rss_before == 5e6 && s.server.cpu_before == 4);
    assert_true(s.server.rss_first == 3e6 && s.server.rss_last == 13e6);
    assert_true(s.server.cpu_max == 150 && fabs(s.server.cpu_mean - 650 / 11.0) < 1e-9);
    assert_int_equal(s.server.files_max, 13);
    cp_load_summary_deinit(&s);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Feeds a body cut after every `step` bytes; the text of comparison, with NULs as "|". */
static const char *read_answer(cp_load_answer *a, int status, const char *body, size_t step) {
    static char shown[512];
    cp_strbuf text;
    size_t n = strlen(body);
    cp_load_answer_begin(a);
    for (size_t at = 0; at < n; at += step)
        if (!cp_load_answer_feed(a, status, (cp_str){body + at, n - at < step ? n - at : step}))
            break;
    if (!cp_load_answer_end(a, CP_HTTP_WHOLE, status))
        return a->code;
    cp_strbuf_init(&text, sizeof shown - 1);
    cp_load_answer_text(a, &text);
    for (size_t i = 0; i <= text.n; i++)
        shown[i] = i < text.n && !text.data[i] ? '|' : text.data[i];
    cp_strbuf_deinit(&text);
    return shown;
}

static void answers_of_every_kind_are_read(void **state) {
    (void)state;
    static const struct {
        cp_load_target target;
        bool stream;
        int status;
        const char *body, *shown;
        int64_t tokens;
    } cases[] = {
        {CP_LOAD_TRIAGE, false, 200,
         "{\"response\":\"r\",\"thinking\":\"t\",\"acuity\":2,\"trace_id\":\"x\",\"usage\":"
         "{\"prompt_tokens\":1,\"completion_tokens\":4}}",
         "t|r|acuity=2\n|", 4},
        {CP_LOAD_TRIAGE, true, 200,
         "event: rules\ndata: {\"red_flags\":[]}\n\nevent: thinking\ndata: {\"text\":\"t\"}\n\n"
         "event: answer\ndata: {\"text\":\"r1\"}\n\nevent: answer\ndata: {\"text\":\"r2\"}\n\n"
         "event: done\ndata: {\"acuity\":null,\"disposition\":\"d\",\"usage\":{\"prompt_tokens\":1,"
         "\"completion_tokens\":9}}\n\n",
         "t|r1r2|disposition=\"d\"\n|", 9},
        {CP_LOAD_CHAT, false, 200,
         "{\"choices\":[{\"message\":{\"content\":\"c\",\"reasoning_content\":\"t\"},"
         "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":3}}",
         "t|c|finish_reason=stop\n|", 3},
        {CP_LOAD_CHAT, true, 200,
         ": ping\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
         "data: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":null}]}\n\n"
         "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n"
         "data: [DONE]\n\n",
         "|ab||", 2},
        {CP_LOAD_COMPLETIONS, true, 200,
         "data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]\n\n", "|a||", 0},
        {CP_LOAD_HEALTH, false, 200, "{\"status\":\"ok\"}", "|||", 0},
        {CP_LOAD_CHAT, true, 200, "data: {\"choices\":[]}\n\n", "unfinished", 0},
        {CP_LOAD_CHAT, true, 200, "data: {\"choices\":\n\n", "bad_answer", 0},
        {CP_LOAD_CHAT, true, 200, "data: {\"error\":{\"type\":\"t\",\"code\":\"c\"}}\n\n", "c", 0},
        {CP_LOAD_CHAT, true, 503, "{\"error\":{\"type\":\"t\",\"code\":null}}", "t", 0},
        {CP_LOAD_TRIAGE, false, 404, "<html>", "http_404", 0},
        {CP_LOAD_TRIAGE, false, 302, "{}", "http_302", 0},
        {CP_LOAD_TRIAGE, false, 200, "{\"error\":{\"code\":\"a b\\n<c>\"}}", "a_b__c_", 0},
        {CP_LOAD_TRIAGE, false, 500, "{\"error\":{\"code\":\"\"}}", "unnamed", 0},
        {CP_LOAD_TRIAGE, false, 500, "{\"error\":7}", "unnamed", 0},
        {CP_LOAD_TRIAGE, false, 200, "[1,2", "bad_answer", 0},
        {CP_LOAD_TRIAGE, false, 200, "{\"response\":7,\"usage\":{\"prompt_tokens\":-1}}", "|||", 0},
        {CP_LOAD_CHAT, false, 200, "{\"choices\":{\"message\":[]}}", "|||", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cp_load_answer a;
        cp_load_answer_init(&a, cases[i].target, cases[i].stream);
        for (size_t step = 1; step < 200; step = step * 3 + 1) {
            const char *shown = read_answer(&a, cases[i].status, cases[i].body, step);
            if (strcmp(shown, cases[i].shown) != 0 || a.completion_tokens != cases[i].tokens)
                fail_msg("case %zu, step %zu: %s, %lld tokens", i, step, shown,
                         (long long)a.completion_tokens);
        }
        cp_load_answer_deinit(&a);
    }
}

/* A server that never stops sending does not fill the client's memory. */
static void endless_answers_are_given_up(void **state) {
    (void)state;
    static char bytes[1 << 16];
    for (int stream = 0; stream < 2; stream++) {
        cp_load_answer a;
        size_t fed = 0;
        memset(bytes, 'x', sizeof bytes);
        cp_load_answer_init(&a, CP_LOAD_CHAT, stream);
        cp_load_answer_begin(&a);
        while (cp_load_answer_feed(&a, 200, (cp_str){bytes, sizeof bytes}) && fed < 1u << 30)
            fed += sizeof bytes;
        assert_true(fed <= CP_LOAD_ANSWER_BYTES);
        assert_false(cp_load_answer_end(&a, CP_HTTP_STOPPED, 200));
        assert_string_equal(a.code, "too_large");
        cp_load_answer_deinit(&a);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Everything a load allocates by itself, once; the server is a closed port. */
static cp_status use_memory(cp_error *err) {
    char mrn[] = "MRN-1";
    const cp_word_list mrns = {.words = {mrn}, .n = 1};
    const cp_load_recipe recipe = {.target = CP_LOAD_TRIAGE, .mrns = &mrns};
    cp_load_requests requests;
    cp_load_result result = {.n = 0};
    cp_load_plan plan = {.url = "http://127.0.0.1:1/triage",
                         .requests = &requests,
                         .rate = 1000,
                         .open = true,
                         .max_in_flight = 4,
                         .max_requests = 6,
                         .duration_s = 60,
                         .timeout_s = 60,
                         .slow = {.n = 2, .kinds[CP_SLOW_UNREAD] = true}};
    cp_load_summary summary = {.n_sent = 0};
    cp_status status = cp_http_url_parse("url", plan.url, &plan.server, err);
    assert_int_equal(status, CP_OK);
    status = cp_load_requests_make(&recipe, &requests, err);
    if (status == CP_OK)
        status = cp_load_run(&plan, &result, err);
    if (status == CP_OK)
        status = cp_load_summarize(&result, &summary, err);
    if (status == CP_OK)
        assert_int_equal(summary.n_sent, 6);
    cp_load_summary_deinit(&summary);
    cp_load_result_deinit(&result);
    cp_load_requests_deinit(&requests);
    return status;
}

static void failed_allocations_are_errors(void **state) {
    (void)state;
    cp_error err;
    test_alloc_reset();
    assert_cp_ok(use_memory(&err));
    long n = test_alloc_count();
    assert_in_range(n, 10, 2000);
    for (long i = 1; i <= n; i++) {
        test_alloc_fail_at(i, i % 2);
        cp_status status = use_memory(&err);
        test_alloc_fail_at(0, 0);
        if (status != CP_OK && status != CP_ERR_NO_MEMORY)
            fail_msg("allocation %ld of %ld: %d, %s", i, n, status, err.message);
    }
}

/* ---- curves ---------------------------------------------------------------------------------- */

static void curves_have_gaps_and_no_nonsense(void **state) {
    (void)state;
    const double x[] = {0.00001, 1, 2, 3, 50000}, y[] = {1, 2, NAN, 3, 4};
    const cp_chart_curve curves[] = {{"<a>", 0, 5, x, y}, {"none", 9, 0, x, y}};
    for (int log_x = 0; log_x < 2; log_x++) {
        cp_strbuf out;
        cp_strbuf_init(&out, 1 << 16);
        cp_svg_curves(&out, "t", "x", "y", log_x, curves, 2);
        cp_svg_curves(&out, "t", "x", "y", log_x, curves + 1, 1);
        cp_svg_curves(&out, "t", "x", "y", log_x, NULL, 0);
        assert_int_equal(out.failed, CP_OK);
        size_t n = 0;
        for (const char *at = out.data; (at = strstr(at, "<polyline")); at++)
            n++;
        assert_int_equal(n, 2); /* before the gap and after it */
        static const char *const absent[] = {"nan", "inf", "<a>", "e+", "-0.0,"};
        for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
            if (strstr(out.data, absent[i]))
                fail_msg("the drawing has %s: %s", absent[i], out.data);
        cp_strbuf_deinit(&out);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(uniform_arrivals_never_drift),
    cmocka_unit_test(poisson_arrivals_are_random_and_repeat),
    cmocka_unit_test(slopes_of_known_lines),
    cmocka_unit_test(percentiles_of_a_known_distribution),
    cmocka_unit_test(rates_count_what_ended_in_time),
    cmocka_unit_test(memory_slope_is_per_minute),
    cmocka_unit_test(answers_of_every_kind_are_read),
    cmocka_unit_test(endless_answers_are_given_up),
    cmocka_unit_test(failed_allocations_are_errors),
    cmocka_unit_test(curves_have_gaps_and_no_nonsense),
};
CP_TEST_GROUP(bench_load_parts, tests)
