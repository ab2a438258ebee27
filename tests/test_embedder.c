/* The embedding model: reference vectors from texts and from ids, texts and tasks together as
 * alone, and folders that are wrong. */
#include "tests/test.h"

#include "server/text_models.h"

#include <math.h>
#include <pthread.h>

#define WIDTH 128

static cp_embedder *open_named(const char *model, const char *cache, cp_error *err) {
    cp_settings settings = {
        .embedding_model = model, .model_cache_dir = cache, .threads = 2, .context_tokens = 600};
    cp_embedder *embedder;
    if (cp_text_models_open_embedder(&settings, &embedder, err) != CP_OK)
        assert_null(embedder);
    return embedder;
}

static cp_embedder *open_golden(void) {
    cp_error err;
    cp_embedder *embedder = open_named("embedding-gqa1", GOLDEN "/models", &err);
    if (!embedder)
        fail_msg("%s", err.message);
    assert_int_equal(cp_embedder_width(embedder), WIDTH);
    return embedder;
}

static cp_embedder *open_quantized(void) {
    cp_error err;
    cp_embedder *embedder = open_named(test_quantized("embedding-gqa1", "int8"), "", &err);
    if (!embedder)
        fail_msg("%s", err.message);
    return embedder;
}

static void check_vector(const float *actual, const cJSON *expected) {
    const cJSON *value;
    size_t i = 0;
    cJSON_ArrayForEach(value, expected) {
        if (fabsf(actual[i] - (float)value->valuedouble) > 1e-4f)
            fail_msg("value %zu is %.9g, expected %.9g", i, (double)actual[i], value->valuedouble);
        i++;
    }
    assert_int_equal(i, WIDTH);
}

static size_t read_ids(const cJSON *list, int32_t *out, size_t cap) {
    const cJSON *id;
    size_t n = 0;
    cJSON_ArrayForEach(id, list) {
        assert_true(n < cap);
        out[n++] = id->valueint;
    }
    return n;
}

/* The tokenizer appends the end token to a text; ids are taken as they are. */
static void vectors_are_the_references(void **state) {
    (void)state;
    cp_embedder *embedder = open_golden();
    cJSON *golden = test_read_json(GOLDEN "/expected/embedding-gqa1/golden.json");
    const cJSON *item;
    size_t n_texts = 0;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(golden, "embeddings")) {
        int32_t ids[256];
        float out[2 * WIDTH];
        cp_embedding_input inputs[2] = {
            {.ids = ids, .n_ids = read_ids(cJSON_GetObjectItem(item, "ids"), ids, 256)}};
        const cJSON *text = cJSON_GetObjectItem(item, "text");
        inputs[1].text = text ? text->valuestring : NULL;
        n_texts += text != NULL;
        cp_embedding_task task = {.inputs = inputs, .n_inputs = text ? 2 : 1, .out = out};
        while (cp_embedder_piece(embedder, &task))
            ;
        if (task.work.status != CP_OK)
            fail_msg("%s", task.work.err.message);
        assert_int_equal(task.work.n_tokens, task.n_inputs * inputs[0].n_ids);
        for (size_t i = 0; i < task.n_inputs; i++)
            check_vector(out + i * WIDTH, cJSON_GetObjectItem(item, "embedding"));
        cp_embedder_release(embedder, &task);
    }
    assert_true(n_texts >= 1);
    cJSON_Delete(golden);
    cp_embedder_close(embedder);
}

/* Two tasks in turns, the second asked twice as often, and a third that leaves in the middle: each
 * has the vectors that it has alone, to the bit with quantized weights. */
