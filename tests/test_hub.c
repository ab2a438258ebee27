/* The hub's client and cache against a hub of our own: what is fetched, resumed, refused and left
 * behind. */
#include "tests/hub_api.h"
#include "tests/load_server.h"

#include "base/crypto.h"
#include "base/file.h"
#include "hub/catalogue.h"
#include "hub/hub_cache.h"
#include "hub/hub_index.h"
#include "hub/hub_pull.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMALL   GOLDEN "/models/tied-gqa2"
#define SHARDED GOLDEN "/models/untied-gqa4-sharded"

/* Impatient, so that a test takes no time. */
static const cp_hub_limits hasty = {
    .connect_s = 20, .stall_s = 20, .max_tries = 4, .pause_s = 0.001, .max_wait_s = 5};

typedef struct pulling {
    char cache[512];
    cp_hub_settings settings;
    cp_pull_report report;
    cp_error err;
} pulling;

static void start(pulling *p, const char *folder) {
    test_hub_start(folder);
    *p = (pulling){.report.n_files = 0};
    snprintf(p->cache, sizeof p->cache, "%s", test_path(test_tmp_dir(), "cache"));
    snprintf(p->settings.cache, sizeof p->settings.cache, "%s", p->cache);
    snprintf(p->settings.endpoint, sizeof p->settings.endpoint, "%s", test_hub_url());
    p->settings.is_local = true;
}

static void stop(pulling *p) {
    cp_pull_report_deinit(&p->report);
    test_hub_stop();
}

static cp_status pull_at(pulling *p, const char *revision) {
    const cp_pull_options options = {.repo = TEST_HUB_REPO, .revision = revision, .limits = &hasty};
    cp_pull_report_deinit(&p->report);
    return cp_pull(&p->settings, &options, &p->report, &p->err);
}

static cp_status pull(pulling *p) {
    return pull_at(p, NULL);
}

static void pull_well(pulling *p) {
    if (pull(p) != CP_OK)
        fail_msg("%s", p->err.message);
}

/* The pull fails so, with these words; and the sentence never tells the token. */
static void pull_fails(pulling *p, cp_status status, const char *words) {
    cp_status got = pull(p);
    if (got != status || !strstr(p->err.message, words))
        fail_msg("status %d, \"%s\", expected %d, \"%s\"", got, p->err.message, status, words);
    assert_null(strstr(p->err.message, TEST_HUB_TOKEN));
}

/* A path in the repository's folder of the cache. */
static const char *in_cache(const pulling *p, const char *rest) {
    static char path[2048];
    snprintf(path, sizeof path, "%s/models--org--model/%.1024s", p->cache, rest);
    return path;
}

static const char *remove_all(const pulling *p) {
    static char command[1024];
    snprintf(command, sizeof command, "rm -rf '%s'", p->cache);
    return command;
}

static void assert_same_file(const char *a, const char *b) {
    cp_error err;
    cp_strbuf x, y;
    assert_cp_ok(cp_file_read(a, 1 << 26, &x, &err));
    assert_cp_ok(cp_file_read(b, 1 << 26, &y, &err));
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.data, y.data, x.n);
    cp_strbuf_deinit(&x);
    cp_strbuf_deinit(&y);
}

/* The snapshot has the folder's files, byte for byte, and by relative links. */
static void assert_pulled(const pulling *p, const char *folder) {
    const struct dirent *entry;
    DIR *dir = opendir(folder);
    size_t n = 0;
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        char target[256] = "";
        if (entry->d_name[0] == '.')
            continue;
        const char *path = test_path(p->report.dir, entry->d_name);
        assert_same_file(path, test_path(folder, entry->d_name));
        assert_true(readlink(path, target, sizeof target - 1) > 0);
        assert_memory_equal(target, "../../blobs/", 12);
        n++;
    }
    closedir(dir);
    assert_int_equal(p->report.n_files, n);
}

/* Entries of a folder of the cache that end with `end` ("": all). */
static size_t count(const pulling *p, const char *folder, const char *end) {
    const struct dirent *entry;
    DIR *dir = opendir(in_cache(p, folder));
    size_t n = 0;
    while (dir && (entry = readdir(dir))) {
        size_t length = strlen(entry->d_name), m = strlen(end);
        n += entry->d_name[0] != '.' && length >= m && strcmp(entry->d_name + length - m, end) == 0;
    }
    if (dir)
        closedir(dir);
    return n;
}

/* ---- what is fetched ------------------------------------------------------------------------- */

