/* What a model says to /triage: read as a whole, and as it comes; both show the same text. */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "server/triage_answer.h"
#include "server/triage_text.h"

#include <string.h>

static void check_shown(const cp_strbuf *text) {
    const char *at = cp_strbuf_text(text);
    fuzz_expect(cp_utf8_is_valid(at, text->n) && strlen(at) == text->n);
    fuzz_expect(!strstr(at, "<|im_end|>") && !strstr(at, "</think>"));
}

/* In two pieces. */
static void stream(const uint8_t *data, size_t n) {
    cp_triage_reader reader;
    cp_triage_cleaner cleaner;
    cp_strbuf text, shown;
    cp_strbuf_init(&text, 4 * n + 256);
    cp_strbuf_init(&shown, 16 * n + 256);
    cp_triage_reader_init(&reader);
    cp_triage_cleaner_init(&cleaner);
    for (size_t at = 0; at < n; at += n / 2 + 1) {
        size_t most = n - at < n / 2 + 1 ? n - at : n / 2 + 1;
        cp_strbuf_clear(&text);
        cp_triage_reader_push(&reader, (const char *)data + at, most, &text);
        cp_triage_cleaner_push(&cleaner, cp_strbuf_str(&text), false, &shown);
    }
    cp_triage_cleaner_push(&cleaner, CP_STR(""), true, &shown);
    check_shown(&shown);
    cp_triage_cleaner_deinit(&cleaner);
    cp_strbuf_deinit(&text);
    cp_strbuf_deinit(&shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_error err;
    cp_llm_result result = {.has_thinking = false};
    cp_triage_answer answer;
    cp_strbuf cleaned;
    cp_strbuf_init(&result.answer, n + 1);
    cp_strbuf_append(&result.answer, data, n);
    if (fuzz_ok(cp_triage_answer_read(&result, &answer, &err), &err)) {
        fuzz_expect(answer.acuity >= 0 && answer.acuity <= 5);
        check_shown(&answer.text);
    }
    cp_triage_answer_deinit(&answer);
    cp_strbuf_init(&cleaned, 16 * n + 256);
    cp_triage_clean_append(fuzz_str(data, n), &cleaned);
    check_shown(&cleaned);
    cp_strbuf_deinit(&cleaned);
    cp_strbuf_deinit(&result.answer);
    stream(data, n);
    return 0;
}
