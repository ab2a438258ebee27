/* Mutates a safetensors file: mostly its JSON header, whose length in front is then put right, so
 * that the fuzzer gets past the first eight bytes. */
#include "tests/fuzz/header_mutator.h"

#include <string.h>

#define LENGTH_BYTES 8

size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t cap);

size_t fuzz_mutate_header(uint8_t *data, size_t n, size_t cap, unsigned seed) {
    uint64_t header = 0;
    for (unsigned i = LENGTH_BYTES; n >= LENGTH_BYTES && i-- > 0;)
        header = header << 8 | data[i];
    if (seed % 16 == 0 || header == 0 || n < LENGTH_BYTES || header > n - LENGTH_BYTES || cap < n)
        return LLVMFuzzerMutate(data, n, cap);
    static uint8_t tail[1 << 20];
    size_t n_tail = n - LENGTH_BYTES - (size_t)header;
    if (n_tail > sizeof tail)
        return LLVMFuzzerMutate(data, n, cap);
    memcpy(tail, data + LENGTH_BYTES + header, n_tail);
    size_t changed =
        LLVMFuzzerMutate(data + LENGTH_BYTES, (size_t)header, cap - LENGTH_BYTES - n_tail);
    memcpy(data + LENGTH_BYTES + changed, tail, n_tail);
    for (unsigned i = 0; i < LENGTH_BYTES; i++)
        data[i] = (uint8_t)(changed >> 8 * i);
    return LENGTH_BYTES + changed + n_tail;
}
