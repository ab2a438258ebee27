#include "server/patients_api.h"

#include "base/clock.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "server/admission.h"
#include "server/body_reader.h"
#include "server/fhir_import.h"
#include "server/patient_document.h"
#include "server/patient_summary.h"
#include "server/phi_guard.h"
#include "server/triage_lane.h"

#include <stdlib.h>
#include <string.h>

#define STORE_RETRY_S 5

cp_api_error cp_patients_error(cp_status status, const char *param) {
    switch (status) {
    case CP_ERR_NOT_FOUND:
        return (cp_api_error){404, "patient_not_found", "there is no such patient", param, 0};
    case CP_ERR_NO_MEMORY:
        return cp_api_no_memory;
    default:
        return (cp_api_error){503, "dependency", "the patient store does not answer", NULL,
                              STORE_RETRY_S};
    }
}

/* ---- the audit log ---------------------------------------------------------------------- */

static cp_audit_access access_of(const cp_http_request *http, const char *action,
                                 const char *const *mrns, size_t n) {
    const char *owner = cp_access_owner(http);
    return (cp_audit_access){.endpoint = http->route->path,
                             .trace_id = http->trace_id,
                             .key_id = *owner ? owner : NULL,
                             .action = action,
                             .mrns = mrns,
                             .n_mrns = n};
}

/* Drops the reply: it may not leave. */
static void fail_unrecorded(cp_http_request *http, const cp_error *err) {
    static const cp_api_error unrecorded = {503, "audit_unavailable",
                                            "this access could not be recorded; without a record "
                                            "nothing is shown or stored",
                                            NULL, STORE_RETRY_S};
    cp_log(CP_LOG_ERROR, "patients: an access could not be recorded",
           CP_LOG_S("trace_id", http->trace_id), CP_LOG_S("reason", err->message));
    cp_http_fail(http, &unrecorded);
}

/* ---- reading ---------------------------------------------------------------------------- */

typedef struct read_job read_job;
typedef void reply_writer(read_job *j, const cp_patient_record *record, cp_strbuf *out);

struct read_job {
    cp_patient_lookup lookup; /* first: on_done gets a pointer to it */
    cp_http_request *http;
    cp_audit *audit;
    reply_writer *write;
    cp_memory memory;
    const cp_knowledge *knowledge;
    atomic_size_t *n_unfinished;
    cp_api_error error; /* the writer's, where there is no reply; status 0: none */
    bool deferred;
};

/* Counted before the look at `draining`: either this sees the drain, or the drain sees the job. */
static bool accept(const cp_patients_api *api, cp_http_request *request) {
    atomic_fetch_add(api->n_unfinished, 1);
    if (!atomic_load(api->draining))
        return true;
    atomic_fetch_sub(api->n_unfinished, 1);
    cp_http_fail(request, &cp_api_draining);
    return false;
}

static void end_read(read_job *j) {
    cp_http_request *http = j->http;
    atomic_size_t *n_unfinished = j->n_unfinished;
    bool deferred = j->deferred;
    free(j);
    if (deferred)
        cp_http_finish(http);
    atomic_fetch_sub(n_unfinished, 1);
}

static void on_read_recorded(void *user, cp_status status, const cp_error *err) {
    read_job *j = user;
    if (status != CP_OK)
        fail_unrecorded(j->http, err);
    end_read(j);
}

/* The reply stands; it leaves when who read it is on the disk. */
static void record_read(read_job *j) {
    cp_error err;
    const char *mrns[] = {j->lookup.mrn};
    const cp_audit_access access = access_of(j->http, "read", mrns, 1);
    cp_status status = cp_audit_submit_access(j->audit, &access, on_read_recorded, j, &err);
    if (status != CP_OK)
        on_read_recorded(j, status, &err);
}

/* The whole of the reply, or an error in its place. */
static bool write_reply(read_job *j, const cp_patient_record *record) {
    cp_http_request *http = j->http;
    cp_strbuf *body = &http->reply.body;
    j->write(j, record, body);
    cp_strbuf_putc(body, '\n');
    http->reply.status = 200;
    bool whole = body->failed == CP_OK && !j->error.status;
    if (!whole)
        cp_http_fail(http, j->error.status ? &j->error : &cp_api_no_memory);
    return whole;
}

