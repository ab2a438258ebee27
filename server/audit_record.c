#include "server/audit_record.h"

#include "base/clock.h"
#include "base/json_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT 17 /* digits that bring a double back as it was */

/* ---- in the clear -----------------------------------------------------------------------------
 */

/* Those that this question alone gives no reason for; absent where there are none. */
static void put_earlier_rules(const cp_audit_entry *entry, cp_json_writer *w) {
    size_t n = 0;
    for (size_t i = 0; entry->rules_earlier && i < entry->n_rules; i++) {
        if (!entry->rules_earlier[i])
            continue;
        if (n++ == 0) {
            cp_json_key(w, "rules_earlier");
            cp_json_open_array(w);
        }
        cp_json_put_text(w, entry->rules[i]);
    }
    if (n > 0)
        cp_json_close_array(w);
}

static void put_rules(const cp_audit_entry *entry, cp_json_writer *w) {
    cp_json_key(w, "rules");
    cp_json_open_array(w);
    for (size_t i = 0; i < entry->n_rules; i++)
        cp_json_put_text(w, entry->rules[i]);
    cp_json_close_array(w);
    put_earlier_rules(entry, w);
    cp_json_key(w, "acuity");
    if (entry->acuity > 0)
        cp_json_put_int(w, entry->acuity);
    else
        cp_json_put_null(w);
    cp_json_member_text(w, "acuity_source", entry->acuity_source);
    cp_json_member_bool(w, "degraded", entry->degraded);
}

static void put_support(const cp_audit_support *support, cp_json_writer *w) {
    const cp_support_counts *counts = &support->counts;
    size_t n_claims = 0;
    cp_json_key(w, "sources");
    cp_json_open_object(w);
    cp_json_member_text(w, "retrieval", support->retrieval);
    cp_json_member_int(w, "passages", (int64_t)support->n_sources);
    cp_json_member_int(w, "citations_kept", (int64_t)counts->kept);
    for (cp_citation_verdict v = 0; v < CP_N_CITATION_VERDICTS; v++)
        cp_json_member_int(w, cp_citation_verdict_name(v), (int64_t)counts->citations[v]);
    for (size_t i = 0; i < CP_N_CLAIM_KINDS; i++)
        n_claims += counts->claims[i];
    cp_json_member_int(w, "unsupported_claims", (int64_t)n_claims);
    cp_json_close_object(w);
}

/* Token counts and budgets may be "no limit". */
static void member_size(cp_json_writer *w, const char *key, size_t value) {
    cp_json_key(w, key);
    if (value == CP_LLM_NO_LIMIT)
        cp_json_put_null(w);
    else
        cp_json_put_int(w, (int64_t)value);
}

static void put_settings(const cp_audit_entry *entry, cp_json_writer *w) {
    const cp_llm_request *r = entry->request;
    const cp_sampling *s = &r->sampling;
    char seed[32];
    snprintf(seed, sizeof seed, "%" PRIu64, entry->result ? entry->result->seed : s->seed);
    cp_json_member_text(w, "seed", seed); /* a text: 64 bits are more than a JSON number carries */
    cp_json_key(w, "settings");
    cp_json_open_object(w);
    cp_json_member_number(w, "temperature", s->temperature, EXACT);
    cp_json_member_int(w, "top_k", s->top_k);
    cp_json_member_number(w, "top_p", s->top_p, EXACT);
    cp_json_member_number(w, "min_p", s->min_p, EXACT);
    cp_json_member_number(w, "presence_penalty", s->presence_penalty, EXACT);
    cp_json_member_number(w, "frequency_penalty", s->frequency_penalty, EXACT);
    member_size(w, "max_new_tokens", r->max_new_tokens);
    if (r->has_thinking_budget)
        member_size(w, "thinking_budget", r->thinking_budget);
    cp_json_member_bool(w, "schema", entry->schema_text != NULL);
    member_size(w, "context_tokens", entry->context_tokens);
    cp_json_member_text(w, "kv", entry->kv);
    cp_json_member_text(w, "isa", entry->isa);
    cp_json_close_object(w);
}

static void put_usage(const cp_llm_result *result, cp_json_writer *w) {
    cp_json_key(w, "tokens");
    cp_json_open_object(w);
    member_size(w, "prompt", result->prompt_tokens);
    member_size(w, "cached", result->cached_tokens);
    member_size(w, "sampled", result->sampled_tokens);
    member_size(w, "appended", result->appended_tokens);
    member_size(w, "thinking", result->thinking_tokens);
    member_size(w, "tail_bytes", result->structured.tail_bytes);
    cp_json_close_object(w);
    cp_json_member_bool(w, "thinking_truncated", result->thinking_truncated);
    cp_json_member_text(w, "finish_reason", cp_finish_name(result->finish));
}

