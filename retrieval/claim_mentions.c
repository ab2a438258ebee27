#include "retrieval/claim_mentions.h"

#include "base/mem.h"
#include "retrieval/claim_words.h"
#include "retrieval/sentences.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define MAX_SENTENCE  2000
#define ALLERGY_REACH 4 /* words behind "allergic to" in which a name is looked for */
#define MAX_DIGITS    12
#define NAME_SEED     0x9e3779b97f4a7c15u

/* ---- words ----------------------------------------------------------------------------------- */

static cp_str word_at(const cp_mention_reader *r, size_t i) {
    return cp_claim_word(cp_word_folded(&r->words, i));
}

static bool word_is(const cp_mention_reader *r, size_t i, size_t end, const char *text) {
    return i < end && cp_str_is(word_at(r, i), text);
}

/* The bytes between two neighbouring words. */
static cp_str gap_before(const cp_mention_reader *r, size_t i) {
    size_t begin = i > 0 ? r->words.items[i - 1].end : 0;
    return (cp_str){r->text.data + begin, r->words.items[i].begin - begin};
}

static uint64_t add_word(uint64_t hash, cp_str word) {
    return XXH3_64bits_withSeed(word.data, word.n, hash);
}

static uint64_t not_0(uint64_t hash) {
    return hash ? hash : 1;
}

uint64_t cp_mention_hash(const cp_words *words, size_t first, size_t n) {
    uint64_t hash = NAME_SEED;
    for (size_t i = first; i < first + n; i++)
        hash = add_word(hash, cp_claim_word(cp_word_folded(words, i)));
    return not_0(hash);
}

/* ---- names ----------------------------------------------------------------------------------- */

typedef struct found_name {
    const cp_name *name;
    size_t n; /* words; 0: none */
} found_name;

static const cp_name *look_up(const cp_mention_reader *r, uint64_t hash) {
    for (size_t i = 0; i < CP_COUNT_OF(r->tables); i++) {
        const cp_name *name = r->tables[i] ? cp_name_table_find(r->tables[i], hash) : NULL;
        if (name)
            return name;
    }
    return NULL;
}

/* The longest name at word i, of at most `most` words. */
static found_name name_at(const cp_mention_reader *r, size_t i, size_t end, size_t most) {
    found_name best = {NULL, 0};
    uint64_t hash = NAME_SEED;
    for (size_t n = 1; n <= most && i + n <= end; n++) {
        hash = add_word(hash, word_at(r, i + n - 1));
        const cp_name *name = look_up(r, not_0(hash));
        if (name)
            best = (found_name){name, n};
    }
    return best;
}

typedef struct sentence {
    size_t begin, end;   /* bytes */
    size_t first, after; /* words */
    size_t items;        /* the reader's mentions before it */
} sentence;

static cp_mention *add(cp_mention_reader *r, const sentence *s, cp_claim_kind kind, uint64_t thing,
                       size_t first, size_t n_words) {
    if (!cp_grow((void **)&r->items, &r->cap, r->n + 1, sizeof *r->items))
        return NULL;
    size_t last = first + n_words - 1;
    r->items[r->n] = (cp_mention){.kind = kind,
                                  .thing = thing,
                                  .first = (uint32_t)first,
                                  .last = (uint32_t)last,
                                  .begin = r->words.items[first].begin,
                                  .end = r->words.items[last].end,
                                  .sentence_begin = s->begin,
                                  .sentence_end = s->end};
    return &r->items[r->n++];
}

/* A medicine or diagnosis that no list has, by its ending. */
static bool sounds(cp_str word, cp_claim_kind *kind) {
    bool medicine = cp_claim_sounds_like_medicine(word);
    *kind = medicine ? CP_CLAIM_MEDICINE : CP_CLAIM_DIAGNOSIS;
    return medicine || cp_claim_sounds_like_diagnosis(word);
}

static bool add_shorter_names(cp_mention_reader *r, const sentence *s, size_t i, size_t longest) {
    for (size_t n = 1; n < longest; n++) {
        found_name name = name_at(r, i, s->after, n);
        if (name.n == n && name.name->kind != CP_CLAIM_ALLERGY &&
            !add(r, s, (cp_claim_kind)name.name->kind, name.name->group, i, n))
            return false;
    }
    return true;
}

