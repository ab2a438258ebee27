#include "tokenizer/byte_alphabet.h"

static bool stands_for_itself(unsigned byte) {
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

void cp_byte_alphabet_init(cp_byte_alphabet *alphabet) {
    for (unsigned i = 0; i < CP_ALPHABET_END; i++)
        alphabet->byte_of[i] = -1;
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++)
        alphabet->byte_of[stands_for_itself(byte) ? byte : next++] = (int16_t)byte;
}

bool cp_byte_alphabet_decode(const cp_byte_alphabet *alphabet, cp_str text, char *out,
                             size_t *n_out) {
    size_t n = 0;
    for (size_t i = 0; i < text.n;) {
        unsigned code = (unsigned char)text.data[i++];
        if (code >= 0x80) { /* letters of two bytes reach U+07FF, more than the alphabet needs */
            if (code < 0xc2 || code > 0xdf || i == text.n)
                return false;
            code = (code & 0x1f) << 6 | ((unsigned char)text.data[i++] & 0x3f);
        }
        if (code >= CP_ALPHABET_END || alphabet->byte_of[code] < 0)
            return false;
        out[n++] = (char)alphabet->byte_of[code];
    }
    *n_out = n;
    return true;
}
