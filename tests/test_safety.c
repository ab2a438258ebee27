/* The rules lane: what must be found, what must not, what can never lower a level, what must be
 * refused. */
#include "tests/test.h"

#include "base/clock.h"
#include "server/eval_vignettes.h"
#include "server/safety.h"

#define RULES "data/triage/rules.json"

static cp_safety *open_rules(void) {
    cp_error err;
    cp_safety *safety = NULL;
    assert_cp_ok(cp_safety_open(RULES, &safety, &err));
    return safety;
}

static bool fires(const cp_safety_finding *found, const char *id) {
    for (size_t i = 0; i < found->n; i++)
        if (strcmp(found->rules[i]->id, id) == 0)
            return true;
    return false;
}

static cp_safety_finding check(const cp_safety *safety, const char *query) {
    cp_safety_finding found;
    cp_safety_check(safety, query, NULL, &found);
    return found;
}

/* ---- what must be found ----------------------------------------------------------------- */

static const struct positive {
    const char *id, *query;
} positives[] = {
    {"unresponsive", "My dad is unconscious on the kitchen floor"},
    {"unresponsive", "she's not breathing!!"},
    {"unresponsive", "I can\xe2\x80\x99t wake my husband up"},
    {"airway-failing", "My daughter's lips are turning blue"},
    {"airway-failing", "he is choking on a grape"},
    {"airway-failing", "too breathless to speak"},
    {"anaphylaxis", "ate a peanut and now his lips are swollen"},
    {"anaphylaxis", "stung by a wasp, hives everywhere and my throat feels tight"},
    {"anaphylaxis", "my tongue is swelling and i feel short of breath"},
    {"seizure-ongoing", "My brother is having a seizure right now"},
    {"seizure-ongoing", "the convulsions won't stop"},
    {"bleeding-severe", "the cut won't stop bleeding"},
    {"bleeding-severe", "Blood is spurting from his leg"},
    {"bleeding-severe", "the bleeding is really heavy and it will not stop"},
    {"breathing-severe", "I cant breathe"},
    {"breathing-severe", "struggling to breath since last night"},
    {"breathing-severe", "asthma attack and the inhaler isn't helping"},
    {"cardiac-chest-pain", "crushing chest pain"},
    {"cardiac-chest-pain", "feels like an elephant is sitting on my chest"},
    {"cardiac-chest-pain", "my chest hurts and I'm sweating a lot"},
    {"cardiac-chest-pain", "tight chest, short of breath"},
    {"cardiac-chest-pain", "pain in my chest going down my left arm"},
    {"aortic-dissection", "sudden tearing pain between my shoulders"},
    {"aortic-dissection", "it felt like something ripping in my back"},
    {"chest-pain-adult", "I've had a bit of chest pain since lunch"},
    {"chest-pain-adult", "My chest aches"},
    {"stroke-signs", "the left side of her mouth is drooping"},
    {"stroke-signs", "his speech is slurred"},
    {"stroke-signs", "suddenly my right arm went numb and weak, numb on one side"},
    {"stroke-signs", "she can't lift her arm"},
    {"sepsis", "fever and he is really confused"},
    {"sepsis", "I have an infected wound, shivering, skin is mottled"},
    {"sepsis", "temperature of 39 while on chemo"},
    {"meningitis", "high fever and a stiff neck"},
    {"meningitis", "a rash that does not fade under a glass, rash under a glass"},
    {"thunderclap-headache", "the worst headache of my life"},
    {"thunderclap-headache", "a sudden headache, like a hammer"},
    {"head-injury", "hit my head and I'm on warfarin"},
    {"head-injury", "she fell and banged her head and has been vomiting"},
    {"suicide-plan-or-attempt", "I want to kill myself and I have pills"},
    {"suicide-plan-or-attempt", "thinking of hanging myself"},
    {"suicidal-thoughts", "I don't want to live anymore"},
    {"suicidal-thoughts", "everyone would be better off without me"},
    {"suicidal-thoughts", "i have been feeling suicidal"},
    {"overdose-poisoning", "I took too many tylenol tablets, too many pills"},
    {"overdose-poisoning", "my toddler swallowed a button battery"},
    {"pregnancy-bleeding", "I'm 10 weeks pregnant and bleeding"},
    {"pregnancy-bleeding", "pregnant, there is some spotting"},
    {"pregnancy-danger", "my period is late and I have a bad pain in my belly"},
    {"pregnancy-danger", "I am pregnant with a headache and blurred vision"},
    {"pregnancy-danger", "the baby has not moved since yesterday, baby not moving"},
    {"infant-fever", "my 6 week old has a fever"},
    {"infant-fever", "newborn with a temp of 38.2"},
    {"sick-infant", "my baby is floppy"},
    {"sick-infant", "our toddler is grunting with every breath"},
    {"testicular-torsion", "sudden pain in my left testicle"},
    {"testicular-torsion", "my son's testicles are swollen and hurt"},
    {"cauda-equina", "numb between my legs since this morning"},
    {"cauda-equina", "back pain and I can't pee"},
    {"hypoglycaemia", "my blood sugar is low and I feel shaky"},
    {"hypoglycaemia", "he is having a hypo, confused and sweaty"},
    {"diabetic-ketoacidosis", "diabetic and vomiting all day"},
    {"diabetic-ketoacidosis",
     "blood sugar is very high and my breath smells fruity, fruity breath"},
    {"vision-loss", "I suddenly can't see out of my right eye"},
    {"vision-loss", "like a curtain coming down over my eye"},
    {"gi-bleeding", "I am vomiting blood"},
    {"gi-bleeding", "my stool is black and sticky"},
    {"limb-or-compartment", "the bone is sticking out of his arm"},
    {"limb-or-compartment", "my foot is cold and numb"},
    {"pyelonephritis", "fever and burning when I pee"},
    {"pyelonephritis", "chills with flank pain"},
    {"syncope", "I fainted this morning"},
    {"syncope", "passed out twice today"},
    {"breathlessness", "a little short of breath on stairs"},
    {"breathlessness", "wheezing at night"},
    {"chest-pain-young", "my chest hurts"},
    {"chest-pain-young", "tightness in the chest"},
};
#define N_POSITIVES (sizeof positives / sizeof positives[0])

