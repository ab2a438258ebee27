/* The gate: what stands in a passage leaves with its exact span, what does not, does not. */
#include "tests/test.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "retrieval/citations.h"
#include "retrieval/fold.h"
#include "retrieval/quote_find.h"
#include "retrieval/sentences.h"

#include <utf8proc.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define LARGE ((size_t)1 << 17)
#else
#define LARGE ((size_t)1 << 20)
#endif
#define SEED     0x6a7e5eed
#define MAX_DOCS 160
#define PLANTED  200
#define CAP      8192

/* ---- documents ------------------------------------------------------------------------------- */

static cp_knowledge *knowledge;
static cp_claim_terms *terms;
static cJSON *records;
static cp_source_doc docs[MAX_DOCS];
static size_t n_docs;

/* Signs that the other documents do not have. */
static const char odd_text[] =
    "Am\xc3\xa9lie was seen on 3 May; the caf\xc3\xa9 visit \xe2\x80\x93 her first \xe2\x80\x93 "
    "went well.\nGive 12.5\xc2\xa0\xc2\xb5g of the \xe2\x80\x9c"
    "blue\xe2\x80\x9d dose \xe2\x80\xa6 "
    "then wait.\n"
    "White cells were 10\xe2\x81\xb9 per litre and the o\xef\xac\x83"
    "ce closed at 10:30.\nIt can\xe2\x80\x99t be more than \xc2\xbd tablet a day.\nAll normal.\n";

static cp_source_doc doc_of(const char *id, const char *title, const char *text) {
    return (cp_source_doc){.mrn = "", .id = id, .title = title, .text = {text, strlen(text)}};
}

static int set_up(void **state) {
    cp_error err;
    (void)state;
    assert_cp_ok(cp_knowledge_open("data/knowledge", &knowledge, &err));
    assert_cp_ok(cp_claim_terms_create(knowledge, NULL, &terms, &err));
    for (size_t i = 0; i < cp_knowledge_n(knowledge); i++)
        docs[n_docs++] = *cp_knowledge_doc(knowledge, i);
    records = test_read_jsonl("data/synthetic/documents.jsonl");
    const cJSON *record;
    cJSON_ArrayForEach(record, records) docs[n_docs++] =
        doc_of(cp_json_text(record, "id", ""), cp_json_text(record, "title", ""),
               cp_json_text(record, "text", ""));
    docs[n_docs++] = doc_of("odd", "Signs", odd_text);
    assert_true(n_docs < MAX_DOCS && n_docs > 90);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cp_claim_terms_free(terms);
    cp_knowledge_close(knowledge);
    cJSON_Delete(records);
    n_docs = 0;
    return 0;
}

static cp_passage all_of(const cp_source_doc *doc) {
    return (cp_passage){.doc = doc, .n = (uint32_t)doc->text.n};
}

static cp_citation check_one(const cp_passage *passages, size_t n, size_t source, cp_str quote) {
    cp_error err;
    cp_citation out;
    cp_citation_claimed claimed = {.source = source, .quote = quote};
    assert_cp_ok(cp_citations_check(passages, n, terms, NULL, &claimed, 1, &out, &err));
    if (out.kept) {
        const cp_passage *p = &passages[out.passage];
        assert_true(out.passage < n && out.n > 0 && out.begin >= p->begin &&
                    out.begin + out.n <= (size_t)p->begin + p->n);
        assert_true(cp_utf8_is_valid(p->doc->text.data + out.begin, out.n));
    }
    return out;
}

static cp_citation check_text(const cp_passage *passages, size_t n, size_t source,
                              const char *quote) {
    return check_one(passages, n, source, (cp_str){quote, strlen(quote)});
}

static cp_citation check_in(const char *text, const char *quote) {
    cp_source_doc doc = doc_of("d", "", text);
    cp_passage passage = all_of(&doc);
    return check_text(&passage, 1, 0, quote);
}

static cp_folded folded(cp_str text) {
    cp_error err;
    cp_folded out;
    assert_cp_ok(cp_fold(text, &out, &err));
    return out;
}

static bool fold_holds(cp_str text, cp_str quote) {
    cp_folded a = folded(text), b = folded(quote);
    bool holds = memmem(a.text, a.n, b.text, b.n) != NULL;
    cp_folded_deinit(&a);
    cp_folded_deinit(&b);
    return holds;
}

static bool fold_equal(cp_str a, cp_str b) {
    return fold_holds(a, b) && fold_holds(b, a);
}

/* ---- folding --------------------------------------------------------------------------------- */

static const struct {
    const char *a, *b;
    bool same;
} alike[] = {
    {"Caf\xc3\xa9", "CAFE\xcc\x81", true},
    {"a\xcc\xa3\xcc\x81", "a\xcc\x81\xcc\xa3", true},
    {"\xef\xbc\x95 \xef\xbd\x8d\xef\xbd\x87", "5 mg", true},
    {"5\xc2\xa0mg", "5 mg", true},
    {"\xe2\x80\x9cyes\xe2\x80\x9d", "\"yes\"", true},
    {"it\xe2\x80\x99s", "it's", true},
    {"10\xe2\x80\x93"
     "20",
     "10-20", true},
    {"10 \xe2\x80\x94 20", "10 -- 20", true},
    {"\xe2\x88\x92"
     "5",
     "-5", true},
    {"wait\xe2\x80\xa6", "wait...", true},
    {" a \r\n\t b ", "a b", true},
    {"pa\xc2\xadra\xe2\x80\x8b"
     "ce",
     "parace", true},
    {"\xc2\xb5g", "\xce\xbcg", true},
    {"o\xef\xac\x83"
     "ce",
     "office", true},
    {"Stra\xc3\x9f"
     "e",
     "STRASSE", true},
    {"10\xe2\x81\xb9", "109", false},
    {"\xc2\xbd", "1/2", false},
    {"1\xc2\xbd", "11/2", false},
    {"mg", "\xce\xbcg", false},
    {"a\xff", "a", false},
    {"a\x01", "a", false},
};

