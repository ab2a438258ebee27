#include "server/http_listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 511

static cp_status resolve(const char *host, int port, struct addrinfo **out, cp_error *err) {
    char service[16];
    const struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
    };
    snprintf(service, sizeof service, "%d", port);
    int failed = getaddrinfo(host, service, &hints, out);
    if (failed)
        return cp_error_set(err, CP_ERR_IO, "HOST=%s: %s", host, gai_strerror(failed));
    return CP_OK;
}

static cp_status name_address(int fd, char address[CP_HTTP_ADDRESS_CAP], cp_error *err) {
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    char host[64], service[16];
    if (getsockname(fd, (struct sockaddr *)&bound, &size) != 0 ||
        getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return cp_error_set(err, CP_ERR_IO, "the listening socket has no address");
    snprintf(address, CP_HTTP_ADDRESS_CAP, bound.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
             service);
    return CP_OK;
}

cp_status cp_http_listen(const char *host, int port, int *fd, char address[CP_HTTP_ADDRESS_CAP],
                         cp_error *err) {
    struct addrinfo *found;
    cp_status status = resolve(host, port, &found, err);
    *fd = -1;
    if (status != CP_OK)
        return status;
    const int on = 1;
    *fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0 || setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(*fd, found->ai_addr, found->ai_addrlen) != 0 || listen(*fd, BACKLOG) != 0)
        status = cp_error_set(err, CP_ERR_IO, "cannot listen on %s port %d: %s%s", host, port,
                              strerror(errno),
                              errno == EADDRINUSE ? " (choose another with --port)" : "");
    else
        status = name_address(*fd, address, err);
    freeaddrinfo(found);
    if (status != CP_OK && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return status;
}