static void on_record(cp_patient_lookup *lookup, cp_status status, cp_patient_record *record,
                      const cp_error *err) {
    read_job *j = (read_job *)lookup;
    cp_http_request *http = j->http;
    bool found = status == CP_OK;
    if (found) {
        found = write_reply(j, record);
    } else {
        const cp_api_error error = cp_patients_error(status, "mrn");
        cp_http_fail(http, &error);
        if (status != CP_ERR_NOT_FOUND)
            cp_log(CP_LOG_WARN, "no record", CP_LOG_S("trace_id", http->trace_id),
                   CP_LOG_S("reason", err->message));
    }
    cp_patient_record_free(record);
    if (found && j->audit)
        record_read(j);
    else
        end_read(j);
}

static bool reader_left(const cp_patient_lookup *lookup) {
    return cp_http_client_gone(((const read_job *)lookup)->http);
}

static void read_record(const cp_patients_api *api, cp_http_request *request, reply_writer *write) {
    static const cp_api_error wrong = {422, "invalid", "mrn must be " CP_MRN_RULE, "mrn", 0};
    const char *mrn = request->params[0];
    if (!cp_mrn_is_valid(mrn)) {
        cp_http_fail(request, &wrong);
        return;
    }
    read_job *j = calloc(1, sizeof *j);
    if (!j) {
        cp_http_fail(request, &cp_api_no_memory);
        return;
    }
    j->lookup.on_done = on_record;
    j->lookup.is_unwanted = reader_left;
    j->lookup.trace = &request->trace;
    memcpy(j->lookup.mrn, mrn, strlen(mrn) + 1);
    j->http = request;
    j->audit = api->audit;
    j->memory = api->memory;
    j->knowledge = api->knowledge;
    j->n_unfinished = api->n_unfinished;
    j->write = write;
    j->deferred = cp_patients_waits(api->patients) || api->audit;
    if (!accept(api, request)) {
        free(j);
        return;
    }
    if (j->deferred)
        cp_http_defer(request);
    cp_patients_look_up(api->patients, &j->lookup);
}

static void write_record(read_job *j, const cp_patient_record *record, cp_strbuf *out) {
    cp_error err;
    (void)j;
    cp_status status = cp_patient_record_append(record, out, &err);
    (void)status; /* as out->failed says */
    if (status != CP_OK && out->failed == CP_OK)
        out->failed = status;
}

static const char *mrn_of(const cp_patient_record *record) {
    return cJSON_GetObjectItemCaseSensitive(record->patient, "mrn")->valuestring;
}

static void write_list(const cp_patient_record *record, const char *key, const cJSON *list,
                       cp_strbuf *out) {
    cp_error err;
    cp_strbuf_printf(out, "{\"mrn\":\"%s\",\"%s\":", mrn_of(record), key); /* allow-listed */
    cp_status status = cp_record_append_tree(list, out, &err);
    if (status != CP_OK && out->failed == CP_OK)
        out->failed = status;
    cp_strbuf_putc(out, '}');
}

static void write_encounters(read_job *j, const cp_patient_record *record, cp_strbuf *out) {
    (void)j;
    write_list(record, "encounters", record->encounters, out);
}

static void write_documents(read_job *j, const cp_patient_record *record, cp_strbuf *out) {
    (void)j;
    write_list(record, "documents", record->documents, out);
}

static void write_document(read_job *j, const cp_patient_record *record, cp_strbuf *out) {
    const cp_http_request *http = j->http;
    if (cp_patient_document_append(record, j->knowledge, http->params[1], http->query, out,
                                   &j->error))
        j->error.status = 0;
}

static void write_facts(const cp_patient_record *record, const char *today, cp_json_writer *w) {
    static const char *const sexes[] = {NULL, "female", "male"};
    cp_patient_facts facts = cp_patient_facts_of(record, today);
    cp_json_key(w, "age_years");
    if (facts.age_years >= 0)
        cp_json_put_int(w, facts.age_years);
    else
        cp_json_put_null(w);
    cp_json_member_text(w, "sex", sexes[facts.sex]);
    cp_json_member_bool(w, "pregnant", facts.pregnant);
}

/* What is noted on the patient, for the key that asks. */
static cp_status find_notes(const read_job *j, const cp_patient_record *record,
                            cp_patient_notes *out) {
    cp_conversation_key key;
    cp_conversation past = {.n_turns = 0};
    cp_error err;
    cp_status status =
        cp_conversation_key_make(cp_access_owner(j->http), j->lookup.mrn, NULL, &key, &err);
    if (status == CP_OK)
        status = cp_conversations_read(j->memory.conversations, &key, cp_moment_now(), &past, &err);
    if (status == CP_OK)
        status = cp_patient_notes_find(j->memory.safety, record, &past, NULL, out);
    cp_conversation_deinit(&past);
    return status;
}

