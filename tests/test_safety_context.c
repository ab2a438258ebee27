/* What stands around a symptom: history, other people, the record, playing down; and how fast it is
 * all read. */
#include "tests/test.h"

#include "server/eval_vignettes.h"
#include "server/safety.h"
#include "server/triage_reply.h"

#include <time.h>

#define RULES "data/triage/rules.json"

static cp_safety *open_rules(void) {
    cp_error err;
    cp_safety *safety = NULL;
    assert_cp_ok(cp_safety_open(RULES, &safety, &err));
    return safety;
}

static bool fires(const cp_safety *safety, const char *id, const char *query, const char *patient) {
    cp_error err;
    cp_patient_record record = {0};
    cp_safety_finding found;
    cJSON *tree = patient ? cJSON_Parse(patient) : NULL;
    if (tree)
        assert_cp_ok(cp_eval_record_of(tree, &record, &err));
    cp_patient_facts facts = cp_patient_facts_of(&record, CP_EVAL_TODAY);
    cp_safety_check(safety, query, tree ? &facts : NULL, &found);
    bool fired = false;
    for (size_t i = 0; i < found.n; i++)
        fired |= strcmp(found.rules[i]->id, id) == 0;
    cp_eval_record_deinit(&record);
    cJSON_Delete(tree);
    return fired;
}

static const struct {
    const char *id, *query;
    bool fires;
} told[] = {
    {"stroke-signs", "I had a stroke in 2010", false},
    {"stroke-signs", "In 2010 I had a stroke", false},
    {"stroke-signs", "history of stroke", false},
    {"stroke-signs", "I had a stroke ten years ago and recovered well", false},
    {"stroke-signs", "My mother died of a stroke", false},
    {"stroke-signs", "My mother had a stroke in 1999", false},
    {"seizure-ongoing", "Had a seizure as a child", false},
    {"stroke-signs", "I had a stroke", true},
    {"stroke-signs", "I had a stroke in 2010 and it is happening again", true},
    {"stroke-signs", "I had a stroke in 2010. It feels the same.", true},
    {"stroke-signs", "It is the same. I had a stroke in 2010.", true},
    {"stroke-signs", "history of stroke, now my mouth is drooping", true},
    {"stroke-signs", "I had a stroke in 2999", true},
    {"stroke-signs", "mini stroke at 2010", false},
    {"stroke-signs", "my mother is having a stroke", true},
    {"stroke-signs", "My mother had a stroke this morning", true},
    {"seizure-ongoing", "He has epilepsy since 2010, he is having a seizure", true},
    {"seizure-ongoing", "my son had a seizure he had one last year too", true},
    {"chest-pain-adult", "I have chest pain since 2010", true},
    {"diabetic-ketoacidosis", "history of diabetes, vomiting all day and high ketones", true},
    {"breathing-severe", "my husband can't breathe", true},
    {"breathing-severe", "I'm asking for my neighbour, she cannot breathe", true},
    {"unresponsive", "Our teacher collapsed and is not breathing", true},
};

static void history_is_told_from_the_present(void **state) {
    (void)state;
    cp_safety *safety = open_rules();
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
        if (fires(safety, told[i].id, told[i].query, NULL) != told[i].fires)
            fail_msg("%s %s on: %s", told[i].id, told[i].fires ? "is silent" : "fires",
                     told[i].query);
    cp_safety_close(safety);
}

/* A window edge must not hide what makes history present again. */
static void history_has_no_edge(void **state) {
    (void)state;
    cp_safety *safety = open_rules();
    cp_strbuf text;
    cp_strbuf_init(&text, 1 << 20);
    for (size_t n = 930; n < 1030; n++) {
        cp_strbuf_clear(&text);
        test_append_times(&text, "word ", n);
        size_t start = text.n;
        cp_strbuf_puts(&text, "x. I had a stroke in 2010");
        assert_false(fires(safety, "stroke-signs", cp_strbuf_text(&text), NULL));
        cp_strbuf_truncate(&text, start);
        cp_strbuf_puts(&text, "x. I had a stroke in 2010 with a long stay and it happens again");
        assert_true(fires(safety, "stroke-signs", cp_strbuf_text(&text), NULL));
    }
    cp_strbuf_deinit(&text);
    cp_safety_close(safety);
}

