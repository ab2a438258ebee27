#include "server/phi_scrub.h"

#include "base/utf8.h"
#include "server/phi_patterns.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TEXT_BYTES ((size_t)16 << 20)

struct cp_phi {
    cp_phi_patterns *patterns;
};

const char *cp_phi_kind_name(cp_phi_kind kind) {
    static const char *const names[CP_PHI_N_KINDS] = {
        "TEXT", "NAME", "PLACE",       "DATE",    "PHONE",   "FAX",     "EMAIL",
        "SSN",  "MRN",  "HEALTH_PLAN", "ACCOUNT", "LICENCE", "VEHICLE", "DEVICE",
        "URL",  "IP",   "BIOMETRIC",   "PHOTO",   "ID"};
    return names[kind];
}

cp_status cp_phi_create(cp_phi **out, cp_error *err) {
    *out = NULL;
    cp_phi *phi = calloc(1, sizeof *phi);
    if (!phi)
        return cp_error_no_memory(err, "scrubber");
    cp_status status = cp_phi_patterns_create(&phi->patterns, err);
    if (status == CP_OK)
        *out = phi;
    else
        cp_phi_free(phi);
    return status;
}

void cp_phi_free(cp_phi *phi) {
    if (!phi)
        return;
    cp_phi_patterns_free(phi->patterns);
    free(phi);
}

static void append_mask(cp_strbuf *out, cp_phi_kind kind) {
    cp_strbuf_putc(out, '[');
    cp_strbuf_puts(out, cp_phi_kind_name(kind));
    cp_strbuf_putc(out, ']');
}

/* "C. Thornquist": the initial before a name that is known belongs to it. */
static void paint_initials(cp_str text, uint8_t *kinds) {
    for (size_t i = 3; i < text.n; i++) {
        const char *at = text.data + i - 3;
        bool border = i == 3 || at[-1] == ' ' || at[-1] == '(';
        if (kinds[i] == CP_PHI_NAME && border && kinds[i - 3] == CP_PHI_NONE && at[0] >= 'A' &&
            at[0] <= 'Z' && at[1] == '.' && at[2] == ' ')
            memset(kinds + i - 3, CP_PHI_NAME, 3);
    }
}

/* A painted run, blanks between two of a kind included, becomes one mask. */
static void write_masked(cp_str text, const uint8_t *kinds, cp_strbuf *out) {
    for (size_t i = 0; i < text.n;) {
        size_t from = i;
        uint8_t kind = kinds[i];
        if (kind == CP_PHI_NONE) {
            while (i < text.n && kinds[i] == CP_PHI_NONE)
                i++;
            cp_strbuf_append(out, text.data + from, i - from);
            continue;
        }
        while (i < text.n) {
            bool bridge = text.data[i] == ' ' && i + 1 < text.n && kinds[i + 1] == kind;
            if (kinds[i] == CP_PHI_NONE && !bridge)
                break;
            i++;
        }
        append_mask(out, (cp_phi_kind)kind);
    }
}

cp_status cp_phi_scrub(const cp_phi *phi, const cp_phi_names *at_hand, const cp_phi_names *store,
                       cp_str text, cp_strbuf *out) {
    cp_strbuf repaired;
    uint8_t *kinds = NULL;
    if (text.n == 0)
        return out->failed;
    cp_strbuf_init(&repaired, MAX_TEXT_BYTES);
    cp_strbuf_append_repaired(&repaired, text.data, text.n);
    cp_str clean = cp_strbuf_str(&repaired);
    cp_status status = repaired.failed;
    if (status == CP_OK && !(kinds = calloc(clean.n, 1)))
        status = CP_ERR_NO_MEMORY;
    if (status == CP_OK)
        status = cp_phi_patterns_paint(phi->patterns, clean, kinds);
    if (status == CP_OK && at_hand)
        cp_phi_names_paint(at_hand, clean, kinds);
    if (status == CP_OK && store)
        cp_phi_names_paint(store, clean, kinds);
    if (status == CP_OK) {
        paint_initials(clean, kinds);
        write_masked(clean, kinds, out);
    } else {
        append_mask(out, CP_PHI_NONE);
    }
    free(kinds);
    cp_strbuf_deinit(&repaired);
    return out->failed != CP_OK ? out->failed : status;
}
