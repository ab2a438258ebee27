/* A circuit breaker: when a dependency fails again and again, stop asking it for a while.
 *
 *     closed --(max_failures in a row)--> open --(its pause is over)--> half open: one probe
 *       ^                                  ^                                |        |
 *       +------------- success ------------|--------------------------------+        |
 *                                          +------- failure, pause doubled ----------+
 *
 * Time is an argument, so that tests can make it pass. Any thread; a call takes a short lock and
 * never waits for the dependency. Answers that come late, to questions asked in an earlier state,
 * change nothing. */
#ifndef CP_SERVER_CIRCUIT_BREAKER_H
#define CP_SERVER_CIRCUIT_BREAKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum cp_breaker_state {
    CP_BREAKER_CLOSED,
    CP_BREAKER_OPEN,
    CP_BREAKER_HALF_OPEN,
} cp_breaker_state;

typedef struct cp_breaker_config {
    unsigned max_failures;           /* in a row, at least 1 */
    uint64_t pause_ns, max_pause_ns; /* the first pause, and what doubling ends at */
} cp_breaker_config;

typedef struct cp_breaker {
    cp_breaker_config config;
    pthread_mutex_t lock;
    cp_breaker_state state;
    unsigned n_failures; /* in a row, while closed */
    uint64_t pause_ns, until_ns;
    uint64_t era; /* counts changes of state, from 1 */
} cp_breaker;

void cp_breaker_init(cp_breaker *breaker, const cp_breaker_config *config);
void cp_breaker_deinit(cp_breaker *breaker);

/* May the dependency be asked now? 0: no. Else a ticket, to be handed to cp_breaker_report. */
uint64_t cp_breaker_ask(cp_breaker *breaker, uint64_t now_ns);
/* What became of it. True when this changed the state, for a line in the log. */
bool cp_breaker_report(cp_breaker *breaker, uint64_t ticket, bool success, uint64_t now_ns);

cp_breaker_state cp_breaker_get_state(cp_breaker *breaker);
/* Until a probe is allowed: 0 unless open. */
uint64_t cp_breaker_left_ns(cp_breaker *breaker, uint64_t now_ns);

#endif