static void the_record_counts(void **state) {
    static const struct {
        const char *id, *query, *patient;
        bool fires;
    } cases[] = {
        {"head-injury", "I bumped my head", "{\"age_years\":40,\"medications\":[\"apixaban\"]}",
         true},
        {"head-injury", "I bumped my head", "{\"age_years\":40,\"medications\":[\"metformin\"]}",
         false},
        {"allergy-drug-conflict", "I was given amoxicillin", "{\"allergies\":[\"Penicillin V\"]}",
         true},
        {"allergy-drug-conflict", "I was given amoxicillin",
         "{\"allergies\":[\"no known drug allergies\"]}", false},
        {"neutropenic-sepsis", "I have a fever", "{\"medications\":[\"Tacrolimus 1 mg\"]}", true},
        {"adrenal-crisis", "I keep throwing up", "{\"conditions\":[\"Addison's disease\"]}", true},
        {"adrenal-crisis", "I keep throwing up", "{\"conditions\":[\"Asthma\"]}", false},
        {"nitrate-pde5", "can I take viagra", "{\"medications\":[\"nitroglycerin\"]}", true},
        {"nitrate-pde5", "can I take viagra", "{\"medications\":[]}", false},
        {"infant-fever", "she has a fever", "{\"age_months\":1}", true},
        {"infant-fever", "she has a fever", "{\"age_months\":4}", false},
        {"infant-fever-older", "she has a fever", "{\"age_months\":4}", true},
        {"infant-fever-older", "she has a fever", "{\"age_months\":8}", false},
    };
    (void)state;
    cp_safety *safety = open_rules();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (fires(safety, cases[i].id, cases[i].query, cases[i].patient) != cases[i].fires)
            fail_msg("%s %s on: %s with %s", cases[i].id, cases[i].fires ? "is silent" : "fires",
                     cases[i].query, cases[i].patient);
    cp_safety_close(safety);
}

static int level_alone(const cp_safety *safety, const char *query) {
    cp_safety_finding found;
    cp_safety_check(safety, query, NULL, &found);
    return cp_safety_level_alone(safety, &found);
}

/* Without a model, one harmless word beside what no rule knows is no reason to wait. */
static void a_harmless_word_excuses_nothing_unknown(void **state) {
    (void)state;
    cp_safety *safety = open_rules();
    assert_int_equal(level_alone(safety, "runny nose and sneezing"), 5);
    assert_int_equal(level_alone(safety, "runny nose and sneezing. No fever."), 5);
    assert_int_equal(level_alone(safety, "the frobnicator oozes plaid"), 3);
    assert_int_equal(level_alone(safety, "runny nose. The frobnicator oozes plaid today."), 3);
    assert_int_equal(level_alone(safety, "runny nose but the frobnicator oozes plaid"), 3);
    assert_int_equal(level_alone(safety, "probably just hay fever"), 3);
    assert_int_equal(level_alone(safety, "rumny nose and sneezimg"), 3); /* not sure of the words */
    assert_int_equal(level_alone(safety, ""), 3);
    cp_safety_close(safety);
}

/* Sentences in any order and number; the first is a complaint, because only what says nothing at
 * all
 * ("No fever.") may become less urgent by a complaint that is known. */
static void more_text_never_makes_it_less_urgent(void **state) {
    static const char *const pieces[] = {
        "Probably just a cold. ",
        "It is only stress. ",
        "runny nose, ",
        "My knee hurts. ",
        "sore throat but ",
        "crushing chest pain. ",
        "I feel odd. ",
        "refill please. ",
        "the plaid goes up. ",
        "in 2010 ",
        "No fever. ",
        "had a stroke in 2010. ",
    };
    uint64_t seed = 20261121, random = seed;
    cp_safety *safety = open_rules();
    print_message("seed %llu\n", (unsigned long long)seed);
    (void)state;
    for (int round = 0; round < 3000; round++) {
        char query[1024] = "";
        int before = CP_ACUITY_LEAST_URGENT;
        for (int i = 0; i < 6; i++) {
            size_t n = strlen(query);
            bool sentence = n == 0 || strcmp(query + n - 2, ". ") == 0;
            snprintf(query + n, sizeof query - n, "%s",
                     pieces[test_random(&random) % (i > 0 ? 12 : 9)]);
            int now = level_alone(safety, query);
            if (i > 0 && sentence && now > before)
                fail_msg("%d became %d: %s", before, now, query);
            before = now;
        }
    }
    cp_safety_close(safety);
}

