#include "engine/quant.h"

#include <assert.h>
#include <string.h>

#define INT4_BIAS 8

static size_t lines_bytes(cp_quant quant) {
    return cp_quant_super_bytes(quant) - CP_SCALE_BYTES;
}

/* Where input `i` (0..63) of `row` stands: its byte. */
static size_t int8_at(size_t row, size_t i) {
    return i / 4 * 64 + row * 4 + i % 4;
}

/* For int4: the byte, and whether it is the high nibble. */
static size_t int4_at(size_t row, size_t i, int *high) {
    *high = i % 8 >= 4;
    return i / 8 * 64 + row * 4 + i % 4;
}

void cp_quant_clear(cp_quant quant, void *superblock) {
    memset(superblock, quant == CP_INT4 ? INT4_BIAS << 4 | INT4_BIAS : 0, lines_bytes(quant));
    memset((unsigned char *)superblock + lines_bytes(quant), 0, CP_SCALE_BYTES);
}

void cp_quant_pack(cp_quant quant, void *superblock, size_t row, size_t group,
                   const int8_t values[CP_GROUP], uint16_t scale) {
    unsigned char *bytes = superblock;
    assert(row < CP_TILE_ROWS && group < CP_GROUPS_A_SUPER);
    for (size_t k = 0; k < CP_GROUP; k++) {
        size_t i = group * CP_GROUP + k;
        int high;
        if (quant == CP_INT8) {
            bytes[int8_at(row, i)] = (unsigned char)values[k];
            continue;
        }
        unsigned char *at = bytes + int4_at(row, i, &high),
                      nibble = (unsigned char)(values[k] + INT4_BIAS);
        *at = high ? (unsigned char)((*at & 0x0f) | nibble << 4)
                   : (unsigned char)((*at & 0xf0) | nibble);
    }
    memcpy(bytes + lines_bytes(quant) + (group * CP_TILE_ROWS + row) * 2, &scale, sizeof scale);
}

void cp_quant_unpack(cp_quant quant, const void *superblock, size_t row, size_t group,
                     int8_t values[CP_GROUP], uint16_t *scale) {
    const unsigned char *bytes = superblock;
    assert(row < CP_TILE_ROWS && group < CP_GROUPS_A_SUPER);
    for (size_t k = 0; k < CP_GROUP; k++) {
        size_t i = group * CP_GROUP + k;
        int high;
        if (quant == CP_INT8) {
            values[k] = (int8_t)bytes[int8_at(row, i)];
            continue;
        }
        unsigned char byte = bytes[int4_at(row, i, &high)];
        values[k] = (int8_t)((high ? byte >> 4 : byte & 0x0f) - INT4_BIAS);
    }
    memcpy(scale, bytes + lines_bytes(quant) + (group * CP_TILE_ROWS + row) * 2, sizeof *scale);
}