static void every_rule_is_found_in_plain_words(void **state) {
    (void)state;
    cp_safety *safety = open_rules();
    for (size_t i = 0; i < N_POSITIVES; i++) {
        cp_safety_finding found = check(safety, positives[i].query);
        if (!fires(&found, positives[i].id))
            fail_msg("%s does not fire on: %s", positives[i].id, positives[i].query);
    }
    cp_safety_close(safety);
}

/* The examples in the file are its own test: each must fire its rule, with the patient it names. */
static void every_example_fires_its_rule(void **state) {
    (void)state;
    cp_error err;
    cp_safety *safety = open_rules();
    cJSON *file = test_read_json(RULES);
    const cJSON *rule, *example, *rules = cp_json_member(file, "rules");
    assert_int_equal(cp_safety_n_rules(safety), cJSON_GetArraySize(rules));
    assert_true(cp_safety_n_rules(safety) >= 60);
    cJSON_ArrayForEach(rule, rules) {
        const char *id = cp_json_member(rule, "id")->valuestring;
        assert_true(cJSON_GetArraySize(cp_json_member(rule, "examples")) >= 2);
        cJSON_ArrayForEach(example, cp_json_member(rule, "examples")) {
            bool plain = cJSON_IsString(example);
            const char *query = (plain ? example : cp_json_member(example, "query"))->valuestring;
            cp_patient_record record = {0};
            if (!plain)
                assert_cp_ok(cp_eval_record_of(cp_json_member(example, "patient"), &record, &err));
            cp_patient_facts facts = cp_patient_facts_of(&record, CP_EVAL_TODAY);
            cp_safety_finding found;
            cp_safety_check(safety, query, &facts, &found);
            if (!fires(&found, id))
                fail_msg("%s does not fire on its example: %s", id, query);
            cp_eval_record_deinit(&record);
        }
    }
    cJSON_Delete(file);
    cp_safety_close(safety);
}

static void no_rule_is_signed_yet(void **state) {
    (void)state;
    cJSON *file = test_read_json(RULES);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(file, "reviewed_by")));
    cJSON_Delete(file);
}

static void misspelled_and_oddly_written_words_are_read(void **state) {
    (void)state;
    static const char *const queries[] = {
        "TESTICULER PAIN",
        "my sppech is slured",
        "my chset hurts",
        "I CAN'T BREATHE",
        "i can`t brethe",
        "chest-pain",
        "I'm strugling to breathe",
        "ch\xc3\xa9st p\xc3\xa4in",
        "vomitting blood",
        "chest pain\xff",
        "siezure",
        "sucidal",
        "chest\n  pain",
        "\xef\xbd\x83\xef\xbd\x88\xef\xbd\x85\xef\xbd\x93\xef\xbd\x94 pain",
        "unconcious",
        "cannot breathe",
        "throat...closing",
    };
    cp_safety *safety = open_rules();
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++)
        if (check(safety, queries[i]).n == 0)
            fail_msg("nothing fires on: %s", queries[i]);
    cp_safety_close(safety);
}

