/* Traces: contexts that come and go, what is sampled, the protocol's encoding, an exporter whose
 * receiver misbehaves, and the spans of a real server's requests. */
#include "tests/http_client.h"
#include "tests/otlp_receiver.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "server/trace_export.h"
#include "server/trace_otlp.h"

#include <signal.h>

#define TRACE  "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

/* ---- contexts -------------------------------------------------------------------------------- */

static void contexts_are_taken_only_when_well_formed(void **state) {
    static const struct {
        const char *text;
        bool taken;
        unsigned flags;
    } cases[] = {
        {"00-" TRACE "-" PARENT "-01", true, 1},
        {"00-" TRACE "-" PARENT "-00", true, 0},
        {"00-" TRACE "-" PARENT "-ff", true, 3},
        {"cc-" TRACE "-" PARENT "-03", true, 1},
        {"01-" TRACE "-" PARENT "-01-more", true, 1},
        {"00-" TRACE "-" PARENT "-01-more", false, 0},
        {"01-" TRACE "-" PARENT "-01more", false, 0},
        {"ff-" TRACE "-" PARENT "-01", false, 0},
        {"0x-" TRACE "-" PARENT "-01", false, 0},
        {"00_" TRACE "-" PARENT "-01", false, 0},
        {"00-" TRACE "_" PARENT "-01", false, 0},
        {"00-" TRACE "-" PARENT "_01", false, 0},
        {"00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01", false, 0},
        {"00-" TRACE "-B7AD6B7169203331-01", false, 0},
        {"00-00000000000000000000000000000000-" PARENT "-01", false, 0},
        {"00-" TRACE "-0000000000000000-01", false, 0},
        {"00-" TRACE "-" PARENT "-0G", false, 0},
        {"00-" TRACE "-" PARENT "-0", false, 0},
        {"00-" TRACE "-" PARENT, false, 0},
        {" 00-" TRACE "-" PARENT "-01", false, 0},
        {"", false, 0},
        {NULL, false, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cp_trace_context context;
        char text[CP_TRACE_PARENT_CAP];
        if (cp_trace_parse(cases[i].text, &context) != cases[i].taken)
            fail_msg("%s", cases[i].text);
        assert_int_equal(context.flags, cases[i].flags);
        cp_trace_format(&context, text);
        if (cases[i].taken)
            assert_memory_equal(text + 2, cases[i].text + 2, 51);
        else /* nothing of it is kept */
            assert_string_equal(text, "00-00000000000000000000000000000000-0000000000000000-00");
    }
}

static void states_are_passed_on_only_when_well_formed(void **state) {
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", true},
        {"rojo=1", true},
        {" a=b , c=d\t", true},
        {"a=b,,c=d", true},
        {"fw529a3039@dt=FfffffffF,0a=1,a_-*/9=!\"#", true},
        {"a=b c", true},
        {"", false},
        {",", false},
        {"a", false},
        {"a=", false},
        {"=b", false},
        {"A=b", false},
        {"a b=c", false},
        {"_a=b", false},
        {"a=b=c", false},
        {"a=b,a=c", false},
        {"a=\x80", false},
        {"a=b\x01", false},
        {"a=1,b=2,c", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (cp_trace_state_is_valid(cases[i].text) != cases[i].valid)
            fail_msg("%s", cases[i].text);
    cp_strbuf many;
    cp_strbuf_init(&many, 4096);
    for (int i = 0; i < 33; i++) {
        assert_int_equal(i == 0 || cp_trace_state_is_valid(many.data), true);
        cp_strbuf_printf(&many, "k%d=v,", i);
    }
    assert_false(cp_trace_state_is_valid(many.data));
    cp_strbuf_deinit(&many);
}

static void a_state_that_grows_too_long_is_dropped_whole(void **state) {
    cp_trace_state list = {.text = ""};
    char member[301];
    (void)state;
    memset(member, 'v', 300);
    memcpy(member, "a=", 2);
    member[300] = '\0';
    cp_trace_state_add(&list, "b=1");
    cp_trace_state_add(&list, "c=2");
    assert_string_equal(list.text, "b=1,c=2");
    cp_trace_state_add(&list, member);
    assert_int_equal(strlen(list.text), 308);
    cp_trace_state_add(&list, member);
    assert_string_equal(list.text, "");
    cp_trace_state_add(&list, "d=3");
    assert_string_equal(list.text, "");
}

/* ---- a tracer -------------------------------------------------------------------------------- */

static cp_trace_options options_for(const char *url) {
    cp_trace_options options = {.service_name = "tested",
                                .environment = "development",
                                .sampler = CP_TRACE_SAMPLER_PARENT_RATIO,
                                .ratio = 1,
                                .timeout_ms = 20000,
                                .delay_ms = 10,
                                .queue_cap = 2048};
    snprintf(options.url, sizeof options.url, "%s/v1/traces", url);
    return options;
}

static cp_tracer *open_tracer(cp_trace_options options) {
    cp_tracer *tracer;
    cp_error err;
    assert_cp_ok(cp_tracer_open(&options, &tracer, &err));
    return tracer;
}

static void record(const cp_trace *trace, size_t n) {
    for (size_t i = 0; i < n; i++) {
        cp_trace_span span;
        if (!cp_trace_span_begin(&span, trace, "work", cp_clock_ns()))
            continue;
        cp_trace_span_number(&span, "carepath.n", (int64_t)i);
        cp_trace_span_end(&span, cp_clock_ns());
    }
}

static void await_stats(cp_tracer *tracer, uint64_t exported, uint64_t failed) {
    uint64_t begun = cp_clock_ns();
    for (;;) {
        cp_tracer_stats stats = cp_tracer_get_stats(tracer);
        if (stats.exported == exported && stats.failed == failed)
            return;
        if (cp_clock_ms_since(begun) > WAIT_S * 1e3)
            fail_msg("%d exported, %d failed; expected %d, %d", (int)stats.exported,
                     (int)stats.failed, (int)exported, (int)failed);
        load_sleep_ms(2);
    }
}

static void spans_arrive_as_the_protocol_wants_them(void **state) {
    static const test_otlp_act acts[] = {OTLP_TAKE};
    cp_trace trace;
    cp_trace_span span, inner;
    (void)state;
    test_otlp_start(acts, 1);
    cp_trace_options options = options_for(test_otlp_url());
    options.resource.pairs[0] = (cp_http_field){strdup("team"), strdup("tri\"age")};
    options.resource.pairs[1] = (cp_http_field){strdup("service.name"), strdup("other")};
    options.resource.n = 2;
    options.headers.pairs[0] = (cp_http_field){strdup("X-Key"), strdup("k1")};
    options.headers.n = 1;
    cp_tracer *tracer = open_tracer(options);
    cp_trace_begin(&trace, tracer, "00-" TRACE "-" PARENT "-01", "a=b");
    uint64_t now = cp_clock_ns();
    assert_true(cp_trace_span_begin(&span, &trace, "chat", now - 3000));
    span.subject = "tiny \"model\"";
    cp_trace_span_text(&span, "gen_ai.operation.name", "chat");
    cp_trace_span_text(&span, "nothing", NULL);
    cp_trace_span_words(&span, "gen_ai.response.finish_reasons", "stop");
    cp_trace_span_number(&span, "large", INT64_MIN);
    cp_trace_span_fail(&span, "broken");
    for (int i = 0; i < 20; i++) /* more than fit */
        cp_trace_span_number(&span, (const char *[]){"a", "b", "c", "d", "e", "f", "g", "h"}[i % 8],
                             1);
    assert_true(cp_trace_span_begin_in(&inner, &span, "decode", now - 2000));
    cp_trace_span_end(&inner, now - 1000);
    cp_trace_span_end(&span, now - 9000); /* a clock that lies */
    assert_true(cp_trace_span_begin_request(&span, &trace, "POST", now));
    cp_trace_span_end(&span, now + 5);
    const cJSON *spans = test_otlp_await_spans(3);
    assert_non_null(strstr(test_otlp_bytes()->data, "\r\nX-Key: k1\r\n"));
    assert_non_null(strstr(test_otlp_bytes()->data, "\"tri\\\"age\""));
    assert_null(strstr(test_otlp_bytes()->data, "\"other\""));
    const cJSON *chat = test_otlp_find(spans, "chat tiny \"model\"");
    const cJSON *decode = test_otlp_find(spans, "decode");
    const cJSON *request = test_otlp_find(spans, "POST");
    assert_true(chat && decode && request);
    assert_string_equal(cp_json_text(chat, "traceId", ""), TRACE);
    assert_string_equal(test_otlp_attribute(chat, "large"), "-9223372036854775808");
    assert_string_equal(test_otlp_attribute(chat, "gen_ai.response.finish_reasons"), "stop");
    assert_string_equal(test_otlp_attribute(chat, "error.type"), "broken");
    assert_null(test_otlp_attribute(chat, "nothing"));
    assert_int_equal(cp_json_member(cp_json_member(chat, "status"), "code")->valueint, 2);
    assert_null(cp_json_member(cp_json_member(decode, "status"), "code"));
    assert_string_equal(cp_json_text(chat, "startTimeUnixNano", ""),
                        cp_json_text(chat, "endTimeUnixNano", "x"));
    assert_string_equal(cp_json_text(decode, "parentSpanId", ""), cp_json_text(chat, "spanId", ""));
    assert_string_equal(cp_json_text(chat, "parentSpanId", ""),
                        cp_json_text(request, "spanId", ""));
    assert_string_equal(cp_json_text(request, "parentSpanId", ""), PARENT);
    assert_int_equal(cp_json_member(request, "flags")->valueint, 0x301);
    assert_int_equal(cp_json_member(chat, "flags")->valueint, 0x101);
    assert_int_equal(cp_json_member(request, "kind")->valueint, 2);
    cp_tracer_close(tracer);
    test_otlp_stop();
}

static size_t n_sampled(cp_tracer *tracer, const char *parent, size_t n) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        cp_trace trace;
        cp_trace_begin(&trace, tracer, parent, "");
        found += trace.tracer != NULL;
        assert_int_equal((trace.context.flags & CP_TRACE_SAMPLED) != 0, trace.tracer != NULL);
    }
    return found;
}

