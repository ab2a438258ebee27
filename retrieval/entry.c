#include "retrieval/entry.h"

#include "base/crypto.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

const char *cp_entry_kind_name(cp_entry_kind kind) {
    static const char *const names[CP_N_ENTRY_KINDS] = {"knowledge", "document", "encounter",
                                                        "claim", "chat"};
    assert(kind >= 0 && kind < CP_N_ENTRY_KINDS);
    return names[kind];
}

static cp_str text_or_empty(const char *text) {
    return (cp_str){text ? text : "", text ? strlen(text) : 0};
}

cp_status cp_source_doc_seal(cp_source_doc *doc, cp_error *err) {
    const cp_str fields[] = {text_or_empty(cp_entry_kind_name(doc->kind)),
                             text_or_empty(doc->type),
                             text_or_empty(doc->title),
                             text_or_empty(doc->date),
                             doc->also,
                             doc->text};
    unsigned char lengths[CP_COUNT_OF(fields)][8]; /* little-endian, before each field */
    cp_str parts[2 * CP_COUNT_OF(fields)];
    for (size_t i = 0; i < CP_COUNT_OF(fields); i++) {
        for (unsigned byte = 0; byte < 8; byte++)
            lengths[i][byte] = (unsigned char)((uint64_t)fields[i].n >> (8 * byte));
        parts[2 * i] = (cp_str){(const char *)lengths[i], sizeof lengths[i]};
        parts[2 * i + 1] = fields[i];
    }
    cp_sha256 digest;
    cp_status status = cp_sha256_of_parts(parts, CP_COUNT_OF(parts), &digest, err);
    if (status == CP_OK)
        memcpy(doc->hash.bytes, digest.bytes, sizeof doc->hash.bytes);
    return status;
}

bool cp_entry_filter_allows(const cp_entry_filter *filter, const char *mrn, cp_entry_kind kind) {
    if (!(filter->kinds & CP_KIND_BIT(kind)))
        return false;
    if (!mrn[0])
        return filter->knowledge;
    return filter->mrn && (strcmp(filter->mrn, CP_ANY_MRN) == 0 || strcmp(filter->mrn, mrn) == 0);
}
