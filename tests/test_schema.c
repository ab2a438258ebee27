/* Compiled schemas byte by byte: what each keyword allows, what is refused and how, and random
 * documents against an independent validator. */
#include "tests/schema_checker.h"

#include "base/utf8.h"
#include "llm/constraint.h"
#include "llm/json_schema.h"

static cp_schema *compile(const char *text) {
    cp_schema *schema;
    cp_error err;
    cp_status status = cp_schema_compile_text("schema", text, strlen(text), &schema, &err);
    if (status != CP_OK)
        fail_msg("%s: %s", text, err.message);
    return schema;
}

/* The whole text is a document of the schema. */
static bool is_document(const cp_schema *schema, const char *text) {
    cp_json_place place;
    cp_json_begin(schema, &place);
    return cp_json_take(schema, &place, (cp_str){text, strlen(text)}) &&
           cp_json_may_end(schema, &place);
}

#define MAX_TEXTS 10
typedef struct keyword_case {
    const char *schema;
    const char *good[MAX_TEXTS], *bad[MAX_TEXTS];
} keyword_case;

static const keyword_case cases[] = {
    {"{\"type\":\"string\"}",
     {"\"\"", "\"a\"", "\"\\n\\u00e9\\ud83d\\ude00\\/\"", "\"\xf0\x9f\x98\x80\xe4\xb8\xad\"",
      "\"\\uD7FF\\uE000\""},
     {"\"", "a", "\"\n\"", "\"\\x\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\\u0000\"", "\"\xc0\x80\"",
      "\"\xed\xa0\x80\"", " \"a\""}},
    {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
     {"\"ab\"", "\"\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\"", "\"a\\n\"", "\"a\\ud83d\\ude00\""},
     {"\"\"", "\"a\"", "\"abcd\"", "\"\xc3\xa9\"", "\"\\ud83d\\ude00\""}},
    {"{\"enum\":[\"cat\",\"category\",1,12,1.5,null,true]}",
     {"\"cat\"", "\"category\"", "1", "12", "1.5", "null", "true"},
     {"\"ca\"", "\"cate\"", "false", "1.", "2", "\"cat\\u0065gory\""}},
    {"{\"const\":\"a\\\"b\"}", {"\"a\\\"b\""}, {"\"a\"", "\"a\\\"\""}},
    {"{\"enum\":[1,2,\"x\",null],\"type\":[\"integer\",\"null\"],\"minimum\":2}",
     {"2", "null"},
     {"1", "\"x\""}},
    {"{\"type\":\"integer\"}",
     {"0", "-1", "9007199254740991", "-9007199254740991"},
     {"-0", "01", "1.0", "1e3", "9007199254740992", "+1", "-"}},
    {"{\"type\":\"integer\",\"minimum\":18,\"maximum\":120}",
     {"18", "19", "99", "100", "120"},
     {"1", "17", "121", "-18", "0", "200"}},
    {"{\"type\":\"integer\",\"exclusiveMinimum\":-3,\"exclusiveMaximum\":2}",
     {"-2", "-1", "0", "1"},
     {"-3", "2", "-0", "10"}},
    {"{\"type\":\"integer\",\"minimum\":0.5,\"maximum\":2.5}", {"1", "2"}, {"0", "3"}},
    {"{\"type\":\"number\"}",
     {"0", "-0.5", "1.25", "999999999999999", "0.000000000000001"},
     {"-0", "-0.0", ".5", "1.", "1e5", "1000000000000000", "00", "0.0000000000000001"}},
    {"{\"type\":\"number\",\"minimum\":0.25,\"maximum\":0.75}",
     {"0.25", "0.3", "0.750", "0.5"},
     {"0", "0.2", "0.76", "1", "-0.5", "0.249"}},
    {"{\"type\":\"number\",\"exclusiveMinimum\":-1,\"exclusiveMaximum\":1}",
     {"-0.999", "0", "0.5", "0.999999999999999"},
     {"1", "-1", "-1.0", "1.0"}},
    {"{\"type\":\"number\",\"minimum\":36.5,\"exclusiveMaximum\":42}",
     {"36.5", "41.9", "40"},
     {"42", "36", "36.49", "3", "4"}},
    {"{\"type\":\"boolean\"}", {"true", "false"}, {"null", "True", "t"}},
    {"{\"type\":\"null\"}", {"null"}, {"nul", "0"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":1,\"maxItems\":2}",
     {"[true]", "[true,false]"},
     {"[]", "[true,]", "[true,true,true]", "[1]", "[true, true]"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}",
     {"[]", "[1,2,3]"},
     {"[1,]", "[,1]", "[1 ]"}},
    {"{\"type\":\"array\",\"maxItems\":0}", {"[]"}, {"[1]"}},
    {"{\"type\":\"array\"}", {"[]", "[1,\"a\",{\"b\":[null]}]"}, {"{}"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"ab\":{\"type\":\"null\"},"
     "\"c\":{\"type\":\"null\"}},\"required\":[\"ab\"]}",
     {"{\"ab\":null}", "{\"a\":null,\"ab\":null}", "{\"ab\":null,\"c\":null}",
      "{\"a\":null,\"ab\":null,\"c\":null}"},
     {"{}", "{\"a\":null}", "{\"c\":null}", "{\"ab\":null,\"a\":null}", "{\"ab\":null,\"ab\":null}",
      "{\"ab\":null,}", "{\"ab\":null,\"d\":1}", "{\"ab\" :null}"}},
    {"{\"type\":\"object\"}", {"{}"}, {"{\"a\":1}"}},
    {"{\"type\":\"object\",\"properties\":{\"o\":{\"type\":\"object\",\"properties\":{\"n\":{"
     "\"type\":"
     "\"integer\"}},\"required\":[\"n\"]}}}",
     {"{}", "{\"o\":{\"n\":7}}"},
     {"{\"o\":{}}", "{\"o\":{\"n\":7}"}},
    {"{\"type\":[\"string\",\"null\"]}", {"null", "\"x\""}, {"1"}},
    {"{\"type\":[\"integer\",\"number\",\"boolean\"],\"maximum\":3}",
     {"3", "2.5", "true"},
     {"4", "null"}},
    {"{\"anyOf\":[{\"type\":\"integer\"},{\"const\":\"auto\"},{\"type\":\"null\"}]}",
     {"7", "\"auto\"", "null"},
     {"\"a\"", "true"}},
    {"{\"oneOf\":[{\"type\":\"object\",\"properties\":{}},{\"type\":\"array\",\"maxItems\":0}]}",
     {"{}", "[]"},
     {"1"}},
    {"{\"$defs\":{\"n\":{\"type\":\"integer\",\"minimum\":1}},\"type\":\"array\",\"items\":{\"$"
     "ref\":"
     "\"#/$defs/n\"}}",
     {"[1,2]"},
     {"[0]"}},
    {"{\"minimum\":3}", {"3", "4.5"}, {"\"a\"", "2"}},
    {"{\"properties\":{\"a\":{}},\"additionalProperties\":false}",
     {"{}", "{\"a\":{\"b\":[1,{}]}}"},
     {"{\"b\":1}"}},
    {"{\"title\":\"t\",\"description\":\"d\",\"$schema\":\"s\",\"default\":1,\"examples\":[{\"x\":"
     "1}],"
     "\"$comment\":\"c\",\"type\":\"null\"}",
     {"null"},
     {"1"}},
    {"{}", {"1", "\"a\"", "{\"k\":{\"l\":[]}}", "[1,null]"}, {"{\"k\"}", "[1,]", "nul"}},
};

static void each_keyword_allows_what_it_says(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cp_schema *schema = compile(cases[i].schema);
        for (size_t k = 0; k < MAX_TEXTS && cases[i].good[k]; k++)
            if (!is_document(schema, cases[i].good[k]))
                fail_msg("%s refuses %s", cases[i].schema, cases[i].good[k]);
        for (size_t k = 0; k < MAX_TEXTS && cases[i].bad[k]; k++)
            if (is_document(schema, cases[i].bad[k]))
                fail_msg("%s allows %s", cases[i].schema, cases[i].bad[k]);
        cp_schema_free(schema);
    }
}

static void json_object_is_any_object(void **state) {
    (void)state;
    cp_schema *schema;
    cp_error err;
    assert_cp_ok(cp_schema_json_object(&schema, &err));
    assert_true(is_document(schema, "{}"));
    assert_true(is_document(schema, "{\"a\":[1,{\"\":null}],\"b\":\"\\u0041\"}"));
    assert_false(is_document(schema, "[]"));
    assert_false(is_document(schema, "{\"a\":}"));
    char deep[400] = "";
    for (int i = 0; i < 40; i++)
        memcpy(deep + 5 * i, "{\"a\":", 6);
    cp_json_place place;
    cp_json_begin(schema, &place);
    assert_false(cp_json_take(schema, &place, (cp_str){deep, strlen(deep)})); /* bounded */
    cp_schema_free(schema);
}

typedef struct refusal {
    const char *schema;
    cp_status status;
    const char *says, *where;
} refusal;

static const refusal refusals[] = {
    {"{\"type\":\"string\",\"pattern\":\"a*\"}", CP_ERR_UNSUPPORTED, "\"pattern\"", "/pattern"},
    {"{\"type\":\"object\",\"properties\":{\"a/b~\":{\"format\":\"date\"}}}", CP_ERR_UNSUPPORTED,
     "\"format\"", "/properties/a~1b~0/format"},
    {"{\"type\":\"array\",\"items\":{\"type\":\"array\",\"uniqueItems\":true}}", CP_ERR_UNSUPPORTED,
     "\"uniqueItems\"", "/items/uniqueItems"},
    {"{\"allOf\":[{}]}", CP_ERR_UNSUPPORTED, "\"allOf\"", "/allOf"},
    {"{\"not\":{}}", CP_ERR_UNSUPPORTED, "\"not\"", "/not"},
    {"{\"if\":{}}", CP_ERR_UNSUPPORTED, "\"if\"", "/if"},
    {"{\"type\":\"number\",\"multipleOf\":2}", CP_ERR_UNSUPPORTED, "\"multipleOf\"", "/multipleOf"},
    {"{\"type\":\"object\",\"patternProperties\":{}}", CP_ERR_UNSUPPORTED, "\"patternProperties\"",
     "/"},
    {"{\"type\":\"object\",\"minProperties\":1}", CP_ERR_UNSUPPORTED, "\"minProperties\"", "/"},
    {"{\"type\":\"array\",\"prefixItems\":[]}", CP_ERR_UNSUPPORTED, "\"prefixItems\"", "/"},
    {"{\"type\":\"array\",\"items\":[{}]}", CP_ERR_UNSUPPORTED, "\"items\"", "/items"},
    {"{\"type\":\"object\",\"additionalProperties\":true}", CP_ERR_UNSUPPORTED,
     "\"additionalProperties\"", "/additionalProperties"},
    {"{\"type\":\"object\",\"required\":[\"a\"]}", CP_ERR_UNSUPPORTED, "\"required\"", "/required"},
    {"{\"type\":\"object\",\"required\":\"a\"}", CP_ERR_FORMAT, "\"required\"", "/required"},
    {"{\"type\":\"object\",\"properties\":[]}", CP_ERR_FORMAT, "\"properties\"", "/properties"},
    {"{\"type\":\"text\"}", CP_ERR_FORMAT, "\"type\"", "/type"},
    {"{\"type\":[]}", CP_ERR_FORMAT, "\"type\"", "/type"},
    {"{\"type\":[\"string\",3]}", CP_ERR_FORMAT, "\"type\"", "/type"},
    {"{\"type\":7}", CP_ERR_FORMAT, "\"type\"", "/type"},
    {"{\"type\":\"string\",\"minLength\":-1}", CP_ERR_FORMAT, "\"minLength\"", "/minLength"},
    {"{\"type\":\"string\",\"maxLength\":1.5}", CP_ERR_FORMAT, "\"maxLength\"", "/maxLength"},
    {"{\"type\":\"string\",\"maxLength\":1e18}", CP_ERR_LIMIT, "\"maxLength\"", "/maxLength"},
    {"{\"type\":\"string\",\"minLength\":3,\"maxLength\":2}", CP_ERR_FORMAT, "\"minLength\"", "/"},
    {"{\"type\":\"array\",\"minItems\":3,\"maxItems\":2}", CP_ERR_FORMAT, "\"minItems\"", "/"},
    {"{\"type\":\"string\",\"minLength\":100000}", CP_ERR_LIMIT, "shortest", ""},
    {"{\"type\":\"array\",\"minItems\":1000000000,\"items\":{\"type\":\"null\"}}", CP_ERR_LIMIT,
     "shortest", ""},
    {"{\"type\":\"integer\",\"minimum\":\"1\"}", CP_ERR_FORMAT, "\"minimum\"", "/minimum"},
    {"{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", CP_ERR_UNSUPPORTED, "integer", "\"\""},
    {"{\"type\":\"integer\",\"exclusiveMinimum\":3,\"exclusiveMaximum\":4}", CP_ERR_UNSUPPORTED,
     "integer", ""},
    {"{\"type\":\"integer\",\"minimum\":1e300}", CP_ERR_UNSUPPORTED, "2^53", ""},
    {"{\"type\":\"number\",\"minimum\":1e15}", CP_ERR_UNSUPPORTED, "10^15", ""},
    {"{\"enum\":[]}", CP_ERR_UNSUPPORTED, "\"enum\"", "/enum"},
    {"{\"enum\":3}", CP_ERR_FORMAT, "\"enum\"", "/enum"},
    {"{\"enum\":[1,{}]}", CP_ERR_UNSUPPORTED, "\"enum\"", "/enum/1"},
    {"{\"const\":[]}", CP_ERR_UNSUPPORTED, "\"const\"", "/const"},
    {"{\"const\":1e300}", CP_ERR_UNSUPPORTED, "2^53", "/const"},
    {"{\"enum\":[1],\"const\":1}", CP_ERR_UNSUPPORTED, "\"const\"", "/const"},
    {"{\"enum\":[\"a\"],\"type\":\"integer\"}", CP_ERR_UNSUPPORTED, "\"enum\"", "/enum"},
    {"{\"anyOf\":[]}", CP_ERR_FORMAT, "\"anyOf\"", "/anyOf"},
    {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"string\"}]}", CP_ERR_UNSUPPORTED, "strings",
     "/anyOf/1"},
    {"{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", CP_ERR_UNSUPPORTED, "numbers",
     "/anyOf/1"},
    {"{\"anyOf\":[{\"type\":\"object\"},{\"type\":\"object\"}]}", CP_ERR_UNSUPPORTED, "objects",
     "/anyOf/1"},
    {"{\"anyOf\":[{\"type\":\"string\"},{\"const\":\"x\"}]}", CP_ERR_UNSUPPORTED, "\"anyOf\"", ""},
    {"{\"anyOf\":[{\"type\":\"null\"}],\"type\":\"null\"}", CP_ERR_UNSUPPORTED, "\"anyOf\"", ""},
    {"{\"anyOf\":[{\"type\":\"null\"}],\"oneOf\":[]}", CP_ERR_UNSUPPORTED, "\"oneOf\"", ""},
    {"{\"$ref\":\"#\"}", CP_ERR_UNSUPPORTED, "\"$ref\"", "/$ref"},
    {"{\"$ref\":\"http://example.org/s\"}", CP_ERR_UNSUPPORTED, "\"$ref\"", "/$ref"},
    {"{\"$ref\":\"#/$defs/a\",\"type\":\"null\",\"$defs\":{\"a\":{}}}", CP_ERR_UNSUPPORTED,
     "\"$ref\"", ""},
    {"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/"
     "a\"}}}}",
     CP_ERR_UNSUPPORTED, "recursion", "/$defs/a/items/$ref"},
    {"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"$ref\":\"#/$defs/"
     "a\"}}}",
     CP_ERR_UNSUPPORTED, "recursion", "/$defs/b/$ref"},
    {"{\"$ref\":7}", CP_ERR_UNSUPPORTED, "\"$ref\"", "/$ref"},
    {"false", CP_ERR_UNSUPPORTED, "not an object", ""},
    {"[]", CP_ERR_UNSUPPORTED, "not an object", ""},
    {"{\"type\":\"array\",\"items\":false}", CP_ERR_UNSUPPORTED, "not an object", "/items"},
    {"{\"x-vendor\":1}", CP_ERR_UNSUPPORTED, "\"x-vendor\"", "/x-vendor"},
    {"{\"type\":\"null\",\"type\":\"null\"}", CP_ERR_FORMAT, "same key", ""},
    {"{\"type\":", CP_ERR_FORMAT, "byte", ""},
};

static void refuses(const char *text, cp_status status, const char *says, const char *where) {
    cp_schema *schema;
    cp_error err = {0};
    cp_status got = cp_schema_compile_text("schema", text, strlen(text), &schema, &err);
    if (got != status || schema || !strstr(err.message, says) || !strstr(err.message, where))
        fail_msg("%.200s: status %d, \"%s\"", text, got, err.message);
}

static void what_is_not_supported_is_refused_by_name(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        refuses(refusals[i].schema, refusals[i].status, refusals[i].says, refusals[i].where);
}

static void repeat(cp_strbuf *out, const char *text, int n) {
    while (n-- > 0)
        cp_strbuf_puts(out, text);
}

/* Small texts that would grow into much work or memory. */
static void hostile_schemas_are_bounded(void **state) {
    (void)state;
    cp_strbuf text;
    cp_strbuf_init(&text, 1 << 20);
    repeat(&text, "{\"type\":\"array\",\"items\":", 30);
    cp_strbuf_puts(&text, "{}");
    repeat(&text, "}", 30);
    refuses(text.data, CP_ERR_LIMIT, "24 deep", "/items/items");

    cp_strbuf_clear(&text); /* each level twice the one below: 2^20 subschemas */
    cp_strbuf_puts(&text, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{\"d20\":{\"type\":\"null\"}");
    for (int i = 0; i < 20; i++)
        cp_strbuf_printf(&text,
                         ",\"d%d\":{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
                         "d%d\"},\"b\":{\"$ref\":\"#/$defs/d%d\"}}}",
                         i, i + 1, i + 1);
    cp_strbuf_puts(&text, "}}");
    refuses(text.data, CP_ERR_LIMIT, "subschemas", "");

    cp_strbuf_clear(&text); /* the same by alternatives, which make no nodes */
    cp_strbuf_puts(&text, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{\"d20\":{\"const\":1}");
    for (int i = 0; i < 20; i++)
        cp_strbuf_printf(
            &text, ",\"d%d\":{\"anyOf\":[{\"$ref\":\"#/$defs/d%d\"},{\"$ref\":\"#/$defs/d%d\"}]}",
            i, i + 1, i + 1);
    cp_strbuf_puts(&text, "}}");
    refuses(text.data, CP_ERR_LIMIT, "subschemas", "");

    cp_strbuf_clear(&text);
    cp_strbuf_puts(&text, "{\"type\":\"object\",\"properties\":{");
    for (int i = 0; i < 300; i++)
        cp_strbuf_printf(&text, "%s\"p%d\":{}", i ? "," : "", i);
    cp_strbuf_puts(&text, "}}");
    refuses(text.data, CP_ERR_LIMIT, "256", "/properties");

    cp_strbuf_clear(&text);
    cp_strbuf_puts(&text, "{\"enum\":[0");
    for (int i = 0; i < 1100; i++)
        cp_strbuf_printf(&text, ",%d", i);
    cp_strbuf_puts(&text, "]}");
    refuses(text.data, CP_ERR_LIMIT, "1024", "/enum");

    cp_strbuf_clear(&text);
    cp_strbuf_puts(&text, "{\"description\":\"");
    repeat(&text, "0123456789abcdef", 5000);
    cp_strbuf_puts(&text, "\"}");
    refuses(text.data, CP_ERR_LIMIT, "larger", "");

    cp_strbuf_clear(&text);
    cp_strbuf_puts(&text, "{\"type\":\"object\",\"properties\":{\"");
    repeat(&text, "0123456789abcdef", 20);
    cp_strbuf_puts(&text, "\":{}}}");
    refuses(text.data, CP_ERR_LIMIT, "256 bytes", "/properties/0123");

    cp_strbuf_clear(&text); /* 24 levels of three elements each */
    repeat(&text, "{\"type\":\"array\",\"minItems\":3,\"items\":", 20);
    cp_strbuf_puts(&text, "{\"type\":\"null\"}");
    repeat(&text, "}", 20);
    refuses(text.data, CP_ERR_LIMIT, "shortest", "");
    cp_strbuf_deinit(&text);
}

/* ---- random documents -------------------------------------------------------------------------
 */

static const char *fault_of(const char *schema, const char *document, size_t n) {
    cp_error err;
    cJSON *tree = cJSON_Parse(schema), *value = NULL;
    static char sentence[600];
    const char *fault = NULL;
    if (cp_json_parse("document", document, n, &value, &err) != CP_OK) {
        snprintf(sentence, sizeof sentence, "%s", err.message);
        /* Names in {} are free: they may repeat. */
        fault = strstr(err.message, "same key twice") && strstr(schema, "{}") ? NULL : sentence;
    } else {
        fault = schema_fault(tree, tree, value);
    }
    cJSON_Delete(tree);
    cJSON_Delete(value);
    return fault;
}

/* One of the bytes that may come, mostly such that the text gets on. */
static int next_byte(const cp_schema *schema, const cp_json_place *place, uint64_t *seed) {
    static const char favourites[] = "\"},]{[:019-.aunt\\ud8\xc3\xe4\xf0";
    for (int tries = 0; tries < 400; tries++) {
        uint64_t random = test_random(seed) >> 20;
        int byte = random % 3 ? (unsigned char)favourites[(random >> 8) % (sizeof favourites - 1)]
                              : (int)((random >> 8) & 255);
        cp_json_place next;
        cp_json_place_copy(&next, place);
        if (cp_json_step(schema, &next, (unsigned char)byte))
            return byte;
    }
    for (int byte = 0; byte < 256; byte++) {
        cp_json_place next;
        cp_json_place_copy(&next, place);
        if (cp_json_step(schema, &next, (unsigned char)byte))
            return byte;
    }
    return -1;
}

/* Writes bytes at random, up to n of them, then closes. */
static void check_random_document(const char *text, const cp_schema *schema, uint64_t *seed,
                                  unsigned n) {
    cp_json_place place;
    cp_strbuf document;
    cp_strbuf_init(&document, 1 << 20);
    cp_json_begin(schema, &place);
    while (place.n_frames > 0 && document.n < n) {
        int byte = next_byte(schema, &place, seed);
        if (byte < 0 && cp_json_may_end(schema, &place))
            break;
        if (byte < 0)
            fail_msg("%s: dead end after %s", text, cp_strbuf_text(&document));
        assert_true(cp_json_step(schema, &place, (unsigned char)byte));
        cp_strbuf_putc(&document, (char)byte);
    }
    size_t cut = document.n;
    cp_json_close(schema, &place, &document);
    assert_int_equal(document.failed, CP_OK);
    const char *fault = fault_of(text, cp_strbuf_text(&document), document.n);
    if (fault)
        fail_msg("%s: %s, cut at %zu: %s", text, fault, cut, document.data);
    cp_json_begin(schema, &place);
    assert_true(cp_json_take(schema, &place, cp_strbuf_str(&document)));
    assert_true(cp_json_may_end(schema, &place));
    cp_strbuf_deinit(&document);
}

static void random_documents_are_valid_wherever_they_are_cut(void **state) {
    (void)state;
    uint64_t seed = 0x5eed;
    print_message("seed %#llx\n", (unsigned long long)seed);
    for (int i = 0; i < 600; i++) {
        cp_strbuf text;
        cp_error err;
        cp_schema *schema;
        cp_strbuf_init(&text, 1 << 20);
        schema_random(&seed, &text);
        cp_status status = cp_schema_compile_text("schema", text.data, text.n, &schema, &err);
        if (status != CP_OK && !strstr(err.message, "between") && status != CP_ERR_LIMIT)
            fail_msg("%s: %s", text.data, err.message);
        for (int k = 0; k < 12 && status == CP_OK; k++)
            check_random_document(text.data, schema, &seed,
                                  (unsigned)(test_random(&seed) >> 40) % 400);
        cp_schema_free(schema);
        cp_strbuf_deinit(&text);
    }
}

/* All numbers that can be written in a range with few digits are just those that lie in it. */
static void number_ranges_are_exact(void **state) {
    (void)state;
    uint64_t seed = 77;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < 300; i++) {
        cp_number_range range;
        double lo = (double)((int)(test_random(&seed) >> 40) % 4000 - 2000) / 16,
               hi = lo + (double)((test_random(&seed) >> 40) % 500) / 8;
        bool integer = test_random(&seed) >> 40 & 1, exclusive = test_random(&seed) >> 41 & 1;
        bool some = cp_number_range_set(&range, integer, lo, exclusive, hi, exclusive);
        for (int k = -140000; k < 160000 && some; k += 7) { /* thousandths */
            char number[32];
            double x = k / 1000.0;
            int n =
                snprintf(number, sizeof number, integer ? "%.0f" : "%.3f", integer ? k / 50 : x);
            x = strtod(number, NULL);
            cp_number_place place = {0};
            bool taken = true;
            for (int c = 0; c < n && taken; c++)
                taken = cp_number_step(&range, &place, (unsigned char)number[c]);
            taken = taken && cp_number_is_final(&range, &place);
            bool inside = exclusive ? x > lo && x < hi : x >= lo && x <= hi;
            inside = inside && !(number[0] == '-' && x == 0);
            if (taken != inside)
                fail_msg("%s in %.17g to %.17g%s: %d", number, lo, hi,
                         exclusive ? " exclusive" : "", taken);
        }
    }
}

static void the_shortest_document_is_known(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"{\"type\":\"integer\",\"minimum\":20,\"maximum\":250}", "20"},
        {"{\"type\":\"number\",\"minimum\":-5.5,\"maximum\":-0.5}", "-1"},
        {"{\"type\":\"number\",\"minimum\":0.25,\"maximum\":0.26}", "0.25"},
        {"{\"type\":\"integer\",\"minimum\":123456}", "123456"},
        {"{\"enum\":[\"category\",\"cat\",1234567]}", "\"cat\""},
        {"{\"type\":[\"integer\",\"null\"]}", "null"},
        {"{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":2}", "[true,true]"},
        {"{\"properties\":{\"a\":{},\"b\":{\"type\":\"string\",\"minLength\":2}},\"required\":["
         "\"b\"]}",
         "{\"b\":\"  \"}"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        cp_schema *schema = compile(pairs[i][0]);
        cp_json_place place;
        cp_strbuf text;
        cp_strbuf_init(&text, 1000);
        cp_json_begin(schema, &place);
        cp_json_close(schema, &place, &text);
        assert_string_equal(cp_strbuf_text(&text), pairs[i][1]);
        cp_strbuf_deinit(&text);
        cp_schema_free(schema);
    }
}

static void no_allocation_failure_hurts_a_schema(void **state) {
    (void)state;
    static const char text[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[\"x\",1]},\"b\":{\"type\":\"array\","
        "\"items\":{\"$ref\":\"#/$defs/n\"},\"minItems\":2}},\"required\":[\"b\"],\"$defs\":{\"n\":"
        "{\"type\":\"number\"}}}";
    cp_error err;
    test_alloc_reset();
    cp_schema_free(compile(text));
    long n = test_alloc_count();
    assert_true(n > 10);
    for (long i = 1; i <= n; i++) {
        cp_schema *schema;
        test_alloc_fail_at(i, i % 2);
        cp_status status = cp_schema_compile_text("schema", text, strlen(text), &schema, &err);
        test_alloc_fail_at(0, 0);
        if (status == CP_OK)
            cp_schema_free(schema);
        else if (status != CP_ERR_NO_MEMORY || schema)
            fail_msg("allocation %ld: %s", i, err.message);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_keyword_allows_what_it_says),
    cmocka_unit_test(json_object_is_any_object),
    cmocka_unit_test(what_is_not_supported_is_refused_by_name),
    cmocka_unit_test(hostile_schemas_are_bounded),
    cmocka_unit_test(random_documents_are_valid_wherever_they_are_cut),
    cmocka_unit_test(number_ranges_are_exact),
    cmocka_unit_test(the_shortest_document_is_known),
    cmocka_unit_test(no_allocation_failure_hurts_a_schema),
};
CP_TEST_GROUP(schema, tests)
