/* Structured output over tokens: masks against the plain definition, whole answers drawn at random
 * with the real Qwen3 tokenizer, budgets, thinking, and a whole model. */
#include "tests/schema_checker.h"

#include "base/clock.h"
#include "base/mem.h"
#include "llm/json_schema.h"
#include "llm/llm.h"
#include "llm/token_masks.h"

#define QWEN        "models/qwen3-tokenizer"
#define MODEL       GOLDEN "/models/tied-gqa2"
#define QWEN_VOCAB  151936
#define IM_END      151645
#define END_OF_TEXT 151643

/* ---- a tokenizer with its masks, and logits at random ------------------------------------------
 */

typedef struct fixture {
    cp_tokenizer *tok;
    cp_masks *masks;
    cp_sampler *sampler;
    float *noise; /* [2 * QWEN_VOCAB]; logits begin anywhere in its first half */
    uint64_t seed;
} fixture;

static int set_up(void **state) {
    static fixture f;
    cp_error err;
    const int32_t stops[] = {IM_END, END_OF_TEXT};
    f = (fixture){.seed = 20260101};
    assert_cp_ok(cp_tokenizer_open(QWEN, &f.tok, &err));
    assert_cp_ok(cp_masks_create(f.tok, QWEN_VOCAB, stops, 2, 0, &f.masks, &err));
    assert_cp_ok(cp_sampler_create(QWEN_VOCAB, &f.sampler, &err));
    f.noise = malloc(2 * QWEN_VOCAB * sizeof *f.noise);
    assert_non_null(f.noise);
    for (size_t i = 0; i < 2 * QWEN_VOCAB; i++) { /* a sum of uniforms: bell-shaped, spread 3 */
        double sum = 0;
        for (int k = 0; k < 4; k++)
            sum += (double)(test_random(&f.seed) >> 40) / (1 << 24) - 0.5;
        f.noise[i] = (float)(sum * 5);
    }
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    cp_sampler_free(f->sampler);
    cp_masks_free(f->masks);
    cp_tokenizer_close(f->tok);
    free(f->noise);
    return 0;
}

static unsigned pick(fixture *f, unsigned n) {
    return (unsigned)(test_random(&f->seed) >> 33) % n;
}

static const float *some_logits(fixture *f) {
    return f->noise + pick(f, QWEN_VOCAB);
}

static cp_schema *compile(const char *text) {
    cp_schema *schema;
    cp_error err;
    if (cp_schema_compile_text("schema", text, strlen(text), &schema, &err) != CP_OK)
        fail_msg("%s: %s", text, err.message);
    return schema;
}

/* ---- whole answers ----------------------------------------------------------------------------
 */

typedef struct answer {
    cp_strbuf text;
    size_t n_drawn, n_forced, n_tail;
    cp_turn_kind last;
} answer;

static void keep(fixture *f, answer *a, const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++) {
        cp_str bytes = cp_tokenizer_id_bytes(f->tok, ids[i]);
        if (ids[i] != IM_END && ids[i] != END_OF_TEXT)
            cp_strbuf_append(&a->text, bytes.data, bytes.n);
    }
}

/* What the loop of a scheduler does, with random logits. */
static answer write_answer(fixture *f, const cp_schema *schema, cp_arm arm, size_t budget) {
    answer a = {0};
    cp_constraint c;
    cp_error err;
    cp_turn turn;
    cp_strbuf_init(&a.text, 1 << 20);
    assert_cp_ok(cp_constraint_start(&c, f->masks, schema, arm, &err));
    for (;;) {
        size_t used = a.n_drawn + a.n_forced, left = budget > used ? budget - used : 0;
        assert_cp_ok(cp_constraint_turn(&c, f->masks, left, &turn, &err));
        a.last = turn.kind;
        if (turn.kind == CP_TURN_DRAW) {
            cp_accept result;
            assert_true(left > 0);
            int32_t id = cp_sampler_next_allowed(f->sampler, some_logits(f), turn.mask);
            assert_true(cp_bit_get(turn.mask, id));
            assert_cp_ok(cp_constraint_accept(&c, f->masks, id, left - 1, &result, &err));
            assert_int_not_equal(result, CP_ACCEPT_ILLEGAL);
            if (result == CP_ACCEPT_OK) {
                keep(f, &a, &id, 1);
                a.n_drawn++;
                continue;
            }
            assert_cp_ok(cp_constraint_turn(&c, f->masks, 0, &turn, &err));
            a.last = turn.kind;
        }
        if (turn.kind == CP_TURN_END)
            return a;
        keep(f, &a, turn.ids, turn.n);
        if (turn.kind == CP_TURN_CLOSE) {
            a.n_tail = turn.n;
            return a;
        }
        a.n_forced += turn.n;
    }
}

