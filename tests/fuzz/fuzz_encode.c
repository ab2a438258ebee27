/* Any text to ids and back, any ids to text; streamed or not is the same. */
#include "tests/fuzz/fuzz.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

#include <stdlib.h>

static cp_tokenizer *tokenizers[2];

static void open_all(void) {
    static const char *const folders[] = {"tests/golden/models/tied-gqa2",
                                          "tests/golden/valid-edge/baseline"};
    cp_error err;
    for (size_t i = 0; i < CP_COUNT_OF(folders); i++)
        if (!fuzz_ok(cp_tokenizer_open(folders[i], &tokenizers[i], &err), &err))
            exit(2);
}

/* Both ways of decoding give the same text, and that is UTF-8. */
static void check_decode(const cp_tokenizer *tok, const int32_t *ids, size_t n, bool skip) {
    cp_error err;
    cp_detokenizer d;
    cp_strbuf whole, streamed;
    cp_strbuf_init(&whole, (size_t)1 << 24);
    cp_strbuf_init(&streamed, (size_t)1 << 24);
    fuzz_expect(fuzz_ok(cp_tokenizer_decode(tok, ids, n, skip, &whole, &err), &err));
    cp_detokenizer_init(&d, tok, skip);
    for (size_t i = 0; i < n; i++) {
        cp_detokenizer_push(&d, ids[i], &streamed);
        fuzz_expect(cp_utf8_is_valid(cp_strbuf_text(&streamed), streamed.n));
    }
    cp_detokenizer_finish(&d, &streamed);
    fuzz_expect(cp_str_equal(cp_strbuf_str(&whole), cp_strbuf_str(&streamed)));
    cp_strbuf_deinit(&whole);
    cp_strbuf_deinit(&streamed);
}

static void check_text(const cp_tokenizer *tok, const char *text, size_t n, bool special) {
    cp_error err;
    cp_ids ids = {NULL, 0, 0};
    const cp_encode_options options = {.parse_special = special, .post_process = special};
    fuzz_expect(fuzz_ok(cp_tokenizer_encode(tok, text, n, &options, &ids, &err), &err));
    for (size_t i = 0; i < ids.n; i++)
        fuzz_expect(special || !cp_tokenizer_is_special(tok, ids.ids[i]));
    check_decode(tok, ids.ids, ids.n, false);
    cp_ids_deinit(&ids);
}

static void check_ids(const cp_tokenizer *tok, const uint8_t *data, size_t n) {
    cp_error err;
    cp_ids ids = {NULL, 0, 0};
    for (size_t i = 0; i + 1 < n; i += 2) {
        size_t id = (data[i] | (size_t)data[i + 1] << 8) % cp_tokenizer_n_ids(tok);
        fuzz_expect(cp_ids_push(&ids, (int32_t)id, &err) == CP_OK);
    }
    check_decode(tok, ids.ids, ids.n, n % 2);
    cp_ids_deinit(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (!tokenizers[0])
        open_all();
    for (size_t i = 0; i < CP_COUNT_OF(tokenizers); i++) {
        check_text(tokenizers[i], (const char *)data, n, false);
        check_text(tokenizers[i], (const char *)data, n, true);
        check_ids(tokenizers[i], data, n);
    }
    return 0;
}
