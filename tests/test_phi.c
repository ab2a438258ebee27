/* What must not be left of a text, and what must: the corpora in tests/phi. */
#include "tests/test.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/utf8.h"
#include "server/phi_scrub.h"

#define MAX_SECRETS 8
#define CAP         4096

static cp_phi *phi;
static cp_phi_names *store;

static int set_up(void **state) {
    cp_error err;
    (void)state;
    assert_cp_ok(cp_phi_create(&phi, &err));
    assert_cp_ok(cp_phi_names_create(false, &store, &err));
    cJSON *patients = test_read_jsonl("data/synthetic/patients.jsonl"), *patient;
    cJSON_ArrayForEach(patient, patients)
        assert_cp_ok(cp_phi_names_add_patient(store, patient, &err));
    cJSON_Delete(patients);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cp_phi_names_free(store);
    cp_phi_free(phi);
    return 0;
}

/* The masked text; free with cp_strbuf_deinit. */
static cp_strbuf scrub(const char *text, size_t n, const cp_phi_names *at_hand) {
    cp_strbuf out;
    cp_strbuf_init(&out, (size_t)64 << 20);
    assert_int_equal(cp_phi_scrub(phi, at_hand, store, (cp_str){text, n}, &out), CP_OK);
    return out;
}

/* ---- the corpora ------------------------------------------------------------------------------
 */

typedef struct example {
    char kind[32], text[CAP]; /* without the marks */
    char secrets[MAX_SECRETS][CAP];
    size_t n_secrets;
} example;

/* "kind<TAB>text with [[secrets]]". */
static void read_example(const char *line, example *e) {
    size_t n = strcspn(line, "\t"), out = 0;
    *e = (example){.n_secrets = 0};
    snprintf(e->kind, sizeof e->kind, "%.*s", (int)n, line);
    for (const char *at = line + n + 1; *at && out < CAP - 1; at++) {
        bool opens = strncmp(at, "[[", 2) == 0;
        const char *end = opens ? strstr(at, "]]") : NULL;
        if (!opens) {
            e->text[out++] = *at;
            continue;
        }
        assert_non_null(end);
        while (end[2] == ']') /* the secret ends with a bracket of its own */
            end++;
        size_t length = (size_t)(end - at) - 2;
        snprintf(e->secrets[e->n_secrets++], CAP, "%.*s", (int)length, at + 2);
        memcpy(e->text + out, at + 2, length);
        out += length;
        at = end + 1;
    }
}

typedef struct recall {
    char kind[32];
    int n, found;
} recall;

static recall *of_kind(recall *all, size_t *n, const char *kind) {
    for (size_t i = 0; i < *n; i++)
        if (strcmp(all[i].kind, kind) == 0)
            return &all[i];
    recall *r = &all[(*n)++];
    *r = (recall){.n = 0};
    snprintf(r->kind, sizeof r->kind, "%s", kind);
    return r;
}

static bool is_word_byte(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (unsigned char)c >= 0x80;
}

/* Whether the word text[0..n) stands in `in` as a word. */
static bool has_word(const char *in, const char *text, size_t n) {
    for (const char *at = in; (at = memmem(at, strlen(at), text, n)); at++)
        if ((at == in || !is_word_byte(at[-1])) && !is_word_byte(at[n]) &&
            !(at > in && at[-1] == '[' && at[n] == ']')) /* "[MRN]" is a mask */
            return true;
    return false;
}

/* Whether the secret is left, or a word of it of three letters that the text does not have
 * elsewhere. */
static bool is_left(const example *e, const char *secret, const char *out) {
    if (strstr(out, secret))
        return true;
    for (const char *at = secret; *at;) {
        size_t n = 0;
        while (is_word_byte(at[n]))
            n++;
        const char *first = memmem(e->text, strlen(e->text), at, n ? n : 1);
        bool elsewhere = n > 0 && first && has_word(first + n, at, n);
        if (n >= 3 && !elsewhere && has_word(out, at, n))
            return true;
        at += n ? n : 1;
    }
    return false;
}

static bool is_gone(const example *e) {
    cp_strbuf out = scrub(e->text, strlen(e->text), NULL);
    bool gone = true;
    for (size_t i = 0; i < e->n_secrets; i++)
        gone = gone && !is_left(e, e->secrets[i], cp_strbuf_text(&out));
    if (!gone)
        printf("  kept: %-12s %s\n        -> %s\n", e->kind, e->text, cp_strbuf_text(&out));
    cp_strbuf_deinit(&out);
    return gone;
}

