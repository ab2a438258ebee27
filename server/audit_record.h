/* What the audit log keeps of one answer, and of one look into patients' records.
 *
 * In the clear: when, which key, which patient (keyed hash), what the rules found, which model with
 * which settings, how many tokens, and hashes of prompt and answer. Sealed with AES-256-GCM, bound
 * to the clear part: the prompt, the schema, the thinking and the answer. Without SECRET_KEY
 * nothing is sealed and the texts are not kept.
 *
 *     "record":{...},"sealed":"<hex of nonce, ciphertext, tag>"     (or null)
 *
 * The sealed text is one line of JSON (what to ask), then the bytes of the thinking, then those of
 * the answer: bytes, so that a replay compares bytes. audit_question.h reads it back. */
#ifndef CP_SERVER_AUDIT_RECORD_H
#define CP_SERVER_AUDIT_RECORD_H

#include "llm/llm.h"
#include "retrieval/citations.h"
#include "server/audit_line.h"

/* What a model was given beside the record, and what became of its citations and claims: numbers
 * alone. */
typedef struct cp_audit_support {
    const char *retrieval; /* "lexical", "hybrid", ... */
    size_t n_sources;
    cp_support_counts counts;
} cp_audit_support;

/* Everything is borrowed during the call only. NULL texts are written as null. */
typedef struct cp_audit_entry {
    const char *endpoint; /* "triage", "chat" */
    const char *trace_id, *key_id;
    const char *mrn;           /* only its hash is kept */
    const char *session_id;    /* sealed, never in the clear; NULL for none */
    const char *question;      /* sealed where there is no `request` that holds it; NULL for none */
    const char *const *rules;  /* [n_rules] ids of those that fired */
    const bool *rules_earlier; /* [n_rules] for what an earlier turn said; NULL: none */
    size_t n_rules;
    int acuity; /* 0: null */
    const char *acuity_source;
    bool degraded;                   /* answered by the rules alone */
    const cp_audit_support *support; /* NULL: nothing was looked for */
    const char *llm_mode, *model;
    const char *template_name; /* which instructions and quoting made the messages */
    /* The request as it was run, with the seed used; NULL without a generation. */
    const cp_llm_request *request;
    const char *schema_text;     /* of request->schema; "" for any JSON object, NULL for none */
    const cp_llm_result *result; /* NULL without a generation */
    size_t context_tokens;       /* of the session or the scheduler */
    const char *kv, *isa;
    /* What was sent where no model answered (and so `result` is NULL): kept as the answer. */
    cp_str answer;
} cp_audit_entry;

/* Appends the line's body for `entry`, stamped with the time now. */
cp_status cp_audit_record_append(const cp_audit_keys *keys, const cp_audit_entry *entry,
                                 cp_strbuf *out, cp_error *err) CP_MUST_CHECK;
/* Somebody read a patient's record, or imported some. Borrowed as above. */
typedef struct cp_audit_access {
    const char *endpoint; /* "/patients/{}/summary" */
    const char *trace_id, *key_id;
    const char *action;      /* "read", "import"; "import_failed": not all of that was stored */
    const char *const *mrns; /* [n_mrns] only their hashes are kept */
    size_t n_mrns;
} cp_audit_access;
/* The body for it: {"kind":"access",...}; no text of anybody, so nothing is sealed. */
cp_status cp_audit_access_append(const cp_audit_keys *keys, const cp_audit_access *access,
                                 cp_strbuf *out, cp_error *err) CP_MUST_CHECK;
/* The body of a note of the log's own: {"kind":"note","event":...,"bytes":n}. */
cp_status cp_audit_note_append(const char *event, uint64_t bytes, cp_strbuf *out,
                               cp_error *err) CP_MUST_CHECK;

#endif
