/* What this machine offers the process: processors, memory, instruction sets. Read fresh at each
 * call. */
#ifndef CP_ENGINE_SYSINFO_H
#define CP_ENGINE_SYSINFO_H

#include <stdbool.h>
#include <stddef.h>

/* Processors this process may use: its affinity mask, cut by the control group's CPU quota (1.5
 * CPUs count as 2). At least 1. */
size_t cp_sysinfo_cpus(void);
/* Bytes of memory this process can still take: the kernel's estimate, cut by the control group's
 * limit. */
size_t cp_sysinfo_memory_available(void);
size_t cp_sysinfo_memory_total(void);
/* Resident set of this process, of that what no file backs, and its largest so far. */
size_t cp_sysinfo_rss(void);
size_t cp_sysinfo_rss_anonymous(void);
size_t cp_sysinfo_rss_peak(void);
/* The processor's model name; "unknown" where the system does not say. */
void cp_sysinfo_cpu_name(char *out, size_t cap);

typedef struct cp_cpu_feature {
    const char *name;
    bool present;
} cp_cpu_feature;
/* Fills out[cap] with the instruction sets that matter here; returns their number. */
size_t cp_sysinfo_cpu_features(cp_cpu_feature *out, size_t cap);

#endif
