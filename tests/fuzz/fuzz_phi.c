/* The scrubber on any text: what comes out is UTF-8, bounded, and holds no name that is known. */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "server/phi_scrub.h"

#include <stdlib.h>
#include <string.h>

#define NAME "Quillfeather"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static cp_phi *phi;
    static cp_phi_names *names;
    cp_error err;
    if (!phi && (!fuzz_ok(cp_phi_create(&phi, &err), &err) ||
                 !fuzz_ok(cp_phi_names_create(true, &names, &err), &err) ||
                 !fuzz_ok(cp_phi_names_add(names, CP_PHI_NAME, "Zebediah " NAME, &err), &err)))
        exit(2);
    cp_strbuf text, out;
    cp_strbuf_init(&text, n + 64);
    cp_strbuf_init(&out, (size_t)CP_PHI_MAX_GROWTH * (n + 64) + 64);
    cp_strbuf_append(&text, data, n);
    cp_strbuf_puts(&text, " " NAME " "); /* whatever stands before it */
    fuzz_expect(cp_phi_scrub(phi, names, NULL, cp_strbuf_str(&text), &out) == CP_OK);
    fuzz_expect(out.failed == CP_OK && out.n <= CP_PHI_MAX_GROWTH * text.n);
    fuzz_expect(cp_utf8_is_valid(cp_strbuf_text(&out), out.n));
    if (n == 0 || !memmem(data, n, NAME, strlen(NAME)))
        fuzz_expect(!memmem(cp_strbuf_text(&out), out.n, NAME, strlen(NAME)));
    cp_strbuf_deinit(&text);
    cp_strbuf_deinit(&out);
    return 0;
}
