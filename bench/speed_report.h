/* A speed measurement as JSON, as a table for a terminal, and as one HTML file.
 *
 * Formatting only: the report borrows everything, measures nothing, and writes into a strbuf whose
 * failure the caller checks. */
#ifndef CP_BENCH_SPEED_REPORT_H
#define CP_BENCH_SPEED_REPORT_H

#include "base/clock.h"
#include "base/json_writer.h"
#include "bench/speed.h"

typedef struct cp_speed_report {
    const cp_speed_result *models; /* [n] */
    size_t n;
    const cp_speed_plan *plan;
    char cpu[128], stamp[CP_CLOCK_STAMP_CAP];
    size_t memory_bytes, probe_bytes;
    const char *command; /* as it was typed */
    const char *note;    /* the user's own words, or NULL */
} cp_speed_report;

/* One object for one model, an array of them for several. */
void cp_speed_write_json(const cp_speed_report *r, cp_json_writer *w);
void cp_speed_write_table(const cp_speed_report *r, cp_strbuf *out);
/* A file that stands alone: no scripts, nothing fetched. */
void cp_speed_write_html(const cp_speed_report *r, cp_strbuf *out);

#endif
