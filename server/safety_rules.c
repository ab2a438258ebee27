#include "server/safety_rules.h"

#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES ((size_t)4 << 20)
#define MAX_RULES      1024
#define MAX_PHRASES    65535
#define MAX_AGE        130

/* What is being compiled, for sentences: "FILE: rule ID: ..." or "FILE: language: ...". */
typedef struct compiler {
    cp_rule_table *table;
    const cJSON *lists;
    const char *path;
    char place[160];
    cp_error *err;
} compiler;

static cp_status refuse(compiler *c, const char *problem, const char *detail) {
    return cp_error_set(c->err, CP_ERR_FORMAT, "%s: %s: %s%s%s%s", c->path, c->place, problem,
                        detail ? " \"" : "", detail ? detail : "", detail ? "\"" : "");
}

static cp_status no_memory(compiler *c) {
    return cp_error_no_memory(c->err, c->path);
}

/* A key that nobody reads is a condition or a phrase that silently does not work. */
static cp_status only_keys(compiler *c, const cJSON *object, const char *const *keys, size_t n) {
    const cJSON *member;
    if (!cJSON_IsObject(object))
        return refuse(c, "expected an object", NULL);
    cJSON_ArrayForEach(member, object) {
        size_t i = 0;
        while (i < n && strcmp(member->string, keys[i]) != 0)
            i++;
        if (i == n)
            return refuse(c, "unknown key", member->string);
        if (cJSON_IsNull(member) && strcmp(member->string, "reviewed_by") != 0)
            return refuse(c, "null is no value for", member->string);
    }
    return CP_OK;
}

static cp_status nonempty_list(compiler *c, const cJSON *list, const char *name) {
    if (!cJSON_IsArray(list) || !list->child)
        return refuse(c, "is missing, empty or not a list:", name);
    return CP_OK;
}

/* ---- words and phrases ------------------------------------------------------------------ */

static bool is_plain(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
            return false;
    return true;
}

/* The id of a text that must be exactly one word. */
static cp_status single_word(compiler *c, const cJSON *item, int32_t *id) {
    cp_word_scanner scanner;
    cp_word word, more;
    if (!cJSON_IsString(item) || !is_plain(item->valuestring))
        return refuse(c, "expected a word in plain ASCII", NULL);
    cp_word_scanner_init(&scanner, item->valuestring, strlen(item->valuestring));
    if (!cp_word_scanner_next(&scanner, &word) || word.cut || cp_word_scanner_next(&scanner, &more))
        return refuse(c, "expected one word, not", item->valuestring);
    *id = cp_vocabulary_add(&c->table->words, &word);
    return *id == CP_WORD_UNKNOWN ? no_memory(c) : CP_OK;
}

static cp_status add_id(compiler *c, int32_t id) {
    cp_rule_table *t = c->table;
    if (!cp_grow((void **)&t->ids, &t->ids_cap, t->n_ids + 1, sizeof *t->ids))
        return no_memory(c);
    t->ids[t->n_ids++] = id;
    return CP_OK;
}

/* Appends the words of text[0..n), ignored ones left out. */
static cp_status add_words(compiler *c, const char *text, size_t n, cp_phrase *phrase) {
    cp_word_scanner scanner;
    cp_word word;
    cp_status status = CP_OK;
    cp_word_scanner_init(&scanner, text, n);
    while (status == CP_OK && cp_word_scanner_next(&scanner, &word)) {
        int32_t id = cp_vocabulary_add(&c->table->words, &word);
        if (id == CP_WORD_UNKNOWN)
            return no_memory(c);
        if (word.cut)
            return refuse(c, "a word is too long in", text);
        const cp_vocabulary_word *known = &c->table->words.words[id];
        if (known->roles & CP_ROLE_IGNORED)
            continue;
        phrase->never_negated |= (known->roles & CP_ROLE_NEGATIVE) != 0;
        phrase->n++;
        status = phrase->n > CP_PHRASE_MAX_WORDS ? refuse(c, "too many words in", text)
                                                 : add_id(c, known->meaning);
    }
    return status;
}

