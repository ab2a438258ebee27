/* Record numbers of many patients: from a store that can tell them, or from a file. Sorted, each
 * once. */
#ifndef CP_SERVER_MRN_LIST_H
#define CP_SERVER_MRN_LIST_H

#include "server/patient_store.h"

#include <stdio.h>

typedef struct cp_mrn_list {
    char (*mrns)[CP_MRN_CAP]; /* [n] */
    size_t n, cap;
} cp_mrn_list;

void cp_mrn_list_deinit(cp_mrn_list *list);
/* At the end, in no order; cp_mrn_list_sort makes it a list again. False: no memory. */
bool cp_mrn_list_add(cp_mrn_list *list, const char *mrn) CP_MUST_CHECK;
void cp_mrn_list_sort(cp_mrn_list *list);
bool cp_mrn_list_has(const cp_mrn_list *list, const char *mrn);

/* One a line; `name` names the input in errors, which repeat no number. The list is initialised
 * here, and in the order of the lines: not sorted. */
cp_status cp_mrn_list_read(FILE *in, const char *name, cp_mrn_list *out,
                           cp_error *err) CP_MUST_CHECK;
/* From the file of a --mrns option ("-": stdin), sorted. */
cp_status cp_mrn_list_read_file(const char *path, cp_mrn_list *out, cp_error *err) CP_MUST_CHECK;
/* All patients of a store, sorted; CP_ERR_UNSUPPORTED where it cannot tell them. */
cp_status cp_mrn_list_of_store(cp_patient_store *store, cp_mrn_list *out,
                               cp_error *err) CP_MUST_CHECK;

#endif
