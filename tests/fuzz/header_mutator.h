/* A mutator for files that begin with the length of a header (safetensors). */
#ifndef CP_TESTS_HEADER_MUTATOR_H
#define CP_TESTS_HEADER_MUTATOR_H

#include <stddef.h>
#include <stdint.h>

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t cap, unsigned seed);
/* To be called by it: the same arguments and result. */
size_t fuzz_mutate_header(uint8_t *data, size_t n, size_t cap, unsigned seed);

#endif
