/* Borders of sentences in any text: for cutting documents and for showing the best sentence.
 *
 * A sentence ends at a line end, or behind ".", "?", "!" (with closing quotes and brackets) where
 * white space and no small letter follow and the point belongs to no abbreviation ("Dr. Marsh",
 * "e.g. Aspirin"). One that is longer than `most` bytes is cut behind white space, else between two
 * characters. Pure; looks at no more than `most` bytes ahead, so a whole text takes linear time. */
#ifndef CP_RETRIEVAL_SENTENCES_H
#define CP_RETRIEVAL_SENTENCES_H

#include "base/strbuf.h"

/* The next sentence at or behind *at, without white space around it; *at moves behind it. False at
 * the end of the text. */
bool cp_sentence_next(cp_str text, size_t *at, size_t most, size_t *begin, size_t *n);

#endif
