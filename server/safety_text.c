#include "server/safety_text.h"

#include "base/utf8.h"

#include <string.h>

typedef enum kind { SPACE, LETTER, DIGIT, DROPPED, SOFT, HARD } kind;

typedef struct symbol {
    kind kind;
    uint32_t code_point; /* letters and digits, in lower case */
    size_t n_bytes;
} symbol;

static kind ascii_kind(unsigned char c) {
    if ((c | 32) >= 'a' && (c | 32) <= 'z')
        return LETTER;
    if (c >= '0' && c <= '9')
        return DIGIT;
    switch (c) {
    case '\'':
    case '`':
        return DROPPED;
    case '.':
    case '!':
    case '?':
    case ';':
        return HARD;
    case ',':
    case ':':
    case '(':
    case ')':
    case '"':
    case '\n':
    case '\r':
        return SOFT;
    default:
        return SPACE;
    }
}

static kind wide_kind(uint32_t c) {
    if (c == 0x2018 || c == 0x2019 || c == 0x02bc || c == 0xb4 ||            /* apostrophes */
        cp_utf8_is_unseen(c) || c == 0x200c || c == 0x200d || c == 0xfe0f || /* invisible */
        (c >= 0x300 && c <= 0x36f))                                          /* marks on a letter */
        return DROPPED;
    if (c == 0x3002 || c == 0xff01 || c == 0xff1f || c == 0x2028 || c == 0x2029)
        return HARD;
    if (c == 0x2014 || c == 0x2026 || c == 0x201c || c == 0x201d || c == 0x3001 || c == 0xff0c)
        return SOFT;
    if (c < 0xc0 || (c >= 0x2000 && c <= 0x206f) || (c >= 0x2190 && c <= 0x2bff) || c == 0x3000 ||
        c == 0xfffd || c >= 0x1f000)
        return SPACE; /* signs, arrows, emoji */
    return LETTER;
}

/* Accented Latin letters lose their accent, full-width forms become the plain ones: people paste
 * text from anywhere, and the phrases are plain ASCII. */
static uint32_t plain_letter(uint32_t c) {
    static const char latin1[] = "aaaaaaaceeeeiiiidnooooo ouuuuy saaaaaaaceeeeiiiidnooooo ouuuuy y";
    if (c >= 0xff21 && c <= 0xff5a)
        c -= 0xfee0;
    if (c >= 'A' && c <= 'Z')
        return c + 32;
    if (c >= 0xc0 && c <= 0xff && latin1[c - 0xc0] != ' ')
        return (uint32_t)latin1[c - 0xc0];
    return c;
}

static symbol next_symbol(const unsigned char *at, const unsigned char *end) {
    if (*at < 0x80)
        return (symbol){ascii_kind(*at), plain_letter(*at), 1};
    cp_utf8_step step = cp_utf8_decode((const char *)at, (size_t)(end - at));
    if (!step.valid)
        return (symbol){SPACE, 0, step.n_bytes};
    return (symbol){wide_kind(step.code_point), plain_letter(step.code_point), step.n_bytes};
}

static bool ends_with(const cp_word *word, const char *ending) {
    size_t n = strlen(ending);
    return word->n > n && memcmp(word->text + word->n - n, ending, n) == 0;
}

static void cut_end(cp_word *word, size_t n) {
    word->n -= n;
    word->text[word->n] = '\0';
}

/* Crude on purpose: it need not be English, only the same on both sides. */
static void fold_plural(cp_word *word) {
    if (word->n < 4 || word->text[word->n - 1] != 's' || ends_with(word, "ss") ||
        ends_with(word, "us") || ends_with(word, "is"))
        return;
    if (word->n >= 6 && ends_with(word, "ies")) {
        cut_end(word, 2);
        word->text[word->n - 1] = 'y';
    } else if (word->n >= 6 && (ends_with(word, "shes") || ends_with(word, "sses"))) {
        cut_end(word, 2);
    } else {
        cut_end(word, 1);
        word->lost_s = true;
    }
}

static void add_letter(cp_word *word, uint32_t code_point) {
    char bytes[4];
    size_t n = cp_utf8_encode(code_point, bytes);
    if (word->cut || word->n + n >= sizeof word->text) {
        word->cut = true;
        return;
    }
    memcpy(word->text + word->n, bytes, n);
    word->n += n;
    word->text[word->n] = '\0';
}

/* "38.5" and "38,5" are one number, written with a point. */
static bool is_decimal_point(const cp_word_scanner *s) {
    return (*s->at == '.' || *s->at == ',') && s->end - s->at > 1 && ascii_kind(s->at[1]) == DIGIT;
}

static void read_word(cp_word_scanner *s, kind first, cp_word *word) {
    bool pointed = false;
    while (s->at < s->end) {
        symbol next = next_symbol(s->at, s->end);
        if (first == DIGIT && !pointed && is_decimal_point(s)) {
            pointed = true;
            next = (symbol){DIGIT, '.', 1};
        }
        if (next.kind != first && next.kind != DROPPED)
            break;
        if (next.kind != DROPPED)
            add_letter(word, next.code_point);
        s->at += next.n_bytes;
    }
    if (first == LETTER)
        fold_plural(word);
}

/* Two line ends, with nothing but space between, are the end of a paragraph; dots in a row are a
 * pause. */
static cp_border stronger_border(cp_border so_far, kind now, unsigned char byte,
                                 unsigned char last) {
    if (now == SOFT && byte == '\n' && last == '\n')
        return CP_BORDER_HARD;
    if (now == HARD)
        return CP_BORDER_HARD;
    return now == SOFT && so_far == CP_BORDER_NONE ? CP_BORDER_SOFT : so_far;
}

static bool is_pause(const cp_word_scanner *s) {
    return s->end - s->at > 1 && s->at[0] == '.' && s->at[1] == '.';
}

void cp_word_scanner_init(cp_word_scanner *scanner, const char *text, size_t n) {
    scanner->at = (const unsigned char *)text;
    scanner->end = scanner->at + n;
}

bool cp_word_scanner_next(cp_word_scanner *s, cp_word *word) {
    unsigned char last = 0;
    word->n = 0;
    word->text[0] = '\0';
    word->border = CP_BORDER_NONE;
    word->cut = false;
    word->lost_s = false;
    while (s->at < s->end) {
        symbol next = next_symbol(s->at, s->end);
        if (next.kind == LETTER || next.kind == DIGIT) {
            read_word(s, next.kind, word);
            return true;
        }
        if (is_pause(s)) {
            while (s->at < s->end && *s->at == '.')
                s->at++;
            word->border = stronger_border(word->border, SOFT, '.', 0);
            continue;
        }
        word->border = stronger_border(word->border, next.kind, *s->at, last);
        if (*s->at > ' ')
            last = 0;
        else if (*s->at == '\n')
            last = '\n';
        s->at += next.n_bytes;
    }
    return false;
}
