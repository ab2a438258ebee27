#include "tokenizer/pretokenize.h"

#include "tokenizer/split_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Backtracking. Real patterns need next to nothing but on long runs of blanks, where it grows with
 * the run. So a match starts with a small allowance; when that is not enough it is repeated with a
 * larger one, which is taken from a budget in proportion to the text. */
#define FIRST_ALLOWANCE    4096u
#define ALLOWANCE_FACTOR   8u
#define BUDGET_BASE        ((uint64_t)20 << 20)
#define BUDGET_PER_BYTE    64u
#define MATCH_HEAP_MAX_KIB ((uint32_t)256 << 10)

void cp_pretokenizer_deinit(cp_pretokenizer *p) {
    for (size_t i = 0; i < p->n_steps; i++)
        pcre2_code_free(p->steps[i]);
    *p = (cp_pretokenizer){.n_steps = 0};
}

static cp_status compile(cp_str pattern, pcre2_code **out, cp_error *err) {
    int code;
    PCRE2_SIZE offset;
    PCRE2_UCHAR reason[160];
    *out = pcre2_compile((PCRE2_SPTR)pattern.data, pattern.n,
                         PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE,
                         &code, &offset, NULL);
    if (!*out) {
        pcre2_get_error_message(code, reason, sizeof reason);
        return cp_error_set(err, CP_ERR_FORMAT, "the split pattern does not compile: %s",
                            (char *)reason);
    }
    uint32_t can_be_empty = 0;
    pcre2_pattern_info(*out, PCRE2_INFO_MATCHEMPTY, &can_be_empty);
    if (can_be_empty) {
        pcre2_code_free(*out);
        *out = NULL;
        return cp_error_set(err, CP_ERR_UNSUPPORTED, "the split pattern can match the empty text");
    }
    /* Without the JIT (not built in, or memory may not be executable) matching is slower, no more.
     */
    (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE);
    return CP_OK;
}

cp_status cp_pretokenizer_add(cp_pretokenizer *p, cp_str pattern, cp_error *err) {
    if (p->n_steps == CP_PRETOKENIZER_MAX_STEPS)
        return cp_error_set(err, CP_ERR_UNSUPPORTED, "more than %d split patterns",
                            CP_PRETOKENIZER_MAX_STEPS);
    cp_strbuf translated;
    cp_strbuf_init(&translated, CP_SPLIT_PATTERN_MAX * 32);
    cp_status status = cp_split_pattern_translate(pattern, &translated, err);
    if (status == CP_OK)
        status = compile(cp_strbuf_str(&translated), &p->steps[p->n_steps], err);
    if (status == CP_OK)
        p->n_steps++;
    cp_strbuf_deinit(&translated);
    return status;
}

/* ---- matching ------------------------------------------------------------------------------ */

cp_status cp_splitter_init(cp_splitter *s, const cp_pretokenizer *p, cp_piece_fn *piece,
                           void *context, cp_error *err) {
    *s = (cp_splitter){.p = p, .piece = piece, .context = context};
    s->limits = pcre2_match_context_create(NULL);
    bool all = s->limits != NULL;
    for (size_t i = 0; i < p->n_steps; i++) {
        s->matches[i] = pcre2_match_data_create(1, NULL);
        all = all && s->matches[i];
    }
    if (!all)
        return cp_error_no_memory(err, "splitting text");
    pcre2_set_heap_limit(s->limits, MATCH_HEAP_MAX_KIB);
    pcre2_set_match_limit(s->limits, FIRST_ALLOWANCE);
    return CP_OK;
}

void cp_splitter_deinit(cp_splitter *s) {
    for (size_t i = 0; i < CP_PRETOKENIZER_MAX_STEPS; i++)
        pcre2_match_data_free(s->matches[i]);
    pcre2_match_context_free(s->limits);
    *s = (cp_splitter){.p = NULL};
}

/* One match from `from` on; the count of captures, or PCRE2's negative code. */
static int match_once(cp_splitter *s, size_t step, const char *text, size_t n, size_t from) {
    int got = pcre2_match(s->p->steps[step], (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK,
                          s->matches[step], s->limits);
    if (got != PCRE2_ERROR_JIT_STACKLIMIT)
        return got;
    return pcre2_match(s->p->steps[step], (PCRE2_SPTR)text, n, from,
                       PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->matches[step], s->limits);
}

static cp_status match(cp_splitter *s, size_t step, const char *text, size_t n, size_t from,
                       bool *found, cp_error *err) {
    uint64_t allowance = FIRST_ALLOWANCE;
    int got;
    while ((got = match_once(s, step, text, n, from)) == PCRE2_ERROR_MATCHLIMIT) {
        allowance *= ALLOWANCE_FACTOR;
        if (allowance > s->budget || allowance > UINT32_MAX)
            break;
        s->budget -= allowance;
        pcre2_set_match_limit(s->limits, (uint32_t)allowance);
    }
    if (allowance != FIRST_ALLOWANCE)
        pcre2_set_match_limit(s->limits, FIRST_ALLOWANCE);
    *found = got > 0;
    if (got > 0 || got == PCRE2_ERROR_NOMATCH)
        return CP_OK;
    if (got == PCRE2_ERROR_NOMEMORY)
        return cp_error_no_memory(err, "splitting text");
    return cp_error_set(err, CP_ERR_LIMIT,
                        "tokenizer: the split pattern backtracks too much on this text");
}

static cp_status run_step(cp_splitter *s, size_t step, const char *text, size_t n, cp_error *err) {
    if (n == 0)
        return CP_OK;
    if (step == s->p->n_steps)
        return s->piece(s->context, text, n, err);
    cp_status status = CP_OK;
    size_t at = 0;
    while (at < n && status == CP_OK) {
        bool found = false;
        status = match(s, step, text, n, at, &found, err);
        if (status != CP_OK || !found)
            break;
        const PCRE2_SIZE *where = pcre2_get_ovector_pointer(s->matches[step]);
        size_t begin = where[0],
               end = where[1]; /* the next step does not change them, the next match does */
        if (begin < at || end <= begin)
            return cp_error_set(err, CP_ERR_UNSUPPORTED,
                                "tokenizer: the split pattern matched nothing");
        status = run_step(s, step + 1, text + at, begin - at, err);
        if (status == CP_OK)
            status = run_step(s, step + 1, text + begin, end - begin, err);
        at = end;
    }
    return status == CP_OK ? run_step(s, step + 1, text + at, n - at, err) : status;
}

cp_status cp_splitter_run(cp_splitter *s, const char *text, size_t n, cp_error *err) {
    s->budget = BUDGET_BASE + (uint64_t)n * BUDGET_PER_BYTE;
    return run_step(s, 0, text, n, err); /* as deep as there are steps */
}