static void a_model_is_fetched_and_then_is_there(void **state) {
    (void)state;
    pulling p;
    cp_error err;
    cp_strbuf ref;
    start(&p, SHARDED);
    pull_well(&p);
    assert_pulled(&p, SHARDED);
    assert_string_equal(p.report.commit, TEST_HUB_COMMIT);
    assert_int_equal(p.report.bytes, p.report.fetched_bytes);
    assert_cp_ok(cp_file_read(in_cache(&p, "refs/main"), 64, &ref, &err));
    assert_string_equal(cp_strbuf_text(&ref), TEST_HUB_COMMIT);
    cp_strbuf_deinit(&ref);
    assert_int_equal(count(&p, "blobs", ""), p.report.n_files);
    assert_int_equal(count(&p, "blobs", CP_HUB_INCOMPLETE), 0);
    size_t sent = test_hub_bytes_sent();
    pull_well(&p); /* again: only questions */
    assert_pulled(&p, SHARDED);
    assert_int_equal(p.report.fetched_bytes, 0);
    assert_int_equal(test_hub_bytes_sent(), sent);
    stop(&p);
}

static void a_copy_that_is_whole_needs_no_request(void **state) {
    (void)state;
    pulling p;
    char dir[CP_PATH_CAP];
    start(&p, SMALL);
    assert_false(cp_pull_find(&p.settings, TEST_HUB_REPO, NULL, dir));
    pull_well(&p);
    (void)test_hub_n_requests();
    assert_true(cp_pull_find(&p.settings, TEST_HUB_REPO, NULL, dir));
    assert_string_equal(dir, p.report.dir);
    p.settings.offline = true;
    pull_well(&p);
    assert_true(p.report.asked_nobody);
    assert_int_equal(p.report.n_files, 5);
    p.settings.offline = false;
    assert_int_equal(pull_at(&p, TEST_HUB_COMMIT), CP_OK);
    assert_int_equal(test_hub_n_requests(), 0);
    /* Offline, and something is missing: a sentence, no request. */
    assert_int_equal(unlink(test_path(p.report.dir, "model.safetensors")), 0);
    p.settings.offline = true;
    pull_fails(&p, CP_ERR_NOT_FOUND, "HF_HUB_OFFLINE is set");
    assert_int_equal(test_hub_n_requests(), 0);
    /* Online the blob is still there: the link is made again. */
    size_t sent = test_hub_bytes_sent();
    p.settings.offline = false;
    pull_well(&p);
    assert_int_equal(test_hub_bytes_sent(), sent);
    stop(&p);
}

static void revisions_are_told_apart(void **state) {
    (void)state;
    pulling p;
    start(&p, SMALL);
    assert_int_equal(pull_at(&p, "refs/pr/1"), CP_OK);
    assert_true(cp_file_exists(in_cache(&p, "refs/refs/pr/1")));
    assert_false(cp_file_exists(in_cache(&p, "refs/main")));
    assert_int_equal(pull_at(&p, "v9"), CP_ERR_NOT_FOUND);
    assert_non_null(strstr(p.err.message, "has no revision v9"));
    static const char *const wrong[] = {"../main", "a/../b", "/main", "",    ".hidden", "a//b",
                                        "a b",     "-x",     "a/",    "x?y", "a%2Fb"};
    (void)test_hub_n_requests();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (pull_at(&p, wrong[i]) != CP_ERR_USAGE)
            fail_msg("revision \"%s\" was taken", wrong[i]);
    assert_int_equal(test_hub_n_requests(), 0);
    stop(&p);
}

static void a_hub_that_is_gone_leaves_the_last_copy(void **state) {
    (void)state;
    pulling p;
    start(&p, SMALL);
    pull_well(&p);
    /* A port where nobody listens. */
    snprintf(p.settings.endpoint, sizeof p.settings.endpoint, "http://127.0.0.1:1");
    pull_well(&p);
    assert_true(p.report.unreachable);
    assert_pulled(&p, SMALL);
    snprintf(p.settings.cache, sizeof p.settings.cache, "%s", test_path(test_tmp_dir(), "empty"));
    pull_fails(&p, CP_ERR_IO, "the hub cannot be reached");
    assert_non_null(strstr(p.err.message, "https_proxy"));
    stop(&p);
}

/* ---- interruptions --------------------------------------------------------------------------- */

static void twenty_random_drops_end_with_the_right_hash(void **state) {
    (void)state;
    pulling p;
    cp_error err;
    start(&p, SHARDED);
    test_hub.seed = 20260914;
    test_hub.n_drops = 20;
    printf("seed %llu\n", (unsigned long long)test_hub.seed);
    pull_well(&p);
    assert_int_equal(test_hub.n_drops, 0);
    assert_pulled(&p, SHARDED);
    for (size_t i = 0; i < p.report.n_files; i++) {
        char hex[CP_DIGEST_HEX_CAP];
        cp_strbuf bytes;
        cp_sha256 hash;
        if (strlen(p.report.files[i].hash) != 64)
            continue;
        assert_cp_ok(
            cp_file_read(test_path(p.report.dir, p.report.files[i].name), 1 << 26, &bytes, &err));
        assert_cp_ok(cp_sha256_of(cp_strbuf_str(&bytes), &hash, &err));
        cp_hex(hash.bytes, sizeof hash.bytes, hex);
        assert_string_equal(hex, p.report.files[i].hash);
        cp_strbuf_deinit(&bytes);
    }
    /* What was there was not sent again: each drop costs at most what lay in buffers. */
    assert_true(test_hub_bytes_sent() <= p.report.bytes + 20 * 16384);
    assert_int_equal(count(&p, "blobs", CP_HUB_INCOMPLETE), 0);
    stop(&p);
}

