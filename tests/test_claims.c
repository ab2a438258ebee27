/* Claims without support: what an answer names that nobody gave the model. */
#include "tests/test.h"

#include "base/mem.h"
#include "retrieval/claim_words.h"
#include "retrieval/claims.h"
#include "retrieval/sentences.h"
#include "retrieval/terms.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define LARGE ((size_t)1 << 17)
#else
#define LARGE ((size_t)1 << 20)
#endif
#define MAX_TEXTS 400
#define WORDS     "data/knowledge/words.json"

static cp_knowledge *knowledge;
static cp_claim_terms *terms;
static char words_path[512];

/* Groups that these tests count on, whatever the repository's list says. */
static const char own_words[] =
    "{\"note\": \"\", \"lang\": \"en\", \"same\": [[\"acetaminophen\", \"paracetamol\", "
    "\"panadol\"], "
    "[\"lisinopril\", \"zestril\"], [\"hypertension\", \"raised pressure\"], [\"cough\", "
    "\"coughing\"]], "
    "\"means\": [{\"said\": [\"blood thinner\"], \"meant\": [\"warfarin\"]}]}";

static int set_up(void **state) {
    cp_error err;
    (void)state;
    snprintf(words_path, sizeof words_path, "%s", test_path(test_tmp_dir(), "words.json"));
    test_write_file(words_path, own_words, sizeof own_words - 1);
    assert_cp_ok(cp_knowledge_open("data/knowledge", &knowledge, &err));
    assert_cp_ok(cp_claim_terms_create(knowledge, words_path, &terms, &err));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cp_claim_terms_free(terms);
    cp_knowledge_close(knowledge);
    return 0;
}

static cp_str str(const char *text) {
    return (cp_str){text, strlen(text)};
}

/* "kind:term kind:term", in the answer's order. */
static void check_to(const cp_claim_names *own, cp_str answer, const cp_str *given, size_t n_given,
                     cp_strbuf *out) {
    cp_error err;
    cp_unsupported_claim *claims;
    size_t n;
    assert_cp_ok(cp_claims_check(terms, own, answer, given, n_given, &claims, &n, &err));
    for (size_t i = 0; i < n; i++) {
        const cp_unsupported_claim *c = &claims[i];
        assert_true(c->begin + c->n <= answer.n && c->term_begin >= c->begin && c->term_n > 0 &&
                    c->term_begin + c->term_n <= c->begin + c->n);
        cp_strbuf_printf(out, "%s%s:%.*s", i ? " | " : "", cp_claim_kind_name(c->kind),
                         (int)c->term_n, answer.data + c->term_begin);
    }
    free(claims);
}

/* ---- a table --------------------------------------------------------------------------------- */

#define RECORD                                                                                     \
    "Conditions: Type 2 diabetes; Mild persistent asthma; Hypertension.\n"                         \
    "Medicines: metformin 1000 mg twice daily; metoprolol succinate 50 mg once daily; insulin "    \
    "glargine 18 units at bedtime; albuterol 2 puffs every 4 to 6 hours as needed.\n"              \
    "Allergies: penicillin (hives), peanuts.\n"                                                    \
    "HbA1c 6.9%. LDL cholesterol 74 mg/dL. Acetaminophen up to 2 g a day is safer."

