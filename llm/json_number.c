#include "llm/json_number.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_INTEGER     9007199254740991 /* 2^53 - 1 */
#define INTEGER_DIGITS  16
#define WHOLE_DIGITS    15 /* of numbers that may have a fraction */
#define FRACTION_DIGITS 15
#define MAX_NUMBER      1e15

static cp_wide power_of_ten(unsigned n) {
    cp_wide power = 1;
    while (n-- > 0)
        power *= 10;
    return power;
}

/* ---- the range --------------------------------------------------------------------------------
 */

/* |value| < 10^15, as units of 10^-15, rounded to nearest; and as a reader gets it back. */
static cp_wide to_units(double value, double *read_back) {
    char text[48];
    cp_wide units = 0;
    snprintf(text, sizeof text, "%.*f", FRACTION_DIGITS, value);
    for (const char *at = text; *at; at++)
        if (*at >= '0' && *at <= '9')
            units = units * 10 + (*at - '0');
    *read_back = strtod(text, NULL);
    return text[0] == '-' ? -units : units;
}

/* The smallest number of units that is not below `bound`; the largest that is not above, with
 * `upper`. */
static cp_wide bound_units(double bound, bool upper) {
    cp_wide limit = power_of_ten(WHOLE_DIGITS + FRACTION_DIGITS);
    double read_back;
    if (bound >= MAX_NUMBER || bound <= -MAX_NUMBER) /* outside of what we write */
        return bound > 0 ? limit - (upper ? 1 : 0) : -limit + (upper ? 0 : 1);
    cp_wide units = to_units(bound, &read_back);
    if (upper)
        return read_back > bound ? units - 1 : units;
    return read_back < bound ? units + 1 : units;
}

static cp_wide integer_bound(double bound, bool exclusive, bool upper) {
    double whole = upper ? floor(bound) : ceil(bound);
    if (whole > MAX_INTEGER)
        return upper ? MAX_INTEGER : (cp_wide)MAX_INTEGER + 1;
    if (whole < -MAX_INTEGER)
        return upper ? -(cp_wide)MAX_INTEGER - 1 : -MAX_INTEGER;
    cp_wide units = (cp_wide)whole;
    if (exclusive && whole == bound)
        units += upper ? -1 : 1;
    return units;
}

bool cp_number_range_set(cp_number_range *range, bool integer, double lo, bool lo_exclusive,
                         double hi, bool hi_exclusive) {
    range->integer = integer;
    if (integer) {
        range->lo = integer_bound(lo, lo_exclusive, false);
        range->hi = integer_bound(hi, hi_exclusive, true);
    } else {
        range->lo = bound_units(lo_exclusive ? nextafter(lo, INFINITY) : lo, false);
        range->hi = bound_units(hi_exclusive ? nextafter(hi, -INFINITY) : hi, true);
    }
    return range->lo <= range->hi;
}

/* ---- what can still be written ----------------------------------------------------------------
 */

/* Some value with the place's sign and a magnitude in first..last is in the range. */
static bool meets(const cp_number_range *r, bool negative, cp_wide first, cp_wide last) {
    cp_wide lo = negative ? -r->hi : r->lo, hi = negative ? -r->lo : r->hi;
    cp_wide least = negative ? 1 : 0; /* no minus zero */
    lo = lo > least ? lo : least;
    return lo <= hi && first <= hi && last >= lo;
}

static cp_wide scale(const cp_number_range *r) {
    return r->integer ? 1 : power_of_ten(FRACTION_DIGITS);
}

static cp_wide magnitude(const cp_number_range *r, const cp_number_place *p) {
    return (cp_wide)p->whole * scale(r) +
           (cp_wide)p->fraction * power_of_ten(FRACTION_DIGITS - p->n_fraction);
}

/* Whole digits so far: alone or with decimals, or with more digits. */
static bool whole_can_go_on(const cp_number_range *r, const cp_number_place *p) {
    cp_wide unit = scale(r);
    unsigned most = r->integer ? INTEGER_DIGITS : WHOLE_DIGITS;
    for (unsigned n = p->n_whole; n <= most; n++, unit *= 10) {
        if (meets(r, p->negative, p->whole * unit, (p->whole + (cp_wide)1) * unit - 1))
            return true;
        if (p->whole == 0)
            return false; /* no digit follows a leading zero */
    }
    return false;
}

static bool can_go_on(const cp_number_range *r, const cp_number_place *p) {
    if (p->phase == CP_NUMBER_SIGN)
        return meets(r, true, 0, power_of_ten(WHOLE_DIGITS + FRACTION_DIGITS));
    if (p->phase == CP_NUMBER_WHOLE)
        return whole_can_go_on(r, p);
    cp_wide first = magnitude(r, p);
    return meets(r, p->negative, first, first + power_of_ten(FRACTION_DIGITS - p->n_fraction) - 1);
}

static bool take_digit(const cp_number_range *r, cp_number_place *p, unsigned digit) {
    if (p->phase <= CP_NUMBER_WHOLE) {
        unsigned most = r->integer ? INTEGER_DIGITS : WHOLE_DIGITS;
        if (p->n_whole == most || (p->n_whole > 0 && p->whole == 0))
            return false;
        p->whole = p->whole * 10 + digit;
        p->n_whole++;
        p->phase = CP_NUMBER_WHOLE;
        return true;
    }
    if (p->n_fraction == FRACTION_DIGITS)
        return false;
    p->fraction = p->fraction * 10 + digit;
    p->n_fraction++;
    p->phase = CP_NUMBER_FRACTION;
    return true;
}

