#include "server/ingest_run.h"

#include "base/clock.h"

#include <string.h>

#define COMMIT_DOCS 256
#define COMMIT_MS   5000

/* Is this record at fault, and not the store? */
static bool is_bad_record(cp_status status) {
    return status == CP_ERR_FORMAT || status == CP_ERR_LIMIT;
}

static cp_status pass_over(cp_ingest_run *run, const char *mrn, const cp_error *err) {
    run->failed++;
    if (run->on_failed)
        run->on_failed(run->user, mrn, err);
    return CP_OK;
}

cp_status cp_ingest_run_one(cp_ingest_run *run, const char *mrn, cp_error *err) {
    cp_patient_record *record = NULL;
    cp_status status = run->store->get(run->store, mrn, &record, err);
    if (is_bad_record(status))
        return pass_over(run, mrn, err);
    if (status != CP_OK && status != CP_ERR_NOT_FOUND)
        return status;
    status = cp_ingest_patient(&run->target, mrn, record, &run->counts, err);
    run->patients += record != NULL;
    run->gone += record == NULL;
    cp_patient_record_free(record);
    return status == CP_ERR_LIMIT ? pass_over(run, mrn, err) : status;
}

/* ---- commits ---------------------------------------------------------------------------- */

static size_t n_written(const cp_ingest_run *run) {
    return run->counts.added + run->counts.replaced + run->counts.removed;
}

static cp_status commit(cp_ingest_run *run, cp_error *err) {
    size_t written = n_written(run);
    cp_status status =
        written != run->written_then ? cp_index_commit(run->target.index, err) : CP_OK;
    if (status == CP_OK)
        run->written_then = written;
    run->committed_ns = cp_clock_ns();
    return status;
}

static cp_status commit_sometimes(cp_ingest_run *run, cp_error *err) {
    bool is_due = n_written(run) - run->written_then >= COMMIT_DOCS ||
                  cp_clock_ms_since(run->committed_ns) >= COMMIT_MS;
    return is_due ? commit(run, err) : CP_OK;
}

/* ---- passes ----------------------------------------------------------------------------- */

static cp_status pass(cp_ingest_run *run, const cp_mrn_list *mrns, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < mrns->n && status == CP_OK; i++) {
        status = cp_ingest_run_one(run, mrns->mrns[i], err);
        if (status == CP_OK)
            status = commit_sometimes(run, err);
        if (status == CP_OK && run->on_progress && !run->on_progress(run->user, i + 1, mrns->n))
            status = cp_error_set(err, CP_ERR_CANCELLED, "ingesting was stopped");
    }
    return status;
}

typedef struct looking {
    const cp_mrn_list *known;
    cp_mrn_list others;
    bool no_memory;
} looking;

static bool see_owner(void *user, const cp_indexed_doc *doc) {
    looking *l = user;
    bool is_new = l->others.n == 0 || strcmp(l->others.mrns[l->others.n - 1], doc->mrn) != 0;
    if (*doc->mrn && is_new && cp_mrn_is_valid(doc->mrn) && !cp_mrn_list_has(l->known, doc->mrn))
        l->no_memory = !cp_mrn_list_add(&l->others, doc->mrn);
    return !l->no_memory;
}

/* Who is in the index and not in the list: perhaps it was not all. */
static cp_status find_others(cp_ingest_run *run, const cp_mrn_list *known, cp_mrn_list *out,
                             cp_error *err) {
    looking l = {.known = known};
    cp_index_view *view = cp_index_view_take(run->target.index);
    cp_index_view_each(view, NULL, see_owner, &l);
    cp_index_view_release(view);
    cp_mrn_list_sort(&l.others);
    *out = l.others;
    return l.no_memory ? cp_error_no_memory(err, "record numbers") : CP_OK;
}

static cp_status remove_gone(cp_ingest_run *run, const cp_mrn_list *known, cp_error *err) {
    cp_mrn_list others;
    cp_status status = find_others(run, known, &others, err);
    if (status == CP_OK && known->n == 0 && others.n > 0)
        status = cp_error_set(err, CP_ERR_USAGE,
                              "the store has no patients and the index has %zu: is it the right "
                              "store? Nobody was removed; an empty INDEX_DIR begins anew",
                              others.n);
    for (size_t i = 0; i < others.n && status == CP_OK; i++) {
        cp_patient_record *record = NULL;
        status = run->store->get(run->store, others.mrns[i], &record, err);
        cp_patient_record_free(record);
        if (status == CP_ERR_NOT_FOUND) {
            status = cp_ingest_patient(&run->target, others.mrns[i], NULL, &run->counts, err);
            run->gone++;
        } else if (is_bad_record(status)) {
            status = CP_OK;
        }
        if (status == CP_OK)
            status = commit_sometimes(run, err);
    }
    cp_mrn_list_deinit(&others);
    return status;
}

cp_status cp_ingest_run_all(cp_ingest_run *run, const cp_mrn_list *mrns, cp_error *err) {
    cp_mrn_list all = {.mrns = NULL};
    cp_error late;
    run->committed_ns = cp_clock_ns();
    run->written_then = n_written(run);
    cp_status status = mrns ? CP_OK : cp_mrn_list_of_store(run->store, &all, err);
    if (status == CP_OK && run->knowledge)
        status = cp_ingest_knowledge(&run->target, run->knowledge, &run->counts, err);
    if (status == CP_OK)
        status = pass(run, mrns ? mrns : &all, err);
    if (status == CP_OK)
        status = remove_gone(run, mrns ? mrns : &all, err);
    /* What was put is whole, whatever came after. */
    cp_status committed = commit(run, status == CP_OK ? err : &late);
    cp_mrn_list_deinit(&all);
    return status == CP_OK ? committed : status;
}