/* Prints the share found of each kind and returns that of all. */
static double measure(const char *path, recall *all, size_t *n_kinds) {
    cp_strbuf text;
    cp_error err;
    int n = 0, found = 0;
    static example e;
    assert_cp_ok(cp_file_read(path, 1 << 20, &text, &err));
    *n_kinds = 0;
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
        if (line[0] == '#')
            continue;
        read_example(line, &e);
        assert_true(e.n_secrets > 0);
        recall *r = of_kind(all, n_kinds, e.kind);
        bool gone = is_gone(&e);
        r->n++;
        r->found += gone;
        n++;
        found += gone;
    }
    for (size_t i = 0; i < *n_kinds; i++)
        printf("  %-12s %3d of %3d\n", all[i].kind, all[i].found, all[i].n);
    printf("%s: %d of %d\n", path, found, n);
    cp_strbuf_deinit(&text);
    return (double)found / n;
}

#define N_KINDS 18

static void check_corpus(const char *path) {
    recall all[64];
    size_t n;
    double share = measure(path, all, &n);
    assert_int_equal(n, N_KINDS);
    for (size_t i = 0; i < n; i++) {
        assert_true(all[i].n >= 10);
        if (all[i].found < all[i].n)
            fail_msg("%s: %d of %d", all[i].kind, all[i].found, all[i].n);
    }
    assert_true(share == 1);
}

static void every_kind_is_masked_as_in_the_corpora(void **state) {
    (void)state;
    check_corpus("tests/phi/first.txt");
    check_corpus("tests/phi/second.txt");
}

static void harmless_texts_stay_as_they_are(void **state) {
    cp_strbuf text;
    cp_error err;
    int n = 0, changed = 0;
    (void)state;
    assert_cp_ok(cp_file_read("tests/phi/harmless.txt", 1 << 20, &text, &err));
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n"), n++) {
        cp_strbuf out = scrub(line, strlen(line), NULL);
        if (strcmp(cp_strbuf_text(&out), line) != 0) {
            printf("  %s\n  -> %s\n", line, cp_strbuf_text(&out));
            changed++;
        }
        cp_strbuf_deinit(&out);
    }
    cp_strbuf_deinit(&text);
    assert_true(n >= 40);
    assert_int_equal(changed, 0);
}

/* ---- names ------------------------------------------------------------------------------------
 */

static void check(const cp_phi_names *at_hand, const char *text, const char *expected) {
    cp_strbuf out = scrub(text, strlen(text), at_hand);
    assert_string_equal(cp_strbuf_text(&out), expected);
    cp_strbuf_deinit(&out);
}

static void names_of_patients_are_found_in_any_spelling(void **state) {
    (void)state;
    check(NULL, "ODALYS said hello", "[NAME] said hello");
    check(NULL, "brambleford, odalys", "[NAME], [NAME]");
    check(NULL,
          "Brambl\xc3\xa9"
          "ford slept",
          "[NAME] slept");
    check(NULL, "Bramblefordian slept", "Bramblefordian slept");
    check(NULL, "oakenshield-moss", "[NAME]");
    check(NULL, "Petra Oakenshield Moss slept", "[NAME] slept");
    check(NULL, "at 47 mockingbird ROW", "at [PLACE]");
    /* Ordinary words: with a capital only. */
    check(NULL, "saffron in the rice", "saffron in the rice");
    check(NULL, "Saffron slept", "[NAME] slept");
}

static void the_patient_at_hand_is_found_even_as_an_ordinary_word(void **state) {
    cp_phi_names *names;
    cp_error err;
    cJSON *patient =
        cJSON_Parse("{\"mrn\":\"X77\",\"name\":{\"given\":\"May\",\"family\":\"Will\"},"
                    "\"emergency_contact\":{\"name\":\"Ole Grunwald\","
                    "\"relationship\":\"brother\",\"phone\":\"38 44 19\"},"
                    "\"insurance\":{\"member_id\":\"abc-def-77\"},"
                    "\"conditions\":[{\"name\":\"asthma\"}]}");
    (void)state;
    assert_cp_ok(cp_phi_names_create(true, &names, &err));
    assert_cp_ok(cp_phi_names_add_patient(names, patient, &err));
    check(names, "may will slept, says brother Grunwald", "[NAME] slept, says brother [NAME]");
    check(names, "call 38-44-19 about asthma of x77", "call [PHONE] about asthma of [MRN]");
    check(names, "plan abc def 77", "plan [HEALTH_PLAN]");
    check(NULL, "it may rain", "it may rain");
    cp_phi_names_free(names);
    cJSON_Delete(patient);
}

static void many_names_are_found_as_well_as_few(void **state) {
    cp_phi_names *names;
    cp_error err;
    char name[64], text[96];
    (void)state;
    assert_cp_ok(cp_phi_names_create(false, &names, &err));
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "Qua%cz%cx%c%c", 'a' + i % 26, 'a' + i / 26 % 26,
                 'a' + i / 676 % 26, 'a' + i / 17576);
        assert_cp_ok(cp_phi_names_add(names, CP_PHI_NAME, name, &err));
    }
    assert_int_equal(cp_phi_names_n(names), 20000);
    snprintf(text, sizeof text, "today %s slept", name);
    check(names, text, "today [NAME] slept");
    check(names, "today Quazzx slept", "today Quazzx slept");
    cp_phi_names_free(names);
}

