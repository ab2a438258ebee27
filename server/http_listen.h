/* A listening TCP socket, made by us so that what goes wrong has a sentence and port 0 has a
 * number. */
#ifndef CP_SERVER_HTTP_LISTEN_H
#define CP_SERVER_HTTP_LISTEN_H

#include "base/error.h"

#define CP_HTTP_ADDRESS_CAP 80

/* `address` becomes "127.0.0.1:8002" or "[::1]:8002". The caller closes *fd. */
cp_status cp_http_listen(const char *host, int port, int *fd, char address[CP_HTTP_ADDRESS_CAP],
                         cp_error *err) CP_MUST_CHECK;

#endif
