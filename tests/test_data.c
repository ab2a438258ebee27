/* The data that others rely on: knowledge base and retrieval set are whole, in form, and agree. */
#include "tests/test.h"

#include "base/file.h"

#include <ctype.h>
#include <dirent.h>

#define KNOWLEDGE "data/knowledge"
#define SYNTHETIC "data/synthetic"
#define MAX_BYTES ((size_t)16 * 1024)
#define MAX_DOCS  200
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

static const char *const keys[] = {"id",          "title",     "kind",   "topics",
                                   "conditions",  "medicines", "source", "date",
                                   "reviewed_by", "lang",      NULL};

typedef struct document {
    cJSON *head;
    cp_strbuf file;
    char *text; /* in file; the lines are not cut yet */
} document;

/* The next line of *at without its end, NULL after the last. Cuts the text there. */
static char *next_line(char **at) {
    char *line = *at, *end = line ? strchr(line, '\n') : NULL;
    if (!end)
        return NULL;
    *end = '\0';
    *at = end + 1;
    return line;
}

/* Reads a document as data/knowledge/README.md describes it. */
static document read_document(const char *path) {
    document d = {.head = cJSON_CreateObject()};
    cp_error err;
    assert_cp_ok(cp_file_read(path, MAX_BYTES, &d.file, &err));
    assert_int_equal(strlen(cp_strbuf_text(&d.file)), d.file.n); /* no U+0000 */
    char *at = d.file.data;
    const char *line = next_line(&at);
    if (!line || strcmp(line, "---") != 0)
        fail_msg("%s: does not begin with ---", path);
    for (size_t i = 0; keys[i]; i++) {
        const size_t n = strlen(keys[i]);
        cJSON *value;
        line = next_line(&at);
        if (!line || strncmp(line, keys[i], n) != 0 || strncmp(line + n, ": ", 2) != 0)
            fail_msg("%s: line %zu is not %s", path, i + 2, keys[i]);
        assert_cp_ok(cp_json_parse(path, line + n + 2, strlen(line + n + 2), &value, &err));
        cJSON_AddItemToObject(d.head, keys[i], value);
    }
    line = next_line(&at);
    if (!line || strcmp(line, "---") != 0)
        fail_msg("%s: the head does not end with ---", path);
    d.text = at;
    return d;
}

static void document_deinit(document *d) {
    cJSON_Delete(d->head);
    cp_strbuf_deinit(&d->file);
}

/* The paths of all documents, in an array of strings. */
static cJSON *knowledge_paths(void) {
    cJSON *paths = cJSON_CreateArray();
    DIR *folder = opendir(KNOWLEDGE);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        const char *end = strrchr(entry->d_name, '.');
        if (end && strcmp(end, ".md") == 0 && strcmp(entry->d_name, "README.md") != 0)
            cJSON_AddItemToArray(paths, cJSON_CreateString(test_path(KNOWLEDGE, entry->d_name)));
    }
    closedir(folder);
    assert_in_range(cJSON_GetArraySize(paths), 48, MAX_DOCS);
    return paths;
}

static size_t count_words(const char *text) {
    size_t n = 0;
    for (bool inside = false; *text; text++) {
        n += !inside && !isspace((unsigned char)*text);
        inside = !isspace((unsigned char)*text);
    }
    return n;
}

static void check_list(const char *id, const cJSON *list, int least) {
    const cJSON *item;
    CHECK(cJSON_IsArray(list) && cJSON_GetArraySize(list) >= least);
    cJSON_ArrayForEach(item, list) CHECK(cJSON_IsString(item) && item->valuestring[0]);
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

static void documents_are_as_the_readme_says(void **state) {
    static const char *const kinds[] = {"red_flags", "medicine", "pathway", "aftercare", NULL};
    cJSON *paths = knowledge_paths();
    const cJSON *path;
    (void)state;
    cJSON_ArrayForEach(path, paths) {
        document d = read_document(path->valuestring);
        const char *id = text_of(d.head, "id");
        char expected[256];
        assert_non_null(id);
        CHECK(strncmp(id, "KB-", 3) == 0);
        snprintf(expected, sizeof expected, KNOWLEDGE "/%s.md", id + 3);
        CHECK(strspn(id + 3, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(id + 3));
        assert_string_equal(path->valuestring, expected);
        CHECK(text_of(d.head, "title") && text_of(d.head, "title")[0]);
        CHECK(one_of(text_of(d.head, "kind"), kinds));
        check_list(id, cp_json_member(d.head, "topics"), 3);
        check_list(id, cp_json_member(d.head, "conditions"), 0);
        check_list(id, cp_json_member(d.head, "medicines"), 0);
        CHECK(text_of(d.head, "source") && text_of(d.head, "source")[0]);
        CHECK(is_date(text_of(d.head, "date")));
        CHECK(!cp_json_member(d.head, "reviewed_by") || text_of(d.head, "reviewed_by"));
        CHECK(text_of(d.head, "lang") && strcmp(text_of(d.head, "lang"), "en") == 0);
        CHECK(count_words(d.text) >= 120 && count_words(d.text) <= 350);
        check_lines(id, d.text);
        document_deinit(&d);
    }
    cJSON_Delete(paths);
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
    static document docs[MAX_DOCS];
    static char *lines[MAX_DOCS * 64];
    size_t n_docs = 0, n = 0;
    cJSON *paths = knowledge_paths();
    const cJSON *path;
    (void)state;
    cJSON_ArrayForEach(path, paths) {
        docs[n_docs] = read_document(path->valuestring);
        for (char *at = docs[n_docs++].text, *line; (line = next_line(&at));) {
            assert_true(n < sizeof lines / sizeof *lines);
            if (*line)
                lines[n++] = line;
        }
    }
    check_different(lines, n);
    while (n_docs)
        document_deinit(&docs[--n_docs]);
    cJSON_Delete(paths);
}

/* ---- the retrieval set ------------------------------------------------------------------ */

/* All that can be found: {id: mrn}, null for the knowledge base. */
static cJSON *corpus(void) {
    static const char *const files[] = {"documents.jsonl", "encounters.jsonl", "claims.jsonl",
                                        "chat_logs.jsonl"};
    cJSON *all = cJSON_CreateObject(), *paths = knowledge_paths();
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
    cJSON_ArrayForEach(item, paths) {
        document d = read_document(item->valuestring);
        const char *id = text_of(d.head, "id");
        CHECK(!cJSON_HasObjectItem(all, id));
        cJSON_AddNullToObject(all, id);
        document_deinit(&d);
    }
    cJSON_Delete(paths);
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
