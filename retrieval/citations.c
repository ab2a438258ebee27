#include "retrieval/citations.h"

#include "base/mem.h"
#include "retrieval/quote_find.h"

#include <stdlib.h>
#include <string.h>

#define SHORT_WORDS 3
#define SHORT_BYTES 12
#define PIECE_WORDS 3 /* a piece of a stitched quotation */
#define KEPT_WORDS  4
#define KEPT_BYTES  20
#define MAX_PIECES  64
#define MAX_PARTS   8  /* around ellipses */
#define CHAIN_TRIES 16 /* places of the first part */
#define BOTH_NOT    (CP_NOT_BEFORE | CP_NOT_AFTER)

const char *cp_citation_verdict_name(cp_citation_verdict verdict) {
    static const char *const names[] = {"verbatim", "misattributed", "stitched", "absent"};
    return verdict < CP_N_CITATION_VERDICTS ? names[verdict] : "unknown";
}

/* ---- the quotation, folded ------------------------------------------------------------------- */

static bool has_digit(cp_str text) {
    for (size_t i = 0; i < text.n; i++)
        if (text.data[i] >= '0' && text.data[i] <= '9')
            return true;
    return false;
}

static bool has_letter(cp_str text) {
    for (size_t i = 0; i < text.n; i++)
        if ((text.data[i] >= 'a' && text.data[i] <= 'z') || (unsigned char)text.data[i] >= 0x80)
            return true;
    return false;
}

static size_t count_words(cp_str text) {
    size_t n = 0;
    for (size_t i = 0; i < text.n;) {
        const char *space = memchr(text.data + i, ' ', text.n - i);
        size_t end = space ? (size_t)(space - text.data) : text.n;
        cp_str word = {text.data + i, end - i};
        n += has_letter(word) || has_digit(word);
        i = end + 1;
    }
    return n;
}

static bool is_short(cp_str quote) {
    return quote.n < SHORT_BYTES || count_words(quote) < SHORT_WORDS;
}

static cp_str cut(cp_str text, size_t front, size_t back) {
    return (cp_str){text.data + front, text.n - front - back};
}

static bool is_edge(char c) {
    return memchr("'.,;:[] ", c, 8) != NULL;
}

/* Without what a writer puts around a quotation. ".5" and "-5" keep their sign. */
static cp_str strip(cp_str text) {
    while (text.n > 0) {
        char last = text.data[text.n - 1];
        if (!is_edge(last) && !(last == '-' && text.n > 1 && text.data[text.n - 2] == ' '))
            break;
        text = cut(text, 0, 1);
    }
    while (text.n > 1) {
        bool number = text.data[1] >= '0' && text.data[1] <= '9';
        char first = text.data[0];
        if (!(first == '-' && text.data[1] == ' ') &&
            (!is_edge(first) || (number && memchr(".,:", first, 3))))
            break;
        text = cut(text, 1, 0);
    }
    return text;
}

/* The parts around each "...", without brackets and spaces. */
static size_t split_at_ellipses(cp_str text, cp_str parts[MAX_PARTS]) {
    size_t n = 0;
    while (n < MAX_PARTS) {
        const char *dots = memmem(text.data, text.n, "...", 3);
        size_t end = dots ? (size_t)(dots - text.data) : text.n;
        cp_str part = {text.data, end};
        while (part.n > 0 && memchr("[( ", part.data[part.n - 1], 3))
            part.n--;
        while (part.n > 0 && memchr("]) .", part.data[0], 4))
            part = cut(part, 1, 0);
        parts[n++] = part;
        if (!dots)
            return n;
        text = cut(text, end + 3, 0);
    }
    return 0; /* too many */
}

/* ---- one quotation --------------------------------------------------------------------------- */

typedef struct search {
    const cp_shown *shown; /* [n] */
    size_t n, named;       /* n: none is named */
    cp_str quote;          /* folded, stripped */
    cp_citation *out;
} search;

static void keep(search *s, cp_citation_verdict verdict, size_t passage, size_t at, size_t n) {
    cp_span span = cp_shown_span(&s->shown[passage], at, n);
    s->out->verdict = verdict;
    s->out->kept = true;
    s->out->passage = passage;
    s->out->begin = span.begin;
    s->out->n = span.n;
}

static cp_citation_verdict verdict_of(const search *s, size_t passage) {
    return passage == s->named ? CP_CITATION_VERBATIM : CP_CITATION_MISATTRIBUTED;
}

/* Sentences end with a sign, lines with their line. */
static bool is_whole_sentence(cp_str text, cp_span span) {
    size_t begin = span.begin, end = span.begin + span.n;
    while (begin > 0 && (text.data[begin - 1] == ' ' || text.data[begin - 1] == '"'))
        begin--;
    if (begin > 0 && !memchr(".!?\r\n", text.data[begin - 1], 5))
        return false;
    return end == text.n || memchr(".!?\r\n", text.data[end], 5) ||
           memchr(".!?", text.data[end - 1], 3);
}

