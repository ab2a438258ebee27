/* TLS: a real server with certificates made here, asked by curl and by bytes that are no TLS. */
#include "tests/http_client.h"

#include "base/certificate.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define COUGH "{\"patient_mrn\":\"MRN-001\",\"query\":\"I have a cough\"}"
#define DAY   86400

typedef struct pair {
    char cert[400], key[400]; /* paths */
} pair;

static void write_bio(BIO *bio, const char *path, mode_t mode) {
    char *data;
    long n = BIO_get_mem_data(bio, &data);
    test_write_file(path, data, (size_t)n);
    assert_int_equal(chmod(path, mode), 0);
    BIO_free(bio);
}

/* A self-signed certificate, valid for `seconds` from now on. */
static pair make_pair(const char *dir, long seconds) {
    pair files;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    assert_true(key && cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -2 * DAY);
    X509_gmtime_adj(X509_getm_notAfter(cert), seconds);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    BIO *out = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(out, cert), 1);
    snprintf(files.cert, sizeof files.cert, "%s", test_path(dir, "cert.pem"));
    write_bio(out, files.cert, 0644);
    out = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    snprintf(files.key, sizeof files.key, "%s", test_path(dir, "key.pem"));
    write_bio(out, files.key, 0600);
    X509_free(cert);
    EVP_PKEY_free(key);
    return files;
}

static test_server start_tls(const pair *files, const char *more) {
    char cert[500], key[500];
    snprintf(cert, sizeof cert, "TLS_CERT_FILE=%s", files->cert);
    snprintf(key, sizeof key, "TLS_KEY_FILE=%s", files->key);
    return test_server_start((const char *const[]){cert, key, more, NULL});
}

/* curl to a path, trusting exactly this certificate; up to six options more. */
static test_run curl(const test_server *server, const pair *files, const char *path,
                     const char *const *more) {
    char url[128], to[64];
    snprintf(url, sizeof url, "https://localhost:%d%s", server->port, path);
    snprintf(to, sizeof to, "localhost:%d:127.0.0.1", server->port);
    const char *argv[20] = {
        "curl",      "--silent", "--show-error", "--noproxy", "*",         "--max-time", "60",
        "--resolve", to,         "--cacert",     files->cert, "--include", url};
    size_t n = 13;
    for (; more && *more; more++)
        argv[n++] = *more;
    return test_run_program(argv, NULL, NULL);
}

static void await_ready(const test_server *server, const pair *files) {
    for (int i = 0; i < 600; i++) {
        test_run run = curl(server, files, "/ready", NULL);
        bool ready = strstr(cp_strbuf_text(&run.out), " 200 ") != NULL;
        test_run_free(&run);
        if (ready)
            return;
        usleep(100000);
    }
    fail_msg("not ready");
}

static void a_triage_is_answered_over_tls(void **state) {
    const pair files = make_pair(test_tmp_dir(), DAY);
    test_server server = start_tls(&files, NULL);
    static const char *const versions[][2] = {{"--tlsv1.2", "1.2"}, {"--tlsv1.3", "1.3"}};
    (void)state;
    await_ready(&server, &files);
    for (size_t i = 0; i < CP_COUNT_OF(versions); i++) {
        const char *const more[] = {versions[i][0], "--tls-max", versions[i][1],
                                    "--json",       COUGH,       NULL};
        test_run run = curl(&server, &files, "/triage", more);
        if (run.exit_code != 0)
            fail_msg("TLS %s: %s", versions[i][1], cp_strbuf_text(&run.err));
        assert_non_null(strstr(cp_strbuf_text(&run.out), "\"acuity\":3"));
        assert_non_null(
            strstr(cp_strbuf_text(&run.out), "Strict-Transport-Security: max-age=31536000"));
        test_run_free(&run);
    }
    /* In pieces: the connection is suspended and resumed between them. */
    const char *const stream[] = {"--no-buffer", "--json",
                                  "{\"model\":\"mock\",\"stream\":true,\"messages\":[{\"role\":"
                                  "\"user\",\"content\":\"hi\"}]}",
                                  NULL};
    test_run pieces = curl(&server, &files, "/v1/chat/completions", stream);
    assert_int_equal(pieces.exit_code, 0);
    assert_non_null(strstr(cp_strbuf_text(&pieces.out), "text/event-stream"));
    assert_non_null(strstr(cp_strbuf_text(&pieces.out), "data: [DONE]"));
    test_run_free(&pieces);
    /* An answer much larger than a TLS record, in one go. */
    test_run run = curl(&server, &files, "/metrics", NULL);
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(cp_strbuf_text(&run.out), "carepath_build_info"));
    test_run_free(&run);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
}

/* curl's own floor is lowered, so that it is the server that says no. */
static void old_versions_and_weak_ciphers_are_refused(void **state) {
    const pair files = make_pair(test_tmp_dir(), DAY);
    test_server server = start_tls(&files, NULL);
    static const struct {
        const char *max, *ciphers;
        bool taken;
    } cases[] = {
        {"1.2", "ECDHE-ECDSA-AES128-GCM-SHA256:@SECLEVEL=0", true},
        {"1.1", "ALL:@SECLEVEL=0", false},
        {"1.0", "ALL:@SECLEVEL=0", false},
        {"1.2", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0", false},   /* CBC with SHA-1 */
        {"1.2", "ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0", false} /* CBC */
    };
    (void)state;
    await_ready(&server, &files);
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        const char *const more[] = {"--tlsv1.0", "--tls-max",      cases[i].max,
                                    "--ciphers", cases[i].ciphers, NULL};
        test_run run = curl(&server, &files, "/health", more);
        if ((run.exit_code == 0) != cases[i].taken)
            fail_msg("%s, %s: exit %d: %s", cases[i].max, cases[i].ciphers, run.exit_code,
                     cp_strbuf_text(&run.err));
        /* It was asked, and it was the server that ended it. */
        assert_null(strstr(cp_strbuf_text(&run.err), "no protocols available"));
        assert_null(strstr(cp_strbuf_text(&run.err), "cipher"));
        test_run_free(&run);
    }
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
}