static const char *fault_of(const char *schema, const cp_strbuf *document) {
    static char sentence[600];
    cp_error err;
    cJSON *tree = cJSON_Parse(schema), *value = NULL;
    const char *fault = NULL;
    if (cp_json_parse("document", cp_strbuf_text(document), document->n, &value, &err) == CP_OK) {
        fault = schema_fault(tree, tree, value);
    } else if (!strstr(err.message, "same key twice") || !strstr(schema, "{}")) {
        snprintf(sentence, sizeof sentence, "%s", err.message); /* names in {} may repeat */
        fault = sentence;
    }
    cJSON_Delete(tree);
    cJSON_Delete(value);
    return fault;
}

static void start_sampler(fixture *f) {
    static const int64_t top_k[] = {1, 5, 20, 50, 50};
    static const double min_p[] = {0, 0, 0, 0.05};
    cp_sampling sampling = {.temperature = 2,
                            .top_k = pick(f, 200) ? top_k[pick(f, 5)] : 0,
                            .top_p = pick(f, 2) ? 1 : 0.95,
                            .min_p = min_p[pick(f, 4)],
                            .seed = f->seed};
    cp_sampler_start(f->sampler, &sampling);
}

static void random_answers_are_valid_at_any_budget(void **state) {
    fixture *f = *state;
    size_t n_cut = 0, n_whole = 0, n_over = 0;
    print_message("seed %llu\n", (unsigned long long)f->seed);
    for (int i = 0; i < 120; i++) {
        cp_strbuf text;
        cp_error err;
        cp_schema *schema;
        cp_strbuf_init(&text, 1 << 20);
        schema_random(&f->seed, &text);
        cp_status status = cp_schema_compile_text("schema", text.data, text.n, &schema, &err);
        for (int k = 0; k < 4 && status == CP_OK; k++) {
            size_t budget = k == 3 ? 400 : pick(f, 80);
            start_sampler(f);
            answer a = write_answer(f, schema, CP_ARM_NOW, budget);
            const char *fault = fault_of(text.data, &a.text);
            if (fault)
                fail_msg("%s: %s, budget %zu: %s", text.data, fault, budget, a.text.data);
            n_cut += a.last == CP_TURN_CLOSE;
            n_whole += a.last == CP_TURN_END;
            n_over += a.n_drawn + a.n_forced + a.n_tail > budget;
            cp_strbuf_deinit(&a.text);
        }
        cp_schema_free(schema);
        cp_strbuf_deinit(&text);
    }
    print_message("%zu cut, %zu whole, %zu over the budget\n", n_cut, n_whole, n_over);
    assert_true(n_cut > 30 && n_whole > 30);
}

/* Only a budget that is too small from the start is exceeded. */
static void closing_keeps_the_budget(void **state) {
    fixture *f = *state;
    cp_schema *schema = compile(
        "{\"type\":\"array\",\"maxItems\":50,\"items\":{\"type\":\"object\",\"properties\":{"
        "\"identifier\":{\"type\":\"string\"},\"more\":{\"type\":\"array\",\"items\":{\"type\":"
        "\"string\",\"minLength\":30}}},\"required\":[\"identifier\",\"more\"]}}");
    for (size_t budget = 2; budget < 120; budget++) {
        start_sampler(f);
        answer a = write_answer(f, schema, CP_ARM_NOW, budget);
        if (a.n_drawn + a.n_forced + a.n_tail > budget)
            fail_msg("budget %zu: %zu drawn, %zu forced, %zu tail: %s", budget, a.n_drawn,
                     a.n_forced, a.n_tail, a.text.data);
        cp_strbuf_deinit(&a.text);
    }
    cp_schema_free(schema);
}

