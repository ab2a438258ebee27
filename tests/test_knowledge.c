/* Documents: files of the knowledge base that break the form in each way, and records with fields
 * of every type. */
#include "tests/test.h"

#include "retrieval/knowledge.h"
#include "retrieval/record_docs.h"

static const char *const good[] = {"---",
                                   "id: \"KB-a-b\"",
                                   "title: \"A title\"",
                                   "kind: \"red_flags\"",
                                   "topics: [\"one\", \"two\"]",
                                   "conditions: []",
                                   "medicines: [\"warfarin\"]",
                                   "source: \"Somebody, 2024\"",
                                   "date: \"2026-11-21\"",
                                   "reviewed_by: null",
                                   "lang: \"en\"",
                                   "---",
                                   "Call at once.",
                                   NULL};

/* Writes the good file with line `number` (from 1) replaced; "" leaves the line out. */
static const char *write_file(const char *name, size_t number, const char *line) {
    static char dir[256];
    static unsigned n;
    cp_strbuf text;
    char command[300];
    snprintf(dir, sizeof dir, "%s/kb-%u", test_tmp_dir(), n++);
    snprintf(command, sizeof command, "mkdir -p %s", dir);
    assert_int_equal(system(command), 0);
    cp_strbuf_init(&text, 1 << 20);
    for (size_t i = 0; good[i]; i++) {
        const char *put = i + 1 == number ? line : good[i];
        if (*put)
            cp_strbuf_printf(&text, "%s\n", put);
    }
    test_write_file(test_path(dir, name), text.data, text.n);
    cp_strbuf_deinit(&text);
    return dir;
}

static void a_good_file_is_read(void **state) {
    cp_knowledge *k;
    cp_error err;
    (void)state;
    assert_cp_ok(cp_knowledge_open(write_file("a-b.md", 0, ""), &k, &err));
    assert_int_equal(cp_knowledge_n(k), 1);
    const cp_source_doc *doc = cp_knowledge_find(k, "KB-a-b");
    assert_ptr_equal(doc, cp_knowledge_doc(k, 0));
    assert_string_equal(doc->mrn, "");
    assert_string_equal(doc->title, "A title");
    assert_string_equal(doc->type, "red_flags");
    assert_true(cp_str_is(doc->text, "Call at once.\n"));
    assert_true(cp_str_is(doc->also, "one; two; warfarin"));
    const cp_knowledge_about about = cp_knowledge_about_doc(k, 0);
    assert_string_equal(about.source, "Somebody, 2024");
    assert_null(about.reviewed_by);
    assert_null(about.conditions[0]);
    assert_string_equal(about.medicines[0], "warfarin");
    assert_null(about.medicines[1]);
    assert_null(cp_knowledge_find(k, "KB-a"));
    cp_knowledge_close(k);
    cp_knowledge_close(NULL);
}

