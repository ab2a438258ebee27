#include "server/admission.h"

#include "base/clock.h"

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

static const cp_api_error too_many_attempts = {
    429, "too_many_attempts", "too many requests without a valid API key came from this address",
    NULL, 0};
static const cp_api_error address_rate = {
    429, "rate_limited", "the requests a minute of this address are used up", NULL, 0};

static void refuse(const cp_admission *a, cp_http_request *request, const cp_api_error *error) {
    cp_metrics_refused(a->metrics, error->code);
    cp_http_fail(request, error);
}

/* False: the address has had its `per_minute`, and is told so. */
static bool within(const cp_admission *a, cp_http_request *request, uint64_t per_minute,
                   const cp_api_error *beyond) {
    cp_api_error error = *beyond;
    if (!a->addresses || per_minute == 0 ||
        cp_address_limit_take(a->addresses, &request->client, per_minute, cp_clock_ns(),
                              &error.retry_after_s))
        return true;
    refuse(a, request, &error);
    return false;
}

/* Someone whom no key vouches for. */
static void refuse_stranger(const cp_admission *a, cp_http_request *request,
                            const cp_api_error *error) {
    if (within(a, request, a->refusals_per_minute, &too_many_attempts))
        refuse(a, request, error);
}

void cp_admission_check(const cp_admission *a, cp_http_request *request) {
    cp_access_answer answer;
    unsigned scope = request->route->scope;
    if (scope == CP_SCOPE_OPEN)
        return;
    if (scope == 0) /* a route that was forgotten is not open */
        scope = CP_SCOPE_ADMIN;
    bool is_local = cp_address_is_loopback(&request->client) && request->is_local_name;
    if (!a->access && !is_local) {
        refuse_stranger(a, request, &not_local);
        return;
    }
    if (!a->access && !within(a, request, a->keyless_per_minute, &address_rate))
        return;
    cp_access_check(a->access, request->authorization, scope, &answer);
    snprintf(request->owner, sizeof request->owner, "%s", answer.id);
    request->scopes = answer.scopes;
    if (answer.verdict == CP_ACCESS_GRANTED)
        return;
    cp_api_error error = errors[answer.verdict];
    error.retry_after_s = answer.retry_after_s;
    if (error.status == 401)
        refuse_stranger(a, request, &error);
    else
        refuse(a, request, &error);
}
