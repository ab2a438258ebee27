#include "server/circuit_breaker.h"

void cp_breaker_init(cp_breaker *breaker, const cp_breaker_config *config) {
    *breaker = (cp_breaker){.config = *config, .era = 1};
    pthread_mutex_init(&breaker->lock, NULL);
}

void cp_breaker_deinit(cp_breaker *breaker) {
    pthread_mutex_destroy(&breaker->lock);
}

static void enter(cp_breaker *breaker, cp_breaker_state state) {
    breaker->state = state;
    breaker->n_failures = 0;
    breaker->era++;
}

uint64_t cp_breaker_ask(cp_breaker *breaker, uint64_t now_ns) {
    uint64_t ticket = 0;
    pthread_mutex_lock(&breaker->lock);
    if (breaker->state == CP_BREAKER_CLOSED) {
        ticket = breaker->era;
    } else if (breaker->state == CP_BREAKER_OPEN && now_ns >= breaker->until_ns) {
        enter(breaker, CP_BREAKER_HALF_OPEN); /* this caller is the probe */
        ticket = breaker->era;
    }
    pthread_mutex_unlock(&breaker->lock);
    return ticket;
}

static void open_for(cp_breaker *breaker, uint64_t pause_ns, uint64_t now_ns) {
    uint64_t longest = breaker->config.max_pause_ns;
    breaker->pause_ns = pause_ns < longest ? pause_ns : longest;
    breaker->until_ns = now_ns + breaker->pause_ns;
    enter(breaker, CP_BREAKER_OPEN);
}

static void count_failure(cp_breaker *breaker, uint64_t now_ns) {
    if (breaker->state == CP_BREAKER_HALF_OPEN)
        open_for(breaker, 2 * breaker->pause_ns, now_ns);
    else if (++breaker->n_failures >= breaker->config.max_failures)
        open_for(breaker, breaker->config.pause_ns, now_ns);
}

bool cp_breaker_report(cp_breaker *breaker, uint64_t ticket, bool success, uint64_t now_ns) {
    pthread_mutex_lock(&breaker->lock);
    uint64_t before = breaker->era;
    if (ticket == before) { /* a ticket of an earlier era is late */
        if (!success)
            count_failure(breaker, now_ns);
        else if (breaker->state == CP_BREAKER_HALF_OPEN)
            enter(breaker, CP_BREAKER_CLOSED);
        else
            breaker->n_failures = 0;
    }
    bool changed = breaker->era != before;
    pthread_mutex_unlock(&breaker->lock);
    return changed;
}

cp_breaker_state cp_breaker_get_state(cp_breaker *breaker) {
    pthread_mutex_lock(&breaker->lock);
    cp_breaker_state state = breaker->state;
    pthread_mutex_unlock(&breaker->lock);
    return state;
}

uint64_t cp_breaker_left_ns(cp_breaker *breaker, uint64_t now_ns) {
    pthread_mutex_lock(&breaker->lock);
    bool waits = breaker->state == CP_BREAKER_OPEN && breaker->until_ns > now_ns;
    uint64_t left = waits ? breaker->until_ns - now_ns : 0;
    pthread_mutex_unlock(&breaker->lock);
    return left;
}
