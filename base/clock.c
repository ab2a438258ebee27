#include "base/clock.h"

#include <stdio.h>
#include <string.h>
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

int64_t cp_clock_unix_s(void) {
    return (int64_t)time(NULL);
}

void cp_clock_format_utc(int64_t unix_s, char out[CP_CLOCK_UTC_CAP]) {
    struct tm utc = {0};
    time_t seconds = (time_t)unix_s;
    gmtime_r(&seconds, &utc);
    if (strftime(out, CP_CLOCK_UTC_CAP, "%Y-%m-%dT%H:%M:%SZ", &utc) != CP_CLOCK_UTC_CAP - 1)
        out[0] = '\0';
}

void cp_clock_format_date(int64_t unix_s, char out[CP_CLOCK_DATE_CAP]) {
    char text[CP_CLOCK_UTC_CAP];
    cp_clock_format_utc(unix_s, text);
    memcpy(out, text, CP_CLOCK_DATE_CAP - 1);
    out[CP_CLOCK_DATE_CAP - 1] = '\0';
}

/* timegm takes the 30th of February for the 2nd of March: so what was read must be what would be
 * written. */
bool cp_clock_parse_utc(const char *text, int64_t *unix_s) {
    struct tm utc = {0};
    char again[CP_CLOCK_UTC_CAP];
    if (strlen(text) != CP_CLOCK_UTC_CAP - 1 ||
        sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ", &utc.tm_year, &utc.tm_mon, &utc.tm_mday,
               &utc.tm_hour, &utc.tm_min, &utc.tm_sec) != 6)
        return false;
    utc.tm_year -= 1900;
    utc.tm_mon -= 1;
    int64_t seconds = (int64_t)timegm(&utc);
    if (seconds < 0)
        return false;
    cp_clock_format_utc(seconds, again);
    if (strcmp(text, again) != 0)
        return false;
    *unix_s = seconds;
    return true;
}