static const struct {
    const char *answer, *marked;
} table[] = {
    /* medicines */
    {"You take metformin.", ""},
    {"You take METFORMIN and Albuterol.", ""},
    {"Take ibuprofen for the pain.", "medicine:ibuprofen"},
    {"Do not take ibuprofen.", "medicine:ibuprofen"},
    {"Paracetamol or Panadol is safer.", ""},
    {"Tylenol is safer.", ""},
    {"Use salbutamol.", ""},
    {"Zestril was stopped.", "medicine:Zestril"},
    {"You take metoprolol tartrate.", ""},
    {"You take insulin.", ""},
    {"You take insulin lispro.", "medicine:insulin lispro"},
    {"Ask about amoxicillin-clavulanate.", "medicine:amoxicillin-clavulanate"},
    {"Start cefixitron and bazedipine.", "medicine:bazedipine"},
    {"Statins and blood thinners help in April.", ""},
    {"Take \xef\xbd\x89\xef\xbd\x82\xef\xbd\x95profen.",
     "medicine:\xef\xbd\x89\xef\xbd\x82\xef\xbd\x95profen"},
    {"Take ibu\xc2\xadprofen.", "medicine:ibu\xc2\xadprofen"},
    {"Nitroglycerin. Ask again.\nAspirins twice.", "medicine:Nitroglycerin | medicine:Aspirins"},
    {"Warfarin, warfarin and warfarin.", "medicine:Warfarin"},
    /* doses */
    {"Take metformin 1000 mg twice daily.", ""},
    {"Take 1000 mg of metformin twice a day.", ""},
    {"Take metformin 1 g.", ""},
    {"Take metformin 1,000 mg.", ""},
    {"Take metformin 1000mg.", ""},
    {"Take metformin 1000\xc2\xa0mg.", ""},
    {"Take metformin 500 mg.", "dose:500 mg"},
    {"Take metformin 100.0 mg.", "dose:100.0 mg"},
    {"Take metformin 1000 mcg.", "dose:1000 mcg"},
    {"Take metformin 50 mg.", "dose:50 mg"},
    {"Take 50 mg.", ""},
    {"Take 60 mg.", "dose:60 mg"},
    {"Take metoprolol 50 mg and metformin 1000 mg.", ""},
    {"Take metoprolol 1000 mg and metformin 50 mg.", "dose:1000 mg | dose:50 mg"},
    {"Take metformin three times a day.", "dose:three times a day"},
    {"Take metformin once daily.", "dose:once daily"},
    {"Call three times a day.", ""},
    {"Two puffs of albuterol every 4 hours.", ""},
    {"Four puffs of albuterol every 4 hours.", "dose:Four puffs"},
    {"Albuterol every two hours.", "dose:every two hours"},
    {"Take 18 units of insulin glargine.", ""},
    {"Take 18 units of insulin.", ""},
    {"Take 80 units of insulin glargine.", "dose:80 units"},
    {"Your HbA1c is 6.9%.", ""},
    {"Your HbA1c is 9.6 %.", "dose:9.6 %"},
    {"Your LDL is 74 mg/dL.", ""},
    {"Your LDL is 74 mg.", "dose:74 mg"},
    {"Your LDL is 74 mmol/L.", "dose:74 mmol/L"},
    {"Acetaminophen 1-2 g a day.", "dose:1-2 g"},
    {"Take one to two tablets.", "dose:one to two tablets"},
    {"Take half a tablet of it in 5 minutes, at level 3.", ""},
    {"Give .5 mg.", "dose:.5 mg"},
    /* allergies */
    {"You are allergic to penicillin.", ""},
    {"You have a penicillin allergy.", ""},
    {"You have a peanut allergy and are allergic to peanuts.", ""},
    {"You are allergic to latex.", "allergy:latex"},
    {"You are not allergic to latex.", "allergy:latex"},
    {"You have a sulfa allergy.", "allergy:sulfa"},
    {"You are allergic to metformin.", "allergy:metformin"},
    {"You are allergic to codeine and latex, so rest.", "allergy:codeine | allergy:latex"},
    {"Allergies: penicillin, latex.", "allergy:latex"},
    {"Are you allergic to it, or to any medicine?", ""},
    {"Watch for an allergic reaction.", ""},
    {"You are allergic to mangoes.", "allergy:mangoes"},
    {"You are allergic to penicillin, so take metformin.", ""},
    {"You are allergic to penicillin, so take azithromycin.", "medicine:azithromycin"},
    /* diagnoses */
    {"You have diabetes, asthma and high blood pressure.", ""},
    {"You have raised pressure.", ""},
    {"This may be a heart attack.", "diagnosis:heart attack"},
    {"This is no stroke.", "diagnosis:stroke"},
    {"You have type 1 diabetes.", "diagnosis:type 1 diabetes"},
    {"It could be appendicitis or Pneumonia.", "diagnosis:appendicitis | diagnosis:Pneumonia"},
    {"The pain falls off at night while you cough.", ""},
    {"", ""},
    {"\xff\xfe ibuprofen \xff", "medicine:ibuprofen"},
};

