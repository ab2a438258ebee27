/* What the commands that fill and check the index work with, opened as the settings say: the index
 * in INDEX_DIR, the embedding model, Pinecone, the patient store, the knowledge base. */
#ifndef CP_SERVER_INGEST_TOOLS_H
#define CP_SERVER_INGEST_TOOLS_H

#include "server/ingest.h"
#include "server/patient_store.h"

typedef struct cp_ingest_tools {
    cp_embedder *embedder; /* NULL: none is needed */
    cp_ingest_vectors vectors;
    cp_index *index;
    cp_vector_store *remote; /* NULL unless VECTOR_MODE=pinecone and there is an EMBEDDING_MODEL */
    cp_patient_store *store;
    cp_knowledge *knowledge;
} cp_ingest_tools;

/* `write`: the index is opened for writing, made where it is not, and the embedding model loaded
 * where there are vectors to make. INDEX_DIR must be set. Closed by the caller, also after failure.
 */
cp_status cp_ingest_tools_open(const cp_settings *settings, bool write, cp_ingest_tools *out,
                               cp_error *err) CP_MUST_CHECK;
void cp_ingest_tools_close(cp_ingest_tools *tools);
cp_ingest_target cp_ingest_tools_target(const cp_ingest_tools *tools);

/* Pinecone as the settings say, for vectors of this embedder; NULL with CP_OK where VECTOR_MODE is
 * another. timeout_ms: of a request. */
cp_status cp_ingest_open_pinecone(const cp_settings *settings, const cp_embedder *embedder,
                                  int64_t timeout_ms, cp_vector_store **out,
                                  cp_error *err) CP_MUST_CHECK;

#endif
