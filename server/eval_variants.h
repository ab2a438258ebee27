/* Variants of a vignette that must not change its level: a metamorphic test needs no new judgement.
 *
 * Each kind says the same case in another way. All of it is drawn from a seed, the vignette's id,
 * the kind and the number, so that a variant can be made again alone. */
#ifndef CP_SERVER_EVAL_VARIANTS_H
#define CP_SERVER_EVAL_VARIANTS_H

#include "base/strbuf.h"
#include "server/safety.h"

#include <cJSON.h>
#include <stdint.h>

typedef enum cp_variant_kind {
    CP_VARIANT_PARAPHRASE,   /* words for words of the same meaning */
    CP_VARIANT_MINIMISING,   /* somebody plays it down, before or after */
    CP_VARIANT_DEMOGRAPHICS, /* who asks, where it does not matter */
    CP_VARIANT_ORDER,        /* the sentences in another order */
    CP_VARIANT_TYPO,         /* one edit in one word of 5 letters and more, a final s not counted */
    CP_VARIANT_NOISE,        /* a sentence about something else */
    CP_VARIANT_MIXED,        /* all of these, one after another */
    CP_N_VARIANT_KINDS,
} cp_variant_kind;
const char *cp_variant_kind_name(cp_variant_kind kind);

/* The words and sentences variants are made of: data/vignettes/variants.json. */
typedef struct cp_variant_source {
    cJSON *tree;
    const cJSON *synonyms, *before, *after, *demographics, *noise;
} cp_variant_source;
cp_status cp_variant_source_read(const char *path, cp_variant_source *out,
                                 cp_error *err) CP_MUST_CHECK;
void cp_variant_source_deinit(cp_variant_source *source);

/* Replaces `out` by the variant; false when there is none of this kind (one sentence has no other
 * order). `safety` tells which words are real: a typo that makes another real word is nobody's
 * misspelling and is drawn again. */
bool cp_variant_make(const cp_variant_source *source, const cp_safety *safety, const char *id,
                     const char *query, cp_variant_kind kind, uint64_t seed, size_t number,
                     cp_strbuf *out);

#endif
