#include "bench/process_watch.h"

#include "base/clock.h"
#include "base/mem.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_SAMPLES ((size_t)1 << 20)
#define STAT_CAP    1024

typedef struct reading {
    double cpu_s, rss_bytes;
    size_t n_threads;
    bool ended; /* a zombie holds no memory */
} reading;

/* /proc/PID/stat: the name in parentheses may hold anything, so fields count from the last ")". */
static bool parse_stat(const char *text, reading *out) {
    const char *at = strrchr(text, ')');
    char state;
    unsigned long long user, system, threads;
    long long pages;
    if (!at || sscanf(at + 1,
                      " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %*s %*s %*s %*s %llu "
                      "%*s %*s %*s %lld",
                      &state, &user, &system, &threads, &pages) != 5)
        return false;
    *out = (reading){.cpu_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK),
                     .rss_bytes = (double)pages * (double)sysconf(_SC_PAGESIZE),
                     .n_threads = (size_t)threads,
                     .ended = state == 'Z' || state == 'X'};
    return true;
}

/* The process's own clock is finer than the ticks of its stat file. */
static void read_clock(int64_t pid, double *cpu_s) {
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid((pid_t)pid, &clock) == 0 && clock_gettime(clock, &used) == 0)
        *cpu_s = (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static bool read_stat(int64_t pid, reading *out) {
    char path[64], text[STAT_CAP];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    if (!parse_stat(text, out) || out->ended)
        return false;
    read_clock(pid, &out->cpu_s);
    return true;
}

static size_t count_files(int64_t pid) {
    char path[64];
    size_t n = 0;
    snprintf(path, sizeof path, "/proc/%lld/fd", (long long)pid);
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    for (const struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

cp_status cp_process_watch_init(cp_process_watch *w, int64_t pid, uint64_t start_ns,
                                cp_error *err) {
    reading now;
    *w = (cp_process_watch){.pid = pid, .start_ns = start_ns, .last_ns = cp_clock_ns()};
    if (pid == 0)
        return CP_OK;
    if (!read_stat(pid, &now))
        return cp_error_set(err, CP_ERR_NOT_FOUND, "process %lld: there is none", (long long)pid);
    w->last_cpu_s = now.cpu_s;
    return CP_OK;
}

void cp_process_watch_deinit(cp_process_watch *w) {
    free(w->samples);
    *w = (cp_process_watch){.pid = 0};
}

cp_status cp_process_watch_take(cp_process_watch *w, cp_error *err) {
    reading now;
    uint64_t ns = cp_clock_ns();
    if (w->pid == 0 || w->gone || w->n == MAX_SAMPLES || ns == w->last_ns)
        return CP_OK;
    if (!read_stat(w->pid, &now)) {
        w->gone = true;
        return CP_OK;
    }
    if (!cp_grow((void **)&w->samples, &w->cap, w->n + 1, sizeof *w->samples))
        return cp_error_no_memory(err, "process samples");
    w->samples[w->n++] = (cp_process_sample){.at_s = ((double)ns - (double)w->start_ns) / 1e9,
                                             .cpu_percent = 100 * (now.cpu_s - w->last_cpu_s) /
                                                            ((double)(ns - w->last_ns) / 1e9),
                                             .rss_bytes = now.rss_bytes,
                                             .n_threads = now.n_threads,
                                             .n_files = count_files(w->pid)};
    w->last_cpu_s = now.cpu_s;
    w->last_ns = ns;
    return CP_OK;
}
