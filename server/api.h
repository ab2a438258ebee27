/* The routes: /triage, /patients, /health, /ready, /metrics, and what is noted of every request
 * (access line, metrics). The probes answer in the HTTP thread from a few atomics, whatever the
 * model does. */
#ifndef CP_SERVER_API_H
#define CP_SERVER_API_H

#include "server/access.h"
#include "server/address_limit.h"
#include "server/metrics.h"
#include "server/openai_api.h"
#include "server/patients_api.h"
#include "server/settings.h"
#include "server/triage.h"

#include <stdatomic.h>

typedef struct cp_api {
    const cp_settings *settings;
    cp_inference *inference;
    cp_patients_api patients;
    cp_grounding *grounding;
    cp_triage *triage;
    cp_openai *openai;
    atomic_bool draining;
    atomic_size_t n_patient_jobs; /* accepted by `patients` and not answered yet */
    cp_metrics *metrics;
    cp_access *access; /* NULL: no keys */
    cp_address_limit *addresses;
    cp_origins origins;  /* from CORS_ORIGINS */
    cp_networks proxies; /* from TRUSTED_PROXIES */
    cp_tracer *tracer;   /* NULL: no traces */
} cp_api;

/* A cp_lookup_observer; `user` is the api. */
void cp_api_note_lookup(void *user, const cp_patient_lookup *lookup, const cp_lookup_times *times,
                        cp_status status);

/* What of the settings is a list; the rest of `api` is the caller's to fill. */
cp_status cp_api_read_lists(cp_api *api, const cp_settings *settings, cp_error *err) CP_MUST_CHECK;

/* The HTTP configuration that serves `api`, which must outlive the server. */
cp_http_config cp_api_http_config(cp_api *api);

#endif
