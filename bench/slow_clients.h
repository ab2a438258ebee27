/* Clients that ask and never read: connections that hold a server's buffers and places.
 *
 * Each connects (http only, small receive buffer), sends one whole request and then reads nothing.
 * One that the server closes, or refuses, comes back a second later. */
#ifndef CP_BENCH_SLOW_CLIENTS_H
#define CP_BENCH_SLOW_CLIENTS_H

#include "base/http_client.h"

#include <netinet/in.h>
#include <sys/socket.h>

typedef struct cp_slow_client {
    int fd; /* -1: none */
    uint64_t retry_ns;
    size_t n_sent; /* bytes of the request */
} cp_slow_client;

typedef struct cp_slow_clients {
    cp_slow_client *clients; /* [n] */
    size_t n;
    cp_strbuf request;
    struct sockaddr_storage address;
    socklen_t address_n;
    size_t n_opened, n_refused, n_closed; /* connections; closed by the server */
} cp_slow_clients;

/* Resolves the host and makes the request's bytes; opens nothing yet. `bearer` may be NULL. */
cp_status cp_slow_clients_init(cp_slow_clients *s, size_t n, const cp_http_url *url,
                               const char *method, const char *path, const char *bearer,
                               const char *body, cp_error *err) CP_MUST_CHECK;
void cp_slow_clients_deinit(cp_slow_clients *s);
/* Opens what is missing, sends what is left to send, sees who was closed. Never waits; to be called
 * a few times a second. */
void cp_slow_clients_tend(cp_slow_clients *s);

#endif
