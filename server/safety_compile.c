#include "server/safety_compile.h"

#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define MAX_PHRASES    65535
#define SHOWN_MAX_TEXT 60 /* bytes of a value that a refusal repeats */

/* ---- refusals --------------------------------------------------------------------------- */

cp_status cp_compile_refuse_text(cp_rule_compiler *c, const char *field, const char *value,
                                 const char *expected) {
    return cp_error_set(c->err, CP_ERR_FORMAT, "%s: %s: %s is \"%.*s\", expected %s", c->path,
                        c->place, field, SHOWN_MAX_TEXT, value, expected);
}

cp_status cp_compile_refuse(cp_rule_compiler *c, const char *field, const cJSON *value,
                            const char *expected) {
    char shown[32] = "missing";
    if (cJSON_IsString(value))
        return cp_compile_refuse_text(c, field, value->valuestring, expected);
    if (cJSON_IsNumber(value))
        snprintf(shown, sizeof shown, "%.10g", value->valuedouble);
    else if (cJSON_IsBool(value))
        snprintf(shown, sizeof shown, "%s", cJSON_IsTrue(value) ? "true" : "false");
    else if (cJSON_IsNull(value))
        snprintf(shown, sizeof shown, "null");
    else if (value)
        snprintf(shown, sizeof shown, "%s%s", value->child ? "" : "an empty ",
                 cJSON_IsArray(value) ? (value->child ? "a list" : "list")
                                      : (value->child ? "an object" : "object"));
    return cp_error_set(c->err, CP_ERR_FORMAT, "%s: %s: %s is %s, expected %s", c->path, c->place,
                        field, shown, expected);
}

cp_status cp_compile_no_memory(cp_rule_compiler *c) {
    return cp_error_no_memory(c->err, c->path);
}

cp_status cp_compile_only_keys(cp_rule_compiler *c, const char *field, const cJSON *object,
                               const char *const *keys, size_t n) {
    const cJSON *member;
    if (!cJSON_IsObject(object))
        return cp_compile_refuse(c, field, object, "an object");
    cJSON_ArrayForEach(member, object) {
        size_t i = 0;
        while (i < n && strcmp(member->string, keys[i]) != 0)
            i++;
        if (i == n)
            return cp_error_set(c->err, CP_ERR_FORMAT, "%s: %s: %s has the unknown key \"%.*s\"",
                                c->path, c->place, field, SHOWN_MAX_TEXT, member->string);
        if (cJSON_IsNull(member) && strcmp(member->string, "reviewed_by") != 0)
            return cp_compile_refuse(c, member->string, member, "a value, or no such key");
    }
    return CP_OK;
}

cp_status cp_compile_list(cp_rule_compiler *c, const char *field, const cJSON *list) {
    if (!cJSON_IsArray(list) || !list->child)
        return cp_compile_refuse(c, field, list, "a list that is not empty");
    return CP_OK;
}

/* ---- words and phrases ------------------------------------------------------------------ */

static bool is_plain(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
            return false;
    return true;
}

cp_status cp_compile_word(cp_rule_compiler *c, const char *field, const cJSON *item, int32_t *id) {
    cp_word_scanner scanner;
    cp_word word, more;
    if (!cJSON_IsString(item) || !is_plain(item->valuestring))
        return cp_compile_refuse(c, field, item, "a word in plain ASCII");
    cp_word_scanner_init(&scanner, item->valuestring, strlen(item->valuestring));
    if (!cp_word_scanner_next(&scanner, &word) || word.cut || cp_word_scanner_next(&scanner, &more))
        return cp_compile_refuse(c, field, item, "exactly one word");
    *id = cp_vocabulary_add(&c->table->words, &word);
    return *id == CP_WORD_UNKNOWN ? cp_compile_no_memory(c) : CP_OK;
}

static cp_status add_id(cp_rule_compiler *c, int32_t id) {
    cp_rule_table *t = c->table;
    if (!cp_grow((void **)&t->ids, &t->ids_cap, t->n_ids + 1, sizeof *t->ids))
        return cp_compile_no_memory(c);
    t->ids[t->n_ids++] = id;
    return CP_OK;
}

