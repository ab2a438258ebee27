/* One safetensors file. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/header_mutator.h"

#include "engine/safetensors.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t cap, unsigned seed) {
    return fuzz_mutate_header(data, n, cap, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_error err;
    cp_safetensors file;
    const char *path = fuzz_write("model.safetensors", data, n);
    if (!fuzz_ok(cp_safetensors_open(path, &file, &err), &err))
        return 0;
    size_t total = 0;
    for (size_t i = 0; i < file.n; i++) {
        const cp_tensor *t = &file.tensors[i];
        fuzz_expect(cp_safetensors_find(&file, t->name) == t);
        fuzz_touch(t->data, t->end - t->begin);
        total += t->end - t->begin;
    }
    fuzz_expect(total < n);
    cp_safetensors_close(&file);
    return 0;
}