typedef struct hashes {
    char patient[CP_AUDIT_HEX_CAP], prompt[CP_AUDIT_HEX_CAP], answer[CP_AUDIT_HEX_CAP];
} hashes;

static const char *text_or_null(const char *text) {
    return *text ? text : NULL;
}

/* The members that every record of a request begins with. */
static void put_head(const char *kind, const char *endpoint, const char *trace_id,
                     const char *key_id, cp_json_writer *w) {
    char stamp[CP_CLOCK_STAMP_CAP];
    cp_clock_stamp(stamp);
    cp_json_member_text(w, "kind", kind);
    cp_json_member_text(w, "time", stamp);
    cp_json_member_text(w, "endpoint", endpoint);
    cp_json_member_text(w, "trace_id", trace_id);
    cp_json_member_text(w, "key_id", key_id);
}

static void put_clear(const cp_audit_entry *entry, const hashes *h, cp_json_writer *w) {
    cp_json_open_object(w);
    put_head("answer", entry->endpoint, entry->trace_id, entry->key_id, w);
    cp_json_member_text(w, "patient", text_or_null(h->patient));
    put_rules(entry, w);
    if (entry->support)
        put_support(entry->support, w);
    cp_json_member_text(w, "llm_mode", entry->llm_mode);
    cp_json_member_text(w, "model", entry->model);
    cp_json_member_text(w, "template", entry->template_name);
    cp_json_member_text(w, "version", CP_VERSION);
    if (entry->request)
        put_settings(entry, w);
    if (entry->result)
        put_usage(entry->result, w);
    cp_json_member_text(w, "prompt_hash", text_or_null(h->prompt));
    cp_json_member_text(w, "answer_hash", text_or_null(h->answer));
    cp_json_close_object(w);
}

/* ---- what is sealed ---------------------------------------------------------------------------
 */

static const char *role_name(cp_role role) {
    static const char *const names[] = {"system", "user", "assistant"};
    return names[role];
}

static void put_prompt(const cp_llm_request *r, cp_json_writer *w) {
    if (r->n_messages > 0) {
        cp_json_key(w, "messages");
        cp_json_open_array(w);
        for (size_t i = 0; i < r->n_messages; i++) {
            cp_json_open_object(w);
            cp_json_member_text(w, "role", role_name(r->messages[i].role));
            cp_json_member_text(w, "content", r->messages[i].content);
            if (r->messages[i].reasoning)
                cp_json_member_text(w, "reasoning_content", r->messages[i].reasoning);
            cp_json_close_object(w);
        }
        cp_json_close_array(w);
        if (r->thinking != CP_THINKING_DEFAULT)
            cp_json_member_bool(w, "enable_thinking", r->thinking == CP_THINKING_ON);
    } else if (r->text) {
        cp_json_member_text(w, "text", r->text);
    } else {
        cp_json_key(w, "ids");
        cp_json_put_ids(w, r->ids, r->n_ids);
    }
}

/* One line, without its line end. */
static void put_asked(const cp_audit_entry *entry, cp_str thinking, cp_json_writer *w) {
    cp_json_open_object(w);
    if (entry->request) {
        put_prompt(entry->request, w);
        cp_json_key(w, "stops");
        cp_json_open_array(w);
        for (size_t i = 0; i < CP_LLM_MAX_STOPS && entry->request->stops[i]; i++)
            cp_json_put_text(w, entry->request->stops[i]);
        cp_json_close_array(w);
        if (entry->schema_text)
            cp_json_member_text(w, "schema", entry->schema_text);
    }
    if (!entry->request && entry->question)
        cp_json_member_text(w, "question", entry->question);
    if (entry->session_id)
        cp_json_member_text(w, "session_id", entry->session_id);
    cp_json_member_int(w, "thinking_bytes", (int64_t)thinking.n);
    cp_json_close_object(w);
}

static void put_hex(cp_strbuf *out, const unsigned char *bytes, size_t n) {
    char hex[2 * 256 + 1];
    for (size_t i = 0; i < n; i += 256) {
        size_t chunk = n - i < 256 ? n - i : 256;
        cp_hex(bytes + i, chunk, hex);
        cp_strbuf_append(out, hex, 2 * chunk);
    }
}

/* `"sealed":"..."`, bound to `clear`. */
static cp_status put_sealed(const cp_audit_keys *keys, cp_str clear, cp_str text, cp_strbuf *out,
                            cp_error *err) {
    if (!keys->secret) {
        cp_strbuf_puts(out, ",\"sealed\":null");
        return CP_OK;
    }
    unsigned char *sealed = malloc(text.n + CP_SEAL_MORE_BYTES);
    if (!sealed)
        return cp_error_no_memory(err, "audit record");
    cp_status status = cp_seal(keys->seal, clear, text, sealed, err);
    if (status == CP_OK) {
        cp_strbuf_reserve(out, 2 * (text.n + CP_SEAL_MORE_BYTES) + 32);
        cp_strbuf_puts(out, ",\"sealed\":\"");
        put_hex(out, sealed, text.n + CP_SEAL_MORE_BYTES);
        cp_strbuf_putc(out, '"');
    }
    free(sealed);
    return status;
}

