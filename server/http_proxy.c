#include "server/http_proxy.h"

#include "base/args.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff}; /* before an IPv4 address */

static cp_str trim(cp_str text) {
    while (text.n > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = (cp_str){text.data + 1, text.n - 1};
    while (text.n > 0 && (text.data[text.n - 1] == ' ' || text.data[text.n - 1] == '\t'))
        text.n--;
    return text;
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* `text` without brackets and port. */
static bool parse_bare(cp_str text, cp_address *out) {
    char copy[CP_ADDRESS_CAP];
    if (text.n >= sizeof copy || memchr(text.data, '\0', text.n))
        return false;
    memcpy(copy, text.data, text.n);
    copy[text.n] = '\0';
    memcpy(out->bytes, mapped, sizeof mapped);
    return inet_pton(AF_INET, copy, out->bytes + sizeof mapped) == 1 ||
           inet_pton(AF_INET6, copy, out->bytes) == 1;
}

static bool is_port(cp_str text) {
    size_t n = text.n;
    for (size_t i = 0; i < n; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    return n > 0 && n <= 5;
}

bool cp_address_parse(cp_str text, cp_address *out) {
    *out = (cp_address){{0}};
    if (text.n == 0)
        return false;
    if (text.data[0] == '[') {
        const char *end = memchr(text.data, ']', text.n);
        if (!end)
            return false;
        cp_str rest = {end + 1, text.n - (size_t)(end + 1 - text.data)};
        if (rest.n > 0 && (rest.data[0] != ':' || !is_port((cp_str){rest.data + 1, rest.n - 1})))
            return false;
        return parse_bare((cp_str){text.data + 1, (size_t)(end - text.data) - 1}, out);
    }
    const char *colon = memchr(text.data, ':', text.n);
    size_t before = colon ? (size_t)(colon - text.data) : text.n;
    bool has_port = colon && is_port((cp_str){colon + 1, text.n - before - 1}) &&
                    memchr(text.data, '.', before);
    return parse_bare(has_port ? (cp_str){text.data, before} : text, out);
}

cp_address cp_address_of(const struct sockaddr *socket) {
    cp_address address = {{0}};
    if (socket && socket->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, socket, sizeof v4);
        memcpy(address.bytes, mapped, sizeof mapped);
        memcpy(address.bytes + sizeof mapped, &v4.sin_addr, 4);
    } else if (socket && socket->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, socket, sizeof v6);
        memcpy(address.bytes, &v6.sin6_addr, 16);
    }
    return address;
}

static bool is_v4(const cp_address *address) {
    return memcmp(address->bytes, mapped, sizeof mapped) == 0;
}

void cp_address_text(const cp_address *address, char out[CP_ADDRESS_CAP]) {
    bool v4 = is_v4(address);
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, address->bytes + (v4 ? sizeof mapped : 0), out,
                   CP_ADDRESS_CAP))
        out[0] = '\0';
}

bool cp_address_is_loopback(const cp_address *address) {
    static const unsigned char one[16] = {[15] = 1};
    return is_v4(address) ? address->bytes[12] == 127 : memcmp(address->bytes, one, 16) == 0;
}

bool cp_host_is_loopback(const char *host) {
    static const char name[] = "localhost";
    cp_address address;
    size_t n = sizeof name - 1;
    if (strncasecmp(host, name, n) == 0)
        return !host[n] ||
               (host[n] == ':' && is_port((cp_str){host + n + 1, strlen(host) - n - 1}));
    return cp_address_parse((cp_str){host, strlen(host)}, &address) &&
           cp_address_is_loopback(&address);
}

/* ---- networks -------------------------------------------------------------------------------- */

/* Whether the first n_bits are equal. */
static bool same_prefix(const cp_address *a, const cp_address *b, unsigned n_bits) {
    unsigned whole = n_bits / 8, rest = n_bits % 8;
    if (memcmp(a->bytes, b->bytes, whole) != 0)
        return false;
    return rest == 0 || (a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest) == 0;
}

static bool bits_behind_are_zero(const struct cp_network *network) {
    for (unsigned bit = network->n_bits; bit < 128; bit++)
        if (network->address.bytes[bit / 8] >> (7 - bit % 8) & 1)
            return false;
    return true;
}

