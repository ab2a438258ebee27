/* Masks what could tell who a patient is: the 18 kinds of HIPAA's Safe Harbor list
 * (45 CFR 164.514(b)(2)), in any text that leaves the process other than the answer itself.
 *
 *     "seen 3/14/2026 by Dr. Voss, call 555-0120"  ->  "seen [DATE] by Dr. [NAME], call [PHONE]"
 *
 * Three sources: patterns (phi_patterns.h), the names and numbers of the patient at hand, those of
 * every patient that the store knows (phi_names.h). When in doubt it masks; what it must leave
 * alone are doses, laboratory values and vital signs. A name that no source knows and that nothing
 * around it gives away ("Hildegard slept badly") is not found: docs/security.md says what was
 * measured.
 *
 * Time is linear in the text, the output at most CP_PHI_MAX_GROWTH times as long, always UTF-8; a
 * text that cannot be read through becomes "[TEXT]" as a whole, never itself. Immutable after
 * creation, any thread. */
#ifndef CP_SERVER_PHI_SCRUB_H
#define CP_SERVER_PHI_SCRUB_H

#include "server/phi_names.h"

#define CP_PHI_MAX_GROWTH 8

typedef struct cp_phi cp_phi;

cp_status cp_phi_create(cp_phi **out, cp_error *err) CP_MUST_CHECK;
void cp_phi_free(cp_phi *phi);

/* Appends the masked text. Both lists may be NULL. CP_ERR_NO_MEMORY: "[TEXT]" was appended, or the
 * buffer failed. */
cp_status cp_phi_scrub(const cp_phi *phi, const cp_phi_names *at_hand, const cp_phi_names *store,
                       cp_str text, cp_strbuf *out);

#endif