static void what_nobody_gave_is_marked(void **state) {
    cp_str given[] = {CP_STR(RECORD), CP_STR("Can I drive?"), {NULL, 0}};
    int wrong = 0;
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(table); i++) {
        cp_strbuf marked;
        cp_strbuf_init(&marked, 4096);
        check_to(NULL, str(table[i].answer), given, CP_COUNT_OF(given), &marked);
        if (strcmp(cp_strbuf_text(&marked), table[i].marked) != 0)
            wrong++, print_error("\"%s\": marked \"%s\", expected \"%s\"\n", table[i].answer,
                                 cp_strbuf_text(&marked), table[i].marked);
        cp_strbuf_deinit(&marked);
    }
    assert_int_equal(wrong, 0);
}

static void names_of_a_request_count_for_it(void **state) {
    static const char *const medicines[] = {"Zorbanex forte", "metformin"},
                             *const allergens[] = {"quince"}, *const conditions[] = {"Marsh fever"};
    cp_claim_names own = {medicines, allergens, conditions, 2, 1, 1};
    cp_str answer = CP_STR("Zorbanex Forte helps with marsh fever. You have a quince allergy.");
    cp_str given[] = {CP_STR("Marsh fever, since May")};
    cp_strbuf marked;
    (void)state;
    cp_strbuf_init(&marked, 4096);
    check_to(&own, answer, given, 1, &marked);
    assert_string_equal(cp_strbuf_text(&marked), "medicine:Zorbanex Forte | allergy:quince");
    cp_strbuf_clear(&marked);
    check_to(NULL, answer, given, 1, &marked);
    assert_string_equal(cp_strbuf_text(&marked), "");
    cp_strbuf_deinit(&marked);
}

/* ---- all texts ------------------------------------------------------------------------------- */

/* Every string in a tree that has a space in it. */
static void collect(const cJSON *item, cp_str *texts, size_t *n) {
    const cJSON *child;
    if (cJSON_IsString(item) && strchr(item->valuestring, ' ') && *n < MAX_TEXTS)
        texts[(*n)++] = str(item->valuestring);
    if (!cJSON_IsString(item))
        cJSON_ArrayForEach(child, item) collect(child, texts, n);
}

static size_t all_texts(cJSON *trees[4], cp_str *texts) {
    static const char *const files[] = {"documents", "encounters", "chat_logs", "patients"};
    size_t n = 0;
    for (size_t i = 0; i < cp_knowledge_n(knowledge); i++)
        texts[n++] = cp_knowledge_doc(knowledge, i)->text;
    for (size_t i = 0; i < CP_COUNT_OF(files); i++) {
        char path[64];
        snprintf(path, sizeof path, "data/synthetic/%s.jsonl", files[i]);
        trees[i] = test_read_jsonl(path);
        collect(trees[i], texts, &n);
    }
    return n;
}

/* Each text as an answer to itself, and all as one answer to all. */
static void an_answer_of_given_sentences_is_never_marked(void **state) {
    cJSON *trees[4];
    cp_str texts[MAX_TEXTS];
    size_t n = all_texts(trees, texts);
    cp_strbuf marked, whole;
    (void)state;
    cp_strbuf_init(&marked, 1 << 20);
    cp_strbuf_init(&whole, 1 << 22);
    assert_true(n > 250 && n < MAX_TEXTS);
    for (size_t i = 0; i < n; i++) {
        check_to(NULL, texts[i], &texts[i], 1, &marked);
        if (marked.n > 0)
            fail_msg("%.*s: marked %s", (int)texts[i].n, texts[i].data, cp_strbuf_text(&marked));
        /* Sentences of all, out of order. */
        size_t at = 0, begin, length;
        cp_str text = texts[i * 7 % n];
        while (cp_sentence_next(text, &at, 2000, &begin, &length)) {
            cp_strbuf_append(&whole, text.data + begin, length);
            cp_strbuf_putc(&whole, '\n');
        }
    }
    check_to(NULL, cp_strbuf_str(&whole), texts, n, &marked);
    assert_string_equal(cp_strbuf_text(&marked), "");
    check_to(NULL, cp_strbuf_str(&whole), NULL, 0, &marked);
    assert_true(marked.n > 1000);
    cp_strbuf_deinit(&marked);
    cp_strbuf_deinit(&whole);
    for (size_t i = 0; i < 4; i++)
        cJSON_Delete(trees[i]);
}