static void write_notes(const cp_patient_notes *notes, cp_json_writer *w) {
    cp_json_key(w, "noted_earlier");
    cp_json_open_array(w);
    for (size_t i = 0; i < notes->n; i++) {
        cp_json_open_object(w);
        cp_json_member_text(w, "date", notes->items[i].date);
        cp_json_member_text(w, "rule", notes->items[i].id);
        cp_json_member_text(w, "title", notes->items[i].title);
        cp_json_member_bool(w, "confirmed", false);
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
}

static void write_summary(read_job *j, const cp_patient_record *record, cp_strbuf *out) {
    char today[CP_CLOCK_DATE_CAP];
    cp_json_writer w;
    cp_strbuf text;
    cp_patient_notes notes;
    cp_patient_record lists = *record;
    cp_status status = find_notes(j, record, &notes);
    if (status != CP_OK) {
        out->failed = status;
        return;
    }
    cp_clock_format_date(cp_clock_unix_s(), today);
    cp_strbuf_init(&text, CP_TRIAGE_SUMMARY_BYTES + 1);
    cp_patient_summary_append(record, &notes, today, CP_TRIAGE_SUMMARY_BYTES, &text);
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "mrn", mrn_of(record));
    cp_json_member_text(&w, "date", today);
    cp_json_member_str(&w, "summary", cp_strbuf_str(&text));
    write_facts(record, today, &w);
    write_notes(&notes, &w);
    cp_json_key(&w, "counts");
    cp_json_open_object(&w);
    for (unsigned i = 0; i < CP_N_LISTS; i++)
        cp_json_member_int(&w, cp_record_list_name(i),
                           cJSON_GetArraySize(*cp_record_list(&lists, i)));
    cp_json_close_object(&w);
    cp_json_close_object(&w);
    if (text.failed != CP_OK)
        out->failed = text.failed;
    cp_strbuf_deinit(&text);
}

void cp_patients_handle_record(const cp_patients_api *api, cp_http_request *request) {
    read_record(api, request, write_record);
}

void cp_patients_handle_summary(const cp_patients_api *api, cp_http_request *request) {
    read_record(api, request, write_summary);
}

void cp_patients_handle_encounters(const cp_patients_api *api, cp_http_request *request) {
    read_record(api, request, write_encounters);
}

void cp_patients_handle_documents(const cp_patients_api *api, cp_http_request *request) {
    read_record(api, request, write_documents);
}

void cp_patients_handle_document(const cp_patients_api *api, cp_http_request *request) {
    read_record(api, request, write_document);
}

/* ---- importing -------------------------------------------------------------------------- */

typedef struct import_job {
    cp_store_task task; /* first: the pool has a pointer to it */
    cp_patients *patients;
    cp_audit *audit;
    atomic_size_t *n_unfinished;
    cp_http_request *http;
} import_job;

static void end_import(import_job *j, const cp_api_error *error) {
    cp_http_request *http = j->http;
    atomic_size_t *n_unfinished = j->n_unfinished;
    if (error)
        cp_http_fail(http, error);
    free(j);
    cp_http_finish(http);
    atomic_fetch_sub(n_unfinished, 1);
}

static void write_imported(const cp_fhir_import *import, cp_strbuf *out) {
    cp_json_writer w;
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    cp_json_key(&w, "patients");
    cp_json_open_array(&w);
    for (size_t i = 0; i < import->n; i++) {
        const cp_fhir_patient *p = &import->patients[i];
        cp_json_open_object(&w);
        cp_json_member_text(&w, "mrn", p->mrn);
        for (unsigned list = 0; list < CP_FHIR_N_LISTS; list++)
            if (p->lists[list]) /* the kinds whose stored list was replaced */
                cp_json_member_int(&w, cp_fhir_list_name(list), cJSON_GetArraySize(p->lists[list]));
        cp_json_member_int(&w, "documents", cJSON_GetArraySize(p->documents));
        cp_json_close_object(&w);
    }
    cp_json_close_array(&w);
    cp_json_member_int(&w, "left_out", (int64_t)import->n_left_out);
    cp_json_member_int(&w, "other_resources", (int64_t)import->n_other);
    cp_json_close_object(&w);
    cp_strbuf_putc(out, '\n');
}

static cp_status store_all(cp_patient_store *store, const cp_fhir_import *import, cp_error *err) {
    cp_status status = CP_OK;
    for (size_t i = 0; i < import->n && status == CP_OK; i++) {
        const cp_fhir_patient *p = &import->patients[i];
        const cp_patient_change change = {
            .mrn = p->mrn, .patient = p->patient, .documents = p->documents};
        cp_phi_guard_learn(p->patient);
        status = store->put(store, &change, err);
    }
    return status;
}

