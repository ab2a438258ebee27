/* The process's part of /metrics: processor time, memory, descriptors, threads, as Prometheus names
 * them. Read from /proc when asked. */
#ifndef CP_SERVER_METRICS_PROCESS_H
#define CP_SERVER_METRICS_PROCESS_H

#include "server/metrics_parts.h"

void cp_process_metrics_append(cp_metric_text *out);

#endif
