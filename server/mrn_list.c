#include "server/mrn_list.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void cp_mrn_list_deinit(cp_mrn_list *list) {
    free(list->mrns);
    *list = (cp_mrn_list){.mrns = NULL};
}

bool cp_mrn_list_add(cp_mrn_list *list, const char *mrn) {
    if (!cp_grow((void **)&list->mrns, &list->cap, list->n + 1, sizeof *list->mrns))
        return false;
    memcpy(list->mrns[list->n++], mrn, strlen(mrn) + 1);
    return true;
}

static int compare(const void *a, const void *b) {
    return strcmp(a, b);
}

void cp_mrn_list_sort(cp_mrn_list *list) {
    size_t kept = 0;
    if (list->n > 1)
        qsort(list->mrns, list->n, sizeof *list->mrns, compare);
    for (size_t i = 0; i < list->n; i++)
        if (kept == 0 || strcmp(list->mrns[kept - 1], list->mrns[i]) != 0)
            memmove(list->mrns[kept++], list->mrns[i], sizeof *list->mrns);
    list->n = kept;
}

bool cp_mrn_list_has(const cp_mrn_list *list, const char *mrn) {
    return list->n > 0 && bsearch(mrn, list->mrns, list->n, sizeof *list->mrns, compare);
}

cp_status cp_mrn_list_read(FILE *in, const char *name, cp_mrn_list *out, cp_error *err) {
    cp_strbuf line;
    bool more = true;
    cp_status status = CP_OK;
    *out = (cp_mrn_list){.mrns = NULL};
    cp_strbuf_init(&line, 4096);
    for (size_t number = 1; status == CP_OK; number++) {
        status = cp_file_next_line(in, &line, &more, err);
        if (status != CP_OK || !more)
            break;
        if (!cp_mrn_is_valid(cp_strbuf_text(&line)))
            status =
                cp_error_set(err, CP_ERR_FORMAT, "%s: line %zu: not " CP_MRN_RULE, name, number);
        else if (!cp_mrn_list_add(out, cp_strbuf_text(&line)))
            status = cp_error_no_memory(err, "record numbers");
    }
    cp_strbuf_deinit(&line);
    if (status == CP_OK && out->n == 0)
        status = cp_error_set(err, CP_ERR_USAGE, "%s has no record numbers", name);
    return status;
}

cp_status cp_mrn_list_read_file(const char *path, cp_mrn_list *out, cp_error *err) {
    bool is_stdin = strcmp(path, "-") == 0;
    *out = (cp_mrn_list){.mrns = NULL};
    FILE *in = is_stdin ? stdin : fopen(path, "r");
    if (!in)
        return cp_error_set(err, CP_ERR_USAGE, "--mrns %s: cannot be read", path);
    cp_status status = cp_mrn_list_read(in, is_stdin ? "stdin" : path, out, err);
    if (!is_stdin)
        fclose(in);
    cp_mrn_list_sort(out);
    return status;
}

typedef struct filling {
    cp_mrn_list *list;
    bool no_memory;
} filling;

static bool see_mrn(void *user, const char *mrn) {
    filling *f = user;
    if (cp_mrn_is_valid(mrn) && !cp_mrn_list_add(f->list, mrn))
        f->no_memory = true;
    return !f->no_memory;
}

cp_status cp_mrn_list_of_store(cp_patient_store *store, cp_mrn_list *out, cp_error *err) {
    filling f = {.list = out};
    *out = (cp_mrn_list){.mrns = NULL};
    if (!store->each_mrn)
        return cp_error_set(err, CP_ERR_UNSUPPORTED,
                            "a store of kind %s cannot tell who its patients are: give their "
                            "record numbers with --mrns",
                            store->kind);
    cp_status status = store->each_mrn(store, see_mrn, &f, err);
    if (f.no_memory)
        status = cp_error_no_memory(err, "record numbers");
    cp_mrn_list_sort(out);
    return status;
}
