/* Whose records have changed since a position: what `carepath ingest --follow` stands on.
 *
 *     mongo   change streams where the server has them (a replica set), else the collection
 *             carepath_outbox, to which every writer adds {mrn, at} after its change
 *     jsonl   the journal of imports, as it grows
 *
 * At least once: what `next` told comes again after a position that was taken before it. A position
 * is a text for a file; "" is now. One thread. */
#ifndef CP_SERVER_CHANGE_FEED_H
#define CP_SERVER_CHANGE_FEED_H

#include "server/mrn_list.h"

#define CP_CHANGE_OUTBOX "carepath_outbox"
/* Writers' clocks may differ by this much, in seconds, and an entry may come so late. */
#define CP_CHANGE_OVERLAP_S 300
#define CP_CHANGE_KEEP_S    (7 * 24 * 3600) /* entries of the outbox are kept this long */

typedef struct cp_change_feed cp_change_feed;
struct cp_change_feed {
    const char *kind;    /* "change stream", "outbox", "imports" */
    bool must_read_anew; /* the store has to be opened again to see what has changed */
    /* Waits up to `ms`. Adds to *changed; *all: it cannot be told what else has changed. */
    cp_status (*next)(cp_change_feed *feed, int64_t ms, cp_mrn_list *changed, bool *all,
                      cp_error *err);
    /* Behind what next told so far; appended. */
    cp_status (*position)(cp_change_feed *feed, cp_strbuf *out, cp_error *err);
    void (*close)(cp_change_feed *feed);
};

/* `position` as one of this feed's, or "". What is no position of this source, or is too old,
 * begins now with *all set. CP_ERR_UNSUPPORTED: a db-api tells no changes. */
cp_status cp_change_feed_open(const cp_settings *settings, const char *position,
                              cp_change_feed **out, bool *all, cp_error *err) CP_MUST_CHECK;

/* A mongo store of one's own (cp_patient_store_open_mongo), which the feed closes. */
cp_status cp_change_feed_open_mongo(cp_patient_store *store, const char *position,
                                    cp_change_feed **out, bool *all, cp_error *err) CP_MUST_CHECK;
cp_status cp_change_feed_open_imports(const char *path, const char *position, cp_change_feed **out,
                                      bool *all, cp_error *err) CP_MUST_CHECK;

#endif
