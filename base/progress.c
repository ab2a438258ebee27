#include "base/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

#define BAR_WIDTH 30
#define REDRAW_NS 100000000u

void cp_progress_start(cp_progress *p, const char *what, uint64_t total_bytes) {
    cp_progress_start_count(p, what, NULL, total_bytes);
}

void cp_progress_start_count(cp_progress *p, const char *what, const char *unit, uint64_t total) {
    *p = (cp_progress){.what = what,
                       .unit = unit,
                       .total_bytes = total,
                       .start_ns = cp_clock_ns(),
                       .terminal = isatty(STDERR_FILENO) == 1};
}

void cp_progress_resume(cp_progress *p, const char *what, uint64_t total_bytes,
                        uint64_t done_bytes) {
    cp_progress_start(p, what, total_bytes);
    p->begun_bytes = done_bytes;
}

static void draw(const cp_progress *p, uint64_t done) {
    double share = p->total_bytes ? (double)done / (double)p->total_bytes : 1;
    double seconds = cp_clock_ms_since(p->start_ns) / 1e3,
           rate =
               seconds > 0 && done > p->begun_bytes ? (double)(done - p->begun_bytes) / seconds : 0;
    double left = rate > 0 ? (double)(p->total_bytes - done) / rate : 0;
    char bar[BAR_WIDTH + 1];
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < (int)(share * BAR_WIDTH) ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    double size = p->unit ? 1 : 1 << 20;
    const char *unit = p->unit ? p->unit : "MiB";
    fprintf(stderr, "\r%s [%s] %3.0f%%  %.0f of %.0f %s  %.0f %s/s  %.0f s left ", p->what, bar,
            share * 100, (double)done / size, (double)p->total_bytes / size, unit, rate / size,
            unit, left);
    fflush(stderr);
}

void cp_progress_update(cp_progress *p, uint64_t done_bytes) {
    uint64_t now = cp_clock_ns();
    if (!p->terminal || now - p->drawn_ns < REDRAW_NS)
        return;
    p->drawn_ns = now;
    draw(p, done_bytes);
}

void cp_progress_finish(cp_progress *p, uint64_t done_bytes) {
    if (!p->terminal)
        return;
    draw(p, done_bytes);
    fputc('\n', stderr);
}
