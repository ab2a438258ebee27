#include "base/utf8.h"

#include <string.h>

cp_utf8_step cp_utf8_decode(const char *text, size_t n) {
    const unsigned char *s = (const unsigned char *)text;
    unsigned lead = s[0];
    if (lead < 0x80)
        return (cp_utf8_step){lead, 1, true, false};

    /* Table 3-7 of the Unicode standard: the second byte's range depends on the first. */
    unsigned low = 0x80, high = 0xbf, length;
    if (lead >= 0xc2 && lead <= 0xdf)
        length = 2;
    else if (lead >= 0xe0 && lead <= 0xef)
        length = 3;
    else if (lead >= 0xf0 && lead <= 0xf4)
        length = 4;
    else
        return (cp_utf8_step){0, 1, false, false};
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;

    uint32_t code = lead & (0x7fu >> length);
    for (unsigned i = 1; i < length; i++) {
        if (i == n)
            return (cp_utf8_step){0, (uint8_t)i, false, true};
        if (s[i] < low || s[i] > high)
            return (cp_utf8_step){0, (uint8_t)i, false, false};
        code = code << 6 | (s[i] & 0x3fu);
        low = 0x80;
        high = 0xbf;
    }
    return (cp_utf8_step){code, (uint8_t)length, true, false};
}

bool cp_utf8_is_valid(const char *text, size_t n) {
    for (size_t i = 0; i < n;) {
        cp_utf8_step step = cp_utf8_decode(text + i, n - i);
        if (!step.valid)
            return false;
        i += step.n_bytes;
    }
    return true;
}

bool cp_utf8_is_unseen(uint32_t c) {
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0xad, 0xad},     {0x61c, 0x61c},   {0x180b, 0x180f},  {0x200b, 0x200b},
                  {0x200e, 0x200f}, {0x202a, 0x202e}, {0x2060, 0x206f},  {0xfe00, 0xfe0e},
                  {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0] && c >= ranges[i].first; i++)
        if (c <= ranges[i].last)
            return true;
    return false;
}

size_t cp_utf8_encode(uint32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}
