/* tokenizer.json from a stranger: every defect is refused in one sentence that names the file;
 * every supported variation gives the ids it should; no failed allocation crashes or leaks (run
 * under ASan). */
#include "tests/test.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"

#define BASELINE GOLDEN "/valid-edge/baseline"

/* The baseline's text with the first `from` replaced; free(). */
static char *changed(const char *from, const char *to, size_t *n) {
    cp_error err;
    cp_strbuf text, out;
    assert_cp_ok(cp_file_read(BASELINE "/tokenizer.json", (size_t)1 << 20, &text, &err));
    cp_strbuf_init(&out, (size_t)4 << 20);
    const char *at = strstr(text.data, from);
    if (!at)
        fail_msg("the baseline has no %s", from);
    cp_strbuf_append(&out, text.data, (size_t)(at - text.data));
    cp_strbuf_puts(&out, to);
    cp_strbuf_puts(&out, at + strlen(from));
    cp_strbuf_deinit(&text);
    *n = out.n;
    return cp_strbuf_take(&out);
}

static cp_status open_changed(const char *from, const char *to, cp_tokenizer **tok, cp_error *err) {
    size_t n;
    char *text = changed(from, to, &n);
    const char *dir = test_tmp_dir();
    test_write_file(test_path(dir, "tokenizer.json"), text, n);
    free(text);
    return cp_tokenizer_open(dir, tok, err);
}

typedef struct defect {
    const char *from, *to, *mentions;
} defect;

#define FLAGS_264 "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false"
#define THE_PATTERN                                                                                \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "              \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