static void connections_that_bring_nothing_end_the_pull(void **state) {
    (void)state;
    pulling p;
    start(&p, SMALL);
    test_hub.n_drops = 1000;
    test_hub.drops_at_once = true;
    pull_fails(&p, CP_ERR_IO, "pull again");
    assert_true(test_hub.n_drops >= 1000 - 5 * (int)hasty.max_tries);
    stop(&p);
}

typedef struct killing {
    uint64_t at;
    uint64_t seen;
} killing;

static bool stop_at(void *user, uint64_t done, uint64_t total) {
    killing *k = user;
    k->seen = done;
    return total == 0 || done < k->at;
}

static void what_was_stopped_goes_on_where_it_was(void **state) {
    (void)state;
    pulling p;
    killing k = {.at = 300000};
    start(&p, SMALL);
    test_hub.sleep_ms = 15;
    const cp_pull_options options = {.repo = TEST_HUB_REPO,
                                     .limits = &hasty,
                                     .n_parallel = 1,
                                     .on_progress = stop_at,
                                     .user = &k};
    assert_int_equal(cp_pull(&p.settings, &options, &p.report, &p.err), CP_ERR_CANCELLED);
    assert_int_equal(count(&p, "blobs", CP_HUB_INCOMPLETE), 1);
    assert_false(cp_file_exists(in_cache(&p, "refs/main")));
    size_t sent = test_hub_bytes_sent();
    assert_true(sent >= 300000);
    test_hub.sleep_ms = 0;
    pull_well(&p);
    assert_pulled(&p, SMALL);
    assert_int_equal(count(&p, "blobs", CP_HUB_INCOMPLETE), 0);
    assert_true(test_hub_bytes_sent() - sent < p.report.bytes - 200000);
    stop(&p);
}

/* The beginning that an earlier run left is of something else: the file is fetched from its first
 * byte. One that is too long cannot be its beginning either. */
static void a_wrong_beginning_is_thrown_away(void **state) {
    (void)state;
    pulling p;
    char hash[CP_HUB_HASH_CAP] = "", path[1024];
    start(&p, SMALL);
    pull_well(&p);
    for (size_t i = 0; i < p.report.n_files; i++)
        if (strcmp(p.report.files[i].name, "model.safetensors") == 0)
            memcpy(hash, p.report.files[i].hash, sizeof hash);
    snprintf(path, sizeof path, "blobs/%s", hash);
    for (size_t n = 5000; n <= 5000000; n *= 1000) {
        char *bytes = calloc(n, 1), *name = NULL;
        assert_non_null(bytes);
        assert_int_equal(unlink(in_cache(&p, path)), 0);
        assert_true(asprintf(&name, "%s" CP_HUB_INCOMPLETE, in_cache(&p, path)) > 0);
        test_write_file(name, bytes, n);
        pull_well(&p);
        assert_pulled(&p, SMALL);
        free(bytes);
        free(name);
    }
    /* A beginning of a file that nobody wants any more is removed. */
    snprintf(path, sizeof path, "blobs/%064d" CP_HUB_INCOMPLETE, 7);
    test_write_file(in_cache(&p, path), "x", 1);
    pull_well(&p);
    assert_int_equal(count(&p, "blobs", CP_HUB_INCOMPLETE), 0);
    stop(&p);
}

static void servers_without_ranges_send_all_again(void **state) {
    (void)state;
    pulling p;
    start(&p, SMALL);
    test_hub.no_ranges = true;
    test_hub.n_drops = 2;
    test_hub.seed = 5;
    pull_well(&p);
    assert_pulled(&p, SMALL);
    stop(&p);
}

static void an_expired_signature_is_renewed(void **state) {
    (void)state;
    pulling p;
    start(&p, SMALL);
    test_hub.expire = 2;
    pull_well(&p);
    assert_pulled(&p, SMALL);
    stop(&p);
}

/* ---- two at once ----------------------------------------------------------------------------- */

static void *pull_in_thread(void *user) {
    pulling *p = user;
    const cp_pull_options options = {.repo = TEST_HUB_REPO, .limits = &hasty};
    return (void *)(intptr_t)cp_pull(&p->settings, &options, &p->report, &p->err);
}

