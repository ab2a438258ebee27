#include "server/openai_reply.h"

#include "server/reply_parts.h"

#define DIGITS 6

static bool is_chat(const cp_openai_answer *a) {
    return a->request->kind == CP_OPENAI_CHAT;
}

/* ---- what stands beside the text ------------------------------------------------------------- */

static void put_head(const cp_openai_answer *a, bool chunk, cp_json_writer *w) {
    cp_strbuf id;
    cp_strbuf_init(&id, 64);
    cp_strbuf_printf(&id, "%s-%s", is_chat(a) ? "chatcmpl" : "cmpl", a->trace_id);
    cp_json_member_str(w, "id", cp_strbuf_str(&id));
    if (id.failed != CP_OK)
        w->out->failed = id.failed;
    cp_strbuf_deinit(&id);
    const char *chat = chunk ? "chat.completion.chunk" : "chat.completion";
    cp_json_member_text(w, "object", is_chat(a) ? chat : "text_completion");
    cp_json_member_int(w, "created", a->created);
    cp_json_member_text(w, "model", a->model);
    cp_json_member_text(w, "system_fingerprint", a->fingerprint);
}

static void put_usage(const cp_llm_result *r, cp_json_writer *w) {
    cp_json_key(w, "usage");
    cp_json_open_object(w);
    cp_json_member_int(w, "prompt_tokens", (int64_t)r->prompt_tokens);
    cp_json_member_int(w, "completion_tokens", (int64_t)r->sampled_tokens);
    cp_json_member_int(w, "total_tokens", (int64_t)(r->prompt_tokens + r->sampled_tokens));
    cp_json_key(w, "prompt_tokens_details");
    cp_json_open_object(w);
    cp_json_member_int(w, "cached_tokens", (int64_t)r->cached_tokens);
    cp_json_close_object(w);
    cp_json_key(w, "completion_tokens_details");
    cp_json_open_object(w);
    cp_json_member_int(w, "reasoning_tokens", (int64_t)r->thinking_tokens);
    cp_json_close_object(w);
    cp_json_close_object(w);
}

static void put_timings(const cp_llm_result *r, cp_json_writer *w) {
    size_t evaluated = r->prompt_tokens - r->cached_tokens;
    cp_json_key(w, "timings");
    cp_json_open_object(w);
    cp_json_member_int(w, "cache_n", (int64_t)r->cached_tokens);
    cp_json_member_int(w, "prompt_n", (int64_t)evaluated);
    cp_json_member_number(w, "prompt_ms", r->prompt_ms, DIGITS);
    cp_reply_speed(w, "prompt_per_second", evaluated, r->prompt_ms);
    cp_json_member_int(w, "predicted_n", (int64_t)r->sampled_tokens);
    cp_json_member_number(w, "predicted_ms", r->generate_ms, DIGITS);
    cp_reply_speed(w, "predicted_per_second", r->sampled_tokens, r->generate_ms);
    cp_json_member_int(w, "draft_n", (int64_t)r->drafted_tokens);
    cp_json_member_int(w, "draft_n_accepted", (int64_t)r->accepted_tokens);
    cp_json_close_object(w);
}

static void put_budget(const cp_openai_request *q, const cp_llm_result *r, cp_json_writer *w) {
    cp_json_key(w, "thinking_budget");
    cp_json_open_object(w);
    cp_json_member_text(w, "field", q->budget_field);
    cp_reply_tokens(w, "requested",
                    q->llm.has_thinking_budget ? q->llm.thinking_budget : CP_LLM_NO_LIMIT);
    cp_reply_tokens(w, "planned", r->thinking_planned);
    cp_json_member_int(w, "used", (int64_t)r->thinking_tokens);
    cp_json_close_object(w);
}

static void put_structured(const cp_structured_report *s, cp_json_writer *w) {
    cp_json_key(w, "structured");
    cp_json_open_object(w);
    cp_json_member_int(w, "forced_tokens", (int64_t)s->forced_tokens);
    cp_json_member_int(w, "tail_tokens", (int64_t)s->tail_tokens);
    cp_json_member_int(w, "tail_bytes", (int64_t)s->tail_bytes);
    cp_json_close_object(w);
}

