#include "tests/pinecone_api.h"

#include "tests/load_server.h"

#include <math.h>
#include <strings.h>

#define MAX_SCRIPT  64
#define MAX_RECORDS 20000

static load_server server;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static struct {
    size_t width, page;
    cJSON *records[MAX_RECORDS]; /* [n]: {id, values, metadata, ns}, ascending by id */
    size_t n;
    test_pinecone_act script[MAX_SCRIPT];
    size_t n_script, at;
    char text[4096], metric[16], wrong[256];
    bool filters;
    cp_strbuf heads;
} api;

/* Keeps the first complaint. */
static bool complain(const char *what) {
    if (!api.wrong[0])
        snprintf(api.wrong, sizeof api.wrong, "%s", what);
    return false;
}

/* ---- records ---------------------------------------------------------------------------- */

static const char *text_of(const cJSON *object, const char *key) {
    return cp_json_text(object, key, "");
}

static const char *namespace_of(const cJSON *object) {
    return text_of(object, "ns");
}

static void drop_at(size_t i) {
    cJSON_Delete(api.records[i]);
    memmove(api.records + i, api.records + i + 1, (--api.n - i) * sizeof api.records[0]);
}

static void drop_id(const char *ns, const char *id) {
    for (size_t i = 0; i < api.n; i++)
        if (strcmp(text_of(api.records[i], "id"), id) == 0 &&
            strcmp(namespace_of(api.records[i]), ns) == 0) {
            drop_at(i);
            return;
        }
}

static void keep_record(const char *ns, const cJSON *vector) {
    cJSON *copy = cJSON_Duplicate(vector, true);
    size_t at = 0;
    drop_id(ns, text_of(vector, "id"));
    assert_true(api.n < MAX_RECORDS);
    cJSON_AddStringToObject(copy, "ns", ns);
    while (at < api.n && strcmp(text_of(api.records[at], "id"), text_of(copy, "id")) < 0)
        at++;
    memmove(api.records + at + 1, api.records + at, (api.n++ - at) * sizeof api.records[0]);
    api.records[at] = copy;
}

/* ---- what requests must be like --------------------------------------------------------- */

static bool has_only(const cJSON *object, const char *const *keys) {
    if (!cJSON_IsObject(object))
        return complain("a body that is no object");
    for (const cJSON *member = object->child; member; member = member->next) {
        size_t i = 0;
        while (keys[i] && strcmp(keys[i], member->string) != 0)
            i++;
        if (!keys[i])
            return complain(member->string);
    }
    return true;
}

/* Strings, numbers, booleans, lists of strings: what Pinecone allows in metadata. */
static bool is_metadata(const cJSON *metadata) {
    if (!cJSON_IsObject(metadata))
        return complain("metadata is no object");
    for (const cJSON *member = metadata->child; member; member = member->next)
        if (!cJSON_IsString(member) && !cJSON_IsNumber(member) && !cJSON_IsBool(member))
            return complain("metadata of a type that Pinecone refuses");
    if (cp_json_member(metadata, "text"))
        return complain("metadata with a text");
    return true;
}

static bool is_values(const cJSON *values) {
    double sum = 0;
    if (!cJSON_IsArray(values) || (size_t)cJSON_GetArraySize(values) != api.width)
        return complain("values of another width");
    for (const cJSON *v = values->child; v; v = v->next) {
        if (!cJSON_IsNumber(v))
            return complain("a value that is no number");
        sum += v->valuedouble * v->valuedouble;
    }
    return sum > 0 || complain("a vector of zeros");
}

static bool is_vector(const cJSON *vector) {
    static const char *const keys[] = {"id", "values", "metadata", NULL};
    const char *id = text_of(vector, "id");
    if (!has_only(vector, keys) || !id[0] || strlen(id) > 512)
        return complain("a vector without an id");
    return is_values(cp_json_member(vector, "values")) &&
           is_metadata(cp_json_member(vector, "metadata"));
}

static bool has_field(const char *head, const char *field) {
    return strcasestr(head, field) != NULL;
}

