/* Where a JSON text stands in its schema, one byte at a time.
 *
 * A place is a stack of frames, one a value that is open, and the number under way. It is a plain
 * value: copy it with cp_json_place_copy (which moves only the frames in use) or by assignment. The
 * text is compact: no white space outside of strings. Every place that is reached has a legal
 * continuation to the end. */
#ifndef CP_LLM_JSON_MACHINE_H
#define CP_LLM_JSON_MACHINE_H

#include "llm/json_number.h"

#include <string.h>

#define CP_JSON_MAX_FRAMES 32 /* also how deep a free JSON value nests */

struct cp_schema;

typedef struct cp_json_frame {
    uint16_t node;
    uint8_t kind, phase;
    uint32_t a, b; /* counters and positions; json_machine.c says whose */
} cp_json_frame;

typedef struct cp_json_place {
    cp_number_place number; /* of the top frame, when that is a number */
    uint32_t n_frames;      /* 0: the document is complete */
    cp_json_frame frames[CP_JSON_MAX_FRAMES];
} cp_json_place;

void cp_json_begin(const struct cp_schema *schema, cp_json_place *place);
static inline void cp_json_place_copy(cp_json_place *to, const cp_json_place *from) {
    memcpy(to, from, offsetof(cp_json_place, frames) + from->n_frames * sizeof from->frames[0]);
}

/* Takes one byte; false when no document of the schema goes on so, and the place is then of no more
 * use. */
bool cp_json_step(const struct cp_schema *schema, cp_json_place *place, unsigned char byte);
/* All of text[0..n); false as above. */
bool cp_json_take(const struct cp_schema *schema, cp_json_place *place, cp_str text);
/* The text may end here: complete, or a number at the top level that could go on. */
bool cp_json_may_end(const struct cp_schema *schema, const cp_json_place *place);

/* In a string between two characters: how many more it must and may have. */
bool cp_json_in_text(const struct cp_schema *schema, const cp_json_place *place, uint32_t *least,
                     uint32_t *most);

/* Appends a shortest completion (null where a whole value is missing and null is allowed; strings
 * that are too short get spaces). */
void cp_json_close(const struct cp_schema *schema, const cp_json_place *place, cp_strbuf *out);
/* Appends the bytes that the schema leaves no choice about, and moves past them. */
void cp_json_force(const struct cp_schema *schema, cp_json_place *place, cp_strbuf *out);

/* What the next token depends on, as bytes: equal keys of one schema allow the same tokens. A
 * counter counts only as far as one token could reach: at most `chars` characters and `elements`
 * elements. Returns the length. */
#define CP_JSON_KEY_BYTES (24 + CP_JSON_MAX_FRAMES * 12)
size_t cp_json_place_key(const struct cp_schema *schema, const cp_json_place *place, uint32_t chars,
                         uint32_t elements, unsigned char key[CP_JSON_KEY_BYTES]);

#endif