static void put_extension(const cp_openai_request *q, const cp_llm_result *r, cp_json_writer *w) {
    cp_json_key(w, "carepath");
    cp_json_open_object(w);
    cp_json_member_bool(w, "thinking_truncated", r->thinking_truncated);
    put_budget(q, r, w);
    cp_json_member_int(w, "appended_tokens", (int64_t)r->appended_tokens);
    if (q->llm.schema)
        put_structured(&r->structured, w);
    cp_json_member_int(w, "seed", (int64_t)r->seed);
    cp_json_member_number(w, "queue_ms", r->queue_ms, DIGITS);
    cp_json_member_number(w, "first_token_ms", r->first_token_ms, DIGITS);
    cp_json_close_object(w);
}

static void put_logprobs(const cp_openai_answer *a, cp_json_writer *w) {
    cp_json_key(w, "logprobs");
    if (!a->logprobs)
        cp_json_put_null(w);
    else if (is_chat(a))
        cp_openai_logprobs_write_chat(a->logprobs, w);
    else
        cp_openai_logprobs_write_text(a->logprobs, w);
}

/* ---- whole objects --------------------------------------------------------------------------- */

static void put_message(const cp_llm_result *r, cp_json_writer *w) {
    cp_json_key(w, "message");
    cp_json_open_object(w);
    cp_json_member_text(w, "role", "assistant");
    cp_json_member_str(w, "content", cp_strbuf_str(&r->answer));
    if (r->has_thinking)
        cp_json_member_str(w, "reasoning_content", cp_strbuf_str(&r->thinking));
    cp_json_member_text(w, "refusal", NULL);
    cp_json_close_object(w);
}

/* Opens "choices" with its one element. */
static void open_choice(cp_json_writer *w) {
    cp_json_key(w, "choices");
    cp_json_open_array(w);
    cp_json_open_object(w);
    cp_json_member_int(w, "index", 0);
}

static void close_choice(const char *finish_reason, cp_json_writer *w) {
    cp_json_member_text(w, "finish_reason", finish_reason);
    cp_json_close_object(w);
    cp_json_close_array(w);
}