static void what_reads_alike_folds_alike(void **state) {
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(alike); i++) {
        cp_str a = {alike[i].a, strlen(alike[i].a)}, b = {alike[i].b, strlen(alike[i].b)};
        if (fold_equal(a, b) != alike[i].same)
            fail_msg("%s and %s: expected %s", a.data, b.data,
                     alike[i].same ? "alike" : "different");
    }
}

/* The same texts fold alike by Unicode's own NFKC with case folding. */
static void folding_agrees_with_nfkc(void **state) {
    uint64_t random = SEED;
    (void)state;
    for (int i = 0; i < 3000; i++) {
        char text[64];
        size_t n = 0;
        for (int k = 0; k < 6; k++) {
            uint32_t c;
            do
                c = (uint32_t)(test_random(&random) % 0x11000);
            while (c == 0 || (c >= 0xd800 && c < 0xe000));
            n += cp_utf8_encode(c, text + n);
        }
        utf8proc_uint8_t *composed = NULL;
        utf8proc_ssize_t got = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n,
                                            &composed, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        assert_true(got >= 0);
        cp_str other = {(const char *)composed, (size_t)got};
        cp_folded a = folded((cp_str){text, n}), b = folded(other);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.text, b.text, a.n);
        cp_folded_deinit(&a);
        cp_folded_deinit(&b);
        free(composed);
    }
}

/* Every span is whole characters, in order, and what it says. */
static void spans_lead_back_to_whole_characters(void **state) {
    uint64_t random = SEED;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        char text[200];
        size_t n = 0;
        while (n < 150) {
            uint64_t r = test_random(&random);
            uint32_t c = (uint32_t)(r >> 8) % ((r & 3) ? 0x100 : 0x3000);
            if (r % 17 == 0)
                text[n++] = (char)(r >> 40); /* any byte */
            else
                n += cp_utf8_encode(c, text + n);
        }
        cp_folded f = folded((cp_str){text, n});
        for (size_t k = 0; k < f.n; k++) {
            assert_true(f.begin[k] < f.end[k] && f.end[k] <= n);
            assert_true(k == 0 || (f.begin[k] >= f.begin[k - 1] && f.end[k] >= f.end[k - 1]));
        }
        cp_folded_deinit(&f);
    }
}

/* ---- single rules ---------------------------------------------------------------------------- */

typedef enum expected { VERBATIM, STITCHED, ABSENT } expected;

