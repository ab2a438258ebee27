/* Unicode normalisation form C in linear time.
 *
 * utf8proc has the tables and the composition; its own canonical ordering is a bubble sort,
 * quadratic on a long run of combining marks, so ordering is done here (a stable counting sort).
 * Most text is NFC as it stands: only runs around a character that could change are touched. Input
 * must be valid UTF-8. No state is kept between calls. Code points newer than the library's Unicode
 * version pass unchanged. */
#ifndef CP_TOKENIZER_NFC_H
#define CP_TOKENIZER_NFC_H

#include "base/strbuf.h"

/* The length of the longest start of the text that is valid UTF-8 and certain to be NFC as it
 * stands. */
size_t cp_nfc_plain_prefix(const char *text, size_t n);

/* Appends the NFC form of text[0..n) to `out`, whose own failure is checked here too. */
cp_status cp_nfc_append(cp_strbuf *out, const char *text, size_t n, cp_error *err) CP_MUST_CHECK;

#endif
