/* carepath doctor's promise: the memory it predicts is what a process then comes to hold. */
#include "tests/test.h"

#include "engine/quant.h"

#include <math.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* shadow memory is not the program's */
#else
#define SANITIZED 0
#endif

/* ---- a model of zeros: large enough that the program's own pages are a small part, and no disk is
 * used for it, since its file is a hole behind a header ------------------------------------------
 */

#define HIDDEN 1024
#define FFN    4096
#define Q_DIM  512
#define KV_DIM 256
#define LAYERS 3
#define VOCAB  8192

static const char config[] =
    "{\"model_type\": \"qwen3\", \"architectures\": [\"Qwen3ForCausalLM\"], \"hidden_size\": 1024, "
    "\"intermediate_size\": 4096, \"num_hidden_layers\": 3, \"num_attention_heads\": 8, "
    "\"num_key_value_heads\": 4, \"head_dim\": 64, \"vocab_size\": 8192, "
    "\"max_position_embeddings\": 4096, \"rms_norm_eps\": 1e-6, \"rope_theta\": 1000000, "
    "\"tie_word_embeddings\": true, \"hidden_act\": \"silu\", \"eos_token_id\": 1}";

typedef struct header {
    cp_strbuf text;
    bool quantized;
    size_t end; /* of the data so far */
} header;

static void add(header *h, const char *name, size_t rows, size_t cols) {
    size_t begin = h->end;
    cp_strbuf_printf(&h->text, "%s\"%s\":{", begin ? "," : "{", name);
    if (rows == 1) {
        h->end += cols * 4;
        cp_strbuf_printf(&h->text, "\"dtype\":\"F32\",\"shape\":[%zu]", cols);
    } else if (h->quantized) {
        h->end += cp_quant_bytes(CP_INT8, rows, cols);
        cp_strbuf_printf(&h->text, "\"dtype\":\"U8\",\"shape\":[%zu,%zu,%d]", cp_quant_tiles(rows),
                         cp_quant_supers(cols), CP_INT8_SUPER_BYTES);
    } else {
        h->end += rows * cols * 2;
        cp_strbuf_printf(&h->text, "\"dtype\":\"BF16\",\"shape\":[%zu,%zu]", rows, cols);
    }
    cp_strbuf_printf(&h->text, ",\"data_offsets\":[%zu,%zu]}", begin, h->end);
}

static void add_layer(header *h, int i) {
    static const struct {
        const char *name;
        size_t rows, cols;
    } tensors[] = {
        {"input_layernorm", 1, HIDDEN},       {"post_attention_layernorm", 1, HIDDEN},
        {"self_attn.q_norm", 1, 64},          {"self_attn.k_norm", 1, 64},
        {"self_attn.q_proj", Q_DIM, HIDDEN},  {"self_attn.k_proj", KV_DIM, HIDDEN},
        {"self_attn.v_proj", KV_DIM, HIDDEN}, {"self_attn.o_proj", HIDDEN, Q_DIM},
        {"mlp.gate_proj", FFN, HIDDEN},       {"mlp.up_proj", FFN, HIDDEN},
        {"mlp.down_proj", HIDDEN, FFN},
    };
    for (size_t k = 0; k < sizeof tensors / sizeof tensors[0]; k++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%d.%s.weight", i, tensors[k].name);
        add(h, name, tensors[k].rows, tensors[k].cols);
    }
}

static void write_model(const char *dir, bool quantized) {
    header h = {.quantized = quantized};
    const char *path = test_path(dir, "model.safetensors");
    cp_strbuf_init(&h.text, 1 << 16);
    add(&h, "model.embed_tokens.weight", VOCAB, HIDDEN);
    add(&h, "model.norm.weight", 1, HIDDEN);
    for (int i = 0; i < LAYERS; i++)
        add_layer(&h, i);
    cp_strbuf_putc(&h.text, '}');
    while (h.text.n % 8)
        cp_strbuf_putc(&h.text, ' ');
    uint64_t n = h.text.n;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(&n, 1, 8, file), 8);
    assert_int_equal(fwrite(h.text.data, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(truncate(path, (off_t)(8 + n + h.end)), 0);
    test_write_file(test_path(dir, "config.json"), config, sizeof config - 1);
    cp_strbuf_deinit(&h.text);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static double predicted(const char *dir, const char *kv, const char *context) {
    test_run run = test_run_program((const char *[]){NULL, "doctor", "--model", dir, "--kv", kv,
                                                     "--context", context, "--json", NULL},
                                    NULL, NULL);
    cJSON *tree = test_run_json(&run);
    double bytes =
        cJSON_GetObjectItem(cJSON_GetObjectItem(tree, "model"), "needed_bytes")->valuedouble;
    cJSON_Delete(tree);
    test_run_free(&run);
    return bytes;
}

/* A process that fills the same context. */
static double measured(const char *dir, const char *kv) {
    test_run run = test_run_program((const char *[]){NULL, "bench", "start", "--model", dir, "--kv",
                                                     kv, "--first-prompt", "8", "--prompt", "588",
                                                     "--gen", "4", NULL},
                                    NULL, NULL);
    if (run.exit_code != 0)
        fail_msg("%s", cp_strbuf_text(&run.err));
    const char *peak = strstr(cp_strbuf_text(&run.out), "{\"rss_bytes\":");
    assert_non_null(peak);
    double bytes = strtod(peak + strlen("{\"rss_bytes\":"), NULL);
    test_run_free(&run);
    return bytes;
}

static void doctor_predicts_peak_memory_within_5_percent(void **state) {
    (void)state;
    if (SANITIZED)
        skip();
    static const struct {
        bool quantized;
        const char *kv;
    } cases[] = {{false, "f32"}, {true, "f16"}, {true, "int8"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *dir = test_tmp_dir();
        write_model(dir, cases[i].quantized);
        double told = predicted(dir, cases[i].kv, "600"), found = measured(dir, cases[i].kv);
        print_message("%s, KV %s: %.1f MiB predicted, %.1f measured\n",
                      cases[i].quantized ? "int8" : "bf16", cases[i].kv, told / (1 << 20),
                      found / (1 << 20));
        assert_true(found > 40 << 20);
        assert_true(fabs(told / found - 1) < 0.05);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(doctor_predicts_peak_memory_within_5_percent),
};
CP_TEST_GROUP(memory, tests)
