/* Asking for memory before it is needed: weights, when few tokens stream through neighbouring
 * tiles, and stored vectors. */
#ifndef CP_ENGINE_KERNELS_AHEAD_H
#define CP_ENGINE_KERNELS_AHEAD_H

#include "base/mem.h"
#include "engine/quant.h"

/* Of stored vectors (int8_dots): the rows are read in so many streams, each through its own part of
 * them, and so many bytes are asked for ahead in each. Neighbouring rows side by side were a sixth
 * slower, 1024 bytes an eighth. */
#define CP_DOTS_STREAMS 4
#define CP_DOTS_AHEAD   2048

#define CP_AHEAD_INLINE static inline __attribute__((always_inline))
/* How far ahead, in superblocks: about 3 KiB. Farther lost up to 10% (int4). */
#define CP_AHEAD_SUPERS(quant) ((quant) == CP_INT8 ? 3 : (quant) == CP_INT5 ? 5 : 6)

/* What to ask for while superblock `s` of the first of `tiles` neighbouring tiles is used; the
 * other tiles' are each a tile further. Near a tile's end its stream goes on in the tile of the
 * next round, not in its neighbour, which is another stream's. */
CP_AHEAD_INLINE const char *cp_ahead(cp_quant quant, const char *tile, size_t s, size_t n_super,
                                     size_t tiles) {
    size_t super_bytes = cp_quant_super_bytes(quant), at = s + CP_AHEAD_SUPERS(quant);
    if (at >= n_super)
        at += (tiles - 1) * n_super;
    return tile + at * super_bytes;
}

/* Asks for the share of step `l` (0..15, four inputs a row each; the last also for the scales) of
 * the superblock at `ahead`. At most one line a step: a superblock's requests at once fill the line
 * buffers, and the arithmetic waits behind them. */
CP_AHEAD_INLINE void cp_ask_ahead(cp_quant quant, const char *ahead, size_t l) {
    const size_t steps = CP_SUPER / 4;
    const size_t lines = CP_GROUPS_A_SUPER * cp_quant_group_bytes(quant) / CP_CACHE_LINE;
    size_t line = l * lines / steps;
    if (l == 0 || line != (l - 1) * lines / steps)
        __builtin_prefetch(ahead + line * CP_CACHE_LINE);
    if (l == steps - 1)
        __builtin_prefetch(ahead + cp_quant_super_bytes(quant) - CP_SCALE_BYTES);
}

#endif
