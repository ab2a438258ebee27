/* A scripted MongoDB for tests, on loopback: of the wire protocol (OP_MSG, and the first hello as
 * OP_QUERY) what a client needs to watch a database: hello as a replica set's primary, aggregate
 * with $changeStream, getMore, killCursors. Nothing is stored. */
#ifndef CP_TESTS_MONGO_STREAM_H
#define CP_TESTS_MONGO_STREAM_H

#include <stdbool.h>

/* With change streams, or as a single server that refuses them (code 40573). */
void test_mongo_stream_start(bool has_streams);
void test_mongo_stream_stop(void);
const char *test_mongo_stream_uri(void);
/* An event; mrn NULL: without a full document. */
void test_mongo_stream_add(const char *operation, const char *mrn);
/* Resume tokens so far are too old from now on (code 286). */
void test_mongo_stream_forget(void);

#endif
