/* The data that others rely on: knowledge base and retrieval set are whole, in form, and agree. */
#include "tests/test.h"

#include "retrieval/knowledge.h"

#include <ctype.h>

#define KNOWLEDGE "data/knowledge"
#define SYNTHETIC "data/synthetic"
#define MAX_BYTES ((size_t)16 * 1024)
#define MAX_DOCS  200
#define MAX_LINES (MAX_DOCS * 64)
#define MAX_ASKED 2000
#define CHECK(ok) check((ok), id, #ok)

static void check(bool ok, const char *id, const char *expected) {
    if (!ok)
        fail_msg("%s: expected %s", id, expected);
}

static const char *text_of(const cJSON *object, const char *key) {
    return cp_json_text(object, key, NULL);
}

static bool one_of(const char *text, const char *const *names) {
    for (; text && *names; names++)
        if (strcmp(text, *names) == 0)
            return true;
    return false;
}

static bool is_date(const char *text) {
    int year, month, day, end = 0;
    return text && sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &end) == 3 && end == 10 &&
           !text[10] && year >= 2000 && month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

/* ---- the knowledge base ----------------------------------------------------------------- */

/* The reader (retrieval/knowledge.h) refuses a folder with a file that breaks the form. */
static cp_knowledge *open_knowledge(void) {
    cp_knowledge *knowledge;
    cp_error err;
    assert_cp_ok(cp_knowledge_open(KNOWLEDGE, &knowledge, &err));
    assert_in_range(cp_knowledge_n(knowledge), 48, MAX_DOCS);
    return knowledge;
}

/* The next line of *at without its end, NULL after the last. Cuts the text there. */
static char *next_line(char **at) {
    char *line = *at, *end = line ? strchr(line, '\n') : NULL;
    if (!end)
        return NULL;
    *end = '\0';
    *at = end + 1;
    return line;
}

static size_t count_words(const char *text) {
    size_t n = 0;
    for (bool inside = false; *text; text++) {
        n += !inside && !isspace((unsigned char)*text);
        inside = !isspace((unsigned char)*text);
    }
    return n;
}

/* One sentence a line, empty lines between paragraphs only, no markup. */
static void check_lines(const char *id, char *text) {
    const char *line, *before = "";
    CHECK(*text && text[strlen(text) - 1] == '\n');
    while ((line = next_line(&text))) {
        const size_t n = strlen(line);
        CHECK(n || *before);
        CHECK(!n || strchr(".?!\"", line[n - 1]));
        CHECK(!n || isupper((unsigned char)*line) || isdigit((unsigned char)*line) || *line == '"');
        CHECK(!strpbrk(line, "#*_`<>\t\r"));
        before = line;
    }
    CHECK(*before);
}

static size_t count_texts(const char *const *texts) {
    size_t n = 0;
    while (texts[n])
        n++;
    return n;
}