/* Medicines and diagnoses of a sentence, in order. */
static bool add_names(cp_mention_reader *r, const sentence *s) {
    for (size_t i = s->first; i < s->after;) {
        found_name name = name_at(r, i, s->after, CP_NAME_MAX_WORDS);
        cp_claim_kind kind = CP_CLAIM_MEDICINE;
        uint64_t thing = 0;
        if (name.n > 0 && name.name->kind != CP_CLAIM_ALLERGY) {
            kind = (cp_claim_kind)name.name->kind;
            thing = name.name->group;
        } else {
            name.n = sounds(word_at(r, i), &kind);
            thing = name.n > 0 ? cp_mention_hash(&r->words, i, 1) : 0;
        }
        if (name.n > 0) {
            cp_mention *m = add(r, s, kind, thing, i, name.n);
            if (!m)
                return false;
            found_name shorter = name_at(r, i, s->after, name.n - 1);
            m->shorter = shorter.n > 0 ? shorter.name->group : 0;
        }
        if (r->generous && !add_shorter_names(r, s, i, name.n))
            return false;
        i += r->generous || name.n == 0 ? 1 : name.n;
    }
    return true;
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Spaces and hyphens, or signs outside ASCII, of which spaces are the usual ones. */
static bool is_unit_gap(const cp_mention_reader *r, size_t i) {
    cp_str gap = gap_before(r, i);
    for (size_t k = 0; k < gap.n; k++)
        if ((unsigned char)gap.data[k] < 0x80 && !memchr(" \t\r\n-", gap.data[k], 5))
            return false;
    return true;
}

static bool gap_is(const cp_mention_reader *r, size_t i, const char *text) {
    return cp_str_is(gap_before(r, i), text);
}

/* A hyphen, dash or minus alone, maybe between spaces. */
static bool is_range_gap(const cp_mention_reader *r, size_t i) {
    cp_str gap = gap_before(r, i);
    while (gap.n > 0 && *gap.data == ' ') {
        gap.data++;
        gap.n--;
    }
    while (gap.n > 0 && gap.data[gap.n - 1] == ' ')
        gap.n--;
    return cp_str_is(gap, "-") || cp_str_is(gap, "\xe2\x88\x92") ||
           (gap.n == 3 && memcmp(gap.data, "\xe2\x80", 2) == 0 &&
            (unsigned char)gap.data[2] >= 0x90 && (unsigned char)gap.data[2] <= 0x95);
}

static bool parse_digits(cp_str word, double *value) {
    char text[MAX_DIGITS + 1];
    if (word.n == 0 || word.n > MAX_DIGITS)
        return false;
    for (size_t i = 0; i < word.n; i++)
        if ((word.data[i] < '0' || word.data[i] > '9') && word.data[i] != '.')
            return false;
    memcpy(text, word.data, word.n);
    text[word.n] = '\0';
    char *end;
    *value = strtod(text, &end);
    return *end == '\0';
}

typedef struct number {
    double value;
    size_t n;   /* words; 0: none */
    bool point; /* ".5": a point before its first word */
} number;

/* "500", "1,000", "2,5", "two", "half". */
static number number_at(const cp_mention_reader *r, size_t i, size_t end) {
    number out = {.value = -1, .n = 1};
    double more;
    if (i >= end)
        return (number){.n = 0};
    cp_str word = cp_word_folded(&r->words, i);
    if (!parse_digits(word, &out.value)) {
        out.value = cp_claim_number_word(word);
        out.n = out.value >= 0;
        return out;
    }
    while (i + out.n < end && out.n < 4 && !memchr(word.data, '.', word.n) &&
           gap_is(r, i + out.n, ",")) {
        cp_str next = cp_word_folded(&r->words, i + out.n);
        if (!parse_digits(next, &more) || memchr(next.data, '.', next.n))
            break;
        if (next.n != 3) { /* a decimal comma */
            out.value += more / pow(10, (double)next.n);
            out.n++;
            break;
        }
        out.value = out.value * 1000 + more;
        out.n++;
    }
    cp_str gap = gap_before(r, i);
    out.point = out.n == 1 && gap.n > 0 && gap.data[gap.n - 1] == '.' &&
                !memchr(word.data, '.', word.n) &&
                (gap.n == 1 ? i == 0 : gap.data[gap.n - 2] == ' ');
    if (out.point)
        out.value /= pow(10, (double)word.n);
    return out;
}

/* A unit behind a number: its words, 0: none. "mg/kg", "mg/dL" are units of their own. */
typedef struct unit {
    cp_claim_unit of;
    uint64_t seed;
    size_t n;   /* words; a percent sign has none */
    size_t end; /* bytes */
    bool found;
} unit;

static bool percent_behind(const cp_mention_reader *r, size_t i, size_t *end) {
    size_t at = r->words.items[i].end;
    if (at < r->text.n && r->text.data[at] == ' ')
        at++;
    *end = at + 1;
    return at < r->text.n && r->text.data[at] == '%';
}

static unit unit_behind(const cp_mention_reader *r, size_t last, size_t end) {
    unit out = {.found = false};
    if (percent_behind(r, last, &out.end)) {
        out.of = cp_claim_unit_of(CP_STR("%"));
        out.found = true;
    } else if (last + 1 < end && is_unit_gap(r, last + 1)) {
        out.of = cp_claim_unit_of(word_at(r, last + 1));
        out.found = out.of.n > 0;
        out.n = 1;
        out.end = r->words.items[last + 1].end;
    }
    if (!out.found)
        return out;
    out.seed = add_word(NAME_SEED, (cp_str){out.of.measures, strlen(out.of.measures)});
    if (out.n == 1 && last + 2 < end && gap_is(r, last + 2, "/")) {
        out.seed = add_word(out.seed, word_at(r, last + 2));
        out.n = 2;
        out.end = r->words.items[last + 2].end;
    }
    return out;
}

static uint64_t amount(uint64_t seed, double value) {
    double scaled = round(value);
    int64_t whole = scaled < 9e18 ? (int64_t)scaled : INT64_MAX;
    return not_0(XXH3_64bits_withSeed(&whole, sizeof whole, seed));
}

static bool add_amount(cp_mention_reader *r, const sentence *s, size_t first, size_t n_words,
                       const unit *u, const number *value, bool point) {
    uint64_t thing = amount(u->seed, value->value * u->of.n);
    cp_mention *m = add(r, s, CP_CLAIM_DOSE, thing, first, n_words);
    if (!m)
        return false;
    m->begin -= point;
    m->end = u->end > m->end ? u->end : m->end;
    return true;
}

/* "500 mg", "1-2 tablets": the words it takes, 0: none, -1 without memory. */
static int dose_at(cp_mention_reader *r, const sentence *s, size_t i) {
    number low = number_at(r, i, s->after), high = {.n = 0};
    size_t n = low.n;
    if (n == 0)
        return 0;
    bool to = word_is(r, i + n, s->after, "to") || word_is(r, i + n, s->after, "or");
    if (to || (i + n < s->after && is_range_gap(r, i + n)))
        high = number_at(r, i + n + to, s->after);
    if (high.n > 0)
        n += to + high.n;
    unit u = unit_behind(r, i + n - 1, s->after);
    if (!u.found)
        return 0;
    n += u.n;
    if (high.n > 0 && !add_amount(r, s, i, n, &u, &high, low.point))
        return -1;
    return add_amount(r, s, i, n, &u, &low, low.point) ? (int)n : -1;
}

/* "daily", "a day", "per day", "every day" at word i. */
static const char *period_at(const cp_mention_reader *r, size_t i, size_t end, size_t *n) {
    bool article = word_is(r, i, end, "a") || word_is(r, i, end, "per") ||
                   word_is(r, i, end, "each") || word_is(r, i, end, "every");
    *n = article ? 2 : 1;
    return i + article < end ? cp_claim_period(word_at(r, i + article)) : NULL;
}

/* "twice daily", "3 times a day", "every 6 to 8 hours": as dose_at. */
static int frequency_at(cp_mention_reader *r, const sentence *s, size_t i) {
    number count = {.n = 0};
    size_t n = 1, n_period = 0;
    bool every = word_is(r, i, s->after, "every");
    if (every) {
        count = number_at(r, i + 1, s->after);
        n += count.n;
        if (word_is(r, i + n, s->after, "to"))
            n += 1 + number_at(r, i + n + 1, s->after).n;
    } else if (word_is(r, i, s->after, "once") || word_is(r, i, s->after, "twice")) {
        count = (number){.value = word_is(r, i, s->after, "once") ? 1 : 2, .n = 1};
    } else {
        count = number_at(r, i, s->after);
        n = count.n + 1;
        if (count.n == 0 ||
            !(word_is(r, i + count.n, s->after, "time") || word_is(r, i + count.n, s->after, "x")))
            return 0;
    }
    if (count.n == 0)
        return 0;
    const char *period = period_at(r, i + n, s->after, &n_period);
    if (!period || (every && n_period != 1))
        return 0;
    n += n_period;
    uint64_t seed = add_word(every ? ~NAME_SEED : NAME_SEED + 1, (cp_str){period, strlen(period)});
    cp_mention *m = add(r, s, CP_CLAIM_DOSE, amount(seed, count.value * 1e6), i, n);
    if (m)
        m->is_frequency = true;
    return m ? (int)n : -1;
}

static bool add_numbers(cp_mention_reader *r, const sentence *s) {
    for (size_t i = s->first; i < s->after;) {
        int n = frequency_at(r, s, i);
        if (n == 0)
            n = dose_at(r, s, i);
        if (n < 0)
            return false;
        i += n > 0 ? (size_t)n : 1;
    }
    return true;
}

/* ---- allergies ------------------------------------------------------------------------------- */

static bool is_allergy_word(cp_str word) {
    return word.n >= 7 && memcmp(word.data, "allerg", 6) == 0;
}

static bool is_allergen(const cp_mention_reader *r, size_t i, size_t end, found_name *out) {
    cp_claim_kind kind;
    *out = name_at(r, i, end, CP_NAME_MAX_WORDS);
    if (out->n > 0)
        return out->name->kind != CP_CLAIM_DIAGNOSIS;
    return sounds(word_at(r, i), &kind) && kind == CP_CLAIM_MEDICINE;
}

/* Where the last word of what the allergy is of ends: its name, else the word. */
static bool add_allergen(cp_mention_reader *r, const sentence *s, size_t i, size_t *n) {
    found_name name;
    bool known = is_allergen(r, i, s->after, &name) && name.n > 0;
    *n = known ? name.n : 1;
    return add(r, s, CP_CLAIM_ALLERGY, known ? name.name->group : cp_mention_hash(&r->words, i, 1),
               i, *n) != NULL;
}

/* The name at or close behind word i: "to a medicine called ramipril"; none: s->after. */
static size_t first_allergen(const cp_mention_reader *r, const sentence *s, size_t i) {
    found_name name;
    for (size_t k = i; k < s->after && k < i + ALLERGY_REACH; k++)
        if (is_allergen(r, k, s->after, &name))
            return k;
    return s->after;
}

/* "allergic to penicillin or latex", "allergies: codeine": names joined by commas, "and" and "or";
 * without any, the first word that could be one. */
static bool add_allergens_behind(cp_mention_reader *r, const sentence *s, size_t i) {
    bool to = word_is(r, i + 1, s->after, "to");
    size_t at = i + 1 + to, n;
    if (at >= s->after || (!to && !memchr(gap_before(r, at).data, ':', gap_before(r, at).n)))
        return true;
    size_t k = first_allergen(r, s, at);
    if (k == s->after) {
        while (at < s->after && r->words.items[at].stop)
            at++;
        return !to || at == s->after || at > i + 3 || cp_claim_is_vague(word_at(r, at)) ||
               add_allergen(r, s, at, &n);
    }
    found_name name;
    while (k < s->after && is_allergen(r, k, s->after, &name)) {
        if (!add_allergen(r, s, k, &n))
            return false;
        k += n;
        if (word_is(r, k, s->after, "and") || word_is(r, k, s->after, "or"))
            k++;
    }
    return true;
}

/* "a severe penicillin allergy". */
static bool add_allergen_before(cp_mention_reader *r, const sentence *s, size_t i) {
    found_name name;
    size_t n;
    for (size_t back = CP_NAME_MAX_WORDS; back > 0; back--)
        if (i >= s->first + back && is_allergen(r, i - back, i, &name) &&
            (name.n == back || (name.n == 0 && back == 1)))
            return add_allergen(r, s, i - back, &n);
    return true;
}

/* A text that supports: any name or word of a sentence on allergies may be what it is of. */
static bool add_all_words(cp_mention_reader *r, const sentence *s) {
    for (size_t i = s->first; i < s->after; i++) {
        size_t n;
        if (!add_allergen(r, s, i, &n) ||
            (n != 1 && !add(r, s, CP_CLAIM_ALLERGY, cp_mention_hash(&r->words, i, 1), i, 1)))
            return false;
        for (size_t k = 1; k < n; k++) { /* shorter names */
            found_name name = name_at(r, i, s->after, k);
            if (name.n == k && !add(r, s, CP_CLAIM_ALLERGY, name.name->group, i, k))
                return false;
        }
    }
    return true;
}

static bool add_allergies(cp_mention_reader *r, const sentence *s) {
    for (size_t i = s->first; i < s->after; i++) {
        if (!is_allergy_word(word_at(r, i)))
            continue;
        if (r->generous)
            return add_all_words(r, s);
        if (!add_allergens_behind(r, s, i) || !add_allergen_before(r, s, i))
            return false;
    }
    return true;
}

/* ---- sentences ------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b) {
    const cp_mention *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    if (x->last != y->last)
        return x->last > y->last ? -1 : 1; /* the longer name first */
    return (int)x->kind - (int)y->kind;
}

