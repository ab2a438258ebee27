/* The model's part of /metrics: tokens, times of the phases, the scheduler, its memory. */
#ifndef CP_SERVER_METRICS_MODEL_H
#define CP_SERVER_METRICS_MODEL_H

#include "llm/scheduler.h"
#include "server/metrics_parts.h"

typedef struct cp_model_metrics {
    cp_counter prompt_tokens, cached_tokens, sampled_tokens, thinking_tokens, appended_tokens;
    cp_counter drafted_tokens, accepted_tokens, truncated_thoughts;
    cp_counter finished[3]; /* by cp_finish */
    cp_histogram queue, prompt, first_token, token, generate, whole;
} cp_model_metrics;

void cp_model_metrics_note(cp_model_metrics *metrics, const cp_llm_result *result);
void cp_model_metrics_append(const cp_model_metrics *metrics, const cp_scheduler_stats *scheduler,
                             cp_metric_text *out);

#endif
