/* The inside of cp_masks: finding the tokens that a place allows. For constraint.c; the public
 * calls are in constraint.h. */
#ifndef CP_LLM_TOKEN_MASKS_H
#define CP_LLM_TOKEN_MASKS_H

#include "llm/constraint.h"
#include "llm/mask_cache.h"
#include "llm/token_trie.h"

#define CP_MASKS_MAX_SCHEMAS 64 /* whose masks are found again when the schema comes anew */

typedef struct cp_known_schema {
    char *identity;
    size_t n;
    uint32_t serial;
    uint64_t last_use;
} cp_known_schema;

struct cp_masks {
    const cp_tokenizer *tok;
    size_t vocab_size;
    int32_t *stop_ids;
    size_t n_stop_ids;
    int32_t think_open, think_close; /* -1 without */
    cp_token_trie trie;
    cp_mask_cache cache;
    uint64_t *thought; /* [n_words]: what may come inside a thought */
    cp_known_schema known[CP_MASKS_MAX_SCHEMAS];
    size_t n_known;
    uint32_t next_serial;
    uint64_t clock;
    cp_json_place walk[CP_TRIE_MAX_DEPTH + 1]; /* the places along a walk */
    cp_strbuf bytes;                           /* of a forced or closing text */
    cp_ids ids;                                /* its tokens */
    cp_masks_stats stats;
};

/* The number that stands for this schema in keys; the same for one with the same text. */
cp_status cp_masks_serial(cp_masks *m, const cp_schema *schema, uint32_t *serial,
                          cp_error *err) CP_MUST_CHECK;
/* The tokens that are legal at the constraint's place, the stop ids among them where the text may
 * end; NULL when there is none. */
const uint64_t *cp_masks_find(cp_masks *m, const cp_constraint *c);
/* Some token is legal at `place` whose bytes lead from `place` to the end of the trie node's path
 * and beyond; `after` is the place at the end of that path. */
bool cp_masks_goes_on(cp_masks *m, const cp_schema *schema, const cp_json_place *after,
                      uint32_t node);
bool cp_masks_is_stop(const cp_masks *m, int32_t id);

#endif