static const defect defects[] = {
    /* ids */
    {"\"b\":65", "\"b\":64", "64 is used twice"},
    {"\"b\":65", "\"b\":-1", "-1"},
    {"\"b\":65", "\"b\":6.5", "6.5"},
    {"\"b\":65", "\"b\":2147483648", "2147483648"},
    {"\"b\":65", "\"b\":99999999999999999999999", "99999999"},
    {"\"b\":65", "\"b\":\"65\"", "a number"},
    {"\"id\":264", "\"id\":-5", "-5"},
    {"\"id\":265", "\"id\":264", "264 is used twice"},
    {"\"id\":264", "\"id\":12", "12 is used twice"},
    {"\"id\":264", "\"id\":4000000", "4000000"},
    /* vocabulary and merges */
    {"\"b\":65", "\"a\":65", "twice"},
    {"\"b\":65,", "", "byte 0x62"},
    {"\"b\":65", "\"b\xe4\xb8\xad\":65", "byte"},
    {"\"on\":263", "\"\":263", "its result"},
    {"\"<\":27", "\"\":27", "byte 0x3c"},
    {"\"on\":263", "\"o n\":263", "not in the vocabulary"},
    {"[\"o\",\"n\"]", "[\"o\",\"zz\"]", "right side"},
    {"[\"o\",\"n\"]", "[\"zz\",\"n\"]", "left side"},
    {"[\"o\",\"n\"]", "[\"o\",\"x\"]", "its result"},
    {"[\"o\",\"n\"]", "[\"o\",\"\xe4\xb8\xad\"]", "not in the vocabulary"},
    {"[\"o\",\"n\"]", "[\"e\",\"r\"]", "the same"},
    {"[\"o\",\"n\"]", "[\"o\"]", "two sides"},
    {"[\"o\",\"n\"]", "[\"o\",\"n\",\"n\"]", "two sides"},
    {"[\"o\",\"n\"]", "[]", "two sides"},
    {"[\"o\",\"n\"]", "\"on\"", "no space"},
    {"[\"o\",\"n\"]", "\"o n n\"", "not in the vocabulary"},
    {"[\"o\",\"n\"]", "7", "an array"},
    {"\"merges\":", "\"no-merges\":", "merges is missing"},
    {"\"vocab\":", "\"no-vocab\":", "vocab is missing"},
    {"\"fuse_unk\":false", "\"vocab\":{}", "twice"},
    /* added tokens */
    {"\"content\":\"<|im_start|>\"", "\"content\":\"<|im_end|>\"", "same text"},
    {"\"content\":\"<|im_start|>\"", "\"content\":\"\"", "no text"},
    {"\"content\":\"<|im_start|>\"", "\"contents\":\"<|im_start|>\"", "content"},
    {"\"id\":264,", "", "id or content"},
    {"\"id\":264", "\"id\":264,\"id\":264", "twice"},
    {"\"single_word\":false", "\"single_word\":true", "single_word"},
    {"\"lstrip\":false", "\"lstrip\":true", "lstrip"},
    {"\"rstrip\":false", "\"rstrip\":true", "rstrip"},
    {"\"normalized\":false", "\"normalized\":true", "normalized"},
    /* the model's switches */
    {"\"type\":\"BPE\"", "\"type\":\"Unigram\"", "Unigram"},
    {"\"type\":\"BPE\",", "", "model.type"},
    {"\"dropout\":null", "\"dropout\":0.1", "dropout"},
    {"\"unk_token\":null", "\"unk_token\":\"!\"", "unk_token"},
    {"\"continuing_subword_prefix\":\"\"", "\"continuing_subword_prefix\":\"##\"",
     "continuing_subword_prefix"},
    {"\"end_of_word_suffix\":\"\"", "\"end_of_word_suffix\":\"</w>\"", "end_of_word_suffix"},
    {"\"byte_fallback\":false", "\"byte_fallback\":true", "byte_fallback"},
    /* components */
    {"{\"type\":\"NFC\"}", "{\"type\":\"NFKC\"}", "NFKC"},
    {"{\"type\":\"NFC\"}", "{\"typ\":\"NFC\"}", "without a type"},
    {"{\"type\":\"NFC\"}", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Lowercase\"}]}",
     "Lowercase"},
    {"{\"type\":\"NFC\"}", "{\"type\":\"Sequence\"}", "normalizers"},
    {"\"behavior\":\"Isolated\"", "\"behavior\":\"Removed\"", "Isolated"},
    {"\"invert\":false", "\"invert\":true", "inverted"},
    {"{\"Regex\":", "{\"String\":", "Regex"},
    {"\"add_prefix_space\":false", "\"add_prefix_space\":true", "add_prefix_space"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false,\"use_regex\":"
     "false}]",
     "{\"type\":\"Metaspace\"}]", "Metaspace"},
    {",{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false,\"use_regex\":"
     "false}]",
     "]", "byte-level"},
    {"\"decoder\":{\"type\":\"ByteLevel\"", "\"decoder\":{\"type\":\"WordPiece\"", "WordPiece"},
    {"\"decoder\":{", "\"decode\":{", "decoder"},
    {"\"pre_tokenizer\":{", "\"pretokenizer\":{", "pre_tokenizer"},
    {"\"model\":{", "\"mode\":{", "model"},
    {"\"post_processor\":{\"type\":\"ByteLevel\"",
     "\"post_processor\":{\"type\":\"BertProcessing\"", "BertProcessing"},
    {"\"post_processor\":{\"type\":\"ByteLevel\"",
     "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}}"
     ","
     "{\"SpecialToken\":{\"id\":\"x\"}}],\"special_tokens\":{\"x\":{\"ids\":[290]}}",
     "290 does not exist"},
    {"\"post_processor\":{\"type\":\"ByteLevel\"",
     "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}}"
     ","
     "{\"SpecialToken\":{\"id\":\"x\"}}],\"special_tokens\":{}",
     "special_tokens"},
    {"\"version\":\"1.0\"", "\"model\":{}", "model"},
    {"\"truncation\":null", "\"decoder\":{\"type\":\"ByteLevel\"}", "twice"},
    /* patterns */
    {"(?!\\\\S)", "(?!\\\\S", "does not compile"},
    {"(?!\\\\S)", "(*ACCEPT)", "a kind of group"},
    {"(?!\\\\S)", "(?{x})", "a kind of group"},
    {"(?!\\\\S)", "\\\\C", "an escape"},
    {"(?!\\\\S)", "\\\\w", "an escape"},
    {"(?!\\\\S)", "\\\\1", "an escape"},
    {"(?!\\\\S)", "$", "an anchor"},
    {"(?!\\\\S)", "[a[b]]", "inside a class"},
    {"(?!\\\\S)", "[a&&b]", "intersection"},
    {"(?!\\\\S)", "[]a]", "an empty class"},
    {"(?!\\\\S)", "{2}+", "counted repeat"},
    {"(?!\\\\S)", "|", "empty text"},
    {"(?!\\\\S)", "\\\\p{Nonsense}", "does not compile"},
    /* JSON itself */
    {"\"merges\":[", "\"merges\":[,", "byte"},
    {"[\"o\",\"n\"]]}}", "[\"o\",\"n\"]]}} x", "after the end"},
    {"[\"o\",\"n\"]]}}", "[\"o\",\"n\"]]}", "byte"},
    {"\"version\":\"1.0\"", "\"version\":\"\xff\"", "UTF-8"},
};

