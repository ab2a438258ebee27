/* tokenizer.json. What opens must encode and decode. */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

static const char text[] = "Fever on 12 days, it's \xc3\xa9 e\xcc\x81 <|im_start|>\n\n  on\xff";

static void use(const cp_tokenizer *tok) {
    cp_error err;
    cp_ids ids = {NULL, 0, 0};
    cp_strbuf out;
    const cp_encode_options options = {.parse_special = true, .post_process = true};
    cp_strbuf_init(&out, (size_t)1 << 24);
    if (fuzz_ok(cp_tokenizer_encode(tok, text, sizeof text - 1, &options, &ids, &err), &err)) {
        for (size_t i = 0; i < ids.n; i++)
            fuzz_expect(ids.ids[i] >= 0 && (size_t)ids.ids[i] < cp_tokenizer_n_ids(tok));
        fuzz_expect(fuzz_ok(cp_tokenizer_decode(tok, ids.ids, ids.n, false, &out, &err), &err));
        fuzz_expect(cp_utf8_is_valid(cp_strbuf_text(&out), out.n));
    }
    cp_strbuf_deinit(&out);
    cp_ids_deinit(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_error err;
    cp_tokenizer *tok;
    fuzz_write("tokenizer.json", data, n);
    if (fuzz_ok(cp_tokenizer_open(fuzz_dir(), &tok, &err), &err)) {
        use(tok);
        cp_tokenizer_close(tok);
    }
    return 0;
}
