#include "server/freshness.h"

#include "base/json_writer.h"
#include "base/mem.h"

#include <string.h>

bool cp_freshness_is_clean(const cp_freshness_counts *n) {
    return n->missing + n->stale + n->orphaned + n->without_vectors == 0;
}

/* The findings by name, in one order for all forms. */
typedef struct finding {
    const char *name, *about;
    size_t n;
} finding;
#define N_FINDINGS 5

static void findings_of(const cp_freshness_counts *n, finding out[N_FINDINGS]) {
    const finding all[N_FINDINGS] = {
        {"fresh", "as the store has them", n->fresh},
        {"missing", "in the store and not here", n->missing},
        {"stale", "here with another content", n->stale},
        {"orphaned", "here and no longer in the store", n->orphaned},
        {"without_vectors", "here without this model's vectors", n->without_vectors},
    };
    memcpy(out, all, sizeof all);
}

/* "index" and "pinecone"; the counts of the i-th, or NULL. */
static const cp_freshness_counts *counts_of(const cp_freshness *f, unsigned i, const char **name) {
    *name = i == 0 ? "index" : "pinecone";
    if (i == 0)
        return &f->index;
    return i == 1 && f->has_remote ? &f->remote : NULL;
}

void cp_freshness_text(const cp_freshness *f, cp_strbuf *out) {
    const cp_freshness_counts *n;
    const char *name;
    cp_strbuf_printf(out, "%zu documents of %zu patients and the knowledge base", f->documents,
                     f->patients);
    if (f->failed > 0)
        cp_strbuf_printf(out, ", %zu records that cannot be read", f->failed);
    cp_strbuf_puts(out, "\n");
    for (unsigned i = 0; (n = counts_of(f, i, &name)); i++) {
        finding all[N_FINDINGS];
        findings_of(n, all);
        cp_strbuf_printf(out, "%s: %s\n", name,
                         cp_freshness_is_clean(n) ? "nothing is off" : "not as the store");
        for (size_t k = 0; k < N_FINDINGS; k++)
            cp_strbuf_printf(out, "  %-15s %7zu  %s\n", all[k].name, all[k].n, all[k].about);
    }
    if (f->repaired.added + f->repaired.removed > 0)
        cp_strbuf_printf(out, "repaired: %zu documents written, %zu removed\n", f->repaired.added,
                         f->repaired.removed);
}

void cp_freshness_json(const cp_freshness *f, cp_strbuf *out) {
    const cp_freshness_counts *n;
    const char *name;
    cp_json_writer w;
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    cp_json_member_int(&w, "patients", (int64_t)f->patients);
    cp_json_member_int(&w, "documents", (int64_t)f->documents);
    cp_json_member_int(&w, "failed", (int64_t)f->failed);
    for (unsigned i = 0; (n = counts_of(f, i, &name)); i++) {
        finding all[N_FINDINGS];
        findings_of(n, all);
        cp_json_key(&w, name);
        cp_json_open_object(&w);
        for (size_t k = 0; k < N_FINDINGS; k++)
            cp_json_member_int(&w, all[k].name, (int64_t)all[k].n);
        cp_json_close_object(&w);
    }
    cp_json_key(&w, "repaired");
    cp_json_open_object(&w);
    cp_json_member_int(&w, "written", (int64_t)f->repaired.added);
    cp_json_member_int(&w, "removed", (int64_t)f->repaired.removed);
    cp_json_close_object(&w);
    cp_json_close_object(&w);
    cp_strbuf_putc(out, '\n');
}

void cp_freshness_metrics(const cp_freshness *f, int64_t unix_s, cp_strbuf *out) {
    const cp_freshness_counts *n;
    const char *name;
    cp_strbuf_puts(out, "# HELP carepath_freshness_documents Documents by how the index has them, "
                        "before any repair.\n# TYPE carepath_freshness_documents gauge\n");
    for (unsigned i = 0; (n = counts_of(f, i, &name)); i++) {
        finding all[N_FINDINGS];
        findings_of(n, all);
        for (size_t k = 0; k < N_FINDINGS; k++)
            cp_strbuf_printf(out, "carepath_freshness_documents{where=\"%s\",state=\"%s\"} %zu\n",
                             name, all[k].name, all[k].n);
    }
    const struct {
        const char *name, *help;
        int64_t value;
    } gauges[] = {
        {"records_failed", "Records that could not be read.", (int64_t)f->failed},
        {"repaired_documents", "Documents that the check wrote or removed.",
         (int64_t)(f->repaired.added + f->repaired.removed)},
        {"checked_timestamp_seconds", "When the check was made.", unix_s},
    };
    for (size_t i = 0; i < CP_COUNT_OF(gauges); i++)
        cp_strbuf_printf(out,
                         "# HELP carepath_freshness_%s %s\n# TYPE carepath_freshness_%s gauge\n"
                         "carepath_freshness_%s %lld\n",
                         gauges[i].name, gauges[i].help, gauges[i].name, gauges[i].name,
                         (long long)gauges[i].value);
}
