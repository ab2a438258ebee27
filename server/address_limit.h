/* How often one address may ask, for those whom no key tells apart.
 *
 * A token bucket an address (IPv6: a network of 64 bits, which one customer has whole), in a table
 * of fixed size. An address falls into a set of a few places by a hash that nobody outside can
 * foretell; where the set is full the one that has been quiet longest is forgotten, and begins
 * afresh with a full bucket. So memory is bounded, and whoever has thousands of addresses gets
 * past, as past any limit by address. One thread at a time. Addresses are patients' identifiers:
 * they are in no log. */
#ifndef CP_SERVER_ADDRESS_LIMIT_H
#define CP_SERVER_ADDRESS_LIMIT_H

#include "server/http_proxy.h"
#include "server/rate_limit.h"

#define CP_ADDRESS_PLACES     4096
#define CP_ADDRESS_SET_PLACES 8

typedef struct cp_address_limit cp_address_limit;
cp_status cp_address_limit_create(cp_address_limit **out, cp_error *err) CP_MUST_CHECK;
void cp_address_limit_free(cp_address_limit *limit); /* NULL is allowed */

/* Takes one of the address's requests, of which per_minute (1 to CP_RATE_MAX) come back in a minute
 * and as many may come at once; false: none is left for *retry_after_s seconds. */
bool cp_address_limit_take(cp_address_limit *limit, const cp_address *client, uint64_t per_minute,
                           uint64_t now_ns, int *retry_after_s);

#endif
