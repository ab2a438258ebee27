/* A progress bar on stderr, only where stderr is a terminal.
 *
 * One line, redrawn at most ten times a second: what, how much of the whole, rate and time left. */
#ifndef CP_BASE_PROGRESS_H
#define CP_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct cp_progress {
    const char *what;
    const char *unit; /* NULL: bytes, shown as MiB */
    uint64_t total_bytes, begun_bytes, start_ns, drawn_ns;
    bool terminal;
} cp_progress;

void cp_progress_start(cp_progress *p, const char *what, uint64_t total_bytes);
/* The same for things that are counted: "patients". */
void cp_progress_start_count(cp_progress *p, const char *what, const char *unit, uint64_t total);
/* The same where `done_bytes` are there before anything was done: they make no rate. */
void cp_progress_resume(cp_progress *p, const char *what, uint64_t total_bytes,
                        uint64_t done_bytes);
void cp_progress_update(cp_progress *p, uint64_t done_bytes);
/* Ends the line. */
void cp_progress_finish(cp_progress *p, uint64_t done_bytes);

#endif