/* "0.4 mg of nitroglycerin": the medicine that begins right behind. */
static bool begins_behind(const cp_mention_reader *r, const cp_mention *dose,
                          const cp_mention *medicine) {
    size_t i = dose->last + 1;
    while (i < medicine->first && is_unit_gap(r, i) &&
           (word_is(r, i, r->words.n, "of") || word_is(r, i, r->words.n, "oral") ||
            cp_claim_unit_of(word_at(r, i)).n > 0))
        i++;
    return i == medicine->first && is_unit_gap(r, i);
}

static void give(cp_mention *dose, const cp_mention *medicine) {
    dose->medicine = medicine->thing;
    dose->shorter = medicine->shorter;
}

/* Gives each dose of a sentence its medicine: the one right behind, else the nearest before it,
 * else the first one behind. */
static void pair_doses(cp_mention_reader *r, const sentence *s, uint64_t carried) {
    const cp_mention *before = NULL;
    for (size_t i = s->items; i < r->n; i++) {
        cp_mention *m = &r->items[i];
        if (m->kind == CP_CLAIM_MEDICINE && (!before || m->last > before->last))
            before = m;
        if (m->kind == CP_CLAIM_DOSE && before)
            give(m, before);
    }
    const cp_mention *behind = NULL;
    for (size_t i = r->n; i > s->items; i--) {
        cp_mention *m = &r->items[i - 1];
        if (m->kind == CP_CLAIM_MEDICINE &&
            (!behind || m->first < behind->first || m->last > behind->last))
            behind = m;
        if (m->kind == CP_CLAIM_DOSE && behind && (!m->medicine || begins_behind(r, m, behind)))
            give(m, behind);
        if (m->kind == CP_CLAIM_DOSE && !m->medicine)
            m->carried = carried;
    }
}

