/* What identifies a person by its form alone: dates, numbers with a label, addresses, ...
 *
 * A table of PCRE2 patterns, tried in order. Quantifiers that can fail are bounded, so each place
 * in a text costs at most a constant. */
#ifndef CP_SERVER_PHI_PATTERNS_H
#define CP_SERVER_PHI_PATTERNS_H

#include "base/strbuf.h"
#include "server/phi_kind.h"

#include <stdint.h>

typedef struct cp_phi_patterns cp_phi_patterns;

cp_status cp_phi_patterns_create(cp_phi_patterns **out, cp_error *err) CP_MUST_CHECK;
void cp_phi_patterns_free(cp_phi_patterns *patterns);

/* Paints kinds[0..text.n) where a pattern matches: its first group, else all of it; bytes that have
 * a kind keep it. `text` is valid UTF-8. CP_ERR_NO_MEMORY or CP_ERR_LIMIT: the text was not read
 * through. */
cp_status cp_phi_patterns_paint(const cp_phi_patterns *patterns, cp_str text,
                                uint8_t *kinds) CP_MUST_CHECK;

#endif
