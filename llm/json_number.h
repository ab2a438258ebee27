/* A JSON number within a range, one byte at a time.
 *
 * Numbers are written in plain decimal, without an exponent: integers of at most 2^53 - 1 (what
 * every JSON reader keeps exactly), others below 10^15 with at most 15 decimals. A byte is taken
 * only if some number in the range begins so; there is no dead end. "-0" is never a whole number.
 * Values are held in units: 1 for integers, 10^-15 otherwise. */
#ifndef CP_LLM_JSON_NUMBER_H
#define CP_LLM_JSON_NUMBER_H

#include "base/strbuf.h"

#include <stdint.h>

typedef __int128 cp_wide;

typedef struct cp_number_range {
    cp_wide lo, hi; /* in units, both included */
    bool integer;
} cp_number_range;

typedef enum cp_number_phase {
    CP_NUMBER_START,
    CP_NUMBER_SIGN,
    CP_NUMBER_WHOLE,
    CP_NUMBER_POINT,
    CP_NUMBER_FRACTION,
} cp_number_phase;

/* What has been written of a number. A plain value. */
typedef struct cp_number_place {
    uint64_t whole, fraction; /* the digits so far, read as integers */
    uint8_t phase, n_whole, n_fraction;
    bool negative;
} cp_number_place;

/* The numbers that we write between two bounds, infinite where there is none; an exclusive bound is
 * not met. False when there is no such number. Whoever reads the number and the bound as doubles
 * finds the bound kept. */
bool cp_number_range_set(cp_number_range *range, bool integer, double lo, bool lo_exclusive,
                         double hi, bool hi_exclusive);

/* Takes one more byte; false leaves the place as it was. */
bool cp_number_step(const cp_number_range *range, cp_number_place *place, unsigned char byte);
/* The bytes so far are a number in the range. */
bool cp_number_is_final(const cp_number_range *range, const cp_number_place *place);
/* Appends the fewest bytes that make the number final. */
void cp_number_close(const cp_number_range *range, cp_number_place place, cp_strbuf *out);

#endif
