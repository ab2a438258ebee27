/* Structured output: what a model may say next, so that its answer is JSON of a given schema.
 *
 * Three things. A cp_schema is a compiled schema: immutable, shared by threads and requests. A
 * cp_masks belongs to a tokenizer and to the one thread that samples: it finds the tokens that a
 * place in a schema allows and keeps what it found, in bounded memory. A cp_constraint is one
 * sequence's place: a plain value, copied by assignment, which borrows its schema. One masks object
 * serves any number of constraints in turn.
 *
 *     for each step: cp_constraint_turn says what to do:
 *         CP_TURN_DRAW    draw under turn.mask (cp_sampler_next_masked), then cp_constraint_accept
 *         CP_TURN_APPEND  append turn.ids without drawing; evaluate them together
 *         CP_TURN_CLOSE   append turn.ids and end: the text was cut, the ids make it legal
 *         CP_TURN_END     the document is complete
 *
 * The answer is compact JSON in valid UTF-8. In a thought only stop tokens are masked: the schema
 * counts from </think> on.
 * docs/structured-output.md says which schemas are supported and why the answer is always valid. */
#ifndef CP_LLM_CONSTRAINT_H
#define CP_LLM_CONSTRAINT_H

#include "llm/json_machine.h"
#include "tokenizer/tokenizer.h"

struct cJSON;
typedef struct cp_schema cp_schema;
typedef struct cp_masks cp_masks;

/* ---- schemas ----------------------------------------------------------------------------------
 */

/* From a JSON schema as a tree that cp_json_parse has made. A keyword that we do not keep is
 * CP_ERR_UNSUPPORTED, with a sentence that names it and its JSON pointer; CP_ERR_LIMIT and
 * CP_ERR_FORMAT otherwise. The tree is not needed afterwards. */
cp_status cp_schema_compile(const struct cJSON *tree, cp_schema **out, cp_error *err) CP_MUST_CHECK;
/* The same from text; `source` is named where the text is no JSON. */
cp_status cp_schema_compile_text(const char *source, const char *text, size_t n, cp_schema **out,
                                 cp_error *err) CP_MUST_CHECK;
/* Any JSON object. */
cp_status cp_schema_json_object(cp_schema **out, cp_error *err) CP_MUST_CHECK;
void cp_schema_free(cp_schema *schema);

/* ---- masks ------------------------------------------------------------------------------------
 */

typedef struct cp_masks_stats {
    uint64_t hits, misses;
    double total_ms, worst_ms; /* in cp_constraint_turn and cp_constraint_accept */
    size_t bytes;              /* of tries and cache, once all is used */
} cp_masks_stats;

/* Borrows the tokenizer. vocab_size is the number of logits; the stop ids end a complete document.
 * Cached masks take at most cache_bytes (0: CP_MASKS_CACHE_BYTES). Takes some 100 ms for 150,000
 * tokens. */
#define CP_MASKS_CACHE_BYTES ((size_t)16 << 20)
cp_status cp_masks_create(const cp_tokenizer *tok, size_t vocab_size, const int32_t *stop_ids,
                          size_t n_stop_ids, size_t cache_bytes, cp_masks **out,
                          cp_error *err) CP_MUST_CHECK;
void cp_masks_free(cp_masks *masks);
/* Since the last call: counters begin anew. */
cp_masks_stats cp_masks_take_stats(cp_masks *masks);

/* ---- constraints ------------------------------------------------------------------------------
 */

typedef enum cp_arm {
    CP_ARM_NOW,           /* the first token is the answer's */
    CP_ARM_AFTER_THOUGHT, /* the sequence is inside a thought: from </think> on */
    CP_ARM_OPEN_THOUGHT,  /* a thought must come first: <think> is appended */
} cp_arm;

typedef struct cp_constraint {
    const cp_schema *schema;
    uint32_t serial; /* of the schema in the masks' cache */
    uint8_t phase;
    cp_json_place place;
} cp_constraint;

/* Begins a sequence. The schema must outlive it. A tokenizer without <think> is armed at once. */
cp_status cp_constraint_start(cp_constraint *c, cp_masks *masks, const cp_schema *schema,
                              cp_arm arm, cp_error *err) CP_MUST_CHECK;

typedef enum cp_turn_kind { CP_TURN_DRAW, CP_TURN_APPEND, CP_TURN_CLOSE, CP_TURN_END } cp_turn_kind;

typedef struct cp_turn {
    cp_turn_kind kind;
    const uint64_t *mask; /* DRAW: bit `id` of [vocab_size] is an allowed token */
    const int32_t *ids;   /* APPEND, CLOSE: [n] */
    size_t n;
} cp_turn;

/* What comes next, with `budget` tokens left for the whole answer: once a shortest completion takes
 * all of it, that completion is the turn (CLOSE), also when it is longer than the budget. mask and
 * ids are valid until the next call with these masks. The constraint has already moved past the ids
 * that it hands out. Allocates only for ids. */
cp_status cp_constraint_turn(cp_constraint *c, cp_masks *masks, size_t budget, cp_turn *turn,
                             cp_error *err) CP_MUST_CHECK;

typedef enum cp_accept {
    CP_ACCEPT_OK,
    CP_ACCEPT_TOO_LONG, /* legal, but cannot be completed in the budget: take a turn with budget 0
                         */
    CP_ACCEPT_ILLEGAL,  /* not allowed here */
} cp_accept;

/* Moves past a token that was drawn; `budget` is what is left after it. The constraint is unchanged
 * unless the result is OK. */
cp_status cp_constraint_accept(cp_constraint *c, cp_masks *masks, int32_t id, size_t budget,
                               cp_accept *result, cp_error *err) CP_MUST_CHECK;

/* True once the answer has begun: no thought is open any more. */
bool cp_constraint_is_armed(const cp_constraint *c);
/* True once nothing can follow; the next turn is CP_TURN_END. */
bool cp_constraint_is_complete(const cp_constraint *c);
/* Appends the bytes that make the text so far a document of the schema; nothing when it is one, all
 * of a document when it has not begun. */
void cp_constraint_close(const cp_constraint *c, cp_strbuf *out);

#endif
