/* What a hub says: fields of an answer, and an index of shards. What is taken can be a path's part
 * and leads nowhere else. */
#include "tests/fuzz/fuzz.h"

#include "hub/catalogue.h"
#include "hub/hub_fields.h"
#include "hub/hub_index.h"

#include <stdlib.h>
#include <string.h>

static void expect_part(const char *name) {
    fuzz_expect(*name && *name != '.' && *name != '-');
    fuzz_expect(!strpbrk(name, "/\\\n\r %?#") && !strstr(name, ".."));
}

static void read_fields(const char *text, size_t n) {
    cp_http_answer answer = {.status = 200};
    cp_hub_fields fields = {.size = 0};
    uint64_t first, total;
    cp_strbuf_init(&answer.head, CP_HTTP_MAX_HEAD);
    cp_strbuf_append(&answer.head, text, n);
    for (int hop = 0; hop < 2; hop++)
        cp_hub_fields_add(&fields, &answer);
    if (fields.commit[0])
        fuzz_expect(cp_hub_is_commit((cp_str){fields.commit, strlen(fields.commit)}));
    if (fields.hash[0])
        fuzz_expect(cp_hub_is_hash((cp_str){fields.hash, strlen(fields.hash)}));
    if (cp_hub_content_range(&answer, &first, &total))
        fuzz_expect(first < total && total <= (uint64_t)1 << 53);
    fuzz_expect(cp_hub_retry_after_s(&answer) >= -1);
    cp_http_answer_deinit(&answer);
}

static void read_names(const char *text) {
    cp_error err;
    if (fuzz_ok(cp_hub_check_repo(text, &err), &err))
        fuzz_expect(!strstr(text, "..") && text[0] != '/' && !strstr(text, "//"));
    if (fuzz_ok(cp_hub_check_revision(text, &err), &err))
        fuzz_expect(!strstr(text, "..") && text[0] != '/' && !strstr(text, "//"));
    (void)cp_catalogue_repo(text);
    fuzz_expect(cp_catalogue_quantized(text) <= strlen(text));
}

static void follow(const char *text, size_t n) {
    cp_error err;
    cp_strbuf to;
    cp_http_url url;
    cp_strbuf_init(&to, 1 << 16);
    if (fuzz_ok(cp_http_url_follow("https://hub:1/a/b?c", (cp_str){text, n}, &to, &err), &err))
        fuzz_expect(cp_http_url_parse("to", cp_strbuf_text(&to), &url, &err) == CP_OK &&
                    !strpbrk(cp_strbuf_text(&to), " \t\r\n"));
    cp_strbuf_deinit(&to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_error err;
    cp_hub_shards shards;
    char *text = fuzz_text(data, n);
    if (fuzz_ok(cp_hub_index_read("index", fuzz_str(data, n), &shards, &err), &err)) {
        fuzz_expect(shards.n > 0 && shards.n <= CP_HUB_MAX_SHARDS);
        for (size_t i = 0; i < shards.n; i++)
            expect_part(shards.names[i]);
    }
    cp_hub_shards_deinit(&shards);
    read_fields(text, n);
    read_names(text);
    follow(text, n);
    free(text);
    return 0;
}