static bool check_head(const load_exchange *x, bool is_post) {
    if (!has_field(x->head, "\r\nApi-Key: " TEST_PINECONE_KEY "\r\n"))
        return complain("no Api-Key");
    if (!has_field(x->head, "\r\nX-Pinecone-Api-Version: 2025-10\r\n"))
        return complain("no X-Pinecone-Api-Version");
    if (!has_field(x->head, "\r\nAccept: application/json\r\n"))
        return complain("no Accept");
    if (is_post && !has_field(x->head, "\r\nContent-Type: application/json\r\n"))
        return complain("no Content-Type");
    return is_post || !x->body[0] || complain("a GET with a body");
}

/* ---- parameters ------------------------------------------------------------------------- */

/* The next value of `name` in a query, decoded; NULL at the end. *at begins behind the '?'. */
static const char *parameter(const char **at, const char *name, char out[4096]) {
    size_t n = strlen(name);
    while (**at) {
        size_t len = strcspn(*at, "&");
        const char *part = *at;
        *at += len + ((*at)[len] == '&');
        if (strncmp(part, name, n) != 0 || part[n] != '=')
            continue;
        char *to = out;
        for (const char *from = part + n + 1; from < part + len; from++) {
            unsigned c = (unsigned char)*from;
            if (c == '%' && sscanf(from + 1, "%2x", &c) == 1)
                from += 2;
            *to++ = (char)c;
        }
        *to = '\0';
        return out;
    }
    return NULL;
}

static const char *one_parameter(const char *query, const char *name, char out[4096]) {
    out[0] = '\0';
    parameter(&query, name, out);
    return out;
}

/* ---- operations ------------------------------------------------------------------------- */

static bool answer_tree(const load_exchange *x, cJSON *tree) {
    char *text = cJSON_PrintUnformatted(tree);
    bool stays = load_answer(x, 200, "", text);
    free(text);
    cJSON_Delete(tree);
    return stays;
}

static bool reject(const load_exchange *x) {
    return load_answer(x, 400, "", "{\"code\":3,\"message\":\"invalid\",\"details\":[]}");
}

static bool upsert(const load_exchange *x, const cJSON *body) {
    static const char *const keys[] = {"namespace", "vectors", NULL};
    const cJSON *vectors = cp_json_member(body, "vectors"), *v;
    int n = cJSON_GetArraySize(vectors);
    if (!has_only(body, keys) || n < 1 || n > 100 || strlen(x->body) >= (size_t)2 << 20)
        return complain("an upsert of no vectors or too many") || reject(x);
    cJSON_ArrayForEach(v, vectors) if (!is_vector(v)) return reject(x);
    cJSON_ArrayForEach(v, vectors) keep_record(text_of(body, "namespace"), v);
    cJSON *out = cJSON_CreateObject();
    cJSON_AddNumberToObject(out, "upsertedCount", n);
    return answer_tree(x, out);
}

static bool meets(const cJSON *member, const cJSON *condition) {
    const cJSON *c = condition->child, *value;
    bool is_there = cJSON_IsString(member);
    if (strcmp(c->string, "$eq") == 0)
        return is_there && strcmp(member->valuestring, c->valuestring) == 0;
    if (strcmp(c->string, "$ne") == 0)
        return !is_there || strcmp(member->valuestring, c->valuestring) != 0;
    if (strcmp(c->string, "$in") != 0)
        return complain("an operator that is none");
    cJSON_ArrayForEach(value, c) if (is_there && strcmp(member->valuestring, value->valuestring) ==
                                                     0) return true;
    return false;
}

static bool passes(const cJSON *record, const cJSON *filter) {
    for (const cJSON *c = filter->child; c && api.filters; c = c->next)
        if (!meets(cp_json_member(cp_json_member(record, "metadata"), c->string), c))
            return false;
    return true;
}

static double cosine(const cJSON *a, const cJSON *b) {
    double dot = 0, aa = 0, bb = 0;
    for (a = a->child, b = b->child; a && b; a = a->next, b = b->next) {
        dot += a->valuedouble * b->valuedouble;
        aa += a->valuedouble * a->valuedouble;
        bb += b->valuedouble * b->valuedouble;
    }
    return dot / sqrt(aa * bb);
}