/* "pain ... arm": words, and gaps between words. */
static cp_status read_phrase(compiler *c, const char *text, cp_phrase *phrase) {
    size_t n_gaps = 0;
    if (!is_plain(text))
        return refuse(c, "a phrase is not plain ASCII", NULL);
    *phrase = (cp_phrase){.first_id = (uint32_t)c->table->n_ids};
    for (const char *at = text, *gap;; at = gap + 3) {
        gap = strstr(at, "...");
        uint8_t before = phrase->n;
        cp_status status = add_words(c, at, gap ? (size_t)(gap - at) : strlen(at), phrase);
        if (status != CP_OK)
            return status;
        if (phrase->n == before)
            return refuse(c,
                          n_gaps || gap ? "a gap without words on both sides in"
                                        : "no words but ignored ones in",
                          text);
        if (!gap)
            break;
        if (++n_gaps > CP_PHRASE_MAX_GAPS)
            return refuse(c, "too many gaps in", text);
        status = add_id(c, CP_PHRASE_GAP);
        if (status != CP_OK)
            return status;
    }
    phrase->n = (uint8_t)(phrase->n + n_gaps);
    return CP_OK;
}

static cp_status add_phrase(compiler *c, const char *text, uint16_t group) {
    cp_rule_table *t = c->table;
    cp_phrase phrase;
    cp_status status = read_phrase(c, text, &phrase);
    if (status != CP_OK)
        return status;
    if (t->n_phrases == MAX_PHRASES)
        return refuse(c, "the file has too many phrases", NULL);
    if (!cp_grow((void **)&t->phrases, &t->phrases_cap, t->n_phrases + 1, sizeof *t->phrases))
        return no_memory(c);
    phrase.group = group;
    t->phrases[t->n_phrases++] = phrase;
    return CP_OK;
}

/* A phrase, or "@name" for all phrases of a shared list. */
static cp_status add_group_item(compiler *c, const cJSON *item, uint16_t group) {
    if (!cJSON_IsString(item))
        return refuse(c, "a phrase is not a string", NULL);
    if (item->valuestring[0] != '@')
        return add_phrase(c, item->valuestring, group);
    const cJSON *list = cp_json_member(c->lists, item->valuestring + 1);
    if (!list)
        return refuse(c, "no such list:", item->valuestring);
    cp_status status = nonempty_list(c, list, item->valuestring);
    const cJSON *phrase;
    cJSON_ArrayForEach(phrase, list) {
        if (status == CP_OK && !cJSON_IsString(phrase))
            status = refuse(c, "a phrase is not a string in", item->valuestring);
        if (status == CP_OK && phrase->valuestring[0] == '@')
            status = refuse(c, "a list may not name a list:", item->valuestring);
        if (status == CP_OK)
            status = add_phrase(c, phrase->valuestring, group);
    }
    return status;
}

static cp_status add_group(compiler *c, const cJSON *items) {
    cp_status status = nonempty_list(c, items, "group of phrases");
    const cJSON *item;
    if (status == CP_OK && c->table->n_groups == CP_RULES_MAX_GROUPS)
        return refuse(c, "the file has too many groups", NULL);
    uint16_t group = (uint16_t)c->table->n_groups++;
    cJSON_ArrayForEach(item, items) {
        if (status == CP_OK)
            status = add_group_item(c, item, group);
    }
    return status;
}

/* ---- language --------------------------------------------------------------------------- */

static cp_status set_roles(compiler *c, const cJSON *list, const char *name, uint8_t role) {
    cp_status status = nonempty_list(c, list, name);
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        int32_t id;
        if (status == CP_OK)
            status = single_word(c, item, &id);
        if (status == CP_OK)
            c->table->words.words[id].roles |= role;
    }
    return status;
}

/* {"cant": ["cannot", "carnt"]}: the words of the list are read as the key. */
static cp_status set_meanings(compiler *c, const cJSON *entry) {
    const cJSON key = {.type = cJSON_String, .valuestring = entry->string};
    int32_t meaning, id;
    cp_status status = single_word(c, &key, &meaning);
    if (status == CP_OK)
        status = nonempty_list(c, entry, entry->string);
    const cJSON *item;
    cJSON_ArrayForEach(item, entry) {
        if (status == CP_OK)
            status = single_word(c, item, &id);
        if (status != CP_OK)
            return status;
        cp_vocabulary_word *words = c->table->words.words;
        if (words[meaning].meaning != meaning || words[id].meaning != id || id == meaning)
            return refuse(c, "stands for two words:", item->valuestring);
        words[id].meaning = meaning;
    }
    return status;
}

