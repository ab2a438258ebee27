/* What stands around the keys: networks and forwarded addresses, origins, the rules at start, the
 * secret, times. */
#include "tests/test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "server/http_cors.h"
#include "server/http_proxy.h"
#include "server/secret.h"
#include "server/start_rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/stat.h>

static cp_address address(const char *text) {
    cp_address out;
    if (!cp_address_parse((cp_str){text, strlen(text)}, &out))
        fail_msg("no address: %s", text);
    return out;
}

static const char *shown(const cp_address *a) {
    static char text[CP_ADDRESS_CAP];
    cp_address_text(a, text);
    return text;
}

/* ---- addresses ------------------------------------------------------------------------------- */

static void addresses_are_read_in_every_form_a_proxy_writes(void **state) {
    static const char *const forms[][2] = {
        {"192.0.2.1", "192.0.2.1"},
        {"192.0.2.1:80", "192.0.2.1"},
        {"2001:DB8::1", "2001:db8::1"},
        {"[2001:db8::1]", "2001:db8::1"},
        {"[2001:db8::1]:443", "2001:db8::1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"::", "::"},
    };
    static const char *const bad[] = {"",
                                      " ",
                                      "localhost",
                                      "192.0.2",
                                      "192.0.2.1.1",
                                      "192.0.2.256",
                                      "0x7f000001",
                                      "2130706433",
                                      "192.0.2.1:",
                                      "192.0.2.1:x",
                                      "192.0.2.1:123456",
                                      "[2001:db8::1",
                                      "[2001:db8::1]x",
                                      "[2001:db8::1]:",
                                      "2001:db8::1%eth0",
                                      "unknown",
                                      "_hidden",
                                      "192.0.2.1 ",
                                      "1:2:3:4:5:6:7:8:9",
                                      "[]",
                                      "[192.0.2.1",
                                      "fe80:0000:0000:0000:0000:0000:0000:0000:00000000000001"};
    cp_address out;
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(forms); i++) {
        out = address(forms[i][0]);
        assert_string_equal(shown(&out), forms[i][1]);
    }
    for (size_t i = 0; i < CP_COUNT_OF(bad); i++)
        if (cp_address_parse((cp_str){bad[i], strlen(bad[i])}, &out))
            fail_msg("taken for an address: %s", bad[i]);
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    out = cp_address_of((struct sockaddr *)&v4);
    assert_string_equal(shown(&out), "127.0.0.1");
    assert_true(cp_address_is_loopback(&out));
    out = cp_address_of((struct sockaddr *)&v6);
    assert_true(cp_address_is_loopback(&out));
    out = cp_address_of(NULL);
    assert_false(cp_address_is_loopback(&out));
    out = address("128.0.0.1");
    assert_false(cp_address_is_loopback(&out));
}

static void a_network_holds_what_its_prefix_says(void **state) {
    static const struct {
        const char *list, *inside, *outside;
    } cases[] = {
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"192.0.2.0/25", "192.0.2.127", "192.0.2.128"},
        {"192.0.2.7", "192.0.2.7", "192.0.2.6"},
        {"192.0.2.6/31", "192.0.2.7", "192.0.2.8"},
        {"0.0.0.0/0", "203.0.113.9", "2001:db8::1"},
        {"fd00::/8", "fdff::1", "fe00::1"},
        {"2001:db8::8/125", "2001:db8::f", "2001:db8::10"},
        {"::/0", "10.0.0.1", NULL},
        {" 10.0.0.0/8 ,, 192.168.0.0/16,", "192.168.3.4", "172.16.0.1"},
        {"", NULL, "127.0.0.1"},
    };
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        cp_networks networks;
        cp_error err;
        assert_cp_ok(cp_networks_parse(cases[i].list, "TRUSTED_PROXIES", &networks, &err));
        cp_address in = address(cases[i].inside ? cases[i].inside : "10.0.0.1");
        cp_address out = address(cases[i].outside ? cases[i].outside : "10.0.0.1");
        if (cases[i].inside && !cp_networks_contain(&networks, &in))
            fail_msg("%s is not in %s", cases[i].inside, cases[i].list);
        if (cases[i].outside && cp_networks_contain(&networks, &out))
            fail_msg("%s is in %s", cases[i].outside, cases[i].list);
    }
}