/* A few bytes would be found anywhere: they count where they say something by themselves. */
static bool short_means_something(cp_str quote, const cp_shown *shown, size_t at) {
    cp_span span = cp_shown_span(shown, at, quote.n);
    if (has_digit(quote) && has_letter(quote) && count_words(quote) >= 2)
        return true;
    return has_letter(quote) && is_whole_sentence(shown->passage->doc->text, span);
}

/* The named passage, then the others of its document, then all others. */
static bool in_turn(const search *s, size_t turn, size_t *passage) {
    size_t group = turn / s->n, i = turn % s->n;
    bool named = i == s->named;
    bool sibling =
        s->named < s->n && s->shown[i].passage->doc == s->shown[s->named].passage->doc && !named;
    *passage = i;
    return group == 0 ? named : group == 1 ? sibling : !named && !sibling;
}

static bool find_whole(search *s, const cp_needle *needle) {
    bool brief = is_short(s->quote);
    for (size_t turn = 0; turn < (brief ? 1 : 3) * s->n; turn++) {
        size_t i, at;
        if (!in_turn(s, turn, &i) ||
            !cp_needle_find(needle, &s->shown[i], 0, SIZE_MAX, BOTH_NOT, &at) ||
            (brief && !short_means_something(needle->text, &s->shown[i], at)))
            continue;
        keep(s, verdict_of(s, i), i, at, needle->text.n);
        return true;
    }
    return false;
}

/* The parts in order from a place of the first one; false where one is missing or too far. */
static bool follow_chain(const cp_needle *parts, size_t n, const cp_shown *shown, size_t *end) {
    for (size_t i = 1; i < n; i++) {
        size_t at, last = *end + CP_CITATION_GAP + parts[i].text.n;
        if (!cp_needle_find(&parts[i], shown, *end, last, i + 1 == n ? CP_NOT_AFTER : 0, &at))
            return false;
        *end = at + parts[i].text.n;
    }
    return true;
}

static bool find_shortened(search *s, const cp_needle *parts, size_t n) {
    for (size_t turn = 0; turn < 3 * s->n; turn++) {
        size_t i, at, from = 0;
        if (!in_turn(s, turn, &i))
            continue;
        for (int tries = 0; tries < CHAIN_TRIES; tries++, from = at + 1) {
            if (!cp_needle_find(&parts[0], &s->shown[i], from, SIZE_MAX, CP_NOT_BEFORE, &at))
                break;
            size_t end = at + parts[0].text.n;
            if (follow_chain(parts, n, &s->shown[i], &end)) {
                keep(s, verdict_of(s, i), i, at, end - at);
                return true;
            }
        }
    }
    return false;
}

static cp_status check_shortened(search *s, bool *found, cp_error *err) {
    cp_str parts[MAX_PARTS];
    cp_needle needles[MAX_PARTS] = {{.next = NULL}};
    cp_status status = CP_OK;
    bool all_short = true, whole = true;
    size_t n = split_at_ellipses(s->quote, parts);
    *found = false;
    for (size_t i = 0; i < n; i++) {
        all_short = all_short && is_short(parts[i]);
        whole = whole && count_words(parts[i]) >= 2;
    }
    if (n < 2 || all_short || !whole)
        return CP_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = cp_needle_init(&needles[i], parts[i], err);
    if (!status)
        *found = find_shortened(s, needles, n);
    for (size_t i = 0; i < n; i++)
        cp_needle_deinit(&needles[i]);
    return status;
}

/* ---- stitched -------------------------------------------------------------------------------- */

typedef struct piece {
    size_t passage, at, n;
} piece;

/* The longest start of `rest` that stands in a passage. */
static cp_status longest_start(const search *s, cp_str rest, piece *out, cp_error *err) {
    cp_needle needle;
    *out = (piece){.n = 0};
    cp_status status = cp_needle_init(&needle, rest, err);
    for (size_t turn = 0; turn < 3 * s->n && !status; turn++) {
        size_t i, at = 0;
        if (!in_turn(s, turn, &i))
            continue;
        size_t n = cp_needle_find_start(&needle, &s->shown[i], &at);
        if (n > out->n)
            *out = (piece){i, at, n};
    }
    cp_needle_deinit(&needle);
    return status;
}

/* What may stand between two pieces: signs that change no number. */
static size_t skip_joint(cp_str text, size_t at) {
    while (at < text.n && (memchr(" '.,;:()[]", text.data[at], 10) ||
                           (text.data[at] == '-' && at + 1 < text.n && text.data[at + 1] == ' ')))
        at++;
    return at;
}

