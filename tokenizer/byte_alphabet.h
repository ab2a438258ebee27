/* The byte-level alphabet: how tokenizer.json writes arbitrary bytes as readable letters.
 *
 * GPT-2's scheme, used by every byte-level BPE since: the printable bytes of Latin-1 stand for
 * themselves, the other 68 are written as U+0100, U+0101, ... in ascending order (a space is
 * U+0120). The mapping is one to one, so this project turns every token into its bytes once, at
 * load, and works on bytes from then on. Tables are computed by the caller's own struct: no shared
 * state, no lifetime. */
#ifndef CP_TOKENIZER_BYTE_ALPHABET_H
#define CP_TOKENIZER_BYTE_ALPHABET_H

#include "base/strbuf.h"

#include <stdbool.h>
#include <stdint.h>

#define CP_ALPHABET_END 0x144 /* one past the last code point in use */

typedef struct cp_byte_alphabet {
    int16_t byte_of[CP_ALPHABET_END]; /* by code point; -1 where none is written so */
} cp_byte_alphabet;

void cp_byte_alphabet_init(cp_byte_alphabet *alphabet);

/* Writes the bytes that `text` (UTF-8) stands for into out[text.n], which is always enough. False
 * when a letter is outside the alphabet. */
bool cp_byte_alphabet_decode(const cp_byte_alphabet *alphabet, cp_str text, char *out,
                             size_t *n_out) CP_MUST_CHECK;

#endif
