/* The file of API keys, and a key and scopes as somebody sends them. */
#include "tests/fuzz/fuzz.h"

#include "server/access_keys.h"

#include <stdlib.h>
#include <string.h>

static void check_file(cp_str text) {
    cp_error err;
    cp_access_keys keys, again;
    if (fuzz_ok(cp_keys_parse("keys.json", text, &keys, &err), &err)) {
        const char *path = fuzz_path("keys.json");
        fuzz_expect(fuzz_ok(cp_keys_write(path, &keys, &err), &err));
        fuzz_expect(fuzz_ok(cp_keys_read(path, &again, &err), &err));
        fuzz_expect(again.n == keys.n);
        for (size_t i = 0; i < keys.n; i++) {
            fuzz_expect(cp_key_id_is_valid(keys.keys[i].id));
            fuzz_expect(strcmp(keys.keys[i].id, again.keys[i].id) == 0);
            fuzz_expect(keys.keys[i].scopes == again.keys[i].scopes);
            fuzz_expect(keys.keys[i].not_after == again.keys[i].not_after);
        }
        cp_keys_deinit(&again);
    }
    cp_keys_deinit(&keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_error err;
    unsigned scopes;
    char id[CP_KEY_ID_CAP];
    unsigned char secret[CP_KEY_SECRET_BYTES];
    check_file(fuzz_str(data, n));
    if (fuzz_ok(cp_scopes_parse(fuzz_str(data, n), &scopes, &err), &err))
        fuzz_expect(scopes != 0 && (scopes & ~CP_SCOPES_ALL) == 0);
    char *text = fuzz_text(data, n);
    if (cp_key_parse(text, id, secret))
        fuzz_expect(cp_key_id_is_valid(id));
    free(text);
    return 0;
}
