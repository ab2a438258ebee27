#include "server/freshness.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* What an index or a remote store has of somebody. */
typedef struct had_doc {
    char *mrn, *id; /* one allocation, mrn's */
    cp_content_hash hash;
    bool has_vectors, is_mentioned;
} had_doc;

typedef struct had_docs {
    had_doc *docs; /* [n], by MRN, then id, once sorted */
    size_t n, cap;
    bool no_memory;
} had_docs;

typedef struct checking {
    const cp_freshness_options *options;
    cp_freshness *out;
    had_docs index, remote;
    /* Of one patient, for repairing. */
    const cp_source_doc **due;
    const char **gone;
    size_t n_due, n_gone, due_cap, gone_cap;
} checking;

/* ---- what is had ------------------------------------------------------------------------ */

static bool see_had(void *user, const cp_indexed_doc *doc) {
    had_docs *had = user;
    size_t n_mrn = strlen(doc->mrn) + 1, n_id = strlen(doc->id) + 1;
    char *text = cp_grow((void **)&had->docs, &had->cap, had->n + 1, sizeof *had->docs)
                     ? malloc(n_mrn + n_id)
                     : NULL;
    had->no_memory = !text;
    if (!text)
        return false;
    memcpy(text, doc->mrn, n_mrn);
    memcpy(text + n_mrn, doc->id, n_id);
    had->docs[had->n++] = (had_doc){
        .mrn = text, .id = text + n_mrn, .hash = doc->hash, .has_vectors = doc->has_vectors};
    return true;
}

static int compare_had(const void *left, const void *right) {
    const had_doc *a = left, *b = right;
    int by_mrn = strcmp(a->mrn, b->mrn);
    return by_mrn != 0 ? by_mrn : strcmp(a->id, b->id);
}

static cp_status finish_had(had_docs *had, cp_error *err) {
    if (had->n > 1)
        qsort(had->docs, had->n, sizeof *had->docs, compare_had);
    return had->no_memory ? cp_error_no_memory(err, "documents to compare") : CP_OK;
}

static cp_status read_had(checking *c, cp_error *err) {
    const cp_ingest_tools *tools = c->options->tools;
    cp_index_view *view = cp_index_view_take(tools->index);
    cp_index_view_each(view, NULL, see_had, &c->index);
    cp_index_view_release(view);
    cp_status status = finish_had(&c->index, err);
    if (status == CP_OK && tools->remote)
        status = tools->remote->each(tools->remote, NULL, see_had, &c->remote, err);
    return status == CP_OK ? finish_had(&c->remote, err) : status;
}

static void free_had(had_docs *had) {
    for (size_t i = 0; i < had->n; i++)
        free(had->docs[i].mrn);
    free(had->docs);
}

