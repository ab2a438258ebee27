/* Addresses, networks, and who asks when a proxy stands in front: what X-Forwarded-For and
 * X-Forwarded-Proto are worth.
 *
 * Anybody can send these headers, so they count only when the peer itself is a trusted proxy, and
 * of the list only what trusted proxies wrote: it is read from its end, up to the first address
 * that is none of them. An address is a patient identifier: it is not logged. Plain values; any
 * thread. */
#ifndef CP_SERVER_HTTP_PROXY_H
#define CP_SERVER_HTTP_PROXY_H

#include "base/strbuf.h"

#define CP_ADDRESS_CAP   46 /* of the longest text */
#define CP_NETWORKS_MAX  64
#define CP_FORWARDED_CAP 512

struct sockaddr;

typedef struct cp_address {
    unsigned char bytes[16]; /* IPv6; IPv4 is ::ffff:a.b.c.d */
} cp_address;

/* "192.0.2.1", "2001:db8::1", also "192.0.2.1:80" and "[2001:db8::1]:80"; no names. */
bool cp_address_parse(cp_str text, cp_address *out) CP_MUST_CHECK;
/* All zeros for what is no internet address. */
cp_address cp_address_of(const struct sockaddr *socket);
void cp_address_text(const cp_address *address, char out[CP_ADDRESS_CAP]);
bool cp_address_is_loopback(const cp_address *address);
/* "localhost" or a numeric loopback address, with or without port: nothing that a name server could
 * change. */
bool cp_host_is_loopback(const char *host);

typedef struct cp_networks {
    struct cp_network {
        cp_address address;
        unsigned n_bits; /* 0 to 128 */
    } networks[CP_NETWORKS_MAX];
    size_t n;
} cp_networks;

/* "10.0.0.0/8, fd00::/8, 192.0.2.7"; bits behind the prefix must be 0. An error names `source` and
 * the entry. */
cp_status cp_networks_parse(const char *text, const char *source, cp_networks *out,
                            cp_error *err) CP_MUST_CHECK;
bool cp_networks_contain(const cp_networks *networks, const cp_address *address);

/* The end of a list that comes in several header lines, joined by commas; what does not fit is lost
 * from its front. "" to begin with. */
void cp_forwarded_add(char list[CP_FORWARDED_CAP], const char *value);

/* Who asks: `peer`, or by a trusted peer's X-Forwarded-For the nearest that is no trusted proxy. */
cp_address cp_forwarded_client(const cp_networks *trusted, const cp_address *peer,
                               const char *forwarded_for);
/* Whether a trusted peer says that the client spoke HTTPS: the last word of X-Forwarded-Proto. */
bool cp_forwarded_https(const cp_networks *trusted, const cp_address *peer,
                        const char *forwarded_proto);

#endif
