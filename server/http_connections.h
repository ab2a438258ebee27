/* The open sockets and how long each may still take: what libmicrohttpd's idle timer does not see.
 *
 * Every connection is in one phase with one deadline. A reaper thread looks ten times a second,
 * answers 408 where a client was too slow with headers or body, and shuts the socket down; the HTTP
 * thread then notices and closes it. A client that sends one byte a second has no more time than
 * one that sends nothing. Near the limit the connection that has waited longest without a request
 * makes room, so that probes always get in. Refused uploads are drained a moment after our answer,
 * or the kernel would reset the connection and the client never read why.
 *
 * Descriptors belong to the HTTP library, which removes a connection here before it closes it; all
 * calls take the table's lock. It knows sockets only, no requests. */
#ifndef CP_SERVER_HTTP_CONNECTIONS_H
#define CP_SERVER_HTTP_CONNECTIONS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cp_connections cp_connections;
typedef struct cp_connection cp_connection;

typedef enum cp_phase {
    CP_PHASE_IDLE,     /* between requests */
    CP_PHASE_HEADERS,  /* new, or a request line has come */
    CP_PHASE_BODY,     /* headers are complete */
    CP_PHASE_HANDLING, /* ours to answer: no deadline here */
    CP_PHASE_SENDING,
} cp_phase;

typedef struct cp_connections_config {
    size_t max_connections;
    uint64_t header_ns, body_ns, idle_ns;
    bool is_tls;                 /* who is given up is told nothing */
    void (*on_tick)(void *user); /* from the reaper's thread, outside the lock; may be NULL */
    void *user;
} cp_connections_config;

cp_status cp_connections_create(const cp_connections_config *config, cp_connections **out,
                                cp_error *err) CP_MUST_CHECK;
/* Stops the reaper; every connection has been removed by then. */
void cp_connections_free(cp_connections *table);

/* NULL without memory: then this socket has no deadline, and the caller refuses its requests. */
cp_connection *cp_connections_add(cp_connections *table, int fd);
/* Before its descriptor is closed. */
void cp_connections_remove(cp_connections *table, cp_connection *connection);
/* After removal the socket is to be read for a moment longer, through a descriptor of our own. */
void cp_connections_drain_later(cp_connections *table, cp_connection *connection);
/* Enters a phase with its deadline; false when the reaper has already given this connection up. */
bool cp_connections_enter(cp_connections *table, cp_connection *connection, cp_phase phase);

/* True when the peer has closed or reset its side. A half-closed client counts as gone. */
bool cp_socket_peer_gone(int fd);
/* Writes what the socket takes at once: an error in JSON, outside the HTTP library. */
void cp_socket_send_error(int fd, int status, const char *code, const char *message);

#endif
