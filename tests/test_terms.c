/* Text to words, sentences and chunks: what is folded, where borders are, and what hostile text
 * does. */
#include "tests/test.h"

#include "base/utf8.h"
#include "retrieval/retriever.h"
#include "retrieval/sentences.h"
#include "retrieval/terms.h"

/* The stems of a text, with '*' behind those that say nothing, in one of a few buffers. */
static const char *stems(const char *text) {
    static char lines[4][1024];
    static unsigned turn;
    char *out = lines[turn++ % 4];
    cp_words words;
    cp_error err;
    *out = '\0';
    assert_cp_ok(cp_words_split((cp_str){text, strlen(text)}, &words, &err));
    for (size_t i = 0; i < words.n; i++) {
        cp_str stem = cp_word_stem(&words, i);
        assert_true(strlen(out) + stem.n + 3 < sizeof lines[0]);
        sprintf(out + strlen(out), "%s%.*s%s", i ? " " : "", (int)stem.n, stem.data,
                words.items[i].stop ? "*" : "");
    }
    cp_words_deinit(&words);
    return out;
}

static void words_are_folded_and_stemmed(void **state) {
    static const char *const cases[][2] = {
        {"Vomiting, VOMITED; vomits", "vomit vomit vomit"},
        {"dizziness dizzy", "dizzi dizzi"},
        {"Ibuprofènes Naïve", "ibuprofen naiv"},
        {"ﬁne ２０", "fine 20"},
        {"can't I’m partner's", "cant im* partner"},
        {"38.2°C 148/86 1.", "38.2 c 148 86 1"},
        {"20mg B12 5µg", "20 mg b12 5 μg"},
        {"co-trimoxazole", "co trimoxazol"},
        {"so\xc2\xad"
         "und zero\xe2\x80\x8bwidth",
         "sound zerowidth"},
        {"e\xcc\x81t\xc3\xa9", "ete"},
        {"What is the dose?", "what* is* the* dose"},
        {"' '' . 1", "1"},
        {"", ""},
        {"?!… —", ""},
        {"Straße STRASSE", "strass strass"},
        {"боль БОЛЬ", "боль боль"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(stems(cases[i][0]), cases[i][1]);
}

/* A list that is out of order loses words silently. */
static void every_stop_word_is_found(void **state) {
    (void)state;
    const char *all = "a about after again also because been before being but can could did does "
                      "each for from had has have having her here hers him his how if im in into "
                      "is it its ive just may me mine more must my no not now of on or our out "
                      "over shall she should so some such than that the their them then there "
                      "these they this those to too up us very was we were what whats when where "
                      "which who whom why will with would you your yours";
    const char *found = stems(all);
    size_t n = 1, n_stops = 0;
    for (const char *c = all; *c; c++)
        n += *c == ' ';
    for (const char *c = found; *c; c++)
        n_stops += *c == '*';
    assert_int_equal(n_stops, n);
}

static void words_know_where_they_stand(void **state) {
    const char text[] = "  Über 20mg\xff of caf\xc3\xa9s";
    cp_words words;
    cp_error err;
    (void)state;
    assert_cp_ok(cp_words_split((cp_str){text, sizeof text - 1}, &words, &err));
    static const char *const expected[] = {"Über", "20", "mg", "of", "caf\xc3\xa9s"};
    assert_int_equal(words.n, 5);
    for (size_t i = 0; i < words.n; i++) {
        assert_int_equal(words.items[i].end - words.items[i].begin, strlen(expected[i]));
        assert_memory_equal(text + words.items[i].begin, expected[i], strlen(expected[i]));
    }
    cp_words_deinit(&words);
}

static bool one_edit(const char *a, const char *b) {
    const bool there = cp_is_one_edit((cp_str){a, strlen(a)}, (cp_str){b, strlen(b)});
    assert_int_equal(there, cp_is_one_edit((cp_str){b, strlen(b)}, (cp_str){a, strlen(a)}));
    return there;
}

static void one_edit_is_one_edit(void **state) {
    (void)state;
    assert_true(one_edit("warfarin", "warfrin"));
    assert_true(one_edit("warfarin", "warrfarin"));
    assert_true(one_edit("warfarin", "warfarim"));
    assert_true(one_edit("warfarin", "wafrarin"));
    assert_true(one_edit("pain", "pains"));
    assert_false(one_edit("warfarin", "warfarin"));
    assert_false(one_edit("warfarin", "wrafarni"));
    assert_false(one_edit("warfarin", "warfa"));
    assert_false(one_edit("warfarin", "frawarin"));
    assert_false(one_edit("pin", "pan")); /* too short to tell */
    assert_false(one_edit("pin", "pins"));
    assert_false(one_edit("", "a"));
}

/* ---- sentences ----------------------------------------------------------------------------- */

static void check_sentences(const char *text, const char *const *expected) {
    const cp_str all = {text, strlen(text)};
    size_t at = 0, begin, n, i = 0;
    for (; cp_sentence_next(all, &at, 700, &begin, &n); i++) {
        if (!expected[i] || n != strlen(expected[i]) || memcmp(text + begin, expected[i], n) != 0)
            fail_msg("\"%s\": sentence %zu is \"%.*s\", not \"%s\"", text, i, (int)n, text + begin,
                     expected[i] ? expected[i] : "(none)");
    }
    assert_null(expected[i]);
}
#define SENTENCES(text, ...) check_sentences(text, (const char *const[]){__VA_ARGS__, NULL})

static void sentences_end_where_they_end(void **state) {
    (void)state;
    SENTENCES("One. Two? Three! 4 mg.", "One.", "Two?", "Three!", "4 mg.");
    SENTENCES("See Dr. Marsh. He knows.", "See Dr. Marsh.", "He knows.");
    SENTENCES("Take 5 mg. twice daily. Stop.", "Take 5 mg. twice daily.", "Stop.");
    SENTENCES("Took 5 mg. Then slept.", "Took 5 mg.", "Then slept.");
    SENTENCES("INR was 2.4. Fine.", "INR was 2.4.", "Fine.");
    SENTENCES("E.g. Aspirin helps. J. Smith left.", "E.g. Aspirin helps.", "J. Smith left.");
    SENTENCES("A line\nanother line", "A line", "another line");
    SENTENCES("\"Go home.\" She went. (Late.) Yes", "\"Go home.\"", "She went.", "(Late.)", "Yes");
    SENTENCES("No space.Here too", "No space.Here too");
    SENTENCES("  \n \t ", NULL);
    SENTENCES("Ends", "Ends");
}

static void a_long_sentence_is_cut_between_words(void **state) {
    static const char text[] = "aaaa bbbb cccc dddd eeee";
    const cp_str all = {text, sizeof text - 1};
    size_t at = 0, begin, n;
    (void)state;
    assert_true(cp_sentence_next(all, &at, 11, &begin, &n));
    assert_int_equal(begin, 0);
    assert_int_equal(n, 9);
    assert_true(cp_sentence_next(all, &at, 11, &begin, &n));
    assert_memory_equal(text + begin, "cccc dddd", n);
    assert_true(cp_sentence_next(all, &at, 11, &begin, &n));
    assert_memory_equal(text + begin, "eeee", n);
    assert_false(cp_sentence_next(all, &at, 11, &begin, &n));
}

/* ---- chunks -------------------------------------------------------------------------------- */

static cp_source_doc doc_of(const char *title, cp_str text) {
    return (cp_source_doc){.mrn = "M",
                           .id = "D",
                           .title = title,
                           .type = "",
                           .date = "",
                           .kind = CP_ENTRY_DOCUMENT,
                           .text = text,
                           .also = CP_STR("")};
}

/* What holds for every text: chunks in order and inside, whole characters, all words in them. */
static void check_chunks(cp_str text, const cp_chunked *chunked) {
    size_t end = 0;
    const bool valid = cp_utf8_is_valid(text.data, text.n);
    assert_true(chunked->n >= 1);
    for (size_t i = 0; i < chunked->n; i++) {
        const cp_chunk *c = &chunked->chunks[i];
        uint32_t n_words = 0;
        assert_true((size_t)c->begin + c->n <= text.n);
        assert_true(c->n <= CP_CHUNK_BYTES);
        assert_true(i == 0 || c->begin > chunked->chunks[i - 1].begin);
        assert_true(i == 0 || (size_t)c->begin + c->n > end);
        if (valid)
            assert_true(cp_utf8_is_valid(text.data + c->begin, c->n));
        /* Between chunks there is white space only. */
        for (size_t at = end; at < c->begin; at++)
            assert_non_null(strchr(" \t\n\v\f\r", text.data[at]));
        for (size_t t = 0; t < c->n_terms; t++) {
            assert_true(t == 0 || c->terms[t].hash > c->terms[t - 1].hash);
            n_words += c->terms[t].count;
        }
        assert_int_equal(n_words, c->n_words);
        end = (size_t)c->begin + c->n;
    }
}

static void chunks_are_whole_sentences_and_overlap(void **state) {
    cp_strbuf text;
    cp_chunked chunked;
    cp_error err;
    (void)state;
    cp_strbuf_init(&text, 1 << 16);
    for (unsigned i = 0; i < 60; i++)
        cp_strbuf_printf(&text, "Sentence number %u says that Dr. Marsh gave 2.5 mg. of it.%s", i,
                         i % 7 == 6 ? "\n\n" : " ");
    const cp_source_doc doc = doc_of("Title", cp_strbuf_str(&text));
    assert_cp_ok(cp_chunk_document(&doc, 7, &chunked, &err));
    check_chunks(doc.text, &chunked);
    assert_true(chunked.n > 4);
    for (size_t i = 0; i < chunked.n; i++) {
        const cp_chunk *c = &chunked.chunks[i];
        assert_memory_equal(text.data + c->begin, "Sentence number", 15);
        assert_int_equal(text.data[c->begin + c->n - 1], '.');
        if (i == 0)
            continue;
        const cp_chunk *before = c - 1; /* its last sentence is this one's first */
        const size_t overlap = before->begin + before->n - c->begin;
        assert_true(before->begin + before->n > c->begin && overlap < 70);
        assert_memory_equal(text.data + c->begin + overlap - 3, "it.", 3);
    }
    cp_chunked_deinit(&chunked);
    cp_strbuf_deinit(&text);
}

static uint32_t count_of(const cp_chunk *chunk, const char *stem, uint64_t salt) {
    const uint64_t hash = cp_term_hash((cp_str){stem, strlen(stem)}, salt);
    for (size_t i = 0; i < chunk->n_terms; i++)
        if (chunk->terms[i].hash == hash)
            return chunk->terms[i].count;
    return 0;
}

static void words_of_the_head_weigh_more(void **state) {
    cp_source_doc doc = doc_of("Warfarin plan", CP_STR("The warfarin dose stays. Rugs go."));
    cp_chunked a, b;
    cp_error err;
    (void)state;
    doc.also = CP_STR("blood thinner");
    assert_cp_ok(cp_chunk_document(&doc, 1, &a, &err));
    assert_cp_ok(cp_chunk_document(&doc, 2, &b, &err));
    assert_int_equal(count_of(a.chunks, "warfarin", 1), 3);
    assert_int_equal(count_of(a.chunks, "thinner", 1), 2);
    assert_int_equal(count_of(a.chunks, "rug", 1), 1);
    assert_int_equal(count_of(a.chunks, "the", 1), 0);
    assert_int_equal(count_of(a.chunks, "warfarin", 2), 0); /* another salt, other terms */
    assert_int_equal(count_of(b.chunks, "warfarin", 2), 3);
    cp_chunked_deinit(&a);
    cp_chunked_deinit(&b);
}

/* A megabyte of one class each: this must end, soon, with chunks that are in order. */
static void a_megabyte_of_anything_is_cut(void **state) {
    static const char *const parts[] = {"a",
                                        " ",
                                        ".",
                                        "\n",
                                        "'",
                                        "1",
                                        ". ",
                                        "A. ",
                                        "\xff",
                                        "\xc3\xa9",
                                        "\xcc\x81",
                                        "\xe2\x80\x8b",
                                        "\xc3",
                                        "\xf0\x9f\x98\x80",
                                        "a'",
                                        "1.",
                                        "\x80",
                                        "mg. ",
                                        "\xef\xb7\xba",
                                        "Dr."};
    cp_error err;
    (void)state;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        cp_strbuf text;
        cp_chunked chunked;
        cp_strbuf_init(&text, 2 << 20);
        test_append_times(&text, parts[i], ((size_t)1 << 20) / strlen(parts[i]));
        const cp_source_doc doc = doc_of(cp_strbuf_text(&text), cp_strbuf_str(&text));
        assert_cp_ok(cp_chunk_document(&doc, 7, &chunked, &err));
        check_chunks(doc.text, &chunked);
        cp_chunked_deinit(&chunked);
        cp_strbuf_deinit(&text);
    }
}

static void random_bytes_are_cut(void **state) {
    static const char alphabet[] = "aB.? \n'\"1-\xc3\xa9\xe2\x80\x99\xff\0m";
    uint64_t seed = 42;
    cp_error err;
    (void)state;
    print_message("seed 42\n");
    for (unsigned turn = 0; turn < 400; turn++) {
        char text[4096];
        cp_chunked chunked;
        const size_t n = test_random(&seed) % sizeof text;
        for (size_t i = 0; i < n; i++)
            text[i] = alphabet[test_random(&seed) % (sizeof alphabet - 1)];
        const cp_source_doc doc = doc_of("t", (cp_str){text, n});
        assert_cp_ok(cp_chunk_document(&doc, 7, &chunked, &err));
        for (size_t i = 0; i < chunked.n; i++)
            assert_true((size_t)chunked.chunks[i].begin + chunked.chunks[i].n <= n);
        cp_chunked_deinit(&chunked);
    }
}

static void every_allocation_may_fail(void **state) {
    cp_error err;
    (void)state;
    cp_source_doc doc = doc_of("Title of it", CP_STR("One sentence. Another sentence."));
    for (long i = 1;; i++) {
        cp_chunked chunked;
        test_alloc_fail_at(i, 0);
        cp_status status = cp_chunk_document(&doc, 7, &chunked, &err);
        test_alloc_fail_at(0, 0);
        if (status == CP_OK) {
            cp_chunked_deinit(&chunked);
            assert_true(i > 3);
            return;
        }
        assert_int_equal(status, CP_ERR_NO_MEMORY);
        assert_null(chunked.chunks);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(words_are_folded_and_stemmed),
    cmocka_unit_test(every_stop_word_is_found),
    cmocka_unit_test(words_know_where_they_stand),
    cmocka_unit_test(one_edit_is_one_edit),
    cmocka_unit_test(sentences_end_where_they_end),
    cmocka_unit_test(a_long_sentence_is_cut_between_words),
    cmocka_unit_test(chunks_are_whole_sentences_and_overlap),
    cmocka_unit_test(words_of_the_head_weigh_more),
    cmocka_unit_test(a_megabyte_of_anything_is_cut),
    cmocka_unit_test(random_bytes_are_cut),
    cmocka_unit_test(every_allocation_may_fail),
};
CP_TEST_GROUP(terms, tests)
