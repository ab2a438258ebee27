/* A text folded for comparison, with the way back to the original bytes.
 *
 * Two texts that a reader takes for the same words fold to the same bytes: Unicode compatibility
 * forms and case (as NFKC with case folding, but kept decomposed, which is equal for the same texts
 * and needs no look ahead), quotation marks and apostrophes of every form become ', runs of dashes
 * and hyphens -, the ellipsis three dots, white space and line ends one space, none at either end.
 * What nobody sees (base/utf8.h), joiners and emoji selectors are left out. Raised and lowered
 * digits and fractions stay what they are, for 10 with a raised 9 is not 109. Bytes that are not
 * UTF-8 become U+FFFD. Time and memory are linear in the text. Pure; any thread. */
#ifndef CP_RETRIEVAL_FOLD_H
#define CP_RETRIEVAL_FOLD_H

#include "base/strbuf.h"

#include <stdint.h>

typedef struct cp_folded {
    char *text; /* [n], UTF-8, not NUL-terminated; NULL when n is 0 */
    /* Of each folded byte, the original character with its marks: bytes [begin, end). */
    uint32_t *begin, *end;
    size_t n;
} cp_folded;
/* At most UINT32_MAX / 2 bytes. */
cp_status cp_fold(cp_str text, cp_folded *out, cp_error *err) CP_MUST_CHECK;
void cp_folded_deinit(cp_folded *folded);

/* The original bytes of folded[at, at + n), n > 0: whole characters. */
typedef struct cp_span {
    size_t begin, n;
} cp_span;
cp_span cp_folded_span(const cp_folded *folded, size_t at, size_t n);

/* Whether a word may end, or begin, between folded bytes at - 1 and at. Not inside words and
 * numbers, nor between what belongs together: "2.4", "10:30", "5-10", "mg/kg", "can't", "6.9%",
 * "-5", "<5". */
bool cp_fold_is_border(cp_str folded, size_t at);

#endif
