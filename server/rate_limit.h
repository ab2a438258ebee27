/* A token bucket in whole numbers: the same requests at the same times get the same answers.
 *
 * A bucket holds up to `burst` requests and gains `rate_per_minute` a minute, smoothly. Its level
 * counts in sixty-thousand-millionths of a request, of which a nanosecond brings exactly
 * rate_per_minute, so nothing is ever rounded. A plain value; its owner locks. */
#ifndef CP_SERVER_RATE_LIMIT_H
#define CP_SERVER_RATE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define CP_RATE_MAX 1000000 /* of rate_per_minute and burst */

typedef struct cp_rate_limit {
    uint64_t level, since_ns; /* as of this moment */
} cp_rate_limit;

/* Full. */
cp_rate_limit cp_rate_limit_start(uint64_t burst, uint64_t now_ns);
/* Takes a request out, or tells in how many whole seconds (1 or more) there will be one. Rate and
 * burst may change between calls; both are 1 to CP_RATE_MAX. */
bool cp_rate_limit_take(cp_rate_limit *limit, uint64_t rate_per_minute, uint64_t burst,
                        uint64_t now_ns, int *retry_after_s);

#endif