static void tasks_take_turns(void **state) {
    (void)state;
    static int32_t ids[3][600];
    static float alone[2][2 * WIDTH], together[2][2 * WIDTH], unused[WIDTH];
    cp_embedder *embedder = open_quantized();
    cp_embedding_input inputs[3][2];
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 600; k++)
            ids[i][k] = (int32_t)((7 * k + 31 * i) % 500);
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 2; k++)
            inputs[i][k] = (cp_embedding_input){.ids = ids[i] + k, .n_ids = 300 + 100 * i + k};
    for (size_t i = 0; i < 2; i++) {
        cp_embedding_task task = {.inputs = inputs[i], .n_inputs = 2, .out = alone[i]};
        while (cp_embedder_piece(embedder, &task))
            ;
        assert_int_equal(task.work.status, CP_OK);
        cp_embedder_release(embedder, &task);
    }
    cp_embedding_task leaver = {.inputs = inputs[2], .n_inputs = 1, .out = unused};
    assert_true(cp_embedder_piece(embedder, &leaver));
    assert_true(cp_embedder_piece(embedder, &leaver));
    cp_embedder_release(embedder, &leaver);
    cp_embedding_task a = {.inputs = inputs[0], .n_inputs = 2, .out = together[0]};
    cp_embedding_task b = {.inputs = inputs[1], .n_inputs = 2, .out = together[1]};
    bool more_a = true, more_b = true;
    for (int turns = 0; more_a || more_b; turns++) {
        assert_true(turns < 100);
        more_a = cp_embedder_piece(embedder, &a);
        more_b = cp_embedder_piece(embedder, &b) && cp_embedder_piece(embedder, &b);
    }
    assert_memory_equal(alone, together, sizeof alone);
    cp_embedder_release(embedder, &a);
    cp_embedder_release(embedder, &b);
    cp_embedder_close(embedder);
}

#define N_TEXTS 40

/* A few words to a few hundred, the same for each i. */
static void write_text(size_t i, cp_strbuf *out) {
    static const char *const words[] = {"fever ", "cough, ", "no ", "chest pain ", "2 ", "days\n"};
    uint64_t seed = i;
    size_t n = i % 7 == 3 ? 150 : test_random(&seed) % 12 + 1;
    cp_strbuf_init(out, 1 << 16);
    for (size_t k = 0; k < n; k++)
        cp_strbuf_puts(out, words[test_random(&seed) % 6]);
}

/* Through steps of 64 and of 192 tokens, the texts of one task together: each vector to the bit as
 * alone. */
static void texts_together_are_as_alone(void **state) {
    (void)state;
    static float alone[N_TEXTS * WIDTH], bulk[N_TEXTS * WIDTH], pieces[N_TEXTS * WIDTH];
    cp_embedder *embedder = open_quantized();
    cp_strbuf texts[N_TEXTS];
    const char *list[N_TEXTS];
    cp_embedding_input inputs[N_TEXTS] = {0};
    cp_error err;
    for (size_t i = 0; i < N_TEXTS; i++) {
        write_text(i, &texts[i]);
        inputs[i].text = list[i] = cp_strbuf_text(&texts[i]);
        assert_cp_ok(cp_embedder_run(embedder, &list[i], 1, alone + i * WIDTH, &err));
    }
    assert_cp_ok(cp_embedder_run(embedder, list, N_TEXTS, bulk, &err));
    assert_memory_equal(bulk, alone, sizeof alone);
    cp_embedding_task task = {.inputs = inputs, .n_inputs = N_TEXTS, .out = pieces};
    size_t n_pieces = 0;
    while (cp_embedder_piece(embedder, &task))
        n_pieces++;
    assert_int_equal(task.work.status, CP_OK);
    assert_int_equal(task.work.n_done, N_TEXTS);
    assert_memory_equal(pieces, alone, sizeof alone);
    /* Steps are full: a text alone would leave most of them empty. */
    assert_in_range(n_pieces, task.work.n_tokens / 64, task.work.n_tokens / 64 + 2);
    cp_embedder_release(embedder, &task);
    for (size_t i = 0; i < N_TEXTS; i++)
        cp_strbuf_deinit(&texts[i]);
    cp_embedder_close(embedder);
}

