#include "base/crypto.h"
#include "base/json_writer.h"
#include "retrieval/pinecone_link.h"

#include <math.h>
#include <string.h>

#define MAX_PAGES     200000 /* of a listing: 20 million ids */
#define MAX_TOKEN     2048
#define FETCH_IDS     40   /* of a request: they stand in its URL */
#define DELETE_IDS    1000 /* of a request */
#define VALUE_DIGITS  5
#define META_BYTES    640 /* more than id and metadata of a vector take in JSON, texts apart */
#define BYTES_A_VALUE 14

/* ---- metadata --------------------------------------------------------------------------- */

static void put_meta(cp_json_writer *w, const cp_pinecone_meta *m) {
    char hash[2 * CP_CONTENT_HASH + 1];
    cp_hex(m->hash.bytes, CP_CONTENT_HASH, hash);
    cp_json_open_object(w);
    cp_json_member_text(w, "mrn", m->mrn);
    cp_json_member_text(w, "doc", m->doc);
    cp_json_member_text(w, "kind", cp_entry_kind_name(m->kind));
    cp_json_member_text(w, "hash", hash);
    cp_json_member_text(w, "model", m->model);
    cp_json_member_int(w, "chunk", m->chunk);
    cp_json_member_int(w, "chunks", m->n_chunks);
    cp_json_member_int(w, "begin", m->begin);
    cp_json_member_int(w, "n", m->n);
    cp_json_close_object(w);
}

static bool read_text(const cJSON *object, const char *key, char *out, size_t cap) {
    const cJSON *member = cp_json_member(object, key);
    if (!cJSON_IsString(member) || strlen(member->valuestring) >= cap)
        return false;
    memcpy(out, member->valuestring, strlen(member->valuestring) + 1);
    return true;
}

static bool read_count(const cJSON *object, const char *key, uint32_t *out) {
    const cJSON *member = cp_json_member(object, key);
    if (!cJSON_IsNumber(member) || !(member->valuedouble >= 0) ||
        member->valuedouble > UINT32_MAX || member->valuedouble != floor(member->valuedouble))
        return false;
    *out = (uint32_t)member->valuedouble;
    return true;
}

static bool read_kind(const cJSON *object, cp_entry_kind *out) {
    const cJSON *member = cp_json_member(object, "kind");
    for (unsigned kind = 0; cJSON_IsString(member) && kind < CP_N_ENTRY_KINDS; kind++)
        if (strcmp(member->valuestring, cp_entry_kind_name((cp_entry_kind)kind)) == 0) {
            *out = (cp_entry_kind)kind;
            return true;
        }
    return false;
}

static bool read_meta(const cJSON *meta, cp_pinecone_meta *out) {
    char hash[2 * CP_CONTENT_HASH + 1];
    *out = (cp_pinecone_meta){.chunk = 0};
    return read_text(meta, "mrn", out->mrn, sizeof out->mrn) &&
           read_text(meta, "doc", out->doc, sizeof out->doc) && out->doc[0] &&
           read_text(meta, "model", out->model, sizeof out->model) &&
           read_text(meta, "hash", hash, sizeof hash) &&
           cp_unhex((cp_str){hash, strlen(hash)}, out->hash.bytes, CP_CONTENT_HASH) &&
           read_kind(meta, &out->kind) && read_count(meta, "chunk", &out->chunk) &&
           read_count(meta, "chunks", &out->n_chunks) && out->chunk < out->n_chunks &&
           read_count(meta, "begin", &out->begin) && read_count(meta, "n", &out->n) &&
           out->n <= UINT32_MAX - out->begin;
}

/* ---- upsert ----------------------------------------------------------------------------- */

static void put_values(cp_json_writer *w, cp_vector v, size_t width) {
    cp_json_open_array(w);
    for (size_t i = 0; i < width; i++)
        cp_json_put_number(w, (double)v.values[i] * (double)v.scale, VALUE_DIGITS);
    cp_json_close_array(w);
}