static void json_objects_are_objects(void **state) {
    fixture *f = *state;
    cp_schema *schema;
    cp_error err;
    assert_cp_ok(cp_schema_json_object(&schema, &err));
    for (int i = 0; i < 60; i++) {
        start_sampler(f);
        answer a = write_answer(f, schema, CP_ARM_NOW, pick(f, 150));
        const char *fault = fault_of("{\"type\":\"object\",\"properties\":{}}", &a.text);
        if (a.text.data[0] != '{' || (fault && !strstr(fault, "member")))
            fail_msg("%s: %s", fault ? fault : "no object", a.text.data);
        cp_strbuf_deinit(&a.text);
    }
    cp_schema_free(schema);
}

/* ---- masks ------------------------------------------------------------------------------------
 */

static const char wide_schema[] =
    "{\"type\":\"object\",\"properties\":{\"acuity\":{\"type\":\"integer\",\"minimum\":1,"
    "\"maximum\":"
    "15},\"tags\":{\"type\":\"array\",\"items\":{\"enum\":[\"cat\",\"category\",\"h\xc3\xa9\"]},"
    "\"maxItems\":4},\"text\":{\"type\":\"string\",\"minLength\":3,\"maxLength\":40},\"long\":{"
    "\"type\":"
    "\"string\"},\"list\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":12},"
    "\"minItems\":2},\"any\":{},\"x\":{\"type\":[\"number\",\"null\"],\"minimum\":-2.5,\"maximum\":"
    "3}},"
    "\"required\":[\"acuity\",\"text\",\"list\",\"x\"]}";

/* The mask is what taking each token byte by byte says. */
static void check_mask(fixture *f, const cp_constraint *c, const uint64_t *mask) {
    for (int32_t id = 0; id < QWEN_VOCAB; id++) {
        cp_str bytes = cp_tokenizer_id_bytes(f->tok, id);
        bool legal;
        if (id == IM_END || id == END_OF_TEXT) {
            legal = cp_json_may_end(c->schema, &c->place);
        } else {
            cp_json_place next;
            cp_json_place_copy(&next, &c->place);
            legal = bytes.n > 0 && id < END_OF_TEXT && cp_json_take(c->schema, &next, bytes);
        }
        if (legal != cp_bit_get(mask, id))
            fail_msg("token %d \"%.*s\": mask says %d", (int)id, (int)bytes.n, bytes.data, !legal);
    }
}

static void masks_are_exact(void **state) {
    fixture *f = *state;
    cp_schema *schema = compile(wide_schema), *any = compile("{}");
    print_message("seed %llu\n", (unsigned long long)f->seed);
    for (int i = 0; i < 12; i++) {
        cp_constraint c;
        cp_turn turn;
        cp_error err;
        start_sampler(f);
        assert_cp_ok(cp_constraint_start(&c, f->masks, i % 3 ? schema : any, CP_ARM_NOW, &err));
        for (int n = 0; n < 60; n++) {
            cp_accept result;
            assert_cp_ok(cp_constraint_turn(&c, f->masks, 100000, &turn, &err));
            if (turn.kind == CP_TURN_END)
                break;
            if (turn.kind != CP_TURN_DRAW)
                continue;
            if (pick(f, 3) == 0)
                check_mask(f, &c, turn.mask);
            int32_t id = cp_sampler_next_allowed(f->sampler, some_logits(f), turn.mask);
            assert_cp_ok(cp_constraint_accept(&c, f->masks, id, 100000, &result, &err));
            assert_int_equal(result, CP_ACCEPT_OK);
        }
    }
    cp_schema_free(schema);
    cp_schema_free(any);
}

