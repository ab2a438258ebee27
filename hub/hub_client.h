/* Requests to the hub: the only client here that follows redirects.
 *
 * A redirect is followed by hand: at most CP_HUB_MAX_HOPS of them, to https (or, from a hub on this
 * machine, http on this machine) and nothing else. The token goes to the hub's own scheme, host and
 * port; the first redirect to another drops it for good. HEAD stops where the hub has said what the
 * file is and sends us elsewhere for its bytes. Limits of time are of connecting and of silence,
 * since files take as long as they take. One thread. */
#ifndef CP_HUB_HUB_CLIENT_H
#define CP_HUB_HUB_CLIENT_H

#include "hub/hub_fields.h"
#include "hub/hub_settings.h"

#include <stdatomic.h>

#define CP_HUB_MAX_HOPS 8

typedef struct cp_hub_limits {
    double connect_s;
    unsigned stall_s;   /* so long without a byte ends a request */
    unsigned max_tries; /* that bring nothing, one after another */
    double pause_s;     /* before the second try; doubles up to 16 of them */
    double max_wait_s;  /* a longer Retry-After is not waited for */
} cp_hub_limits;
extern const cp_hub_limits cp_hub_usual_limits;

typedef struct cp_hub_client {
    const cp_hub_settings *settings; /* borrowed, as the two below */
    const cp_hub_limits *limits;
    const atomic_bool *stop;
    cp_http_client *http;
} cp_hub_client;

cp_status cp_hub_client_init(const cp_hub_settings *settings, const cp_hub_limits *limits,
                             const atomic_bool *stop, cp_hub_client *out,
                             cp_error *err) CP_MUST_CHECK;
void cp_hub_client_deinit(cp_hub_client *client);

/* A file on the hub; the names were checked (hub_names.h). */
typedef struct cp_hub_place {
    const char *repo, *revision, *file;
} cp_hub_place;

typedef struct cp_hub_answer {
    cp_http_answer http;  /* of the last hop */
    cp_hub_fields fields; /* of all hops at the hub itself */
    bool elsewhere;       /* the last hop was at another server */
} cp_hub_answer;
void cp_hub_answer_deinit(cp_hub_answer *answer);

typedef struct cp_hub_call {
    bool is_head;
    uint64_t from;      /* GET: bytes before it are here already */
    uint64_t max_bytes; /* of the body */
    /* GET: told of the answer with status 200 or 206 before its first byte, then of its bytes;
     * false ends the request. */
    bool (*on_head)(void *user, const cp_hub_answer *answer);
    bool (*on_body)(void *user, cp_str bytes);
    void *user;
} cp_hub_call;

/* One try. CP_OK when an answer came that is no redirect to follow, whatever its status. *answer is
 * initialised here and released by the caller, also after failure. */
cp_status cp_hub_send(const cp_hub_client *client, const cp_hub_place *place,
                      const cp_hub_call *call, cp_hub_answer *answer, cp_error *err) CP_MUST_CHECK;

/* Whether the same request may bring more later; `status` is cp_hub_send's. */
bool cp_hub_may_retry(cp_status status, const cp_hub_answer *answer);
/* Waits before the next try, `n_tries` having brought nothing; false when there shall be none. */
bool cp_hub_pause(const cp_hub_client *client, const cp_hub_answer *answer, unsigned n_tries);

/* What the file is. CP_ERR_NOT_FOUND: no such repository, revision or file; answer->http.status
 * tells more. Tries again where that may help. */
cp_status cp_hub_head(const cp_hub_client *client, const cp_hub_place *place, cp_hub_answer *answer,
                      cp_error *err) CP_MUST_CHECK;

/* hub_refusal.c: one sentence for an answer that brought no file, what to do included. `status` and
 * *err are cp_hub_send's. Returns the new status. */
cp_status cp_hub_refuse(const cp_hub_client *client, const cp_hub_place *place,
                        const cp_hub_answer *answer, cp_status status, cp_error *err);

#endif
