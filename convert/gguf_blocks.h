/* The stored types of GGUF tensors that are read here: their block sizes and how a block becomes
 * float32.
 *
 * A row is a whole number of blocks; a block holds 1, 32 or 256 values. Fields are little-endian at
 * any alignment. Layouts (d, m: IEEE half precision):
 *
 *   Q8_0   32 values in  34 bytes   d, 32 x int8                               d * q
 *   Q4_0   32 values in  18 bytes   d, 16 bytes: low nibbles first             d * (q - 8)
 *   Q4_1   32 values in  20 bytes   d, m, 16 bytes as in Q4_0                  d * q + m
 *   Q4_K  256 values in 144 bytes   d, m, 12 bytes: 8 x (scale s, minimum t)   d*s * q - m*t
 *                                   of 6 bits, 128 bytes of nibbles
 *   Q6_K  256 values in 210 bytes   128 bytes of low nibbles, 64 bytes of      d*s * (q - 32)
 *                                   high bit pairs, 16 x int8 scale s, d
 *
 * Results are those of the gguf Python package, bit for bit. Pure functions. */
#ifndef CP_CONVERT_GGUF_BLOCKS_H
#define CP_CONVERT_GGUF_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The file's own numbers. */
typedef enum cp_gguf_type {
    CP_GGUF_F32 = 0,
    CP_GGUF_F16 = 1,
    CP_GGUF_Q4_0 = 2,
    CP_GGUF_Q4_1 = 3,
    CP_GGUF_Q8_0 = 8,
    CP_GGUF_Q4_K = 12,
    CP_GGUF_Q6_K = 14,
    CP_GGUF_BF16 = 30,
} cp_gguf_type;

#define CP_GGUF_SUPPORTED_TYPES "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K, Q6_K"

/* "Q4_0"; also for types that are not read here; "of unknown number" when it has no name. */
const char *cp_gguf_type_name(uint32_t type);
/* Values and bytes of one block; false when the type is not read here. */
bool cp_gguf_type_block(uint32_t type, size_t *values, size_t *bytes);
/* Widens n values, a multiple of the block, of a type that is read here. */
void cp_gguf_widen(uint32_t type, const unsigned char *blocks, size_t n, float *out);

#endif