/* ---- what must not ---------------------------------------------------------------------- */

static void everyday_complaints_and_plain_negations_are_no_warnings(void **state) {
    (void)state;
    static const char *const queries[] = {
        "",
        "my toe is sore",
        "I need a refill of my metformin",
        "no chest pain",
        "denies chest pain or shortness of breath",
        "He has no signs of a seizure",
        "I don't have any chest pain",
        "not having chest pain",
        "without chest pain",
        "Knee hurts. No fever.",
        "runny nose and a mild cough for two days",
        "Chest. Pain is in my knee",
        "I was in prison on a strike",
        "when is my next appointment",
        "itchy mosquito bite on my ankle",
        "I cut myself shaving",
        "can't see the doctor before the end of the week",
        "I have had this cough for days, no fever",
        "is it ok to take my tablets with milk",
        "I took my pill at 10 as usual",
        "what are your opening hours",
        "my daughter needs her second vaccine",
        "I ate fish yesterday and it was lovely",
        "can you change my appointment to 10 on Monday",
        "we hit the road tomorrow, do we need travel vaccines",
        "my son has a runny nose",
        "a wart on my finger",
        "hay fever again, which tablet is best",
        "I would like a copy of my blood test",
        "My sister had a stroke in 2009. I need a refill of my blood pressure tablets.",
    };
    cp_safety *safety = open_rules();
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        cp_safety_finding found = check(safety, queries[i]);
        assert_true(found.n > 0 || found.floor == CP_ACUITY_NONE);
        if (cp_safety_n_flags(&found) > 0)
            fail_msg("%s fires on: %s", found.rules[0]->id, queries[i]);
    }
    cp_safety_close(safety);
}

static void negation_never_reaches_beyond_its_phrase(void **state) {
    (void)state;
    static const char *const queries[] = {
        "no fever, chest pain",
        "no fever but chest pain",
        "no idea why my chest hurts",
        "No. Chest pain.",
        "no my chest hurts",
        "no i have chest pain",
        "not just chest pain",
        "not only chest pain",
        "there is no doubt this is chest pain",
        "no relief from the chest pain",
        "no chest pain is getting worse",
        "no chest pain yesterday but now chest pain",
        "I have never had chest pain like this",
        "I don't know what to do about my chest pain",
        "I do not think I can stand this chest pain",
        "not without chest pain",
        "no cough or cold, only chest pain",
        "no chest pressure, just pain",
        "chest pain, no",
        "no cant breathe",
        "had a stroke in 2010 and now again",
        "denieed chest pain",
        "no medication helps my chest pain",
        "chest pain not going away",
    };
    cp_safety *safety = open_rules();
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        cp_safety_finding found = check(safety, queries[i]);
        if (cp_safety_n_flags(&found) == 0)
            fail_msg("nothing fires on: %s", queries[i]);
    }
    cp_safety_close(safety);
}

static void playing_down_never_lowers(void **state) {
    (void)state;
    static const char *const before[] = {"My wife says it's nothing but ",
                                         "It is probably just stress, ", "Sorry to bother you. ",
                                         "I am sure I am fine; "};
    static const char *const after[] = {", it's nothing", " but it is not a big deal",
                                        ". I'm fine really", ", just a little",
                                        ". My doctor friend says don't worry"};
    cp_safety *safety = open_rules();
    for (size_t i = 0; i < N_POSITIVES; i++) {
        int floor = check(safety, positives[i].query).floor;
        char query[512];
        for (size_t b = 0; b < 4; b++)
            for (size_t a = 0; a < 5; a++) {
                snprintf(query, sizeof query, "%s%s%s", before[b], positives[i].query, after[a]);
                int now = check(safety, query).floor;
                if (now == CP_ACUITY_NONE || now > floor)
                    fail_msg("floor %d became %d: %s", floor, now, query);
            }
    }
    cp_safety_close(safety);
}

/* ---- properties ------------------------------------------------------------------------- */