static bool parse_network(cp_str entry, struct cp_network *out) {
    const char *slash = memchr(entry.data, '/', entry.n);
    cp_str address = {entry.data, slash ? (size_t)(slash - entry.data) : entry.n};
    if (!parse_bare(address, &out->address))
        return false;
    int64_t most = is_v4(&out->address) ? 32 : 128, n_bits = most;
    if (slash) {
        char digits[4] = "";
        size_t n = entry.n - address.n - 1;
        if (n >= sizeof digits)
            return false;
        memcpy(digits, slash + 1, n);
        if (strspn(digits, "0123456789") != n || !cp_args_int(digits, 0, (double)most, &n_bits))
            return false;
    }
    out->n_bits = (unsigned)(n_bits + 128 - most);
    return bits_behind_are_zero(out);
}

cp_status cp_networks_parse(const char *text, const char *source, cp_networks *out, cp_error *err) {
    out->n = 0;
    for (const char *at = text + strspn(text, ", "); *at; at += strspn(at, ", ")) {
        cp_str entry = {at, strcspn(at, ", ")};
        if (out->n == CP_NETWORKS_MAX)
            return cp_error_set(err, CP_ERR_USAGE, "%s has more than %d networks", source,
                                CP_NETWORKS_MAX);
        if (!parse_network(entry, &out->networks[out->n++]))
            return cp_error_set(err, CP_ERR_USAGE,
                                "%s: \"%.*s\" is no network, expected an address with a prefix, "
                                "such as 10.0.0.0/8, and zeros behind it",
                                source, (int)(entry.n < 64 ? entry.n : 64), entry.data);
        at += entry.n;
    }
    return CP_OK;
}

bool cp_networks_contain(const cp_networks *networks, const cp_address *address) {
    for (size_t i = 0; i < networks->n; i++)
        if (same_prefix(&networks->networks[i].address, address, networks->networks[i].n_bits))
            return true;
    return false;
}

/* ---- what proxies say ------------------------------------------------------------------------ */

void cp_forwarded_add(char list[CP_FORWARDED_CAP], const char *value) {
    char joined[CP_FORWARDED_CAP];
    size_t had = strlen(list), n = strlen(value), comma = had > 0;
    if (n > CP_FORWARDED_CAP - 1) {
        value += n - (CP_FORWARDED_CAP - 1);
        n = CP_FORWARDED_CAP - 1;
    }
    size_t room = CP_FORWARDED_CAP - 1 - n; /* for what was there, with its comma */
    size_t keep = had + comma <= room ? had : room > comma ? room - comma : 0;
    if (keep == 0)
        comma = 0;
    memcpy(joined, list + had - keep, keep);
    if (comma)
        joined[keep] = ',';
    memcpy(joined + keep + comma, value, n + 1);
    memcpy(list, joined, keep + comma + n + 1);
}

/* Takes the last entry off the list; false when there is none. */
static bool take_last(cp_str *list, cp_str *entry) {
    if (!list->data)
        return false;
    size_t start = list->n;
    while (start > 0 && list->data[start - 1] != ',')
        start--;
    *entry = trim((cp_str){list->data + start, list->n - start});
    *list = start > 0 ? (cp_str){list->data, start - 1} : (cp_str){NULL, 0};
    return true;
}

cp_address cp_forwarded_client(const cp_networks *trusted, const cp_address *peer,
                               const char *forwarded_for) {
    cp_address client = *peer, next;
    cp_str list = {forwarded_for, strlen(forwarded_for)}, entry;
    while (cp_networks_contain(trusted, &client) && take_last(&list, &entry) &&
           cp_address_parse(entry, &next))
        client = next;
    return client;
}

bool cp_forwarded_https(const cp_networks *trusted, const cp_address *peer,
                        const char *forwarded_proto) {
    cp_str list = {forwarded_proto, strlen(forwarded_proto)}, last;
    return cp_networks_contain(trusted, peer) && take_last(&list, &last) && last.n == 5 &&
           strncasecmp(last.data, "https", 5) == 0;
}
