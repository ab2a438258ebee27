#include "server/admission.h"

#include <stdio.h>

_Static_assert(CP_HTTP_OWNER_CAP >= CP_KEY_ID_CAP, "an owner is a key's id");

static const cp_api_error errors[CP_ACCESS_N_VERDICTS] = {
    [CP_ACCESS_NO_KEY] = {401, "missing_key",
                          "this path needs an API key: send Authorization: Bearer cpk_...",
                          "Authorization", 0},
    [CP_ACCESS_WRONG_KEY] = {401, "invalid_key", "the API key is not valid", "Authorization", 0},
    [CP_ACCESS_EXPIRED] = {401, "expired_key", "the API key has expired", "Authorization", 0},
    [CP_ACCESS_NO_SCOPE] = {403, "missing_scope", "the API key does not have this path's scope",
                            "Authorization", 0},
    [CP_ACCESS_RATE] = {429, "rate_limited", "the API key's requests a minute are used up", NULL,
                        0},
    [CP_ACCESS_QUOTA] = {429, "quota_exceeded", "the API key's tokens of today are used up", NULL,
                         0},
};

/* Without keys a proxy on this machine must not open it to others, and neither must a web page
 * whose name was made to point here (DNS rebinding): its browser sends that name as Host. */
static const cp_api_error not_local = {
    403, "local_only", "without API keys only this machine may ask, as localhost or 127.0.0.1",
    NULL, 0};

static void refuse(cp_metrics *metrics, cp_http_request *request, const cp_api_error *error) {
    cp_metrics_refused(metrics, error->code);
    cp_http_fail(request, error);
}

void cp_admission_check(cp_access *access, cp_metrics *metrics, cp_http_request *request) {
    cp_access_answer answer;
    unsigned scope = request->route->scope;
    if (scope == CP_SCOPE_OPEN)
        return;
    if (scope == 0) /* a route that was forgotten is not open */
        scope = CP_SCOPE_ADMIN;
    bool is_local = cp_address_is_loopback(&request->client) && request->is_local_name;
    if (!access && !is_local) {
        refuse(metrics, request, &not_local);
        return;
    }
    cp_access_check(access, request->authorization, scope, &answer);
    snprintf(request->owner, sizeof request->owner, "%s", answer.id);
    request->scopes = answer.scopes;
    if (answer.verdict == CP_ACCESS_GRANTED)
        return;
    cp_api_error error = errors[answer.verdict];
    error.retry_after_s = answer.retry_after_s;
    refuse(metrics, request, &error);
}