/* What sounds like a medicine in any text of the repository is one: these, and no others. */
static void no_ordinary_word_sounds_like_a_medicine(void **state) {
    static const char *const medicines[] = {"amlodipine",
                                            "amoxicillin",
                                            "ampicillin",
                                            "apixaban",
                                            "atenolol",
                                            "atorvastatin",
                                            "azithromycin",
                                            "bisoprolol",
                                            "carbimazole",
                                            "carvedilol",
                                            "ciprofloxacin",
                                            "citalopram",
                                            "clarithromycin",
                                            "dabigatran",
                                            "dapagliflozin",
                                            "dexamethasone",
                                            "diazepam",
                                            "diclofenac",
                                            "doxycycline",
                                            "edoxaban",
                                            "empagliflozin",
                                            "enalapril",
                                            "enoxaparin",
                                            "erythromycin",
                                            "escitalopram",
                                            "felodipine",
                                            "flucloxacillin",
                                            "fluconazole",
                                            "fluoxetine",
                                            "fluticasone",
                                            "fosfomycin",
                                            "furosemide",
                                            "hydrochlorothiazide",
                                            "hydrocodone",
                                            "ibuprofen",
                                            "levofloxacin",
                                            "lisinopril",
                                            "lorazepam",
                                            "losartan",
                                            "metoprolol",
                                            "metronidazole",
                                            "miconazole",
                                            "midazolam",
                                            "moxifloxacin",
                                            "nifedipine",
                                            "ondansetron",
                                            "oxycodone",
                                            "penicillin",
                                            "perindopril",
                                            "piperacillin",
                                            "pravastatin",
                                            "prednisolone",
                                            "propranolol",
                                            "ramipril",
                                            "rivaroxaban",
                                            "rosuvastatin",
                                            "sertraline",
                                            "sildenafil",
                                            "simvastatin",
                                            "sulfamethoxazole",
                                            "sumatriptan",
                                            "tadalafil",
                                            "tetracycline",
                                            "timolol",
                                            "tiotropium",
                                            "valsartan",
                                            "vardenafil",
                                            NULL};
    cJSON *trees[4];
    cp_str texts[MAX_TEXTS];
    size_t n = all_texts(trees, texts);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        cp_error err;
        cp_words words;
        assert_cp_ok(cp_words_split(texts[i], &words, &err));
        for (size_t k = 0; k < words.n; k++) {
            cp_str word = cp_claim_word(cp_word_folded(&words, k));
            bool known = !cp_claim_sounds_like_medicine(word);
            for (size_t m = 0; medicines[m]; m++)
                known = known || cp_str_is(word, medicines[m]);
            if (!known)
                fail_msg("%.*s is taken for a medicine", (int)word.n, word.data);
        }
        cp_words_deinit(&words);
    }
    for (size_t i = 0; i < 4; i++)
        cJSON_Delete(trees[i]);
}

/* With the repository's own list of words, too: its everyday names are no false alarms. */
static void the_list_of_words_marks_names_and_no_complaints(void **state) {
    static const struct {
        const char *answer, *marked;
    } table_of_words[] = {
        {"Glucophage, Tylenol and Toprol.", ""},
        {"Take Coumadin.", "medicine:Coumadin"},
        {"Take Lovenox or Nurofen.", "medicine:Lovenox | medicine:Nurofen"},
        {"There is no such thing as a testicle allergy.", ""}, /* "nuts" is a name of both */
        {"It may be a brain attack.", "diagnosis:brain attack"},
        {"Your tummy hurts, you feel sick, you were knocked out and you fell. Your cholesterol and "
         "your coronary vessels are fine. Nuts and balls. Call the GP or the ER.",
         ""},
    };
    cp_error err;
    cp_claim_terms *own = terms;
    cp_str given[] = {CP_STR(RECORD)};
    (void)state;
    assert_cp_ok(cp_claim_terms_create(knowledge, WORDS, &terms, &err));
    for (size_t i = 0; i < CP_COUNT_OF(table_of_words); i++) {
        cp_strbuf marked;
        cp_strbuf_init(&marked, 4096);
        check_to(NULL, str(table_of_words[i].answer), given, 1, &marked);
        assert_string_equal(cp_strbuf_text(&marked), table_of_words[i].marked);
        cp_strbuf_deinit(&marked);
    }
    an_answer_of_given_sentences_is_never_marked(NULL);
    cp_claim_terms_free(terms);
    terms = own;
}