static void added_sentences_never_raise_the_floor_number(void **state) {
    (void)state;
    static const char *const words[] = {"the",  "garden", "yesterday", "blue",  "dog", "chest",
                                        "pain", "is",     "walked",    "happy", "but", "still",
                                        "38.5", "and",    "my",        "arm"};
    uint64_t seed = 20261121, random = seed;
    cp_safety *safety = open_rules();
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 4000; round++) {
        const char *query = positives[test_random(&random) % N_POSITIVES].query;
        char longer[2048];
        int n = snprintf(longer, sizeof longer, "%s. ", query), floor = check(safety, query).floor;
        for (uint64_t k = test_random(&random) % 40; k > 0; k--)
            n += snprintf(longer + n, sizeof longer - (size_t)n, " %s%s",
                          words[test_random(&random) % 16], test_random(&random) % 7 ? "" : ",");
        int now = check(safety, longer).floor;
        if (now == CP_ACUITY_NONE || now > floor)
            fail_msg("floor %d became %d: %s", floor, now, longer);
    }
    cp_safety_close(safety);
}

static void floor_is_the_most_urgent_hit_and_hits_are_in_order(void **state) {
    (void)state;
    cp_safety *safety = open_rules();
    cp_strbuf all;
    cp_strbuf_init(&all, 1 << 20);
    for (size_t i = 0; i < N_POSITIVES; i++) {
        cp_strbuf_printf(&all, "%s. ", positives[i].query);
        cp_safety_finding found = check(safety, cp_strbuf_text(&all));
        assert_true(found.n > 0 && found.n <= CP_SAFETY_MAX_HITS);
        int least = CP_ACUITY_LEAST_URGENT;
        for (size_t k = 0; k < found.n; k++) {
            assert_true(k == 0 || found.rules[k - 1]->acuity <= found.rules[k]->acuity);
            least = found.rules[k]->acuity < least ? found.rules[k]->acuity : least;
        }
        assert_int_equal(found.floor, least);
        assert_int_equal(found.floor, 1); /* the first query alone is a 1 */
    }
    assert_int_equal(check(safety, cp_strbuf_text(&all)).n, CP_SAFETY_MAX_HITS);
    cp_strbuf_deinit(&all);
    cp_safety_close(safety);
}

static void the_last_words_of_a_long_query_are_read(void **state) {
    (void)state;
    cp_safety *safety = open_rules();
    static const char *const fillers[] = {"word ", "the ", "a, ", "1 ", "\xff ", "chest ", "no "};
    for (size_t f = 0; f < sizeof fillers / sizeof fillers[0]; f++)
        for (size_t extra = 0; extra < 40; extra++) { /* every place against the window's edge */
            cp_strbuf text;
            cp_strbuf_init(&text, 1 << 20);
            while (text.n < 60 * 1024 + extra * strlen(fillers[f]))
                cp_strbuf_puts(&text, fillers[f]);
            cp_strbuf_puts(&text, ". I have crushing chest pain");
            if (check(safety, cp_strbuf_text(&text)).floor != 2)
                fail_msg("missed after 60 KiB of \"%s\"", fillers[f]);
            cp_strbuf_deinit(&text);
        }
    cp_safety_close(safety);
}

/* A phrase and its negation are seen the same wherever the window's border falls. */
static void the_window_has_no_edge(void **state) {
    (void)state;
    cp_safety *safety = open_rules();
    cp_strbuf text;
    cp_strbuf_init(&text, 1 << 20);
    for (size_t n = 980; n < 1060; n++) {
        cp_strbuf_clear(&text);
        test_append_times(&text, "word ", n);
        size_t start = text.n;
        cp_strbuf_puts(&text, "no signs of chest pain or shortness of breath.");
        test_append_times(&text, " word", 100);
        cp_safety_finding negated = check(safety, cp_strbuf_text(&text));
        assert_int_equal(cp_safety_n_flags(&negated), 0);
        cp_strbuf_truncate(&text, start);
        cp_strbuf_puts(&text, "pain and more pain in chest");
        assert_int_equal(check(safety, cp_strbuf_text(&text)).floor, 2);
    }
    cp_strbuf_deinit(&text);
    cp_safety_close(safety);
}

static void any_bytes_are_survived_without_allocating(void **state) {
    (void)state;
    uint64_t seed = cp_clock_ns(), random = seed;
    cp_safety *safety = open_rules();
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 10000; round++) {
        char text[600];
        size_t n = test_random(&random) % (sizeof text - 1);
        for (size_t i = 0; i < n; i++) {
            uint64_t draw = test_random(&random);
            text[i] = draw % 3 ? (char)(1 + draw / 3 % 255) : "chest pain no.,'\n"[draw / 3 % 17];
        }
        text[n] = '\0';
        test_alloc_reset();
        cp_safety_finding found = check(safety, text);
        assert_int_equal(test_alloc_count(), 0);
        assert_true(found.n <= CP_SAFETY_MAX_HITS);
        assert_true((found.n == 0) == (found.floor == CP_ACUITY_NONE));
    }
    cp_safety_finding found;
    cp_safety_check(safety, NULL, NULL, &found);
    assert_int_equal(found.n, 0);
    cp_safety_close(safety);
}