static void two_pulls_at_once_fetch_everything_once(void **state) {
    (void)state;
    pulling p, q;
    pthread_t thread;
    void *result;
    start(&p, SHARDED);
    test_hub.sleep_ms = 1;
    q = p;
    assert_int_equal(pthread_create(&thread, NULL, pull_in_thread, &q), 0);
    cp_status status = pull(&p);
    pthread_join(thread, &result);
    if (status != CP_OK || result)
        fail_msg("%s / %s", p.err.message, q.err.message);
    assert_pulled(&p, SHARDED);
    assert_pulled(&q, SHARDED);
    assert_int_equal(test_hub_bytes_sent(), p.report.bytes);
    cp_pull_report_deinit(&q.report);
    stop(&p);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void set_token(pulling *p, const char *token) {
    snprintf(p->settings.token, sizeof p->settings.token, "%s", token);
}

static void refusals_say_what_to_do(void **state) {
    (void)state;
    pulling p;
    start(&p, SMALL);
    test_hub.token = TEST_HUB_TOKEN;
    pull_fails(&p, CP_ERR_IO, "set HF_TOKEN to a token");
    assert_true(p.report.needs_token);
    set_token(&p, "hf_wrong");
    pull_fails(&p, CP_ERR_IO, "refuses the token");
    assert_false(p.report.needs_token);
    test_hub.gated = true;
    set_token(&p, "");
    pull_fails(&p, CP_ERR_IO, "accepted its licence");
    set_token(&p, TEST_HUB_TOKEN);
    pull_fails(&p, CP_ERR_IO, "licence of org/model is not accepted");
    test_hub.gated = false;
    pull_well(&p); /* and the token was not seen at the second server */
    assert_pulled(&p, SMALL);
    stop(&p);
}

static void what_is_not_there_is_named(void **state) {
    (void)state;
    pulling p;
    const cp_pull_options unknown = {.repo = "org/other", .limits = &hasty};
    start(&p, "data/triage");
    pull_fails(&p, CP_ERR_NOT_FOUND, "no config.json");
    assert_int_equal(cp_pull(&p.settings, &unknown, &p.report, &p.err), CP_ERR_NOT_FOUND);
    assert_non_null(strstr(p.err.message, "org/other"));
    static const char *const wrong[] = {"org",    "../x",    "a/b/c",  "org/..",  "org/", "/x",
                                        "a--b/c", "org/x y", ".org/x", "org/x?y", ""};
    (void)test_hub_n_requests();
    for (size_t i = 1; i < sizeof wrong / sizeof wrong[0]; i++) {
        const cp_pull_options options = {.repo = wrong[i], .limits = &hasty};
        if (cp_pull(&p.settings, &options, &p.report, &p.err) != CP_ERR_USAGE)
            fail_msg("repository \"%s\" was taken", wrong[i]);
    }
    assert_int_equal(test_hub_n_requests(), 0);
    stop(&p);
}

static void too_many_requests_are_waited_for(void **state) {
    (void)state;
    pulling p;
    start(&p, SMALL);
    test_hub.refusal = 429;
    test_hub.n_refusals = 3;
    test_hub.retry_after = "0";
    pull_well(&p);
    test_hub.refusal = 503;
    test_hub.n_refusals = 3;
    test_hub.retry_after = NULL;
    pull_well(&p);
    test_hub.refusal = 429;
    test_hub.n_refusals = 1000;
    test_hub.retry_after = "0";
    pull_fails(&p, CP_ERR_BUSY, "(429)");
    assert_int_equal(test_hub.n_refusals, 1000 - (int)hasty.max_tries);
    test_hub.retry_after = "3600"; /* nobody waits an hour */
    pull_fails(&p, CP_ERR_BUSY, "in 3600 seconds");
    test_hub.refusal = 500;
    test_hub.retry_after = NULL;
    pull_fails(&p, CP_ERR_IO, "answers 500");
    stop(&p);
}

static void a_full_disk_is_seen_before_it_is_full(void **state) {
    (void)state;
    pulling p;
    start(&p, SMALL);
    test_hub.size = 1ULL << 52;
    pull_fails(&p, CP_ERR_LIMIT, "GB of disk");
    assert_int_equal(count(&p, "blobs", CP_HUB_INCOMPLETE), 0);
    stop(&p);
}

static void wrong_bytes_never_become_a_model(void **state) {
    (void)state;
    pulling p;
    start(&p, SMALL);
    test_hub.wrong_bytes = true;
    pull_fails(&p, CP_ERR_FORMAT, "is not what the hub announced");
    assert_int_equal(count(&p, "blobs", CP_HUB_INCOMPLETE), 0);
    assert_false(cp_file_exists(in_cache(&p, "snapshots/" TEST_HUB_COMMIT "/model.safetensors")));
    assert_false(cp_file_exists(in_cache(&p, "refs/main")));
    test_hub.wrong_bytes = false;
    test_hub.no_hash = true;
    snprintf(p.settings.cache, sizeof p.settings.cache, "%s", test_path(test_tmp_dir(), "other"));
    pull_fails(&p, CP_ERR_FORMAT, "does not say the hash");
    test_hub.no_hash = false;
    test_hub.no_commit = true;
    pull_fails(&p, CP_ERR_FORMAT, "X-Repo-Commit");
    stop(&p);
}

static void a_file_that_changes_is_noticed(void **state) {
    (void)state;
    for (int after = 2; after < 9; after++) {
        pulling p;
        start(&p, SMALL);
        test_hub.change_after = after;
        pull_fails(&p, CP_ERR_FORMAT, "changed on the hub");
        assert_false(cp_file_exists(in_cache(&p, "refs/main")));
        stop(&p);
        assert_int_equal(system(remove_all(&p)), 0);
    }
    pulling p;
    start(&p, SMALL);
    test_hub.change_silently = true;
    pull_fails(&p, CP_ERR_FORMAT, "another hash");
    stop(&p);
}

static void lengths_that_lie_are_caught(void **state) {
    (void)state;
    pulling p;
    start(&p, SMALL);
    test_hub.size_lie = 100; /* more bytes than the file has */
    pull_fails(&p, CP_ERR_FORMAT, "more bytes than it has");
    test_hub.size_lie = -100; /* each answer ends early, and looks whole: the rest is asked for */
    pull_fails(&p, CP_ERR_FORMAT, "sends nothing more");
    test_hub.size_lie = 1 << 30; /* never so much comes, but what comes is right */
    pull_well(&p);
    assert_pulled(&p, SMALL);
    assert_int_equal(system(remove_all(&p)), 0);
    test_hub.size_lie = 0;
    test_hub.n_drops = 1;
    test_hub.seed = 3;
    test_hub.other_part = true;
    pull_fails(&p, CP_ERR_FORMAT, "another part");
    test_hub.other_part = false;
    pull_well(&p);
    assert_pulled(&p, SMALL);
    stop(&p);
}

static void redirects_lead_nowhere_else(void **state) {
    (void)state;
    pulling p;
    static const char *const hostile[] = {
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://192.0.2.1/x",          /* http to another machine */
        "http://user:pass@127.0.0.1/", /* names and passwords */
        "http://127.0.0.1.example.com/",
        "gopher://127.0.0.1:70/_x",
        "http://[::ffff:192.0.2.1]/x",
        "",
    };
    start(&p, SMALL);
    set_token(&p, TEST_HUB_TOKEN);
    test_hub.token = TEST_HUB_TOKEN;
    test_hub.ring = true;
    pull_fails(&p, CP_ERR_FORMAT, "redirects more than 8 times");
    test_hub.ring = false;
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        test_hub.location = hostile[i];
        pull_fails(&p, CP_ERR_FORMAT, "redirects");
    }
    stop(&p);
}

