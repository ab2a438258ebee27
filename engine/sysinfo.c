#include "engine/sysinfo.h"

#include "base/mem.h"

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

/* The first line of a small file of the kernel's; false when there is none. */
static bool first_line(const char *path, char *out, int cap) {
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    bool read = fgets(out, cap, file) != NULL;
    fclose(file);
    return read;
}

/* CPUs that the control group grants, rounded up; 0 when it sets no limit. */
static size_t cgroup_cpus(void) {
    char line[128];
    long long quota = -1, period = 100000;
    if (first_line("/sys/fs/cgroup/cpu.max", line,
                   sizeof line)) { /* version 2: "150000 100000" or "max 100000" */
        if (sscanf(line, "%lld %lld", &quota, &period) != 2)
            return 0;
    } else {
        if (first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", line, sizeof line))
            quota = atoll(line);
        if (first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", line, sizeof line))
            period = atoll(line);
    }
    return quota > 0 && period > 0 ? (size_t)((quota + period - 1) / period) : 0;
}

size_t cp_sysinfo_cpus(void) {
    cpu_set_t mask;
    size_t n = 1;
    if (sched_getaffinity(0, sizeof mask, &mask) == 0)
        n = (size_t)CPU_COUNT(&mask);
    size_t granted = cgroup_cpus();
    if (granted > 0 && granted < n)
        n = granted;
    return n ? n : 1;
}

/* "Name:   123 kB" of a /proc file, in bytes; 0 when absent. */
static size_t proc_kib(const char *path, const char *name) {
    char line[256];
    size_t found = 0, n = strlen(name);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    while (!found && fgets(line, sizeof line, file))
        if (strncmp(line, name, n) == 0 && line[n] == ':')
            found = (size_t)strtoull(line + n + 1, NULL, 10) * 1024;
    fclose(file);
    return found;
}

/* A control group's number of bytes; SIZE_MAX when there is none, or "max". */
static size_t cgroup_bytes(const char *v2, const char *v1) {
    char line[64];
    if (!first_line(v2, line, sizeof line) && !first_line(v1, line, sizeof line))
        return SIZE_MAX;
    char *end;
    unsigned long long value = strtoull(line, &end, 10);
    return end == line ? SIZE_MAX : (size_t)value;
}

static size_t cgroup_limit(void) {
    return cgroup_bytes("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes");
}

size_t cp_sysinfo_memory_total(void) {
    size_t total = proc_kib("/proc/meminfo", "MemTotal"), limit = cgroup_limit();
    return limit < total ? limit : total;
}

size_t cp_sysinfo_memory_available(void) {
    size_t available = proc_kib("/proc/meminfo", "MemAvailable"), limit = cgroup_limit();
    size_t used = cgroup_bytes("/sys/fs/cgroup/memory.current",
                               "/sys/fs/cgroup/memory/memory.usage_in_bytes");
    if (limit == SIZE_MAX || used == SIZE_MAX)
        return available;
    size_t left = used < limit ? limit - used : 0;
    return left < available ? left : available;
}

size_t cp_sysinfo_rss(void) {
    return proc_kib("/proc/self/status", "VmRSS");
}

size_t cp_sysinfo_rss_anonymous(void) {
    return proc_kib("/proc/self/status", "RssAnon");
}

size_t cp_sysinfo_rss_peak(void) {
    struct rusage usage;
    size_t peak = proc_kib("/proc/self/status", "VmHWM");
    if (peak > 0) /* getrusage counts what the parent held before exec, too */
        return peak;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
}

void cp_sysinfo_cpu_name(char *out, size_t cap) {
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(out, cap, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(out, cap, "%s", colon + (colon[1] == ' ' ? 2 : 1));
        break;
    }
    if (file)
        fclose(file);
}

size_t cp_sysinfo_cpu_features(cp_cpu_feature *out, size_t cap) {
    size_t n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const cp_cpu_feature all[] = {
        {"avx2", __builtin_cpu_supports("avx2")},
        {"fma", __builtin_cpu_supports("fma")},
        {"f16c", __builtin_cpu_supports("f16c")},
        {"avx512f", __builtin_cpu_supports("avx512f")},
        {"avx512bw", __builtin_cpu_supports("avx512bw")},
        {"avx512vl", __builtin_cpu_supports("avx512vl")},
        {"avx512vnni", __builtin_cpu_supports("avx512vnni")},
        {"avx512bf16", __builtin_cpu_supports("avx512bf16")},
    };
#elif defined(__aarch64__)
    unsigned long caps = getauxval(AT_HWCAP);
    const cp_cpu_feature all[] = {{"asimd", caps & HWCAP_ASIMD}, {"dotprod", caps & HWCAP_ASIMDDP}};
#else
    const cp_cpu_feature all[] = {{"none known", false}};
#endif
    for (; n < CP_COUNT_OF(all) && n < cap; n++)
        out[n] = all[n];
    return n;
}
