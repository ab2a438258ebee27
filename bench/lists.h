/* Comma-separated lists on the command line: "1,2,4,8", "models/a,models/b".
 *
 * A list is bounded, has no empty items, and its errors name the option, the item and what was
 * expected (CP_ERR_USAGE). Plain values; words are copies that the list owns. */
#ifndef CP_BENCH_LISTS_H
#define CP_BENCH_LISTS_H

#include "base/error.h"

#include <stddef.h>

#define CP_LIST_MAX 16

typedef struct cp_number_list {
    size_t values[CP_LIST_MAX]; /* [n], ascending, each once */
    size_t n;
} cp_number_list;

/* Integers in lo..hi, in any order; the same one twice is refused. */
cp_status cp_number_list_parse(const char *option, const char *text, size_t lo, size_t hi,
                               cp_number_list *out, cp_error *err) CP_MUST_CHECK;

typedef struct cp_word_list {
    char *words[CP_LIST_MAX]; /* [n] */
    size_t n;
} cp_word_list;

/* Appends the words of `text`; *list starts zeroed. */
cp_status cp_word_list_add(const char *option, const char *text, cp_word_list *list,
                           cp_error *err) CP_MUST_CHECK;
/* Appends the words of every "--option value" and "--option=value" of argv: base/args.h keeps the
 * last one only. */
cp_status cp_word_list_from_args(const char *option, int argc, char **argv, cp_word_list *list,
                                 cp_error *err) CP_MUST_CHECK;
void cp_word_list_deinit(cp_word_list *list);

#endif
