/* A GGUF file through the whole import: opened, its files written, all rows read. */
#include "tests/fuzz/fuzz.h"

#include "convert/gguf_source.h"

#include <stdlib.h>

/* The buffer is exactly as long as it must be, so that a write past it is seen. */
static void read_all(const cp_source *source) {
    cp_error err;
    for (size_t i = 0; i < source->n_tensors; i++) {
        const cp_source_tensor *t = &source->tensors[i];
        float *rows = malloc(t->rows * t->cols * sizeof *rows);
        fuzz_expect(rows);
        bool ok = fuzz_ok(source->ops->read_rows(source, i, 0, t->rows, rows, &err), &err);
        if (ok)
            fuzz_touch(rows, t->rows * t->cols * sizeof *rows);
        free(rows);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_error err;
    cp_source source;
    cp_model_config config;
    if (!fuzz_ok(cp_source_open_gguf(fuzz_write("model.gguf", data, n), &source, &err), &err))
        return 0;
    if (fuzz_ok(source.ops->write_files(&source, fuzz_dir(), &err), &err))
        fuzz_expect(fuzz_ok(cp_config_read(fuzz_dir(), &config, &err), &err));
    read_all(&source);
    cp_source_close(&source);
    return 0;
}
