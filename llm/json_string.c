#include "llm/json_string.h"

#include <stdbool.h>
#include <string.h>

static bool is_hex(unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_one_of(unsigned char c, const char *letters) {
    return c != 0 && strchr(letters, c) != NULL;
}

static cp_string_phase start_character(unsigned char c) {
    if (c == '"')
        return CP_STRING_END;
    if (c == '\\')
        return CP_STRING_ESCAPE;
    if (c < 0x80)
        return c >= 0x20 ? CP_STRING_PLAIN : CP_STRING_BAD;
    if (c < 0xc2 || c > 0xf4)
        return CP_STRING_BAD;
    if (c < 0xe0)
        return CP_STRING_TAIL1;
    if (c < 0xf0)
        return c == 0xe0 ? CP_STRING_AFTER_E0 : c == 0xed ? CP_STRING_AFTER_ED : CP_STRING_TAIL2;
    return c == 0xf0 ? CP_STRING_AFTER_F0 : c == 0xf4 ? CP_STRING_AFTER_F4 : CP_STRING_TAIL3;
}

static cp_string_phase when(bool taken, cp_string_phase next) {
    return taken ? next : CP_STRING_BAD;
}

static cp_string_phase step_utf8(cp_string_phase phase, unsigned char c) {
    switch (phase) {
    case CP_STRING_TAIL1:
        return when(c >= 0x80 && c <= 0xbf, CP_STRING_PLAIN);
    case CP_STRING_TAIL2:
        return when(c >= 0x80 && c <= 0xbf, CP_STRING_TAIL1);
    case CP_STRING_TAIL3:
        return when(c >= 0x80 && c <= 0xbf, CP_STRING_TAIL2);
    case CP_STRING_AFTER_E0:
        return when(c >= 0xa0 && c <= 0xbf, CP_STRING_TAIL1);
    case CP_STRING_AFTER_ED:
        return when(c >= 0x80 && c <= 0x9f, CP_STRING_TAIL1);
    case CP_STRING_AFTER_F0:
        return when(c >= 0x90 && c <= 0xbf, CP_STRING_TAIL2);
    default:
        return when(c >= 0x80 && c <= 0x8f, CP_STRING_TAIL2);
    }
}

/* The four digits of \u. What matters of those seen is whether all were 0 and whether they begin a
 * surrogate. */
static cp_string_phase step_hex(cp_string_phase phase, unsigned char c) {
    if (!is_hex(c))
        return CP_STRING_BAD;
    switch (phase) {
    case CP_STRING_HEX1:
        return c == '0'                 ? CP_STRING_HEX2_0
               : (c == 'd' || c == 'D') ? CP_STRING_HEX2_D
                                        : CP_STRING_HEX2;
    case CP_STRING_HEX2_0:
        return c == '0' ? CP_STRING_HEX3_00 : CP_STRING_HEX3;
    case CP_STRING_HEX2_D:
        return is_one_of(c, "01234567") ? CP_STRING_HEX3
                                        : when(is_one_of(c, "89abAB"), CP_STRING_HEX3_HIGH);
    case CP_STRING_HEX2:
        return CP_STRING_HEX3;
    case CP_STRING_HEX3_00:
        return c == '0' ? CP_STRING_HEX4_000 : CP_STRING_HEX4;
    case CP_STRING_HEX3:
        return CP_STRING_HEX4;
    case CP_STRING_HEX3_HIGH:
        return CP_STRING_HEX4_HIGH;
    case CP_STRING_HEX4_HIGH:
        return CP_STRING_LOW_ESCAPE;
    case CP_STRING_HEX4_000:
        return when(c != '0', CP_STRING_PLAIN);
    default: /* HEX4 */
        return CP_STRING_PLAIN;
    }
}

cp_string_phase cp_string_step(cp_string_phase phase, unsigned char c) {
    if (phase == CP_STRING_PLAIN)
        return start_character(c);
    if (phase >= CP_STRING_TAIL1)
        return step_utf8(phase, c);
    switch (phase) {
    case CP_STRING_ESCAPE:
        return c == 'u' ? CP_STRING_HEX1 : when(is_one_of(c, "\"\\/bfnrt"), CP_STRING_PLAIN);
    case CP_STRING_LOW_ESCAPE:
        return when(c == '\\', CP_STRING_LOW_U);
    case CP_STRING_LOW_U:
        return when(c == 'u', CP_STRING_LOW_HEX1);
    case CP_STRING_LOW_HEX1:
        return when(c == 'd' || c == 'D', CP_STRING_LOW_HEX2);
    case CP_STRING_LOW_HEX2:
        return when(is_one_of(c, "cdefCDEF"), CP_STRING_HEX3);
    case CP_STRING_END:
    case CP_STRING_BAD:
        return CP_STRING_BAD;
    default:
        return step_hex(phase, c);
    }
}

const char *cp_string_completion(cp_string_phase phase) {
    static const char *const completions[] = {
        [CP_STRING_ESCAPE] = "n",
        [CP_STRING_HEX1] = "0020",
        [CP_STRING_HEX2] = "000",
        [CP_STRING_HEX2_D] = "000",
        [CP_STRING_HEX2_0] = "020",
        [CP_STRING_HEX3] = "00",
        [CP_STRING_HEX3_00] = "20",
        [CP_STRING_HEX3_HIGH] = "00\\uDC00",
        [CP_STRING_HEX4] = "0",
        [CP_STRING_HEX4_000] = "a",
        [CP_STRING_HEX4_HIGH] = "0\\uDC00",
        [CP_STRING_LOW_ESCAPE] = "\\uDC00",
        [CP_STRING_LOW_U] = "uDC00",
        [CP_STRING_LOW_HEX1] = "DC00",
        [CP_STRING_LOW_HEX2] = "C00",
        [CP_STRING_TAIL1] = "\x80",
        [CP_STRING_TAIL2] = "\x80\x80",
        [CP_STRING_TAIL3] = "\x80\x80\x80",
        [CP_STRING_AFTER_E0] = "\xa0\x80",
        [CP_STRING_AFTER_ED] = "\x80\x80",
        [CP_STRING_AFTER_F0] = "\x90\x80\x80",
        [CP_STRING_AFTER_F4] = "\x80\x80\x80",
    };
    return completions[phase] ? completions[phase] : "";
}
