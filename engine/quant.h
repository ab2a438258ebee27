/* Quantized weights: groups of 32 inputs, signed integers and one scale, in tiles of 16 outputs.
 *
 * A matrix W [rows, cols] is cut into tiles of 16 rows; each tile is a run of superblocks of 64
 * inputs: first the integers of its two groups, then their 2 x 16 scales as IEEE half precision
 * (group 0's rows, then group 1's). Rows beyond the last and inputs beyond the last are zero, with
 * scale zero.
 *
 *   int8    8 lines a group: line l holds inputs 4l..4l+3 of row r at bytes 4r..4r+3, two's
 *           complement
 *   int4    4 lines a group: line l holds, for row r at bytes 4r..4r+3, inputs 8l..8l+3 in the
 *           low nibbles and inputs 8l+4..8l+7 in the high ones, each stored as value + 8
 *   int5    5 lines a group: 4 as int4's with the low four bits of value + 16, and one whose byte
 *           4r + k holds the fifth bits of row r's inputs k, k + 4, .., k + 28 as bits 0, 1, .., 7
 *   scales  one line of 64 bytes
 *
 * So a vector lane is an output row, a whole line is one load, and no sum ever crosses lanes. A
 * weight is integer x scale: int8 in -127..127, int5 in -16..15, int4 in -8..7. In a file such a
 * matrix is a U8 tensor of shape [tiles, superblocks, bytes of a superblock]; the last dimension
 * tells the type.
 */
#ifndef CP_ENGINE_QUANT_H
#define CP_ENGINE_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CP_TILE_ROWS      16
#define CP_GROUP          32 /* inputs that share a scale */
#define CP_SUPER          64 /* inputs of a superblock: two groups */
#define CP_GROUPS_A_SUPER (CP_SUPER / CP_GROUP)

typedef enum cp_quant { CP_INT8, CP_INT5, CP_INT4 } cp_quant;
#define CP_N_QUANTS 3

/* Lines of 64 bytes of a group's integers. */
#define CP_INT8_LINES       8
#define CP_INT5_LINES       5
#define CP_INT4_LINES       4
#define CP_SCALE_BYTES      (CP_GROUPS_A_SUPER * CP_TILE_ROWS * 2)
#define CP_SUPER_BYTES(l)   (CP_GROUPS_A_SUPER * (l) * 64 + CP_SCALE_BYTES)
#define CP_INT8_SUPER_BYTES CP_SUPER_BYTES(CP_INT8_LINES) /* 1088 */
#define CP_INT5_SUPER_BYTES CP_SUPER_BYTES(CP_INT5_LINES) /* 704 */
#define CP_INT4_SUPER_BYTES CP_SUPER_BYTES(CP_INT4_LINES) /* 576 */

static inline size_t cp_quant_group_bytes(cp_quant quant) {
    return 64u * (quant == CP_INT8   ? CP_INT8_LINES
                  : quant == CP_INT5 ? CP_INT5_LINES
                                     : CP_INT4_LINES);
}
static inline size_t cp_quant_super_bytes(cp_quant quant) {
    return CP_GROUPS_A_SUPER * cp_quant_group_bytes(quant) + CP_SCALE_BYTES;
}
/* The integers that are stored for -bias, .., -1, 0, ..; int8 is stored as it is. */
static inline int cp_quant_bias(cp_quant quant) {
    return quant == CP_INT8 ? 0 : quant == CP_INT5 ? 16 : 8;
}
/* The type whose superblocks have so many bytes; false for none. */
bool cp_quant_of_bytes(uint64_t super_bytes, cp_quant *out);
/* "int8", "int5", "int4". */
const char *cp_quant_name(cp_quant quant);
static inline size_t cp_quant_tiles(size_t rows) {
    return (rows + CP_TILE_ROWS - 1) / CP_TILE_ROWS;
}
static inline size_t cp_quant_supers(size_t cols) {
    return (cols + CP_SUPER - 1) / CP_SUPER;
}
static inline size_t cp_quant_tile_bytes(cp_quant quant, size_t cols) {
    return cp_quant_supers(cols) * cp_quant_super_bytes(quant);
}
/* Bytes of a whole matrix; the caller has checked that rows x cols x 4 fits in size_t. */
static inline size_t cp_quant_bytes(cp_quant quant, size_t rows, size_t cols) {
    return cp_quant_tiles(rows) * cp_quant_tile_bytes(quant, cols);
}

/* Places one group into a superblock: integers of row `row`, group `group` (0 or 1) and its scale
 * (half precision bits). The superblock was zeroed before its first group. */
void cp_quant_pack(cp_quant quant, void *superblock, size_t row, size_t group,
                   const int8_t values[CP_GROUP], uint16_t scale);
/* The reverse. */
void cp_quant_unpack(cp_quant quant, const void *superblock, size_t row, size_t group,
                     int8_t values[CP_GROUP], uint16_t *scale);
/* A superblock whose integers are all zero (int4 stores zero as 8, int5 as 16). */
void cp_quant_clear(cp_quant quant, void *superblock);

/* Activations of one step, quantized: for each token n_super superblocks of int8, and for each
 * group a scale and the sum of its integers (which the kernels need because they multiply with
 * biased weights). */
typedef struct cp_activations {
    int8_t *values; /* [n_tokens, n_super * 64] */
    float *scales;  /* [n_tokens, n_super * 2] */
    int32_t *sums;  /* [n_tokens, n_super * 2] */
    size_t n_super;
} cp_activations;

#endif