static bool query(const load_exchange *x, const cJSON *body) {
    static const char *const keys[] = {"namespace",     "vector",          "topK", "filter",
                                       "includeValues", "includeMetadata", NULL};
    const cJSON *top_k = cp_json_member(body, "topK"), *filter = cp_json_member(body, "filter");
    if (!has_only(body, keys) || !is_values(cp_json_member(body, "vector")) ||
        !cJSON_IsNumber(top_k) || top_k->valueint < 1 || top_k->valueint > 10000 ||
        !cJSON_IsObject(filter) || !cJSON_IsFalse(cp_json_member(body, "includeValues")) ||
        !cJSON_IsTrue(cp_json_member(body, "includeMetadata")))
        return complain("a query of another form") || reject(x);
    cJSON *out = cJSON_CreateObject(), *matches = cJSON_AddArrayToObject(out, "matches");
    for (int left = top_k->valueint; left > 0; left--) {
        const cJSON *best = NULL;
        double best_score = -2;
        for (size_t i = 0; i < api.n; i++) {
            const cJSON *r = api.records[i];
            double score = cosine(cp_json_member(r, "values"), cp_json_member(body, "vector"));
            bool taken = false;
            const cJSON *m;
            cJSON_ArrayForEach(m, matches) taken |= strcmp(text_of(m, "id"), text_of(r, "id")) == 0;
            if (!taken && score > best_score && passes(r, filter) &&
                strcmp(namespace_of(r), text_of(body, "namespace")) == 0) {
                best = r;
                best_score = score;
            }
        }
        if (!best)
            break;
        cJSON *match = cJSON_CreateObject();
        cJSON_AddStringToObject(match, "id", text_of(best, "id"));
        cJSON_AddNumberToObject(match, "score", best_score);
        cJSON_AddItemToObject(match, "values", cJSON_CreateArray());
        cJSON_AddItemToObject(match, "metadata",
                              cJSON_Duplicate(cp_json_member(best, "metadata"), true));
        cJSON_AddItemToArray(matches, match);
    }
    cJSON_AddStringToObject(out, "namespace", text_of(body, "namespace"));
    cJSON_AddNumberToObject(cJSON_AddObjectToObject(out, "usage"), "readUnits", 5);
    return answer_tree(x, out);
}

static bool fetch(const load_exchange *x, const char *parameters) {
    char id[4096], ns[4096];
    const char *at = parameters;
    cJSON *out = cJSON_CreateObject(), *vectors = cJSON_AddObjectToObject(out, "vectors");
    one_parameter(parameters, "namespace", ns);
    while (parameter(&at, "ids", id)) {
        for (size_t i = 0; i < api.n; i++) {
            const cJSON *r = api.records[i];
            if (strcmp(text_of(r, "id"), id) != 0 || strcmp(namespace_of(r), ns) != 0)
                continue;
            cJSON *copy = cJSON_Duplicate(r, true);
            cJSON_DeleteItemFromObject(copy, "ns");
            cJSON_AddItemToObject(vectors, id, copy);
        }
    }
    cJSON_AddStringToObject(out, "namespace", ns);
    return answer_tree(x, out);
}

static bool list(const load_exchange *x, const char *parameters) {
    char prefix[4096], token[4096], limit[4096], ns[4096];
    const char *last = NULL;
    size_t n = 0, most = strtoul(one_parameter(parameters, "limit", limit), NULL, 10);
    bool more = false;
    if (most < 1 || most > 100)
        return complain("a limit that is none") || reject(x);
    if (most > api.page)
        most = api.page;
    one_parameter(parameters, "prefix", prefix);
    one_parameter(parameters, "paginationToken", token);
    one_parameter(parameters, "namespace", ns);
    cJSON *out = cJSON_CreateObject(), *vectors = cJSON_AddArrayToObject(out, "vectors");
    for (size_t i = 0; i < api.n; i++) {
        const cJSON *r = api.records[i];
        const char *id = text_of(r, "id");
        if (strcmp(namespace_of(r), ns) != 0 || strncmp(id, prefix, strlen(prefix)) != 0 ||
            (token[0] && strcmp(id, token + 6) <= 0))
            continue;
        if (n == most) {
            more = true;
            break;
        }
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "id", id);
        cJSON_AddItemToArray(vectors, item);
        last = id;
        n++;
    }
    if (more) {
        char next[4200];
        snprintf(next, sizeof next, "next+=%s", last);
        cJSON_AddStringToObject(cJSON_AddObjectToObject(out, "pagination"), "next", next);
    }
    cJSON_AddStringToObject(out, "namespace", ns);
    return answer_tree(x, out);
}