static void hostile_names_stay_outside(void **state) {
    (void)state;
    static const char *const names[] = {"../../x.safetensors",
                                        "/etc/x.safetensors",
                                        "a/b.safetensors",
                                        ".safetensors",
                                        ".x.safetensors",
                                        "..safetensors",
                                        "x\\u0000y.safetensors",
                                        "config.json",
                                        "x\\n.safetensors",
                                        "-x.safetensors",
                                        "%2e%2e%2fx.safetensors",
                                        "x?y.safetensors",
                                        ""};
    pulling p;
    char index[256];
    start(&p, SHARDED);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(index, sizeof index, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
        test_hub.index = index;
        cp_status status = pull(&p);
        if (status != CP_ERR_FORMAT || !strstr(p.err.message, "model.safetensors.index.json"))
            fail_msg("\"%s\": %s", names[i], p.err.message);
        /* The next index comes under the same commit. */
        assert_int_equal(
            unlink(in_cache(&p, "snapshots/" TEST_HUB_COMMIT "/model.safetensors.index.json")), 0);
    }
    stop(&p);
}

static void indexes_are_read_strictly(void **state) {
    (void)state;
    static const char *const wrong[] = {"",
                                        "{}",
                                        "[]",
                                        "{\"weight_map\":{}}",
                                        "{\"weight_map\":[]}",
                                        "{\"weight_map\":{\"a\":1}}",
                                        "{\"weight_map\":{\"a\":\"x.safetensors\"}",
                                        "{\"weight_map\":{\"a\":\"x.safetensors\"}} x"};
    cp_error err;
    cp_hub_shards shards;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (cp_hub_index_read("i", (cp_str){wrong[i], strlen(wrong[i])}, &shards, &err) !=
            CP_ERR_FORMAT)
            fail_msg("taken: %s", wrong[i]);
    static const char good[] =
        "{\"metadata\":{\"total_size\":3},\"weight_map\":{\"a\":"
        "\"x.safetensors\",\"b\":\"y.safetensors\",\"c\":\"x.safetensors\"}}";
    assert_cp_ok(cp_hub_index_read("i", CP_STR(good), &shards, &err));
    assert_int_equal(shards.n, 2);
    assert_string_equal(shards.names[1], "y.safetensors");
    cp_hub_shards_deinit(&shards);
    cp_strbuf many;
    cp_strbuf_init(&many, 1 << 20);
    cp_strbuf_puts(&many, "{\"weight_map\":{");
    for (int i = 0; i <= CP_HUB_MAX_SHARDS; i++)
        cp_strbuf_printf(&many, "%s\"t%d\":\"%d.safetensors\"", i ? "," : "", i, i);
    cp_strbuf_puts(&many, "}}");
    assert_int_equal(cp_hub_index_read("i", cp_strbuf_str(&many), &shards, &err), CP_ERR_FORMAT);
    cp_strbuf_deinit(&many);
}

