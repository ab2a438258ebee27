#include "engine/quant.h"

#include <assert.h>
#include <string.h>

#define PLANE (CP_INT4_LINES * 64) /* where a group's fifth bits begin */

static size_t lines_bytes(cp_quant quant) {
    return CP_GROUPS_A_SUPER * cp_quant_group_bytes(quant);
}

const char *cp_quant_name(cp_quant quant) {
    static const char *const names[CP_N_QUANTS] = {"int8", "int5", "int4"};
    return names[quant];
}

bool cp_quant_of_bytes(uint64_t super_bytes, cp_quant *out) {
    for (int q = 0; q < CP_N_QUANTS; q++)
        if (super_bytes == cp_quant_super_bytes((cp_quant)q)) {
            *out = (cp_quant)q;
            return true;
        }
    return false;
}

/* ---- one integer of a group: input `i` (0..31) of `row`
 * ------------------------------------------
 */

static size_t byte_at(size_t row, size_t i) {
    return i / 4 * 64 + row * 4 + i % 4;
}

static size_t nibble_at(size_t row, size_t i) {
    return i / 8 * 64 + row * 4 + i % 4;
}

static size_t plane_at(size_t row, size_t i) {
    return PLANE + row * 4 + i % 4;
}

static void put(cp_quant quant, unsigned char *group, size_t row, size_t i, int value) {
    if (quant == CP_INT8) {
        group[byte_at(row, i)] = (unsigned char)value;
        return;
    }
    unsigned stored = (unsigned)(value + cp_quant_bias(quant)), shift = i % 8 >= 4 ? 4 : 0;
    unsigned char *at = group + nibble_at(row, i);
    *at = (unsigned char)((*at & ~(15u << shift)) | (stored & 15) << shift);
    if (quant == CP_INT5) {
        at = group + plane_at(row, i);
        *at = (unsigned char)((*at & ~(1u << i / 4)) | stored >> 4 << i / 4);
    }
}

static int get(cp_quant quant, const unsigned char *group, size_t row, size_t i) {
    if (quant == CP_INT8)
        return (int8_t)group[byte_at(row, i)];
    int stored = group[nibble_at(row, i)] >> (i % 8 >= 4 ? 4 : 0) & 15;
    if (quant == CP_INT5)
        stored |= (group[plane_at(row, i)] >> i / 4 & 1) << 4;
    return stored - cp_quant_bias(quant);
}

/* ---- groups -------------------------------------------------------------------------------------
 */

void cp_quant_clear(cp_quant quant, void *superblock) {
    unsigned char *bytes = superblock;
    memset(bytes, quant == CP_INT4 ? 0x88 : 0, cp_quant_super_bytes(quant));
    for (size_t g = 0; quant == CP_INT5 && g < CP_GROUPS_A_SUPER; g++)
        memset(bytes + g * cp_quant_group_bytes(quant) + PLANE, 0xff, 64);
    memset(bytes + lines_bytes(quant), 0, CP_SCALE_BYTES);
}

void cp_quant_pack(cp_quant quant, void *superblock, size_t row, size_t group,
                   const int8_t values[CP_GROUP], uint16_t scale) {
    unsigned char *bytes = superblock;
    assert(row < CP_TILE_ROWS && group < CP_GROUPS_A_SUPER);
    for (size_t i = 0; i < CP_GROUP; i++)
        put(quant, bytes + group * cp_quant_group_bytes(quant), row, i, values[i]);
    memcpy(bytes + lines_bytes(quant) + (group * CP_TILE_ROWS + row) * 2, &scale, sizeof scale);
}

void cp_quant_unpack(cp_quant quant, const void *superblock, size_t row, size_t group,
                     int8_t values[CP_GROUP], uint16_t *scale) {
    const unsigned char *bytes = superblock;
    assert(row < CP_TILE_ROWS && group < CP_GROUPS_A_SUPER);
    for (size_t i = 0; i < CP_GROUP; i++)
        values[i] = (int8_t)get(quant, bytes + group * cp_quant_group_bytes(quant), row, i);
    memcpy(scale, bytes + lines_bytes(quant) + (group * CP_TILE_ROWS + row) * 2, sizeof *scale);
}
