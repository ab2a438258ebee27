/* Keeps the index as fresh as the store: waits for changes, reads each changed patient's record
 * again, ingests what differs.
 *
 * At least once: where the changes were (the checkpoint, a file in INDEX_DIR) is written after what
 * they brought is committed; a kill between repeats some, which changes nothing. Without a
 * checkpoint, and where the source cannot tell what was missed, everything is compared first. A
 * store or a Pinecone that does not answer is asked again, after pauses that double up to half a
 * minute. One thread. */
#ifndef CP_SERVER_INGEST_FOLLOW_H
#define CP_SERVER_INGEST_FOLLOW_H

#include "server/ingest_run.h"
#include "server/ingest_tools.h"

typedef struct cp_follow {
    const cp_settings *settings; /* borrowed, as all of it */
    cp_ingest_tools *tools;      /* its store may be opened anew */
    cp_ingest_run *run;
    bool (*is_stopped)(void); /* also what ends waiting: a signal's flag */
} cp_follow;

/* Until is_stopped, then CP_OK; else only for what waiting does not mend (a wrong setting, a broken
 * index, no memory). */
cp_status cp_follow_changes(cp_follow *follow, cp_error *err) CP_MUST_CHECK;

#endif