static cp_status read_same_words(compiler *c, const cJSON *same) {
    cp_status status = CP_OK;
    const cJSON *entry;
    if (!cJSON_IsObject(same))
        return refuse(c, "is missing or not an object:", "same_words");
    cJSON_ArrayForEach(entry, same) {
        if (status == CP_OK)
            status = set_meanings(c, entry);
    }
    /* A word that other words stand for must not itself stand for another. */
    for (size_t id = 1; status == CP_OK && id <= c->table->words.n; id++) {
        int32_t meaning = c->table->words.words[id].meaning;
        if (c->table->words.words[meaning].meaning != meaning)
            status = refuse(c, "stands for two words:", c->table->words.words[meaning].text);
    }
    return status;
}

static cp_status read_negator(compiler *c, const cJSON *item) {
    cp_rule_table *t = c->table;
    cp_phrase negator;
    if (!cJSON_IsString(item) || strstr(item->valuestring, "..."))
        return refuse(c, "a negator is not a string, or has a gap", NULL);
    size_t n_words = 0;
    cp_word_scanner scanner;
    cp_word word;
    cp_word_scanner_init(&scanner, item->valuestring, strlen(item->valuestring));
    while (cp_word_scanner_next(&scanner, &word))
        n_words++;
    cp_status status = read_phrase(c, item->valuestring, &negator);
    if (status != CP_OK)
        return status;
    if (negator.n != n_words || n_words > CP_NEGATOR_MAX_WORDS)
        return refuse(c, "too long, or with an ignored word:", item->valuestring);
    if (!cp_grow((void **)&t->negators, &t->negators_cap, t->n_negators + 1, sizeof *t->negators))
        return no_memory(c);
    t->negators[t->n_negators++] = negator;
    return CP_OK;
}

static cp_status read_language(compiler *c, const cJSON *language) {
    static const struct {
        const char *key;
        uint8_t role;
    } lists[] = {{"ignored", CP_ROLE_IGNORED},         {"negation_bridges", CP_ROLE_BRIDGE},
                 {"negation_links", CP_ROLE_LINK},     {"negation_breakers", CP_ROLE_BREAKER},
                 {"negative_words", CP_ROLE_NEGATIVE}, {"not_misspellings", CP_ROLE_KNOWN}};
    static const char *const keys[] = {"ignored",           "negation_bridges", "negation_links",
                                       "negation_breakers", "negative_words",   "not_misspellings",
                                       "same_words",        "negators",         "note"};
    snprintf(c->place, sizeof c->place, "language");
    cp_status status = only_keys(c, language, keys, CP_COUNT_OF(keys));
    if (status == CP_OK)
        status = read_same_words(c, cp_json_member(language, "same_words"));
    for (size_t i = 0; i < CP_COUNT_OF(lists) && status == CP_OK; i++)
        status = set_roles(c, cp_json_member(language, lists[i].key), lists[i].key, lists[i].role);
    for (size_t id = 1; status == CP_OK && id <= c->table->words.n; id++) {
        const cp_vocabulary_word *word = &c->table->words.words[id];
        if (word->roles & CP_ROLE_IGNORED &&
            (word->meaning != (int32_t)id || word->roles & (CP_ROLE_LINK | CP_ROLE_NEGATIVE)))
            status = refuse(c, "ignored, and yet given another use:", word->text);
    }
    for (size_t id = 1; id <= c->table->words.n; id++) /* words read as another have its roles */
        c->table->words.words[id].roles |=
            c->table->words.words[c->table->words.words[id].meaning].roles;
    const cJSON *negators = cp_json_member(language, "negators"), *item;
    if (status == CP_OK)
        status = nonempty_list(c, negators, "negators");
    cJSON_ArrayForEach(item, negators) {
        if (status == CP_OK)
            status = read_negator(c, item);
    }
    return status;
}

