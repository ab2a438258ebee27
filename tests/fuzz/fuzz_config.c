/* config.json and generation_config.json. */
#include "tests/fuzz/fuzz.h"

#include "engine/config.h"

static void read_generation(const cp_model_config *read) {
    cp_error err;
    cp_sampling sampling = {0};
    cp_model_config config = {.vocab_size = 290};
    if (read)
        config = *read;
    if (fuzz_ok(cp_config_read_generation(fuzz_dir(), &config, &sampling, &err), &err)) {
        fuzz_expect(config.n_eos <= CP_MAX_EOS);
        fuzz_expect(sampling.temperature >= 0 && sampling.top_p >= 0 && sampling.top_p <= 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_error err;
    cp_model_config config;
    fuzz_write("config.json", data, n);
    fuzz_write("generation_config.json", data, n);
    bool ok = fuzz_ok(cp_config_read(fuzz_dir(), &config, &err), &err);
    if (ok) {
        fuzz_expect(config.n_layers > 0 && config.n_heads % config.n_kv_heads == 0);
        fuzz_expect(cp_config_q_dim(&config) <= CP_MAX_WIDTH && config.hidden_size <= CP_MAX_WIDTH);
        fuzz_expect(config.norm_eps > 0 && config.rope_theta > 0 && config.n_eos <= CP_MAX_EOS);
    }
    read_generation(ok ? &config : NULL);
    return 0;
}
