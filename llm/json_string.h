/* The inside of a JSON string, one byte at a time.
 *
 * A finite automaton between the opening and the closing quote: UTF-8 without overlong forms and
 * surrogates, the escapes of RFC 8259, surrogate escapes only as pairs. \u0000 is left out,
 * although JSON has it, because too many readers cut a text there. Control characters must be
 * escaped. It counts nothing: a character begins with every byte that is taken in CP_STRING_PLAIN.
 */
#ifndef CP_LLM_JSON_STRING_H
#define CP_LLM_JSON_STRING_H

#include <stdint.h>

typedef enum cp_string_phase {
    CP_STRING_PLAIN, /* between two characters */
    CP_STRING_END,   /* the closing quote was taken */
    CP_STRING_BAD,   /* no string goes on so */
    CP_STRING_ESCAPE,
    CP_STRING_HEX1, /* \u, then the digits */
    CP_STRING_HEX2,
    CP_STRING_HEX2_D, /* \uD: a surrogate, or U+D000 to U+D7FF */
    CP_STRING_HEX2_0,
    CP_STRING_HEX3,
    CP_STRING_HEX3_00,
    CP_STRING_HEX3_HIGH, /* in a high surrogate */
    CP_STRING_HEX4,
    CP_STRING_HEX4_000,
    CP_STRING_HEX4_HIGH,
    CP_STRING_LOW_ESCAPE, /* the low surrogate must follow: its backslash, */
    CP_STRING_LOW_U,      /* its u, */
    CP_STRING_LOW_HEX1,   /* its D, */
    CP_STRING_LOW_HEX2,   /* its C to F */
    CP_STRING_TAIL1,      /* so many bytes of a UTF-8 sequence are missing */
    CP_STRING_TAIL2,
    CP_STRING_TAIL3,
    CP_STRING_AFTER_E0, /* lead bytes that narrow their second byte */
    CP_STRING_AFTER_ED,
    CP_STRING_AFTER_F0,
    CP_STRING_AFTER_F4,
} cp_string_phase;

/* Where one more byte leads from `phase`, which is neither END nor BAD. */
cp_string_phase cp_string_step(cp_string_phase phase, unsigned char byte);
/* The fewest bytes that lead from `phase` to CP_STRING_PLAIN; "" from there. */
const char *cp_string_completion(cp_string_phase phase);

#endif
