/* The error sentence: one printable line of UTF-8, whatever hostile bytes go into it. */
#include "tests/test.h"

#include "base/utf8.h"

static void check(const cp_error *err, const char *wanted) {
    assert_string_equal(err->message, wanted);
    assert_true(cp_utf8_is_valid(err->message, strlen(err->message)));
}

static void hostile_bytes_become_question_marks(void **state) {
    (void)state;
    cp_error err;
    cp_error_set(&err, CP_ERR_FORMAT, "a \xff b \xc3( c\n\x7f\x01 \xed\xa0\x80 \xc3\xa9 d");
    check(&err, "a ? b ?( c??? ??? \xc3\xa9 d");
}

/* "%.*s" cuts a name where it likes; behind it comes more text, or nothing. */
static void a_name_that_is_cut_is_no_bad_utf8(void **state) {
    (void)state;
    cp_error err;
    cp_error_set(&err, CP_ERR_FORMAT, "\"%.*s\" is odd", 2, "x\xe4\xb8\xad");
    check(&err, "\"x?\" is odd");
    cp_error_set(&err, CP_ERR_FORMAT, "odd: %.*s", 3, "x\xe4\xb8\xad");
    check(&err, "odd: x");
}

/* The buffer's end, at every place in a sequence of three bytes. */
static void a_long_sentence_ends_between_characters(void **state) {
    (void)state;
    cp_error err;
    cp_strbuf text;
    cp_strbuf_init(&text, 4096);
    test_append_times(&text, "\xe4\xb8\xad", 400);
    for (int blanks = 0; blanks < 3; blanks++) {
        cp_error_set(&err, CP_ERR_FORMAT, "%*s%s", blanks, "", cp_strbuf_text(&text));
        assert_true(cp_utf8_is_valid(err.message, strlen(err.message)));
        assert_true(strlen(err.message) > sizeof err.message - 4);
        cp_error_prefix(&err, "%*sprefix", blanks, "");
        assert_true(cp_utf8_is_valid(err.message, strlen(err.message)));
        assert_true(strlen(err.message) > sizeof err.message - 8);
    }
    cp_strbuf_deinit(&text);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(hostile_bytes_become_question_marks),
    cmocka_unit_test(a_name_that_is_cut_is_no_bad_utf8),
    cmocka_unit_test(a_long_sentence_ends_between_characters),
};
CP_TEST_GROUP(error, tests)
