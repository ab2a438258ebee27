/* The "language" part of the rule file: what words do, whichever rule they stand in. */
#include "server/safety_compile.h"

#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static cp_status set_roles(cp_rule_compiler *c, const cJSON *list, const char *name,
                           uint16_t role) {
    cp_status status = cp_compile_list(c, name, list);
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        int32_t id;
        if (status == CP_OK)
            status = cp_compile_word(c, name, item, &id);
        if (status == CP_OK)
            c->table->words.words[id].roles |= role;
    }
    return status;
}

/* {"cant": ["cannot", "carnt"]}: the words of the list are read as the key. */
static cp_status set_meanings(cp_rule_compiler *c, const cJSON *entry) {
    const cJSON key = {.type = cJSON_String, .valuestring = entry->string};
    int32_t meaning, id;
    cp_status status = cp_compile_word(c, "same_words", &key, &meaning);
    if (status == CP_OK)
        status = cp_compile_list(c, entry->string, entry);
    const cJSON *item;
    cJSON_ArrayForEach(item, entry) {
        if (status == CP_OK)
            status = cp_compile_word(c, entry->string, item, &id);
        if (status != CP_OK)
            return status;
        cp_vocabulary_word *words = c->table->words.words;
        if (words[meaning].meaning != meaning || words[id].meaning != id || id == meaning)
            return cp_compile_refuse(c, entry->string, item, "a word that stands for one word");
        words[id].meaning = meaning;
    }
    return status;
}

static cp_status read_same_words(cp_rule_compiler *c, const cJSON *same) {
    cp_status status = CP_OK;
    const cJSON *entry;
    if (!cJSON_IsObject(same))
        return cp_compile_refuse(c, "same_words", same, "an object");
    cJSON_ArrayForEach(entry, same) {
        if (status == CP_OK)
            status = set_meanings(c, entry);
    }
    /* A word that other words stand for must not itself stand for another. */
    for (size_t id = 1; status == CP_OK && id <= c->table->words.n; id++) {
        int32_t meaning = c->table->words.words[id].meaning;
        if (c->table->words.words[meaning].meaning != meaning)
            status = cp_compile_refuse_text(c, "same_words", c->table->words.words[meaning].text,
                                            "a word that stands for itself");
    }
    return status;
}

/* A negator: every word of it counts, so none may be an ignored one. */
static cp_status check_negator(cp_rule_compiler *c, const cJSON *item, const cp_phrase *negator) {
    size_t n_words = 0;
    cp_word_scanner scanner;
    cp_word word;
    cp_word_scanner_init(&scanner, item->valuestring, strlen(item->valuestring));
    while (cp_word_scanner_next(&scanner, &word))
        n_words++;
    if (negator->n != n_words || n_words > CP_NEGATOR_MAX_WORDS)
        return cp_compile_refuse(c, "negators", item,
                                 "at most 4 words, without a gap or an ignored word");
    return CP_OK;
}

/* The runs of words under `name`; gaps are refused, because these are looked for at a place. */
static cp_status read_runs(cp_rule_compiler *c, const cJSON *list, const char *name,
                           cp_phrase_list *out) {
    cp_status status = cp_compile_list(c, name, list);
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        cp_phrase run;
        if (status == CP_OK && (!cJSON_IsString(item) || strstr(item->valuestring, "...")))
            status = cp_compile_refuse(c, name, item, "a string without a gap");
        if (status == CP_OK)
            status = cp_compile_phrase(c, name, item->valuestring, &run);
        if (status == CP_OK && out == &c->table->negators)
            status = check_negator(c, item, &run);
        if (status == CP_OK)
            status = cp_compile_add_phrase(c, out, &run);
    }
    return status;
}

/* A word that is passed over can do nothing that needs its place. */
static cp_status check_ignored(cp_rule_compiler *c) {
    for (size_t id = 1; id <= c->table->words.n; id++) {
        const cp_vocabulary_word *word = &c->table->words.words[id];
        if (word->roles & CP_ROLE_IGNORED &&
            (word->meaning != (int32_t)id ||
             word->roles & (CP_ROLE_LINK | CP_ROLE_NEGATIVE | CP_ROLE_EVENT)))
            return cp_compile_refuse_text(c, "ignored", word->text, "a word that has no other use");
    }
    for (size_t id = 1; id <= c->table->words.n; id++) /* words read as another have its roles */
        c->table->words.words[id].roles |=
            c->table->words.words[c->table->words.words[id].meaning].roles;
    return CP_OK;
}

cp_status cp_compile_language(cp_rule_compiler *c, const cJSON *language) {
    static const struct {
        const char *key;
        uint16_t role;
    } lists[] = {{"ignored", CP_ROLE_IGNORED},         {"negation_bridges", CP_ROLE_BRIDGE},
                 {"negation_links", CP_ROLE_LINK},     {"negation_breakers", CP_ROLE_BREAKER},
                 {"negative_words", CP_ROLE_NEGATIVE}, {"not_misspellings", CP_ROLE_KNOWN},
                 {"history_events", CP_ROLE_EVENT},    {"history_ends", CP_ROLE_NOW},
                 {"history_echoes", CP_ROLE_ECHO},     {"clause_words", CP_ROLE_CLAUSE},
                 {"minimisers", CP_ROLE_MINIMISER}};
    static const char *const keys[] = {
        "ignored",        "negation_bridges", "negation_links", "negation_breakers",
        "negative_words", "not_misspellings", "history_events", "history_ends",
        "history_echoes", "history_before",   "history_times",  "same_words",
        "negators",       "clause_words",     "minimisers",     "note"};
    cp_rule_table *t = c->table;
    snprintf(c->place, sizeof c->place, "language");
    cp_status status = cp_compile_only_keys(c, "language", language, keys, CP_COUNT_OF(keys));
    if (status == CP_OK)
        status = read_same_words(c, cp_json_member(language, "same_words"));
    for (size_t i = 0; i < CP_COUNT_OF(lists) && status == CP_OK; i++)
        status = set_roles(c, cp_json_member(language, lists[i].key), lists[i].key, lists[i].role);
    if (status == CP_OK)
        status = check_ignored(c);
    if (status == CP_OK)
        status = read_runs(c, cp_json_member(language, "negators"), "negators", &t->negators);
    if (status == CP_OK)
        status = read_runs(c, cp_json_member(language, "history_before"), "history_before",
                           &t->history_before);
    if (status == CP_OK)
        status = read_runs(c, cp_json_member(language, "history_times"), "history_times",
                           &t->history_times);
    return status;
}
