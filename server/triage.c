#include "server/triage.h"

#include "base/clock.h"
#include "base/file.h"
#include "server/admission.h"
#include "server/safety.h"
#include "server/triage_service.h"

#include <stdlib.h>
#include <string.h>

#define MIB      ((size_t)1 << 20)
#define SWEEP_NS ((uint64_t)5 * 1000000000u)

/* ---- the HTTP thread ------------------------------------------------------------------------- */

static bool parse(cp_triage_job *j) {
    cp_body_fault fault;
    if (cp_triage_request_parse(cp_strbuf_str(&j->http->body),
                                j->triage->with.settings->max_new_tokens, &j->request, &fault))
        return true;
    cp_http_fail(j->http, &fault.error);
    return false;
}

/* Counted before the last look at `draining`: either this sees the drain, or the drain sees the
 * job. Suspended before anything else: another thread may finish the job before this returns. */
static void accept(cp_triage_job *j) {
    cp_triage *triage = j->triage;
    atomic_fetch_add(&triage->n_unfinished, 1);
    if (atomic_load(&triage->draining)) {
        cp_http_fail(j->http, &cp_api_draining);
        atomic_fetch_sub(&triage->n_unfinished, 1);
        cp_triage_job_free(j);
        return;
    }
    cp_http_defer(j->http);
    cp_triage_job_run(j);
}

void cp_triage_handle(cp_triage *triage, cp_http_request *request) {
    if (atomic_load(&triage->draining)) {
        cp_http_fail(request, &cp_api_draining);
        return;
    }
    cp_triage_job *j = cp_triage_job_create(triage, request);
    if (!j) {
        cp_http_fail(request, &cp_api_no_memory);
    } else if (parse(j)) {
        accept(j);
    } else {
        cp_triage_job_free(j);
    }
}

/* ---- the service ----------------------------------------------------------------------------- */

static cp_status open_parts(cp_triage *triage, cp_error *err) {
    const cp_settings *settings = triage->with.settings;
    const char *dir = settings->data_dir;
    char rules[CP_PATH_CAP];
    const cp_conversations_options kept = {
        .max_bytes = (size_t)settings->conversation_mib * MIB,
        .ttl_s = settings->conversation_ttl_s,
        .notes_ttl_s = settings->conversation_notes_ttl_s,
    };
    cp_status status = cp_conversations_create(&kept, &triage->conversations, err);
    if (status == CP_OK)
        status = cp_path_join(dir, "triage/rules.json", rules, sizeof rules, err);
    if (status == CP_OK)
        status = cp_safety_open(rules, &triage->safety, err);
    if (status == CP_OK)
        status = cp_schema_compile_text("the answer's schema", cp_triage_answer_schema,
                                        strlen(cp_triage_answer_schema), &triage->schema, err);
    if (status == CP_OK)
        cp_inference_mock_answer(triage->with.inference, triage->schema, cp_triage_mock_answer);
    return status;
}

cp_status cp_triage_create(const cp_triage_parts *parts, cp_triage **out, cp_error *err) {
    *out = NULL;
    cp_triage *triage = calloc(1, sizeof *triage);
    if (!triage)
        return cp_error_no_memory(err, "the triage service");
    triage->with = *parts;
    cp_status status = open_parts(triage, err);
    if (status == CP_OK)
        *out = triage;
    else
        cp_triage_free(triage);
    return status;
}

void cp_triage_free(cp_triage *triage) {
    if (!triage)
        return;
    cp_schema_free(triage->schema);
    cp_conversations_free(triage->conversations); /* points at rules */
    if (triage->safety)
        cp_safety_close(triage->safety);
    free(triage);
}

cp_memory cp_triage_memory(const cp_triage *triage) {
    return (cp_memory){triage->safety, triage->conversations};
}

void cp_triage_tick(cp_triage *triage) {
    const cp_moment now = cp_moment_now();
    if (now.ns - triage->swept_ns < SWEEP_NS)
        return;
    triage->swept_ns = now.ns;
    cp_conversations_sweep(triage->conversations, now);
}

size_t cp_triage_n_rules(const cp_triage *triage) {
    return cp_safety_n_rules(triage->safety);
}

const char *cp_triage_rules_reviewed_by(const cp_triage *triage) {
    return cp_safety_reviewed_by(triage->safety);
}

size_t cp_triage_n_unfinished(const cp_triage *triage) {
    return atomic_load(&triage->n_unfinished);
}

void cp_triage_drain(cp_triage *triage) {
    atomic_store(&triage->draining, true);
}

void cp_triage_cancel_all(cp_triage *triage) {
    atomic_store(&triage->cancel_all, true);
}
