/* A load as JSON, as a table for a terminal, and as one HTML file. Formatting only, as
 * bench/speed_report.h: borrows everything; the strbuf's failure is the caller's to check. */
#ifndef CP_BENCH_LOAD_REPORT_H
#define CP_BENCH_LOAD_REPORT_H

#include "base/clock.h"
#include "base/json_writer.h"
#include "bench/load_summary.h"

typedef struct cp_load_report {
    const cp_load_plan *plan;
    const cp_load_result *result;
    const cp_load_summary *summary;
    char cpu[128], stamp[CP_CLOCK_STAMP_CAP]; /* of the machine that makes the load */
    const char *command;                      /* as it was typed, without patients' numbers */
    const char *note;                         /* the user's own words, or NULL */
} cp_load_report;

void cp_load_write_json(const cp_load_report *r, cp_json_writer *w);
void cp_load_write_table(const cp_load_report *r, cp_strbuf *out);
void cp_load_write_html(const cp_load_report *r, cp_strbuf *out);

/* "open loop, 20/s Poisson" or "closed loop, 8 clients, think 1 s". */
void cp_load_describe(const cp_load_plan *plan, cp_strbuf *out);

#endif