static cp_status upsert_batch(cp_pinecone *p, const cp_pinecone_vector *vectors, size_t n,
                              cp_error *err) {
    cp_strbuf body;
    cp_json_writer w;
    cJSON *tree = NULL;
    int64_t count = 0;
    cp_strbuf_init(&body, CP_PINECONE_BODY_BYTES - 1);
    cp_json_writer_init(&w, &body);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "namespace", p->namespace_);
    cp_json_key(&w, "vectors");
    cp_json_open_array(&w);
    for (size_t i = 0; i < n; i++) {
        cp_json_open_object(&w);
        cp_json_member_text(&w, "id", vectors[i].id);
        cp_json_key(&w, "values");
        put_values(&w, vectors[i].vector, p->width);
        cp_json_key(&w, "metadata");
        put_meta(&w, &vectors[i].meta);
        cp_json_close_object(&w);
    }
    cp_json_close_array(&w);
    cp_json_close_object(&w);
    cp_status status = cp_pinecone_ask(p, "/vectors/upsert", NULL, &body, &tree, err);
    if (status == CP_OK && !tree)
        status = cp_pinecone_refused(p, 404, err);
    if (status == CP_OK &&
        (cp_json_get_int(tree, "answer", "upsertedCount", 0, INT32_MAX, &count, NULL) != CP_OK ||
         count != (int64_t)n))
        status = cp_pinecone_bad(p, "upsertedCount is not what was sent", err);
    cJSON_Delete(tree);
    cp_strbuf_deinit(&body);
    return status;
}

/* How many of a request's vectors surely fit: ids, MRNs and models are short by their types, and
 * an escaped byte takes six at most. */
static size_t batch_size(const cp_pinecone *p) {
    size_t one = META_BYTES + BYTES_A_VALUE * p->width +
                 6 * (CP_PINECONE_ID_CAP + sizeof((cp_pinecone_meta *)0)->mrn +
                      sizeof((cp_pinecone_meta *)0)->doc + CP_PINECONE_MODEL_CAP);
    size_t fit = (CP_PINECONE_BODY_BYTES - 8192) / one;
    return fit < CP_PINECONE_BATCH ? fit : CP_PINECONE_BATCH;
}

cp_status cp_pinecone_upsert(cp_pinecone *p, const cp_pinecone_vector *vectors, size_t n,
                             cp_error *err) {
    size_t batch = batch_size(p);
    cp_status status = CP_OK;
    for (size_t at = 0; at < n && status == CP_OK; at += batch)
        status = upsert_batch(p, vectors + at, n - at < batch ? n - at : batch, err);
    return status;
}

/* ---- query ------------------------------------------------------------------------------ */

static void put_condition(cp_json_writer *w, const char *key, const char *op, const char *value) {
    cp_json_key(w, key);
    cp_json_open_object(w);
    cp_json_member_text(w, op, value);
    cp_json_close_object(w);
}

static void put_one_of(cp_json_writer *w, const char *key, const char *const *values, size_t n) {
    cp_json_key(w, key);
    cp_json_open_object(w);
    cp_json_key(w, "$in");
    cp_json_open_array(w);
    for (size_t i = 0; i < n; i++)
        cp_json_put_text(w, values[i]);
    cp_json_close_array(w);
    cp_json_close_object(w);
}

static void put_filter(const cp_pinecone *p, cp_json_writer *w, const cp_entry_filter *filter) {
    const char *kinds[CP_N_ENTRY_KINDS];
    const bool any = filter->mrn && strcmp(filter->mrn, CP_ANY_MRN) == 0;
    size_t n_kinds = 0;
    cp_json_open_object(w);
    if (any && !filter->knowledge)
        put_condition(w, "mrn", "$ne", "");
    else if (!any && filter->mrn && filter->knowledge)
        put_one_of(w, "mrn", (const char *const[]){filter->mrn, ""}, 2);
    else if (!any)
        put_condition(w, "mrn", "$eq", filter->mrn ? filter->mrn : "");
    for (unsigned kind = 0; kind < CP_N_ENTRY_KINDS; kind++)
        if (filter->kinds & CP_KIND_BIT(kind))
            kinds[n_kinds++] = cp_entry_kind_name((cp_entry_kind)kind);
    if (n_kinds < CP_N_ENTRY_KINDS)
        put_one_of(w, "kind", kinds, n_kinds);
    put_condition(w, "model", "$eq", p->model);
    cp_json_close_object(w);
}