static void every_defect_is_refused_by_name(void **state) {
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(defects); i++) {
        const defect *d = &defects[i];
        cp_tokenizer *tok;
        cp_error err = {.status = CP_OK};
        cp_status status = open_changed(d->from, d->to, &tok, &err);
        if (status == CP_OK)
            fail_msg("accepted: %s -> %s", d->from, d->to);
        assert_null(tok);
        if (!strstr(err.message, "tokenizer.json: ") || !strstr(err.message, d->mentions))
            fail_msg("%s -> %s: \"%s\" does not mention %s", d->from, d->to, err.message,
                     d->mentions);
    }
}

static void golden_malformed_folders_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"tok-truncated", "tok-merge-unknown-token",
                                        "tok-vocab-not-object"};
    for (size_t i = 0; i < CP_COUNT_OF(names); i++) {
        cp_tokenizer *tok;
        cp_error err;
        assert_int_not_equal(
            cp_tokenizer_open(test_path(GOLDEN "/malformed", names[i]), &tok, &err), CP_OK);
        assert_null(tok);
        assert_non_null(strstr(err.message, "tokenizer.json"));
    }
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    size_t n;
    char *text = changed("{", "{", &n);
    const char *dir = test_tmp_dir(), *path = test_path(dir, "tokenizer.json");
    for (size_t cut = 0; cut < n; cut += 1 + cut / 64) {
        cp_tokenizer *tok;
        cp_error err;
        test_write_file(path, text, cut);
        assert_int_not_equal(cp_tokenizer_open(dir, &tok, &err), CP_OK);
        assert_null(tok);
    }
    free(text);
}

static void changed_bytes_never_crash(void **state) {
    (void)state;
    size_t n;
    uint64_t seed = 7;
    char *text = changed("{", "{", &n);
    const char *dir = test_tmp_dir(), *path = test_path(dir, "tokenizer.json");
    test_peak_begin();
    for (int round = 0; round < 2000; round++) {
        cp_tokenizer *tok;
        cp_error err;
        size_t at = test_random(&seed) % n;
        char old = text[at];
        text[at] = "\"{}[],:0-9\\\xc3 "[test_random(&seed) % 13];
        test_write_file(path, text, n);
        if (cp_tokenizer_open(dir, &tok, &err) == CP_OK) {
            cp_ids ids = {NULL, 0, 0};
            assert_cp_ok(cp_tokenizer_encode(tok, "fever on 12 days", 16, NULL, &ids, &err));
            cp_ids_deinit(&ids);
            cp_tokenizer_close(tok);
        }
        text[at] = old;
    }
    test_peak_within(64);
    free(text);
}

/* A pattern may be as bad as it likes: encoding ends, and says why. */
static void a_pattern_that_backtracks_without_end_is_an_error(void **state) {
    (void)state;
    cp_tokenizer *tok;
    cp_error err;
    cp_ids ids = {NULL, 0, 0};
    char text[64];
    memset(text, 'a', sizeof text);
    assert_cp_ok(open_changed(THE_PATTERN, "(?:a+|aa|a)+(?:a*)+[xyz]", &tok, &err));
    assert_int_equal(cp_tokenizer_encode(tok, text, sizeof text, NULL, &ids, &err), CP_ERR_LIMIT);
    assert_non_null(strstr(err.message, "pattern"));
    assert_int_equal(ids.n, 0);
    cp_ids_deinit(&ids);
    cp_tokenizer_close(tok);
}

/* ---- variations that must work ------------------------------------------------------------- */

typedef struct variation {
    const char *from, *to, *text;
    int32_t ids[12];
    size_t n;
} variation;