/* The first document at or behind (mrn, id). */
static size_t place_of(const had_docs *had, const char *mrn, const char *id) {
    const had_doc key = {.mrn = (char *)(uintptr_t)mrn, .id = (char *)(uintptr_t)id};
    size_t lo = 0, hi = had->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (compare_had(&had->docs[mid], &key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* ---- one patient ------------------------------------------------------------------------ */

/* True when it is as it should be. */
static bool check_doc(had_docs *had, const cp_source_doc *doc, bool needs_vectors,
                      cp_freshness_counts *n) {
    size_t at = place_of(had, doc->mrn, doc->id);
    had_doc *found = at < had->n ? &had->docs[at] : NULL;
    if (!found || strcmp(found->mrn, doc->mrn) != 0 || strcmp(found->id, doc->id) != 0) {
        n->missing++;
        return false;
    }
    found->is_mentioned = true;
    bool is_stale = memcmp(&found->hash, &doc->hash, sizeof doc->hash) != 0;
    bool lacks = !is_stale && needs_vectors && !found->has_vectors;
    n->stale += is_stale;
    n->without_vectors += lacks;
    n->fresh += !is_stale && !lacks;
    return !is_stale && !lacks;
}

static cp_status add_gone(checking *c, const char *id, cp_error *err) {
    if (!cp_grow((void **)&c->gone, &c->gone_cap, c->n_gone + 1, sizeof *c->gone))
        return cp_error_no_memory(err, "documents to remove");
    c->gone[c->n_gone++] = id;
    return CP_OK;
}

/* What this patient has and no document was found for; `passed_over`: it is left as it is. */
static cp_status check_orphans(checking *c, had_docs *had, const char *mrn, bool passed_over,
                               cp_freshness_counts *n, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = place_of(had, mrn, "");
         i < had->n && strcmp(had->docs[i].mrn, mrn) == 0 && status == CP_OK; i++) {
        bool is_orphan = !had->docs[i].is_mentioned && !passed_over;
        had->docs[i].is_mentioned = true;
        n->orphaned += is_orphan;
        if (is_orphan)
            status = add_gone(c, had->docs[i].id, err);
    }
    return status;
}

static cp_status repair(checking *c, const char *mrn, cp_error *err) {
    const cp_ingest_target target = cp_ingest_tools_target(c->options->tools);
    if (!c->options->repair)
        return CP_OK;
    cp_status status = cp_ingest_put(&target, c->due, c->n_due, &c->out->repaired, err);
    c->out->repaired.added += status == CP_OK ? c->n_due : 0;
    if (status == CP_OK)
        status = cp_ingest_remove(&target, mrn, c->gone, c->n_gone, &c->out->repaired, err);
    return status == CP_OK ? cp_index_commit(target.index, err) : status;
}

static cp_status check_docs(checking *c, const char *mrn, const cp_source_doc *docs, size_t n,
                            cp_error *err) {
    const cp_freshness_options *o = c->options;
    const bool wants_vectors = o->model && *o->model;
    c->n_due = c->n_gone = 0;
    if (!cp_grow((void **)&c->due, &c->due_cap, n + 1, sizeof *c->due))
        return cp_error_no_memory(err, "documents to compare");
    n = cp_ingest_unique(docs, n, c->due);
    c->out->documents += n;
    for (size_t i = 0; i < n; i++) {
        const cp_source_doc *doc = c->due[i];
        bool good = check_doc(&c->index, doc, wants_vectors, &c->out->index);
        if (o->tools->remote)
            good &= check_doc(&c->remote, doc, true, &c->out->remote);
        if (!good)
            c->due[c->n_due++] = doc;
    }
    cp_status status = check_orphans(c, &c->index, mrn, false, &c->out->index, err);
    if (status == CP_OK)
        status = check_orphans(c, &c->remote, mrn, false, &c->out->remote, err);
    return status == CP_OK ? repair(c, mrn, err) : status;
}

static cp_status pass_over(checking *c, const char *mrn, cp_error *err) {
    c->n_gone = 0;
    cp_status status = check_orphans(c, &c->index, mrn, true, &c->out->index, err);
    return status == CP_OK ? check_orphans(c, &c->remote, mrn, true, &c->out->remote, err) : status;
}

/* `listed`: it should be there. One that is and was not listed is not looked at: the list may have
 * been some. */
static cp_status check_patient(checking *c, const char *mrn, bool listed, cp_error *err) {
    cp_patient_store *store = c->options->tools->store;
    cp_patient_record *record = NULL;
    cp_record_docs docs = {.n = 0};
    cp_status status = store->get(store, mrn, &record, err);
    if (status == CP_ERR_NOT_FOUND)
        return check_docs(c, mrn, NULL, 0, err);
    if (status == CP_ERR_FORMAT || status == CP_ERR_LIMIT) {
        c->out->failed++;
        return pass_over(c, mrn, err);
    }
    if (status != CP_OK)
        return status;
    if (listed) {
        c->out->patients++;
        status = cp_record_docs_make(mrn, record->documents, record->encounters, record->claims,
                                     record->chat_logs, &docs, err);
        if (status == CP_OK)
            status = check_docs(c, mrn, docs.docs, docs.n, err);
        cp_record_docs_deinit(&docs);
    } else {
        status = pass_over(c, mrn, err);
    }
    cp_patient_record_free(record);
    return status;
}

/* ---- all -------------------------------------------------------------------------------- */

static cp_status check_knowledge(checking *c, cp_error *err) {
    const cp_knowledge *knowledge = c->options->tools->knowledge;
    size_t n = cp_knowledge_n(knowledge);
    cp_source_doc *docs = calloc(n + 1, sizeof *docs);
    if (!docs)
        return cp_error_no_memory(err, "the knowledge base");
    for (size_t i = 0; i < n; i++)
        docs[i] = *cp_knowledge_doc(knowledge, i);
    cp_status status = check_docs(c, "", docs, n, err);
    free(docs);
    return status;
}

/* Owners whom nobody has looked at yet. */
static cp_status check_others(checking *c, had_docs *had, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < had->n && status == CP_OK; i++)
        if (!had->docs[i].is_mentioned)
            status = check_patient(c, had->docs[i].mrn, false, err);
    return status;
}

cp_status cp_freshness_check(const cp_freshness_options *options, cp_freshness *out,
                             cp_error *err) {
    checking c = {.options = options, .out = out};
    cp_mrn_list all = {.mrns = NULL};
    *out = (cp_freshness){.has_remote = options->tools->remote != NULL};
    const cp_mrn_list *mrns = options->mrns ? options->mrns : &all;
    cp_status status =
        options->mrns ? CP_OK : cp_mrn_list_of_store(options->tools->store, &all, err);
    if (status == CP_OK && options->repair && mrns->n == 0)
        status = cp_error_set(err, CP_ERR_USAGE,
                              "the store has no patients: is it the right store? Nothing is "
                              "repaired by removing all");
    if (status == CP_OK)
        status = read_had(&c, err);
    if (status == CP_OK && options->model && *options->model &&
        strcmp(cp_index_model(options->tools->index), options->model) != 0)
        for (size_t i = 0; i < c.index.n; i++)
            c.index.docs[i].has_vectors = false; /* of no use to this model */
    if (status == CP_OK)
        status = check_knowledge(&c, err);
    for (size_t i = 0; i < mrns->n && status == CP_OK; i++)
        status = check_patient(&c, mrns->mrns[i], true, err);
    if (status == CP_OK)
        status = check_others(&c, &c.index, err);
    if (status == CP_OK)
        status = check_others(&c, &c.remote, err);
    cp_mrn_list_deinit(&all);
    free_had(&c.index);
    free_had(&c.remote);
    free(c.due);
    free(c.gone);
    return status;
}
