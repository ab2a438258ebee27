/* Time: a monotonic clock for durations and deadlines, and the calendar for logs. */
#ifndef CP_BASE_CLOCK_H
#define CP_BASE_CLOCK_H

#include "base/error.h"

#include <stdbool.h>
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

/* Seconds since 1970; may be set back or forth by whoever sets the machine's clock. */
int64_t cp_clock_unix_s(void);
/* "2026-11-21T10:50:00Z", nothing shorter or longer, years 1970 to 9999. */
#define CP_CLOCK_UTC_CAP 21
bool cp_clock_parse_utc(const char *text, int64_t *unix_s) CP_MUST_CHECK;
/* The same text; `unix_s` is one that a text can have. */
void cp_clock_format_utc(int64_t unix_s, char out[CP_CLOCK_UTC_CAP]);
/* Its date, "2026-11-21", in UTC. */
#define CP_CLOCK_DATE_CAP 11
void cp_clock_format_date(int64_t unix_s, char out[CP_CLOCK_DATE_CAP]);

#endif