/* ---- what the record says --------------------------------------------------------------- */

static bool fires_for(const cp_safety *safety, const char *id, const char *query,
                      cp_patient_facts facts) {
    cp_safety_finding found;
    cp_safety_check(safety, query, &facts, &found);
    return fires(&found, id);
}

static void conditions_follow_the_record(void **state) {
    (void)state;
    cp_safety *safety = open_rules();
    cp_patient_facts unknown = {.age_years = -1}, adult = {.age_years = 40},
                     child = {.age_years = 9}, old = {.age_years = 80},
                     infant = {.age_years = 0, .age_months = 1},
                     older_infant = {.age_years = 0, .age_months = 6},
                     pregnant = {.age_years = 30, .sex = CP_SEX_FEMALE, .pregnant = true};
    assert_true(fires_for(safety, "infant-fever", "fever", infant));
    assert_false(fires_for(safety, "infant-fever", "fever", older_infant));
    assert_false(fires_for(safety, "infant-fever", "fever", adult));
    assert_false(fires_for(safety, "infant-fever", "fever", unknown));
    assert_true(fires_for(safety, "pregnancy-bleeding", "bleeding since noon", pregnant));
    assert_false(fires_for(safety, "pregnancy-bleeding", "bleeding since noon", adult));
    assert_true(fires_for(safety, "head-injury", "I bumped my head", old));
    assert_false(fires_for(safety, "head-injury", "I bumped my head", adult));
    assert_false(fires_for(safety, "chest-pain-adult", "chest pain", child));
    assert_true(fires_for(safety, "chest-pain-young", "chest pain", child));
    assert_true(fires_for(safety, "chest-pain-adult", "chest pain", unknown));
    assert_true(fires_for(safety, "chest-pain-adult", "chest pain", adult));
    cp_safety_close(safety);
}

static void levels_combine_to_the_more_urgent(void **state) {
    (void)state;
    assert_int_equal(cp_acuity_more_urgent(2, 4), 2);
    assert_int_equal(cp_acuity_more_urgent(4, 2), 2);
    assert_int_equal(cp_acuity_more_urgent(CP_ACUITY_NONE, 5), 5);
    assert_int_equal(cp_acuity_more_urgent(3, CP_ACUITY_NONE), 3);
    assert_int_equal(cp_acuity_more_urgent(CP_ACUITY_NONE, CP_ACUITY_NONE), CP_ACUITY_NONE);
    assert_string_equal(cp_acuity_disposition(1), "call_emergency");
    assert_string_equal(cp_acuity_disposition(5), "self_care");
    assert_string_equal(cp_acuity_disposition(0), "clinician_review");
    assert_string_equal(cp_acuity_disposition(9), "clinician_review");
}

/* ---- malformed files -------------------------------------------------------------------- */

#define LANGUAGE                                                                                   \
    "{\"ignored\":[\"my\"],\"same_words\":{\"pain\":[\"ache\"]},\"negators\":[\"no\"],"            \
    "\"negation_bridges\":[\"any\"],\"negation_links\":[\"or\"],\"negation_breakers\":[\"but\"],"  \
    "\"negative_words\":[\"no\"],\"not_misspellings\":[\"prison\"],"                               \
    "\"clause_words\":[\"but\"],\"minimisers\":[\"just\"],\"history_events\":[\"attack\"],"        \
    "\"history_ends\":[\"now\"],\"history_echoes\":[\"again\"],\"history_before\":[\"past\"],"     \
    "\"history_times\":[\"year ago\"]}"
#define RULE(fields)                                                                               \
    "{\"id\":\"r-1\",\"title\":\"T\",\"acuity\":2,\"disposition\":\"call_emergency\","             \
    "\"advice\":\"A\",\"source\":\"S\",\"examples\":[\"a\",\"b\"]," fields "}"
#define GOOD "\"patterns\":[{\"all\":[[\"chest pain\"]]}]"
#define FILE_WITH(language, rules)                                                                 \
    "{\"version\":2,\"reviewed_by\":null,\"unmatched_acuity\":3,\"language\":" language            \
    ",\"lists\":{\"l\":[\"a b\"]},\"rules\":[" rules "]}"

static cp_status open_text(const char *text, cp_safety **out, cp_error *err) {
    const char *path = test_path(test_tmp_dir(), "rules.json");
    test_write_file(path, text, strlen(text));
    return cp_safety_open(path, out, err);
}