/* Cuts the quotation into pieces that stand somewhere; keeps the longest one. */
static cp_status check_stitched(search *s, cp_error *err) {
    piece best = {.n = 0};
    size_t at = skip_joint(s->quote, 0);
    for (size_t n = 0; at < s->quote.n; n++) {
        piece found;
        cp_str rest = cut(s->quote, at, 0);
        if (n == MAX_PIECES || !cp_fold_is_border(s->quote, at))
            return CP_OK;
        cp_status status = longest_start(s, rest, &found, err);
        if (status)
            return status;
        if (count_words((cp_str){rest.data, found.n}) < PIECE_WORDS)
            return CP_OK;
        if (found.n > best.n)
            best = found;
        at = skip_joint(s->quote, at + found.n);
    }
    if (best.n == 0)
        return CP_OK;
    cp_str text = {s->shown[best.passage].folded.text + best.at, best.n};
    if (best.n >= KEPT_BYTES && count_words(text) >= KEPT_WORDS)
        keep(s, CP_CITATION_STITCHED, best.passage, best.at, best.n);
    s->out->verdict = CP_CITATION_STITCHED;
    return CP_OK;
}

static cp_status check_quote(search *s, cp_str whole, cp_error *err) {
    cp_needle needle;
    cp_status status = cp_needle_init(&needle, whole, err);
    s->quote = strip(whole);
    bool found = !status && find_whole(s, &needle);
    cp_needle_deinit(&needle);
    if (!status && !found && s->quote.n < whole.n && s->quote.n > 0) {
        status = cp_needle_init(&needle, s->quote, err);
        found = !status && find_whole(s, &needle);
        cp_needle_deinit(&needle);
    }
    if (status || found || is_short(s->quote))
        return status;
    status = check_shortened(s, &found, err);
    return status || found ? status : check_stitched(s, err);
}

/* ---- the gate -------------------------------------------------------------------------------- */

static cp_status check_claim(const cp_passage *passage, const cp_claim_terms *terms,
                             const cp_claim_names *own, cp_str claim, bool *supported,
                             cp_error *err) {
    const cp_source_doc *doc = passage->doc;
    cp_str given[] = {{doc->title, doc->title ? strlen(doc->title) : 0},
                      {doc->text.data + passage->begin, passage->n}};
    cp_unsupported_claim *unsupported = NULL;
    size_t n = 0;
    cp_status status =
        cp_claims_check(terms, own, claim, given, CP_COUNT_OF(given), &unsupported, &n, err);
    *supported = !status && n == 0;
    free(unsupported);
    return status;
}

/* Without the marks of quoted lines, which a model may copy. */
static void drop_line_marks(cp_str quote, cp_strbuf *out) {
    for (size_t i = 0; i < quote.n; i++) {
        bool mark = quote.data[i] == '>' && (i == 0 || quote.data[i - 1] == '\n') &&
                    i + 1 < quote.n && quote.data[i + 1] == ' ';
        mark &= i > 0 || quote.n < 3 || quote.data[2] < '0' || quote.data[2] > '9'; /* "> 39 C" */
        if (!mark)
            cp_strbuf_putc(out, quote.data[i]);
    }
}

static cp_status check_citation(search *s, cp_str quote, cp_error *err) {
    cp_folded folded = {.n = 0};
    cp_strbuf plain;
    *s->out = (cp_citation){.verdict = CP_CITATION_ABSENT};
    if (quote.n > (size_t)16 * CP_CITATION_BYTES || s->n == 0)
        return CP_OK;
    cp_strbuf_init(&plain, quote.n + 1);
    drop_line_marks(quote, &plain);
    cp_status status = cp_strbuf_check(&plain, "quotation", err);
    if (!status)
        status = cp_fold(cp_strbuf_str(&plain), &folded, err);
    if (!status && folded.n > 0 && folded.n <= CP_CITATION_BYTES)
        status = check_quote(s, (cp_str){folded.text, folded.n}, err);
    cp_folded_deinit(&folded);
    cp_strbuf_deinit(&plain);
    return status;
}

cp_status cp_citations_check(const cp_passage *passages, size_t n_passages,
                             const cp_claim_terms *terms, const cp_claim_names *own,
                             const cp_citation_claimed *claimed, size_t n, cp_citation *out,
                             cp_error *err) {
    cp_shown *shown = calloc(n_passages + 1, sizeof *shown);
    cp_status status = shown ? CP_OK : cp_error_no_memory(err, "passages to quote from");
    for (size_t i = 0; i < n_passages && !status; i++)
        status = cp_shown_init(&shown[i], &passages[i], err);
    for (size_t i = 0; i < n && !status; i++) {
        search s = {.shown = shown, .n = n_passages, .out = &out[i]};
        s.named = claimed[i].source < n_passages ? claimed[i].source : n_passages;
        status = check_citation(&s, claimed[i].quote, err);
        if (!status && out[i].kept)
            status = check_claim(&passages[out[i].passage], terms, own, claimed[i].claim,
                                 &out[i].claim_supported, err);
    }
    for (size_t i = 0; shown && i < n_passages; i++)
        cp_shown_deinit(&shown[i]);
    free(shown);
    return status;
}
