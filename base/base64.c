#include "base/base64.h"

#include <stdint.h>

void cp_base64_append(cp_strbuf *out, const void *bytes, size_t n) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *at = bytes;
    for (; n > 0; at += n < 3 ? n : 3, n -= n < 3 ? n : 3) {
        uint32_t three = (uint32_t)at[0] << 16;
        three |= n > 1 ? (uint32_t)at[1] << 8 : 0;
        three |= n > 2 ? at[2] : 0;
        const char text[4] = {letters[three >> 18], letters[three >> 12 & 63],
                              n > 1 ? letters[three >> 6 & 63] : '=',
                              n > 2 ? letters[three & 63] : '='};
        cp_strbuf_append(out, text, sizeof text);
    }
}