static void a_faulty_list_of_words_is_refused(void **state) {
    static const char *const faulty[] = {"[]", "{}", "{\"same\": 1}", "{\"same\": [", ""};
    cp_error err;
    cp_claim_terms *out;
    const char *path = test_path(test_tmp_dir(), "faulty.json");
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(faulty); i++) {
        test_write_file(path, faulty[i], strlen(faulty[i]));
        assert_int_equal(cp_claim_terms_create(NULL, path, &out, &err), CP_ERR_FORMAT);
        assert_null(out);
    }
    assert_int_equal(cp_claim_terms_create(NULL, "/nowhere.json", &out, &err), CP_ERR_NOT_FOUND);
    test_write_file(path, "{\"same\": [1, [], [2, null], [\"\", \"ramipril\"]]}", 46);
    assert_cp_ok(cp_claim_terms_create(NULL, path, &out, &err));
    cp_claim_terms_free(out);
}

/* ---- size and memory ------------------------------------------------------------------------- */

/* Large sentences with a name or a number everywhere: a search that looked at all pairs would
 * take hours. */
static void large_texts_take_linear_time(void **state) {
    static const char *const fillers[] = {
        "5 mg ",         "ibuprofen ", "allergic to latex, ", "insulin ",
        "5 mg aspirin ", "allergy ",   "twice daily. ",       "1,",
        "allergic to ",  "0.",         "every 4 to "};
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(fillers); i++) {
        cp_error err;
        cp_unsupported_claim *claims;
        size_t n;
        cp_strbuf text;
        cp_strbuf_init(&text, 1 << 21);
        test_append_times(&text, fillers[i], LARGE / strlen(fillers[i]));
        cp_str whole = cp_strbuf_str(&text);
        assert_cp_ok(cp_claims_check(terms, NULL, whole, &whole, 1, &claims, &n, &err));
        assert_int_equal(n, 0);
        free(claims);
        assert_cp_ok(cp_claims_check(terms, NULL, whole, NULL, 0, &claims, &n, &err));
        assert_true(n <= whole.n / 100); /* once a sentence of at most 2,000 bytes */
        free(claims);
        cp_strbuf_deinit(&text);
    }
}

static void a_check_without_memory_says_so(void **state) {
    static const char *const medicines[] = {"Zorbanex", "metoprolol succinate"};
    cp_claim_names own = {.medicines = medicines, .n_medicines = 2};
    cp_str given[] = {CP_STR(RECORD)};
    cp_status status = CP_ERR_NO_MEMORY;
    int n;
    (void)state;
    for (n = 1; status; n++) {
        cp_error err;
        cp_unsupported_claim *claims;
        size_t n_claims;
        test_alloc_fail_at(n, n % 2);
        status = cp_claims_check(terms, &own, CP_STR("Zorbanex 5 mg. You have a latex allergy."),
                                 given, 1, &claims, &n_claims, &err);
        test_alloc_fail_at(0, 0);
        if (status) {
            assert_int_equal(status, CP_ERR_NO_MEMORY);
            assert_null(claims);
        }
        free(claims);
    }
    assert_true(n > 10);
    for (n = 1, status = CP_ERR_NO_MEMORY; status; n += 1 + n / 50) {
        cp_error err;
        cp_claim_terms *out;
        test_alloc_fail_at(n, n % 2);
        status = cp_claim_terms_create(knowledge, words_path, &out, &err);
        test_alloc_fail_at(0, 0);
        if (status)
            assert_null(out);
        cp_claim_terms_free(out);
    }
    assert_true(n > 100);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(what_nobody_gave_is_marked, set_up, tear_down),
    cmocka_unit_test_setup_teardown(names_of_a_request_count_for_it, set_up, tear_down),
    cmocka_unit_test_setup_teardown(an_answer_of_given_sentences_is_never_marked, set_up,
                                    tear_down),
    cmocka_unit_test_setup_teardown(no_ordinary_word_sounds_like_a_medicine, set_up, tear_down),
    cmocka_unit_test_setup_teardown(the_list_of_words_marks_names_and_no_complaints, set_up,
                                    tear_down),
    cmocka_unit_test_setup_teardown(a_faulty_list_of_words_is_refused, set_up, tear_down),
    cmocka_unit_test_setup_teardown(large_texts_take_linear_time, set_up, tear_down),
    cmocka_unit_test_setup_teardown(a_check_without_memory_says_so, set_up, tear_down),
};
CP_TEST_GROUP(claims, tests)
