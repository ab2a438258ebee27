#include "bench/lists.h"

#include "base/args.h"
#include "base/mem.h"
#include "base/strbuf.h"

#include <stdlib.h>
#include <string.h>

/* Cuts the next item off *rest; false when there is none left. "a," has an empty second item. */
static bool next_item(const char **rest, cp_str *item) {
    if (!*rest)
        return false;
    size_t n = strcspn(*rest, ",");
    *item = (cp_str){*rest, n};
    *rest = (*rest)[n] ? *rest + n + 1 : NULL;
    return true;
}

static cp_status refuse_full(const char *option, cp_error *err) {
    return cp_error_set(err, CP_ERR_USAGE, "--%s lists more than %d items", option, CP_LIST_MAX);
}

/* Puts the value in its place in the ascending list. */
static cp_status insert(const char *option, size_t value, cp_number_list *list, cp_error *err) {
    size_t at = list->n;
    if (list->n == CP_LIST_MAX)
        return refuse_full(option, err);
    while (at > 0 && list->values[at - 1] >= value)
        at--;
    if (at < list->n && list->values[at] == value)
        return cp_error_set(err, CP_ERR_USAGE, "--%s lists %zu twice", option, value);
    memmove(list->values + at + 1, list->values + at, (list->n - at) * sizeof list->values[0]);
    list->values[at] = value;
    list->n++;
    return CP_OK;
}

cp_status cp_number_list_parse(const char *option, const char *text, size_t lo, size_t hi,
                               cp_number_list *out, cp_error *err) {
    cp_str item;
    *out = (cp_number_list){.n = 0};
    for (const char *rest = text; next_item(&rest, &item);) {
        char digits[24];
        int64_t value = 0;
        bool fits = item.n > 0 && item.n < sizeof digits;
        if (fits) {
            memcpy(digits, item.data, item.n);
            digits[item.n] = '\0';
            fits = cp_args_int(digits, (double)lo, (double)hi, &value);
        }
        if (!fits)
            return cp_error_set(err, CP_ERR_USAGE,
                                "--%s is \"%s\": \"%.*s\" is not an integer from %zu to %zu",
                                option, text, (int)(item.n < 40 ? item.n : 40), item.data, lo, hi);
        cp_status status = insert(option, (size_t)value, out, err);
        if (status != CP_OK)
            return status;
    }
    return CP_OK;
}

cp_status cp_word_list_add(const char *option, const char *text, cp_word_list *list,
                           cp_error *err) {
    cp_str item;
    for (const char *rest = text; next_item(&rest, &item);) {
        if (item.n == 0)
            return cp_error_set(err, CP_ERR_USAGE, "--%s is \"%s\": an item is empty", option,
                                text);
        if (list->n == CP_LIST_MAX)
            return refuse_full(option, err);
        list->words[list->n] = cp_copy_bytes(item.data, item.n);
        if (!list->words[list->n])
            return cp_error_no_memory(err, "list");
        list->n++;
    }
    return CP_OK;
}

cp_status cp_word_list_from_args(const char *option, int argc, char **argv, cp_word_list *list,
                                 cp_error *err) {
    size_t n = strlen(option);
    cp_status status = CP_OK;
    for (int i = 1; i < argc && status == CP_OK; i++) {
        const char *word = argv[i];
        if (strncmp(word, "--", 2) != 0 || strncmp(word + 2, option, n) != 0)
            continue;
        if (word[2 + n] == '=')
            status = cp_word_list_add(option, word + n + 3, list, err);
        else if (word[2 + n] == '\0' && i + 1 < argc)
            status = cp_word_list_add(option, argv[++i], list, err);
    }
    return status;
}

void cp_word_list_deinit(cp_word_list *list) {
    for (size_t i = 0; i < list->n; i++)
        free(list->words[i]);
    list->n = 0;
}
