/* Is everything in the index that the store has, and nothing else? Compares each document of each
 * patient and of the knowledge base with the index, and with a remote vector store.
 *
 * Works on what is committed; writes nothing unless it repairs. Findings are counted, never told by
 * MRN. One thread. */
#ifndef CP_SERVER_FRESHNESS_H
#define CP_SERVER_FRESHNESS_H

#include "server/ingest_run.h"
#include "server/ingest_tools.h"

typedef struct cp_freshness_counts {
    size_t fresh;
    size_t missing;         /* in the record, not here */
    size_t stale;           /* here with another content */
    size_t orphaned;        /* here, not in the record, or its patient is gone */
    size_t without_vectors; /* here, without all its vectors or with another model's */
} cp_freshness_counts;
bool cp_freshness_is_clean(const cp_freshness_counts *counts);

typedef struct cp_freshness {
    size_t patients, documents; /* of the store and the knowledge base; not left out */
    size_t failed;              /* records that cannot be read */
    bool has_remote;
    cp_freshness_counts index, remote;
    cp_ingest_counts repaired;
} cp_freshness;

typedef struct cp_freshness_options {
    const cp_ingest_tools *tools; /* opened for writing to repair */
    const cp_mrn_list *mrns;      /* NULL: all that the store tells of */
    const char *model;            /* what the index's vectors must be of; NULL or "": none wanted */
    bool repair;
} cp_freshness_options;

/* *out says what was found before any repair. */
cp_status cp_freshness_check(const cp_freshness_options *options, cp_freshness *out,
                             cp_error *err) CP_MUST_CHECK;

/* For people, as JSON, and for the node exporter's textfile collector; `unix_s` is now. */
void cp_freshness_text(const cp_freshness *f, cp_strbuf *out);
void cp_freshness_json(const cp_freshness *f, cp_strbuf *out);
void cp_freshness_metrics(const cp_freshness *f, int64_t unix_s, cp_strbuf *out);

#endif