static void the_smallest_good_file_opens(void **state) {
    (void)state;
    cp_error err;
    cp_safety *safety = NULL;
    assert_cp_ok(open_text(FILE_WITH(LANGUAGE, RULE(GOOD)), &safety, &err));
    assert_int_equal(check(safety, "my chest aches").floor, 2);
    assert_int_equal(check(safety, "no chest pain").n, 0);
    cp_safety_close(safety);
    cp_safety_close(NULL);
}

static void two_words_may_be_meant_by_one_misspelling(void **state) {
    (void)state;
    cp_error err;
    cp_safety *safety = NULL;
    assert_cp_ok(
        open_text(FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"sprain\"],[\"strain\"]]}]")),
                  &safety, &err));
    assert_int_equal(check(safety, "srain").n, 1);
    assert_int_equal(check(safety, "sprain").n, 0);
    cp_safety_close(safety);
}

static void one_edit_anywhere_in_a_word_of_five_letters_is_read(void **state) {
    (void)state;
    cp_error err;
    cp_safety *safety = NULL;
    static const char *const read[] = {"chset", "hcest", "xhest", "chst", "chesst", "hest"};
    static const char *const unread[] = {"cse", "chxxt", "hcset", "chestxx", "ches7"};
    char query[64];
    assert_cp_ok(open_text(FILE_WITH(LANGUAGE, RULE(GOOD)), &safety, &err));
    for (size_t i = 0; i < sizeof read / sizeof read[0]; i++) {
        snprintf(query, sizeof query, "%s pain", read[i]);
        if (check(safety, query).n != 1)
            fail_msg("not read: %s", query);
    }
    for (size_t i = 0; i < sizeof unread / sizeof unread[0]; i++) {
        snprintf(query, sizeof query, "%s pain", unread[i]);
        if (check(safety, query).n != 0)
            fail_msg("read as chest: %s", query);
    }
    assert_int_equal(check(safety, "chest pian").n, 0); /* four letters are not corrected */
    cp_safety_close(safety);
}

static void a_real_word_is_a_misspelling_only_in_company(void **state) {
    (void)state;
    cp_error err;
    cp_safety *safety = NULL;
    assert_cp_ok(open_text(
        FILE_WITH(
            LANGUAGE,
            RULE("\"patterns\":[{\"all\":[[\"poison\",\"rat poison\",\"poison ... tea\"]]}]")),
        &safety, &err));
    assert_int_equal(check(safety, "out of prison").n, 0);
    assert_int_equal(check(safety, "prison serves tea").n, 0);
    assert_int_equal(check(safety, "ate rat prison").n, 1);
    assert_int_equal(check(safety, "ate poisn").n, 1);
    cp_safety_close(safety);
}

static void the_most_urgent_rule_comes_first_wherever_it_stands(void **state) {
    (void)state;
    static const char late[] =
        "{\"id\":\"late\",\"title\":\"t\",\"acuity\":1,\"disposition\":\"call_emergency\","
        "\"advice\":\"a\",\"source\":\"s\","
        "\"examples\":[\"a\",\"b\"]," GOOD "}";
    char text[2048];
    cp_error err;
    cp_safety *safety = NULL;
    snprintf(text, sizeof text, FILE_WITH(LANGUAGE, "%s,%s"), RULE(GOOD), late);
    assert_cp_ok(open_text(text, &safety, &err));
    cp_safety_finding found = check(safety, "chest pain");
    assert_int_equal(found.n, 2);
    assert_int_equal(found.floor, 1);
    assert_string_equal(found.rules[0]->id, "late");
    cp_safety_close(safety);
}

