#include "hub/hub_client.h"

#include "base/crypto.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MAX_URL       ((size_t)16 << 10)
#define SIDE_BYTES    ((uint64_t)1 << 20) /* of a page that comes with a redirect or a refusal */
#define HEAD_TOTAL_S  60
#define PAUSE_DOUBLES 4
#define NAP_S         0.05

const cp_hub_limits cp_hub_usual_limits = {
    .connect_s = 15, .stall_s = 30, .max_tries = 5, .pause_s = 0.5, .max_wait_s = 300};

cp_status cp_hub_client_init(const cp_hub_settings *settings, const cp_hub_limits *limits,
                             const atomic_bool *stop, cp_hub_client *out, cp_error *err) {
    *out = (cp_hub_client){.settings = settings, .limits = limits, .stop = stop};
    return cp_http_client_create(&out->http, err);
}

void cp_hub_client_deinit(cp_hub_client *client) {
    cp_http_client_free(client->http);
    client->http = NULL;
}

void cp_hub_answer_deinit(cp_hub_answer *answer) {
    cp_http_answer_deinit(&answer->http);
}

/* ---- one hop --------------------------------------------------------------------------------- */

typedef struct hop {
    const cp_hub_call *call;
    cp_hub_answer *answer;
    bool begun; /* on_head was called */
} hop;

static bool is_content(const cp_http_answer *answer) {
    return answer->status == 200 || answer->status == 206;
}

/* The hub's own word counts before another server's. */
static void add_fields(cp_hub_answer *answer) {
    if (!answer->elsewhere || !answer->fields.has_etag)
        cp_hub_fields_add(&answer->fields, &answer->http);
}

static bool begin_body(hop *h) {
    h->begun = true;
    add_fields(h->answer);
    return h->call->on_head(h->call->user, h->answer);
}

/* Bodies of redirects and refusals are read and dropped, so that the connection stays usable. */
static bool on_body(void *user, int status, cp_str bytes) {
    hop *h = user;
    h->answer->http.status = status;
    if (!is_content(&h->answer->http))
        return true;
    return (h->begun || begin_body(h)) && h->call->on_body(h->call->user, bytes);
}

static cp_status send_hop(const cp_hub_client *client, const char *url, const char *token, hop *h,
                          cp_error *err) {
    char range[64];
    const cp_hub_call *call = h->call;
    cp_http_field fields[2] = {{"Accept-Encoding", "identity"}, {"Range", range}};
    snprintf(range, sizeof range, "bytes=%llu-", (unsigned long long)call->from);
    const cp_http_call request = {
        .method = call->is_head ? "HEAD" : "GET",
        .url = url,
        .fields = fields,
        .n_fields = call->from > 0 ? 2 : 1,
        .bearer = *token ? token : NULL,
        .connect_s = client->limits->connect_s,
        .total_s = call->is_head ? HEAD_TOTAL_S : 0,
        .stall_s = client->limits->stall_s,
        .max_bytes = (size_t)(call->max_bytes + SIDE_BYTES),
        .use_proxy = !client->settings->is_local,
        .on_body = on_body,
        .user = h,
    };
    cp_status status = cp_http_client_send(client->http, &request, &h->answer->http, err);
    if (status == CP_OK && !h->begun) {
        if (!call->is_head && is_content(&h->answer->http))
            return begin_body(h) ? CP_OK : cp_error_set(err, CP_ERR_CANCELLED, "given up");
        add_fields(h->answer);
    }
    return status;
}

/* ---- hops ------------------------------------------------------------------------------------ */

/* ENDPOINT/REPO/resolve/REVISION/FILE; a revision's slashes are no path. */
static cp_status put_url(const cp_hub_client *client, const cp_hub_place *place, cp_strbuf *url,
                         cp_error *err) {
    cp_strbuf_printf(url, "%s/%s/resolve/", client->settings->endpoint, place->repo);
    for (const char *at = place->revision; *at; at++) {
        if (*at == '/')
            cp_strbuf_puts(url, "%2F");
        else
            cp_strbuf_putc(url, *at);
    }
    cp_strbuf_printf(url, "/%s", place->file);
    return cp_strbuf_check(url, "URL", err);
}

static bool is_redirect(int status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool same_origin(const cp_http_url *a, const cp_http_url *b) {
    return strcasecmp(a->origin, b->origin) == 0;
}

/* Where the answer leads, into `url`; *at becomes its parts. */
static cp_status follow(const cp_hub_client *client, const cp_http_answer *answer, cp_strbuf *url,
                        cp_http_url *at, cp_error *err) {
    cp_str location;
    cp_strbuf next;
    cp_http_url from = *at;
    if (!cp_http_answer_field(answer, "Location", &location) || location.n == 0)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: redirects (%d) without saying where to",
                            from.origin, answer->status);
    cp_strbuf_init(&next, MAX_URL);
    cp_status status = cp_http_url_follow(cp_strbuf_text(url), location, &next, err);
    if (status == CP_OK)
        status = cp_http_url_parse("redirect", cp_strbuf_text(&next), at, err);
    if (status == CP_OK && !cp_hub_may_ask(client->settings, at->tls, at->host))
        status = cp_error_set(err, CP_ERR_FORMAT, "%s: redirects to %s, and only https is followed",
                              from.origin, at->origin);
    cp_strbuf_clear(url);
    cp_strbuf_append(url, next.data, next.n);
    cp_strbuf_deinit(&next);
    return status == CP_OK ? cp_strbuf_check(url, "URL", err) : status;
}

