#include "server/address_limit.h"

#include "base/crypto.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define N_SETS (CP_ADDRESS_PLACES / CP_ADDRESS_SET_PLACES)

typedef struct place {
    bool used;
    cp_address address;
    cp_rate_limit rate;
} place;

struct cp_address_limit {
    uint64_t seed; /* so that nobody can choose addresses that meet in a set */
    place sets[N_SETS][CP_ADDRESS_SET_PLACES];
};

cp_status cp_address_limit_create(cp_address_limit **out, cp_error *err) {
    *out = NULL;
    cp_address_limit *limit = calloc(1, sizeof *limit);
    if (!limit)
        return cp_error_no_memory(err, "the addresses' rates");
    cp_status status = cp_random_bytes(&limit->seed, sizeof limit->seed, err);
    if (status == CP_OK)
        *out = limit;
    else
        free(limit);
    return status;
}

void cp_address_limit_free(cp_address_limit *limit) {
    free(limit);
}

/* IPv4 whole; of IPv6 the network. */
static cp_address who(const cp_address *client) {
    static const unsigned char v4[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    cp_address address = *client;
    if (memcmp(address.bytes, v4, sizeof v4) != 0)
        memset(address.bytes + 8, 0, 8);
    return address;
}

static size_t set_of(const cp_address_limit *limit, const cp_address *address) {
    return XXH3_64bits_withSeed(address, sizeof *address, limit->seed) % N_SETS;
}

/* The address's place; a free one, or that of the address that asked longest ago, when it has none.
 */
static place *place_of(cp_address_limit *limit, const cp_address *address, uint64_t per_minute,
                       uint64_t now_ns) {
    place *set = limit->sets[set_of(limit, address)], *oldest = set;
    for (size_t i = 0; i < CP_ADDRESS_SET_PLACES; i++) {
        if (set[i].used && memcmp(&set[i].address, address, sizeof *address) == 0)
            return &set[i];
        if (oldest->used && (!set[i].used || set[i].rate.since_ns < oldest->rate.since_ns))
            oldest = &set[i];
    }
    *oldest =
        (place){.used = true, .address = *address, .rate = cp_rate_limit_start(per_minute, now_ns)};
    return oldest;
}

bool cp_address_limit_take(cp_address_limit *limit, const cp_address *client, uint64_t per_minute,
                           uint64_t now_ns, int *retry_after_s) {
    const cp_address address = who(client);
    place *mine = place_of(limit, &address, per_minute, now_ns);
    return cp_rate_limit_take(&mine->rate, per_minute, per_minute, now_ns, retry_after_s);
}
