/* Text from a model or a record, made fit to be shown: valid UTF-8 without control characters,
 * without what nobody sees (cp_utf8_is_unseen: zero-width spaces, turned writing) and without the
 * spelling of control tokens ("<|im_end|>", "</think>"). */
#ifndef CP_SERVER_TRIAGE_TEXT_H
#define CP_SERVER_TRIAGE_TEXT_H

#include "base/strbuf.h"

/* Appends the cleaned text, blank ends trimmed. */
void cp_triage_clean_append(cp_str text, cp_strbuf *out);

/* The same for text that comes in pieces: holds back what could be the beginning of a token. Blank
 * ends stay. Release with deinit. */
typedef struct cp_triage_cleaner {
    cp_strbuf held;
} cp_triage_cleaner;
void cp_triage_cleaner_init(cp_triage_cleaner *cleaner);
void cp_triage_cleaner_deinit(cp_triage_cleaner *cleaner);
/* Appends to `out` what is certain; with `last` all that was held back. */
void cp_triage_cleaner_push(cp_triage_cleaner *cleaner, cp_str text, bool last, cp_strbuf *out);

#endif