static const struct {
    const char *text, *quote;
    expected verdict;
} rules[] = {
    /* numbers, units, words */
    {"Take 25 mg in the morning.", "5 mg in the morning", ABSENT},
    {"Take 0.5 mg in the morning.", "5 mg in the morning", ABSENT},
    {"Take .5 mg in the morning.", "5 mg in the morning", ABSENT},
    {"Take 5 mg in the morning.", "50 mg in the morning", ABSENT},
    {"Take 5 mg in the morning.", "5 mcg in the morning", ABSENT},
    {"Take 0\xc2\xb7"
     "5 mg in the morning.",
     "5 mg in the morning", ABSENT},
    {"Take 5-10 mg in the morning.", "10 mg in the morning", ABSENT},
    {"Give it at 5 mg/kg each day", "Give it at 5 mg", ABSENT},
    {"Give it at \xe2\x89\xa4"
     "5 mg each day",
     "5 mg each day", ABSENT},
    {"Give it at < 5 mg each day", "5 mg each day", ABSENT},
    {"It was -5 degrees that day", "5 degrees that day", ABSENT},
    {"HbA1c rose to 6.9% this year", "HbA1c rose to 6.9", ABSENT},
    {"HbA1c rose to 6.9% this year", "HbA1c rose to 69% this year", ABSENT},
    {"cells 10\xe2\x81\xb9 per litre of blood", "cells 109 per litre of blood", ABSENT},
    {"cells 10\xe2\x81\xb9 per litre of blood", "cells 10", ABSENT},
    {"Seen at 10:30 by the nurse", "Seen at 10", ABSENT},
    {"the disallowed medicine was stopped", "allowed medicine was stopped", ABSENT},
    {"a non-steroidal medicine was given", "steroidal medicine was given", ABSENT},
    {"the cafe\xcc\x81 was closed today", "the cafe was closed today", ABSENT},
    {"Take 5 mg in the morning.", "take 5 MG in the morning", VERBATIM},
    {"Take 5 mg in the morning, with food", "Take 5 mg in the morning.", VERBATIM},
    {"Take 5 mg in the morning, with food", "\"Take 5 mg in the morning ...\"", VERBATIM},
    {"Take .5 mg in the morning.", ".5 mg in the morning", VERBATIM},
    {"- Take 5 mg in the morning.", "- take 5 mg in the morning", VERBATIM},
    {"Take 5 mg in the morning.", "- take 5 mg in the morning", VERBATIM},
    {"Take 5 mg.\nNever lie down at once.", "> Take 5 mg.\n> Never lie down at once.", VERBATIM},
    {"> 39 C for more than three days", "> 39 C for more than three days", VERBATIM},
    {"Take >5 mg of it, never more than 6", "Take 5 mg of it, never more than 6", ABSENT},
    /* negations */
    {"Do not take ibuprofen with warfarin.", "take ibuprofen with warfarin", ABSENT},
    {"Do not take ibuprofen with warfarin.", "Do take ibuprofen with warfarin", ABSENT},
    {"She denies any chest pain or cough.", "chest pain or cough", ABSENT},
    {"He can't take any more of it.", "take any more of it", ABSENT},
    {"There is no sign of a stroke.", "sign of a stroke", ABSENT},
    {"The pain at night does not matter.", "The pain at night does", ABSENT},
    {"The pain at night is never mild.", "The pain at night is", ABSENT},
    {"Shortness of breath at rest denied.", "Shortness of breath at rest", ABSENT},
    {"The tablet at night cannot go on.", "The tablet at night", ABSENT},
    {"Test for the virus negative today.", "Test for the virus", ABSENT},
    {"Take it with the meal, not without it.", "Take it with the meal", VERBATIM},
    {"do not\ntake ibuprofen with warfarin", "take ibuprofen with warfarin", ABSENT},
    {"Allergies: none\nTake ibuprofen with food", "Take ibuprofen with food", VERBATIM},
    {"If it does not help, call the nurse line.", "call the nurse line", VERBATIM},
    {"Do not wait. Take ibuprofen with food.", "Take ibuprofen with food", VERBATIM},
    {"Do not take ibuprofen with warfarin.", "Do not take ibuprofen", VERBATIM},
    /* short */
    {"INR 2.4 today, dose unchanged.", "INR 2.4", VERBATIM},
    {"Lisinopril raised to 20 mg for now.", "20 mg", VERBATIM},
    {"All normal. Come back in May.", "All normal.", VERBATIM},
    {"Findings\nAll normal\nCome back", "all normal", VERBATIM},
    {"Lisinopril raised to 20 mg for now.", "raised to", ABSENT},
    {"Lisinopril raised to 20 mg for now.", "Lisinopril", ABSENT},
    {"Lisinopril raised to 20 mg for now.", "20", ABSENT},
    {"Lisinopril raised to 20 mg for now.", "to", ABSENT},
    {"Lisinopril raised to 20 mg for now.", "", ABSENT},
    {"Lisinopril raised to 20 mg for now.", " . \"\" ...", ABSENT},
    {"Lisinopril raised. To 20 mg for now.", ".", ABSENT},
    /* ellipses and stitches */
    {"Take it with food in the morning, and never lie down at once.",
     "Take it with food ... never lie down at once", VERBATIM},
    {"Take it with food in the morning, and never lie down at once.",
     "Take it with food [\xe2\x80\xa6] never lie down at once.", VERBATIM},
    {"Take it with food in the morning, and never lie down at once.",
     "never lie down at once ... Take it with food", STITCHED},
    {"Take it with food in the morning, and never lie down at once.",
     "Take it with food, never lie down at once", STITCHED},
    {"Take it with food in the morning, and never lie down at once.",
     "Take it with milk, never lie down at once", ABSENT},
    {"Take it with food in the morning, and never lie down at once.",
     "Take it with food ... lie down on the bed", ABSENT},
    {"Do not take ibuprofen when the kidneys fail.", "take ibuprofen ... the kidneys fail", ABSENT},
};

static void each_rule_holds(void **state) {
    static const cp_citation_verdict verdicts[] = {CP_CITATION_VERBATIM, CP_CITATION_STITCHED,
                                                   CP_CITATION_ABSENT};
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(rules); i++) {
        cp_citation out = check_in(rules[i].text, rules[i].quote);
        if (out.verdict != verdicts[rules[i].verdict])
            fail_msg("\"%s\" in \"%s\": %s", rules[i].quote, rules[i].text,
                     cp_citation_verdict_name(out.verdict));
        assert_true(out.kept == (rules[i].verdict != ABSENT));
    }
}

/* The document's own bytes, whatever the model wrote for them. */
static void spans_are_the_documents_own_bytes(void **state) {
    static const struct {
        const char *quote, *span;
    } table[] = {
        {"'BLUE' dose ... then wait", "\xe2\x80\x9c"
                                      "blue\xe2\x80\x9d dose \xe2\x80\xa6 then wait"},
        {"ame\xcc\x81lie was seen on 3 may", "Am\xc3\xa9lie was seen on 3 May"},
        {"the office closed at 10:30", "the o\xef\xac\x83"
                                       "ce closed at 10:30"},
        {"Give  12.5 \xce\xbcg of the", "Give 12.5\xc2\xa0\xc2\xb5g of the"},
        {"\"It can't be more than \xc2\xbd tablet.\"",
         "It can\xe2\x80\x99t be more than \xc2\xbd tablet"},
        {"her first - went well. give 12.5 \xc2\xb5g",
         "her first \xe2\x80\x93 went well.\nGive 12.5\xc2\xa0\xc2\xb5g"},
    };
    cp_passage passage = all_of(&docs[n_docs - 1]);
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(table); i++) {
        cp_citation out = check_text(&passage, 1, 0, table[i].quote);
        assert_int_equal(out.verdict, CP_CITATION_VERBATIM);
        assert_int_equal(out.n, strlen(table[i].span));
        assert_memory_equal(odd_text + out.begin, table[i].span, out.n);
    }
}

