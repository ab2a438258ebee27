/* Splitting text into the pieces that BPE works on: a chain of regular expressions.
 *
 * Each step isolates its matches in every piece of the step before: matches and the gaps between
 * them are the new pieces, in order, and together they are the whole text. A piece is matched by
 * itself; no look-around sees past its ends. The compiled chain is constant and shared; each
 * encoding call has its own cp_splitter with PCRE2's match data. Matching is bounded: a pattern
 * that backtracks without end gives an error, not a hang. Text must be valid UTF-8. */
#ifndef CP_TOKENIZER_PRETOKENIZE_H
#define CP_TOKENIZER_PRETOKENIZE_H

#include "base/strbuf.h"

#include <stdint.h>

#define CP_PRETOKENIZER_MAX_STEPS 8

/* What ByteLevel splits by when it has "use_regex": true (GPT-2's pattern). */
#define CP_PATTERN_GPT2                                                                            \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CP_PATTERN_DIGIT  "\\p{N}"
#define CP_PATTERN_DIGITS "\\p{N}+"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;

typedef struct cp_pretokenizer { /* zeroed: no steps, every text is one piece */
    struct pcre2_real_code_8 *steps[CP_PRETOKENIZER_MAX_STEPS];
    size_t n_steps;
} cp_pretokenizer;
void cp_pretokenizer_deinit(cp_pretokenizer *p);
/* Compiles one more step. */
cp_status cp_pretokenizer_add(cp_pretokenizer *p, cp_str pattern, cp_error *err) CP_MUST_CHECK;

typedef cp_status cp_piece_fn(void *context, const char *piece, size_t n, cp_error *err);

typedef struct cp_splitter {
    const cp_pretokenizer *p;
    struct pcre2_real_match_data_8 *matches[CP_PRETOKENIZER_MAX_STEPS];
    struct pcre2_real_match_context_8 *limits;
    uint64_t budget; /* backtracking steps left beyond what each match may take at first */
    cp_piece_fn *piece;
    void *context;
} cp_splitter;
/* Fails for want of memory only; deinit also after failure. */
cp_status cp_splitter_init(cp_splitter *s, const cp_pretokenizer *p, cp_piece_fn *piece,
                           void *context, cp_error *err) CP_MUST_CHECK;
void cp_splitter_deinit(cp_splitter *s);
/* Calls s->piece for each piece of text[0..n) in order, until it fails. */
cp_status cp_splitter_run(cp_splitter *s, const char *text, size_t n, cp_error *err) CP_MUST_CHECK;

#endif