static bool delete_ids(const load_exchange *x, const cJSON *body) {
    static const char *const keys[] = {"namespace", "ids", NULL};
    const cJSON *ids = cp_json_member(body, "ids"), *id;
    int n = cJSON_GetArraySize(ids);
    if (!has_only(body, keys) || n < 1 || n > 1000)
        return complain("a deletion of nothing or of too much") || reject(x);
    cJSON_ArrayForEach(id, ids) drop_id(text_of(body, "namespace"), id->valuestring);
    return load_answer(x, 200, "", "{}");
}

static bool describe(const load_exchange *x) {
    cJSON *out = cJSON_CreateObject(), *namespaces = cJSON_AddObjectToObject(out, "namespaces");
    for (size_t i = 0; i < api.n; i++) {
        const cJSON *r = api.records[i];
        cJSON *ns = cJSON_GetObjectItemCaseSensitive(namespaces, namespace_of(r));
        if (!ns) {
            ns = cJSON_AddObjectToObject(namespaces, namespace_of(r));
            cJSON_AddNumberToObject(ns, "vectorCount", 0);
        }
        cJSON *n = cJSON_GetObjectItemCaseSensitive(ns, "vectorCount");
        cJSON_SetNumberValue(n, n->valuedouble + 1);
    }
    cJSON_AddNumberToObject(out, "dimension", (double)api.width);
    cJSON_AddNumberToObject(out, "totalVectorCount", (double)api.n);
    cJSON_AddStringToObject(out, "metric", api.metric);
    return answer_tree(x, out);
}

static bool namespaces(const load_exchange *x, const char *parameters) {
    char token[4096];
    one_parameter(parameters, "paginationToken", token);
    return load_answer(x, 200, "",
                       token[0] ? "{\"namespaces\":[{\"name\":\"ward\",\"record_count\":\"7\"}]}"
                                : "{\"namespaces\":[{\"name\":\"__default__\",\"record_count\":"
                                  "12}],\"pagination\":{\"next\":\"t2\"},\"total_count\":2}");
}

static bool post(const load_exchange *x, const char *path) {
    cp_error err;
    cJSON *body = NULL;
    bool stays;
    if (cp_json_parse("body", x->body, strlen(x->body), &body, &err) != CP_OK)
        return complain("a body that is no JSON") || reject(x);
    if (strcmp(path, "/vectors/upsert") == 0)
        stays = upsert(x, body);
    else if (strcmp(path, "/query") == 0)
        stays = query(x, body);
    else if (strcmp(path, "/vectors/delete") == 0)
        stays = delete_ids(x, body);
    else if (strcmp(path, "/describe_index_stats") == 0)
        stays = describe(x);
    else
        stays = complain("a POST to an unknown path") || reject(x);
    cJSON_Delete(body);
    return stays;
}

static bool serve(const load_exchange *x) {
    char method[8], target[16384], *parameters;
    if (sscanf(x->head, "%7s %16383s", method, target) != 2)
        return complain("no request line");
    bool is_post = strcmp(method, "POST") == 0;
    if (!check_head(x, is_post))
        return load_answer(x, 401, "", "\"Unauthorized\"");
    parameters = strchr(target, '?');
    if (parameters)
        *parameters++ = '\0';
    if (is_post)
        return parameters ? complain("a POST with a query") : post(x, target);
    if (strcmp(method, "GET") != 0)
        return complain("a method that is neither GET nor POST");
    const char *rest = parameters ? parameters : "";
    if (strcmp(target, "/vectors/fetch") == 0)
        return fetch(x, rest);
    if (strcmp(target, "/vectors/list") == 0)
        return list(x, rest);
    if (strcmp(target, "/namespaces") == 0)
        return namespaces(x, rest);
    return complain("a GET of an unknown path");
}

