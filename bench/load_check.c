#include "bench/load_check.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX      (3 * CP_LOAD_ANSWER_BYTES + 3)
#define CONNECT_MAX_S 10.0

cp_http_call cp_load_call(const cp_load_plan *plan, size_t k) {
    static const cp_http_field whole[] = {{"Content-Type", "application/json"},
                                          {"Accept", "application/json"}};
    static const cp_http_field stream[] = {{"Content-Type", "application/json"},
                                           {"Accept", "text/event-stream"}};
    const char *body = plan->requests->bodies[k];
    bool get = cp_load_target_is_probe(plan->target);
    return (cp_http_call){
        .method = get ? "GET" : "POST",
        .url = plan->url,
        .fields = plan->stream ? stream : whole,
        .n_fields = get ? 0 : CP_COUNT_OF(whole),
        .bearer = plan->bearer,
        .body = {body, strlen(body)},
        .connect_s = plan->timeout_s < CONNECT_MAX_S ? plan->timeout_s : CONNECT_MAX_S,
        .total_s = plan->timeout_s,
        .max_bytes = SIZE_MAX, /* the answer's reader has limits of its own */
    };
}

/* ---- alone ----------------------------------------------------------------------------------- */

static bool on_body(void *user, int status, cp_str bytes) {
    return cp_load_answer_feed(user, status, bytes);
}

static cp_status ask(cp_http_client *client, const cp_load_plan *plan, size_t k,
                     cp_load_answer *answer, cp_strbuf *text, cp_error *err) {
    cp_http_answer http;
    cp_http_call call = cp_load_call(plan, k);
    call.on_body = on_body;
    call.user = answer;
    cp_load_answer_begin(answer);
    cp_status status = cp_http_client_send(client, &call, &http, err);
    bool answered = cp_load_answer_end(answer, http.end, http.status);
    if (status == CP_OK || answer->code[0])
        status = answered ? CP_OK
                          : cp_error_set(err, CP_ERR_IO,
                                         "%s: request %zu, asked alone before the load: status "
                                         "%d, %s",
                                         plan->server.origin, k + 1, http.status, answer->code);
    cp_http_answer_deinit(&http);
    if (status == CP_OK)
        cp_load_answer_text(answer, text);
    return status == CP_OK ? cp_strbuf_check(text, "answer", err) : status;
}

static cp_status ask_all(cp_load_check *c, const cp_load_plan *plan, cp_error *err) {
    cp_http_client *client;
    cp_load_answer answer;
    cp_status status = cp_http_client_create(&client, err);
    cp_load_answer_init(&answer, plan->target, plan->stream);
    for (size_t k = 0; k < c->n && status == CP_OK; k++) {
        status = ask(client, plan, k, &answer, &c->single[k], err);
        memcpy(c->degraded[k], answer.degraded, sizeof answer.degraded);
    }
    cp_load_answer_deinit(&answer);
    cp_http_client_free(client);
    return status;
}

cp_status cp_load_check_init(cp_load_check *c, const cp_load_plan *plan, cp_error *err) {
    *c = (cp_load_check){.n = 0};
    cp_strbuf_init(&c->scratch, TEXT_MAX);
    if (!plan->check)
        return CP_OK;
    size_t n = plan->requests->n;
    c->single = calloc(n, sizeof *c->single);
    c->first = calloc(n, sizeof *c->first);
    c->degraded = calloc(n, sizeof *c->degraded);
    if (!c->single || !c->first || !c->degraded)
        return cp_error_no_memory(err, "answers to compare with");
    c->n = n;
    for (size_t k = 0; k < n; k++) {
        cp_strbuf_init(&c->single[k], TEXT_MAX);
        cp_strbuf_init(&c->first[k], TEXT_MAX);
    }
    return ask_all(c, plan, err);
}

void cp_load_check_deinit(cp_load_check *c) {
    for (size_t k = 0; k < c->n; k++) {
        cp_strbuf_deinit(&c->single[k]);
        cp_strbuf_deinit(&c->first[k]);
    }
    free(c->single);
    free(c->first);
    free(c->degraded);
    cp_strbuf_deinit(&c->scratch);
    *c = (cp_load_check){.n = 0};
}

/* ---- under load ------------------------------------------------------------------------------ */

cp_status cp_load_check_answer(cp_load_check *c, size_t k, const cp_load_answer *answer,
                               cp_load_result *result, cp_error *err) {
    if (c->n == 0 || strcmp(answer->degraded, c->degraded[k]) != 0)
        return CP_OK;
    cp_strbuf_clear(&c->scratch);
    cp_load_answer_text(answer, &c->scratch);
    cp_status status = cp_strbuf_check(&c->scratch, "answer", err);
    if (status != CP_OK)
        return status;
    cp_str text = cp_strbuf_str(&c->scratch);
    if (c->first[k].n == 0) {
        cp_strbuf_append(&c->first[k], text.data, text.n);
        status = cp_strbuf_check(&c->first[k], "answer", err);
    }
    result->n_compared++;
    result->n_unlike_single += !cp_str_equal(text, cp_strbuf_str(&c->single[k]));
    result->n_unlike_first += !cp_str_equal(text, cp_strbuf_str(&c->first[k]));
    return status;
}
