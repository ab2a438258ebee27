/* What an answer rests on, without HTTP: citations through the gate, claims that nothing supports,
 * and what of them the reply says; and sources that have to fit. */
#include "tests/test.h"

#include "server/triage_lane.h"
#include "server/triage_reply.h"

static const char note[] = "Tightness across the chest after two flights of stairs, gone within "
                           "five minutes of rest. Aspirin 81 mg was started.";
static const char guide[] = "Call the emergency number for chest pain at rest. Do not drive.";

typedef struct fixture {
    cp_source_doc docs[2];
    cp_passage passages[2];
    cp_triage_sources sources;
    cp_claim_terms *terms;
    cp_knowledge *knowledge;
    cp_triage_grounds grounds;
} fixture;

static void begin(fixture *f) {
    cp_error err;
    *f = (fixture){
        .docs = {{.mrn = "MRN-001",
                  .id = "DOC-001-1",
                  .title = "Cardiology visit",
                  .type = "visit_note",
                  .date = "2025-09-21",
                  .kind = CP_ENTRY_DOCUMENT,
                  .text = {note, sizeof note - 1}},
                 {.mrn = "",
                  .id = "KB-chest-pain",
                  .title = "Chest pain",
                  .type = "red_flags",
                  .date = "2026-11-21",
                  .kind = CP_ENTRY_KNOWLEDGE,
                  .text = {guide, sizeof guide - 1}}},
    };
    for (size_t i = 0; i < 2; i++)
        f->passages[i] = (cp_passage){.doc = &f->docs[i],
                                      .n = (uint32_t)f->docs[i].text.n,
                                      .best_n = (uint32_t)f->docs[i].text.n};
    f->sources = (cp_triage_sources){f->passages, 2, 2};
    assert_cp_ok(cp_knowledge_open("data/knowledge", &f->knowledge, &err));
    assert_cp_ok(cp_claim_terms_create(f->knowledge, NULL, &f->terms, &err));
    f->grounds = (cp_triage_grounds){
        .sources = &f->sources,
        .given = CP_STR("Medications: aspirin 81 mg. Tightness across the chest. Chest pain at "
                        "rest: call the emergency number."),
        .terms = f->terms,
        .mode = "lexical"};
}

static void end(fixture *f) {
    cp_claim_terms_free(f->terms);
    cp_knowledge_close(f->knowledge);
}

/* The reply to an answer with this assessment and these citations; cJSON_Delete. */
static cJSON *reply_to(const fixture *f, const char *assessment, const char *citations,
                       size_t tail_bytes, cp_triage_verdict *verdict) {
    const cp_safety_finding finding = {.n = 0};
    cp_llm_result result;
    cp_strbuf out;
    cp_error err;
    cJSON *tree;
    cp_llm_result_init(&result);
    cp_strbuf_printf(&result.answer,
                     "{\"assessment\":\"%s\",\"acuity\":3,\"next_steps\":[],"
                     "\"seek_help_sooner_if\":[],\"citations\":[%s]}",
                     assessment, citations);
    result.structured.tail_bytes = tail_bytes;
    cp_strbuf_init(&out, (size_t)1 << 20);
    const cp_triage_outcome outcome = {.trace_id = "t",
                                       .mrn = "MRN-001",
                                       .llm_mode = "m",
                                       .model = "m",
                                       .finding = &finding,
                                       .grounds = &f->grounds,
                                       .result = &result};
    cp_triage_reply_append(&outcome, &out, verdict);
    assert_int_equal(out.failed, CP_OK);
    assert_cp_ok(cp_json_parse("reply", out.data, out.n, &tree, &err));
    cp_strbuf_deinit(&out);
    cp_llm_result_deinit(&result);
    return tree;
}

#define CITE(source, quote, claim)                                                                 \
    "{\"source\":\"" source "\",\"quote\":\"" quote "\",\"claim\":\"" claim                        \
    "\",\"why\":\"It is the same pain.\"}"

static const cJSON *citation(const cJSON *reply, int i) {
    return cJSON_GetArrayItem(cp_json_member(reply, "citations"), i);
}

static int64_t number_in(const cJSON *object, const char *key) {
    const cJSON *item = cp_json_member(object, key);
    assert_true(cJSON_IsNumber(item));
    return (int64_t)item->valuedouble;
}

