/* Access: keys and their file, rates and quotas by a clock of the test's own, and the file that
 * changes while the server runs. */
#include "tests/test.h"

#include "base/file.h"
#include "base/mem.h"
#include "server/admission.h"
#include "server/rate_limit.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND   UINT64_C(1000000000)
#define MINUTE   UINT64_C(60000000000)
#define MIDNIGHT 1795219200 /* 2026-11-21T00:00:00Z */
#define SALT     "000102030405060708090a0b0c0d0e0f"
#define HASH                                                                                       \
    "11111111111111111111111111111111"                                                             \
    "22222222222222222222222222222222"

/* ---- rates ----------------------------------------------------------------------------------- */

/* The first request that a bucket gives again comes to the nanosecond: 60 s / 7, rounded up. */
static void a_rate_is_exact_to_the_nanosecond(void **state) {
    int wait;
    uint64_t start = 5 * MINUTE, due = start + (MINUTE + 6) / 7;
    (void)state;
    cp_rate_limit limit = cp_rate_limit_start(3, start);
    for (int i = 0; i < 3; i++)
        assert_true(cp_rate_limit_take(&limit, 7, 3, start, &wait));
    assert_false(cp_rate_limit_take(&limit, 7, 3, start, &wait));
    assert_int_equal(wait, 9); /* 8.57 s */
    assert_false(cp_rate_limit_take(&limit, 7, 3, due - 1, &wait));
    assert_int_equal(wait, 1);
    assert_true(cp_rate_limit_take(&limit, 7, 3, due, &wait));
    assert_false(cp_rate_limit_take(&limit, 7, 3, due, &wait));
    /* Seven a minute for ever: nothing is lost by asking often. */
    int granted = 0;
    for (uint64_t now = due; now < due + 10 * MINUTE; now += SECOND / 10)
        granted += cp_rate_limit_take(&limit, 7, 3, now, &wait);
    assert_int_equal(granted, 69); /* the 70th is due in the minute after */
}

static void a_rest_fills_the_burst_and_no_more(void **state) {
    int wait;
    (void)state;
    cp_rate_limit limit = cp_rate_limit_start(CP_RATE_MAX, 0);
    uint64_t granted = 0;
    while (cp_rate_limit_take(&limit, CP_RATE_MAX, CP_RATE_MAX, 0, &wait))
        granted++;
    assert_int_equal(granted, CP_RATE_MAX);
    /* Centuries later: full, not overflown; a clock that goes back gives nothing. */
    assert_true(cp_rate_limit_take(&limit, 1, 2, UINT64_MAX / 2, &wait));
    assert_true(cp_rate_limit_take(&limit, 1, 2, UINT64_MAX / 2, &wait));
    assert_false(cp_rate_limit_take(&limit, 1, 2, UINT64_MAX / 2, &wait));
    assert_int_equal(wait, 60);
    assert_false(cp_rate_limit_take(&limit, 1, 2, 0, &wait));
}

/* Against a twin that counts in wide numbers from the start, at random moments. */
static void a_rate_equals_its_definition(void **state) {
    uint64_t seed = 20261121;
    (void)state;
    print_message("seed %" PRIu64 "\n", seed);
    for (int round = 0; round < 50; round++) {
        uint64_t rate = 1 + test_random(&seed) % 1000, burst = 1 + test_random(&seed) % 5, now = 0;
        cp_rate_limit limit = cp_rate_limit_start(burst, 0);
        unsigned __int128 level = (unsigned __int128)burst * MINUTE;
        for (int i = 0; i < 200; i++) {
            int wait;
            uint64_t step = test_random(&seed) % (2 * MINUTE / rate);
            now += step;
            level += (unsigned __int128)step * rate;
            if (level > (unsigned __int128)burst * MINUTE)
                level = (unsigned __int128)burst * MINUTE;
            bool want = level >= MINUTE;
            if (want)
                level -= MINUTE;
            assert_int_equal(cp_rate_limit_take(&limit, rate, burst, now, &wait), want);
            assert_int_equal(wait > 0, !want);
        }
    }
}

/* ---- keys and their file --------------------------------------------------------------------- */

