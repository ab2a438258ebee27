/* A JSON schema up to the first NUL, then bytes that an answer under it is made of. Every place
 * that the bytes reach can be completed, and what completes it is JSON. */
#include "tests/fuzz/fuzz.h"

#include "base/json.h"
#include "llm/constraint.h"

#include <stdlib.h>
#include <string.h>

static void check_close(const cp_schema *schema, const cp_json_place *place, cp_str text) {
    cp_error err;
    cJSON *tree;
    cp_strbuf out;
    cp_json_place end;
    cp_strbuf_init(&out, (size_t)1 << 20);
    cp_json_close(schema, place, &out);
    fuzz_expect(out.failed == CP_OK);
    cp_json_place_copy(&end, place);
    fuzz_expect(cp_json_take(schema, &end, cp_strbuf_str(&out)));
    fuzz_expect(cp_json_may_end(schema, &end));
    cp_strbuf whole;
    cp_strbuf_init(&whole, (size_t)1 << 20);
    cp_strbuf_append(&whole, text.data, text.n);
    cp_strbuf_append(&whole, out.data, out.n);
    cp_status status = cp_json_parse("answer", cp_strbuf_text(&whole), whole.n, &tree, &err);
    if (!fuzz_ok(status, &err)) /* a free object may name a member twice, or a string hold U+0000 */
        fuzz_expect(strstr(err.message, "twice") || strstr(err.message, "U+0000"));
    cJSON_Delete(tree);
    cp_strbuf_deinit(&whole);
    cp_strbuf_deinit(&out);
}

static void walk(const cp_schema *schema, const uint8_t *data, size_t n) {
    static cp_json_place place, next; /* large */
    unsigned char key[CP_JSON_KEY_BYTES];
    uint32_t least, most;
    cp_strbuf text;
    cp_strbuf_init(&text, (size_t)1 << 20);
    cp_json_begin(schema, &place);
    check_close(schema, &place, cp_strbuf_str(&text));
    for (size_t i = 0; i < n; i++) {
        if (data[i] == 0xff) { /* never in JSON: what is forced is taken */
            cp_json_force(schema, &place, &text);
        } else {
            cp_json_place_copy(&next, &place);
            if (!cp_json_step(schema, &next, data[i]))
                continue;
            cp_json_place_copy(&place, &next);
            cp_strbuf_putc(&text, (char)data[i]);
        }
        fuzz_expect(cp_json_place_key(schema, &place, 16, 16, key) <= sizeof key);
        if (cp_json_in_text(schema, &place, &least, &most))
            fuzz_expect(least <= most);
        if (i < 64 || i + 1 == n)
            check_close(schema, &place, cp_strbuf_str(&text));
    }
    cp_strbuf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_error err;
    cp_schema *schema;
    const uint8_t *nul = memchr(data, 0, n);
    size_t n_schema = nul ? (size_t)(nul - data) : n;
    cp_status status =
        cp_schema_compile_text("schema", (const char *)data, n_schema, &schema, &err);
    if (fuzz_ok(status, &err)) {
        walk(schema, data + n_schema + (nul != NULL), n - n_schema - (nul != NULL));
        cp_schema_free(schema);
    }
    return 0;
}