static cp_status read_match(const cp_pinecone *p, const cJSON *match, cp_pinecone_match *out,
                            cp_error *err) {
    const cJSON *score = cp_json_member(match, "score");
    if (!read_text(match, "id", out->id, sizeof out->id))
        return cp_pinecone_bad(p, "match has no id, or a longer one than any of ours", err);
    /* Cosines; a little more is rounding. */
    if (!cJSON_IsNumber(score) || !(fabs(score->valuedouble) <= 1.01))
        return cp_pinecone_bad(p, "match has a score that is no cosine", err);
    out->score = (float)score->valuedouble;
    if (!read_meta(cp_json_member(match, "metadata"), &out->meta))
        return cp_pinecone_bad(p, "match has other metadata than ours", err);
    return CP_OK;
}

static cp_status read_matches(const cp_pinecone *p, const cJSON *tree, size_t k,
                              cp_pinecone_match *out, size_t *n, cp_error *err) {
    const cJSON *matches = cp_json_member(tree, "matches"), *match;
    cp_status status = CP_OK;
    if (matches && !cJSON_IsArray(matches))
        return cp_pinecone_bad(p, "matches are no list", err);
    cJSON_ArrayForEach(match, matches) {
        if (*n == k)
            return cp_pinecone_bad(p, "matches are more than was asked for", err);
        status = read_match(p, match, &out[*n], err);
        if (status != CP_OK)
            return status;
        (*n)++;
    }
    return CP_OK;
}

cp_status cp_pinecone_query(cp_pinecone *p, const cp_entry_filter *filter, cp_vector query,
                            size_t k, cp_pinecone_match *out, size_t *n, cp_error *err) {
    cp_strbuf body;
    cp_json_writer w;
    cJSON *tree = NULL;
    *n = 0;
    if (k > CP_PINECONE_MAX_TOP_K)
        return cp_error_set(err, CP_ERR_USAGE, "%zu vectors are asked for, Pinecone gives %d", k,
                            CP_PINECONE_MAX_TOP_K);
    cp_strbuf_init(&body, CP_PINECONE_BODY_BYTES - 1);
    cp_json_writer_init(&w, &body);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "namespace", p->namespace_);
    cp_json_key(&w, "vector");
    put_values(&w, query, p->width);
    cp_json_member_int(&w, "topK", (int64_t)k);
    cp_json_key(&w, "filter");
    put_filter(p, &w, filter);
    cp_json_member_bool(&w, "includeValues", false);
    cp_json_member_bool(&w, "includeMetadata", true);
    cp_json_close_object(&w);
    cp_status status = cp_pinecone_ask(p, "/query", NULL, &body, &tree, err);
    if (status == CP_OK && tree)
        status = read_matches(p, tree, k, out, n, err);
    if (status != CP_OK)
        *n = 0;
    cJSON_Delete(tree);
    cp_strbuf_deinit(&body);
    return status;
}

/* ---- fetch, list, delete ---------------------------------------------------------------- */

static cp_status fetch_some(cp_pinecone *p, const char *const *ids, size_t n,
                            void (*visit)(void *user, const char *id, const cp_pinecone_meta *meta),
                            void *user, cp_error *err) {
    cp_strbuf query;
    cJSON *tree = NULL;
    cp_pinecone_meta meta;
    cp_strbuf_init(&query, (size_t)32 << 10);
    for (size_t i = 0; i < n; i++)
        cp_pinecone_add_parameter(&query, "ids", ids[i]);
    if (*p->namespace_)
        cp_pinecone_add_parameter(&query, "namespace", p->namespace_);
    cp_status status = cp_pinecone_ask(p, "/vectors/fetch", &query, NULL, &tree, err);
    const cJSON *vectors = cp_json_member(tree, "vectors");
    if (status == CP_OK && vectors && !cJSON_IsObject(vectors))
        status = cp_pinecone_bad(p, "vectors are no object", err);
    for (size_t i = 0; i < n && status == CP_OK; i++) {
        const cJSON *vector = cp_json_member(vectors, ids[i]);
        if (vector && !read_meta(cp_json_member(vector, "metadata"), &meta))
            status = cp_pinecone_bad(p, "vector has other metadata than ours", err);
        else if (vector)
            visit(user, ids[i], &meta);
    }
    cJSON_Delete(tree);
    cp_strbuf_deinit(&query);
    return status;
}

