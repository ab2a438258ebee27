#include "server/metrics_process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct memory_pages {
    unsigned long long virtual_pages, resident_pages;
} memory_pages;

static memory_pages read_memory(void) {
    memory_pages pages = {0, 0};
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return pages;
    if (fscanf(file, "%llu %llu", &pages.virtual_pages, &pages.resident_pages) != 2)
        pages = (memory_pages){0, 0};
    fclose(file);
    return pages;
}

/* The entries of a folder of /proc. */
static uint64_t count_entries(const char *path) {
    uint64_t n = 0;
    DIR *folder = opendir(path);
    if (!folder)
        return 0;
    for (const struct dirent *entry; (entry = readdir(folder));)
        n += entry->d_name[0] != '.';
    closedir(folder);
    return n;
}

static double seconds(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void cp_process_metrics_append(cp_metric_text *out) {
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    memory_pages memory = read_memory();
    struct rusage usage;
    struct rlimit files;
    memset(&usage, 0, sizeof usage);
    (void)getrusage(RUSAGE_SELF, &usage);
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        files.rlim_cur = 0;
    cp_metric_number(out, "process_cpu_seconds_total", "counter", "Processor time of all threads.",
                     seconds(usage.ru_utime) + seconds(usage.ru_stime));
    cp_metric_one(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
                  memory.resident_pages * page);
    cp_metric_one(out, "process_virtual_memory_bytes", "gauge",
                  "Address space, mapped models included.", memory.virtual_pages * page);
    cp_metric_one(out, "process_major_page_faults_total", "counter",
                  "Pages read from the disk: a model that does not stay in memory.",
                  (uint64_t)usage.ru_majflt);
    cp_metric_one(out, "process_open_fds", "gauge", "Open descriptors.",
                  count_entries("/proc/self/fd"));
    cp_metric_one(out, "process_max_fds", "gauge", "Most of them.", (uint64_t)files.rlim_cur);
    cp_metric_one(out, "process_threads", "gauge", "Threads.", count_entries("/proc/self/task"));
}
