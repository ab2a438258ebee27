/* Vignettes: short made-up cases with the levels a clinician's guideline would accept.
 *
 * A file of JSON Lines (data/vignettes/README.md describes it), read whole and checked: a line that
 * is wrong refuses the file and names line and field, because a case that silently drops out makes
 * a score look better than it is. */
#ifndef CP_SERVER_EVAL_VIGNETTES_H
#define CP_SERVER_EVAL_VIGNETTES_H

#include "server/patient_store.h"
#include "server/safety.h"

/* The day for which a vignette's age holds. */
#define CP_EVAL_TODAY          "2026-11-15"
#define CP_VIGNETTE_MAX_FLAGS  8
#define CP_VIGNETTE_LEVELS_CAP (CP_ACUITY_LEAST_URGENT + 1)

typedef struct cp_vignette {
    cJSON *tree;                     /* owns the texts */
    const char *id, *query, *source; /* source: of the judgement */
    const char *split;               /* "train" or "held"; borrowed from whoever read the file */
    int level;                       /* the best one */
    int most, least;                 /* accepted: most..least, smaller is more urgent */
    const char *flags[CP_VIGNETTE_MAX_FLAGS]; /* ids of rules that must fire */
    size_t n_flags;
    cp_patient_record record;
} cp_vignette;

typedef struct cp_vignettes {
    cp_vignette *items;
    size_t n, cap;
} cp_vignettes;

/* An emergency: nothing less urgent than level 2 is accepted. */
static inline bool cp_vignette_is_emergency(const cp_vignette *v) {
    return v->least <= 2;
}

/* Adds the lines of `path` to `out` (which starts as zeros). Ids must be new. Release with
 * cp_vignettes_deinit, also after a failure. */
cp_status cp_vignettes_read(const char *path, const char *split, cp_vignettes *out,
                            cp_error *err) CP_MUST_CHECK;
void cp_vignettes_deinit(cp_vignettes *vignettes);

/* The record of a patient told in short: {"age_years" or "age_months", "sex", "pregnant",
 * "conditions", "medications", "allergies"}, all optional, the last three lists of names. The
 * sentence of a refusal has no place in front. Released with cp_eval_record_deinit. */
cp_status cp_eval_record_of(const cJSON *patient, cp_patient_record *out,
                            cp_error *err) CP_MUST_CHECK;
void cp_eval_record_deinit(cp_patient_record *record);

#endif
