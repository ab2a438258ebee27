/* The embedding model behind /v1/embeddings: reference vectors from texts and from ids, tasks that
 * take turns, and folders that are wrong. */
#include "tests/test.h"

#include "server/embedder.h"

#include <math.h>

#define WIDTH 128

static cp_embedder *open_named(const char *model, const char *cache, cp_error *err) {
    cp_settings settings = {
        .embedding_model = model, .model_cache_dir = cache, .threads = 2, .context_tokens = 600};
    cp_embedder *embedder;
    if (cp_embedder_open(&settings, &embedder, err) != CP_OK)
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
        if (task.status != CP_OK)
            fail_msg("%s", task.err.message);
        assert_int_equal(task.n_tokens, task.n_inputs * inputs[0].n_ids);
        for (size_t i = 0; i < task.n_inputs; i++)
            check_vector(out + i * WIDTH, cJSON_GetObjectItem(item, "embedding"));
        cp_embedder_release(embedder, &task);
    }
    assert_true(n_texts >= 1);
    cJSON_Delete(golden);
    cp_embedder_close(embedder);
}

/* Two tasks in turns, the second asked twice as often, and a third that leaves in the middle: each
 * has the vectors that it has alone. */
static void tasks_take_turns(void **state) {
    (void)state;
    static int32_t ids[3][600];
    static float alone[2][2 * WIDTH], together[2][2 * WIDTH], unused[WIDTH];
    cp_embedder *embedder = open_golden();
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
        assert_int_equal(task.status, CP_OK);
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

static void too_long_inputs_are_told(void **state) {
    (void)state;
    static int32_t ids[601];
    static float out[2 * WIDTH];
    cp_embedder *embedder = open_golden();
    const cp_embedding_input inputs[] = {{.ids = ids, .n_ids = 600}, {.ids = ids, .n_ids = 601}};
    cp_embedding_task task = {.inputs = inputs, .n_inputs = 2, .out = out};
    while (cp_embedder_piece(embedder, &task))
        ;
    assert_int_equal(task.n_done, 1);
    assert_int_equal(task.status, CP_ERR_LIMIT);
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
    cmocka_unit_test(too_long_inputs_are_told),
    cmocka_unit_test(wrong_settings_are_told),
};
CP_TEST_GROUP(embedder, tests)