cp_status cp_pinecone_fetch(cp_pinecone *p, const char *const *ids, size_t n,
                            void (*visit)(void *user, const char *id, const cp_pinecone_meta *meta),
                            void *user, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t at = 0; at < n && status == CP_OK; at += FETCH_IDS)
        status = fetch_some(p, ids + at, n - at < FETCH_IDS ? n - at : FETCH_IDS, visit, user, err);
    return status;
}

/* Where a listing is. Ids come in ascending order, over all pages: so none comes twice, and a
 * server that never ends is found out. */
typedef struct listing {
    const char *prefix;
    char last[CP_PINECONE_ID_CAP];
    char token[MAX_TOKEN];
    cp_status (*visit)(void *user, const char *id, cp_error *err);
    void *user;
} listing;

/* The token of the next page, "" at the end. */
static cp_status read_token(const cp_pinecone *p, const cJSON *tree, char token[MAX_TOKEN],
                            cp_error *err) {
    const cJSON *pagination = cp_json_member(tree, "pagination");
    token[0] = '\0';
    if (!pagination || !cp_json_member(pagination, "next"))
        return CP_OK;
    return read_text(pagination, "next", token, MAX_TOKEN)
               ? CP_OK
               : cp_pinecone_bad(p, "pagination has no token, or one that is too long", err);
}

static cp_status read_page(const cp_pinecone *p, listing *l, const cJSON *tree, cp_error *err) {
    const cJSON *vectors = cp_json_member(tree, "vectors"), *item;
    char id[CP_PINECONE_ID_CAP];
    size_t n = 0;
    if (vectors && !cJSON_IsArray(vectors))
        return cp_pinecone_bad(p, "vectors are no list", err);
    cJSON_ArrayForEach(item, vectors) {
        if (++n > CP_PINECONE_BATCH)
            return cp_pinecone_bad(p, "page has more ids than was asked for", err);
        if (!read_text(item, "id", id, sizeof id) || !id[0])
            return cp_pinecone_bad(p, "list has an id that is none of ours", err);
        if (strncmp(id, l->prefix, strlen(l->prefix)) != 0 || strcmp(id, l->last) <= 0)
            return cp_pinecone_bad(p, "list is not in order, or not what was asked for", err);
        memcpy(l->last, id, sizeof id);
        cp_status status = l->visit(l->user, id, err);
        if (status != CP_OK)
            return status;
    }
    return read_token(p, tree, l->token, err);
}

static cp_status ask_page(cp_pinecone *p, listing *l, cp_error *err) {
    cp_strbuf query;
    cJSON *tree = NULL;
    cp_strbuf_init(&query, (size_t)32 << 10);
    if (*l->prefix)
        cp_pinecone_add_parameter(&query, "prefix", l->prefix);
    cp_strbuf_printf(&query, "%climit=%d", query.n ? '&' : '?', CP_PINECONE_BATCH);
    if (*p->namespace_)
        cp_pinecone_add_parameter(&query, "namespace", p->namespace_);
    if (*l->token)
        cp_pinecone_add_parameter(&query, "paginationToken", l->token);
    cp_status status = cp_pinecone_ask(p, "/vectors/list", &query, NULL, &tree, err);
    l->token[0] = '\0';
    if (status == CP_OK && tree)
        status = read_page(p, l, tree, err);
    cJSON_Delete(tree);
    cp_strbuf_deinit(&query);
    return status;
}

cp_status cp_pinecone_list(cp_pinecone *p, const char *prefix,
                           cp_status (*visit)(void *user, const char *id, cp_error *err),
                           void *user, cp_error *err) {
    listing l = {.prefix = prefix, .visit = visit, .user = user};
    for (size_t pages = 0; pages < MAX_PAGES; pages++) {
        cp_status status = ask_page(p, &l, err);
        if (status != CP_OK || !l.token[0])
            return status;
    }
    return cp_pinecone_bad(p, "list has no end", err);
}

static cp_status delete_some(cp_pinecone *p, const char *const *ids, size_t n, cp_error *err) {
    cp_strbuf body;
    cp_json_writer w;
    cJSON *tree = NULL;
    cp_strbuf_init(&body, CP_PINECONE_BODY_BYTES - 1);
    cp_json_writer_init(&w, &body);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "namespace", p->namespace_);
    cp_json_key(&w, "ids");
    cp_json_open_array(&w);
    for (size_t i = 0; i < n; i++)
        cp_json_put_text(&w, ids[i]);
    cp_json_close_array(&w);
    cp_json_close_object(&w);
    cp_status status = cp_pinecone_ask(p, "/vectors/delete", NULL, &body, &tree, err);
    cJSON_Delete(tree);
    cp_strbuf_deinit(&body);
    return status;
}