/* What the reader lets through but ours must have. */
static void documents_are_as_the_readme_says(void **state) {
    cp_knowledge *knowledge = open_knowledge();
    (void)state;
    for (size_t i = 0; i < cp_knowledge_n(knowledge); i++) {
        const cp_source_doc *doc = cp_knowledge_doc(knowledge, i);
        const cp_knowledge_about about = cp_knowledge_about_doc(knowledge, i);
        const char *id = doc->id;
        char *text = strndup(doc->text.data, doc->text.n);
        assert_non_null(text);
        CHECK(*doc->mrn == '\0' && doc->kind == CP_ENTRY_KNOWLEDGE);
        CHECK(doc == cp_knowledge_find(knowledge, id));
        /* Three topics at least; what follows them are the medicines. */
        size_t n_also = 1;
        for (size_t at = 0; at < doc->also.n; at++)
            n_also += doc->also.data[at] == ';';
        CHECK(n_also >= 3 + count_texts(about.medicines));
        CHECK(*about.source);
        CHECK(is_date(doc->date));
        CHECK(count_words(text) >= 120 && count_words(text) <= 350);
        check_lines(id, text);
        free(text);
    }
    cp_knowledge_close(knowledge);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts them. */
static void check_different(char **texts, size_t n) {
    qsort(texts, n, sizeof *texts, by_text);
    for (size_t i = 1; i < n; i++)
        if (strcmp(texts[i - 1], texts[i]) == 0)
            fail_msg("twice: %s", texts[i]);
}

/* A passage that stands in two places gets two truths in time, and a quotation of it two owners. */
static void no_sentence_stands_in_two_documents(void **state) {
    static char *lines[MAX_LINES], *texts[MAX_DOCS];
    size_t n = 0;
    cp_knowledge *knowledge = open_knowledge();
    (void)state;
    for (size_t i = 0; i < cp_knowledge_n(knowledge); i++) {
        const cp_source_doc *doc = cp_knowledge_doc(knowledge, i);
        char *at = texts[i] = strndup(doc->text.data, doc->text.n);
        assert_non_null(at);
        for (char *line; (line = next_line(&at));) {
            assert_true(n < MAX_LINES);
            if (*line)
                lines[n++] = line;
        }
    }
    check_different(lines, n);
    for (size_t i = 0; i < cp_knowledge_n(knowledge); i++)
        free(texts[i]);
    cp_knowledge_close(knowledge);
}

/* ---- the retrieval set ------------------------------------------------------------------ */

/* All that can be found: {id: mrn}, null for the knowledge base. */
static cJSON *corpus(void) {
    static const char *const files[] = {"documents.jsonl", "encounters.jsonl", "claims.jsonl",
                                        "chat_logs.jsonl"};
    cJSON *all = cJSON_CreateObject();
    cp_knowledge *knowledge = open_knowledge();
    const cJSON *item;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        cJSON *records = test_read_jsonl(test_path(SYNTHETIC, files[i]));
        cJSON_ArrayForEach(item, records) {
            const char *id = text_of(item, "id");
            CHECK(!cJSON_HasObjectItem(all, id));
            cJSON_AddStringToObject(all, id, text_of(item, "mrn"));
        }
        cJSON_Delete(records);
    }
    for (size_t i = 0; i < cp_knowledge_n(knowledge); i++) {
        const char *id = cp_knowledge_doc(knowledge, i)->id;
        CHECK(!cJSON_HasObjectItem(all, id));
        cJSON_AddNullToObject(all, id);
    }
    cp_knowledge_close(knowledge);
    return all;
}

/* What may not be returned belongs to another patient; what answers belongs to this one or to
 * nobody. */
static void check_relevant(const char *id, const cJSON *question, const cJSON *all) {
    const char *mrn = text_of(question, "mrn");
    const cJSON *item, *relevant = cp_json_member(question, "relevant"),
                       *never = cp_json_member(question, "never");
    int best = 0;
    CHECK(cJSON_IsArray(relevant) && cJSON_IsArray(never));
    cJSON_ArrayForEach(item, relevant) {
        const char *found = text_of(item, "id");
        const cJSON *owner = found ? cJSON_GetObjectItemCaseSensitive(all, found) : NULL;
        const cJSON *grade = cp_json_member(item, "grade");
        CHECK(owner);
        CHECK(cJSON_IsNull(owner) || (mrn && strcmp(owner->valuestring, mrn) == 0));
        CHECK(cJSON_IsNumber(grade) && (grade->valuedouble == 1 || grade->valuedouble == 2));
        best = grade->valueint > best ? grade->valueint : best;
        for (const cJSON *other = item->next; other; other = other->next)
            CHECK(strcmp(text_of(other, "id"), found) != 0);
    }
    CHECK(best == 2);
    cJSON_ArrayForEach(item, never) {
        CHECK(cJSON_IsString(item));
        const cJSON *owner = cJSON_GetObjectItemCaseSensitive(all, item->valuestring);
        CHECK(cJSON_IsString(owner) && mrn && strcmp(owner->valuestring, mrn) != 0);
    }
}