static void a_key_is_known_by_its_secret_alone(void **state) {
    cp_error err;
    cp_access_key key = {0}, other = {0};
    char text[CP_KEY_TEXT_CAP], again[CP_KEY_TEXT_CAP], id[CP_KEY_ID_CAP];
    unsigned char secret[CP_KEY_SECRET_BYTES];
    (void)state;
    assert_cp_ok(cp_key_make("ward-3", &key, text, &err));
    assert_cp_ok(cp_key_make("ward-3", &other, again, &err));
    assert_string_not_equal(text, again);
    assert_int_equal(strlen(text), 4 + 6 + 1 + 64);
    assert_int_equal(strncmp(text, "cpk_ward-3_", 11), 0);
    assert_true(cp_key_parse(text, id, secret));
    assert_string_equal(id, "ward-3");
    assert_true(cp_key_matches(&key, secret));
    assert_false(cp_key_matches(&other, secret));
    assert_false(cp_key_matches(NULL, secret));
    for (size_t bit = 0; bit < 8 * sizeof secret; bit++) {
        secret[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_false(cp_key_matches(&key, secret));
        secret[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    for (size_t i = 0; i < CP_SHA256_BYTES; i++) { /* every byte of the hash counts */
        key.hash.bytes[i] ^= 1;
        assert_false(cp_key_matches(&key, secret));
        key.hash.bytes[i] ^= 1;
    }
    /* The hash is of salt and secret, by the definition in access_keys.h. */
    unsigned char both[CP_KEY_SALT_BYTES + CP_KEY_SECRET_BYTES];
    cp_sha256 hash;
    memcpy(both, key.salt, CP_KEY_SALT_BYTES);
    memcpy(both + CP_KEY_SALT_BYTES, secret, CP_KEY_SECRET_BYTES);
    assert_cp_ok(cp_sha256_of((cp_str){(char *)both, sizeof both}, &hash, &err));
    assert_memory_equal(hash.bytes, key.hash.bytes, sizeof hash.bytes);
}

static void what_is_no_key_is_not_taken_for_one(void **state) {
    static const char *const bad[] = {
        "",
        "cpk_",
        "cpk__",
        "cpk_a",
        "cpk_a_",
        "cpk_a_11",
        "cpk__" HASH,
        "cpk_a_" HASH "0",
        "cpk_A_" HASH,
        "cpk_a b_" HASH,
        "xpk_a_" HASH,
        "cpk_a_" HASH " ",
        "cpk_a-" HASH,
        "cpk_a_1111111111111111111111111111111122222222222222222222222222222g22",
        "cpk_a_1111111111111111111111111111111122222222222222222222222222222A22",
        "cpk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_" HASH /* 33 letters */};
    char id[CP_KEY_ID_CAP];
    unsigned char secret[CP_KEY_SECRET_BYTES];
    (void)state;
    assert_true(cp_key_parse("cpk_a_" HASH, id, secret));
    assert_true(cp_key_parse("cpk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_" HASH, id, secret));
    for (size_t i = 0; i < CP_COUNT_OF(bad); i++)
        if (cp_key_parse(bad[i], id, secret))
            fail_msg("taken for a key: %s", bad[i]);
    cp_access_key key;
    char text[CP_KEY_TEXT_CAP];
    cp_error err;
    assert_int_equal(cp_key_make("a_b", &key, text, &err), CP_ERR_USAGE);
    assert_int_equal(cp_key_make("", &key, text, &err), CP_ERR_USAGE);
}

/* One key with `member` (a whole "name": value) in the place of the good one of that name, or
 * added.
 */
static const char *file_with(const char *name, const char *member) {
    static const char *const good[][2] = {
        {"id", "\"id\":\"ward-3\""},
        {"salt", "\"salt\":\"" SALT "\""},
        {"hash", "\"hash\":\"" HASH "\""},
        {"scopes", "\"scopes\":[\"triage\",\"patients:read\"]"},
        {"rate_per_minute", "\"rate_per_minute\":60"},
        {"burst", "\"burst\":20"},
        {"daily_quota_tokens", "\"daily_quota_tokens\":100000"},
        {"not_after", "\"not_after\":\"2027-06-30T00:00:00Z\""},
    };
    static char text[4096];
    bool replaced = !*name;
    size_t n = (size_t)snprintf(text, sizeof text, "{\"version\":1,\"keys\":[{");
    for (size_t i = 0; i < CP_COUNT_OF(good); i++) {
        bool here = strcmp(name, good[i][0]) == 0;
        const char *put = here ? member : good[i][1];
        replaced = replaced || here;
        if (*put)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", text[n - 1] == '{' ? "" : ",",
                                  put);
    }
    snprintf(text + n, sizeof text - n, "%s%s}]}", replaced ? "" : ",", replaced ? "" : member);
    return text;
}

static void a_file_of_keys_is_read_as_it_was_written(void **state) {
    cp_error err;
    cp_access_keys keys, again;
    const char *path = test_path(test_tmp_dir(), "keys.json");
    char kept[400];
    (void)state;
    snprintf(kept, sizeof kept, "%s", path);
    const char *text = file_with("", "");
    assert_cp_ok(cp_keys_parse("k", (cp_str){text, strlen(text)}, &keys, &err));
    assert_int_equal(keys.n, 1);
    assert_string_equal(keys.keys[0].id, "ward-3");
    assert_int_equal(keys.keys[0].scopes, CP_SCOPE_TRIAGE | CP_SCOPE_PATIENTS_READ);
    assert_int_equal(keys.keys[0].salt[15], 15);
    assert_int_equal(keys.keys[0].not_after, 1814313600);
    cp_access_key second = keys.keys[0];
    snprintf(second.id, sizeof second.id, "ward-4");
    second.not_after = INT64_MAX;
    assert_cp_ok(cp_keys_add(&keys, &second, &err));
    assert_cp_ok(cp_keys_write(kept, &keys, &err));
    assert_cp_ok(cp_keys_read(kept, &again, &err));
    assert_int_equal(again.n, 2);
    assert_memory_equal(again.keys, keys.keys, 2 * sizeof second);
    cp_keys_deinit(&keys);
    cp_keys_deinit(&again);
}

static void a_faulty_file_is_refused_with_key_and_field(void **state) {
    static const struct {
        const char *name, *member, *key, *field;
    } cases[] = {
        {"id", "", "keys[0]", "id"},
        {"id", "\"id\":\"Ward 3\"", "keys[0]", "id"},
        {"id", "\"id\":7", "keys[0]", "id"},
        {"id", "\"id\":\"a_b\"", "keys[0]", "id"},
        {"id", "\"id\":\"a\\u0000b\"", "", "U+0000"},
        {"salt", "", "ward-3", "salt"},
        {"salt", "\"salt\":\"00\"", "ward-3", "salt"},
        {"salt", "\"salt\":\"000102030405060708090a0b0c0d0e0F\"", "ward-3", "salt"},
        {"hash", "", "ward-3", "hash"},
        {"hash", "\"hash\":\"" HASH "0\"", "ward-3", "hash"},
        {"hash", "\"hash\":[]", "ward-3", "hash"},
        {"scopes", "", "ward-3", "scopes"},
        {"scopes", "\"scopes\":[]", "ward-3", "scopes"},
        {"scopes", "\"scopes\":\"triage\"", "ward-3", "scopes"},
        {"scopes", "\"scopes\":[\"triage\",\"root\"]", "ward-3", "scopes"},
        {"scopes", "\"scopes\":[\"triage\",1]", "ward-3", "scopes"},
        {"scopes", "\"scopes\":[\"triage\",\"triage\"]", "ward-3", "scopes"},
        {"rate_per_minute", "", "ward-3", "rate_per_minute"},
        {"rate_per_minute", "\"rate_per_minute\":-1", "ward-3", "rate_per_minute"},
        {"rate_per_minute", "\"rate_per_minute\":0.5", "ward-3", "rate_per_minute"},
        {"rate_per_minute", "\"rate_per_minute\":1000001", "ward-3", "rate_per_minute"},
        {"rate_per_minute", "\"rate_per_minute\":\"60\"", "ward-3", "rate_per_minute"},
        {"burst", "\"burst\":0", "ward-3", "burst"},
        {"burst", "\"burst\":1e99", "ward-3", "burst"},
        {"daily_quota_tokens", "", "ward-3", "daily_quota_tokens"},
        {"daily_quota_tokens", "\"daily_quota_tokens\":1e13", "ward-3", "daily_quota_tokens"},
        {"not_after", "\"not_after\":\"2027-06-31T00:00:00Z\"", "ward-3", "not_after"},
        {"not_after", "\"not_after\":\"2027-06-30\"", "ward-3", "not_after"},
        {"not_after", "\"not_after\":1814313600", "ward-3", "not_after"},
        {"note", "\"note\":\"x\"", "ward-3", "note"},
        {"Burst", "\"Burst\":1", "ward-3", "Burst"},
        {"burst2", "\"burst\":20", "", "the same key twice"},
    };
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        cp_error err = {0};
        cp_access_keys keys;
        const char *text = file_with(cases[i].name, cases[i].member);
        cp_status status = cp_keys_parse("keys.json", (cp_str){text, strlen(text)}, &keys, &err);
        cp_keys_deinit(&keys);
        if (status != CP_ERR_FORMAT || !strstr(err.message, "keys.json") ||
            !strstr(err.message, cases[i].key) || !strstr(err.message, cases[i].field))
            fail_msg("%s: status %d: %s", text, status, err.message);
        if (strstr(err.message, "11111111"))
            fail_msg("shows the hash: %s", err.message);
    }
}

static void a_file_that_is_no_list_of_keys_is_refused(void **state) {
    static const char *const texts[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"version\":1}",
                                        "{\"keys\":[]}",
                                        "{\"version\":2,\"keys\":[]}",
                                        "{\"version\":1,\"keys\":{}}",
                                        "{\"version\":1,\"keys\":[7]}",
                                        "{\"version\":1,\"keys\":[],\"more\":1}",
                                        "{\"version\":1,\"keys\":[]} x",
                                        "{\"version\":1,\"keys\":[null]}"};
    cp_error err;
    cp_access_keys keys;
    cp_strbuf text;
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(texts); i++) {
        assert_int_equal(cp_keys_parse("f", (cp_str){texts[i], strlen(texts[i])}, &keys, &err),
                         CP_ERR_FORMAT);
        cp_keys_deinit(&keys);
    }
    /* The same id twice; one key too many. */
    cp_strbuf_init(&text, 4 << 20);
    const char *one = strchr(file_with("", ""), '[') + 1;
    int n = (int)strlen(one) - 2;
    cp_strbuf_printf(&text, "{\"version\":1,\"keys\":[%.*s,%.*s]}", n, one, n, one);
    assert_int_equal(cp_keys_parse("f", cp_strbuf_str(&text), &keys, &err), CP_ERR_FORMAT);
    assert_non_null(strstr(err.message, "ward-3: id stands there twice"));
    cp_keys_deinit(&keys);
    cp_strbuf_clear(&text);
    cp_strbuf_puts(&text, "{\"version\":1,\"keys\":[");
    for (int i = 0; i <= CP_KEYS_MAX; i++) {
        char id[32];
        snprintf(id, sizeof id, "\"id\":\"k%d\"", i);
        one = strchr(file_with("id", id), '[') + 1;
        cp_strbuf_printf(&text, "%s%.*s", i ? "," : "", (int)strlen(one) - 2, one);
    }
    cp_strbuf_puts(&text, "]}");
    assert_int_equal(cp_keys_parse("f", cp_strbuf_str(&text), &keys, &err), CP_ERR_LIMIT);
    cp_keys_deinit(&keys);
    cp_strbuf_deinit(&text);
}