static void samplers_keep_what_they_say(void **state) {
    static const char yes[] = "00-" TRACE "-" PARENT "-01", no[] = "00-" TRACE "-" PARENT "-00";
    static const struct {
        cp_trace_sampler sampler;
        double ratio;
        int roots, with_yes, with_no; /* of 10 */
    } cases[] = {
        {CP_TRACE_SAMPLER_PARENT_RATIO, 1, 10, 10, 0}, {CP_TRACE_SAMPLER_PARENT_RATIO, 0, 0, 10, 0},
        {CP_TRACE_SAMPLER_PARENT_ON, 0, 10, 10, 0},    {CP_TRACE_SAMPLER_PARENT_OFF, 1, 0, 10, 0},
        {CP_TRACE_SAMPLER_RATIO, 1, 10, 10, 10},       {CP_TRACE_SAMPLER_RATIO, 0, 0, 0, 0},
        {CP_TRACE_SAMPLER_ON, 0, 10, 10, 10},          {CP_TRACE_SAMPLER_OFF, 1, 0, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cp_trace_options options = options_for("http://127.0.0.1:1");
        options.sampler = cases[i].sampler;
        options.ratio = cases[i].ratio;
        cp_tracer *tracer = open_tracer(options);
        assert_int_equal(n_sampled(tracer, NULL, 10), cases[i].roots);
        assert_int_equal(n_sampled(tracer, yes, 10), cases[i].with_yes);
        assert_int_equal(n_sampled(tracer, no, 10), cases[i].with_no);
        cp_tracer_close(tracer);
    }
    cp_trace_options options = options_for("http://127.0.0.1:1");
    options.ratio = 0.25;
    cp_tracer *tracer = open_tracer(options);
    size_t n = n_sampled(tracer, NULL, 4000);
    assert_in_range(n, 800, 1200); /* seven standard deviations */
    cp_tracer_close(tracer);
}

static void without_a_tracer_contexts_pass_through(void **state) {
    cp_trace trace;
    cp_trace_span span;
    (void)state;
    cp_trace_begin(&trace, NULL, "00-" TRACE "-" PARENT "-01", "a=b");
    assert_false(cp_trace_span_begin(&span, &trace, "work", 1));
    cp_trace_span_text(&span, "k", "v");
    cp_trace_span_end(&span, 2);
    cp_trace_carrier carrier = cp_trace_carrier_of(&trace, NULL);
    assert_string_equal(carrier.traceparent, "00-" TRACE "-" PARENT "-01");
    assert_string_equal(carrier.tracestate, "a=b");
    cp_trace_begin(&trace, NULL, "00-" TRACE "-" PARENT "-01", "not a state");
    assert_string_equal(trace.state, "");
    cp_trace_begin(&trace, NULL, "nonsense", "a=b");
    assert_string_equal(trace.state, "");
    carrier = cp_trace_carrier_of(&trace, NULL);
    assert_int_equal(strlen(carrier.traceparent), 55);
    assert_true(strncmp(carrier.traceparent + 3, TRACE, 32) != 0);
    assert_string_equal(carrier.traceparent + 53, "02"); /* random, not sampled */
}

/* ---- receivers ------------------------------------------------------------------------------- */

/* Twenty spans to a receiver with this script; what became of them, and in how many requests. */
static void send_twenty(const test_otlp_act *acts, size_t n, uint64_t exported,
                        uint64_t n_requests) {
    cp_trace trace;
    test_otlp_start(acts, n);
    cp_trace_options options = options_for(test_otlp_url());
    options.delay_ms = 60000; /* they go when all are there */
    options.queue_cap = 20;
    cp_tracer *tracer = open_tracer(options);
    cp_trace_begin(&trace, tracer, NULL, "");
    record(&trace, 20);
    await_stats(tracer, exported, 20 - exported);
    cp_tracer_stats stats = cp_tracer_get_stats(tracer);
    assert_int_equal(stats.requests, n_requests);
    assert_int_equal(stats.dropped, 0);
    assert_int_equal(cJSON_GetArraySize(test_otlp_spans()),
                     acts[n - 1] == OTLP_TAKE || acts[n - 1] == OTLP_PARTIAL ? 20 : 0);
    cp_tracer_close(tracer);
    test_otlp_stop();
}
#define SEND_TWENTY(exported, n_requests, ...)                                                     \
    do {                                                                                           \
        static const test_otlp_act script[] = {__VA_ARGS__};                                       \
        send_twenty(script, sizeof script / sizeof script[0], exported, n_requests);               \
    } while (0)

static void what_may_be_tried_again_is(void **state) {
    (void)state;
    SEND_TWENTY(20, 1, OTLP_TAKE);
    SEND_TWENTY(20, 4, OTLP_429, OTLP_503, OTLP_503, OTLP_TAKE);
    SEND_TWENTY(20, 3, OTLP_502, OTLP_504, OTLP_TAKE);
    SEND_TWENTY(20, 2, OTLP_CUT, OTLP_TAKE);
}

static void what_is_refused_is_counted_and_not_sent_again(void **state) {
    (void)state;
    SEND_TWENTY(0, 1, OTLP_400);
    SEND_TWENTY(0, 1, OTLP_500);
    SEND_TWENTY(18, 1, OTLP_PARTIAL);
    SEND_TWENTY(0, 1, OTLP_HUGE);
    SEND_TWENTY(0, 1, OTLP_NONSENSE);
    SEND_TWENTY(0, 1, OTLP_LATER); /* nobody waits for a week */
}

static void a_rejection_is_a_small_number_or_none(void **state) {
    static const struct {
        const char *text;
        size_t n;
    } cases[] = {
        {"{\"partialSuccess\":{\"rejectedSpans\":\"3\"}}", 3},
        {"{\"partialSuccess\":{\"rejectedSpans\":4}}", 4},
        {"{\"partialSuccess\":{\"rejectedSpans\":-4}}", 0},
        {"{\"partialSuccess\":{\"rejectedSpans\":\"-1\"}}", 0},
        {"{\"partialSuccess\":{\"rejectedSpans\":1e300}}", 0},
        {"{\"partialSuccess\":{\"rejectedSpans\":\"99999999999999999999\"}}", 0},
        {"{\"partialSuccess\":{\"rejectedSpans\":[]}}", 0},
        {"{\"partialSuccess\":3}", 0},
        {"[]", 0},
        {"{}", 0},
        {"", 0},
        {"<html>", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(cp_otlp_n_rejected((cp_str){cases[i].text, strlen(cases[i].text)}),
                         cases[i].n);
}

/* The rest of the server never waits: what does not fit is dropped, and counted. */
static void a_silent_receiver_costs_spans_and_nothing_else(void **state) {
    static const test_otlp_act acts[] = {OTLP_SILENT};
    cp_trace trace;
    (void)state;
    test_otlp_start(acts, 1);
    cp_trace_options options = options_for(test_otlp_url());
    options.queue_cap = 64;
    cp_tracer *tracer = open_tracer(options);
    cp_trace_begin(&trace, tracer, NULL, "");
    record(&trace, 1);
    test_otlp_await_requests(1); /* the thread hangs on it */
    record(&trace, 1000);
    cp_tracer_stats stats = cp_tracer_get_stats(tracer);
    assert_int_equal(stats.waiting, 64);
    assert_int_equal(stats.dropped, 936);
    assert_int_equal(stats.exported, 0);
    cp_tracer_close(tracer); /* comes back although nobody answers */
    test_otlp_stop();
}

static void a_trickling_receiver_has_a_limit_of_time(void **state) {
    static const test_otlp_act acts[] = {OTLP_TRICKLE, OTLP_TAKE};
    cp_trace trace;
    (void)state;
    test_otlp_start(acts, 2);
    cp_trace_options options = options_for(test_otlp_url());
    options.timeout_ms = 100;
    cp_tracer *tracer = open_tracer(options);
    cp_trace_begin(&trace, tracer, NULL, "");
    record(&trace, 1);
    await_stats(tracer, 1, 0); /* by the second try, unless this machine is very slow */
    assert_true(test_otlp_n_requests() >= 2);
    cp_tracer_close(tracer);
    test_otlp_stop();
}

static void closing_sends_what_waits(void **state) {
    static const test_otlp_act acts[] = {OTLP_TAKE};
    cp_trace trace;
    (void)state;
    test_otlp_start(acts, 1);
    cp_trace_options options = options_for(test_otlp_url());
    options.delay_ms = 60000;
    cp_tracer *tracer = open_tracer(options);
    cp_trace_begin(&trace, tracer, NULL, "");
    record(&trace, 3);
    cp_tracer_close(tracer);
    assert_int_equal(cJSON_GetArraySize(test_otlp_spans()), 3);
    test_otlp_stop();
}

static void recording_a_span_allocates_nothing(void **state) {
    cp_trace trace;
    (void)state;
    cp_trace_options options = options_for("http://127.0.0.1:1");
    options.delay_ms = 60000;
    cp_tracer *tracer = open_tracer(options);
    cp_trace_begin(&trace, tracer, "00-" TRACE "-" PARENT "-01", "a=b");
    test_alloc_reset();
    record(&trace, 500);
    assert_int_equal(test_alloc_count(), 0);
    cp_tracer_close(tracer);
}

typedef struct recorder {
    pthread_t thread;
    cp_tracer *tracer;
} recorder;

static void *record_much(void *arg) {
    const recorder *me = arg;
    for (int i = 0; i < 50; i++) {
        cp_trace trace;
        cp_trace_begin(&trace, me->tracer, NULL, "");
        record(&trace, 40);
    }
    return NULL;
}

/* Every span is sent, dropped or failed, exactly once, whoever makes it while the thread sends. */
static void many_threads_lose_no_span_unseen(void **state) {
    static const test_otlp_act acts[] = {OTLP_TAKE, OTLP_503, OTLP_TAKE, OTLP_400, OTLP_TAKE};
    recorder recorders[4];
    (void)state;
    test_otlp_start(acts, 5);
    cp_tracer *tracer = open_tracer(options_for(test_otlp_url()));
    for (size_t i = 0; i < 4; i++) {
        recorders[i].tracer = tracer;
        assert_int_equal(pthread_create(&recorders[i].thread, NULL, record_much, &recorders[i]), 0);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_join(recorders[i].thread, NULL);
    uint64_t begun = cp_clock_ns();
    cp_tracer_stats stats;
    do {
        stats = cp_tracer_get_stats(tracer);
        assert_true(cp_clock_ms_since(begun) < WAIT_S * 1e3);
        load_sleep_ms(2);
    } while (stats.exported + stats.failed + stats.dropped < 8000);
    assert_int_equal(stats.exported + stats.failed + stats.dropped, 8000);
    assert_int_equal(cJSON_GetArraySize(test_otlp_spans()), stats.exported);
    cp_tracer_close(tracer);
    test_otlp_stop();
}

/* ---- settings -------------------------------------------------------------------------------- */

static cp_settings settings_of(const char *endpoint) {
    return (cp_settings){.otlp_endpoint = endpoint,
                         .otlp_traces_endpoint = "",
                         .otlp_headers = "",
                         .otel_service_name = "carepath",
                         .otel_resource = "",
                         .otel_sampler_arg = "1",
                         .otlp_timeout_ms = 10000,
                         .otel_delay_ms = 5000,
                         .otel_queue = 64};
}

static void settings_say_where_traces_go(void **state) {
    cp_trace_options options;
    cp_error err;
    (void)state;
    cp_settings s = settings_of("");
    assert_cp_ok(cp_trace_options_read(&s, &options, &err));
    assert_string_equal(options.url, "");
    cp_tracer *tracer;
    assert_cp_ok(cp_tracer_open(&options, &tracer, &err));
    assert_null(tracer); /* and no thread */
    s = settings_of("http://127.0.0.1:4318//");
    assert_cp_ok(cp_trace_options_read(&s, &options, &err));
    assert_string_equal(options.url, "http://127.0.0.1:4318/v1/traces");
    s.otlp_traces_endpoint = "https://collector:4319/own";
    s.otlp_headers = " api-key=a%20b%2Cc , x-two = 2=3,";
    s.otel_resource = "k8s.io/name=x,region=%c3%a9";
    s.otel_sampler_arg = "0.5";
    assert_cp_ok(cp_trace_options_read(&s, &options, &err));
    assert_string_equal(options.url, "https://collector:4319/own");
    assert_int_equal(options.headers.n, 2);
    assert_string_equal(options.headers.pairs[0].value, "a b,c");
    assert_string_equal(options.headers.pairs[1].name, "x-two");
    assert_string_equal(options.headers.pairs[1].value, "2=3");
    assert_string_equal(options.resource.pairs[1].value, "\xc3\xa9");
    assert_true(options.ratio > 0.4999 && options.ratio < 0.5001);
    cp_trace_options_deinit(&options);
    s.otel_disabled = 1;
    assert_cp_ok(cp_trace_options_read(&s, &options, &err));
    assert_string_equal(options.url, "");
    cp_trace_options_deinit(&options);
}

static void settings_that_are_wrong_are_named_and_not_shown(void **state) {
    static const struct {
        const char *endpoint, *headers, *resource, *arg, *named;
    } cases[] = {
        {"ftp://a", "", "", "1", "OTEL_EXPORTER_OTLP_ENDPOINT"},
        {"http://user:pw@a", "", "", "1", "OTEL_EXPORTER_OTLP_ENDPOINT"},
        {"http://a?q=canary", "", "", "1", "OTEL_EXPORTER_OTLP_ENDPOINT"},
        {"http://a", "canary", "", "1", "OTEL_EXPORTER_OTLP_HEADERS"},
        {"http://a", "a=canary%0d%0ab", "", "1", "OTEL_EXPORTER_OTLP_HEADERS"},
        {"http://a", "a=canary%zz", "", "1", "OTEL_EXPORTER_OTLP_HEADERS"},
        {"http://a", "a=canary%4", "", "1", "OTEL_EXPORTER_OTLP_HEADERS"},
        {"http://a", "a b=canary", "", "1", "OTEL_EXPORTER_OTLP_HEADERS"},
        {"http://a", "a/b=canary", "", "1", "OTEL_EXPORTER_OTLP_HEADERS"},
        {"http://a", "=canary", "", "1", "OTEL_EXPORTER_OTLP_HEADERS"},
        {"http://a", "", "canary", "1", "OTEL_RESOURCE_ATTRIBUTES"},
        {"http://a", "", "a=%ff", "1", "OTEL_RESOURCE_ATTRIBUTES"},
        {"http://a", "", "", "1.5", "OTEL_TRACES_SAMPLER_ARG"},
        {"http://a", "", "", "half", "OTEL_TRACES_SAMPLER_ARG"},
        {"http://a", "", "", "nan", "OTEL_TRACES_SAMPLER_ARG"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cp_trace_options options;
        cp_error err = {0};
        cp_settings s = settings_of(cases[i].endpoint);
        s.otlp_headers = cases[i].headers;
        s.otel_resource = cases[i].resource;
        s.otel_sampler_arg = cases[i].arg;
        if (cp_trace_options_read(&s, &options, &err) != CP_ERR_USAGE ||
            !strstr(err.message, cases[i].named) || strstr(err.message, "canary"))
            fail_msg("case %zu: %s", i, err.message);
        cp_trace_options_deinit(&options);
    }
    cp_strbuf many;
    cp_strbuf_init(&many, 20000);
    for (int i = 0; i < 33; i++)
        cp_strbuf_printf(&many, "k%d=v,", i);
    cp_settings s = settings_of("http://a");
    cp_trace_options options;
    cp_error err;
    s.otel_resource = many.data;
    assert_int_equal(cp_trace_options_read(&s, &options, &err), CP_ERR_USAGE);
    cp_trace_options_deinit(&options);
    cp_strbuf_deinit(&many);
}

/* ---- a server -------------------------------------------------------------------------------- */

/* A db-api that knows nobody and remembers what it was asked with. */
static char db_head[8192];
static pthread_mutex_t db_lock = PTHREAD_MUTEX_INITIALIZER;

static bool know_nobody(const load_exchange *x) {
    pthread_mutex_lock(&db_lock);
    snprintf(db_head, sizeof db_head, "%s", x->head);
    pthread_mutex_unlock(&db_lock);
    return load_answer(x, 404, "", "{\"detail\":\"no\"}");
}

/* A server whose traces come to the receiver within milliseconds; `env` as for test_server_start,
 * 8 at most. */
static test_server start_traced(const char *const *env) {
    static char endpoint[128];
    const char *all[16] = {endpoint, "OTEL_BSP_SCHEDULE_DELAY=10", "LOG_LEVEL=debug"};
    snprintf(endpoint, sizeof endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT=%s", test_otlp_url());
    for (size_t i = 0; env && env[i]; i++)
        all[3 + i] = env[i];
    test_server server = test_server_start(all);
    test_server_await_ready(&server);
    return server;
}

static const cJSON *await_span(const char *name) {
    uint64_t begun = cp_clock_ns();
    for (;;) {
        const cJSON *found = test_otlp_find(test_otlp_spans(), name);
        if (found)
            return found;
        if (cp_clock_ms_since(begun) > WAIT_S * 1e3)
            fail_msg("no span \"%s\" came", name);
        load_sleep_ms(5);
    }
}

static void assert_attribute(const cJSON *span, const char *key, const char *value) {
    const char *found = test_otlp_attribute(span, key);
    if (!found || strcmp(found, value) != 0)
        fail_msg("%s is \"%s\", expected \"%s\"", key, found ? found : "", value);
}

static void assert_child(const cJSON *span, const cJSON *parent) {
    assert_string_equal(cp_json_text(span, "parentSpanId", ""), cp_json_text(parent, "spanId", ""));
    assert_string_equal(cp_json_text(span, "traceId", ""), cp_json_text(parent, "traceId", ""));
}

static void free_reply(test_reply reply, int status) {
    assert_int_equal(reply.status, status);
    test_reply_free(&reply);
}

static void a_request_to_a_model_becomes_spans(void **state) {
    static const test_otlp_act acts[] = {OTLP_TAKE};
    static const char headers[] =
        "Content-Type: application/json\r\ntraceparent: 00-" TRACE "-" PARENT "-01\r\n";
    (void)state;
    test_otlp_start(acts, 1);
    test_server server =
        start_traced((const char *const[]){"LLM_MODE=" GOLDEN "/models/tied-gqa2", NULL});
    free_reply(test_request(&server, "POST", "/v1/completions", headers,
                            "{\"prompt\":\"" CANARY_NOTE "\",\"max_tokens\":4,"
                            "\"ignore_eos\":true,\"user\":\"" CANARY_NAME "\"}"),
               200);
    const cJSON *request = await_span("POST /v1/completions");
    const cJSON *spans = test_otlp_spans();
    request = test_otlp_find(spans, "POST /v1/completions");
    const cJSON *model = test_otlp_find(spans, "text_completion tied-gqa2");
    assert_non_null(model);
    assert_string_equal(cp_json_text(request, "traceId", ""), TRACE);
    assert_string_equal(cp_json_text(request, "parentSpanId", ""), PARENT);
    assert_attribute(request, "http.route", "/v1/completions");
    assert_attribute(request, "http.response.status_code", "200");
    assert_child(model, request);
    assert_attribute(model, "gen_ai.operation.name", "text_completion");
    assert_attribute(model, "gen_ai.provider.name", "carepath");
    assert_attribute(model, "gen_ai.request.model", "tied-gqa2");
    assert_attribute(model, "gen_ai.request.max_tokens", "4");
    assert_true(atoi(test_otlp_attribute(model, "gen_ai.usage.input_tokens")) > 0);
    assert_true(atoi(test_otlp_attribute(model, "gen_ai.usage.output_tokens")) > 0);
    assert_child(test_otlp_find(spans, "queue"), model);
    assert_child(test_otlp_find(spans, "prefill"), model);
    assert_child(test_otlp_find(spans, "decode"), model);
    test_server_stop(&server, SIGTERM);
    assert_null(strstr(test_otlp_bytes()->data, CANARY_NOTE));
    assert_null(strstr(test_otlp_bytes()->data, "Zebediah"));
    test_otlp_stop();
}

static void a_triage_becomes_spans_of_its_stages(void **state) {
    static const test_otlp_act acts[] = {OTLP_TAKE};
    static const char *const stages[] = {"store lookup", "rules", "retrieval",  "prompt",
                                         "chat mock",    "reply", "audit write"};
    char audit[TEST_DATA_CAP];
    uint64_t last = 0;
    (void)state;
    test_otlp_start(acts, 1);
    snprintf(audit, sizeof audit, "AUDIT_FILE=%s", test_path(test_tmp_dir(), "audit.log"));
    test_server server = start_traced((const char *const[]){audit, NULL});
    free_reply(test_triage(&server, "{\"patient_mrn\":\"MRN-001\",\"query\":\"cough\"}"), 200);
    test_server_stop(&server, SIGTERM);
    const cJSON *spans = test_otlp_spans();
    const cJSON *request = test_otlp_find(spans, "POST /triage");
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        const cJSON *span = test_otlp_find(spans, stages[i]);
        if (!span)
            fail_msg("no span \"%s\"", stages[i]);
        assert_child(span, request);
        uint64_t begun = strtoull(cp_json_text(span, "startTimeUnixNano", ""), NULL, 10);
        assert_true(begun >= last); /* one after the other */
        last = begun;
    }
    assert_child(test_otlp_find(spans, "search"), test_otlp_find(spans, "retrieval"));
    assert_attribute(test_otlp_find(spans, "retrieval"), "carepath.retrieval_mode", "lexical");
    assert_attribute(test_otlp_find(spans, "store lookup"), "carepath.outcome", "found");
    assert_attribute(test_otlp_find(spans, "reply"), "carepath.acuity_source", "model");
    test_otlp_stop();
}

/* What a client sends in path, names and headers. */
static void spans_tell_nothing_of_patients(void **state) {
    static const test_otlp_act acts[] = {OTLP_TAKE};
    static const char *const canaries[] = {"MRN-001", "Zebediah", CANARY_PHONE, CANARY_NOTE,
                                           "quokka",  "ssn-9",    "cpk_"};
    (void)state;
    test_otlp_start(acts, 1);
    test_server server = start_traced(NULL);
    free_reply(test_triage(&server,
                           "{\"patient_mrn\":\"MRN-001\",\"session_id\":\"quokka-1\","
                           "\"query\":\"" CANARY_NAME " " CANARY_NOTE " crushing chest pain\"}"),
               200);
    free_reply(test_request(&server, "GET", "/patients/MRN-001/summary?quokka=1", NULL, NULL), 200);
    free_reply(test_request(&server, "GET", "/patients/MRN-001quokka", NULL, NULL), 404);
    free_reply(test_request(&server, "GET", "/quokka/MRN-001", NULL, NULL), 404);
    free_reply(test_request(&server, "QUOKKA", "/quokka", NULL, NULL), 404);
    free_reply(test_request(&server, "GET", "/v1/models/quokka",
                            "Authorization: Bearer cpk_quokka\r\nUser-Agent: ssn-9\r\n"
                            "X-Request-Id: quokka\r\nX-Deadline-Ms: 900\r\n"
                            "traceparent: 00-" TRACE "-" PARENT "-01\r\n"
                            "tracestate: quokka=ssn-9\r\n",
                            NULL),
               404);
    await_span("GET /v1/models/{}");
    test_server_stop(&server, SIGTERM); /* sends the rest */
    const cJSON *spans = test_otlp_spans();
    assert_non_null(test_otlp_find(spans, "POST /triage"));
    assert_non_null(test_otlp_find(spans, "GET /patients/{}/summary"));
    assert_non_null(test_otlp_find(spans, "HTTP"));
    assert_null(test_otlp_find(spans, "GET /ready"));
    for (size_t i = 0; i < sizeof canaries / sizeof canaries[0]; i++)
        if (strstr(test_otlp_bytes()->data, canaries[i]))
            fail_msg("traces hold \"%s\"", canaries[i]);
    test_otlp_stop();
}

static void stores_are_asked_within_the_trace(void **state) {
    static const test_otlp_act acts[] = {OTLP_TAKE};
    static const char headers[] =
        "tracestate: a=1\r\ntracestate: b=2\r\ntraceparent: 00-" TRACE "-" PARENT "-01\r\n";
    load_server db;
    char url[128], parent[128];
    (void)state;
    test_otlp_start(acts, 1);
    load_server_start(&db, know_nobody);
    snprintf(url, sizeof url, "DB_API_BASE_URL=%s", db.url);
    test_server server = start_traced((const char *const[]){"PATIENT_STORE=http", url, NULL});
    free_reply(test_request(&server, "GET", "/patients/MRN-001", headers, NULL), 404);
    await_span("GET /patients/{}");
    const cJSON *spans = test_otlp_spans();
    const cJSON *lookup = test_otlp_find(spans, "store lookup");
    assert_child(lookup, test_otlp_find(spans, "GET /patients/{}"));
    assert_attribute(lookup, "carepath.store", "http");
    assert_attribute(lookup, "carepath.outcome", "not_found");
    assert_int_equal(cp_json_member(lookup, "kind")->valueint, 3);
    snprintf(parent, sizeof parent, "traceparent: 00-" TRACE "-%s-01\r\n",
             cp_json_text(lookup, "spanId", ""));
    pthread_mutex_lock(&db_lock);
    assert_non_null(strstr(db_head, parent));
    assert_non_null(strstr(db_head, "tracestate: a=1,b=2\r\n"));
    pthread_mutex_unlock(&db_lock);
    test_server_stop(&server, SIGTERM);
    load_server_stop(&db);
    test_otlp_stop();
}

static void without_a_receiver_contexts_still_reach_stores(void **state) {
    load_server db;
    char url[128];
    (void)state;
    load_server_start(&db, know_nobody);
    snprintf(url, sizeof url, "DB_API_BASE_URL=%s", db.url);
    test_server server = test_server_start((const char *const[]){"PATIENT_STORE=http", url, NULL});
    test_server_await_ready(&server);
    free_reply(test_request(&server, "GET", "/patients/MRN-001",
                            "traceparent: 00-" TRACE "-" PARENT "-01\r\n", NULL),
               404);
    pthread_mutex_lock(&db_lock);
    assert_non_null(strstr(db_head, "traceparent: 00-" TRACE "-" PARENT "-01\r\n"));
    pthread_mutex_unlock(&db_lock);
    test_server_stop(&server, SIGTERM);
    load_server_stop(&db);
}

/* A second traceparent makes both worthless; the trace id of answer and log is the trace's. */
static void the_log_and_the_answer_tell_the_trace_id(void **state) {
    static const test_otlp_act acts[] = {OTLP_TAKE};
    (void)state;
    test_otlp_start(acts, 1);
    test_server server = start_traced(NULL);
    test_reply reply = test_request(&server, "GET", "/nothing",
                                    "traceparent: 00-" TRACE "-" PARENT "-01\r\n"
                                    "traceparent: 00-" TRACE "-" PARENT "-01\r\n",
                                    NULL);
    char trace_id[64];
    snprintf(trace_id, sizeof trace_id, "%s", test_reply_header(&reply, "X-Trace-Id"));
    assert_int_equal(strlen(trace_id), 32);
    assert_string_not_equal(trace_id, TRACE);
    test_reply_free(&reply);
    const cJSON *span = await_span("GET");
    assert_string_equal(cp_json_text(span, "traceId", ""), trace_id);
    assert_null(cp_json_member(span, "parentSpanId"));
    cp_strbuf log = test_server_log(&server);
    assert_non_null(strstr(cp_strbuf_text(&log), trace_id));
    cp_strbuf_deinit(&log);
    test_server_stop(&server, SIGTERM);
    test_otlp_stop();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(contexts_are_taken_only_when_well_formed),
    cmocka_unit_test(states_are_passed_on_only_when_well_formed),
    cmocka_unit_test(a_state_that_grows_too_long_is_dropped_whole),
    cmocka_unit_test(spans_arrive_as_the_protocol_wants_them),
    cmocka_unit_test(samplers_keep_what_they_say),
    cmocka_unit_test(without_a_tracer_contexts_pass_through),
    cmocka_unit_test(what_may_be_tried_again_is),
    cmocka_unit_test(what_is_refused_is_counted_and_not_sent_again),
    cmocka_unit_test(a_rejection_is_a_small_number_or_none),
    cmocka_unit_test(a_silent_receiver_costs_spans_and_nothing_else),
    cmocka_unit_test(a_trickling_receiver_has_a_limit_of_time),
    cmocka_unit_test(closing_sends_what_waits),
    cmocka_unit_test(recording_a_span_allocates_nothing),
    cmocka_unit_test(many_threads_lose_no_span_unseen),
    cmocka_unit_test(settings_say_where_traces_go),
    cmocka_unit_test(settings_that_are_wrong_are_named_and_not_shown),
    cmocka_unit_test(a_request_to_a_model_becomes_spans),
    cmocka_unit_test(a_triage_becomes_spans_of_its_stages),
    cmocka_unit_test(spans_tell_nothing_of_patients),
    cmocka_unit_test(stores_are_asked_within_the_trace),
    cmocka_unit_test(without_a_receiver_contexts_still_reach_stores),
    cmocka_unit_test(the_log_and_the_answer_tell_the_trace_id),
};
CP_TEST_GROUP(trace, tests)