void cp_openai_reply_append(const cp_openai_answer *a, const cp_llm_result *r, cp_strbuf *out) {
    cp_json_writer w;
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    put_head(a, false, &w);
    open_choice(&w);
    if (is_chat(a))
        put_message(r, &w);
    else
        cp_json_member_str(&w, "text", cp_strbuf_str(&r->answer));
    put_logprobs(a, &w);
    close_choice(cp_finish_name(r->finish), &w);
    put_usage(r, &w);
    put_timings(r, &w);
    put_extension(a->request, r, &w);
    cp_openai_warnings_write(&a->request->warnings, &w);
    cp_json_close_object(&w);
    cp_strbuf_putc(out, '\n');
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static void open_event(const cp_openai_answer *a, cp_strbuf *out, cp_json_writer *w) {
    cp_strbuf_puts(out, "data: ");
    cp_json_writer_init(w, out);
    cp_json_open_object(w);
    put_head(a, true, w);
}

/* Where usage was asked for, all chunks before it say null. */
static void close_event(const cp_openai_answer *a, cp_json_writer *w) {
    if (a->request->include_usage)
        cp_json_member_text(w, "usage", NULL);
    cp_json_close_object(w);
    cp_strbuf_puts(w->out, "\n\n");
}

/* The delta of a chat or the text of a completion; `key` NULL: an empty delta. */
static void put_piece(const cp_openai_answer *a, const char *key, cp_str text, cp_json_writer *w) {
    if (!is_chat(a)) {
        cp_json_member_str(w, "text", text);
        return;
    }
    cp_json_key(w, "delta");
    cp_json_open_object(w);
    if (key)
        cp_json_member_str(w, key, text);
    cp_json_close_object(w);
}

/* Log probabilities are the answer's: a chunk of thinking leaves them where they are. */
static void put_new_logprobs(const cp_openai_answer *a, bool of_answer, cp_json_writer *w) {
    if (of_answer && a->logprobs && a->logprobs->n > 0)
        put_logprobs(a, w);
    else
        cp_json_member_text(w, "logprobs", NULL);
}

void cp_openai_chunk_begin(const cp_openai_answer *a, cp_strbuf *out) {
    cp_json_writer w;
    if (!is_chat(a))
        return;
    open_event(a, out, &w);
    open_choice(&w);
    cp_json_key(&w, "delta");
    cp_json_open_object(&w);
    cp_json_member_text(&w, "role", "assistant");
    cp_json_member_text(&w, "content", "");
    cp_json_close_object(&w);
    cp_json_member_text(&w, "logprobs", NULL);
    close_choice(NULL, &w);
    close_event(a, &w);
}

void cp_openai_chunk_text(const cp_openai_answer *a, cp_text_part part, cp_str text,
                          cp_strbuf *out) {
    cp_json_writer w;
    bool of_answer = part == CP_TEXT_ANSWER;
    open_event(a, out, &w);
    open_choice(&w);
    put_piece(a, of_answer ? "content" : "reasoning_content", text, &w);
    put_new_logprobs(a, of_answer, &w);
    close_choice(NULL, &w);
    close_event(a, &w);
}

static void put_usage_chunk(const cp_openai_answer *a, const cp_llm_result *r, cp_strbuf *out) {
    cp_json_writer w;
    open_event(a, out, &w);
    cp_json_key(&w, "choices");
    cp_json_open_array(&w);
    cp_json_close_array(&w);
    put_usage(r, &w);
    cp_json_close_object(&w);
    cp_strbuf_puts(out, "\n\n");
}

void cp_openai_chunk_end(const cp_openai_answer *a, const cp_llm_result *r, cp_strbuf *out) {
    cp_json_writer w;
    open_event(a, out, &w);
    open_choice(&w);
    put_piece(a, NULL, (cp_str){"", 0}, &w);
    put_new_logprobs(a, true, &w); /* of tokens that gave no text, as the end token */
    close_choice(cp_finish_name(r->finish), &w);
    put_timings(r, &w);
    put_extension(a->request, r, &w);
    cp_openai_warnings_write(&a->request->warnings, &w);
    close_event(a, &w);
    if (a->request->include_usage)
        put_usage_chunk(a, r, out);
    cp_strbuf_puts(out, "data: [DONE]\n\n");
}

/* ---- models ---------------------------------------------------------------------------------- */

static void put_model(const cp_openai_model *model, cp_json_writer *w) {
    cp_json_open_object(w);
    cp_json_member_text(w, "id", model->id);
    cp_json_member_text(w, "object", "model");
    cp_json_member_int(w, "created", model->created);
    cp_json_member_text(w, "owned_by", "carepath");
    cp_json_key(w, "carepath");
    cp_json_open_object(w);
    cp_json_member_text(w, "use", model->use);
    cp_json_member_text(w, "quantization", model->quant);
    cp_json_key(w, "context_tokens");
    if (model->context)
        cp_json_put_int(w, (int64_t)model->context);
    else
        cp_json_put_null(w);
    cp_json_close_object(w);
    cp_json_close_object(w);
}

void cp_openai_model_append(const cp_openai_model *model, cp_strbuf *out) {
    cp_json_writer w;
    cp_json_writer_init(&w, out);
    put_model(model, &w);
    cp_strbuf_putc(out, '\n');
}

void cp_openai_models_append(const cp_openai_model *models, size_t n, cp_strbuf *out) {
    cp_json_writer w;
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "object", "list");
    cp_json_key(&w, "data");
    cp_json_open_array(&w);
    for (size_t i = 0; i < n; i++)
        put_model(&models[i], &w);
    cp_json_close_array(&w);
    cp_json_close_object(&w);
    cp_strbuf_putc(out, '\n');
}