/* A cache of the least size gives the same answers as one that holds everything. */
static void a_full_cache_changes_nothing(void **state) {
    fixture *f = *state;
    const int32_t stops[] = {IM_END};
    cp_error err;
    cp_masks *large = f->masks, *small;
    assert_cp_ok(cp_masks_create(f->tok, QWEN_VOCAB, stops, 1, 1, &small, &err));
    cp_schema *schema = compile(wide_schema);
    for (int i = 0; i < 5; i++) {
        uint64_t seed = f->seed;
        start_sampler(f);
        answer a = write_answer(f, schema, CP_ARM_NOW, 200);
        f->seed = seed;
        f->masks = small;
        start_sampler(f);
        answer b = write_answer(f, schema, CP_ARM_NOW, 200);
        f->masks = large;
        assert_string_equal(a.text.data, b.text.data);
        cp_strbuf_deinit(&a.text);
        cp_strbuf_deinit(&b.text);
    }
    cp_schema_free(schema);
    cp_masks_free(small);
}

/* The same schema compiled anew finds the masks of the first; more schemas than are remembered do
 * no harm. */
static void masks_are_found_again(void **state) {
    fixture *f = *state;
    cp_masks_stats stats;
    uint64_t seed = f->seed;
    for (int round = 0; round < 2; round++) {
        cp_schema *schema = compile(wide_schema);
        f->seed = seed;
        start_sampler(f);
        (void)cp_masks_take_stats(f->masks);
        answer a = write_answer(f, schema, CP_ARM_NOW, 150);
        stats = cp_masks_take_stats(f->masks);
        cp_strbuf_deinit(&a.text);
        cp_schema_free(schema);
    }
    assert_int_equal(stats.misses, 0);
    assert_true(stats.hits > 10);
    for (int i = 0; i < 100; i++) {
        char text[64];
        cp_constraint c;
        cp_error err;
        snprintf(text, sizeof text, "{\"const\":%d}", i);
        cp_schema *schema = compile(text);
        assert_cp_ok(cp_constraint_start(&c, f->masks, schema, CP_ARM_NOW, &err));
        cp_schema_free(schema);
    }
}

/* ---- turns ------------------------------------------------------------------------------------
 */

/* What the first turn appends, as text; "" when it draws. */
static const char *first_forced(fixture *f, const char *schema_text) {
    static char text[512];
    cp_schema *schema = compile(schema_text);
    cp_constraint c;
    cp_turn turn;
    cp_error err;
    size_t n = 0;
    assert_cp_ok(cp_constraint_start(&c, f->masks, schema, CP_ARM_NOW, &err));
    assert_cp_ok(cp_constraint_turn(&c, f->masks, 1000, &turn, &err));
    for (size_t i = 0; turn.kind == CP_TURN_APPEND && i < turn.n; i++) {
        cp_str bytes = cp_tokenizer_id_bytes(f->tok, turn.ids[i]);
        memcpy(text + n, bytes.data, bytes.n);
        n += bytes.n;
    }
    text[n] = '\0';
    cp_schema_free(schema);
    return text;
}

static void what_has_no_choice_is_forced(void **state) {
    fixture *f = *state;
    /* A free text begins: all of the name and its quotes. */
    assert_string_equal(first_forced(f,
                                     "{\"type\":\"object\",\"properties\":{\"summary\":{\"type\":"
                                     "\"string\"}},\"required\":[\"summary\"]}"),
                        "{\"summary\":\"");
    assert_string_equal(first_forced(f, "{\"const\":\"all of it\"}"), "\"all of it\"");
    /* "cat" may be the beginning of the token "category": it is left to be drawn. */
    assert_string_equal(first_forced(f, "{\"enum\":[\"cat\",\"category\"]}"), "\"");
    assert_string_equal(first_forced(f, "{\"type\":\"object\"}"), "{}");
    assert_string_equal(first_forced(f, "{\"type\":\"string\"}"), "\"");
    assert_string_equal(first_forced(f, "{\"type\":\"integer\"}"), "");
    assert_string_equal(first_forced(f, "{\"type\":\"string\",\"maxLength\":0}"), "\"\"");
    assert_string_equal(first_forced(f, "{\"enum\":[\"\xc3\xa9\",\"\xc3\xa8\"]}"), "\"");
    /* A decomposed name, which the tokenizer would compose. */
    assert_string_equal(first_forced(f, "{\"const\":\"e\xcc\x81\"}"), "\"e\xcc\x81\"");
}