/* The body becomes changes; false with an answer when it is none that can be read. */
static bool read_import(cp_http_request *http, cp_fhir_import *out) {
    cp_body_fault fault;
    cJSON *bundle;
    cp_error err;
    *out = (cp_fhir_import){.n = 0};
    if (!cp_body_parse(cp_strbuf_str(&http->body), &bundle, &fault)) {
        cp_http_fail(http, &fault.error);
        return false;
    }
    cp_status status = cp_fhir_read(bundle, out, &err);
    cJSON_Delete(bundle);
    if (status == CP_OK)
        return true;
    const cp_api_error error = {422, status == CP_ERR_LIMIT ? "too_large" : "invalid", err.message,
                                NULL, 0};
    cp_http_fail(http, status == CP_ERR_NO_MEMORY ? &cp_api_no_memory : &error);
    return false;
}

/* Before anything is stored, so that no change is without its record; and once more when not all of
 * it could be stored. */
static cp_status record_import(const import_job *j, const char *action,
                               const cp_fhir_import *import, cp_error *err) {
    if (!j->audit)
        return CP_OK;
    const char **mrns = calloc(import->n + 1, sizeof *mrns);
    if (!mrns)
        return cp_error_no_memory(err, "audit record");
    for (size_t i = 0; i < import->n; i++)
        mrns[i] = import->patients[i].mrn;
    const cp_audit_access access = access_of(j->http, action, mrns, import->n);
    cp_status status = cp_audit_append_access(j->audit, &access, err);
    free(mrns);
    return status;
}

static void note_failed_import(const import_job *j, const cp_fhir_import *import) {
    cp_error err;
    if (record_import(j, "import_failed", import, &err) != CP_OK)
        cp_log(CP_LOG_ERROR, "patients: a failed import could not be recorded as such",
               CP_LOG_S("trace_id", j->http->trace_id), CP_LOG_S("reason", err.message));
}

static void store_import(import_job *j, const cp_fhir_import *import) {
    static const cp_api_error conflict = {409, "conflict",
                                          "a document's id belongs to another patient", NULL, 0};
    cp_http_request *http = j->http;
    cp_error err;
    cp_status status = record_import(j, "import", import, &err);
    if (status != CP_OK) {
        fail_unrecorded(http, &err);
        return;
    }
    status = store_all(cp_patients_store(j->patients), import, &err);
    if (status == CP_OK) {
        write_imported(import, &http->reply.body);
        http->reply.status = 200;
        cp_log(CP_LOG_INFO, "imported", CP_LOG_S("trace_id", http->trace_id),
               CP_LOG_I("patients", import->n), CP_LOG_I("left_out", import->n_left_out),
               CP_LOG_I("other_resources", import->n_other));
        return;
    }
    const cp_api_error error = cp_patients_error(status, NULL);
    note_failed_import(j, import);
    cp_http_fail(http, status == CP_ERR_USAGE ? &conflict : &error);
    cp_log(CP_LOG_WARN, "an import was not stored", CP_LOG_S("trace_id", http->trace_id),
           CP_LOG_S("reason", err.message));
}

static void run_import(cp_store_task *task) {
    import_job *j = (import_job *)task;
    cp_fhir_import import;
    if (read_import(j->http, &import))
        store_import(j, &import);
    cp_fhir_import_deinit(&import);
    end_import(j, NULL);
}

static void drop_import(cp_store_task *task) {
    const cp_api_error error = cp_patients_error(CP_ERR_CANCELLED, NULL);
    end_import((import_job *)task, &error);
}

static bool importer_left(const cp_store_task *task) {
    return cp_http_client_gone(((const import_job *)task)->http);
}

void cp_patients_handle_import(const cp_patients_api *api, cp_http_request *request) {
    static const cp_api_error full = {503, "queue_full", "too many wait for the patient store",
                                      NULL, STORE_RETRY_S};
    import_job *j = calloc(1, sizeof *j);
    if (!j) {
        cp_http_fail(request, &cp_api_no_memory);
        return;
    }
    *j = (import_job){
        .task = {.run = run_import, .drop = drop_import, .is_unwanted = importer_left},
        .patients = api->patients,
        .audit = api->audit,
        .n_unfinished = api->n_unfinished,
        .http = request,
    };
    if (!accept(api, request)) {
        free(j);
        return;
    }
    cp_http_defer(request);
    if (cp_store_pool_submit(cp_patients_pool(api->patients), &j->task) != CP_OK)
        end_import(j, &full);
}
