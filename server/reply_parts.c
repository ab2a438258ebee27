#include "server/reply_parts.h"

#include "llm/llm.h"

void cp_reply_speed(cp_json_writer *w, const char *key, size_t tokens, double ms) {
    if (tokens > 0 && ms > 0)
        cp_json_member_number(w, key, (double)tokens / ms * 1e3, 6);
    else
        cp_json_member_text(w, key, NULL);
}

void cp_reply_tokens(cp_json_writer *w, const char *key, size_t tokens) {
    if (tokens == CP_LLM_NO_LIMIT)
        cp_json_member_text(w, key, NULL);
    else
        cp_json_member_int(w, key, (int64_t)tokens);
}

void cp_reply_usage(cp_json_writer *w, size_t n_tokens) {
    cp_json_key(w, "usage");
    cp_json_open_object(w);
    cp_json_member_int(w, "prompt_tokens", (int64_t)n_tokens);
    cp_json_member_int(w, "total_tokens", (int64_t)n_tokens);
    cp_json_close_object(w);
}
