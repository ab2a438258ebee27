/* base/crypto: the published answers, and that nothing changed opens. */
#include "tests/test.h"

#include "base/crypto.h"
#include "base/mem.h"

static void assert_hex(const void *bytes, size_t n, const char *want) {
    char got[256];
    assert_true(2 * n < sizeof got);
    cp_hex(bytes, n, got);
    assert_string_equal(got, want);
}

/* FIPS 180-4's examples, and the empty text. */
static void sha256_gives_the_published_hashes(void **state) {
    (void)state;
    cp_error err;
    cp_sha256 hash;
    assert_cp_ok(cp_sha256_of(CP_STR("abc"), &hash, &err));
    assert_hex(hash.bytes, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_cp_ok(cp_sha256_of((cp_str){NULL, 0}, &hash, &err));
    assert_hex(hash.bytes, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    const cp_str parts[] = {
        CP_STR("abcdbcdecdefdefgefgh"), {NULL, 0}, CP_STR("fghighijhijkijkljklmklmnlmnomnopnopq")};
    assert_cp_ok(cp_sha256_of_parts(parts, CP_COUNT_OF(parts), &hash, &err));
    assert_hex(hash.bytes, 32, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

/* RFC 4231, cases 1, 2 and 6 (a key longer than a block). */
static void hmac_gives_the_published_codes(void **state) {
    (void)state;
    cp_error err;
    cp_sha256 code;
    char key[131];
    memset(key, 0x0b, 20);
    assert_cp_ok(cp_hmac_sha256((cp_str){key, 20}, CP_STR("Hi There"), &code, &err));
    assert_hex(code.bytes, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_cp_ok(
        cp_hmac_sha256(CP_STR("Jefe"), CP_STR("what do ya want for nothing?"), &code, &err));
    assert_hex(code.bytes, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    assert_cp_ok(cp_hmac_sha256((cp_str){key, sizeof key},
                                CP_STR("Test Using Larger Than Block-Size Key - Hash Key First"),
                                &code, &err));
    assert_hex(code.bytes, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* The GCM specification's test cases 13, 14 and 16 (key of 256 bits) as sealed texts. */
static void published_gcm_texts_open(void **state) {
    (void)state;
    static const struct {
        const char *key, *nonce, *about, *cipher, *tag, *text;
    } cases[] = {
        {"0000000000000000000000000000000000000000000000000000000000000000",
         "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b", ""},
        {"0000000000000000000000000000000000000000000000000000000000000000",
         "000000000000000000000000", "", "cea7403d4d606b6e074ec5d3baf39d18",
         "d0d1c8a799996bf0265b98b5d48ab919", "00000000000000000000000000000000"},
        {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
         "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
         "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
         "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
         "76fc6ece0f4e1768cddf8853bb2d551b",
         "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
         "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"},
    };
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        char sealed_hex[512];
        unsigned char key[CP_SEAL_KEY_BYTES], about[64], sealed[256], text[256];
        cp_error err;
        int n = snprintf(sealed_hex, sizeof sealed_hex, "%s%s%s", cases[i].nonce, cases[i].cipher,
                         cases[i].tag);
        size_t sealed_n = (size_t)n / 2, about_n = strlen(cases[i].about) / 2;
        assert_true(cp_unhex((cp_str){cases[i].key, 64}, key, sizeof key));
        assert_true(cp_unhex((cp_str){cases[i].about, 2 * about_n}, about, about_n));
        assert_true(cp_unhex((cp_str){sealed_hex, (size_t)n}, sealed, sealed_n));
        assert_cp_ok(cp_seal_open(key, (cp_str){(char *)about, about_n},
                                  (cp_str){(char *)sealed, sealed_n}, text, &err));
        assert_hex(text, sealed_n - CP_SEAL_MORE_BYTES, cases[i].text);
    }
}

#define TEXT "MRN-001 takes warfarin"
#define N    (sizeof TEXT - 1)

static const unsigned char a_key[CP_SEAL_KEY_BYTES] = {1, 2, 3};

/* The same text twice is two sealed texts; every changed bit, a cut, another key, another `about`
 * is refused, and then no text is left behind. */
static void a_sealed_text_opens_only_unchanged(void **state) {
    (void)state;
    cp_error err;
    unsigned char sealed[N + CP_SEAL_MORE_BYTES], again[sizeof sealed], text[N],
        other[CP_SEAL_KEY_BYTES] = {1, 2, 4};
    const cp_str about = CP_STR("record 7"), whole = {(char *)sealed, sizeof sealed};
    const unsigned char zeros[N] = {0};
    assert_cp_ok(cp_seal(a_key, about, CP_STR(TEXT), sealed, &err));
    assert_cp_ok(cp_seal(a_key, about, CP_STR(TEXT), again, &err));
    assert_memory_not_equal(sealed, again, sizeof sealed);
    assert_cp_ok(cp_seal_open(a_key, about, whole, text, &err));
    assert_memory_equal(text, TEXT, N);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        sealed[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_int_equal(cp_seal_open(a_key, about, whole, text, &err), CP_ERR_FORMAT);
        assert_memory_equal(text, zeros, N);
        sealed[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    for (size_t n = 0; n < sizeof sealed; n++)
        assert_int_equal(cp_seal_open(a_key, about, (cp_str){whole.data, n}, text, &err),
                         CP_ERR_FORMAT);
    assert_int_equal(cp_seal_open(other, about, whole, text, &err), CP_ERR_FORMAT);
    assert_int_equal(cp_seal_open(a_key, CP_STR("record 8"), whole, text, &err), CP_ERR_FORMAT);
    assert_null(strstr(err.message, "warfarin"));
    assert_cp_ok(cp_seal_open(a_key, about, whole, text, &err));
}

static void random_bytes_are_not_the_same_twice(void **state) {
    (void)state;
    cp_error err;
    unsigned char a[32] = {0}, b[32] = {0};
    assert_cp_ok(cp_random_bytes(a, sizeof a, &err));
    assert_cp_ok(cp_random_bytes(b, sizeof b, &err));
    assert_false(cp_equal_secret(a, b, sizeof a));
    memcpy(b, a, sizeof b);
    assert_true(cp_equal_secret(a, b, sizeof a));
    for (size_t i = 0; i < sizeof b; i++) {
        b[i] ^= 1;
        assert_false(cp_equal_secret(a, b, sizeof a));
        b[i] ^= 1;
    }
    cp_wipe(a, sizeof a);
    assert_hex(a, 4, "00000000");
}

static void hexadecimal_is_strict(void **state) {
    (void)state;
    unsigned char out[2];
    assert_true(cp_unhex(CP_STR("0af9"), out, 2));
    assert_hex(out, 2, "0af9");
    static const char *const bad[] = {"", "0af", "0af90", "0aF9", "0ag9", " 0af", "0x0a"};
    for (size_t i = 0; i < CP_COUNT_OF(bad); i++)
        assert_false(cp_unhex((cp_str){bad[i], strlen(bad[i])}, out, 2));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(sha256_gives_the_published_hashes),
    cmocka_unit_test(hmac_gives_the_published_codes),
    cmocka_unit_test(published_gcm_texts_open),
    cmocka_unit_test(a_sealed_text_opens_only_unchanged),
    cmocka_unit_test(random_bytes_are_not_the_same_twice),
    cmocka_unit_test(hexadecimal_is_strict),
};
CP_TEST_GROUP(crypto, tests)
