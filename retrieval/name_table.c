#include "retrieval/name_table.h"

#include <stdlib.h>

#define LEAST_CAP 64

void cp_name_table_deinit(cp_name_table *table) {
    free(table->names);
    *table = (cp_name_table){0};
}

/* The place of the hash, or the empty one where it belongs. */
static size_t place_of(const cp_name_table *table, uint64_t hash) {
    size_t at = (size_t)hash & (table->cap - 1);
    while (table->names[at].hash != 0 && table->names[at].hash != hash)
        at = (at + 1) & (table->cap - 1);
    return at;
}

static bool grow(cp_name_table *table) {
    cp_name_table larger = {.n = table->n, .cap = table->cap ? table->cap * 2 : LEAST_CAP};
    larger.names = calloc(larger.cap, sizeof *larger.names);
    if (!larger.names)
        return false;
    for (size_t i = 0; i < table->cap; i++)
        if (table->names[i].hash != 0)
            larger.names[place_of(&larger, table->names[i].hash)] = table->names[i];
    free(table->names);
    *table = larger;
    return true;
}

cp_status cp_name_table_add(cp_name_table *table, cp_name name, bool *added, cp_error *err) {
    if (2 * table->n >= table->cap && !grow(table))
        return cp_error_no_memory(err, "table of names");
    size_t at = place_of(table, name.hash);
    bool is_new = table->names[at].hash == 0;
    if (is_new) {
        table->names[at] = name;
        table->n++;
    }
    if (added)
        *added = is_new;
    return CP_OK;
}

const cp_name *cp_name_table_find(const cp_name_table *table, uint64_t hash) {
    if (table->n == 0)
        return NULL;
    const cp_name *name = &table->names[place_of(table, hash)];
    return name->hash != 0 ? name : NULL;
}

void cp_name_table_regroup(cp_name_table *table, uint64_t from, uint64_t to) {
    for (size_t i = 0; i < table->cap; i++)
        if (table->names[i].hash != 0 && table->names[i].group == from)
            table->names[i].group = to;
}
