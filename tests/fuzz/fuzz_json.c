/* JSON: the strict reader, the tree behind it, and the writer's way back. */
#include "tests/fuzz/fuzz.h"

#include "base/json.h"
#include "base/json_reader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool reads(const char *text, size_t n, bool refuse_nul) {
    cp_error err;
    cp_json_reader r;
    cp_json_reader_init(&r, "text", text, n);
    r.refuse_nul = refuse_nul;
    cp_status status = cp_json_skip(&r, &err);
    if (status == CP_OK)
        status = cp_json_finish(&r, &err);
    cp_json_reader_deinit(&r);
    return fuzz_ok(status, &err);
}

/* A number like 1e999 is an infinity in the tree, and printed as null: who reads numbers checks
 * them.
 */
static bool is_finite(const cJSON *tree) {
    const cJSON *child;
    if (cJSON_IsNumber(tree) && !isfinite(tree->valuedouble))
        return false;
    cJSON_ArrayForEach(child, tree) {
        if (!is_finite(child))
            return false;
    }
    return true;
}

/* What a tree is printed as is JSON and gives the same tree. */
static void check_printed(const cJSON *tree) {
    cp_error err;
    cJSON *again;
    char *text = cJSON_PrintUnformatted(tree);
    fuzz_expect(text);
    fuzz_expect(fuzz_ok(cp_json_parse("printed", text, strlen(text), &again, &err), &err));
    fuzz_expect(cJSON_Compare(tree, again, true));
    cJSON_Delete(again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_error err;
    cJSON *tree;
    const char *text = (const char *)data;
    bool any = reads(text, n, false), plain = reads(text, n, true);
    fuzz_expect(any || !plain);
    if (fuzz_ok(cp_json_parse("text", text, n, &tree, &err), &err)) {
        fuzz_expect(plain); /* a tree is stricter: no key twice */
        if (is_finite(tree))
            check_printed(tree);
    }
    cJSON_Delete(tree);
    return 0;
}