/* ---- conditions and patterns ------------------------------------------------------------ */

static cp_status read_bound(compiler *c, const cJSON *object, const char *key, int max, int *out) {
    const cJSON *member = cp_json_member(object, key);
    *out = -1;
    if (!member)
        return CP_OK;
    if (!cJSON_IsNumber(member) || !(member->valuedouble >= 0 && member->valuedouble <= max) ||
        member->valuedouble != (int)member->valuedouble)
        return refuse(c, "not a whole number in range:", key);
    *out = (int)member->valuedouble;
    return CP_OK;
}

static cp_status read_sex_and_pregnancy(compiler *c, const cJSON *object, cp_rule_condition *out) {
    const cJSON *sex = cp_json_member(object, "sex"),
                *pregnant = cp_json_member(object, "pregnant");
    if (sex && cJSON_IsString(sex) && strcmp(sex->valuestring, "female") == 0)
        out->sex = CP_SEX_FEMALE;
    else if (sex && cJSON_IsString(sex) && strcmp(sex->valuestring, "male") == 0)
        out->sex = CP_SEX_MALE;
    else if (sex)
        return refuse(c, "sex is neither \"female\" nor \"male\"", NULL);
    if (pregnant && !cJSON_IsTrue(pregnant))
        return refuse(c, "pregnant can only be true", NULL);
    out->pregnant = pregnant != NULL;
    return CP_OK;
}

static cp_status read_condition(compiler *c, const cJSON *pattern, const char *key,
                                cp_rule_condition *out) {
    static const char *const keys[] = {"min_age", "max_age", "max_age_months", "sex", "pregnant"};
    const cJSON *object = cp_json_member(pattern, key);
    *out = (cp_rule_condition){.min_age = -1, .max_age = -1, .max_age_months = -1};
    if (!object)
        return CP_OK;
    cp_status status = only_keys(c, object, keys, CP_COUNT_OF(keys));
    if (status == CP_OK && !object->child)
        status = refuse(c, "an empty condition:", key);
    if (status == CP_OK)
        status = read_bound(c, object, "min_age", MAX_AGE, &out->min_age);
    if (status == CP_OK)
        status = read_bound(c, object, "max_age", MAX_AGE, &out->max_age);
    if (status == CP_OK)
        status = read_bound(c, object, "max_age_months", MAX_AGE * 12, &out->max_age_months);
    if (status == CP_OK)
        status = read_sex_and_pregnancy(c, object, out);
    if (status == CP_OK && out->min_age >= 0 && out->max_age >= 0 && out->min_age > out->max_age)
        status = refuse(c, "min_age is above max_age in", key);
    out->given = true;
    return status;
}

static cp_status read_pattern(compiler *c, const cJSON *item) {
    static const char *const keys[] = {"all", "when", "unless", "note"};
    cp_rule_table *t = c->table;
    cp_rule_pattern pattern = {.first_group = (uint16_t)t->n_groups};
    cp_status status = only_keys(c, item, keys, CP_COUNT_OF(keys));
    const cJSON *groups = cp_json_member(item, "all"), *group;
    if (status == CP_OK)
        status = nonempty_list(c, groups, "all");
    cJSON_ArrayForEach(group, groups) {
        if (status == CP_OK)
            status = add_group(c, group);
    }
    if (status == CP_OK)
        status = read_condition(c, item, "when", &pattern.when);
    if (status == CP_OK)
        status = read_condition(c, item, "unless", &pattern.unless);
    if (status != CP_OK)
        return status;
    pattern.n_groups = (uint16_t)(t->n_groups - pattern.first_group);
    if (!cp_grow((void **)&t->patterns, &t->patterns_cap, t->n_patterns + 1, sizeof *t->patterns))
        return no_memory(c);
    t->patterns[t->n_patterns++] = pattern;
    return CP_OK;
}

/* ---- rules ------------------------------------------------------------------------------ */

static bool is_id(const char *text) {
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return n > 0 && n <= 64 && !text[n];
}