static void the_first_place_in_the_passage_counts(void **state) {
    static const char text[] =
        "Take one tablet a day. Take one tablet a day. Take one tablet a day.";
    cp_source_doc doc = doc_of("d", "", text);
    cp_passage later = {.doc = &doc, .begin = 23, .n = sizeof text - 1 - 23};
    (void)state;
    cp_citation out = check_text(&later, 1, 0, "take one tablet a day");
    assert_int_equal(out.begin, 23);
    assert_int_equal(out.n, 21);
    assert_int_equal(check_in(text, "take one tablet a day").begin, 0);
}

static void an_ellipsis_shortens_over_a_short_way_only(void **state) {
    cp_strbuf text;
    (void)state;
    for (int far = 0; far < 2; far++) {
        cp_strbuf_init(&text, CAP);
        cp_strbuf_puts(&text, "Call the emergency number at once. ");
        test_append_times(&text, "Filler words here. ", far ? 20 : 10);
        cp_strbuf_puts(&text, "Sit upright and keep calm.");
        cp_citation out = check_in(cp_strbuf_text(&text),
                                   "Call the emergency number ... sit upright and keep calm");
        assert_int_equal(out.verdict, far ? CP_CITATION_STITCHED : CP_CITATION_VERBATIM);
        assert_int_equal(out.begin, 0);
        assert_int_equal(out.n, far ? strlen("Call the emergency number") : text.n - 1);
        cp_strbuf_deinit(&text);
    }
}

static void the_edge_of_a_passage_is_judged_by_what_lies_behind_it(void **state) {
    cp_source_doc doc = doc_of("d", "", "Do not take 25 mg of it with food or milk at night.");
    cp_passage inside = {.doc = &doc, .begin = 13, .n = 26},
               behind = {.doc = &doc, .begin = 7, .n = 32};
    (void)state;
    assert_int_equal(check_text(&inside, 1, 0, "5 mg of it with food").verdict, CP_CITATION_ABSENT);
    assert_int_equal(check_text(&behind, 1, 0, "take 25 mg of it with food").verdict,
                     CP_CITATION_ABSENT);
    assert_int_equal(check_text(&inside, 1, 0, "of it with food").verdict, CP_CITATION_VERBATIM);
    assert_int_equal(check_text(&inside, 1, 0, "of it with food or milk at night").verdict,
                     CP_CITATION_ABSENT);
}

static void a_passage_outside_its_document_is_refused(void **state) {
    cp_error err;
    cp_citation out;
    cp_source_doc doc = doc_of("d", "", "short");
    cp_passage wrong[] = {{.doc = &doc, .begin = 6, .n = 0}, {.doc = &doc, .begin = 2, .n = 4}};
    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(cp_citations_check(&wrong[i], 1, terms, NULL, NULL, 0, &out, &err),
                         CP_ERR_USAGE);
}

static void a_claim_is_held_against_the_passage_that_is_cited(void **state) {
    cp_error err;
    cp_source_doc doc = doc_of(
        "d", "Lipids", "Atorvastatin 40 mg at night was continued. Penicillin causes hives.");
    cp_passage passage = all_of(&doc);
    static const struct {
        const char *claim;
        bool supported;
    } table[] = {
        {"You take atorvastatin 40 mg.", true},
        {"You take atorvastatin 80 mg.", false},
        {"You take simvastatin.", false},
        {"You have diabetes.", false},
        {"You are allergic to penicillin", false},
        {"Nothing else changed.", true},
        {"", true},
    };
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(table); i++) {
        cp_citation out;
        cp_citation_claimed claimed = {.quote = CP_STR("Atorvastatin 40 mg at night"),
                                       .claim = {table[i].claim, strlen(table[i].claim)}};
        assert_cp_ok(cp_citations_check(&passage, 1, terms, NULL, &claimed, 1, &out, &err));
        if (!out.kept || out.claim_supported != table[i].supported)
            fail_msg("%s: %s", table[i].claim, out.claim_supported ? "supported" : "unsupported");
    }
}

/* ---- planted citations ----------------------------------------------------------------------- */

#define N_PASSAGES 6

typedef struct bed {
    uint64_t random;
    cp_passage passages[N_PASSAGES];
    char quote[2 * CAP];
    size_t n, named;
    size_t begin, length; /* where a true quotation was taken */
} bed;

static size_t draw(bed *b, size_t n) {
    return (size_t)(test_random(&b->random) % n);
}

/* Six different documents, every second one shown in part: whole sentences of it. */
static void draw_passages(bed *b) {
    for (size_t i = 0; i < N_PASSAGES; i++) {
        bool taken;
        do {
            b->passages[i] = all_of(&docs[draw(b, n_docs)]);
            taken = false;
            for (size_t k = 0; k < i; k++)
                taken |= b->passages[k].doc == b->passages[i].doc;
        } while (taken);
        cp_str text = b->passages[i].doc->text;
        size_t at = 0, begin = 0, n = 0;
        if (i % 2 == 0 || !cp_sentence_next(text, &at, CAP, &begin, &n))
            continue;
        size_t skip = begin + n, end = skip;
        for (int k = 0; k < 3 && cp_sentence_next(text, &at, CAP, &begin, &n); k++)
            end = begin + n;
        if (end == skip)
            continue;
        b->passages[i].begin = (uint32_t)skip;
        b->passages[i].n = (uint32_t)(end - skip);
    }
    b->named = draw(b, N_PASSAGES);
}