static void what_is_no_network_is_named(void **state) {
    static const char *const bad[] = {"10.0.0.0/33", "10.0.0.1/8",  "10.0.0.0/",    "10.0.0.0/-1",
                                      "10.0.0.0/+8", "10.0.0.0/8x", "fd00::/129",   "proxy.example",
                                      "*",           "/8",          "10.0.0.0/8/8", "10.0.0.0:80"};
    cp_networks networks;
    cp_error err;
    cp_strbuf many;
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(bad); i++) {
        if (cp_networks_parse(bad[i], "TRUSTED_PROXIES", &networks, &err) != CP_ERR_USAGE)
            fail_msg("taken for a network: %s", bad[i]);
        assert_non_null(strstr(err.message, "TRUSTED_PROXIES"));
        assert_non_null(strstr(err.message, bad[i]));
    }
    cp_strbuf_init(&many, 65536);
    test_append_times(&many, "10.0.0.1,", CP_NETWORKS_MAX);
    assert_cp_ok(cp_networks_parse(cp_strbuf_text(&many), "X", &networks, &err));
    cp_strbuf_puts(&many, "10.0.0.1");
    assert_int_equal(cp_networks_parse(cp_strbuf_text(&many), "X", &networks, &err), CP_ERR_USAGE);
    cp_strbuf_deinit(&many);
}

/* The list is believed from its end, as far as trusted proxies wrote it. */
static void the_client_is_the_nearest_that_is_no_trusted_proxy(void **state) {
    static const struct {
        const char *peer, *forwarded, *client;
    } cases[] = {
        {"203.0.113.5", "", "203.0.113.5"},
        {"203.0.113.5", "127.0.0.1", "203.0.113.5"}, /* a stranger says anything */
        {"10.0.0.1", "", "10.0.0.1"},
        {"10.0.0.1", "198.51.100.7", "198.51.100.7"},
        {"10.0.0.1", "127.0.0.1, 198.51.100.7", "198.51.100.7"},
        {"10.0.0.1", "127.0.0.1,198.51.100.7 ,10.0.0.2", "198.51.100.7"},
        {"10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"},
        {"10.0.0.1", "198.51.100.7, nonsense", "10.0.0.1"},
        {"10.0.0.1", "198.51.100.7,", "10.0.0.1"},
        {"10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"},
        {"::ffff:10.0.0.1", "198.51.100.7:1234", "198.51.100.7"},
    };
    cp_networks trusted;
    cp_error err;
    (void)state;
    assert_cp_ok(cp_networks_parse("10.0.0.0/8", "X", &trusted, &err));
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        cp_address peer = address(cases[i].peer);
        cp_address client = cp_forwarded_client(&trusted, &peer, cases[i].forwarded);
        if (strcmp(shown(&client), cases[i].client) != 0)
            fail_msg("%s, %s: %s", cases[i].peer, cases[i].forwarded, shown(&client));
    }
    cp_address inside = address("10.0.0.1"), outside = address("203.0.113.5");
    assert_true(cp_forwarded_https(&trusted, &inside, "https"));
    assert_true(cp_forwarded_https(&trusted, &inside, "http, HTTPS"));
    assert_false(cp_forwarded_https(&trusted, &inside, "https, http"));
    assert_false(cp_forwarded_https(&trusted, &inside, ""));
    assert_false(cp_forwarded_https(&trusted, &inside, "httpsx"));
    assert_false(cp_forwarded_https(&trusted, &outside, "https"));
}