static cp_status read_id(compiler *c, const cJSON *rule, size_t number, const char **id) {
    snprintf(c->place, sizeof c->place, "rule number %zu", number);
    const cJSON *member = cp_json_member(rule, "id");
    if (!cJSON_IsString(member) || !is_id(member->valuestring))
        return refuse(c, "id is missing or not lower-case letters, digits and '-'", NULL);
    *id = member->valuestring;
    snprintf(c->place, sizeof c->place, "rule %s", *id);
    for (size_t i = 0; i < c->table->n_rules; i++)
        if (strcmp(c->table->rules[i].shown.id, *id) == 0)
            return refuse(c, "the id is used twice", NULL);
    return CP_OK;
}

static cp_status read_text(compiler *c, const cJSON *rule, const char *key, const char **out) {
    const cJSON *member = cp_json_member(rule, key);
    if (!cJSON_IsString(member) || !member->valuestring[0])
        return refuse(c, "missing, empty or not a string:", key);
    *out = member->valuestring;
    return CP_OK;
}

/* The disposition is one of the list, and at least as urgent as the acuity asks for. */
static cp_status check_disposition(compiler *c, const cp_safety_rule *rule) {
    for (int level = CP_ACUITY_MOST_URGENT; level <= CP_ACUITY_LEAST_URGENT; level++)
        if (strcmp(rule->disposition, cp_acuity_disposition(level)) == 0)
            return level <= rule->acuity
                       ? CP_OK
                       : refuse(c, "less urgent than the acuity:", rule->disposition);
    return refuse(c, "unknown disposition", rule->disposition);
}

static cp_status read_texts(compiler *c, const cJSON *rule, cp_safety_rule *out) {
    int64_t acuity = 0;
    cp_status status = read_text(c, rule, "title", &out->title);
    if (status == CP_OK)
        status = read_text(c, rule, "disposition", &out->disposition);
    if (status == CP_OK)
        status = read_text(c, rule, "advice", &out->advice);
    if (status == CP_OK)
        status = read_text(c, rule, "source", &out->source);
    if (status == CP_OK && cp_json_get_int(rule, c->path, "acuity", CP_ACUITY_MOST_URGENT,
                                           CP_ACUITY_LEAST_URGENT, &acuity, NULL) != CP_OK)
        status = refuse(c, "acuity is not a whole number from 1 to 5", NULL);
    out->acuity = (int)acuity;
    return status == CP_OK ? check_disposition(c, out) : status;
}

static cp_status read_rule(compiler *c, const cJSON *item, size_t number) {
    static const char *const keys[] = {"id",     "title",  "acuity",   "disposition",
                                       "advice", "source", "patterns", "note"};
    cp_rule_table *t = c->table;
    cp_compiled_rule rule = {.first_pattern = t->n_patterns};
    cp_status status = read_id(c, item, number, &rule.shown.id);
    if (status == CP_OK)
        status = only_keys(c, item, keys, CP_COUNT_OF(keys));
    if (status == CP_OK)
        status = read_texts(c, item, &rule.shown);
    const cJSON *patterns = cp_json_member(item, "patterns"), *pattern;
    if (status == CP_OK)
        status = nonempty_list(c, patterns, "patterns");
    cJSON_ArrayForEach(pattern, patterns) {
        if (status == CP_OK)
            status = read_pattern(c, pattern);
    }
    if (status != CP_OK)
        return status;
    rule.n_patterns = t->n_patterns - rule.first_pattern;
    if (t->n_rules == MAX_RULES)
        return refuse(c, "the file has too many rules", NULL);
    if (!cp_grow((void **)&t->rules, &t->rules_cap, t->n_rules + 1, sizeof *t->rules))
        return no_memory(c);
    t->rules[t->n_rules++] = rule;
    return CP_OK;
}

/* A stable sort: few rules, so insertion will do. */
static void sort_rules(cp_rule_table *t) {
    for (size_t i = 1; i < t->n_rules; i++) {
        cp_compiled_rule rule = t->rules[i];
        size_t at = i;
        for (; at > 0 && t->rules[at - 1].shown.acuity > rule.shown.acuity; at--)
            t->rules[at] = t->rules[at - 1];
        t->rules[at] = rule;
    }
}