/* Each allocation of a piece failed in turn: told, and the next task has the right vectors. */
static void lack_of_memory_is_told(void **state) {
    (void)state;
    static float expected[3 * WIDTH], out[3 * WIDTH];
    static const char *const texts[] = {"fever", "chest pain since noon", "cough"};
    cp_embedder *embedder = open_quantized();
    cp_error err = {0};
    size_t failed = 0;
    assert_cp_ok(cp_embedder_run(embedder, texts, 3, expected, &err));
    for (long at = 1; at < 500; at++) {
        memset(out, 0, sizeof out);
        test_alloc_fail_at(at, 0);
        cp_status status = cp_embedder_run(embedder, texts, 3, out, &err);
        test_alloc_fail_at(0, 0);
        if (status == CP_OK)
            break;
        assert_int_equal(status, CP_ERR_NO_MEMORY);
        failed++;
    }
    assert_true(failed > 5);
    assert_memory_equal(out, expected, sizeof out);
    cp_embedder_close(embedder);
}

/* NULL, or what is not. */
static void *embed_for_a_while(void *user) {
    static const char *const texts[] = {"fever", "chest pain since noon", "cough"};
    static float out[3 * WIDTH];
    cp_error err;
    for (int i = 0; i < 20; i++)
        if (cp_embedder_run(user, texts, 3, out, &err) != CP_OK)
            return user;
    return NULL;
}

/* A request that is refused is released by its own thread while the engine's works. */
static void tasks_that_never_began_end_in_any_thread(void **state) {
    (void)state;
    cp_embedder *embedder = open_quantized();
    pthread_t thread;
    void *fault;
    assert_int_equal(pthread_create(&thread, NULL, embed_for_a_while, embedder), 0);
    for (int i = 0; i < 1000; i++) {
        cp_embedding_task task = {.n_inputs = 1};
        cp_embedder_release(embedder, &task);
    }
    assert_int_equal(pthread_join(thread, &fault), 0);
    assert_null(fault);
    cp_embedder_close(embedder);
}

static void queries_carry_their_instruction(void **state) {
    (void)state;
    cp_strbuf text;
    cp_strbuf_init(&text, 1 << 12);
    cp_embedding_query_text("Find notes", "any allergies?", &text);
    assert_string_equal(cp_strbuf_text(&text), "Instruct: Find notes\nQuery:any allergies?");
    cp_strbuf_clear(&text);
    cp_embedding_query_text(NULL, "x", &text);
    assert_string_equal(cp_strbuf_text(&text), "Instruct: " CP_TEXT_SEARCH_TASK "\nQuery:x");
    cp_strbuf_deinit(&text);
}

static void too_long_inputs_are_told(void **state) {
    (void)state;
    static int32_t ids[601];
    static float out[2 * WIDTH];
    cp_embedder *embedder = open_golden();
    const cp_embedding_input inputs[] = {{.ids = ids, .n_ids = 600}, {.ids = ids, .n_ids = 601}};
    cp_embedding_task task = {.inputs = inputs, .n_inputs = 2, .out = out};
    while (cp_embedder_piece(embedder, &task))
        ;
    assert_int_equal(task.work.status, CP_ERR_LIMIT);
    assert_non_null(strstr(task.work.err.message, "601 tokens, expected 1 to 600"));
    cp_embedder_release(embedder, &task);
    cp_embedder_close(embedder);
}

static void wrong_settings_are_told(void **state) {
    cp_error err = {0};
    (void)state;
    assert_null(open_named("", "models", &err));
    assert_int_equal(err.status, CP_OK); /* none is fine */
    assert_null(open_named("no-such-model", GOLDEN "/models", &err));
    assert_non_null(strstr(err.message, "EMBEDDING_MODEL=no-such-model"));
    assert_null(open_named("./no-such-folder", GOLDEN "/models", &err));
    assert_non_null(strstr(err.message, "there is no such folder"));
    assert_null(open_named("models/qwen3-tokenizer", "models", &err));
    assert_non_null(strstr(err.message, "EMBEDDING_MODEL: "));
    assert_non_null(strstr(err.message, "config.json"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(vectors_are_the_references),
    cmocka_unit_test(tasks_take_turns),
    cmocka_unit_test(texts_together_are_as_alone),
    cmocka_unit_test(lack_of_memory_is_told),
    cmocka_unit_test(tasks_that_never_began_end_in_any_thread),
    cmocka_unit_test(queries_carry_their_instruction),
    cmocka_unit_test(too_long_inputs_are_told),
    cmocka_unit_test(wrong_settings_are_told),
};
CP_TEST_GROUP(embedder, tests)
