#include "server/rate_limit.h"

#define ONE       60000000000u /* a request; also the nanoseconds of a minute */
#define SECOND_NS 1000000000u

cp_rate_limit cp_rate_limit_start(uint64_t burst, uint64_t now_ns) {
    return (cp_rate_limit){.level = burst * ONE, .since_ns = now_ns};
}

static uint64_t divide_up(uint64_t a, uint64_t b) {
    return a / b + (a % b != 0);
}

/* At most 10^6 * 6 * 10^10, so nothing overflows: the time is compared before it is multiplied. */
static void fill(cp_rate_limit *limit, uint64_t rate, uint64_t burst, uint64_t now_ns) {
    uint64_t full = burst * ONE;
    uint64_t passed = now_ns > limit->since_ns ? now_ns - limit->since_ns : 0;
    if (limit->level >= full || passed >= divide_up(full - limit->level, rate))
        limit->level = full;
    else
        limit->level += passed * rate;
    limit->since_ns = now_ns;
}

bool cp_rate_limit_take(cp_rate_limit *limit, uint64_t rate_per_minute, uint64_t burst,
                        uint64_t now_ns, int *retry_after_s) {
    fill(limit, rate_per_minute, burst, now_ns);
    *retry_after_s = 0;
    if (limit->level >= ONE) {
        limit->level -= ONE;
        return true;
    }
    uint64_t wait_ns = divide_up(ONE - limit->level, rate_per_minute);
    *retry_after_s = (int)divide_up(wait_ns, SECOND_NS);
    return false;
}
