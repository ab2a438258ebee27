#include "base/clock.h"

#include <stdio.h>
#include <time.h>

uint64_t cp_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void cp_clock_stamp(char out[CP_CLOCK_STAMP_CAP]) {
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(out, CP_CLOCK_STAMP_CAP, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + n, CP_CLOCK_STAMP_CAP - n, ".%03ldZ", now.tv_nsec / 1000000);
}
