/* Time: a monotonic clock for durations and deadlines, and the calendar for logs. */
#ifndef CP_BASE_CLOCK_H
#define CP_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Nanoseconds since some fixed moment; never goes back. */
uint64_t cp_clock_ns(void);
static inline double cp_clock_ms_since(uint64_t start_ns) {
    return (double)(cp_clock_ns() - start_ns) / 1e6;
}
/* "2026-11-21T10:50:00.123Z" and a NUL: 25 bytes. */
#define CP_CLOCK_STAMP_CAP 32
void cp_clock_stamp(char out[CP_CLOCK_STAMP_CAP]);

#endif