static bool read_sentence(cp_mention_reader *r, const sentence *s, uint64_t *carried) {
    if (!add_names(r, s) || !add_numbers(r, s) || !add_allergies(r, s))
        return false;
    if (r->n > s->items)
        qsort(r->items + s->items, r->n - s->items, sizeof *r->items, by_place);
    pair_doses(r, s, *carried);
    for (size_t i = s->items; i < r->n; i++)
        if (r->items[i].kind == CP_CLAIM_MEDICINE)
            *carried = r->items[i].thing;
    return true;
}

cp_status cp_mentions_read(cp_mention_reader *r, cp_str text, cp_error *err) {
    uint64_t carried = 0;
    size_t at = 0, n = 0;
    sentence s = {.after = 0};
    r->text = text;
    r->n = 0;
    cp_words_deinit(&r->words);
    cp_status status = cp_words_split(text, &r->words, err);
    while (!status && cp_sentence_next(text, &at, MAX_SENTENCE, &s.begin, &n)) {
        s.end = s.begin + n;
        s.items = r->n;
        s.first = s.after;
        while (s.after < r->words.n && r->words.items[s.after].begin < s.end)
            s.after++;
        if (!read_sentence(r, &s, &carried))
            status = cp_error_no_memory(err, "names in a text");
    }
    return status;
}

void cp_mentions_deinit(cp_mention_reader *r) {
    cp_words_deinit(&r->words);
    free(r->items);
    r->items = NULL;
    r->n = r->cap = 0;
}