/* From hop to hop; *url is the first one's. */
static cp_status send_hops(const cp_hub_client *client, const cp_hub_call *call, cp_strbuf *url,
                           cp_hub_answer *answer, cp_error *err) {
    cp_http_url hub, at;
    const char *token = client->settings->token;
    cp_status status = cp_http_url_parse("HF_ENDPOINT", cp_strbuf_text(url), &hub, err);
    at = hub;
    for (int n = 0; status == CP_OK; n++) {
        hop h = {.call = call, .answer = answer};
        cp_http_answer_deinit(&answer->http);
        answer->elsewhere = !same_origin(&at, &hub);
        status = send_hop(client, cp_strbuf_text(url), token, &h, err);
        if (status != CP_OK || !is_redirect(answer->http.status))
            return status;
        if (n == CP_HUB_MAX_HOPS)
            return cp_error_set(err, CP_ERR_FORMAT,
                                "%s: redirects more than %d times; try again, or check HF_ENDPOINT",
                                hub.origin, CP_HUB_MAX_HOPS);
        status = follow(client, &answer->http, url, &at, err);
        if (status == CP_OK && !same_origin(&at, &hub)) {
            token = "";
            if (call->is_head && answer->fields.has_etag)
                return CP_OK;
        }
    }
    return status;
}

cp_status cp_hub_send(const cp_hub_client *client, const cp_hub_place *place,
                      const cp_hub_call *call, cp_hub_answer *answer, cp_error *err) {
    cp_strbuf url;
    *answer = (cp_hub_answer){.http = {.end = CP_HTTP_BROKEN}};
    if (atomic_load(client->stop))
        return cp_error_set(err, CP_ERR_CANCELLED, "the pull was stopped");
    cp_strbuf_init(&url, MAX_URL);
    cp_status status = put_url(client, place, &url, err);
    if (status == CP_OK)
        status = send_hops(client, call, &url, answer, err);
    cp_strbuf_deinit(&url);
    return status;
}

/* ---- once more ------------------------------------------------------------------------------- */

bool cp_hub_may_retry(cp_status status, const cp_hub_answer *answer) {
    int code = answer->http.status;
    switch (answer->http.end) {
    case CP_HTTP_WHOLE:
        /* Elsewhere means by a signed URL, which expires: the next try gets a new one. */
        return status == CP_OK &&
               (code == 408 || code == 429 || code >= 500 || (answer->elsewhere && code >= 400));
    case CP_HTTP_NO_CONNECTION:
    case CP_HTTP_TIMED_OUT:
    case CP_HTTP_CUT:
        return true;
    default:
        return false;
    }
}

/* A random part of it, so that many clients do not come back at the same moment. */
static double own_pause_s(const cp_hub_limits *limits, unsigned n_tries) {
    uint32_t random = UINT32_MAX / 2;
    unsigned doubles = n_tries > PAUSE_DOUBLES ? PAUSE_DOUBLES : n_tries;
    if (cp_random_bytes(&random, sizeof random, NULL) != CP_OK)
        random = UINT32_MAX / 2;
    return limits->pause_s * (double)(1u << doubles) * (0.5 + 0.5 * (double)random / UINT32_MAX);
}

bool cp_hub_pause(const cp_hub_client *client, const cp_hub_answer *answer, unsigned n_tries) {
    double left = cp_hub_retry_after_s(&answer->http);
    if (n_tries >= client->limits->max_tries || left > client->limits->max_wait_s)
        return false;
    if (left < 0)
        left = own_pause_s(client->limits, n_tries);
    for (; left > 0; left -= NAP_S) {
        double s = left < NAP_S ? left : NAP_S;
        const struct timespec nap = {0, (long)(s * 1e9)};
        if (atomic_load(client->stop))
            return false;
        nanosleep(&nap, NULL);
    }
    return true;
}

cp_status cp_hub_head(const cp_hub_client *client, const cp_hub_place *place, cp_hub_answer *answer,
                      cp_error *err) {
    const cp_hub_call call = {.is_head = true};
    for (unsigned tries = 1;; tries++) {
        cp_status status = cp_hub_send(client, place, &call, answer, err);
        if (status == CP_OK && (answer->http.status == 200 || is_redirect(answer->http.status)))
            return CP_OK;
        if (!cp_hub_may_retry(status, answer) || !cp_hub_pause(client, answer, tries))
            return cp_hub_refuse(client, place, answer, status, err);
        cp_hub_answer_deinit(answer);
    }
}
