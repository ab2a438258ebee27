/* Turns a pattern of tokenizer.json into one that PCRE2 reads the same way.
 *
 * The patterns are written for Oniguruma. The common ground is large, but not everything that both
 * accept means the same in both. So a pattern is passed on only when all its parts are on a list of
 * constructs with one meaning; \s and \S, which every known pattern uses and which differ, are
 * written out as explicit sets; anything else is refused by name. Better no tokenizer than one that
 * is subtly wrong. */
#ifndef CP_TOKENIZER_SPLIT_PATTERN_H
#define CP_TOKENIZER_SPLIT_PATTERN_H

#include "base/strbuf.h"

#define CP_SPLIT_PATTERN_MAX ((size_t)16384)

/* Appends the PCRE2 form (options UTF and UCP) to `out`. */
cp_status cp_split_pattern_translate(cp_str pattern, cp_strbuf *out, cp_error *err) CP_MUST_CHECK;

#endif