/* ---- the body ---------------------------------------------------------------------------------
 */

static cp_status hash_all(const cp_audit_keys *keys, const cp_audit_entry *entry, cp_str asked,
                          cp_str answer, hashes *h, cp_error *err) {
    *h = (hashes){0};
    cp_status status = cp_audit_patient_hash(keys, entry->mrn, h->patient, err);
    if (status == CP_OK && entry->request)
        status = cp_audit_text_hash(keys, asked, h->prompt, err);
    return status == CP_OK ? cp_audit_text_hash(keys, answer, h->answer, err) : status;
}

cp_status cp_audit_record_append(const cp_audit_keys *keys, const cp_audit_entry *entry,
                                 cp_strbuf *out, cp_error *err) {
    const cp_str none = {"", 0};
    cp_str thinking = entry->result ? cp_strbuf_str(&entry->result->thinking) : none;
    cp_str answer = entry->result ? cp_strbuf_str(&entry->result->answer) : entry->answer;
    cp_strbuf text; /* asked, thinking, answer */
    cp_json_writer w;
    hashes h;
    cp_strbuf_init(&text, CP_AUDIT_MAX_LINE);
    cp_json_writer_init(&w, &text);
    put_asked(entry, thinking, &w);
    cp_status status = cp_strbuf_check(&text, "audit record", err);
    if (status == CP_OK)
        status = hash_all(keys, entry, cp_strbuf_str(&text), answer, &h, err);
    cp_strbuf_putc(&text, '\n');
    cp_strbuf_append(&text, thinking.data, thinking.n);
    cp_strbuf_append(&text, answer.data, answer.n);
    if (status == CP_OK)
        status = cp_strbuf_check(&text, "audit record", err);
    if (status == CP_OK) {
        cp_strbuf_puts(out, "\"record\":");
        size_t start = out->n;
        cp_json_writer_init(&w, out);
        put_clear(entry, &h, &w);
        status = cp_strbuf_check(out, "audit record", err);
        if (status == CP_OK) /* sealing has read the clear part before `out` grows */
            status = put_sealed(keys, (cp_str){out->data + start, out->n - start},
                                cp_strbuf_str(&text), out, err);
    }
    if (text.data)
        cp_wipe(text.data, text.cap);
    cp_strbuf_deinit(&text);
    return status == CP_OK ? cp_strbuf_check(out, "audit record", err) : status;
}

cp_status cp_audit_access_append(const cp_audit_keys *keys, const cp_audit_access *access,
                                 cp_strbuf *out, cp_error *err) {
    char hash[CP_AUDIT_HEX_CAP];
    cp_status status = CP_OK;
    cp_json_writer w;
    cp_strbuf_puts(out, "\"record\":");
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    put_head("access", access->endpoint, access->trace_id, access->key_id, &w);
    cp_json_member_text(&w, "action", access->action);
    cp_json_member_int(&w, "n_patients", (int64_t)access->n_mrns);
    cp_json_key(&w,
                "patients"); /* none without a secret: a hash that anybody can make hides nobody */
    cp_json_open_array(&w);
    for (size_t i = 0; i < access->n_mrns && status == CP_OK; i++) {
        status = cp_audit_patient_hash(keys, access->mrns[i], hash, err);
        if (status == CP_OK && hash[0])
            cp_json_put_text(&w, hash);
    }
    cp_json_close_array(&w);
    cp_json_member_text(&w, "version", CP_VERSION);
    cp_json_close_object(&w);
    cp_strbuf_puts(out, ",\"sealed\":null");
    return status == CP_OK ? cp_strbuf_check(out, "audit record", err) : status;
}

cp_status cp_audit_note_append(const char *event, uint64_t bytes, cp_strbuf *out, cp_error *err) {
    char stamp[CP_CLOCK_STAMP_CAP];
    cp_json_writer w;
    cp_clock_stamp(stamp);
    cp_strbuf_puts(out, "\"record\":");
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "kind", "note");
    cp_json_member_text(&w, "time", stamp);
    cp_json_member_text(&w, "event", event);
    cp_json_member_int(&w, "bytes", (int64_t)bytes);
    cp_json_close_object(&w);
    cp_strbuf_puts(out, ",\"sealed\":null");
    return cp_strbuf_check(out, "audit note", err);
}