static void only_the_stop_token_ends_a_document(void **state) {
    fixture *f = *state;
    cp_schema *schema = compile("{\"enum\":[1,12]}");
    cp_constraint c;
    cp_turn turn;
    cp_accept result;
    cp_error err;
    cp_ids one = {0};
    assert_cp_ok(cp_tokenizer_encode(f->tok, "1", 1, &(cp_encode_options){0}, &one, &err));
    assert_cp_ok(cp_constraint_start(&c, f->masks, schema, CP_ARM_NOW, &err));
    assert_cp_ok(cp_constraint_accept(&c, f->masks, IM_END, 9, &result, &err));
    assert_int_equal(result, CP_ACCEPT_ILLEGAL);
    assert_cp_ok(cp_constraint_turn(&c, f->masks, 10, &turn, &err));
    assert_int_equal(turn.kind, CP_TURN_APPEND); /* no token begins with 1 and goes on */
    assert_cp_ok(cp_constraint_turn(&c, f->masks, 9, &turn, &err));
    assert_int_equal(turn.kind, CP_TURN_DRAW);
    assert_true(cp_bit_get(turn.mask, IM_END) && cp_bit_get(turn.mask, END_OF_TEXT));
    assert_cp_ok(cp_constraint_accept(&c, f->masks, one.ids[0], 8, &result, &err));
    assert_int_equal(result, CP_ACCEPT_ILLEGAL); /* 11 */
    cp_constraint copy = c;
    assert_cp_ok(cp_constraint_accept(&copy, f->masks, IM_END, 8, &result, &err));
    assert_int_equal(result, CP_ACCEPT_OK);
    assert_true(cp_constraint_is_complete(&copy) && !cp_constraint_is_complete(&c));
    assert_cp_ok(cp_constraint_turn(&copy, f->masks, 8, &turn, &err));
    assert_int_equal(turn.kind, CP_TURN_END);
    cp_ids_deinit(&one);
    cp_schema_free(schema);
}

static void control_tokens_are_never_text(void **state) {
    fixture *f = *state;
    cp_schema *schema = compile("{\"type\":\"string\"}");
    cp_constraint c;
    cp_turn turn;
    cp_error err;
    assert_cp_ok(cp_constraint_start(&c, f->masks, schema, CP_ARM_NOW, &err));
    assert_cp_ok(cp_constraint_turn(&c, f->masks, 100, &turn, &err));
    assert_cp_ok(cp_constraint_turn(&c, f->masks, 100, &turn, &err));
    assert_int_equal(turn.kind, CP_TURN_DRAW);
    for (int32_t id = END_OF_TEXT; id < QWEN_VOCAB; id++) {
        cp_accept result;
        assert_false(cp_bit_get(turn.mask, id));
        assert_cp_ok(cp_constraint_accept(&c, f->masks, id, 100, &result, &err));
        assert_int_equal(result, CP_ACCEPT_ILLEGAL);
    }
    cp_schema_free(schema);
}

