/* Names, addresses and numbers of known patients, found in a text whatever their case, accents and
 * punctuation.
 *
 * An entry is a run of one to six words (letters or digits); a text is looked up word by word in a
 * hash table, so the time does not depend on how many patients there are. Words that are also
 * ordinary English ("May", "Young") count only where they are written with a capital, unless the
 * list is marked as being of the patient at hand. Filled by one thread, then immutable. */
#ifndef CP_SERVER_PHI_NAMES_H
#define CP_SERVER_PHI_NAMES_H

#include "base/strbuf.h"
#include "server/phi_kind.h"

#include <cJSON.h>
#include <stdint.h>

typedef struct cp_phi_names cp_phi_names;

/* `at_hand`: ordinary words count in any case. */
cp_status cp_phi_names_create(bool at_hand, cp_phi_names **out, cp_error *err) CP_MUST_CHECK;
void cp_phi_names_free(cp_phi_names *names);
size_t cp_phi_names_n(const cp_phi_names *names);

/* One name or number as it is written. A text of several words counts as a whole; each of a NAME's
 * words of three letters and more counts alone, too. More than six words are cut. */
cp_status cp_phi_names_add(cp_phi_names *names, cp_phi_kind kind, const char *text,
                           cp_error *err) CP_MUST_CHECK;
/* Whatever identifies in a patient's object: mrn, name, address, phones, numbers; the rest of it
 * (conditions, medicines) does not. */
cp_status cp_phi_names_add_patient(cp_phi_names *names, const cJSON *patient,
                                   cp_error *err) CP_MUST_CHECK;

/* Paints kinds[0..text.n) where an entry stands; bytes that have a kind keep it. */
void cp_phi_names_paint(const cp_phi_names *names, cp_str text, uint8_t *kinds);

#endif
