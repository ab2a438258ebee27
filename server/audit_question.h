/* A record of the audit log read back: what is in the clear, what was asked, what was answered, and
 * the request ready to be run again. */
#ifndef CP_SERVER_AUDIT_QUESTION_H
#define CP_SERVER_AUDIT_QUESTION_H

#include "base/json.h"
#include "llm/llm.h"
#include "server/audit_line.h"

/* A record read back. */
typedef struct cp_audit_record {
    char weights[CP_AUDIT_HEX_CAP]; /* the model folder's hash, "" without */
    cJSON *clear;                   /* the "record" object */
    cJSON *asked;   /* of the sealed part; NULL when it is not there or cannot be opened */
    cp_strbuf text; /* the sealed part's bytes, wiped at deinit */
    cp_str thinking, answer;
    bool sealed; /* it has a sealed part, opened or not */
} cp_audit_record;

/* Reads a line's body; opens the sealed part when keys->secret. CP_ERR_FORMAT: not a body of ours,
 * or the sealed part does not belong to it. deinit in either case. */
cp_status cp_audit_record_read(const cp_audit_keys *keys, cp_str body, cp_audit_record *out,
                               cp_error *err) CP_MUST_CHECK;
void cp_audit_record_deinit(cp_audit_record *record);

/* The request of a record, ready to be run again: prompt, settings, seed; a thought that was closed
 * is closed after as many tokens as then. Texts are borrowed from the record. */
typedef struct cp_audit_question {
    cp_llm_request request;
    cp_chat_message *messages; /* owned */
    cp_ids ids;                /* owned */
    cp_schema *schema;         /* owned */
    int64_t context_tokens;
    cp_kv kv;
} cp_audit_question;
cp_status cp_audit_question_read(const cp_audit_record *record, cp_audit_question *out,
                                 cp_error *err) CP_MUST_CHECK;
void cp_audit_question_deinit(cp_audit_question *question);

#endif