static void each_fault_is_refused_and_named(void **state) {
    static const struct {
        const char *name;
        size_t number;
        const char *line, *said;
    } cases[] = {
        {"a-b.md", 1, "--", "line 1: expected ---"},
        {"a-b.md", 2, "id: \"KB-a-c\"", "line 2: expected the id"},
        {"a-c.md", 0, "", "line 2: expected the id"},
        {"a_b.md", 2, "id: \"KB-a_b\"", "line 2: expected the id"},
        {"a-b.md", 2, "id: 7", "line 2: expected id: and a text"},
        {"a-b.md", 2, "", "line 2: expected id:"},
        {"a-b.md", 3, "title: \"\"", "line 3: expected title: and a text"},
        {"a-b.md", 3, "title: unquoted", "line 3: expected title:"},
        {"a-b.md", 3, "title:\"x\"", "line 3: expected title:"},
        {"a-b.md", 4, "kind: \"essay\"", "line 4: expected the kind"},
        {"a-b.md", 5, "topics: \"one\"", "line 5: expected topics: and a list of texts"},
        {"a-b.md", 5, "topics: [1]", "line 5: expected topics: and a list of texts"},
        {"a-b.md", 5, "topics: [\"\"]", "line 5: expected topics: and a list of texts"},
        {"a-b.md", 6, "medicines: []", "line 6: expected conditions:"},
        {"a-b.md", 8, "source: null", "line 8: expected source:"},
        {"a-b.md", 9, "date: \"2026-13-21\"", "line 9: expected a date"},
        {"a-b.md", 9, "date: \"21.11.2026\"", "line 9: expected a date"},
        {"a-b.md", 10, "reviewed_by: 1", "line 10: expected reviewed_by: and a text or null"},
        {"a-b.md", 11, "lang: \"de\"", "line 11: expected the language en"},
        {"a-b.md", 11, "lang: \"en\"\nmore: 1", "line 12: expected ---"},
        {"a-b.md", 12, "", "line 12: expected ---"},
        {"a-b.md", 13, "", "line 13: expected the document's text"},
        {"a-b.md", 13, " ", "line 13: expected the document's text"},
        {"a-b.md", 13, "bad \xff byte", "expected UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cp_knowledge *k;
        cp_error err;
        const char *dir = write_file(cases[i].name, cases[i].number, cases[i].line);
        cp_status status = cp_knowledge_open(dir, &k, &err);
        if (status != CP_ERR_FORMAT || !strstr(err.message, cases[i].said) ||
            !strstr(err.message, cases[i].name))
            fail_msg("case %zu: %d, %s", i, status, status ? err.message : "");
        assert_null(k);
    }
}

static void other_files_are_passed_over(void **state) {
    cp_knowledge *k;
    cp_error err;
    const char *dir = write_file("README.md", 1, "no document");
    (void)state;
    test_write_file(test_path(dir, "words.json"), "{", 1);
    test_write_file(test_path(dir, ".hidden.md"), "{", 1);
    assert_cp_ok(cp_knowledge_open(dir, &k, &err));
    assert_int_equal(cp_knowledge_n(k), 0);
    assert_null(cp_knowledge_find(k, "KB-a"));
    cp_knowledge_close(k);
    assert_int_equal(cp_knowledge_open("no-such-folder", &k, &err), CP_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "no-such-folder"));
}

/* ---- seals --------------------------------------------------------------------------------- */

static cp_content_hash seal(cp_source_doc doc) {
    cp_error err;
    assert_cp_ok(cp_source_doc_seal(&doc, &err));
    return doc.hash;
}

static void every_field_is_sealed(void **state) {
    const cp_source_doc base = {.mrn = "M",
                                .id = "D",
                                .title = "ab",
                                .type = "c",
                                .date = "2026-01-01",
                                .kind = CP_ENTRY_DOCUMENT,
                                .text = CP_STR("text"),
                                .also = CP_STR("also")};
    cp_source_doc docs[7];
    (void)state;
    for (size_t i = 0; i < 7; i++)
        docs[i] = base;
    docs[0].title = "a";
    docs[0].type = "bc"; /* the same bytes one behind the other */
    docs[1].kind = CP_ENTRY_CHAT;
    docs[2].date = "2026-01-02";
    docs[3].text = CP_STR("texts");
    docs[4].also = CP_STR("als");
    docs[5].type = "";
    const cp_content_hash hash = seal(base);
    for (size_t i = 0; i < 6; i++) {
        const cp_content_hash other = seal(docs[i]);
        assert_memory_not_equal(hash.bytes, other.bytes, CP_CONTENT_HASH);
    }
    docs[6].mrn = "N"; /* who and which one is not content */
    docs[6].id = "E";
    const cp_content_hash same = seal(docs[6]);
    assert_memory_equal(hash.bytes, same.bytes, CP_CONTENT_HASH);
}

/* ---- records ------------------------------------------------------------------------------- */

static cJSON *parse(const char *text) {
    cJSON *tree;
    cp_error err;
    assert_cp_ok(cp_json_parse("test", text, strlen(text), &tree, &err));
    return tree;
}