/* Plain HTTP, noise and silence: each connection ends, nothing in plain words is answered. */
static void what_is_no_tls_is_cut_off(void **state) {
    static const char *const texts[] = {"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03\x01",
                                        ""};
    const pair files = make_pair(test_tmp_dir(), DAY);
    test_server server = start_tls(&files, "HEADER_TIMEOUT_S=1");
    (void)state;
    await_ready(&server, &files);
    for (size_t i = 0; i < CP_COUNT_OF(texts); i++) {
        int fd = test_connect(&server);
        (void)test_send_text(fd, texts[i]);
        test_reply reply = test_receive(fd, false);
        assert_int_equal(reply.status, 0);
        assert_null(strstr(cp_strbuf_text(&reply.head), "HTTP"));
        test_reply_free(&reply);
        test_disconnect(fd);
    }
    test_run run = curl(&server, &files, "/health", NULL);
    assert_int_equal(run.exit_code, 0);
    test_run_free(&run);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
}

static void refuse_start(const pair *files, const char *sentence, const char *and_sentence) {
    char cert[500], key[500];
    snprintf(cert, sizeof cert, "TLS_CERT_FILE=%s", files->cert);
    snprintf(key, sizeof key, "TLS_KEY_FILE=%s", files->key);
    const char *const env[] = {"PORT=0", "LLM_MODE=mock", cert, key, NULL};
    test_run run = test_run_program((const char *const[]){NULL, "serve", NULL}, env, NULL);
    assert_int_equal(run.exit_code, 1);
    if (!strstr(cp_strbuf_text(&run.err), sentence) ||
        !strstr(cp_strbuf_text(&run.err), and_sentence))
        fail_msg("expected \"%s\", got: %s", sentence, cp_strbuf_text(&run.err));
    assert_int_equal(strcspn(cp_strbuf_text(&run.err), "\n") + 1, run.err.n);
    test_run_free(&run);
}

static void files_that_cannot_serve_tls_are_named(void **state) {
    const pair good = make_pair(test_tmp_dir(), DAY), other = make_pair(test_tmp_dir(), DAY);
    const pair expired = make_pair(test_tmp_dir(), -DAY);
    pair mixed = good;
    (void)state;
    refuse_start(&expired, "the certificate has expired", expired.cert);
    memcpy(mixed.key, other.key, sizeof mixed.key);
    refuse_start(&mixed, "is not the key of the certificate", other.key);
    memcpy(mixed.key, good.cert, sizeof mixed.key);
    assert_int_equal(chmod(good.cert, 0600), 0);
    refuse_start(&mixed, "no private key in PEM form", good.cert);
    mixed = good;
    memcpy(mixed.cert, good.key, sizeof mixed.cert);
    refuse_start(&mixed, "no certificate in PEM form", good.key);
    snprintf(mixed.cert, sizeof mixed.cert, "no/cert.pem");
    refuse_start(&mixed, "TLS_CERT_FILE", "no/cert.pem");
    assert_int_equal(chmod(good.key, 0644), 0);
    refuse_start(&good, "TLS_KEY_FILE", "0644");
    assert_int_equal(chmod(good.key, 0600), 0);
    test_write_file(good.key, "", 0);
    refuse_start(&good, "no private key", good.key);
}

/* Damaged in 500 ways: taken as it was or refused, and nothing of a key is told. */
static void damaged_pem_hurts_nobody(void **state) {
    const pair files = make_pair(test_tmp_dir(), DAY);
    uint64_t seed = 3;
    cp_strbuf cert, key;
    cp_error err;
    (void)state;
    assert_cp_ok(cp_file_read(files.cert, 65536, &cert, &err));
    assert_cp_ok(cp_file_read(files.key, 65536, &key, &err));
    assert_cp_ok(cp_certificate_check("c", cp_strbuf_str(&cert), "k", cp_strbuf_str(&key), &err));
    int refused = 0;
    for (int i = 0; i < 500; i++) {
        cp_strbuf *target = i % 2 ? &cert : &key;
        size_t at = test_random(&seed) % target->n, n = target->n;
        char kept = target->data[at];
        target->data[at] = (char)test_random(&seed);
        if (i % 5 == 0)
            target->n = at;
        err = (cp_error){0};
        cp_status status =
            cp_certificate_check("c", cp_strbuf_str(&cert), "k", cp_strbuf_str(&key), &err);
        refused += status != CP_OK;
        assert_true(status == CP_OK || (status == CP_ERR_FORMAT && strlen(err.message) > 0));
        target->data[at] = kept;
        target->n = n;
    }
    assert_true(refused > 250);
    cp_strbuf_deinit(&cert);
    cp_strbuf_deinit(&key);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_triage_is_answered_over_tls),
    cmocka_unit_test(old_versions_and_weak_ciphers_are_refused),
    cmocka_unit_test(what_is_no_tls_is_cut_off),
    cmocka_unit_test(files_that_cannot_serve_tls_are_named),
    cmocka_unit_test(damaged_pem_hurts_nobody),
};
CP_TEST_GROUP(http_tls, tests)