/* Appends the words of text[0..n), ignored ones left out. */
static cp_status add_words(cp_rule_compiler *c, const char *field, const char *text, size_t n,
                           cp_phrase *phrase) {
    cp_word_scanner scanner;
    cp_word word;
    cp_status status = CP_OK;
    cp_word_scanner_init(&scanner, text, n);
    while (status == CP_OK && cp_word_scanner_next(&scanner, &word)) {
        int32_t id = cp_vocabulary_add(&c->table->words, &word);
        if (id == CP_WORD_UNKNOWN)
            return cp_compile_no_memory(c);
        if (word.cut)
            return cp_compile_refuse_text(c, field, text, "words of at most 31 letters");
        cp_vocabulary_word *known = &c->table->words.words[id];
        if (known->roles & CP_ROLE_IGNORED)
            continue;
        known->roles |= CP_ROLE_USED;
        phrase->never_negated |= (known->roles & CP_ROLE_NEGATIVE) != 0;
        phrase->may_be_history |= (known->roles & CP_ROLE_EVENT) != 0;
        phrase->n_words++;
        status = phrase->n_words > CP_PHRASE_MAX_WORDS
                     ? cp_compile_refuse_text(c, field, text, "at most 12 words (too many words)")
                     : add_id(c, known->meaning);
    }
    return status;
}

cp_status cp_compile_phrase(cp_rule_compiler *c, const char *field, const char *text,
                            cp_phrase *phrase) {
    size_t n_gaps = 0;
    if (!is_plain(text))
        return cp_compile_refuse_text(c, field, text, "a phrase in plain ASCII");
    *phrase = (cp_phrase){.first_id = (uint32_t)c->table->n_ids};
    for (const char *at = text, *gap;; at = gap + 3) {
        gap = strstr(at, "...");
        uint8_t before = phrase->n_words;
        cp_status status = add_words(c, field, at, gap ? (size_t)(gap - at) : strlen(at), phrase);
        if (status != CP_OK)
            return status;
        if (phrase->n_words == before)
            return cp_compile_refuse_text(c, field, text,
                                          n_gaps || gap ? "words on both sides of a gap"
                                                        : "words that are not ignored");
        if (!gap)
            break;
        if (++n_gaps > CP_PHRASE_MAX_GAPS)
            return cp_compile_refuse_text(c, field, text, "at most 3 gaps");
        status = add_id(c, CP_PHRASE_GAP);
        if (status != CP_OK)
            return status;
    }
    phrase->n = (uint8_t)(phrase->n_words + n_gaps);
    return CP_OK;
}

cp_status cp_compile_add_phrase(cp_rule_compiler *c, cp_phrase_list *list,
                                const cp_phrase *phrase) {
    if (list->n == MAX_PHRASES)
        return cp_error_set(c->err, CP_ERR_FORMAT, "%s: %s: expected at most %d phrases in all",
                            c->path, c->place, MAX_PHRASES);
    if (!cp_grow((void **)&list->items, &list->cap, list->n + 1, sizeof *list->items))
        return cp_compile_no_memory(c);
    list->items[list->n++] = *phrase;
    return CP_OK;
}

/* ---- groups ----------------------------------------------------------------------------- */

static cp_status add_text(cp_rule_compiler *c, const char *field, const cJSON *item,
                          uint16_t group) {
    cp_phrase phrase;
    if (!cJSON_IsString(item))
        return cp_compile_refuse(c, field, item, "a string");
    cp_status status = cp_compile_phrase(c, field, item->valuestring, &phrase);
    phrase.group = group;
    return status == CP_OK ? cp_compile_add_phrase(c, &c->table->phrases, &phrase) : status;
}

/* A phrase, or "@name" for all phrases of a shared list. */
static cp_status add_item(cp_rule_compiler *c, const char *field, const cJSON *item,
                          uint16_t group) {
    if (!cJSON_IsString(item) || item->valuestring[0] != '@')
        return add_text(c, field, item, group);
    const cJSON *list = cp_json_member(c->lists, item->valuestring + 1), *phrase;
    if (!list)
        return cp_compile_refuse(c, field, item, "the name of a list under \"lists\"");
    cp_status status = cp_compile_list(c, item->valuestring, list);
    cJSON_ArrayForEach(phrase, list) {
        if (status == CP_OK && cJSON_IsString(phrase) && phrase->valuestring[0] == '@')
            status = cp_compile_refuse(c, item->valuestring, phrase, "a phrase, not a list");
        if (status == CP_OK)
            status = add_text(c, item->valuestring, phrase, group);
    }
    return status;
}

cp_status cp_compile_group(cp_rule_compiler *c, const char *field, const cJSON *items,
                           uint16_t *group) {
    cp_status status = cp_compile_list(c, field, items);
    const cJSON *item;
    if (status == CP_OK && c->table->n_groups == CP_RULES_MAX_GROUPS)
        return cp_error_set(c->err, CP_ERR_FORMAT, "%s: %s: expected at most %d groups in all",
                            c->path, c->place, CP_RULES_MAX_GROUPS);
    *group = (uint16_t)c->table->n_groups++;
    cJSON_ArrayForEach(item, items) {
        if (status == CP_OK)
            status = add_item(c, field, item, *group);
    }
    return status;
}