static void a_long_list_of_addresses_loses_its_front(void **state) {
    char list[CP_FORWARDED_CAP] = "", huge[2000];
    (void)state;
    cp_forwarded_add(list, "a");
    cp_forwarded_add(list, "b, c");
    assert_string_equal(list, "a,b, c");
    for (int i = 0; i < 1000; i++) {
        char one[16];
        snprintf(one, sizeof one, "n%d", i);
        cp_forwarded_add(list, one);
        assert_true(strlen(list) < sizeof list);
        assert_string_equal(list + strlen(list) - strlen(one), one);
    }
    assert_int_equal(strlen(list), sizeof list - 1);
    memset(huge, 'x', sizeof huge);
    memcpy(huge + sizeof huge - 5, ",end", 5);
    cp_forwarded_add(list, huge);
    assert_int_equal(strlen(list), sizeof list - 1);
    assert_string_equal(list + strlen(list) - 4, ",end");
    for (size_t n = sizeof list - 4; n < sizeof list + 2; n++) { /* around the border */
        char front[CP_FORWARDED_CAP] = "front", value[CP_FORWARDED_CAP + 8];
        memset(value, 'y', n);
        value[n] = '\0';
        cp_forwarded_add(front, value);
        assert_true(strlen(front) <= sizeof front - 1);
        assert_int_equal(strspn(strrchr(front, ',') ? strrchr(front, ',') + 1 : front, "y"),
                         n < sizeof front ? n : sizeof front - 1);
    }
}

/* ---- origins --------------------------------------------------------------------------------- */

static void an_origin_is_allowed_as_it_is_written(void **state) {
    static const char *const no[] = {"https://app.example:8443",
                                     "http://app.example",
                                     "https://app.example.evil",
                                     "https://evil.app.example",
                                     "null",
                                     "https://APP.example",
                                     "",
                                     "https://app.example/"};
    static const char *const bad[] = {"*",           "app.example", "https://", "https://a/b",
                                      "https://A.b", "null",        "ftp://a",  "https://a b*"};
    cp_origins origins;
    cp_error err;
    (void)state;
    assert_cp_ok(cp_origins_parse(" https://app.example, http://[::1]:3000", "CORS_ORIGINS",
                                  &origins, &err));
    assert_int_equal(origins.n, 2);
    assert_true(cp_origins_allow(&origins, "https://app.example"));
    assert_true(cp_origins_allow(&origins, "http://[::1]:3000"));
    for (size_t i = 0; i < CP_COUNT_OF(no); i++)
        assert_false(cp_origins_allow(&origins, no[i]));
    for (size_t i = 0; i < CP_COUNT_OF(bad); i++)
        if (cp_origins_parse(bad[i], "CORS_ORIGINS", &origins, &err) != CP_ERR_USAGE ||
            !strstr(err.message, "CORS_ORIGINS"))
            fail_msg("taken for an origin: %s", bad[i]);
    assert_cp_ok(cp_origins_parse("", "CORS_ORIGINS", &origins, &err));
    assert_false(cp_origins_allow(&origins, ""));
}

/* ---- rules at start -------------------------------------------------------------------------- */

static char *no_environment(const char *name) {
    (void)name;
    return NULL;
}

/* The defaults. */
static cp_settings quiet(void) {
    cp_settings s;
    cp_error err;
    assert_cp_ok(cp_settings_from_env(&s, no_environment, &err));
    return s;
}

static void check_rule(const cp_settings *s, const char *sentence) {
    cp_error err = {0};
    cp_status status = cp_start_rules_check(s, &err);
    if (!sentence)
        assert_cp_ok(status);
    else if (status != CP_ERR_USAGE || !strstr(err.message, sentence))
        fail_msg("expected \"%s\", got status %d: %s", sentence, status, err.message);
}

static void a_host_is_local_by_its_own_words(void **state) {
    static const char *const local[] = {"localhost", "LOCALHOST:80", "127.0.0.1", "127.9.9.9:8002",
                                        "[::1]",     "[::1]:8002",   "::1"};
    static const char *const far[] = {"",
                                      "a",
                                      "localhost.",
                                      "localhost.evil.example",
                                      "localhost:",
                                      "localhost:x",
                                      "127.0.0.1.evil.example",
                                      "0.0.0.0",
                                      "192.0.2.1",
                                      "evil.example:8002"};
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(local); i++)
        if (!cp_host_is_loopback(local[i]))
            fail_msg("not taken for this machine: %s", local[i]);
    for (size_t i = 0; i < CP_COUNT_OF(far); i++)
        if (cp_host_is_loopback(far[i]))
            fail_msg("taken for this machine: %s", far[i]);
}