static const variation variations[] = {
    {"\"version\":\"1.0\"", "\"x\":[{\"y\":null}]", "on", {263}, 1},
    {"{\"type\":\"NFC\"}", "null", "e\xcc\x81", {0}, 0}, /* not composed: three bytes */
    {"{\"type\":\"NFC\"}",
     "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}]}",
     "on",
     {263},
     1},
    {"\"post_processor\":{", "\"post\":{", "on", {263}, 1},
    {"\"ignore_merges\":false", "\"ignore_merges\":true", "on", {263}, 1},
    {",[\"o\",\"n\"]", "", "on", {78, 77}, 2},
    {"\"ignore_merges\":false", "\"ignore_merges\":null", "on", {263}, 1},
    {"\"vocab\":{", "\"vocab\":{\"ab\":290,", "ab", {64, 65}, 2}, /* no merge makes it */
    {"\"ignore_merges\":false,\"vocab\":{",
     "\"ignore_merges\":true,\"vocab\":{\"ab\":290,",
     "ab",
     {290},
     1},
    {"\"on\":263",
     "\"on\":263,\"<|endoftext|>\":264",
     "<|endoftext|>",
     {264},
     1}, /* in both lists */
    {"\"behavior\":\"Isolated\"", "\"behavior\":\"Isolated\",\"new\":1", "on", {263}, 1},
    {"{\"type\":\"Split\"",
     "{\"type\":\"Digits\",\"individual_digits\":true},{\"type\":\"Split\"",
     "on",
     {263},
     1},
    {"\"post_processor\":{\"type\":\"ByteLevel\"",
     "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
     "\"x\"}},"
     "{\"Sequence\":{\"id\":\"A\"}},{\"SpecialToken\":{\"id\":\"x\"}}],\"special_tokens\":{\"x\":{"
     "\"ids\":"
     "[264,265]}}",
     "on",
     {264, 265, 263, 264, 265},
     5},
};

static void variations_give_their_ids(void **state) {
    (void)state;
    for (size_t i = 0; i < CP_COUNT_OF(variations); i++) {
        const variation *v = &variations[i];
        cp_tokenizer *tok;
        cp_error err;
        cp_ids ids = {NULL, 0, 0};
        cp_encode_options o = {.parse_special = true, .post_process = true};
        assert_cp_ok(open_changed(v->from, v->to, &tok, &err));
        assert_cp_ok(cp_tokenizer_encode(tok, v->text, strlen(v->text), &o, &ids, &err));
        if (v->n == 0)
            assert_int_equal(ids.n, strlen(v->text)); /* bytes */
        else if (ids.n != v->n || memcmp(ids.ids, v->ids, v->n * sizeof *v->ids) != 0)
            fail_msg("%s -> %s: other ids", v->from, v->to);
        cp_ids_deinit(&ids);
        cp_tokenizer_close(tok);
    }
}

/* JSON objects have no order: sorted keys put merges before the vocabulary. */
static void merges_may_come_before_the_vocabulary(void **state) {
    (void)state;
    size_t n;
    cp_error err;
    cp_tokenizer *tok;
    cp_ids ids = {NULL, 0, 0};
    cp_strbuf out;
    char *text = changed("{", "{", &n);
    char *vocab = strstr(text, ",\"vocab\":"), *merges = strstr(text, ",\"merges\":");
    const char *dir = test_tmp_dir();
    assert_true(vocab && merges && vocab < merges);
    cp_strbuf_init(&out, (size_t)1 << 20);
    cp_strbuf_append(&out, text, (size_t)(vocab - text));
    cp_strbuf_append(&out, merges, n - 2 - (size_t)(merges - text)); /* without the last braces */
    cp_strbuf_append(&out, vocab, (size_t)(merges - vocab));
    cp_strbuf_puts(&out, "}}");
    test_write_file(test_path(dir, "tokenizer.json"), out.data, out.n);
    assert_cp_ok(cp_tokenizer_open(dir, &tok, &err));
    assert_cp_ok(cp_tokenizer_encode(tok, "on", 2, NULL, &ids, &err));
    assert_int_equal(ids.n, 1);
    assert_int_equal(ids.ids[0], 263);
    cp_ids_deinit(&ids);
    cp_tokenizer_close(tok);
    cp_strbuf_deinit(&out);
    free(text);
}

static cp_status count_piece(void *context, const char *piece, size_t n, cp_error *err) {
    (void)piece, (void)n, (void)err;
    ++*(size_t *)context;
    return CP_OK;
}

/* The reference's \s is Unicode White_Space. Each pattern matches one white character, in one of
 * the places where \s may stand, so "a", it and "b" are three pieces. */
