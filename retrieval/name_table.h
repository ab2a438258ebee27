/* Names as numbers: the hash of a name's words to its group, which all names of one thing share.
 * Also a plain set, where the group says nothing. One thread fills it; then any thread reads. */
#ifndef CP_RETRIEVAL_NAME_TABLE_H
#define CP_RETRIEVAL_NAME_TABLE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cp_name {
    uint64_t hash; /* not 0 */
    uint64_t group;
    unsigned kind; /* the owner's */
} cp_name;

typedef struct cp_name_table {
    cp_name *names; /* [cap], hash 0: empty; cap is 0 or a power of two, at most half full */
    size_t n, cap;
} cp_name_table;
void cp_name_table_deinit(cp_name_table *table);
/* A hash that is there stays as it is. *added may be NULL. */
cp_status cp_name_table_add(cp_name_table *table, cp_name name, bool *added,
                            cp_error *err) CP_MUST_CHECK;
const cp_name *cp_name_table_find(const cp_name_table *table, uint64_t hash); /* or NULL */
/* All names of one group become names of the other. */
void cp_name_table_regroup(cp_name_table *table, uint64_t from, uint64_t to);

#endif