static void malformed_rules_refuse_the_whole_file(void **state) {
    (void)state;
    static const struct {
        const char *text, *place, *problem;
    } bad[] = {
        {"{", "rules.json", ""},
        {"[]", "rules.json", "object"},
        {"{\"version\":1}", "top level", "version is 1, expected 2"},
        {"{\"version\":2,\"reviewed_by\":null,\"unmatched_acuity\":3,\"rules\":[]}", "top level",
         "rules"},
        {"{\"version\":2,\"reviewed_by\":5,\"rules\":[1]}", "top level", "reviewed_by"},
        {"{\"version\":2,\"reviewed_by\":\"\",\"rules\":[1]}", "top level", "reviewed_by"},
        {"{\"version\":2,\"rulez\":[]}", "top level", "rulez"},
        {FILE_WITH("{}", RULE(GOOD)), "language", "same_words"},
        {FILE_WITH("7", RULE(GOOD)), "language", "object"},
        {FILE_WITH(LANGUAGE, "7"), "rule number 1", "id"},
        {FILE_WITH(LANGUAGE, "{\"id\":\"Bad Id\"}"), "rule number 1", "id"},
        {FILE_WITH(LANGUAGE, RULE(GOOD) "," RULE(GOOD)), "rule r-1", "twice"},
        {FILE_WITH(LANGUAGE, RULE(GOOD ",\"min_age\":3")), "rule r-1", "min_age"},
        {FILE_WITH(LANGUAGE, "{\"id\":\"r-1\",\"acuity\":2}"), "rule r-1", "title"},
        {FILE_WITH(LANGUAGE,
                   "{\"id\":\"x\",\"title\":\"t\",\"acuity\":6,\"disposition\":\"self_care\","
                   "\"advice\":\"a\",\"source\":\"s\",\"examples\":[\"a\",\"b\"]," GOOD "}"),
         "rule x", "acuity is 6, expected a whole number from 1 to 5"},
        {FILE_WITH(LANGUAGE,
                   "{\"id\":\"x\",\"title\":\"t\",\"acuity\":1,\"disposition\":\"self_care\","
                   "\"advice\":\"a\",\"source\":\"s\",\"examples\":[\"a\",\"b\"]," GOOD "}"),
         "rule x", "no less urgent than acuity 1"},
        {FILE_WITH(LANGUAGE,
                   "{\"id\":\"x\",\"title\":\"t\",\"acuity\":1,\"disposition\":\"pray\","
                   "\"advice\":\"a\",\"source\":\"s\",\"examples\":[\"a\",\"b\"]," GOOD "}"),
         "rule x", "disposition is \"pray\", expected call_emergency"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[]")), "rule r-1", "patterns"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{}]")), "rule r-1", "all"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[]]}]")), "rule r-1", "group"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[7]]}]")), "rule r-1", "string"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[\"chest\"]}]")), "rule r-1", "group"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"@nolist\"]]}]")), "rule r-1",
         "@nolist"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"my\"]]}]")), "rule r-1", "ignored"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"... pain\"]]}]")), "rule r-1",
         "a gap"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"pain ...\"]]}]")), "rule r-1",
         "a gap"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"\"]]}]")), "rule r-1",
         "words that are not ignored"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"d\xc3\xa9j\xc3\xa0\"]]}]")),
         "rule r-1", "ASCII"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"a b c d e f g h i j k l m\"]]}]")),
         "rule r-1", "too many words"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"a\"]],\"when\":{\"age\":3}}]")),
         "rule r-1", "age"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"a\"]],\"when\":{}}]")), "rule r-1",
         "empty"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"a\"]],\"when\":{\"min_age\":-1}}]")),
         "rule r-1", "min_age"},
        {FILE_WITH(LANGUAGE,
                   RULE("\"patterns\":[{\"all\":[[\"a\"]],\"when\":{\"min_age\":null}}]")),
         "rule r-1", "min_age"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"a\"]],\"unless\":{\"sex\":\"f\"}}]")),
         "rule r-1", "sex"},
        {FILE_WITH(LANGUAGE,
                   RULE("\"patterns\":[{\"all\":[[\"a\"]],\"unless\":{\"pregnant\":false}}]")),
         "rule r-1", "pregnant"},
        {FILE_WITH(
             LANGUAGE,
             RULE("\"patterns\":[{\"all\":[[\"a\"]],\"when\":{\"min_age\":9,\"max_age\":3}}]")),
         "rule r-1", "not above"},
        {"{\"version\":2,\"reviewed_by\":null,\"rules\":[1]}", "top level",
         "unmatched_acuity is missing, expected a whole number from 1 to 3"},
        {"{\"version\":2,\"reviewed_by\":null,\"unmatched_acuity\":4,\"rules\":[1]}", "top level",
         "unmatched_acuity is 4"},
        {FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"a\"]],\"when\":{\"medication\":"
                                  "\"warfarin\"}}]")),
         "rule r-1", "medication is \"warfarin\", expected a list"},
        {FILE_WITH(LANGUAGE,
                   RULE("\"patterns\":[{\"all\":[[\"a\"]],\"when\":{\"allergy\":[\"@no\"]}}]")),
         "rule r-1", "allergy is \"@no\", expected the name of a list"},
        {FILE_WITH(LANGUAGE,
                   RULE("\"patterns\":[{\"all\":[[\"a\"]],\"when\":{\"condition\":[7]}}]")),
         "rule r-1", "condition is 7, expected a string"},
        {FILE_WITH(LANGUAGE, "{\"id\":\"x\",\"title\":\"t\",\"acuity\":3,\"disposition\":"
                             "\"same_day_care\",\"advice\":\"a\",\"source\":\"s\","
                             "\"examples\":[\"a\"]," GOOD "}"),
         "rule x", "examples is a list, expected at least two"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cp_error err = {0};
        cp_safety *safety = (cp_safety *)&err;
        if (open_text(bad[i].text, &safety, &err) == CP_OK)
            fail_msg("accepted: %s", bad[i].text);
        assert_null(safety);
        if (!strstr(err.message, bad[i].place) || !strstr(err.message, bad[i].problem))
            fail_msg("expected %s and %s in: %s", bad[i].place, bad[i].problem, err.message);
    }
}