static void questions_are_answered_by_what_may_be_seen(void **state) {
    static const char *const who[] = {"patient", "nurse", NULL},
                             *const words[] = {"same", "other", "misspelled", NULL},
                             *const origins[] = {"hand",     "shared",      "visit",
                                                 "medicine", "misspelling", NULL},
                             *const splits[] = {"train", "held", NULL};
    cJSON *questions = test_read_jsonl("data/retrieval/questions.jsonl"), *all = corpus();
    const cJSON *question;
    (void)state;
    cJSON_ArrayForEach(question, questions) {
        const char *id = text_of(question, "id");
        assert_non_null(id);
        CHECK(text_of(question, "question") && text_of(question, "question")[0]);
        CHECK(!cp_json_member(question, "mrn") || text_of(question, "mrn"));
        CHECK(one_of(text_of(question, "who"), who));
        CHECK(one_of(text_of(question, "words"), words));
        CHECK(one_of(text_of(question, "origin"), origins));
        CHECK(one_of(text_of(question, "split"), splits));
        CHECK(cJSON_IsTrue(cp_json_member(question, "synthetic")));
        check_relevant(id, question, all);
    }
    cJSON_Delete(questions);
    cJSON_Delete(all);
}

static bool has(const cJSON *question, const char *key, const char *value) {
    return text_of(question, key) && strcmp(text_of(question, key), value) == 0;
}

static int count(const cJSON *questions, const char *key, const char *value) {
    int n = 0;
    const cJSON *question;
    cJSON_ArrayForEach(question, questions) n += has(question, key, value);
    return n;
}

static void the_set_is_large_and_varied(void **state) {
    cJSON *questions = test_read_jsonl("data/retrieval/questions.jsonl");
    const cJSON *question;
    int n_never = 0, n_own = 0;
    (void)state;
    cJSON_ArrayForEach(question, questions) {
        n_never += cJSON_GetArraySize(cp_json_member(question, "never")) > 0;
        n_own += text_of(question, "mrn") != NULL;
    }
    assert_in_range(cJSON_GetArraySize(questions), 320, MAX_ASKED);
    assert_true(count(questions, "origin", "hand") >= 160);
    assert_true(count(questions, "who", "nurse") >= 80);
    assert_true(count(questions, "words", "other") >= 100);
    assert_true(count(questions, "words", "same") >= 80);
    assert_true(count(questions, "words", "misspelled") >= 50);
    assert_true(count(questions, "split", "held") >= 120);
    assert_true(n_own >= 120);
    assert_true(n_never >= 60);
    cJSON_Delete(questions);
}

static void nothing_is_asked_twice(void **state) {
    static char *ids[MAX_ASKED], *asked[MAX_ASKED];
    size_t n = 0;
    cJSON *questions = test_read_jsonl("data/retrieval/questions.jsonl");
    const cJSON *question;
    (void)state;
    cJSON_ArrayForEach(question, questions) {
        const char *mrn = text_of(question, "mrn");
        cp_strbuf both;
        cp_strbuf_init(&both, MAX_BYTES);
        cp_strbuf_printf(&both, "%s %s", mrn ? mrn : "-", text_of(question, "question"));
        assert_true(n < MAX_ASKED);
        ids[n] = cp_json_member(question, "id")->valuestring;
        asked[n++] = cp_strbuf_take(&both);
    }
    check_different(ids, n);
    check_different(asked, n);
    while (n)
        free(asked[--n]);
    cJSON_Delete(questions);
}

/* A document that no question asks for could be missing without a score that shows it. */
static void every_document_answers_two_questions(void **state) {
    cJSON *questions = test_read_jsonl("data/retrieval/questions.jsonl"), *all = corpus();
    const cJSON *entry, *question, *item;
    (void)state;
    cJSON_ArrayForEach(entry, all) {
        const char *id = entry->string;
        int n = 0;
        cJSON_ArrayForEach(question, questions) {
            cJSON_ArrayForEach(item, cp_json_member(question, "relevant")) n += has(item, "id", id);
        }
        CHECK(n >= 2 || !cJSON_IsNull(entry));
        CHECK(n >= 1);
    }
    cJSON_Delete(questions);
    cJSON_Delete(all);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(documents_are_as_the_readme_says),
    cmocka_unit_test(no_sentence_stands_in_two_documents),
    cmocka_unit_test(questions_are_answered_by_what_may_be_seen),
    cmocka_unit_test(the_set_is_large_and_varied),
    cmocka_unit_test(nothing_is_asked_twice),
    cmocka_unit_test(every_document_answers_two_questions),
};
CP_TEST_GROUP(data, tests)