static cp_str shown_text(const cp_passage *p) {
    return (cp_str){p->doc->text.data + p->begin, p->n};
}

/* Some sentence of a text that has `with` (NULL: any) and 6 words; data NULL where there is none.
 */
static cp_str draw_sentence(bed *b, cp_str text, const char *with) {
    cp_str found[64];
    size_t at = 0, begin, n, n_found = 0;
    while (n_found < CP_COUNT_OF(found) && cp_sentence_next(text, &at, CAP, &begin, &n)) {
        size_t words = 1;
        for (size_t i = 0; i < n; i++)
            words += text.data[begin + i] == ' ';
        if (words >= 6 && (!with || memmem(text.data + begin, n, with, strlen(with))))
            found[n_found++] = (cp_str){text.data + begin, n};
    }
    return n_found ? found[draw(b, n_found)] : (cp_str){NULL, 0};
}

static void set_quote(bed *b, const void *bytes, size_t n) {
    assert_true(n < sizeof b->quote);
    memcpy(b->quote, bytes, n);
    b->n = n;
}

static bool is_negation(const char *at) {
    return strncmp(at, "not ", 4) == 0 || strncmp(at, "never ", 6) == 0 ||
           strncmp(at, "nor ", 4) == 0;
}

/* A run of words from a sentence's start, or from behind a comma, to a space or the end. */
static bool draw_true(bed *b) {
    const cp_passage *p = &b->passages[b->named];
    cp_str s = draw_sentence(b, shown_text(p), NULL);
    if (!s.data)
        return false;
    size_t begin = 0, end = s.n;
    const char *comma = draw(b, 3) == 0 ? memmem(s.data, s.n, ", ", 2) : NULL;
    if (comma)
        begin = (size_t)(comma - s.data) + 2;
    if (draw(b, 2) == 0) {
        size_t words = 4 + draw(b, 10);
        for (size_t i = begin; i < s.n && end == s.n; i++)
            if (s.data[i] == ' ' && --words == 0 && !is_negation(s.data + i + 1))
                end = i;
    }
    size_t n_words = 1;
    for (size_t i = begin; i < end; i++)
        n_words += s.data[i] == ' ';
    if (n_words < 4 || end - begin < 16)
        return false;
    set_quote(b, s.data + begin, end - begin);
    b->begin = (size_t)(s.data - p->doc->text.data) + begin;
    b->length = end - begin;
    return true;
}

/* Replaces each `from` in the quotation. */
static void replace(bed *b, const char *from, const char *to) {
    cp_strbuf out;
    cp_strbuf_init(&out, sizeof b->quote);
    for (size_t i = 0; i < b->n;) {
        bool hit = b->n - i >= strlen(from) && memcmp(b->quote + i, from, strlen(from)) == 0;
        cp_strbuf_append(&out, hit ? to : b->quote + i, hit ? strlen(to) : 1);
        i += hit ? strlen(from) : 1;
    }
    set_quote(b, cp_strbuf_text(&out), out.n);
    cp_strbuf_deinit(&out);
}

static void change_case(bed *b, bool upper) {
    for (size_t i = 0; i < b->n; i++)
        if ((upper && b->quote[i] >= 'a' && b->quote[i] <= 'z') ||
            (!upper && b->quote[i] >= 'A' && b->quote[i] <= 'Z'))
            b->quote[i] ^= 32;
}

static void full_width(bed *b) {
    char out[sizeof b->quote];
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        unsigned char c = (unsigned char)b->quote[i];
        if (c > ' ' && c < 0x7f)
            n += cp_utf8_encode(0xfee0u + c, out + n);
        else
            out[n++] = (char)c;
    }
    set_quote(b, out, n);
}

static void decompose(bed *b) {
    utf8proc_uint8_t *out = NULL;
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)b->quote, (utf8proc_ssize_t)b->n,
                                      &out, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
    assert_true(n > 0);
    set_quote(b, out, (size_t)n);
    free(out);
}

static void surround(bed *b, const char *before, const char *after) {
    cp_strbuf out;
    cp_strbuf_init(&out, sizeof b->quote);
    cp_strbuf_puts(&out, before);
    cp_strbuf_append(&out, b->quote, b->n);
    cp_strbuf_puts(&out, after);
    set_quote(b, cp_strbuf_text(&out), out.n);
    cp_strbuf_deinit(&out);
}

static void write_otherwise(bed *b, size_t way) {
    switch (way % 14) {
    case 0:
        return;
    case 1:
        change_case(b, true);
        return;
    case 2:
        change_case(b, false);
        return;
    case 3:
        replace(b, "'", "\xe2\x80\x99");
        return;
    case 4:
        replace(b, "-", "\xe2\x80\x91");
        return;
    case 5:
        replace(b, "-", "\xe2\x80\x93");
        return;
    case 6:
        replace(b, " ", "\n  ");
        return;
    case 7:
        replace(b, " ", "\xc2\xa0");
        return;
    case 8:
        full_width(b);
        return;
    case 9:
        decompose(b);
        return;
    case 10:
        replace(b, "e", "e\xc2\xad");
        return;
    case 11:
        surround(b, "\xe2\x80\x9c", "\xe2\x80\x9d");
        return;
    case 12:
        surround(b, "... ", "...");
        return;
    default:
        surround(b, " \"", ".\" ");
    }
}