/* Changed and cut in 3,000 ways: read or refused with a sentence, and what was read can be written.
 */
static void a_damaged_file_hurts_nobody(void **state) {
    uint64_t seed = 7;
    char good[4096], text[4096];
    int taken = 0;
    (void)state;
    snprintf(good, sizeof good, "%s", file_with("", ""));
    size_t whole = strlen(good);
    print_message("seed %" PRIu64 "\n", seed);
    for (int i = 0; i < 3000; i++) {
        size_t n = whole;
        memcpy(text, good, whole);
        for (uint64_t k = test_random(&seed) % 3; k > 0; k--)
            text[test_random(&seed) % n] = (char)test_random(&seed);
        if (test_random(&seed) % 4 == 0)
            n = test_random(&seed) % n;
        cp_error err = {0};
        cp_access_keys keys;
        cp_status status = cp_keys_parse("f", (cp_str){text, n}, &keys, &err);
        assert_true(status == CP_OK || strlen(err.message) > 0);
        taken += status == CP_OK;
        for (size_t k = 0; status == CP_OK && k < keys.n; k++) {
            assert_true(cp_key_id_is_valid(keys.keys[k].id));
            assert_true(keys.keys[k].scopes > 0 && keys.keys[k].scopes <= CP_SCOPES_ALL);
            assert_true(keys.keys[k].burst >= 1);
        }
        cp_keys_deinit(&keys);
    }
    assert_true(taken > 0 && taken < 3000);
}

