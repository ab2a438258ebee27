#include "server/metrics_model.h"

#include "base/mem.h"

static double seconds(double ms) {
    return ms / 1e3;
}

void cp_model_metrics_note(cp_model_metrics *m, const cp_llm_result *r) {
    cp_counter_add(&m->finished[r->finish], 1);
    cp_counter_add(&m->prompt_tokens, r->prompt_tokens);
    cp_counter_add(&m->cached_tokens, r->cached_tokens);
    cp_counter_add(&m->sampled_tokens, r->sampled_tokens);
    cp_counter_add(&m->thinking_tokens, r->thinking_tokens);
    cp_counter_add(&m->appended_tokens, r->appended_tokens);
    cp_counter_add(&m->drafted_tokens, r->drafted_tokens);
    cp_counter_add(&m->accepted_tokens, r->accepted_tokens);
    cp_counter_add(&m->truncated_thoughts, r->thinking_truncated);
    cp_histogram_observe(&m->queue, seconds(r->queue_ms));
    if (r->sampled_tokens == 0)
        return;
    cp_histogram_observe(&m->prompt, seconds(r->prompt_ms));
    cp_histogram_observe(&m->first_token, seconds(r->queue_ms + r->first_token_ms));
    cp_histogram_observe(&m->generate, seconds(r->generate_ms));
    cp_histogram_observe(&m->whole, seconds(r->queue_ms + r->prompt_ms + r->generate_ms));
    if (r->sampled_tokens > 1)
        cp_histogram_observe(&m->token, seconds(r->generate_ms) / (double)(r->sampled_tokens - 1));
}

static void put_tokens(const cp_model_metrics *m, cp_metric_text *out) {
    const struct {
        const char *name, *help;
        const cp_counter *value;
    } counters[] = {
        {"carepath_prompt_tokens_total", "Tokens of prompts.", &m->prompt_tokens},
        {"carepath_cached_tokens_total", "Of these, found in the prefix cache.", &m->cached_tokens},
        {"carepath_completion_tokens_total", "Tokens that the model drew.", &m->sampled_tokens},
        {"carepath_thinking_tokens_total", "Of these, inside a thought.", &m->thinking_tokens},
        {"carepath_appended_tokens_total", "Tokens added without drawing.", &m->appended_tokens},
        {"carepath_drafted_tokens_total", "Tokens guessed by prompt lookup.", &m->drafted_tokens},
        {"carepath_accepted_tokens_total", "Of these, right guesses.", &m->accepted_tokens},
        {"carepath_thoughts_truncated_total", "Thoughts closed by their budget.",
         &m->truncated_thoughts},
    };
    for (size_t i = 0; i < CP_COUNT_OF(counters); i++)
        cp_metric_one(out, counters[i].name, "counter", counters[i].help,
                      cp_counter_get(counters[i].value));
    cp_metric_head(out, "carepath_generations_total", "counter", "Generations by how they ended.");
    for (cp_finish f = CP_FINISH_STOP; f <= CP_FINISH_CANCELLED; f++)
        cp_strbuf_printf(out->body, "carepath_generations_total{finish=\"%s\"} %llu\n",
                         cp_finish_name(f), (unsigned long long)cp_counter_get(&m->finished[f]));
}

static void put_phases(const cp_model_metrics *m, cp_metric_text *out) {
    const struct {
        const char *name, *help;
        const cp_histogram *values;
    } histograms[] = {
        {"carepath_queue_wait_seconds", "Waiting for the model.", &m->queue},
        {"carepath_prompt_seconds", "Reading the prompt (prefill).", &m->prompt},
        {"carepath_first_token_seconds", "From the queue to the first token.", &m->first_token},
        {"carepath_token_seconds", "Between two tokens, a generation's mean.", &m->token},
        {"carepath_generate_seconds", "Writing the answer (decode).", &m->generate},
        {"carepath_generation_seconds", "From the queue to the last token.", &m->whole},
    };
    for (size_t i = 0; i < CP_COUNT_OF(histograms); i++) {
        cp_metric_head(out, histograms[i].name, "histogram", histograms[i].help);
        cp_metric_histogram(out, histograms[i].name, "", histograms[i].values);
    }
}

static void put_scheduler(const cp_scheduler_stats *s, cp_metric_text *out) {
    const cp_kv_pool_stats *kv = &s->kv;
    cp_metric_one(out, "carepath_steps_total", "counter", "Steps of the model.", s->n_steps);
    cp_metric_one(out, "carepath_step_rows_total", "counter",
                  "Tokens that went through; over the steps, the batch's mean occupancy.",
                  s->n_rows);
    cp_metric_head(out, "carepath_kv_bytes", "gauge", "Keys and values, by what holds them.");
    cp_strbuf_printf(out->body,
                     "carepath_kv_bytes{state=\"running\"} %zu\n"
                     "carepath_kv_bytes{state=\"cached\"} %zu\n"
                     "carepath_kv_bytes{state=\"limit\"} %zu\n",
                     kv->n_held * kv->block_bytes, kv->n_cached * kv->block_bytes,
                     kv->n_blocks * kv->block_bytes);
    cp_metric_one(out, "carepath_kv_evictions_total", "counter",
                  "Cached blocks whose memory was needed.", kv->n_evicted);
    cp_metric_one(out, "carepath_kv_expired_total", "counter",
                  "Cached blocks that nobody used for KV_CACHE_TTL_S.", kv->n_expired);
}

void cp_model_metrics_append(const cp_model_metrics *m, const cp_scheduler_stats *scheduler,
                             cp_metric_text *out) {
    put_tokens(m, out);
    put_phases(m, out);
    put_scheduler(scheduler, out);
}