static void true_citations_are_kept_with_their_exact_span(void **state) {
    bed b = {.random = SEED};
    int kept = 0, ways[14] = {0};
    (void)state;
    print_message("seed %#x\n", SEED);
    for (int i = 0; i < PLANTED; i++) {
        do
            draw_passages(&b);
        while (!draw_true(&b));
        char plain[2 * CAP];
        cp_str taken = {plain, b.n};
        memcpy(plain, b.quote, b.n);
        write_otherwise(&b, (size_t)i);
        cp_citation out = check_one(b.passages, N_PASSAGES, b.named, (cp_str){b.quote, b.n});
        if (out.verdict != CP_CITATION_VERBATIM || !out.kept || out.passage != b.named)
            fail_msg("%d: \"%.*s\" of %s: %s", i, (int)b.n, b.quote, b.passages[b.named].doc->id,
                     cp_citation_verdict_name(out.verdict));
        cp_str text = b.passages[b.named].doc->text;
        cp_str span = {text.data + out.begin, out.n};
        /* With or without the point that stands around it. */
        if (!fold_holds(taken, span) || span.n + 2 < taken.n || out.begin > b.begin)
            fail_msg("%d: \"%.*s\" became \"%.*s\"", i, (int)taken.n, taken.data, (int)span.n,
                     span.data);
        kept++;
        ways[i % 14]++;
    }
    print_message("true citations: %d of %d kept\n", kept, PLANTED);
    for (size_t i = 0; i < CP_COUNT_OF(ways); i++)
        assert_true(ways[i] >= PLANTED / 14);
}

/* ---- false ones ------------------------------------------------------------------------------ */

static const char *const invented[] = {
    "The patient should take two aspirin and go to sleep right away",
    "Warfarin is perfectly safe together with ibuprofen for everybody",
    "No follow-up is needed after a heart attack in young people",
    "The kidneys recover by themselves within a single afternoon",
    "Metformin 5000 mg was given by the neighbour at breakfast",
    "All antibiotics may be stopped as soon as the fever is gone",
};

static bool edit_digit(bed *b) {
    size_t first = draw(b, b->n);
    for (size_t k = 0; k < b->n; k++) {
        char *c = &b->quote[(first + k) % b->n];
        if (*c >= '0' && *c <= '9') {
            *c = (char)('0' + (*c - '0' + 1 + (int)draw(b, 8)) % 10);
            return true;
        }
    }
    return false;
}

static bool edit_one(bed *b, const char *const (*pairs)[2], size_t n) {
    size_t first = draw(b, n);
    for (size_t k = 0; k < n; k++) {
        const char *const *pair = pairs[(first + k) % n];
        char *at = memmem(b->quote, b->n, pair[0], strlen(pair[0]));
        if (!at)
            continue;
        size_t begin = (size_t)(at - b->quote), old = strlen(pair[0]), new = strlen(pair[1]);
        memmove(at + new, at + old, b->n - begin - old);
        memcpy(at, pair[1], new);
        b->n += new;
        b->n -= old;
        return true;
    }
    return false;
}

static bool edit_unit(bed *b) {
    static const char *const pairs[][2] = {
        {" mg", " mcg"},      {" minutes", " hours"}, {" hours", " days"}, {" days", " weeks"},
        {"percent", "times"}, {" weeks", " months"},  {" g ", " kg "},     {"%", ""}};
    return edit_one(b, pairs, CP_COUNT_OF(pairs));
}

static bool drop_negation(bed *b) {
    static const char *const pairs[][2] = {{" not ", " "},
                                           {" no ", " "},
                                           {" never ", " "},
                                           {"Do not ", "Do "},
                                           {" without ", " with "}};
    return edit_one(b, pairs, CP_COUNT_OF(pairs));
}

static bool drop_point(bed *b) {
    for (size_t i = 1; i + 1 < b->n; i++)
        if (b->quote[i] == '.' && b->quote[i - 1] >= '0' && b->quote[i - 1] <= '9' &&
            b->quote[i + 1] >= '0' && b->quote[i + 1] <= '9') {
            memmove(b->quote + i, b->quote + i + 1, b->n - i - 1);
            b->n--;
            return true;
        }
    return false;
}

/* Two neighbouring words change places. */
static bool swap_words(bed *b) {
    size_t at[64], n = 0;
    at[n++] = 0;
    for (size_t i = 0; i < b->n && n < 60; i++)
        if (b->quote[i] == ' ')
            at[n++] = i + 1;
    at[n] = b->n + 1;
    size_t k = draw(b, n - 1);
    cp_str one = {b->quote + at[k], at[k + 1] - at[k] - 1};
    cp_str two = {b->quote + at[k + 1], at[k + 2] - at[k + 1] - 1};
    if (fold_equal(one, two))
        return false;
    cp_strbuf out;
    cp_strbuf_init(&out, CAP);
    cp_strbuf_append(&out, b->quote, at[k]);
    cp_strbuf_append(&out, two.data, two.n);
    cp_strbuf_putc(&out, ' ');
    cp_strbuf_append(&out, one.data, one.n);
    cp_strbuf_append(&out, two.data + two.n, b->n - at[k + 1] - two.n);
    set_quote(b, cp_strbuf_text(&out), out.n);
    cp_strbuf_deinit(&out);
    return true;
}

static bool take_sentence(bed *b, cp_str text, const char *with) {
    cp_str s = draw_sentence(b, text, with);
    if (s.data)
        set_quote(b, s.data, s.n);
    return s.data != NULL;
}