static void a_true_citation_leaves_with_the_documents_own_words(void **state) {
    (void)state;
    fixture f;
    cp_triage_verdict verdict;
    begin(&f);
    cJSON *reply =
        reply_to(&f, "Chest tightness.",
                 CITE("S1", "gone within FIVE minutes  of rest", "The pain passes."), 0, &verdict);
    const cJSON *c = citation(reply, 0);
    assert_string_equal(cp_json_text(c, "document_id", ""), "DOC-001-1");
    assert_string_equal(cp_json_text(c, "from", ""), "record");
    assert_string_equal(cp_json_text(c, "quote", ""), "gone within five minutes of rest");
    size_t start = (size_t)number_in(c, "start"), stop = (size_t)number_in(c, "end");
    assert_memory_equal(note + start, "gone within five minutes of rest", stop - start);
    assert_string_equal(cp_json_text(c, "check", ""), "verbatim");
    assert_string_equal(cp_json_text(c, "claim", ""), "The pain passes.");
    assert_int_equal(verdict.support.kept, 1);
    assert_int_equal(cJSON_GetArraySize(cp_json_member(reply, "sources")), 2);
    cJSON_Delete(reply);
    end(&f);
}

static void a_citation_of_the_wrong_document_is_put_right(void **state) {
    (void)state;
    fixture f;
    cp_triage_verdict verdict;
    begin(&f);
    cJSON *reply =
        reply_to(&f, "x", CITE("S1", "Call the emergency number for chest pain at rest.", "Call."),
                 0, &verdict);
    assert_string_equal(cp_json_text(citation(reply, 0), "document_id", ""), "KB-chest-pain");
    assert_string_equal(cp_json_text(citation(reply, 0), "check", ""), "misattributed");
    assert_int_equal(verdict.support.citations[CP_CITATION_MISATTRIBUTED], 1);
    cJSON_Delete(reply);
    end(&f);
}

/* Invented words, a changed number, a source that was not shown, a mark that is none. */
static void what_is_not_there_does_not_leave(void **state) {
    (void)state;
    fixture f;
    cp_triage_verdict verdict;
    begin(&f);
    cJSON *reply =
        reply_to(&f, "x",
                 CITE("S1", "The CANARY stress test was negative.", "c") "," CITE(
                     "S1", "gone within fifty minutes of rest",
                     "c") "," CITE("S9", "CANARY words of nobody at all",
                                   "c") "," CITE("S2", "Drive yourself to the hospital", "c"),
                 0, &verdict);
    char *text = cJSON_PrintUnformatted(reply);
    assert_non_null(text);
    assert_null(strstr(text, "CANARY"));
    assert_int_equal(cJSON_GetArraySize(cp_json_member(reply, "citations")), 0);
    const cJSON *check = cp_json_member(reply, "citation_check");
    assert_int_equal(number_in(check, "claimed"), 4);
    assert_int_equal(number_in(check, "removed"), 4);
    cJSON_free(text);
    cJSON_Delete(reply);
    end(&f);
}

static void a_citation_that_was_cut_is_none(void **state) {
    (void)state;
    fixture f;
    cp_triage_verdict verdict;
    begin(&f);
    cJSON *reply = reply_to(&f, "x",
                            CITE("S2", "Do not drive.",
                                 "c") "," CITE("S1", "gone within five minutes of rest", "The p"),
                            4, &verdict);
    assert_int_equal(cJSON_GetArraySize(cp_json_member(reply, "citations")), 1);
    assert_string_equal(cp_json_text(citation(reply, 0), "document_id", ""), "KB-chest-pain");
    cJSON_Delete(reply);
    end(&f);
}

static void a_medicine_from_nowhere_is_marked_for_whoever_reads(void **state) {
    (void)state;
    fixture f;
    cp_triage_verdict verdict;
    begin(&f);
    cJSON *reply =
        reply_to(&f, "She takes aspirin 81 mg. Start warfarin 5 mg today.", "", 0, &verdict);
    const cJSON *claims = cp_json_member(reply, "unsupported_claims"), *item;
    bool found = false;
    cJSON_ArrayForEach(item, claims) {
        assert_null(strstr(cp_json_text(item, "sentence", ""), "aspirin"));
        found |= strcmp(cp_json_text(item, "term", ""), "warfarin") == 0;
    }
    assert_true(found);
    assert_non_null(strstr(cp_json_text(reply, "response", ""), "Not found in the record"));
    cJSON_Delete(reply);
    reply = reply_to(&f, "She takes aspirin 81 mg.", "", 0, &verdict);
    assert_int_equal(cJSON_GetArraySize(cp_json_member(reply, "unsupported_claims")), 0);
    assert_null(strstr(cp_json_text(reply, "response", ""), "Not found"));
    cJSON_Delete(reply);
    end(&f);
}