static void thinking_is_free_and_always_ends(void **state) {
    fixture *f = *state;
    int32_t open = cp_tokenizer_added_id(f->tok, "<think>"),
            close = cp_tokenizer_added_id(f->tok, "</think>");
    cp_schema *schema =
        compile("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},"
                "\"required\":[\"a\"]}");
    cp_constraint c;
    cp_turn turn;
    cp_accept result;
    cp_error err;
    assert_cp_ok(cp_constraint_start(&c, f->masks, schema, CP_ARM_OPEN_THOUGHT, &err));
    assert_cp_ok(cp_constraint_turn(&c, f->masks, 100, &turn, &err));
    assert_true(turn.kind == CP_TURN_APPEND && turn.n == 1 && turn.ids[0] == open);
    assert_false(cp_constraint_is_armed(&c));
    assert_cp_ok(cp_constraint_turn(&c, f->masks, 99, &turn, &err));
    assert_int_equal(turn.kind, CP_TURN_DRAW);
    assert_true(cp_bit_get(turn.mask, close) && cp_bit_get(turn.mask, 1000));
    assert_false(cp_bit_get(turn.mask, IM_END) || cp_bit_get(turn.mask, open));
    assert_cp_ok(cp_constraint_accept(&c, f->masks, 1000, 98, &result, &err));
    assert_int_equal(result, CP_ACCEPT_OK);
    assert_cp_ok(cp_constraint_accept(&c, f->masks, IM_END, 98, &result, &err));
    assert_int_equal(result, CP_ACCEPT_ILLEGAL);
    cp_constraint cut = c;
    assert_cp_ok(cp_constraint_accept(&c, f->masks, close, 97, &result, &err));
    assert_cp_ok(cp_constraint_turn(&c, f->masks, 97, &turn, &err)); /* the blank line */
    assert_int_equal(turn.kind, CP_TURN_APPEND);
    assert_true(cp_constraint_is_armed(&c));
    assert_cp_ok(cp_constraint_turn(&c, f->masks, 96, &turn, &err));
    assert_int_equal(turn.kind, CP_TURN_APPEND); /* {"a": */

    assert_cp_ok(cp_constraint_turn(&cut, f->masks, 3, &turn, &err)); /* in the thought */
    assert_int_equal(turn.kind, CP_TURN_CLOSE);
    assert_int_equal(turn.ids[0], close);
    cp_strbuf text;
    cp_strbuf_init(&text, 1000);
    assert_cp_ok(cp_tokenizer_decode(f->tok, turn.ids + 1, turn.n - 1, true, &text, &err));
    assert_string_equal(text.data, "\n\n{\"a\":0}");
    cp_strbuf_deinit(&text);
    cp_schema_free(schema);
}

/* ---- speed ------------------------------------------------------------------------------------
 */

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Times turns and accepts, first with an empty cache, then again. The bound is loose: sanitizers
 * and busy machines run this, too. */
static void masks_cost_little(void **state) {
    fixture *f = *state;
    cp_schema *schema = compile(wide_schema);
    static double ms[4000];
    const char *names[] = {"cold", "warm"};
    uint64_t seed = f->seed;
    const int32_t stops[] = {IM_END};
    cp_error err;
    cp_masks *masks;
    uint64_t start = cp_clock_ns();
    assert_cp_ok(cp_masks_create(f->tok, QWEN_VOCAB, stops, 1, 0, &masks, &err));
    print_message("made in %.0f ms; %zu nodes, %zu at the edge of texts, longest %u characters, %u "
                  "elements; %.1f MiB\n",
                  cp_clock_ms_since(start), masks->trie.all.n, masks->trie.edge.n,
                  masks->trie.max_chars, masks->trie.max_elements,
                  (double)cp_masks_take_stats(masks).bytes / (1 << 20));
    for (int round = 0; round < 2; round++) {
        size_t n = 0;
        f->seed = seed;
        for (int i = 0; i < 12; i++) {
            cp_constraint c;
            cp_turn turn = {0};
            start_sampler(f);
            assert_cp_ok(cp_constraint_start(&c, masks, schema, CP_ARM_NOW, &err));
            for (int k = 0; k < 300 && turn.kind != CP_TURN_END && n < 4000; k++) {
                start = cp_clock_ns();
                assert_cp_ok(cp_constraint_turn(&c, masks, 1000, &turn, &err));
                ms[n] = cp_clock_ms_since(start);
                if (turn.kind == CP_TURN_DRAW) {
                    cp_accept result;
                    int32_t id = cp_sampler_next_allowed(f->sampler, some_logits(f), turn.mask);
                    start = cp_clock_ns();
                    assert_cp_ok(cp_constraint_accept(&c, masks, id, 1000, &result, &err));
                    ms[n] += cp_clock_ms_since(start);
                }
                n++;
            }
        }
        cp_masks_stats stats = cp_masks_take_stats(masks);
        double sum = 0;
        qsort(ms, n, sizeof *ms, compare_doubles);
        for (size_t i = 0; i < n; i++)
            sum += ms[i];
        print_message("%s: %zu turns, median %.4f ms, mean %.4f, 99%% %.3f, worst %.3f; %llu hits, "
                      "%llu misses\n",
                      names[round], n, ms[n / 2], sum / (double)n, ms[n * 99 / 100], ms[n - 1],
                      (unsigned long long)stats.hits, (unsigned long long)stats.misses);
        assert_true(sum / (double)n < 10);
    }
    cp_masks_free(masks);
    cp_schema_free(schema);
}

