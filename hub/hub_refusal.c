/* The sentences for what the hub refuses: what happened, and what to do next. */
#include "hub/hub_client.h"

#include <string.h>

static cp_status unauthorized(const cp_hub_client *client, const cp_hub_place *place,
                              const cp_hub_answer *answer, cp_error *err) {
    const char *hub = client->settings->endpoint, *repo = place->repo;
    if (*client->settings->token)
        return cp_error_set(err, CP_ERR_IO,
                            "the hub refuses the token for %s (401): it is wrong, has expired or "
                            "was revoked; make a new one at %s/settings/tokens and set HF_TOKEN",
                            repo, hub);
    if (cp_hub_error_is(&answer->http, "GatedRepo"))
        return cp_error_set(err, CP_ERR_IO,
                            "%s is given to accounts that accepted its licence (401): accept it at "
                            "%s/%s, make a token at %s/settings/tokens and set HF_TOKEN",
                            repo, hub, repo, hub);
    return cp_error_set(err, CP_ERR_IO,
                        "%s is not on the hub, or not for everybody (401): check the name, or set "
                        "HF_TOKEN to a token of an account that may read it (%s/settings/tokens)",
                        repo, hub);
}

static cp_status forbidden(const cp_hub_client *client, const cp_hub_place *place,
                           const cp_hub_answer *answer, cp_error *err) {
    const char *hub = client->settings->endpoint, *repo = place->repo;
    if (!*client->settings->token)
        return cp_error_set(
            err, CP_ERR_IO,
            "the hub does not give out %s without a token (403): accept its licence "
            "at %s/%s and set HF_TOKEN to a token of that account",
            repo, hub, repo);
    if (cp_hub_error_is(&answer->http, "GatedRepo"))
        return cp_error_set(
            err, CP_ERR_IO,
            "the licence of %s is not accepted by the token's account (403): accept "
            "it at %s/%s, wait for approval if it asks for one, then pull again",
            repo, hub, repo);
    return cp_error_set(
        err, CP_ERR_IO,
        "the token may not read %s (403): accept its licence at %s/%s, and give the "
        "token the right to read that repository",
        repo, hub, repo);
}

static cp_status not_found(const cp_hub_client *client, const cp_hub_place *place,
                           const cp_hub_answer *answer, cp_error *err) {
    if (cp_hub_error_is(&answer->http, "RevisionNotFound"))
        return cp_error_set(err, CP_ERR_NOT_FOUND,
                            "%s has no revision %s (404): see %s/%s/commits/main for what it has, "
                            "or leave --revision out",
                            place->repo, place->revision, client->settings->endpoint, place->repo);
    if (cp_hub_error_is(&answer->http, "EntryNotFound"))
        return cp_error_set(
            err, CP_ERR_NOT_FOUND,
            "%s has no %s at revision %s (404): it is no model that can be run here "
            "(config.json, tokenizer.json and *.safetensors are needed)",
            place->repo, place->file, place->revision);
    return cp_error_set(
        err, CP_ERR_NOT_FOUND,
        "there is no %s of %s at revision %s on the hub (404): check the names, and "
        "HF_ENDPOINT and HF_TOKEN if it is not public",
        place->file, place->repo, place->revision);
}

static cp_status too_many(const cp_hub_client *client, const cp_hub_answer *answer, cp_error *err) {
    double s = cp_hub_retry_after_s(&answer->http);
    const char *more = *client->settings->token ? "" : "; with HF_TOKEN set the hub allows more";
    if (s >= 0)
        return cp_error_set(err, CP_ERR_BUSY,
                            "the hub takes no more requests for now (429): pull again in %.0f "
                            "seconds, what is here is kept%s",
                            s, more);
    return cp_error_set(err, CP_ERR_BUSY,
                        "the hub takes no more requests for now (429): pull again in some minutes, "
                        "what is here is kept%s",
                        more);
}

/* No answer came, or half of one: *err says what was seen. */
static cp_status no_answer(const cp_hub_answer *answer, cp_status status, cp_error *err) {
    static const char advice[] = "; check the network, https_proxy and HF_ENDPOINT, then pull "
                                 "again: what is here is kept";
    if (!err)
        return status;
    size_t used = strlen(err->message);
    switch (answer->http.end) {
    case CP_HTTP_NO_CONNECTION:
    case CP_HTTP_TIMED_OUT:
    case CP_HTTP_CUT:
    case CP_HTTP_INSECURE:
        if (used + sizeof advice <= sizeof err->message)
            memcpy(err->message + used, advice, sizeof advice);
        return cp_error_prefix(err, "the hub cannot be reached");
    default:
        return status;
    }
}

cp_status cp_hub_refuse(const cp_hub_client *client, const cp_hub_place *place,
                        const cp_hub_answer *answer, cp_status status, cp_error *err) {
    if (status != CP_OK)
        return no_answer(answer, status, err);
    switch (answer->http.status) {
    case 401:
        return unauthorized(client, place, answer, err);
    case 403:
        return forbidden(client, place, answer, err);
    case 404:
        return not_found(client, place, answer, err);
    case 429:
        return too_many(client, answer, err);
    default:
        return cp_error_set(err, CP_ERR_IO,
                            "%s answers %d for %s of %s, expected 200: pull again later, what is "
                            "here is kept",
                            answer->elsewhere ? "the server behind the hub" : "the hub",
                            answer->http.status, place->file, place->repo);
    }
}