/* ---- settings -------------------------------------------------------------------------------- */

static const char *const *variables; /* name, value, ..., NULL */

static char *get(const char *name) {
    for (size_t i = 0; variables[i]; i += 2)
        if (strcmp(variables[i], name) == 0)
            return (char *)(uintptr_t)variables[i + 1];
    return NULL;
}

#define SETTINGS(...)                                                                              \
    variables = (const char *const[]){__VA_ARGS__, NULL};                                          \
    status = cp_hub_settings_read(&s, get, &err)

static void settings_are_those_of_the_hub_s_tools(void **state) {
    (void)state;
    cp_hub_settings s;
    cp_error err;
    cp_status status;
    const char *dir = test_tmp_dir();
    test_write_file(test_path(dir, "token"), "hf_file\n", 8);
    SETTINGS("HOME", "/home/me");
    assert_int_equal(status, CP_OK);
    assert_string_equal(s.cache, "/home/me/.cache/huggingface/hub");
    assert_string_equal(s.endpoint, "https://huggingface.co");
    assert_false(s.is_local || s.offline || s.token[0]);
    SETTINGS("HOME", "/home/me", "XDG_CACHE_HOME", "/x");
    assert_string_equal(s.cache, "/x/huggingface/hub");
    SETTINGS("HF_HOME", dir, "HF_ENDPOINT", "http://127.0.0.1:99/", "HF_HUB_OFFLINE", "");
    assert_int_equal(status, CP_OK);
    assert_string_equal(s.token, "hf_file");
    assert_string_equal(s.endpoint, "http://127.0.0.1:99");
    assert_true(s.is_local);
    SETTINGS("HF_HOME", dir, "HF_HUB_CACHE", "/c", "HUGGING_FACE_HUB_TOKEN", "old",
             "HUGGINGFACE_TOKEN", "middle", "HF_HUB_OFFLINE", "0");
    assert_string_equal(s.cache, "/c");
    assert_string_equal(s.token, "middle");
    assert_false(s.offline);
    SETTINGS("HF_HOME", dir, "HF_TOKEN", " new \n", "HUGGINGFACE_TOKEN", "middle");
    assert_string_equal(s.token, "new");
    SETTINGS("HF_HOME", dir, "HF_HUB_OFFLINE", "TRUE");
    assert_true(s.offline && !s.token[0]);
    SETTINGS("HF_HOME", dir, "HF_TOKEN", "two SECRETS");
    assert_int_equal(status, CP_ERR_USAGE);
    assert_null(strstr(err.message, "SECRETS"));
    static const char *const wrong[] = {
        "http://huggingface.co", "http://192.168.0.1", "ftp://x",
        "nonsense://",           "https://me:you@hub", "https://h?q",
        "http://127.0.0.1.x.com"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        SETTINGS("HF_HOME", dir, "HF_ENDPOINT", wrong[i]);
        if (status != CP_ERR_USAGE || !strstr(err.message, "HF_ENDPOINT"))
            fail_msg("%s: %d", wrong[i], status);
    }
    SETTINGS("HF_ENDPOINT", "https://hub");
    assert_int_equal(status, CP_ERR_USAGE);
}

static void the_catalogue_knows_its_models(void **state) {
    (void)state;
    assert_string_equal(cp_catalogue_repo("qwen"), "Qwen/Qwen3-4B-Thinking-2507");
    assert_string_equal(cp_catalogue_repo("Qwen3-0.6B"), "Qwen/Qwen3-0.6B");
    assert_null(cp_catalogue_repo("mock"));
    assert_null(cp_catalogue_repo("Qwen/Qwen3-0.6B"));
    assert_int_equal(cp_catalogue_quantized("Qwen3-4B-Thinking-2507-int4"), 22);
    assert_int_equal(cp_catalogue_quantized("Qwen3-4B-Thinking-2507"), 0);
    assert_int_equal(cp_catalogue_quantized("Qwen3-0.6B-int4-mixed"), 10);
    assert_int_equal(cp_catalogue_quantized("Other-int4"), 0);
}

/* ---- the command ----------------------------------------------------------------------------- */

typedef struct command {
    char endpoint[128], home[1024], models[1024];
    const char *env[8];
} command;

static void prepare(command *c, const pulling *p) {
    snprintf(c->endpoint, sizeof c->endpoint, "HF_ENDPOINT=%s", test_hub_url());
    snprintf(c->home, sizeof c->home, "HF_HOME=%s", p->cache);
    snprintf(c->models, sizeof c->models, "MODEL_CACHE_DIR=%s-models", p->cache);
    const char *const env[] = {c->endpoint,
                               c->home,
                               c->models,
                               "HF_HUB_CACHE=",
                               "HF_TOKEN=",
                               "HUGGINGFACE_TOKEN=",
                               "HUGGING_FACE_HUB_TOKEN=",
                               NULL};
    memcpy(c->env, env, sizeof c->env);
}