bool cp_number_step(const cp_number_range *r, cp_number_place *place, unsigned char c) {
    cp_number_place next = *place;
    if (c >= '0' && c <= '9') {
        if (!take_digit(r, &next, (unsigned)(c - '0')))
            return false;
    } else if (c == '-' && next.phase == CP_NUMBER_START) {
        next.phase = CP_NUMBER_SIGN;
        next.negative = true;
    } else if (c == '.' && next.phase == CP_NUMBER_WHOLE && !r->integer) {
        next.phase = CP_NUMBER_POINT;
    } else {
        return false;
    }
    if (!can_go_on(r, &next))
        return false;
    *place = next;
    return true;
}

bool cp_number_is_final(const cp_number_range *r, const cp_number_place *p) {
    if (p->phase != CP_NUMBER_WHOLE && p->phase != CP_NUMBER_FRACTION)
        return false;
    cp_wide value = magnitude(r, p);
    return meets(r, p->negative, value, value);
}

/* ---- closing ----------------------------------------------------------------------------------
 */

/* A number of `n_whole` digits before the point and `n_fraction` after it. */
typedef struct ending {
    cp_wide magnitude; /* in units */
    unsigned n_whole, n_fraction;
    bool negative;
    unsigned n_bytes; /* more than the place has; UINT_MAX: none found */
} ending;

/* The least magnitude in first..last and in the range that has n_fraction decimals, -1 for none. */
static cp_wide least_in(const cp_number_range *r, bool negative, cp_wide first, cp_wide last,
                        unsigned n_fraction) {
    cp_wide lo = negative ? -r->hi : r->lo, hi = negative ? -r->lo : r->hi;
    cp_wide grid = r->integer ? 1 : power_of_ten(FRACTION_DIGITS - n_fraction);
    cp_wide least = negative ? 1 : 0;
    lo = lo > least ? lo : least;
    lo = lo > first ? lo : first;
    hi = hi < last ? hi : last;
    lo = (lo + grid - 1) / grid * grid;
    return lo <= hi ? lo : -1;
}

/* Tries the numbers in first..last with the fewest decimals. `before` bytes more come before the
 * decimals (and their point, when the place has none yet). */
static void try_decimals(const cp_number_range *r, const cp_number_place *p, cp_wide first,
                         cp_wide last, unsigned before, ending candidate, ending *best) {
    unsigned most = r->integer ? 0 : FRACTION_DIGITS;
    unsigned n = p->phase == CP_NUMBER_POINT ? 1 : p->n_fraction;
    for (; n <= most; n++) {
        candidate.magnitude = least_in(r, candidate.negative, first, last, n);
        if (candidate.magnitude < 0)
            continue;
        candidate.n_fraction = n;
        candidate.n_bytes = before + n - p->n_fraction + (p->phase <= CP_NUMBER_WHOLE && n > 0);
        if (candidate.n_bytes < best->n_bytes)
            *best = candidate;
        return;
    }
}

/* Tries all numbers of digits before the point. */
static void try_wholes(const cp_number_range *r, const cp_number_place *p, bool negative,
                       ending *best) {
    unsigned most = r->integer ? INTEGER_DIGITS : WHOLE_DIGITS;
    unsigned sign = negative && p->phase == CP_NUMBER_START;
    for (unsigned n = p->n_whole ? p->n_whole : 1; n <= most; n++) {
        cp_wide power = power_of_ten(n - p->n_whole);
        cp_wide first = p->n_whole ? p->whole * power : n == 1 ? 0 : power / 10;
        cp_wide next = p->n_whole ? (p->whole + (cp_wide)1) * power : power;
        ending candidate = {.n_whole = n, .negative = negative};
        try_decimals(r, p, first * scale(r), next * scale(r) - 1, sign + n - p->n_whole, candidate,
                     best);
        if (p->n_whole > 0 && p->whole == 0)
            return;
    }
}

/* The last n of the n_all lowest decimal digits of a number. */
static void put_digits(cp_wide value, unsigned n_all, unsigned n, cp_strbuf *out) {
    cp_wide power = power_of_ten(n_all);
    for (unsigned i = 0; i < n_all; i++) {
        power /= 10;
        if (i >= n_all - n)
            cp_strbuf_putc(out, (char)('0' + (int)(value / power % 10)));
    }
}

void cp_number_close(const cp_number_range *r, cp_number_place p, cp_strbuf *out) {
    ending best = {.n_bytes = UINT_MAX};
    if (p.phase > CP_NUMBER_WHOLE) {
        cp_wide first = magnitude(r, &p);
        ending candidate = {.n_whole = p.n_whole, .negative = p.negative};
        try_decimals(r, &p, first, first + power_of_ten(FRACTION_DIGITS - p.n_fraction) - 1, 0,
                     candidate, &best);
    } else {
        try_wholes(r, &p, p.negative, &best);
        if (p.phase == CP_NUMBER_START)
            try_wholes(r, &p, true, &best);
    }
    if (best.n_bytes == UINT_MAX)
        return; /* cannot be: every place has a continuation */
    if (best.negative && p.phase == CP_NUMBER_START)
        cp_strbuf_putc(out, '-');
    put_digits(best.magnitude / scale(r), best.n_whole, best.n_whole - p.n_whole, out);
    if (p.phase <= CP_NUMBER_WHOLE && best.n_fraction > 0)
        cp_strbuf_putc(out, '.');
    if (best.n_fraction > 0)
        put_digits(best.magnitude % scale(r) / power_of_ten(FRACTION_DIGITS - best.n_fraction),
                   best.n_fraction, best.n_fraction - p.n_fraction, out);
}