static void scopes_on_a_command_line_are_strict(void **state) {
    static const char *const bad[] = {
        "",       ",",           "triage,",       ",triage", "triage,,chat",
        "Triage", "triage chat", "triage,triage", "all"};
    cp_error err;
    unsigned scopes;
    (void)state;
    assert_cp_ok(cp_scopes_parse(CP_STR("triage,chat,patients:read,admin,metrics,patients:write"),
                                 &scopes, &err));
    assert_int_equal(scopes, CP_SCOPES_ALL);
    for (size_t i = 0; i < CP_COUNT_OF(bad); i++)
        assert_int_not_equal(cp_scopes_parse((cp_str){bad[i], strlen(bad[i])}, &scopes, &err),
                             CP_OK);
}

static void a_file_that_others_can_read_is_refused(void **state) {
    cp_error err;
    cp_access_keys keys;
    char path[400];
    struct stat info;
    static const struct {
        mode_t mode;
        bool good;
    } modes[] = {{0600, true},  {0400, true},  {0440, true},  {0640, true},  {0644, false},
                 {0604, false}, {0660, false}, {0620, false}, {0602, false}, {0601, false}};
    (void)state;
    snprintf(path, sizeof path, "%s", test_path(test_tmp_dir(), "keys.json"));
    test_write_file(path, file_with("", ""), strlen(file_with("", "")));
    for (size_t i = 0; i < CP_COUNT_OF(modes); i++) {
        assert_int_equal(chmod(path, modes[i].mode), 0);
        cp_status status = cp_keys_read(path, &keys, &err);
        cp_keys_deinit(&keys);
        if (modes[i].good != (status == CP_OK))
            fail_msg("%04o: status %d: %s", (unsigned)modes[i].mode, status, err.message);
        if (!modes[i].good)
            assert_non_null(strstr(err.message, "chmod 600"));
    }
    /* What is written is private from its first byte; group and its right to read stay. */
    assert_int_equal(chmod(path, 0640), 0);
    assert_cp_ok(cp_keys_read(path, &keys, &err));
    assert_cp_ok(cp_keys_write(path, &keys, &err));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
    unlink(path);
    assert_cp_ok(cp_keys_write(path, &keys, &err));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    cp_keys_deinit(&keys);
    assert_int_equal(cp_keys_read("no/such/file", &keys, &err), CP_ERR_NOT_FOUND);
    assert_int_not_equal(cp_keys_read(test_tmp_dir(), &keys, &err), CP_OK);
}

/* ---- requests -------------------------------------------------------------------------------- */

typedef struct table {
    uint64_t now_ns;
    int64_t now_s;
    char path[400];
    cp_access *access;
} table;

static uint64_t table_ns(void *user) {
    return ((table *)user)->now_ns;
}

static int64_t table_unix_s(void *user) {
    return ((table *)user)->now_s;
}

/* Adds a key to the file and gives the Authorization header for it. */
static const char *give_key(table *t, const char *id, const cp_access_key *wishes) {
    static char headers[4][CP_KEY_TEXT_CAP + 8];
    static int next;
    char text[CP_KEY_TEXT_CAP], *header = headers[next++ % 4];
    cp_access_keys keys;
    cp_access_key key = *wishes;
    cp_error err;
    cp_status status = cp_keys_read(t->path, &keys, &err);
    assert_true(status == CP_OK || status == CP_ERR_NOT_FOUND);
    assert_cp_ok(cp_key_make(id, &key, text, &err));
    assert_cp_ok(cp_keys_add(&keys, &key, &err));
    assert_cp_ok(cp_keys_write(t->path, &keys, &err));
    cp_keys_deinit(&keys);
    snprintf(header, sizeof headers[0], "Bearer %s", text);
    return header;
}

static void take_key(table *t, const char *id) {
    cp_access_keys keys;
    cp_error err;
    assert_cp_ok(cp_keys_read(t->path, &keys, &err));
    size_t place = (size_t)(cp_keys_find(&keys, id) - keys.keys);
    keys.keys[place] = keys.keys[--keys.n];
    assert_cp_ok(cp_keys_write(t->path, &keys, &err));
    cp_keys_deinit(&keys);
}

static void open_table(table *t) {
    cp_error err;
    const cp_access_clock clock = {table_ns, table_unix_s, t};
    assert_cp_ok(cp_access_open(t->path, &clock, &t->access, &err));
}

static table new_table(void) {
    table t = {.now_ns = 77 * SECOND, .now_s = MIDNIGHT + 3600};
    snprintf(t.path, sizeof t.path, "%s", test_path(test_tmp_dir(), "keys.json"));
    return t;
}