static void the_command_pulls_and_quantizes(void **state) {
    (void)state;
    pulling p;
    command c;
    start(&p, SHARDED);
    prepare(&c, &p);
    static const char *const argv[] = {NULL,   "pull",   TEST_HUB_REPO, "--quant",
                                       "int8", "--json", NULL};
    for (int again = 0; again < 2; again++) {
        test_run run = test_run_program(argv, c.env, "");
        cJSON *json = test_run_json(&run);
        const cJSON *copy = cp_json_member(json, "copy");
        assert_string_equal(cp_json_text(json, "repository", ""), TEST_HUB_REPO);
        assert_string_equal(cp_json_text(json, "commit", ""), TEST_HUB_COMMIT);
        assert_int_equal(cJSON_GetArraySize(cp_json_member(json, "files")), 8);
        assert_true(cp_file_exists(test_path(cp_json_text(copy, "folder", ""), "tokenizer.json")));
        assert_int_equal(cJSON_IsTrue(cp_json_member(copy, "was_there")), again);
        cJSON_Delete(json);
        test_run_free(&run);
    }
    /* The copy says what it was made from; one of something else is left alone. */
    char dir[1024];
    snprintf(dir, sizeof dir, "%s-models/model-int8", p.cache);
    assert_int_equal(rename(dir, test_path(test_tmp_dir(), "away")), 0);
    static const char *const convert[] = {NULL, "convert", SMALL, NULL, "--quant", "int8", NULL};
    const char *with_dir[8];
    memcpy(with_dir, convert, sizeof convert);
    with_dir[3] = dir;
    test_run made = test_run_program(with_dir, NULL, "");
    assert_int_equal(made.exit_code, 0);
    test_run_free(&made);
    test_run refused = test_run_program(argv, c.env, "");
    assert_int_equal(refused.exit_code, 2);
    assert_non_null(strstr(cp_strbuf_text(&refused.err), "was made from"));
    test_run_free(&refused);
    stop(&p);
}