/* ---- a whole model ----------------------------------------------------------------------------
 */

static const char small_schema[] =
    "{\"type\":\"object\",\"properties\":{\"acuity\":{\"type\":\"integer\",\"minimum\":1,"
    "\"maximum\":5},"
    "\"why\":{\"type\":\"string\",\"maxLength\":20},\"tags\":{\"type\":\"array\",\"items\":{"
    "\"type\":"
    "\"string\",\"maxLength\":5},\"maxItems\":2}},\"required\":[\"acuity\",\"why\",\"tags\"]}";

static cp_status generate(const cp_schema *schema, size_t max_new, const char *stop, bool chat,
                          cp_thinking thinking, cp_llm_result *result, cp_error *err) {
    static const int32_t ids[] = {5, 17, 29};
    cp_llm *llm;
    cp_chat_message message = {.role = CP_ROLE_USER, .content = "x"};
    cp_llm_request request = {.ids = ids,
                              .n_ids = 3,
                              .messages = chat ? &message : NULL,
                              .n_messages = chat,
                              .thinking = thinking,
                              .schema = schema,
                              .stops = {stop},
                              .max_new_tokens = max_new,
                              .sampling = {.temperature = 2, .top_p = 1, .seed = max_new}};
    cp_llm_result_init(result);
    cp_status status =
        cp_llm_open(MODEL, &(cp_llm_options){.n_threads = 1, .context_cap = 200}, &llm, err);
    if (status != CP_OK)
        return status;
    status = cp_llm_generate(llm, &request, result, err);
    cp_llm_close(llm);
    return status;
}

static void a_model_answers_in_the_schema(void **state) {
    cp_schema *schema = compile(small_schema);
    cp_error err;
    (void)state;
    for (size_t max_new = 1; max_new < 400; max_new += max_new < 60 ? 7 : 90) {
        for (int chat = 0; chat < 3; chat++) {
            cp_llm_result result;
            assert_cp_ok(generate(schema, max_new, NULL, chat > 0,
                                  chat == 2 ? CP_THINKING_OFF : CP_THINKING_DEFAULT, &result,
                                  &err));
            const char *fault = fault_of(small_schema, &result.answer);
            if (fault)
                fail_msg("%s, %zu tokens: %s", fault, max_new, result.answer.data);
            const cp_structured_report *report = &result.structured;
            assert_int_equal(result.finish == CP_FINISH_LENGTH, report->tail_tokens > 0);
            assert_true(report->tail_bytes <= result.answer.n && report->n_turns > 0);
            assert_true(result.sampled_tokens <= max_new);
            assert_int_equal(result.sampled_tokens + result.appended_tokens, result.ids.n);
            cp_llm_result_deinit(&result);
        }
    }
    cp_llm_result result;
    assert_int_equal(generate(schema, 9, "x", false, CP_THINKING_DEFAULT, &result, &err),
                     CP_ERR_USAGE);
    cp_llm_result_deinit(&result);
    cp_schema_free(schema);
}

