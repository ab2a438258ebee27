#include "retrieval/sentences.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>
#include <strings.h>

/* A point behind these ends no sentence; units ("mg.") do where a capital follows. */
static const char *const abbreviations[] = {"dr",  "mr",  "mrs",  "ms",     "prof", "st",  "vs",
                                            "e.g", "i.e", "etc",  "approx", "no",   "nos", "jr",
                                            "sr",  "fig", "dept", "cf",     "ca",   "incl"};

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Is the point at text[at] an abbreviation's, or an initial's? */
static bool is_abbreviation(cp_str text, size_t begin, size_t at) {
    size_t from = at;
    while (from > begin && at - from < 8 &&
           (is_letter(text.data[from - 1]) || (text.data[from - 1] == '.' && from < at)))
        from--;
    const size_t n = at - from;
    if (n == 1) /* "J. Smith", but not "vitamin C. Then" at a word's end: it is the rarer one */
        return text.data[from] >= 'A' && text.data[from] <= 'Z';
    for (size_t i = 0; i < CP_COUNT_OF(abbreviations); i++)
        if (strlen(abbreviations[i]) == n &&
            strncasecmp(abbreviations[i], text.data + from, n) == 0)
            return true;
    return false;
}

/* Closing quotes and brackets behind the sentence's last sign. */
static size_t pass_closers(cp_str text, size_t at, size_t end) {
    for (;;) {
        if (at < end && strchr("\"')]", text.data[at]) && text.data[at])
            at++;
        else if (at + 3 <= end && (memcmp(text.data + at, "\xe2\x80\x9d", 3) == 0 ||
                                   memcmp(text.data + at, "\xe2\x80\x99", 3) == 0))
            at += 3;
        else
            return at;
    }
}

/* Where the sentence that holds text[at] ends if it ends there, else 0. */
static size_t end_behind(cp_str text, size_t begin, size_t at, size_t limit) {
    const char c = text.data[at];
    if (c == '\n')
        return at + 1;
    if (at + 3 <= limit && memcmp(text.data + at, "\xe3\x80\x82", 3) == 0)
        return at + 3;
    if (c != '.' && c != '?' && c != '!')
        return 0;
    size_t end = pass_closers(text, at + 1, limit);
    if (end == text.n)
        return end;
    if (end >= limit || !is_space(text.data[end]))
        return 0;
    size_t next = end;
    while (next < limit && is_space(text.data[next]) && text.data[next] != '\n')
        next++;
    if (next < limit && text.data[next] >= 'a' && text.data[next] <= 'z')
        return 0;
    return c == '.' && end == at + 1 && is_abbreviation(text, begin, at) ? 0 : end;
}

/* Behind the last white space of a piece that is too long, else between two characters. */
static size_t cut(cp_str text, size_t begin, size_t limit) {
    for (size_t at = limit; at > begin + 1; at--)
        if (is_space(text.data[at - 1]))
            return at;
    size_t at = limit;
    while (at > begin + 1 && limit - at < 3 && ((unsigned char)text.data[at] & 0xc0) == 0x80)
        at--;
    /* Bytes that continue nothing are cut anywhere. */
    return ((unsigned char)text.data[at] & 0xc0) == 0x80 ? limit : at;
}

bool cp_sentence_next(cp_str text, size_t *at, size_t most, size_t *begin, size_t *n) {
    size_t from = *at;
    while (from < text.n && is_space(text.data[from]))
        from++;
    *at = from;
    if (from == text.n)
        return false;
    const size_t limit = text.n - from > most ? from + most : text.n;
    size_t end = 0;
    for (size_t i = from; i < limit && end == 0; i++)
        end = end_behind(text, from, i, limit);
    if (end == 0)
        end = limit < text.n ? cut(text, from, limit) : limit;
    *at = end;
    while (end > from && is_space(text.data[end - 1]))
        end--;
    *begin = from;
    *n = end - from;
    return true;
}