static void settings_that_are_wrong_together_are_refused(void **state) {
    static const char *const local[] = {"localhost", "127.0.0.1", "127.1.2.3", "::1"};
    static const char *const open[] = {
        "0.0.0.0",         "::", "192.0.2.1", "example.org", "localhost.example.org", "127.1",
        "::ffff:192.0.2.1"};
    (void)state;
    cp_settings s = quiet();
    for (size_t i = 0; i < CP_COUNT_OF(local); i++) {
        s.host = local[i];
        check_rule(&s, NULL);
    }
    for (size_t i = 0; i < CP_COUNT_OF(open); i++) {
        s.host = open[i];
        s.api_keys_file = "";
        check_rule(&s, "set HOST to 127.0.0.1, or make keys");
        s.api_keys_file = "keys.json";
        check_rule(&s, NULL);
    }
    s = quiet();
    s.tls_cert_file = "c.pem";
    check_rule(&s, "TLS_CERT_FILE is set without TLS_KEY_FILE");
    s.tls_key_file = "k.pem";
    check_rule(&s, NULL);
    s.tls_cert_file = "";
    check_rule(&s, "TLS_KEY_FILE is set without TLS_CERT_FILE");

    s = quiet();
    s.app_env = CP_ENV_PRODUCTION;
    check_rule(&s, "set API_KEYS_FILE");
    s.api_keys_file = "keys.json";
    check_rule(&s, "set SECRET_KEY");
    s.secret_key_file = "secret";
    check_rule(&s, "set AUDIT_FILE");
    s.audit_file = "off";
    check_rule(&s, "set LLM_MODE");
    s.llm_mode = "qwen";
    check_rule(&s, NULL);
    s.secret_key_file = "";
    s.secret_key = "x";
    check_rule(&s, NULL); /* its length is the secret's own check */
}

/* ---- the secret ------------------------------------------------------------------------------ */

#define SECRET "0123456789abcdef0123456789abcdef"

static void a_secret_comes_from_one_place_and_is_long_enough(void **state) {
    static const struct {
        const char *text;
        const char *sentence; /* NULL: taken */
    } files[] = {
        {SECRET, NULL},
        {SECRET "\n", NULL},
        {SECRET "\r\n", NULL},
        {"0123456789abcdef0123456789abcde", "31 bytes"},
        {"0123456789abcdef0123456789abcde\n", "31 bytes"},
        {"", "0 bytes"},
        {SECRET "\n\n", "byte 33"},
        {SECRET "\t", "byte 33"},
        {SECRET "\xc3\xa4", "byte 33"},
    };
    cp_error err;
    cp_secret secret;
    cp_settings s = quiet();
    char path[400];
    (void)state;
    assert_cp_ok(cp_secret_load(&s, &secret, &err));
    assert_string_equal(secret.text, "");
    s.secret_key = SECRET;
    assert_cp_ok(cp_secret_load(&s, &secret, &err));
    assert_string_equal(secret.text, SECRET);
    cp_secret_wipe(&secret);
    assert_string_equal(secret.text, "");
    s.secret_key = "hunter2hunter2";
    assert_int_equal(cp_secret_load(&s, &secret, &err), CP_ERR_USAGE);
    assert_non_null(strstr(err.message, "SECRET_KEY has 14 bytes"));
    assert_null(strstr(err.message, "hunter"));
    s.secret_key = SECRET;
    s.secret_key_file = "x";
    assert_int_equal(cp_secret_load(&s, &secret, &err), CP_ERR_USAGE);
    s.secret_key = "";
    assert_int_not_equal(cp_secret_load(&s, &secret, &err), CP_OK); /* no such file */

    snprintf(path, sizeof path, "%s", test_path(test_tmp_dir(), "secret"));
    s.secret_key_file = path;
    for (size_t i = 0; i < CP_COUNT_OF(files); i++) {
        test_write_file(path, files[i].text, strlen(files[i].text));
        assert_int_equal(chmod(path, 0600), 0);
        cp_status status = cp_secret_load(&s, &secret, &err);
        if (!files[i].sentence) {
            assert_cp_ok(status);
            assert_string_equal(secret.text, SECRET);
        } else if (status != CP_ERR_USAGE || !strstr(err.message, files[i].sentence) ||
                   strstr(err.message, "0123456789")) {
            fail_msg("expected \"%s\", got: %s", files[i].sentence, err.message);
        }
    }
    char nul[64] = SECRET; /* and 31 zeros behind it */
    test_write_file(path, nul, sizeof nul);
    assert_int_equal(cp_secret_load(&s, &secret, &err), CP_ERR_USAGE);
    char *big = calloc(1, CP_SECRET_MAX_BYTES + 2);
    memset(big, 'a', CP_SECRET_MAX_BYTES + 1);
    test_write_file(path, big, CP_SECRET_MAX_BYTES);
    assert_cp_ok(cp_secret_load(&s, &secret, &err));
    assert_int_equal(strlen(secret.text), CP_SECRET_MAX_BYTES);
    test_write_file(path, big, CP_SECRET_MAX_BYTES + 1);
    assert_int_equal(cp_secret_load(&s, &secret, &err), CP_ERR_USAGE);
    free(big);
    test_write_file(path, SECRET, 32);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_not_equal(cp_secret_load(&s, &secret, &err), CP_OK);
    assert_non_null(strstr(err.message, "SECRET_KEY_FILE"));
}

