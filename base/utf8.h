/* UTF-8: decoding one sequence at a time, and the defined treatment of bytes that are not UTF-8.
 *
 * "Maximal bad part" is the Unicode standard's practice (section 3.9, "U+FFFD substitution of
 * maximal subparts"): the longest start of a well-formed sequence that the next byte breaks, else
 * one byte. */
#ifndef CP_BASE_UTF8_H
#define CP_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CP_UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

typedef struct cp_utf8_step {
    uint32_t code_point; /* defined when valid */
    uint8_t n_bytes;     /* of the sequence, or of the maximal bad part; at least 1 */
    bool valid;
    bool cut; /* not valid only because the text ends: more bytes could complete it */
} cp_utf8_step;

/* Looks at text[0..n), n > 0. */
cp_utf8_step cp_utf8_decode(const char *text, size_t n);
bool cp_utf8_is_valid(const char *text, size_t n);
/* A character that nobody sees but a program reads: zero-width spaces, the soft hyphen,
 * marks that turn the direction of writing, tags, variation selectors but that of emoji (U+FE0F).
 * Text can be hidden in them, or shown in another order than it has. U+200C and U+200D, which
 * scripts and emoji need, are not among them. */
bool cp_utf8_is_unseen(uint32_t code_point);
/* Writes 1 to 4 bytes; code_point is a scalar value. Returns their number. */
size_t cp_utf8_encode(uint32_t code_point, char out[4]);

#endif
