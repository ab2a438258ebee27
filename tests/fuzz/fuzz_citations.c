/* The gate on any passage, quotation and claim: a span lies in what was shown, is whole characters,
 * and reads as it was quoted; what is marked lies in the text. */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "retrieval/citations.h"
#include "retrieval/fold.h"

#include <stdlib.h>
#include <string.h>

/* The next part of the input: bytes up to a line "|". */
static cp_str next_part(cp_str *rest) {
    const char *bar = rest->n ? memmem(rest->data, rest->n, "\n|\n", 3) : NULL;
    cp_str part = {rest->data, bar ? (size_t)(bar - rest->data) : rest->n};
    size_t used = bar ? part.n + 3 : part.n;
    *rest = (cp_str){rest->data + used, rest->n - used};
    return part;
}

/* A whole quotation's span says what the quotation says, but for what stands around it. */
static void compare(cp_str span, cp_str quote) {
    cp_error err;
    cp_folded a, b;
    if (!fuzz_ok(cp_fold(span, &a, &err), &err) || !fuzz_ok(cp_fold(quote, &b, &err), &err))
        exit(2);
    fuzz_expect(a.n > 0);
    /* Else it covers what was left out, or lines lost their marks. */
    if (!memmem(b.text, b.n, "...", 3) && !memchr(b.text, '>', b.n))
        fuzz_expect(memmem(b.text, b.n, a.text, a.n));
    cp_folded_deinit(&a);
    cp_folded_deinit(&b);
}

static void check_marks(const cp_claim_terms *terms, cp_str answer, cp_str given) {
    cp_error err;
    cp_unsupported_claim *claims;
    size_t n;
    if (!fuzz_ok(cp_claims_check(terms, NULL, answer, &given, 1, &claims, &n, &err), &err))
        exit(2);
    for (size_t i = 0; i < n; i++) {
        const cp_unsupported_claim *c = &claims[i];
        fuzz_expect(c->kind < CP_N_CLAIM_KINDS && c->term_n > 0);
        fuzz_expect(c->begin <= c->term_begin && c->term_n <= c->n);
        fuzz_expect(c->term_begin + c->term_n <= c->begin + c->n);
        fuzz_expect(c->begin + c->n <= answer.n);
    }
    free(claims);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static cp_claim_terms *terms;
    cp_error err;
    cp_str rest = fuzz_str(data, n);
    if (!terms && !fuzz_ok(cp_claim_terms_create(NULL, NULL, &terms, &err), &err))
        exit(2);
    cp_str one = next_part(&rest), two = next_part(&rest), claim = next_part(&rest), quote = rest;
    cp_source_doc docs[] = {{.title = "one", .text = one}, {.title = "two", .text = two}};
    /* The second one is shown from its second byte to its last but one. */
    cp_passage passages[] = {
        {.doc = &docs[0], .n = (uint32_t)one.n},
        {.doc = &docs[1], .begin = two.n > 1, .n = (uint32_t)(two.n > 2 ? two.n - 2 : 0)}};
    cp_citation_claimed claimed = {.source = n % 3, .quote = quote, .claim = claim};
    cp_citation out;
    if (!fuzz_ok(cp_citations_check(passages, 2, terms, NULL, &claimed, 1, &out, &err), &err))
        exit(2);
    fuzz_expect(out.kept || out.verdict >= CP_CITATION_STITCHED);
    if (out.kept) {
        const cp_passage *p = &passages[out.passage];
        fuzz_expect(out.passage < 2 && out.n > 0 && out.begin >= p->begin);
        fuzz_expect(out.begin + out.n <= (size_t)p->begin + p->n);
        cp_str span = {p->doc->text.data + out.begin, out.n};
        fuzz_expect(!cp_utf8_is_valid(p->doc->text.data, p->doc->text.n) ||
                    cp_utf8_is_valid(span.data, span.n));
        compare(span, quote);
    }
    check_marks(terms, quote, one);
    return 0;
}