static void check_doc(const cp_source_doc *doc, cp_entry_kind kind, const char *title,
                      const char *text) {
    assert_int_equal(doc->kind, kind);
    assert_string_equal(doc->mrn, "M-1");
    assert_string_equal(doc->title, title);
    if (!cp_str_is(doc->text, text))
        fail_msg("%s: \"%.*s\"", doc->id, (int)doc->text.n, doc->text.data);
}

static void entries_are_written_out(void **state) {
    cJSON *documents = parse("[{\"id\": \"D1\", \"title\": \"T\", \"text\": \"Words.\", "
                             "\"kind\": \"lab_report\", \"date\": \"2026-01-02\"}]");
    cJSON *encounters =
        parse("[{\"id\": \"E1\", \"date\": \"2025-09-21\", \"type\": \"office_visit\", \"reason\": "
              "\"cough\", \"assessment\": \"A cold.\", \"plan\": \"Rest\", \"vitals\": "
              "{\"pulse\": 78, \"blood_pressure\": \"148/86\", \"temperature_c\": 36.7, \"odd\": "
              "[1], \"spo2\": 97}}]");
    cJSON *claims = parse("[{\"id\": \"C1\", \"date\": \"2026-10-01\", \"description\": \"Cold\", "
                          "\"icd10\": \"J00\", \"amount_usd\": 177.5, \"status\": \"paid\"}]");
    cJSON *chats =
        parse("[{\"id\": \"H1\", \"date\": \"2026-10-06\", \"turns\": [{\"role\": \"patient\", "
              "\"text\": \"Hello?\"}, {\"role\": \"care_team\", \"text\": \"Yes.\"}]}]");
    cp_record_docs docs;
    cp_error err;
    (void)state;
    assert_cp_ok(cp_record_docs_make("M-1", documents, encounters, claims, chats, &docs, &err));
    assert_int_equal(docs.n, 4);
    assert_int_equal(docs.n_left_out, 0);
    check_doc(&docs.docs[0], CP_ENTRY_DOCUMENT, "T", "Words.");
    check_doc(&docs.docs[1], CP_ENTRY_ENCOUNTER, "Office visit: cough",
              "Date: 21 September 2025.\nReason: cough.\nAssessment: A cold.\nPlan: Rest.\n"
              "Vital signs: pulse 78, blood pressure 148/86, temperature in degrees Celsius 36.7, "
              "oxygen saturation (SpO2) 97.\n");
    check_doc(&docs.docs[2], CP_ENTRY_CLAIM, "Bill: Cold",
              "Date of the bill: 1 October 2026.\nDiagnosis: Cold.\nCode: J00.\nAmount in US "
              "dollars: 177.5.\nStatus: paid.\n");
    check_doc(&docs.docs[3], CP_ENTRY_CHAT, "Conversation on 6 October 2026",
              "Patient: Hello?\nCare team: Yes.\n");
    assert_string_equal(docs.docs[0].type, "lab_report");
    assert_string_equal(docs.docs[1].type, "office_visit");
    /* The same bytes every time. */
    cp_record_docs again;
    assert_cp_ok(cp_record_docs_make("M-1", documents, encounters, claims, chats, &again, &err));
    for (size_t i = 0; i < docs.n; i++)
        assert_memory_equal(docs.docs[i].hash.bytes, again.docs[i].hash.bytes, CP_CONTENT_HASH);
    cp_record_docs_deinit(&again);
    cp_record_docs_deinit(&docs);
    cJSON_Delete(documents);
    cJSON_Delete(encounters);
    cJSON_Delete(claims);
    cJSON_Delete(chats);
}