/* A sentence of a document that is not among the passages. */
static bool take_foreign(bed *b) {
    const cp_source_doc *doc = &docs[draw(b, n_docs)];
    for (size_t i = 0; i < N_PASSAGES; i++)
        if (b->passages[i].doc == doc)
            return false;
    return take_sentence(b, doc->text, NULL);
}

/* One of the named document, before or behind what was shown. */
static bool take_unseen(bed *b) {
    b->named = 1 + 2 * draw(b, N_PASSAGES / 2);
    const cp_passage *p = &b->passages[b->named];
    cp_str text = p->doc->text;
    size_t end = (size_t)p->begin + p->n;
    return draw(b, 2) ? take_sentence(b, (cp_str){text.data, p->begin}, NULL)
                      : take_sentence(b, (cp_str){text.data + end, text.n - end}, NULL);
}

/* Two sentences of one passage, or of two, that do not follow each other. */
static bool stitch(bed *b, bool same) {
    size_t other = same ? b->named : (b->named + 1) % N_PASSAGES;
    cp_str one = draw_sentence(b, shown_text(&b->passages[b->named]), NULL);
    cp_str two = draw_sentence(b, shown_text(&b->passages[other]), NULL);
    if (!one.data || !two.data || one.data == two.data ||
        (same && two.data > one.data && two.data < one.data + one.n + 4))
        return false;
    set_quote(b, one.data, one.n);
    surround(b, "", same || draw(b, 2) ? " " : " ... ");
    char joint[CAP];
    size_t n = b->n;
    memcpy(joint, b->quote, n);
    memcpy(joint + n, two.data, two.n);
    set_quote(b, joint, n + two.n);
    return true;
}

enum {
    INVENTED,
    DIGIT,
    UNIT,
    NEGATION,
    POINT,
    SWAPPED,
    FOREIGN,
    UNSEEN,
    STITCHED_ONE,
    STITCHED_TWO,
    EMPTY,
    ONE_WORD,
    LONG,
    WITH_NUL,
    BAD_UTF8,
    BEGUN_INSIDE,
    N_WAYS
};

static bool draw_false(bed *b, size_t way) {
    cp_str text = shown_text(&b->passages[b->named]);
    const char *const *one = &invented[draw(b, CP_COUNT_OF(invented))];
    switch (way) {
    case INVENTED:
        set_quote(b, *one, strlen(*one));
        return true;
    case DIGIT:
        return take_sentence(b, text, NULL) && edit_digit(b);
    case UNIT:
        return take_sentence(b, text, NULL) && edit_unit(b);
    case NEGATION:
        return take_sentence(b, text, NULL) && drop_negation(b);
    case POINT:
        return take_sentence(b, text, ".") && drop_point(b);
    case SWAPPED:
        return take_sentence(b, text, NULL) && swap_words(b);
    case FOREIGN:
        return take_foreign(b);
    case UNSEEN:
        return take_unseen(b);
    case STITCHED_ONE:
    case STITCHED_TWO:
        return stitch(b, way == STITCHED_ONE);
    case EMPTY:
        set_quote(b, " \n...", draw(b, 6));
        return true;
    case ONE_WORD:
        if (!take_sentence(b, text, NULL))
            return false;
        b->n = (size_t)((char *)memchr(b->quote, ' ', b->n) - b->quote);
        return true;
    case LONG:
        return take_sentence(b, text, NULL); /* and many times over: below */
    case WITH_NUL:
    case BAD_UTF8:
        if (!take_sentence(b, text, NULL))
            return false;
        b->quote[b->n / 2] = way == WITH_NUL ? '\0' : (char)0xff;
        return true;
    default:
        if (!take_sentence(b, text, NULL))
            return false;
        b->n--;
        memmove(b->quote, b->quote + 1, b->n);
        return b->quote[0] != ' ';
    }
}

/* Whether the quotation happens to stand in a passage after all. */
static bool stands_anyway(const bed *b) {
    for (size_t i = 0; i < N_PASSAGES; i++)
        if (fold_holds(shown_text(&b->passages[i]), (cp_str){b->quote, b->n}))
            return true;
    return false;
}

static void false_citations_are_caught(void **state) {
    bed b = {.random = SEED + 1};
    size_t caught = 0, n_of[CP_N_CITATION_VERDICTS] = {0};
    (void)state;
    print_message("seed %#x\n", SEED + 1);
    for (size_t i = 0; i < PLANTED; i++) {
        size_t way = i % N_WAYS;
        bool drawn = false;
        while (!drawn) {
            draw_passages(&b);
            drawn = draw_false(&b, way) && (way == EMPTY || way == ONE_WORD || way == LONG ||
                                            way == BEGUN_INSIDE || !stands_anyway(&b));
        }
        cp_strbuf quote;
        cp_strbuf_init(&quote, 1 << 20);
        do
            cp_strbuf_append(&quote, b.quote, b.n);
        while (way == LONG && quote.n < 100000);
        cp_citation out = check_one(b.passages, N_PASSAGES, b.named, cp_strbuf_str(&quote));
        bool stitched = way == STITCHED_ONE || way == STITCHED_TWO;
        if (out.verdict == CP_CITATION_VERBATIM || out.verdict == CP_CITATION_MISATTRIBUTED ||
            (out.kept && !stitched))
            fail_msg("%zu: \"%.*s\" passed as %s", i, (int)b.n, b.quote,
                     cp_citation_verdict_name(out.verdict));
        if (out.kept) { /* a piece: a true one */
            cp_str span = {b.passages[out.passage].doc->text.data + out.begin, out.n};
            assert_true(fold_holds((cp_str){b.quote, b.n}, span));
        }
        if (stitched)
            assert_int_equal(out.verdict, CP_CITATION_STITCHED);
        cp_strbuf_deinit(&quote);
        n_of[out.verdict]++;
        caught++;
    }
    print_message("false citations: %zu of %d caught (%zu absent, %zu stitched)\n", caught, PLANTED,
                  n_of[CP_CITATION_ABSENT], n_of[CP_CITATION_STITCHED]);
}