static void white_space_is_unicode_white_space(void **state) {
    (void)state;
    static const struct {
        uint32_t code;
        bool white;
    } cases[] = {{0x09, true},   {0x0d, true},    {0x1c, false},  {0x1f, false},   {0x20, true},
                 {0x85, true},   {0xa0, true},    {0x1680, true}, {0x180e, false}, {0x2000, true},
                 {0x200a, true}, {0x200b, false}, {0x2028, true}, {0x202f, true},  {0x205f, true},
                 {0x3000, true}, {0xfeff, false}, {0x2029, true}};
    static const char *const patterns[] = {"\\s", "[\\s]", "[^\\S]", "(?!\\S)[^z]"};
    for (size_t k = 0; k < CP_COUNT_OF(patterns); k++) {
        cp_error err;
        cp_pretokenizer p = {.n_steps = 0};
        assert_cp_ok(cp_pretokenizer_add(&p, (cp_str){patterns[k], strlen(patterns[k])}, &err));
        for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
            char text[8] = "a";
            size_t n_pieces = 0, m = 1 + cp_utf8_encode(cases[i].code, text + 1);
            text[m++] = 'b';
            cp_splitter s;
            assert_cp_ok(cp_splitter_init(&s, &p, count_piece, &n_pieces, &err));
            assert_cp_ok(cp_splitter_run(&s, text, m, &err));
            cp_splitter_deinit(&s);
            if (n_pieces != (cases[i].white ? 3 : 1))
                fail_msg("%s: U+%04X gives %zu pieces", patterns[k], (unsigned)cases[i].code,
                         n_pieces);
        }
        cp_pretokenizer_deinit(&p);
    }
}

/* ---- memory -------------------------------------------------------------------------------- */

static cp_status open_and_use(void) {
    static const char text[] = "<|im_start|>Fever on e\xcc\x81\xcc\xa3 \xff 38.5 "
                               "interminableinterminableinterminableinterminableinterminable";
    static const int32_t wanted[] = {263, 64, 220};
    cp_error err;
    cp_tokenizer *tok = NULL;
    cp_ids ids = {NULL, 0, 0};
    cp_prompt prompt;
    cp_strbuf out;
    cp_chat_message messages[] = {{CP_ROLE_USER, "Fever?", NULL}, {CP_ROLE_ASSISTANT, "yes", "hm"}};
    cp_encode_options o = {.parse_special = true, .post_process = true};
    cp_prompt_init(&prompt);
    cp_strbuf_init(&out, 4096);
    cp_status status = cp_tokenizer_open(GOLDEN "/valid-edge/baseline", &tok, &err);
    if (status == CP_OK)
        status = cp_tokenizer_encode(tok, text, sizeof text - 1, &o, &ids, &err);
    if (status == CP_OK)
        status = cp_tokenizer_decode(tok, wanted, CP_COUNT_OF(wanted), false, &out, &err);
    if (status == CP_OK)
        status = cp_chat_render(tok, messages, CP_COUNT_OF(messages), true, CP_THINKING_OFF,
                                &prompt, &err);
    if (status == CP_OK)
        status = cp_prompt_encode(tok, &prompt, false, &ids, &err);
    cp_strbuf_deinit(&out);
    cp_prompt_deinit(&prompt);
    cp_ids_deinit(&ids);
    cp_tokenizer_close(tok);
    return status;
}

static void no_failed_allocation_crashes(void **state) {
    (void)state;
    test_alloc_reset();
    assert_int_equal(open_and_use(), CP_OK);
    long n = test_alloc_count();
    assert_true(n > 20);
    for (int persist = 0; persist < 2; persist++)
        for (long i = 1; i <= n; i++) {
            test_alloc_fail_at(i, persist);
            cp_status status = open_and_use();
            test_alloc_fail_at(0, 0);
            if (status != CP_ERR_NO_MEMORY)
                fail_msg("allocation %ld of %ld failed, status %d", i, n, (int)status);
        }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_defect_is_refused_by_name),
    cmocka_unit_test(golden_malformed_folders_are_refused),
    cmocka_unit_test(every_truncation_is_refused),
    cmocka_unit_test(changed_bytes_never_crash),
    cmocka_unit_test(a_pattern_that_backtracks_without_end_is_an_error),
    cmocka_unit_test(variations_give_their_ids),
    cmocka_unit_test(merges_may_come_before_the_vocabulary),
    cmocka_unit_test(white_space_is_unicode_white_space),
    cmocka_unit_test(no_failed_allocation_crashes),
};
CP_TEST_GROUP(tokenizer_json, tests)