/* ---- times ----------------------------------------------------------------------------------- */

static void a_time_is_read_only_as_it_would_be_written(void **state) {
    static const struct {
        const char *text;
        int64_t seconds;
    } good[] = {{"1970-01-01T00:00:00Z", 0},
                {"2024-02-29T12:00:00Z", 1709208000},
                {"2027-06-30T00:00:00Z", 1814313600},
                {"2038-01-19T03:14:08Z", 2147483648},
                {"9999-12-31T23:59:59Z", 253402300799}};
    static const char *const bad[] = {"",
                                      "2027-06-30",
                                      "2027-06-30T00:00:00",
                                      "2027-06-30T00:00:00z",
                                      "2027-06-31T00:00:00Z",
                                      "2025-02-29T00:00:00Z",
                                      "2027-13-01T00:00:00Z",
                                      "2027-06-30T24:00:00Z",
                                      "2027-06-30T00:60:00Z",
                                      "2027-06-30T00:00:60Z",
                                      "1969-12-31T23:59:59Z",
                                      "2027-06-30 00:00:00Z",
                                      "+027-06-30T00:00:00Z",
                                      " 027-06-30T00:00:00Z",
                                      "2027-6-30T00:00:00ZZ",
                                      "2027-06-30T00:00:00Z ",
                                      "2027-06-30T00:00:0 Z"};
    int64_t seconds;
    char text[CP_CLOCK_UTC_CAP];
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(good); i++) {
        assert_true(cp_clock_parse_utc(good[i].text, &seconds));
        assert_int_equal(seconds, good[i].seconds);
        cp_clock_format_utc(seconds, text);
        assert_string_equal(text, good[i].text);
    }
    for (size_t i = 0; i < CP_COUNT_OF(bad); i++)
        if (cp_clock_parse_utc(bad[i], &seconds))
            fail_msg("taken for a time: %s", bad[i]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(addresses_are_read_in_every_form_a_proxy_writes),
    cmocka_unit_test(a_network_holds_what_its_prefix_says),
    cmocka_unit_test(what_is_no_network_is_named),
    cmocka_unit_test(the_client_is_the_nearest_that_is_no_trusted_proxy),
    cmocka_unit_test(a_long_list_of_addresses_loses_its_front),
    cmocka_unit_test(an_origin_is_allowed_as_it_is_written),
    cmocka_unit_test(a_host_is_local_by_its_own_words),
    cmocka_unit_test(settings_that_are_wrong_together_are_refused),
    cmocka_unit_test(a_secret_comes_from_one_place_and_is_long_enough),
    cmocka_unit_test(a_time_is_read_only_as_it_would_be_written),
};
CP_TEST_GROUP(net_rules, tests)