static bool act(const load_exchange *x, test_pinecone_act what) {
    switch (what) {
    case PINECONE_SERVE:
        return serve(x);
    case PINECONE_401:
        return load_answer(x, 401, "", "\"Unauthorized\"");
    case PINECONE_404_PAGE:
        return load_answer(x, 404, "", "<html>nobody MRN-SECRET</html>");
    case PINECONE_429_AT_ONCE:
        return load_answer(x, 429, "Retry-After: 0\r\n", "{\"code\":8,\"message\":\"MRN-SECRET\"}");
    case PINECONE_429_LATER:
        return load_answer(x, 429, "Retry-After: 3600\r\n", "{\"code\":8,\"message\":\"slow\"}");
    case PINECONE_500:
        return load_answer(x, 500, "", "{}");
    case PINECONE_503:
        return load_answer(x, 503, "", "no JSON at all");
    case PINECONE_CUT:
        load_send(x, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"matches\":[");
        return false;
    case PINECONE_NO_JSON:
        return load_answer(x, 200, "", "{\"matches\":[{\"id\":\"MRN-SECRET\",}]}");
    case PINECONE_404:
        return load_answer(x, 404, "",
                           "{\"code\":5,\"message\":\"Namespace not found\",\"details\":[]}");
    case PINECONE_TEXT:
        return load_answer(x, 200, "", api.text);
    }
    return false;
}

static bool handle(const load_exchange *x) {
    pthread_mutex_lock(&lock);
    test_pinecone_act what = api.at < api.n_script ? api.script[api.at++] : PINECONE_SERVE;
    cp_strbuf_puts(&api.heads, x->head);
    bool stays = act(x, what);
    pthread_mutex_unlock(&lock);
    return stays;
}

/* ---- for tests -------------------------------------------------------------------------- */

void test_pinecone_start(size_t width, size_t page) {
    memset(&api, 0, sizeof api);
    api.width = width;
    api.page = page;
    api.filters = true;
    strcpy(api.metric, "cosine");
    cp_strbuf_init(&api.heads, (size_t)64 << 20);
    load_server_start(&server, handle);
}

void test_pinecone_stop(void) {
    load_server_stop(&server);
    while (api.n > 0)
        drop_at(api.n - 1);
    cp_strbuf_deinit(&api.heads);
    if (api.wrong[0])
        fail_msg("Pinecone was asked wrongly: %s", api.wrong);
}

const char *test_pinecone_url(void) {
    return server.url;
}

void test_pinecone_script(const test_pinecone_act *acts, size_t n) {
    pthread_mutex_lock(&lock);
    assert_true(n <= MAX_SCRIPT);
    for (size_t i = 0; i < n; i++)
        api.script[i] = acts[i];
    api.n_script = n;
    api.at = 0;
    pthread_mutex_unlock(&lock);
}

void test_pinecone_text(const char *text) {
    assert_true(strlen(text) < sizeof api.text);
    pthread_mutex_lock(&lock);
    strcpy(api.text, text);
    pthread_mutex_unlock(&lock);
}

void test_pinecone_metric(const char *metric) {
    pthread_mutex_lock(&lock);
    strcpy(api.metric, metric);
    pthread_mutex_unlock(&lock);
}

void test_pinecone_filters(bool does) {
    pthread_mutex_lock(&lock);
    api.filters = does;
    pthread_mutex_unlock(&lock);
}

size_t test_pinecone_n_records(void) {
    return api.n;
}

size_t test_pinecone_n_requests(const char *path) {
    size_t n = 0;
    char line[128];
    for (int post_too = 0; post_too < 2; post_too++) {
        snprintf(line, sizeof line, "%s %s", post_too ? "POST" : "GET", path);
        for (const char *at = cp_strbuf_text(&api.heads); (at = strstr(at, line)); at += 4)
            n++;
    }
    return n;
}

const char *test_pinecone_heads(void) {
    return cp_strbuf_text(&api.heads);
}

void test_pinecone_drop(size_t place) {
    assert_true(place < test_pinecone_n_records());
    drop_at(place);
}

void test_pinecone_spoil(size_t place, const char *member, const char *text) {
    cJSON *metadata = cJSON_GetObjectItemCaseSensitive(api.records[place], "metadata");
    assert_true(cJSON_ReplaceItemInObjectCaseSensitive(metadata, member, cJSON_CreateString(text)));
}
