/* Slow clients: connections that hold a server's buffers and places.
 *
 * Each connects (http only, small receive buffer) and reads nothing; what it sends depends on its
 * kind. One that the server closes, or refuses, comes back a second later. */
#ifndef CP_BENCH_SLOW_CLIENTS_H
#define CP_BENCH_SLOW_CLIENTS_H

#include "base/http_client.h"

#include <netinet/in.h>
#include <sys/socket.h>

typedef enum cp_slow_kind {
    CP_SLOW_UNREAD, /* asks, and leaves the answer lying */
    CP_SLOW_SILENT, /* never sends a byte */
    CP_SLOW_DRIP,   /* sends its request a byte a second */
    CP_SLOW_N_KINDS,
} cp_slow_kind;

/* How many, of which kinds. */
typedef struct cp_slow_plan {
    size_t n;
    bool kinds[CP_SLOW_N_KINDS];
} cp_slow_plan;

typedef struct cp_slow_client {
    int fd; /* -1: none */
    cp_slow_kind kind;
    bool stands;      /* the connection was made */
    uint64_t next_ns; /* not opened, or not sent to, before this time */
    size_t n_sent;    /* bytes of the request */
} cp_slow_client;

typedef struct cp_slow_clients {
    cp_slow_client *clients; /* [n] */
    size_t n;
    cp_strbuf request;
    struct sockaddr_storage address;
    socklen_t address_n;
    size_t n_opened, n_refused, n_closed; /* connections; closed by the server */
} cp_slow_clients;

/* The kind of this name (unread, silent, drip), or CP_SLOW_N_KINDS. */
cp_slow_kind cp_slow_kind_of(const char *name);
const char *cp_slow_kind_name(cp_slow_kind kind);

/* Resolves the host and makes the request's bytes from the call; opens nothing yet. The plan's
 * kinds, of which there is at least one, are dealt out in turn. */
cp_status cp_slow_clients_init(cp_slow_clients *s, const cp_slow_plan *plan, const cp_http_url *url,
                               const cp_http_call *call, cp_error *err) CP_MUST_CHECK;
void cp_slow_clients_deinit(cp_slow_clients *s);
/* Opens what is missing, sends what is left to send, sees who was closed. Never waits; to be called
 * a few times a second. */
void cp_slow_clients_tend(cp_slow_clients *s);

#endif
