/* A whole model folder of which one file is anything: the first byte says which. What opens must
 * compute. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/header_mutator.h"

#include "base/mem.h"
#include "engine/engine.h"

#include <string.h>
#include <unistd.h>

#define MODEL  "tests/golden/valid-edge/baseline/"
#define SHARDS "tests/golden/valid-edge/two-shards/"
#define INDEX  "model.safetensors.index.json"
#define FIRST  "model-00001-of-00002.safetensors"
#define SECOND "model-00002-of-00002.safetensors"

static const char *const names[] = {"model.safetensors", "config.json", "generation_config.json",
                                    INDEX, SECOND};
/* An index is read before model.safetensors: from here on the folder has one. */
#define FIRST_SHARDED 3

static void make_folder(void) {
    fuzz_copy(MODEL "config.json", "config.json");
    fuzz_copy(MODEL "generation_config.json", "generation_config.json");
    fuzz_copy(MODEL "model.safetensors", "model.safetensors");
    fuzz_copy(SHARDS FIRST, FIRST);
    fuzz_copy(SHARDS SECOND, SECOND);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t cap, unsigned seed) {
    if (n == 0)
        return 0;
    data[0] = (uint8_t)(data[0] % CP_COUNT_OF(names));
    return 1 + fuzz_mutate_header(data + 1, n - 1, cap - 1, seed);
}

static void compute(cp_engine *engine) {
    static const int32_t ids[] = {1, 2, 3};
    cp_error err;
    cp_session *session;
    if (cp_engine_config(engine)->vocab_size > 3 &&
        fuzz_ok(cp_session_create(engine, 8, &session, &err), &err)) {
        fuzz_expect(fuzz_ok(cp_session_eval(session, ids, 3, NULL, &err), &err));
        cp_session_free(session);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static bool made;
    cp_error err;
    cp_engine *engine;
    if (n == 0)
        return 0;
    if (!made)
        make_folder();
    made = true;
    unsigned which = data[0] % CP_COUNT_OF(names);
    if (which == FIRST_SHARDED + 1)
        fuzz_copy(SHARDS INDEX, INDEX);
    fuzz_write(names[which], data + 1, n - 1);
    const cp_engine_options options = {.n_threads = 1};
    if (fuzz_ok(cp_engine_open(fuzz_dir(), &options, &engine, &err), &err)) {
        compute(engine);
        cp_engine_close(engine);
    }
    if (which < FIRST_SHARDED) {
        char path[160] = MODEL;
        strcat(path, names[which]);
        fuzz_copy(path, names[which]);
    } else {
        unlink(fuzz_path(INDEX));
        fuzz_copy(SHARDS SECOND, SECOND);
    }
    return 0;
}