cp_status cp_pinecone_delete(cp_pinecone *p, const char *const *ids, size_t n, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t at = 0; at < n && status == CP_OK; at += DELETE_IDS)
        status = delete_some(p, ids + at, n - at < DELETE_IDS ? n - at : DELETE_IDS, err);
    return status;
}

/* ---- the index -------------------------------------------------------------------------- */

static cp_status read_namespaces(const cp_pinecone *p, const cJSON *tree,
                                 void (*visit)(void *user, const char *name, int64_t n_records),
                                 void *user, cp_error *err) {
    const cJSON *list = cp_json_member(tree, "namespaces"), *item;
    if (list && !cJSON_IsArray(list))
        return cp_pinecone_bad(p, "namespaces are no list", err);
    cJSON_ArrayForEach(item, list) {
        char name[512];
        const cJSON *n = cp_json_member(item, "record_count");
        if (!read_text(item, "name", name, sizeof name))
            return cp_pinecone_bad(p, "namespace has no name", err);
        bool told = cJSON_IsNumber(n) && n->valuedouble >= 0 && n->valuedouble < 9e15;
        visit(user, name, told ? (int64_t)n->valuedouble : -1);
    }
    return CP_OK;
}

cp_status cp_pinecone_namespaces(cp_pinecone *p,
                                 void (*visit)(void *user, const char *name, int64_t n_records),
                                 void *user, cp_error *err) {
    char token[MAX_TOKEN] = "";
    for (size_t pages = 0; pages < 1000; pages++) {
        cp_strbuf query;
        cJSON *tree = NULL;
        cp_strbuf_init(&query, (size_t)16 << 10);
        cp_strbuf_printf(&query, "?limit=%d", CP_PINECONE_BATCH);
        if (*token)
            cp_pinecone_add_parameter(&query, "paginationToken", token);
        cp_status status = cp_pinecone_ask(p, "/namespaces", &query, NULL, &tree, err);
        token[0] = '\0';
        if (status == CP_OK && tree)
            status = read_namespaces(p, tree, visit, user, err);
        if (status == CP_OK && tree)
            status = read_token(p, tree, token, err);
        cJSON_Delete(tree);
        cp_strbuf_deinit(&query);
        if (status != CP_OK || !token[0])
            return status;
    }
    return cp_pinecone_bad(p, "list of namespaces has no end", err);
}

/* The default namespace has had two names. */
static const cJSON *find_namespace(const cp_pinecone *p, const cJSON *namespaces) {
    const cJSON *found = cp_json_member(namespaces, p->namespace_);
    return found || *p->namespace_ ? found : cp_json_member(namespaces, "__default__");
}

static int64_t count_of(const cJSON *object, const char *key) {
    int64_t n = 0;
    cp_error ignored;
    return cp_json_get_int(object, "answer", key, 0, INT64_C(1) << 50, &n, &ignored) == CP_OK ? n
                                                                                              : 0;
}

cp_status cp_pinecone_describe(cp_pinecone *p, cp_pinecone_stats *out, cp_error *err) {
    cp_strbuf body;
    cJSON *tree = NULL;
    *out = (cp_pinecone_stats){.n = 0};
    cp_strbuf_init(&body, 16);
    cp_strbuf_puts(&body, "{}");
    cp_status status = cp_pinecone_ask(p, "/describe_index_stats", NULL, &body, &tree, err);
    if (status == CP_OK && !tree)
        status = cp_pinecone_refused(p, 404, err);
    if (status == CP_OK) {
        out->width = count_of(tree, "dimension");
        out->n = count_of(tree, "totalVectorCount");
        out->n_records =
            count_of(find_namespace(p, cp_json_member(tree, "namespaces")), "vectorCount");
        if (!read_text(tree, "metric", out->metric, sizeof out->metric))
            out->metric[0] = '\0';
    }
    cJSON_Delete(tree);
    cp_strbuf_deinit(&body);
    return status;
}
