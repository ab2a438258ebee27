/* Where a folded quotation stands in what a model was shown, by the rules of retrieval/citations.h:
 * on borders of words and numbers, within the shown bytes, not robbed of its "not". Each search is
 * one pass over the passage. Pure; any thread. */
#ifndef CP_RETRIEVAL_QUOTE_FIND_H
#define CP_RETRIEVAL_QUOTE_FIND_H

#include "retrieval/fold.h"
#include "retrieval/retriever.h"

/* A passage, folded with a little of the document around it, so that its edges are judged too. */
typedef struct cp_shown {
    const cp_passage *passage;
    cp_folded folded;
    size_t origin;     /* the document's byte where folding began */
    size_t first, end; /* folded bytes that were shown */
} cp_shown;
cp_status cp_shown_init(cp_shown *shown, const cp_passage *passage, cp_error *err) CP_MUST_CHECK;
void cp_shown_deinit(cp_shown *shown);
/* Bytes of the document's text. */
cp_span cp_shown_span(const cp_shown *shown, size_t at, size_t n);

/* What is looked for, with its table of borders (Knuth, Morris, Pratt). */
typedef struct cp_needle {
    cp_str text;
    uint32_t *next;   /* [text.n + 1] */
    uint32_t *border; /* [text.n + 1]: the last place up to here where a word may end */
} cp_needle;
cp_status cp_needle_init(cp_needle *needle, cp_str text, cp_error *err) CP_MUST_CHECK;
void cp_needle_deinit(cp_needle *needle);

/* Which negations beside the place count. */
enum { CP_NOT_BEFORE = 1, CP_NOT_AFTER = 2 };
/* The first place in [from, to) of the folded text where it stands whole; false: none. */
bool cp_needle_find(const cp_needle *needle, const cp_shown *shown, size_t from, size_t to,
                    unsigned negations, size_t *at);
/* The longest start of it that stands whole somewhere in the shown part; 0: none. */
size_t cp_needle_find_start(const cp_needle *needle, const cp_shown *shown, size_t *at);

#endif