static void a_missing_file_is_refused(void **state) {
    (void)state;
    cp_error err;
    cp_safety *safety = NULL;
    assert_int_equal(cp_safety_open("data/triage/nothing.json", &safety, &err), CP_ERR_NOT_FOUND);
    assert_null(safety);
}

/* ---- faults ----------------------------------------------------------------------------- */

static void *hooked_malloc(size_t n) {
    return malloc(n); /* ours, so that cJSON's allocations fail too */
}

static void allocation_faults_refuse_the_file_cleanly(void **state) {
    (void)state;
    cJSON_Hooks hooks = {hooked_malloc, free};
    cJSON_InitHooks(&hooks);
    for (long n = 1;; n += n < 60 ? 1 : 61) {
        cp_error err;
        cp_safety *safety = NULL;
        test_alloc_fail_at(n, 0);
        cp_status status = cp_safety_open(RULES, &safety, &err);
        test_alloc_fail_at(0, 0);
        assert_true((status == CP_OK) == (safety != NULL));
        cp_safety_close(safety);
        if (status == CP_OK)
            break;
        assert_int_equal(status, CP_ERR_NO_MEMORY);
    }
    cJSON_InitHooks(NULL);
}

static void late_allocation_faults_refuse_the_file_cleanly(void **state) {
    (void)state;
    const char *path = test_path(test_tmp_dir(), "rules.json");
    const char *text =
        FILE_WITH(LANGUAGE, RULE("\"patterns\":[{\"all\":[[\"chest pain\",\"@l\"]]}]"));
    cJSON_Hooks hooks = {hooked_malloc, free};
    test_write_file(path, text, strlen(text));
    cJSON_InitHooks(&hooks);
    for (long n = 1;; n++) { /* a small file: every single allocation */
        cp_error err;
        cp_safety *safety = NULL;
        test_alloc_fail_at(n, 0);
        cp_status status = cp_safety_open(path, &safety, &err);
        test_alloc_fail_at(0, 0);
        cp_safety_close(safety);
        if (status == CP_OK)
            break;
        assert_null(safety);
        assert_int_equal(status, CP_ERR_NO_MEMORY);
    }
    cJSON_InitHooks(NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_rule_is_found_in_plain_words),
    cmocka_unit_test(every_example_fires_its_rule),
    cmocka_unit_test(no_rule_is_signed_yet),
    cmocka_unit_test(misspelled_and_oddly_written_words_are_read),
    cmocka_unit_test(everyday_complaints_and_plain_negations_are_no_warnings),
    cmocka_unit_test(negation_never_reaches_beyond_its_phrase),
    cmocka_unit_test(playing_down_never_lowers),
    cmocka_unit_test(added_sentences_never_raise_the_floor_number),
    cmocka_unit_test(floor_is_the_most_urgent_hit_and_hits_are_in_order),
    cmocka_unit_test(the_last_words_of_a_long_query_are_read),
    cmocka_unit_test(the_window_has_no_edge),
    cmocka_unit_test(any_bytes_are_survived_without_allocating),
    cmocka_unit_test(conditions_follow_the_record),
    cmocka_unit_test(levels_combine_to_the_more_urgent),
    cmocka_unit_test(the_smallest_good_file_opens),
    cmocka_unit_test(two_words_may_be_meant_by_one_misspelling),
    cmocka_unit_test(one_edit_anywhere_in_a_word_of_five_letters_is_read),
    cmocka_unit_test(a_real_word_is_a_misspelling_only_in_company),
    cmocka_unit_test(the_most_urgent_rule_comes_first_wherever_it_stands),
    cmocka_unit_test(malformed_rules_refuse_the_whole_file),
    cmocka_unit_test(a_missing_file_is_refused),
    cmocka_unit_test(allocation_faults_refuse_the_file_cleanly),
    cmocka_unit_test(late_allocation_faults_refuse_the_file_cleanly),
};
CP_TEST_GROUP(safety, tests)
