#include "retrieval/claims.h"

#include "base/json.h"
#include "base/mem.h"
#include "retrieval/claim_mentions.h"
#include "retrieval/claim_words.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define MAX_WORDS_FILE ((size_t)4 << 20)

struct cp_claim_terms {
    cp_name_table names; /* kind: cp_claim_kind; ALLERGY: a name that counts with allergies only */
};

const char *cp_claim_kind_name(cp_claim_kind kind) {
    static const char *const names[] = {"medicine", "allergy", "dose", "diagnosis"};
    return kind < CP_N_CLAIM_KINDS ? names[kind] : "unknown";
}

/* ---- names ----------------------------------------------------------------------------------- */

/* The hash of a name as texts are read; 0: it has no words, too many, or is no name. */
static cp_status hash_name(cp_str name, uint64_t *hash, cp_error *err) {
    cp_words words;
    *hash = 0;
    cp_status status = cp_words_split(name, &words, err);
    if (!status && words.n > 0 && words.n <= CP_NAME_MAX_WORDS)
        *hash = cp_mention_hash(&words, 0, words.n);
    if (!status && words.n == 1 && cp_claim_is_everyday(cp_claim_word(cp_word_folded(&words, 0))))
        *hash = 0;
    cp_words_deinit(&words);
    return status;
}

/* "metoprolol succinate" is "metoprolol" to a reader. */
static cp_str without_salt(cp_str name) {
    static const char *const salts[] = {
        " succinate", " tartrate", " hydrochloride", " besylate", " maleate", " mesylate", NULL};
    for (const char *const *salt = salts; *salt; salt++) {
        size_t n = strlen(*salt);
        if (name.n > n && memcmp(name.data + name.n - n, *salt, n) == 0)
            name.n -= n;
    }
    return name;
}

/* One name; in `group` where that is not 0, else in its own. *group is where it is then. */
static cp_status add_name(cp_name_table *table, const cp_name_table *known, cp_str name,
                          cp_claim_kind kind, uint64_t *group, cp_error *err) {
    uint64_t hash, bare;
    cp_status status = hash_name(name, &hash, err);
    if (!status)
        status = hash_name(without_salt(name), &bare, err);
    if (status || hash == 0)
        return status;
    const cp_name *there = known ? cp_name_table_find(known, hash) : NULL;
    if (there) {
        *group = there->group;
        return CP_OK;
    }
    if (*group == 0 && bare != hash && bare != 0) {
        there = cp_name_table_find(known ? known : table, bare);
        *group = there ? there->group : bare;
        if (!there)
            status = cp_name_table_add(table, (cp_name){bare, bare, kind}, NULL, err);
    }
    if (*group == 0)
        *group = hash;
    if (!status)
        status = cp_name_table_add(table, (cp_name){hash, *group, kind}, NULL, err);
    if (!status)
        *group = cp_name_table_find(table, hash)->group;
    return status;
}

static cp_status add_list(cp_name_table *table, const cp_name_table *known,
                          const char *const *names, size_t n, cp_claim_kind kind, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < n && names[i] && !status; i++) {
        uint64_t group = 0;
        status = add_name(table, known, (cp_str){names[i], strlen(names[i])}, kind, &group, err);
    }
    return status;
}

/* Groups of names with "=" between them. */
static cp_status add_built_in(cp_name_table *table, const char *const *groups, cp_claim_kind kind,
                              cp_error *err) {
    cp_status status = CP_OK;
    for (; *groups && !status; groups++) {
        uint64_t group = 0;
        for (const char *at = *groups; *at && !status;) {
            size_t n = strcspn(at, "=");
            status = add_name(table, NULL, (cp_str){at, n}, kind, &group, err);
            at += n + (at[n] == '=');
        }
    }
    return status;
}

/* ---- the list of words ----------------------------------------------------------------------- */

static bool is_medicine_by_ending(const char *name) {
    return !strchr(name, ' ') && cp_claim_sounds_like_medicine((cp_str){name, strlen(name)});
}

/* What a name of the list says by itself: *known is untouched where it is nothing. */
static cp_status look_at_name(cp_name_table *table, const char *name, cp_name *known,
                              cp_error *err) {
    uint64_t hash;
    cp_status status = hash_name((cp_str){name, strlen(name)}, &hash, err);
    if (!status && hash != 0 && is_medicine_by_ending(name))
        status = cp_name_table_add(table, (cp_name){hash, hash, CP_CLAIM_MEDICINE}, NULL, err);
    const cp_name *there = status || hash == 0 ? NULL : cp_name_table_find(table, hash);
    if (there && there->kind != CP_CLAIM_ALLERGY)
        *known = *there;
    return status;
}