/* ---- any text ---------------------------------------------------------------------------------
 */

static void check_bounds(const char *text, size_t n) {
    cp_strbuf once = scrub(text, n, NULL);
    assert_true(cp_utf8_is_valid(cp_strbuf_text(&once), once.n));
    assert_true(once.n <= CP_PHI_MAX_GROWTH * n + 16);
    cp_strbuf_deinit(&once);
}

static void any_bytes_give_text_of_bounded_length(void **state) {
    static const char pieces[][12] = {"MRN ", "12",   "-",     "3/14",  "@",
                                      ".com", "Dr. ", "Smith", " ",     "\xff",
                                      "\xc3", "\xa9", ":",     "::",    "555",
                                      "0120", "www.", "name:", "Mar 3", "\n",
                                      "(",    "E",    "#",     "A1",    "\xf0\x9f\x98\x80"};
    uint64_t random = cp_clock_ns();
    char text[600];
    (void)state;
    printf("seed %llu\n", (unsigned long long)random);
    for (int round = 0; round < 2000; round++) {
        size_t n = 0;
        while (n < 400 && test_random(&random) % 60 > 0) {
            const char *piece = pieces[test_random(&random) % (sizeof pieces / sizeof *pieces)];
            memcpy(text + n, piece, strlen(piece));
            n += strlen(piece);
        }
        if (n > 0)
            check_bounds(text, n);
    }
}

static void long_monotonous_texts_are_read_through(void **state) {
    static const char *const units[] = {
        "a",    "A",   "1",  " ",    "-",   ".",    ":",        "a1",    "A1 ",  "1-",
        "1 ",   "1.",  "a.", "a@",   "::",  "Mar ", "Dr ",      "name:", "A B ", "0:",
        "www.", "(1)", "+1", "MRN ", "Aa ", "9/",   "\xc3\xa9", "card ", "_1a"};
    (void)state;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        cp_strbuf text;
        cp_strbuf_init(&text, 1 << 20);
        test_append_times(&text, units[i], ((size_t)1 << 17) / strlen(units[i]));
        cp_strbuf out;
        cp_strbuf_init(&out, (size_t)64 << 20);
        if (cp_phi_scrub(phi, NULL, store, cp_strbuf_str(&text), &out) != CP_OK)
            fail_msg("\"%s\" again and again was not read through", units[i]);
        cp_strbuf_deinit(&out);
        cp_strbuf_deinit(&text);
    }
}

static void masking_twice_changes_nothing_more(void **state) {
    static const char text[] = "Dr. Voss saw Odalys (MRN-001, MRN: 4471) on 3/14/2026; call "
                               "555-0120 or a@example.com, fax: 555-0121, Member ID XQ7712345";
    (void)state;
    cp_strbuf once = scrub(text, sizeof text - 1, NULL);
    assert_string_equal(cp_strbuf_text(&once),
                        "Dr. [NAME] saw [NAME] ([MRN], MRN: [MRN]) on [DATE]; call [PHONE] or "
                        "[EMAIL], fax: [FAX], Member ID [HEALTH_PLAN]");
    cp_strbuf twice = scrub(once.data, once.n, NULL);
    assert_string_equal(once.data, cp_strbuf_text(&twice));
    cp_strbuf_deinit(&twice);
    cp_strbuf_deinit(&once);
}

static void without_memory_nothing_is_let_through(void **state) {
    static const char text[] = "Odalys Brambleford, 555-0120, born 3/14/1959";
    size_t failures = 0;
    (void)state;
    for (long n = 1; n < 200; n++) {
        cp_strbuf out;
        cp_strbuf_init(&out, 4096);
        test_alloc_fail_at(n, 0);
        cp_status status = cp_phi_scrub(phi, NULL, store, (cp_str){text, sizeof text - 1}, &out);
        test_alloc_fail_at(0, 0);
        assert_null(strstr(cp_strbuf_text(&out), "Brambleford"));
        assert_null(strstr(cp_strbuf_text(&out), "0120"));
        assert_null(strstr(cp_strbuf_text(&out), "1959"));
        cp_strbuf_deinit(&out);
        failures += status != CP_OK;
    }
    assert_true(failures > 1);
}

#define WITH_LISTS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    WITH_LISTS(every_kind_is_masked_as_in_the_corpora),
    WITH_LISTS(harmless_texts_stay_as_they_are),
    WITH_LISTS(names_of_patients_are_found_in_any_spelling),
    WITH_LISTS(the_patient_at_hand_is_found_even_as_an_ordinary_word),
    WITH_LISTS(many_names_are_found_as_well_as_few),
    WITH_LISTS(any_bytes_give_text_of_bounded_length),
    WITH_LISTS(long_monotonous_texts_are_read_through),
    WITH_LISTS(masking_twice_changes_nothing_more),
    WITH_LISTS(without_memory_nothing_is_let_through),
};
CP_TEST_GROUP(phi, tests)