/* A citation's words are none of the text, whole or in pieces. */
static void citations_are_not_read_out(void **state) {
    static const char json[] =
        "{\"assessment\":\"Rest.\",\"acuity\":4,\"next_steps\":[\"Walk.\"],"
        "\"seek_help_sooner_if\":[\"Pain.\"],\"citations\":[{\"source\":\"S1\",\"quote\":\"a "
        "\\\"b\\\" \\u00e9\",\"claim\":\"c\",\"why\":\"d\"}]}";
    (void)state;
    for (size_t step = 1; step < 7; step++) {
        cp_triage_reader reader;
        cp_strbuf out;
        cp_strbuf_init(&out, 1000);
        cp_triage_reader_init(&reader);
        for (size_t i = 0; i < sizeof json - 1; i += step)
            cp_triage_reader_push(&reader, json + i,
                                  sizeof json - 1 - i < step ? sizeof json - 1 - i : step, &out);
        assert_string_equal(cp_strbuf_text(&out),
                            "Rest.\n\nNext steps:\n- Walk.\n\nSeek help sooner if:\n- Pain.");
        cp_strbuf_deinit(&out);
    }
}

/* ---- sources that have to fit ---------------------------------------------------------------- */

static size_t count_bytes(void *user, cp_str text) {
    (void)user;
    return text.n;
}

static size_t n_told_within(const fixture *f, const cp_safety *safety, size_t most_source_tokens,
                            size_t most_tokens) {
    const cp_conversation none = {.n_turns = 0};
    cp_triage_past past = {.conversation = &none,
                           .most_source_tokens = most_source_tokens,
                           .most_tokens = most_tokens,
                           .count_tokens = count_bytes};
    cp_triage_sources sources = {f->passages, 2, 0};
    cp_patient_record *record = cp_patient_record_create("MRN-001");
    const cp_safety_finding finding = {.n = 0};
    const cp_triage_told told = {.record = record,
                                 .past = &past,
                                 .sources = &sources,
                                 .query = "chest pain",
                                 .today = "2026-11-22",
                                 .finding = &finding};
    cp_strbuf prompt;
    assert_non_null(record);
    cp_strbuf_init(&prompt, 100000);
    assert_int_equal(cp_triage_write_prompt(safety, &told, &prompt), CP_OK);
    assert_true((strstr(cp_strbuf_text(&prompt), "[S1]") != NULL) == (sources.n_told > 0));
    assert_true((strstr(cp_strbuf_text(&prompt), "[S2]") != NULL) == (sources.n_told > 1));
    assert_true(sources.n_told == 0 || prompt.n <= most_tokens + 64);
    cp_strbuf_deinit(&prompt);
    cp_patient_record_free(record);
    return sources.n_told;
}

static void sources_that_do_not_fit_are_left_out_from_the_end(void **state) {
    (void)state;
    fixture f;
    cp_safety *safety;
    cp_error err;
    begin(&f);
    assert_cp_ok(cp_safety_open("data/triage/rules.json", &safety, &err));
    assert_int_equal(n_told_within(&f, safety, 10000, 10000), 2);
    assert_int_equal(n_told_within(&f, safety, 250, 10000), 1);
    assert_int_equal(n_told_within(&f, safety, 50, 10000), 0);
    assert_int_equal(n_told_within(&f, safety, 10000, 150), 0);
    cp_safety_close(safety);
    end(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_true_citation_leaves_with_the_documents_own_words),
    cmocka_unit_test(a_citation_of_the_wrong_document_is_put_right),
    cmocka_unit_test(what_is_not_there_does_not_leave),
    cmocka_unit_test(a_citation_that_was_cut_is_none),
    cmocka_unit_test(a_medicine_from_nowhere_is_marked_for_whoever_reads),
    cmocka_unit_test(citations_are_not_read_out),
    cmocka_unit_test(sources_that_do_not_fit_are_left_out_from_the_end),
};
CP_TEST_GROUP(triage_citations, tests)