/* Puts the phrases in the order of their first words, and notes where each word's begin. */
static cp_status index_phrases(compiler *c) {
    cp_rule_table *t = c->table;
    cp_phrase *sorted = calloc(t->n_phrases + 1, sizeof *sorted);
    t->phrases_from = calloc(t->words.n + 2, sizeof *t->phrases_from);
    if (!sorted || !t->phrases_from) {
        free(sorted);
        return no_memory(c);
    }
    for (size_t i = 0; i < t->n_phrases; i++)
        t->phrases_from[t->ids[t->phrases[i].first_id] + 1]++;
    for (size_t id = 1; id < t->words.n + 2; id++)
        t->phrases_from[id] += t->phrases_from[id - 1];
    for (size_t i = 0; i < t->n_phrases; i++) /* this moves each start one word on ... */
        sorted[t->phrases_from[t->ids[t->phrases[i].first_id]]++] = t->phrases[i];
    for (size_t id = t->words.n + 1; id > 0; id--) /* ... and this moves it back */
        t->phrases_from[id] = t->phrases_from[id - 1];
    t->phrases_from[0] = 0;
    free(t->phrases);
    t->phrases = sorted;
    return cp_vocabulary_index_spelling(&t->words) ? CP_OK : no_memory(c);
}

/* Lists that no rule uses are still checked: the next rule will use them. */
static cp_status check_lists(compiler *c) {
    const cJSON *list, *phrase;
    snprintf(c->place, sizeof c->place, "lists");
    if (c->lists && !cJSON_IsObject(c->lists))
        return refuse(c, "expected an object", NULL);
    cJSON_ArrayForEach(list, c->lists) {
        cp_status status = nonempty_list(c, list, list->string);
        cJSON_ArrayForEach(phrase, list) {
            if (status == CP_OK && !cJSON_IsString(phrase))
                status = refuse(c, "a phrase is not a string in", list->string);
        }
        if (status != CP_OK)
            return status;
    }
    return CP_OK;
}

static cp_status check_head(compiler *c) {
    static const char *const keys[] = {"version",  "reviewed_by", "note",
                                       "language", "lists",       "rules"};
    const cJSON *root = c->table->tree;
    int64_t version;
    snprintf(c->place, sizeof c->place, "top level");
    cp_status status = only_keys(c, root, keys, CP_COUNT_OF(keys));
    if (status == CP_OK && cp_json_get_int(root, c->path, "version", 1, 1, &version, NULL) != CP_OK)
        status = refuse(c, "version is not 1", NULL);
    const cJSON *reviewed = cJSON_GetObjectItemCaseSensitive(root, "reviewed_by");
    if (status == CP_OK && !cJSON_IsNull(reviewed) && !cJSON_IsString(reviewed))
        status = refuse(c, "reviewed_by is neither null nor a string", NULL);
    return status == CP_OK ? nonempty_list(c, cp_json_member(root, "rules"), "rules") : status;
}

cp_status cp_rule_table_read(const char *path, cp_rule_table *out, cp_error *err) {
    *out = (cp_rule_table){0};
    compiler c = {.table = out, .path = path, .err = err};
    cp_status status = cp_json_parse_file(path, MAX_FILE_BYTES, &out->tree, err);
    if (status != CP_OK)
        return status;
    c.lists = cp_json_member(out->tree, "lists");
    status = check_head(&c);
    if (status == CP_OK)
        status = check_lists(&c);
    if (status == CP_OK)
        status = read_language(&c, cp_json_member(out->tree, "language"));
    size_t number = 0;
    const cJSON *rule;
    cJSON_ArrayForEach(rule, cp_json_member(out->tree, "rules")) {
        if (status == CP_OK)
            status = read_rule(&c, rule, ++number);
    }
    if (status != CP_OK)
        return status;
    sort_rules(out);
    return index_phrases(&c);
}

void cp_rule_table_deinit(cp_rule_table *table) {
    cJSON_Delete(table->tree);
    cp_vocabulary_deinit(&table->words);
    free(table->rules);
    free(table->patterns);
    free(table->phrases);
    free(table->negators);
    free(table->ids);
    free(table->phrases_from);
    *table = (cp_rule_table){0};
}
