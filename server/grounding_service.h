/* What the files of the grounding service share. */
#ifndef CP_SERVER_GROUNDING_SERVICE_H
#define CP_SERVER_GROUNDING_SERVICE_H

#include "retrieval/retriever.h"
#include "server/grounding.h"

struct cp_grounding {
    cp_grounding_parts with;
    cp_knowledge *knowledge;
    cp_index *index;
    cp_vector_store *vectors; /* NULL: by words alone */
    cp_retriever *retriever;
    cp_claim_terms *terms;
    size_t k;              /* passages of an answer; 0: retrieval is off */
    uint64_t refreshed_ns; /* the tick's */
    bool is_behind;        /* the index could not be read anew; it was logged */
};

/* Candidates that a reranker orders, for each passage that is kept; and nearest chunks that are
 * asked for. */
#define CP_GROUNDING_CANDIDATES 2
#define CP_GROUNDING_NEAREST    24

#endif