/* Any field of any type, any entry of any type. */
static void odd_fields_are_not_used(void **state) {
    static const char *const odd[] = {"null", "7",      "-1e300", "\"\"",       "\"x\"",
                                      "[]",   "[null]", "{}",     "{\"a\": 1}", "true"};
    static const char *const keys[] = {"id",    "date",   "type", "reason",      "assessment",
                                       "plan",  "vitals", "text", "description", "amount_usd",
                                       "turns", "title",  "kind"};
    cp_error err;
    (void)state;
    for (size_t o = 0; o < sizeof odd / sizeof *odd; o++)
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            char text[256];
            cp_record_docs docs;
            snprintf(text, sizeof text, "[%s, {\"id\": \"I\", \"x\": %s}, {\"%s\": %s}]", odd[o],
                     odd[o], keys[k], odd[o]);
            cJSON *list = parse(text);
            assert_cp_ok(cp_record_docs_make("M-1", list, list, list, list, &docs, &err));
            for (size_t i = 0; i < docs.n; i++)
                assert_true(*docs.docs[i].id && docs.docs[i].text.n > 0);
            assert_int_equal(docs.n + docs.n_left_out, 12);
            cp_record_docs_deinit(&docs);
            cJSON_Delete(list);
        }
    cp_record_docs docs;
    cJSON *no_list = parse("{\"id\": \"I\", \"text\": \"t\"}");
    assert_cp_ok(cp_record_docs_make("M-1", no_list, NULL, NULL, NULL, &docs, &err));
    assert_int_equal(docs.n, 0);
    cp_record_docs_deinit(&docs);
    cJSON_Delete(no_list);
}

/* An id that two lists share: the first entry counts, for the index, the search and the reader. */
static void of_two_with_one_id_the_first_counts(void **state) {
    (void)state;
    cp_error err;
    cJSON *documents, *encounters;
    cp_record_docs docs;
    static const char one[] = "[{\"id\":\"17\",\"title\":\"A\",\"text\":\"Cough.\"}]",
                      two[] = "[{\"id\":\"17\",\"reason\":\"fall\"},"
                              "{\"id\":\"18\",\"reason\":\"fever\"}]";
    assert_cp_ok(cp_json_parse("documents", one, sizeof one - 1, &documents, &err));
    assert_cp_ok(cp_json_parse("encounters", two, sizeof two - 1, &encounters, &err));
    assert_cp_ok(cp_record_docs_make("M", documents, encounters, NULL, NULL, &docs, &err));
    assert_int_equal(docs.n, 2);
    assert_int_equal(docs.n_left_out, 1);
    assert_string_equal(docs.docs[0].title, "A");
    assert_string_equal(docs.docs[1].id, "18");
    cp_record_docs_deinit(&docs);
    cJSON_Delete(documents);
    cJSON_Delete(encounters);
}

static void ids_that_are_too_long_are_left_out(void **state) {
    cp_strbuf text;
    cp_record_docs docs;
    cp_error err;
    (void)state;
    for (size_t n = CP_DOC_ID_BYTES; n <= CP_DOC_ID_BYTES + 1; n++) {
        cp_strbuf_init(&text, 4096);
        cp_strbuf_puts(&text, "[{\"id\": \"");
        test_append_times(&text, "i", n);
        cp_strbuf_puts(&text, "\", \"text\": \"t\"}]");
        cJSON *list = parse(cp_strbuf_text(&text));
        assert_cp_ok(cp_record_docs_make("M-1", list, NULL, NULL, NULL, &docs, &err));
        assert_int_equal(docs.n, n == CP_DOC_ID_BYTES ? 1 : 0);
        cp_record_docs_deinit(&docs);
        cJSON_Delete(list);
        cp_strbuf_deinit(&text);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_good_file_is_read),
    cmocka_unit_test(each_fault_is_refused_and_named),
    cmocka_unit_test(other_files_are_passed_over),
    cmocka_unit_test(every_field_is_sealed),
    cmocka_unit_test(entries_are_written_out),
    cmocka_unit_test(odd_fields_are_not_used),
    cmocka_unit_test(of_two_with_one_id_the_first_counts),
    cmocka_unit_test(ids_that_are_too_long_are_left_out),
};
CP_TEST_GROUP(knowledge, tests)