/* The names of a group of which one is known become names of that one. */
static cp_status add_same(cp_name_table *table, const cJSON *names, cp_error *err) {
    const cJSON *item;
    cp_name first = {0};
    cp_status status = CP_OK;
    cJSON_ArrayForEach(item, names) {
        cp_name known = {0};
        if (cJSON_IsString(item) && !status)
            status = look_at_name(table, item->valuestring, &known, err);
        if (first.hash == 0)
            first = known;
        else if (known.hash != 0 && known.kind == first.kind && known.group != first.group)
            cp_name_table_regroup(table, known.group, first.group);
    }
    cJSON_ArrayForEach(item, names) {
        uint64_t group = first.group;
        if (cJSON_IsString(item) && first.hash != 0 && !status)
            status = add_name(table, NULL, (cp_str){item->valuestring, strlen(item->valuestring)},
                              (cp_claim_kind)first.kind, &group, err);
    }
    return status;
}

static cp_status add_words_file(cp_name_table *table, const char *path, cp_error *err) {
    cJSON *root;
    cp_status status = cp_json_parse_file(path, MAX_WORDS_FILE, &root, err);
    const cJSON *same = status ? NULL : cp_json_member(root, "same"), *names;
    if (!status && !cJSON_IsArray(same))
        status =
            cp_error_set(err, CP_ERR_FORMAT, "%s: same: expected a list of lists of names", path);
    cJSON_ArrayForEach(names, same) {
        if (!status)
            status = add_same(table, names, err);
    }
    cJSON_Delete(root);
    return status;
}

/* ---- terms ----------------------------------------------------------------------------------- */

static size_t count_names(const char *const *names) {
    size_t n = 0;
    while (names && names[n])
        n++;
    return n;
}

static cp_status add_knowledge(cp_name_table *table, const cp_knowledge *knowledge, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; knowledge && i < cp_knowledge_n(knowledge) && !status; i++) {
        cp_knowledge_about about = cp_knowledge_about_doc(knowledge, i);
        status = add_list(table, NULL, about.medicines, count_names(about.medicines),
                          CP_CLAIM_MEDICINE, err);
        if (!status)
            status = add_list(table, NULL, about.conditions, count_names(about.conditions),
                              CP_CLAIM_DIAGNOSIS, err);
    }
    return status;
}

cp_status cp_claim_terms_create(const cp_knowledge *knowledge, const char *words_path,
                                cp_claim_terms **out, cp_error *err) {
    cp_claim_terms *terms = calloc(1, sizeof *terms);
    *out = NULL;
    if (!terms)
        return cp_error_no_memory(err, "names of medicines");
    cp_name_table *table = &terms->names;
    cp_status status = add_built_in(table, cp_claim_medicines, CP_CLAIM_MEDICINE, err);
    if (!status)
        status = add_built_in(table, cp_claim_diagnoses, CP_CLAIM_DIAGNOSIS, err);
    if (!status)
        status = add_knowledge(table, knowledge, err);
    if (!status)
        status = add_built_in(table, cp_claim_allergens, CP_CLAIM_ALLERGY, err);
    if (!status && words_path)
        status = add_words_file(table, words_path, err);
    if (status) {
        cp_claim_terms_free(terms);
        return status;
    }
    *out = terms;
    return CP_OK;
}

void cp_claim_terms_free(cp_claim_terms *terms) {
    if (!terms)
        return;
    cp_name_table_deinit(&terms->names);
    free(terms);
}

/* ---- support --------------------------------------------------------------------------------- */

static uint64_t key_of(cp_claim_kind kind, uint64_t thing, uint64_t medicine) {
    uint64_t parts[] = {kind, thing, medicine};
    uint64_t hash = XXH3_64bits(parts, sizeof parts);
    return hash ? hash : 1;
}

static cp_status add_key(cp_name_table *keys, cp_claim_kind kind, uint64_t thing, uint64_t medicine,
                         cp_error *err) {
    return cp_name_table_add(keys, (cp_name){.hash = key_of(kind, thing, medicine)}, NULL, err);
}

/* A dose counts by itself and with its medicine. */
static cp_status add_support(cp_name_table *keys, const cp_mention *m, cp_error *err) {
    cp_status status = add_key(keys, m->kind, m->thing, 0, err);
    if (!status && m->kind == CP_CLAIM_DOSE && m->medicine)
        status = add_key(keys, m->kind, m->thing, m->medicine, err);
    if (!status && m->kind == CP_CLAIM_DOSE && m->shorter)
        status = add_key(keys, m->kind, m->thing, m->shorter, err);
    if (!status && m->kind == CP_CLAIM_DOSE && m->carried)
        status = add_key(keys, m->kind, m->thing, m->carried, err);
    return status;
}