static void the_command_fails_in_one_line(void **state) {
    (void)state;
    pulling p;
    command c;
    start(&p, SMALL);
    prepare(&c, &p);
    static const struct {
        const char *argv[6];
        int exit_code;
        const char *words;
    } cases[] = {
        {{NULL, "pull", NULL}, 2, "repository is missing"},
        {{NULL, "pull", "../x", NULL}, 2, "is no repository"},
        {{NULL, "pull", TEST_HUB_REPO, "--quant", "int3", NULL}, 2, "--quant"},
        {{NULL, "pull", "org/other", NULL}, 1, "org/other"},
        {{NULL, "pull", TEST_HUB_REPO, "--revision", "none", NULL}, 1, "no revision none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_run run = test_run_program(cases[i].argv, c.env, "");
        const char *text = cp_strbuf_text(&run.err), *end = strchr(text, '\n');
        if (run.exit_code != cases[i].exit_code || !strstr(text, cases[i].words) || !end || end[1])
            fail_msg("case %zu: exit %d, %s", i, run.exit_code, text);
        assert_int_equal(run.out.n, 0);
        test_run_free(&run);
    }
    /* The disk fills while a file is written: as a limit of file sizes does. */
    const char *limited[] = {"/bin/sh", "-c", "ulimit -f 200; exec \"$0\" pull " TEST_HUB_REPO,
                             CP_TEST_PROGRAM, NULL};
    test_run run = test_run_program(limited, c.env, "");
    assert_int_equal(run.exit_code, 1);
    assert_non_null(strstr(cp_strbuf_text(&run.err), "cannot write"));
    test_run_free(&run);
    pull_well(&p); /* elsewhere it goes on */
    stop(&p);
}

/* A hub behind a proxy is asked through it; the token is not the proxy's. */
static bool be_a_proxy(const load_exchange *x) {
    if (strncmp(x->head, "CONNECT hub.example.org:443 ", 28) == 0 &&
        !strstr(x->head, TEST_HUB_TOKEN))
        x->server->n_seen_leaving++;
    return load_answer(x, 403, "", "no");
}

static void proxies_of_the_environment_are_used(void **state) {
    (void)state;
    pulling p;
    load_server proxy;
    start(&p, SMALL);
    load_server_start(&proxy, be_a_proxy);
    assert_int_equal(setenv("https_proxy", proxy.url, 1), 0);
    snprintf(p.settings.endpoint, sizeof p.settings.endpoint, "https://hub.example.org");
    p.settings.is_local = false;
    set_token(&p, TEST_HUB_TOKEN);
    pull_fails(&p, CP_ERR_IO, "the hub cannot be reached");
    assert_int_equal(unsetenv("https_proxy"), 0);
    assert_true(proxy.n_seen_leaving > 0);
    assert_int_equal(proxy.n_seen_leaving, proxy.n_requests);
    load_server_stop(&proxy);
    stop(&p);
}

/* Reads what the terminal shows until `words` are there, or its end. */
static bool read_until(int terminal, cp_strbuf *shown, const char *words) {
    char bytes[1024];
    ssize_t n;
    while (!strstr(cp_strbuf_text(shown), words)) {
        if ((n = read(terminal, bytes, sizeof bytes)) <= 0)
            return false;
        cp_strbuf_append(shown, bytes, (size_t)n);
    }
    return true;
}

static void a_terminal_is_asked_for_the_token_and_does_not_show_it(void **state) {
    (void)state;
    pulling p;
    command c;
    int terminal, exit_status;
    cp_strbuf shown;
    start(&p, SMALL);
    prepare(&c, &p);
    test_hub.token = TEST_HUB_TOKEN;
    cp_strbuf_init(&shown, 1 << 16);
    pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
    if (pid == 0) {
        for (size_t v = 0; c.env[v]; v++)
            putenv((char *)(uintptr_t)c.env[v]);
        execl(CP_TEST_PROGRAM, CP_TEST_PROGRAM, "pull", TEST_HUB_REPO, (char *)NULL);
        _exit(127);
    }
    assert_true(read_until(terminal, &shown, "Token (not shown"));
    assert_true(write(terminal, TEST_HUB_TOKEN "\n", sizeof TEST_HUB_TOKEN) > 0);
    (void)read_until(terminal, &shown, "nothing that will ever be shown");
    assert_int_equal(waitpid(pid, &exit_status, 0), pid);
    assert_int_equal(exit_status, 0);
    assert_non_null(strstr(cp_strbuf_text(&shown), "model folder: "));
    assert_non_null(strstr(cp_strbuf_text(&shown), "100%")); /* the bar */
    assert_null(strstr(cp_strbuf_text(&shown), TEST_HUB_TOKEN));
    close(terminal);
    cp_strbuf_deinit(&shown);
    stop(&p);
}

/* A pull that is killed at any time leaves what the next one can use. */
static void a_killed_pull_is_gone_on_with(void **state) {
    (void)state;
    pulling p;
    command c;
    start(&p, SHARDED);
    prepare(&c, &p);
    test_hub.sleep_ms = 3;
    for (int i = 0; i < 6; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            for (size_t v = 0; c.env[v]; v++)
                putenv((char *)(uintptr_t)c.env[v]);
            if (freopen("/dev/null", "w", stdout))
                execl(CP_TEST_PROGRAM, CP_TEST_PROGRAM, "pull", TEST_HUB_REPO, (char *)NULL);
            _exit(127);
        }
        struct timespec pause = {0, 20000000L + i * 60000000L};
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    test_hub.sleep_ms = 0;
    snprintf(p.settings.cache, sizeof p.settings.cache, "%s/hub", p.cache);
    strcat(p.cache, "/hub");
    pull_well(&p);
    assert_pulled(&p, SHARDED);
    assert_int_equal(count(&p, "blobs", ""), p.report.n_files);
    stop(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_model_is_fetched_and_then_is_there),
    cmocka_unit_test(a_copy_that_is_whole_needs_no_request),
    cmocka_unit_test(revisions_are_told_apart),
    cmocka_unit_test(a_hub_that_is_gone_leaves_the_last_copy),
    cmocka_unit_test(twenty_random_drops_end_with_the_right_hash),
    cmocka_unit_test(connections_that_bring_nothing_end_the_pull),
    cmocka_unit_test(what_was_stopped_goes_on_where_it_was),
    cmocka_unit_test(a_wrong_beginning_is_thrown_away),
    cmocka_unit_test(servers_without_ranges_send_all_again),
    cmocka_unit_test(an_expired_signature_is_renewed),
    cmocka_unit_test(two_pulls_at_once_fetch_everything_once),
    cmocka_unit_test(refusals_say_what_to_do),
    cmocka_unit_test(what_is_not_there_is_named),
    cmocka_unit_test(too_many_requests_are_waited_for),
    cmocka_unit_test(a_full_disk_is_seen_before_it_is_full),
    cmocka_unit_test(wrong_bytes_never_become_a_model),
    cmocka_unit_test(a_file_that_changes_is_noticed),
    cmocka_unit_test(lengths_that_lie_are_caught),
    cmocka_unit_test(redirects_lead_nowhere_else),
    cmocka_unit_test(hostile_names_stay_outside),
    cmocka_unit_test(indexes_are_read_strictly),
    cmocka_unit_test(settings_are_those_of_the_hub_s_tools),
    cmocka_unit_test(the_catalogue_knows_its_models),
    cmocka_unit_test(the_command_pulls_and_quantizes),
    cmocka_unit_test(the_command_fails_in_one_line),
    cmocka_unit_test(proxies_of_the_environment_are_used),
    cmocka_unit_test(a_terminal_is_asked_for_the_token_and_does_not_show_it),
    cmocka_unit_test(a_killed_pull_is_gone_on_with),
};
CP_TEST_GROUP(hub, tests)