static const cp_access_key plain = {
    .scopes = CP_SCOPE_TRIAGE, .rate_per_minute = 0, .burst = 1, .not_after = INT64_MAX};

static cp_access_verdict ask(table *t, const char *authorization, unsigned scope) {
    cp_access_answer answer;
    cp_access_check(t->access, authorization, scope, &answer);
    return answer.verdict;
}

static void each_credential_gets_its_verdict(void **state) {
    table t = new_table();
    char header[300], *digit;
    (void)state;
    cp_access_key until = plain;
    until.not_after = t.now_s + 10;
    const char *good = give_key(&t, "ward-3", &plain), *brief = give_key(&t, "brief", &until);
    open_table(&t);
    assert_int_equal(cp_access_n_keys(t.access), 2);
    cp_access_answer answer;
    cp_access_check(t.access, good, CP_SCOPE_TRIAGE, &answer);
    assert_int_equal(answer.verdict, CP_ACCESS_GRANTED);
    assert_string_equal(answer.id, "ward-3");
    assert_int_equal(answer.scopes, CP_SCOPE_TRIAGE);
    assert_int_equal(ask(&t, good, CP_SCOPE_CHAT), CP_ACCESS_NO_SCOPE);
    assert_int_equal(ask(&t, good, CP_SCOPE_TRIAGE | CP_SCOPE_CHAT), CP_ACCESS_NO_SCOPE);
    assert_int_equal(ask(&t, good, CP_SCOPE_ADMIN), CP_ACCESS_NO_SCOPE);
    assert_int_equal(ask(&t, "", CP_SCOPE_TRIAGE), CP_ACCESS_NO_KEY);
    assert_int_equal(ask(&t, "Basic YTpi", CP_SCOPE_TRIAGE), CP_ACCESS_NO_KEY);
    assert_int_equal(ask(&t, good + 7, CP_SCOPE_TRIAGE), CP_ACCESS_NO_KEY);
    assert_int_equal(ask(&t, "Bearer", CP_SCOPE_TRIAGE), CP_ACCESS_WRONG_KEY);
    assert_int_equal(ask(&t, "Bearer x", CP_SCOPE_TRIAGE), CP_ACCESS_WRONG_KEY);
    snprintf(header, sizeof header, "bEARER   %s", good + 7);
    assert_int_equal(ask(&t, header, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    snprintf(header, sizeof header, "%s ", good);
    assert_int_equal(ask(&t, header, CP_SCOPE_TRIAGE), CP_ACCESS_WRONG_KEY);
    snprintf(header, sizeof header, "%s", good);
    digit = header + strlen(header) - 1;
    *digit = *digit == '0' ? '1' : '0';
    cp_access_check(t.access, header, CP_SCOPE_TRIAGE, &answer);
    assert_int_equal(answer.verdict, CP_ACCESS_WRONG_KEY);
    assert_string_equal(answer.id, "");
    snprintf(header, sizeof header, "Bearer cpk_ward-4_%s", good + 7 + 11); /* another's id */
    assert_int_equal(ask(&t, header, CP_SCOPE_TRIAGE), CP_ACCESS_WRONG_KEY);
    t.now_s += 10;
    assert_int_equal(ask(&t, brief, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    t.now_s += 1;
    assert_int_equal(ask(&t, brief, CP_SCOPE_TRIAGE), CP_ACCESS_EXPIRED);
    cp_access_close(t.access);

    cp_access_check(NULL, "", CP_SCOPE_ADMIN, &answer); /* no keys at all */
    assert_int_equal(answer.verdict, CP_ACCESS_GRANTED);
    assert_int_equal(answer.scopes, CP_SCOPES_ALL);
    assert_string_equal(answer.id, "");
}

static void a_rate_is_each_keys_own_and_refusals_are_free(void **state) {
    table t = new_table();
    cp_access_answer answer;
    (void)state;
    cp_access_key slow = plain;
    slow.rate_per_minute = 6;
    slow.burst = 2;
    const char *a = give_key(&t, "a", &slow), *b = give_key(&t, "b", &slow);
    open_table(&t);
    for (int i = 0; i < 9; i++) /* a missing scope costs nothing */
        assert_int_equal(ask(&t, a, CP_SCOPE_CHAT), CP_ACCESS_NO_SCOPE);
    assert_int_equal(ask(&t, a, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    assert_int_equal(ask(&t, a, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    cp_access_check(t.access, a, CP_SCOPE_TRIAGE, &answer);
    assert_int_equal(answer.verdict, CP_ACCESS_RATE);
    assert_int_equal(answer.retry_after_s, 10);
    assert_int_equal(ask(&t, b, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    t.now_ns += 10 * SECOND - 1;
    assert_int_equal(ask(&t, a, CP_SCOPE_TRIAGE), CP_ACCESS_RATE);
    t.now_ns += 1;
    assert_int_equal(ask(&t, a, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    assert_int_equal(ask(&t, a, CP_SCOPE_TRIAGE), CP_ACCESS_RATE);
    cp_access_close(t.access);
}

static void a_quota_ends_with_the_day(void **state) {
    table t = new_table();
    cp_access_answer answer;
    (void)state;
    cp_access_key frugal = plain;
    frugal.daily_quota_tokens = 100;
    const char *key = give_key(&t, "frugal", &frugal), *free = give_key(&t, "free", &plain);
    open_table(&t);
    cp_access_count(t.access, "frugal", 99);
    cp_access_count(t.access, "frugal", -5);
    cp_access_count(t.access, "nobody", 1000);
    cp_access_count(t.access, "free", INT64_MAX);
    cp_access_count(t.access, "free", INT64_MAX);
    assert_int_equal(ask(&t, key, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    cp_access_count(t.access, "frugal", 1);
    t.now_s = MIDNIGHT + 86400 - 1;
    cp_access_check(t.access, key, CP_SCOPE_TRIAGE, &answer);
    assert_int_equal(answer.verdict, CP_ACCESS_QUOTA);
    assert_int_equal(answer.retry_after_s, 1);
    assert_int_equal(ask(&t, free, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    t.now_s = MIDNIGHT + 86400;
    assert_int_equal(ask(&t, key, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    cp_access_count(t.access, "frugal", 1); /* of the new day: nothing is carried over */
    assert_int_equal(ask(&t, key, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    cp_access_count(t.access, "frugal", 1000);
    assert_int_equal(ask(&t, key, CP_SCOPE_TRIAGE), CP_ACCESS_QUOTA);
    cp_access_close(t.access);
}

static void tick(table *t) {
    t->now_ns += SECOND;
    cp_access_tick(t->access);
}

static void a_changed_file_takes_effect_and_usage_stays(void **state) {
    table t = new_table();
    (void)state;
    cp_access_key once = plain;
    once.rate_per_minute = 1;
    once.daily_quota_tokens = 10;
    const char *a = give_key(&t, "a", &once);
    open_table(&t);
    assert_int_equal(ask(&t, a, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    const char *b = give_key(&t, "b", &plain);
    t.now_ns += SECOND - 1;
    cp_access_tick(t.access); /* too early to look */
    assert_int_equal(ask(&t, b, CP_SCOPE_TRIAGE), CP_ACCESS_WRONG_KEY);
    t.now_ns += 1;
    cp_access_tick(t.access);
    assert_int_equal(ask(&t, b, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    assert_int_equal(ask(&t, a, CP_SCOPE_TRIAGE), CP_ACCESS_RATE);
    cp_access_count(t.access, "a", 10);
    take_key(&t, "b");
    tick(&t);
    assert_int_equal(ask(&t, b, CP_SCOPE_TRIAGE), CP_ACCESS_WRONG_KEY);
    assert_int_equal(ask(&t, a, CP_SCOPE_TRIAGE), CP_ACCESS_QUOTA);
    cp_access_close(t.access);
}

static void a_bad_version_of_the_file_changes_nothing(void **state) {
    static const char *const bad[] = {"", "{}", "{\"version\":1,\"keys\":[{}]}", "not JSON"};
    table t = new_table();
    cp_strbuf good;
    cp_error err;
    (void)state;
    const char *a = give_key(&t, "a", &plain);
    assert_cp_ok(cp_file_read(t.path, 65536, &good, &err));
    open_table(&t);
    for (size_t i = 0; i < CP_COUNT_OF(bad); i++) {
        assert_cp_ok(cp_file_write_private(t.path, (cp_str){bad[i], strlen(bad[i])}, &err));
        tick(&t);
        tick(&t); /* told once */
        assert_int_equal(cp_access_n_bad_reloads(t.access), i + 1);
        assert_int_equal(ask(&t, a, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    }
    assert_int_equal(unlink(t.path), 0);
    tick(&t);
    assert_int_equal(cp_access_n_bad_reloads(t.access), 5);
    assert_int_equal(ask(&t, a, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    /* An empty list is no fault: nobody may ask. */
    const cp_str none = CP_STR("{\"version\":1,\"keys\":[]}");
    assert_cp_ok(cp_file_write_private(t.path, none, &err));
    tick(&t);
    assert_int_equal(ask(&t, a, CP_SCOPE_TRIAGE), CP_ACCESS_WRONG_KEY);
    assert_cp_ok(cp_file_write_private(t.path, cp_strbuf_str(&good), &err));
    tick(&t);
    assert_int_equal(ask(&t, a, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    /* Permissions that open it to others are a change, too. */
    assert_int_equal(chmod(t.path, 0644), 0);
    tick(&t);
    assert_int_equal(cp_access_n_bad_reloads(t.access), 6);
    cp_access_close(t.access);
    cp_strbuf_deinit(&good);
}

static void no_failed_allocation_hurts_the_keys(void **state) {
    table t = new_table();
    cp_error err;
    const cp_access_clock clock = {table_ns, table_unix_s, &t};
    int failures = 0;
    (void)state;
    const char *a = give_key(&t, "a", &plain);
    for (long n = 1; failures == n - 1; n++) { /* opening */
        test_alloc_fail_at(n, 0);
        failures += cp_access_open(t.path, &clock, &t.access, &err) != CP_OK;
        test_alloc_fail_at(0, 0);
    }
    assert_true(failures > 3);
    for (long n = 1; n < 40; n++) { /* reading again: the old keys stay or the new ones come */
        assert_int_equal(chmod(t.path, n % 2 ? 0400 : 0600), 0);
        t.now_ns += SECOND;
        test_alloc_fail_at(n, 0);
        cp_access_tick(t.access);
        test_alloc_fail_at(0, 0);
        assert_int_equal(ask(&t, a, CP_SCOPE_TRIAGE), CP_ACCESS_GRANTED);
    }
    assert_true(cp_access_n_bad_reloads(t.access) > 3);
    cp_access_close(t.access);
}

/* What a handler sees after admission. */
static cp_http_request admitted(cp_access *access, cp_metrics *metrics, unsigned scope,
                                const char *authorization) {
    static cp_http_route route;
    cp_http_request request = {.route = &route, .is_local_name = true};
    route = (cp_http_route){.path = "/new", .scope = scope};
    assert_true(cp_address_parse(CP_STR("127.0.0.1"), &request.client));
    snprintf(request.authorization, sizeof request.authorization, "%s", authorization);
    cp_http_reply_init(&request.reply);
    const cp_admission admission = {.access = access, .metrics = metrics};
    cp_admission_check(&admission, &request);
    cp_http_reply_deinit(&request.reply);
    return request;
}

static void a_route_without_scope_is_not_open(void **state) {
    table t = new_table();
    cp_metrics *metrics;
    cp_error err;
    cp_access_key all = plain;
    (void)state;
    assert_cp_ok(cp_metrics_create(&metrics, &err));
    all.scopes = CP_SCOPES_ALL & ~(unsigned)CP_SCOPE_ADMIN;
    const char *most = give_key(&t, "most", &all);
    all.scopes = CP_SCOPES_ALL;
    const char *every = give_key(&t, "every", &all);
    open_table(&t);
    assert_int_equal(admitted(t.access, metrics, 0, "").reply.status, 401);
    assert_int_equal(admitted(t.access, metrics, 0, most).reply.status, 403);
    cp_http_request request = admitted(t.access, metrics, 0, every);
    assert_int_equal(request.reply.status, 0);
    assert_string_equal(cp_access_owner(&request), "every");
    assert_true(cp_access_allows(&request, CP_SCOPE_PATIENTS_READ));
    assert_int_equal(admitted(t.access, metrics, CP_SCOPE_OPEN, "").reply.status, 0);
    request = admitted(NULL, metrics, 0, ""); /* without keys all is allowed, to nobody's name */
    assert_int_equal(request.reply.status, 0);
    assert_string_equal(cp_access_owner(&request), "");
    assert_true(cp_access_allows(&request, CP_SCOPE_ADMIN));
    cp_access_close(t.access);
    cp_metrics_free(metrics);
}

/* ---- addresses ------------------------------------------------------------------------------- */

#define MINUTE_NS 60000000000u

/* One request of `address` at 3 a minute; the seconds to wait, 0 when it may. */
static int take(cp_address_limit *limit, const char *address, uint64_t now_ns) {
    cp_address client;
    int wait_s = -1;
    assert_true(cp_address_parse((cp_str){address, strlen(address)}, &client));
    bool taken = cp_address_limit_take(limit, &client, 3, now_ns, &wait_s);
    assert_int_equal(taken, wait_s == 0);
    return wait_s;
}

static void each_address_has_its_own_rate(void **state) {
    cp_address_limit *limit;
    cp_error err;
    (void)state;
    assert_cp_ok(cp_address_limit_create(&limit, &err));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(take(limit, "192.0.2.1", 5), 0);
        assert_int_equal(take(limit, "2001:db8:0:1::1", 5), 0);
    }
    assert_int_equal(take(limit, "192.0.2.1", 5), 20);
    assert_int_equal(take(limit, "192.0.2.2", 5), 0);
    /* one customer's network of IPv6 is one; its neighbour is another */
    assert_int_equal(take(limit, "2001:db8:0:1:ffff::9", 5), 20);
    assert_int_equal(take(limit, "2001:db8:0:2::1", 5), 0);
    assert_int_equal(take(limit, "192.0.2.1", 5 + MINUTE_NS / 3), 0);
    assert_int_equal(take(limit, "192.0.2.1", 5 + MINUTE_NS / 3), 20);
    cp_address_limit_free(limit);
    cp_address_limit_free(NULL);
}

/* More addresses than places: the busy one is kept, since it has never been quiet longest. */
static void a_flood_of_addresses_displaces_the_quiet_ones(void **state) {
    cp_address_limit *limit;
    cp_error err;
    char address[40];
    uint64_t now_ns = 1;
    (void)state;
    assert_cp_ok(cp_address_limit_create(&limit, &err));
    for (int i = 0; i < 3; i++)
        assert_int_equal(take(limit, "192.0.2.1", now_ns), 0);
    for (int i = 0; i < 4 * CP_ADDRESS_PLACES; i++) {
        snprintf(address, sizeof address, "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        assert_int_equal(take(limit, address, ++now_ns), 0);
        assert_true(take(limit, "192.0.2.1", ++now_ns) > 0);
    }
    assert_int_equal(take(limit, "10.0.0.0", ++now_ns), 0);
    cp_address_limit_free(limit);
}

/* ---- the command ----------------------------------------------------------------------------- */

static test_run run_keys(const char *const *args, int exit_code) {
    const char *argv[20] = {NULL, "keys"};
    for (size_t i = 0; args[i]; i++)
        argv[2 + i] = args[i];
    test_run run = test_run_program(argv, NULL, NULL);
    if (run.exit_code != exit_code)
        fail_msg("exit %d: %s", run.exit_code, cp_strbuf_text(&run.err));
    return run;
}
#define RUN_KEYS(exit_code, ...) run_keys((const char *const[]){__VA_ARGS__, NULL}, exit_code)

static void the_command_makes_lists_and_revokes(void **state) {
    table t = new_table();
    char header[200];
    struct stat info;
    (void)state;
    test_run run = RUN_KEYS(0, "create", "--file", t.path, "--id", "ward-3", "--scopes",
                            "triage,metrics", "--rate-per-minute", "7", "--burst", "3",
                            "--daily-quota-tokens", "1000", "--not-after", "2027-06-30T00:00:00Z");
    snprintf(header, sizeof header, "Bearer %.*s", (int)strcspn(run.out.data, "\n"), run.out.data);
    assert_null(strstr(cp_strbuf_text(&run.err), "cpk_"));
    test_run_free(&run);
    assert_int_equal(stat(t.path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    open_table(&t);
    assert_int_equal(ask(&t, header, CP_SCOPE_METRICS), CP_ACCESS_GRANTED);

    run = RUN_KEYS(2, "create", "--file", t.path, "--id", "ward-3", "--scopes", "chat");
    assert_non_null(strstr(cp_strbuf_text(&run.err), "a key ward-3 already"));
    assert_int_equal(run.out.n, 0);
    test_run_free(&run);
    run = RUN_KEYS(0, "create", "--json", "--file", t.path, "--id", "b", "--scopes", "chat");
    cJSON *made = test_run_json(&run);
    assert_int_equal(strncmp(cJSON_GetObjectItem(made, "key")->valuestring, "cpk_b_", 6), 0);
    cJSON_Delete(made);
    test_run_free(&run);

    run = RUN_KEYS(0, "list", "--file", t.path);
    assert_non_null(strstr(run.out.data, "2027-06-30T00:00:00Z  triage,metrics\n"));
    assert_null(strstr(run.out.data, "cpk_"));
    test_run_free(&run);
    run = RUN_KEYS(0, "list", "--json", "--file", t.path);
    cJSON *list = test_run_json(&run);
    assert_int_equal(cJSON_GetArraySize(list), 2);
    const cJSON *first = cJSON_GetArrayItem(list, 0);
    assert_int_equal(cJSON_GetObjectItem(first, "rate_per_minute")->valueint, 7);
    assert_null(cJSON_GetObjectItem(first, "hash"));
    assert_null(cJSON_GetObjectItem(first, "salt"));
    cJSON_Delete(list);
    test_run_free(&run);

    run = RUN_KEYS(0, "revoke", "--file", t.path, "--id", "ward-3");
    test_run_free(&run);
    tick(&t);
    assert_int_equal(ask(&t, header, CP_SCOPE_METRICS), CP_ACCESS_WRONG_KEY);
    assert_int_equal(cp_access_n_keys(t.access), 1);
    cp_access_close(t.access);
}

static void a_wrong_use_of_the_command_is_told(void **state) {
    table t = new_table();
    const char *f = t.path;
    (void)state;
    (void)give_key(&t, "a", &plain);
    const struct {
        const char *args[12];
        int exit_code;
        const char *sentence;
    } cases[] = {
        {{"--file", f}, 2, "expected create, list or revoke"},
        {{"destroy", "--file", f}, 2, "expected create, list or revoke"},
        {{"list"}, 2, "--file"},
        {{"list", "--file", "no/such"}, 1, "no"},
        {{"revoke", "--file", f}, 2, "--id"},
        {{"revoke", "--file", f, "--id", "nobody"}, 1, "has no key nobody"},
        {{"create", "--file", f, "--id", "b"}, 2, "--scopes"},
        {{"create", "--file", f, "--scopes", "chat"}, 2, "--id"},
        {{"create", "--file", f, "--id", "b", "--scopes", "chat,root"}, 2, "\"root\""},
        {{"create", "--file", f, "--id", "B", "--scopes", "chat"}, 2, "\"B\""},
        {{"create", "--file", f, "--id", "b", "--scopes", "chat", "--not-after", "tomorrow"},
         2,
         "--not-after"},
        {{"create", "--file", f, "--id", "b", "--scopes", "chat", "--burst", "0"}, 2, "--burst"},
    };
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        test_run run = run_keys(cases[i].args, cases[i].exit_code);
        if (!strstr(cp_strbuf_text(&run.err), cases[i].sentence))
            fail_msg("expected %s in: %s", cases[i].sentence, cp_strbuf_text(&run.err));
        assert_int_equal(run.out.n, 0);
        test_run_free(&run);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_rate_is_exact_to_the_nanosecond),
    cmocka_unit_test(a_rest_fills_the_burst_and_no_more),
    cmocka_unit_test(a_rate_equals_its_definition),
    cmocka_unit_test(a_key_is_known_by_its_secret_alone),
    cmocka_unit_test(what_is_no_key_is_not_taken_for_one),
    cmocka_unit_test(a_file_of_keys_is_read_as_it_was_written),
    cmocka_unit_test(a_faulty_file_is_refused_with_key_and_field),
    cmocka_unit_test(a_file_that_is_no_list_of_keys_is_refused),
    cmocka_unit_test(a_damaged_file_hurts_nobody),
    cmocka_unit_test(scopes_on_a_command_line_are_strict),
    cmocka_unit_test(a_file_that_others_can_read_is_refused),
    cmocka_unit_test(each_credential_gets_its_verdict),
    cmocka_unit_test(a_rate_is_each_keys_own_and_refusals_are_free),
    cmocka_unit_test(a_quota_ends_with_the_day),
    cmocka_unit_test(a_changed_file_takes_effect_and_usage_stays),
    cmocka_unit_test(a_bad_version_of_the_file_changes_nothing),
    cmocka_unit_test(no_failed_allocation_hurts_the_keys),
    cmocka_unit_test(a_route_without_scope_is_not_open),
    cmocka_unit_test(each_address_has_its_own_rate),
    cmocka_unit_test(a_flood_of_addresses_displaces_the_quiet_ones),
    cmocka_unit_test(the_command_makes_lists_and_revokes),
    cmocka_unit_test(a_wrong_use_of_the_command_is_told),
};
CP_TEST_GROUP(access, tests)