/* This thread's time on the processor: other work on the machine does not count. */
static double cpu_ms(void) {
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double read_ms(const cp_safety *safety, const char *text) {
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        cp_safety_finding found;
        double begun = cpu_ms();
        cp_safety_check(safety, text, NULL, &found);
        double ms = cpu_ms() - begun;
        best = ms < best ? ms : best;
    }
    return best;
}

/* 100 kB of the worst words take time in proportion, not more. */
static void long_queries_take_linear_time(void **state) {
    static const char *const units[] = {
        "pain ",     "chest ",         "pain chest ", "a ",        "\xff\xfe",     "no pain or ",
        "year ago ", "stroke stroke ", "xhest ",      "hist ory ", ". cold ",      "but cold ",
        "the ",      "cant ",          "swollen ",    "38.5 ",     "2010 seizure "};
    (void)state;
    cp_safety *safety = open_rules();
    cp_strbuf text;
    double slowest = 0;
    const char *which = "";
    cp_strbuf_init(&text, 1 << 20);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        cp_strbuf_clear(&text);
        while (text.n < 50000)
            cp_strbuf_puts(&text, units[u]);
        double half = read_ms(safety, cp_strbuf_text(&text));
        while (text.n < 100000)
            cp_strbuf_puts(&text, units[u]);
        double whole = read_ms(safety, cp_strbuf_text(&text));
        if (whole > 3.5 * half + 2 || whole > 3000)
            fail_msg("\"%s\": %.1f ms for 50 kB, %.1f ms for 100 kB", units[u], half, whole);
        if (whole > slowest) {
            slowest = whole;
            which = units[u];
        }
    }
    print_message("the slowest 100 kB, of \"%s\", took %.1f ms\n", which, slowest);
    cp_strbuf_deinit(&text);
    cp_safety_close(safety);
}

/* Random answers over the real rules: the level that counts is never below what the rules alone
 * demand, and never below the model's own. */
static void the_final_level_is_the_more_urgent_of_rules_and_model(void **state) {
    static const char *const queries[] = {"crushing chest pain",
                                          "my tongue is swelling, I ate nuts",
                                          "runny nose",
                                          "stomach pain for two days",
                                          "nothing in particular",
                                          "I fainted, it burns when I pee"};
    uint64_t seed = 20261121, random = seed;
    cp_safety *safety = open_rules();
    print_message("seed %llu\n", (unsigned long long)seed);
    (void)state;
    for (int round = 0; round < 20000; round++) {
        cp_safety_finding found;
        cp_safety_check(safety, queries[test_random(&random) % 6], NULL, &found);
        int model = (int)((int64_t)(test_random(&random) % 4294967296u) - 2147483648);
        if (test_random(&random) % 2)
            model = (int)(test_random(&random) % 9) - 2;
        int final = cp_triage_combine(&found, model).acuity;
        bool readable = model >= 1 && model <= 5;
        assert_true(found.floor == 0 || (final >= 1 && final <= found.floor));
        assert_true(!readable || (final >= 1 && final <= model));
        assert_true(final == found.floor || (readable && final == model));
    }
    cp_safety_close(safety);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(history_is_told_from_the_present),
    cmocka_unit_test(history_has_no_edge),
    cmocka_unit_test(the_record_counts),
    cmocka_unit_test(a_harmless_word_excuses_nothing_unknown),
    cmocka_unit_test(more_text_never_makes_it_less_urgent),
    cmocka_unit_test(long_queries_take_linear_time),
    cmocka_unit_test(the_final_level_is_the_more_urgent_of_rules_and_model),
};
CP_TEST_GROUP(safety_context, tests)