static void misattributed_citations_are_named_rightly(void **state) {
    bed b = {.random = SEED + 2};
    (void)state;
    for (int i = 0; i < 100; i++) {
        bool elsewhere;
        do {
            draw_passages(&b);
            elsewhere = draw_true(&b);
            for (size_t k = 0; k < N_PASSAGES && elsewhere; k++)
                elsewhere =
                    k == b.named || !fold_holds(shown_text(&b.passages[k]), (cp_str){b.quote, b.n});
        } while (!elsewhere);
        /* Another passage, or none at all. */
        size_t source =
            i % 5 == 0 ? SIZE_MAX : (b.named + 1 + draw(&b, N_PASSAGES - 1)) % N_PASSAGES;
        write_otherwise(&b, (size_t)i);
        cp_citation out = check_one(b.passages, N_PASSAGES, source, (cp_str){b.quote, b.n});
        assert_int_equal(out.verdict, CP_CITATION_MISATTRIBUTED);
        assert_true(out.kept && out.passage == b.named);
    }
}

/* ---- size and memory ------------------------------------------------------------------------- */

/* Large passages that begin like the quotation everywhere: a search that went back would take
 * hours. */
static void large_passages_take_linear_time(void **state) {
    static const char *const fillers[] = {
        "a ", "a", "not ", "<", "5 mg ", "\xcc\x81", "... ", "take ibuprofen with food not "};
    static const char *const quotes[] = {"a a a a a a a a a b", "aaaaaaaaaaaaaaaaaaab",
                                         "take ibuprofen with food ... take ibuprofen with milk",
                                         "5 mg 5 mg 5 mg 5 mg 6 mg"};
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(fillers); i++) {
        cp_strbuf text;
        cp_strbuf_init(&text, 1 << 21);
        test_append_times(&text, fillers[i], LARGE / strlen(fillers[i]));
        for (size_t k = 0; k < CP_COUNT_OF(quotes); k++)
            assert_false(check_in(cp_strbuf_text(&text), quotes[k]).verdict ==
                         CP_CITATION_VERBATIM);
        cp_source_doc doc = {.title = "", .text = CP_STR("short")};
        cp_passage passage = all_of(&doc);
        assert_false(check_one(&passage, 1, 0, cp_strbuf_str(&text)).kept);
        cp_strbuf_deinit(&text);
    }
}

static void the_gate_without_memory_says_so(void **state) {
    static const char text[] =
        "Take it with food in the morning, and never lie down at once. Atorvastatin.";
    static const char *const quotes[] = {"Take it with food ... lie down at once",
                                         "lie down at once ... Take it with food",
                                         "Caf\xc3\xa9 with food", "and never lie down at once"};
    cp_source_doc doc = doc_of("d", "t", text);
    cp_passage passage = all_of(&doc);
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(quotes); i++) {
        cp_citation_claimed claimed = {.quote = {quotes[i], strlen(quotes[i])},
                                       .claim = CP_STR("You take simvastatin 40 mg.")};
        cp_status status = CP_ERR_NO_MEMORY;
        int n;
        for (n = 1; status; n++) {
            cp_error err;
            cp_citation out;
            test_alloc_fail_at(n, n % 2);
            status = cp_citations_check(&passage, 1, terms, NULL, &claimed, 1, &out, &err);
            test_alloc_fail_at(0, 0);
            if (status)
                assert_int_equal(status, CP_ERR_NO_MEMORY);
        }
        assert_true(n > 5);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_reads_alike_folds_alike),
    cmocka_unit_test(folding_agrees_with_nfkc),
    cmocka_unit_test(spans_lead_back_to_whole_characters),
    cmocka_unit_test_setup_teardown(each_rule_holds, set_up, tear_down),
    cmocka_unit_test_setup_teardown(spans_are_the_documents_own_bytes, set_up, tear_down),
    cmocka_unit_test_setup_teardown(the_first_place_in_the_passage_counts, set_up, tear_down),
    cmocka_unit_test_setup_teardown(an_ellipsis_shortens_over_a_short_way_only, set_up, tear_down),
    cmocka_unit_test_setup_teardown(the_edge_of_a_passage_is_judged_by_what_lies_behind_it, set_up,
                                    tear_down),
    cmocka_unit_test_setup_teardown(a_passage_outside_its_document_is_refused, set_up, tear_down),
    cmocka_unit_test_setup_teardown(a_claim_is_held_against_the_passage_that_is_cited, set_up,
                                    tear_down),
    cmocka_unit_test_setup_teardown(true_citations_are_kept_with_their_exact_span, set_up,
                                    tear_down),
    cmocka_unit_test_setup_teardown(false_citations_are_caught, set_up, tear_down),
    cmocka_unit_test_setup_teardown(misattributed_citations_are_named_rightly, set_up, tear_down),
    cmocka_unit_test_setup_teardown(large_passages_take_linear_time, set_up, tear_down),
    cmocka_unit_test_setup_teardown(the_gate_without_memory_says_so, set_up, tear_down),
};
CP_TEST_GROUP(citations, tests)