typedef struct check {
    cp_name_table own, given, said; /* the request's names; keys; what was marked in a sentence */
    cp_unsupported_claim *claims;
    size_t n, cap;
} check;

static cp_status read_own(check *c, const cp_claim_terms *terms, const cp_claim_names *own,
                          cp_error *err) {
    const cp_name_table *known = &terms->names;
    cp_status status =
        add_list(&c->own, known, own->medicines, own->n_medicines, CP_CLAIM_MEDICINE, err);
    if (!status)
        status =
            add_list(&c->own, known, own->conditions, own->n_conditions, CP_CLAIM_DIAGNOSIS, err);
    if (!status)
        status = add_list(&c->own, known, own->allergens, own->n_allergens, CP_CLAIM_ALLERGY, err);
    return status;
}

static cp_status read_given(check *c, cp_mention_reader *reader, const cp_str *given, size_t n,
                            cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < n && !status; i++) {
        status = cp_mentions_read(reader, given[i], err);
        for (size_t k = 0; k < reader->n && !status; k++)
            status = add_support(&c->given, &reader->items[k], err);
    }
    return status;
}

/* "twice daily" by itself says nothing of a medicine; neither does a name that an allergy in the
 * same place already says. */
static bool counts(const cp_mention_reader *r, size_t i) {
    const cp_mention *m = &r->items[i];
    if (m->kind == CP_CLAIM_DOSE && m->is_frequency && !m->medicine)
        return false;
    bool twin =
        (i > 0 && r->items[i - 1].kind == CP_CLAIM_ALLERGY && r->items[i - 1].begin == m->begin) ||
        (i + 1 < r->n && r->items[i + 1].kind == CP_CLAIM_ALLERGY &&
         r->items[i + 1].begin == m->begin);
    return m->kind == CP_CLAIM_ALLERGY || !twin;
}

static cp_status mark(check *c, const cp_mention *m, cp_error *err) {
    bool is_new;
    const cp_unsupported_claim *last = c->n > 0 ? &c->claims[c->n - 1] : NULL;
    if (last && last->kind == m->kind && last->term_begin == m->begin)
        return CP_OK; /* the other end of "5-10 mg" */
    uint64_t key = key_of(m->kind, m->thing ^ m->medicine, m->sentence_begin);
    cp_status status = cp_name_table_add(&c->said, (cp_name){.hash = key}, &is_new, err);
    if (status || !is_new)
        return status;
    if (!cp_grow((void **)&c->claims, &c->cap, c->n + 1, sizeof *c->claims))
        return cp_error_no_memory(err, "claims without support");
    c->claims[c->n++] = (cp_unsupported_claim){.kind = m->kind,
                                               .begin = m->sentence_begin,
                                               .n = m->sentence_end - m->sentence_begin,
                                               .term_begin = m->begin,
                                               .term_n = m->end - m->begin};
    return CP_OK;
}

static cp_status read_answer(check *c, cp_mention_reader *reader, cp_str answer, cp_error *err) {
    cp_status status = cp_mentions_read(reader, answer, err);
    for (size_t i = 0; i < reader->n && !status; i++) {
        const cp_mention *m = &reader->items[i];
        uint64_t medicine = m->kind == CP_CLAIM_DOSE ? m->medicine : 0;
        if (counts(reader, i) &&
            !cp_name_table_find(&c->given, key_of(m->kind, m->thing, medicine)))
            status = mark(c, m, err);
    }
    return status;
}

cp_status cp_claims_check(const cp_claim_terms *terms, const cp_claim_names *own, cp_str answer,
                          const cp_str *given, size_t n_given, cp_unsupported_claim **claims,
                          size_t *n, cp_error *err) {
    check c = {.n = 0};
    cp_mention_reader reader = {.tables = {&terms->names, &c.own}, .generous = true};
    *claims = NULL;
    *n = 0;
    cp_status status = own ? read_own(&c, terms, own, err) : CP_OK;
    if (!status)
        status = read_given(&c, &reader, given, n_given, err);
    reader.generous = false;
    if (!status)
        status = read_answer(&c, &reader, answer, err);
    cp_mentions_deinit(&reader);
    cp_name_table_deinit(&c.own);
    cp_name_table_deinit(&c.given);
    cp_name_table_deinit(&c.said);
    if (status) {
        free(c.claims);
        return status;
    }
    *claims = c.claims;
    *n = c.n;
    return CP_OK;
}