static void no_allocation_failure_hurts_an_answer(void **state) {
    cp_schema *schema = compile(small_schema);
    cp_llm_result result;
    cp_error err;
    (void)state;
    test_alloc_reset();
    assert_cp_ok(generate(schema, 40, NULL, false, CP_THINKING_DEFAULT, &result, &err));
    cp_llm_result_deinit(&result);
    long n = test_alloc_count(), step = n / 300 + 1;
    for (long i = 1; i <= n; i += i > n - 150 ? 1 : step) {
        test_alloc_fail_at(i, i % 2);
        cp_status status = generate(schema, 40, NULL, false, CP_THINKING_DEFAULT, &result, &err);
        test_alloc_fail_at(0, 0);
        if (status == CP_OK && fault_of(small_schema, &result.answer))
            fail_msg("allocation %ld of %ld: %s", i, n, cp_strbuf_text(&result.answer));
        if (status != CP_OK && status != CP_ERR_NO_MEMORY && !strstr(err.message, "memory"))
            fail_msg("allocation %ld of %ld: status %d, \"%s\"", i, n, status, err.message);
        cp_llm_result_deinit(&result);
    }
    cp_schema_free(schema);
}

/* ---- the command ------------------------------------------------------------------------------
 */

static test_run carepath(const char *const *argv) {
    return test_run_program(argv, NULL, NULL);
}

static void generate_takes_a_schema(void **state) {
    (void)state;
    const char *path = test_path(test_tmp_dir(), "schema.json");
    test_write_file(path, small_schema, strlen(small_schema));
    test_run run = carepath((const char *[]){NULL, "generate", "--model", MODEL, "--ids", "[3]",
                                             "--json-schema", path, "--temperature", "2",
                                             "--max-new", "60", NULL});
    assert_int_equal(run.exit_code, 0);
    while (run.out.n > 0 && run.out.data[run.out.n - 1] == '\n')
        cp_strbuf_truncate(&run.out, run.out.n - 1);
    assert_null(fault_of(small_schema, &run.out));
    test_run_free(&run);

    run = carepath((const char *[]){NULL, "generate", "--model", MODEL, "--ids", "[3]",
                                    "--json-object", "--json", "--max-new", "20", NULL});
    cJSON *tree = cJSON_Parse(cp_strbuf_text(&run.out));
    assert_int_equal(cJSON_GetObjectItem(tree, "text")->valuestring[0], '{');
    assert_non_null(cJSON_GetObjectItem(cJSON_GetObjectItem(tree, "structured"), "tail_tokens"));
    cJSON_Delete(tree);
    test_run_free(&run);

    static const char refused[] = "{\"type\":\"string\",\"pattern\":\"a\"}";
    test_write_file(path, refused, strlen(refused));
    run = carepath((const char *[]){NULL, "generate", "--model", MODEL, "--ids", "[3]",
                                    "--json-schema", path, NULL});
    assert_int_equal(run.exit_code, 1);
    assert_non_null(strstr(cp_strbuf_text(&run.err), "\"pattern\""));
    test_run_free(&run);
    run = carepath((const char *[]){NULL, "generate", "--model", MODEL, "--ids", "[3]",
                                    "--json-object", "--stop", "x", NULL});
    assert_int_equal(run.exit_code, 2);
    test_run_free(&run);
}

#define WITH_QWEN(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
static const struct CMUnitTest tests[] = {
    WITH_QWEN(random_answers_are_valid_at_any_budget),
    WITH_QWEN(closing_keeps_the_budget),
    WITH_QWEN(json_objects_are_objects),
    WITH_QWEN(masks_are_exact),
    WITH_QWEN(a_full_cache_changes_nothing),
    WITH_QWEN(masks_are_found_again),
    WITH_QWEN(what_has_no_choice_is_forced),
    WITH_QWEN(only_the_stop_token_ends_a_document),
    WITH_QWEN(control_tokens_are_never_text),
    WITH_QWEN(thinking_is_free_and_always_ends),
    WITH_QWEN(masks_cost_little),
    cmocka_unit_test(a_model_answers_in_the_schema),
    cmocka_unit_test(no_allocation_failure_hurts_an_answer),
    cmocka_unit_test(generate_takes_a_schema),
};
CP_TEST_GROUP(structured, tests)
