#include "server/openai_logprobs.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdlib.h>

#define MAX_TOKEN_TEXT ((size_t)4096)
#define DIGITS         7

void cp_openai_logprobs_deinit(cp_openai_logprobs *list) {
    free(list->entries);
    *list = (cp_openai_logprobs){0};
}

static size_t stride(const cp_openai_logprobs *list) {
    return 1 + list->n_top;
}

bool cp_openai_logprobs_add(cp_openai_logprobs *list, const cp_token_logprobs *token) {
    size_t need;
    if (!cp_size_mul(list->n + 1, stride(list), &need) ||
        !cp_grow((void **)&list->entries, &list->cap, need, sizeof *list->entries))
        return false;
    cp_token_logprob *at = list->entries + list->n++ * stride(list);
    at[0] = token->chosen;
    for (size_t i = 0; i < list->n_top; i++)
        at[1 + i] = i < token->n_top ? token->top[i] : (cp_token_logprob){.id = -1};
    return true;
}

static void token_text(const cp_openai_logprobs *list, int32_t id, cp_strbuf *out) {
    cp_str bytes = cp_tokenizer_id_bytes(list->tok, id);
    if (cp_utf8_is_valid(bytes.data, bytes.n)) {
        cp_strbuf_append(out, bytes.data, bytes.n);
        return;
    }
    cp_strbuf_puts(out, "bytes:");
    for (size_t i = 0; i < bytes.n; i++)
        cp_strbuf_printf(out, "\\x%02x", (unsigned char)bytes.data[i]);
}

static size_t count_chars(cp_str text) {
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += (text.data[i] & 0xc0) != 0x80;
    return n;
}

/* "token", "logprob", "bytes" of an object that is open. */
static void put_token(const cp_openai_logprobs *list, const cp_token_logprob *token,
                      cp_json_writer *w) {
    cp_strbuf text;
    cp_strbuf_init(&text, MAX_TOKEN_TEXT);
    token_text(list, token->id, &text);
    cp_json_member_str(w, "token", cp_strbuf_str(&text));
    cp_json_member_number(w, "logprob", (double)token->logprob, DIGITS);
    cp_str bytes = cp_tokenizer_id_bytes(list->tok, token->id);
    cp_json_key(w, "bytes");
    cp_json_open_array(w);
    for (size_t i = 0; i < bytes.n; i++)
        cp_json_put_int(w, (unsigned char)bytes.data[i]);
    cp_json_close_array(w);
    cp_strbuf_deinit(&text);
}

void cp_openai_logprobs_write_chat(cp_openai_logprobs *list, cp_json_writer *w) {
    cp_json_open_object(w);
    cp_json_key(w, "content");
    cp_json_open_array(w);
    for (size_t i = 0; i < list->n; i++) {
        const cp_token_logprob *token = list->entries + i * stride(list);
        cp_json_open_object(w);
        put_token(list, token, w);
        cp_json_key(w, "top_logprobs");
        cp_json_open_array(w);
        for (size_t k = 1; k < stride(list) && token[k].id >= 0; k++) {
            cp_json_open_object(w);
            put_token(list, &token[k], w);
            cp_json_close_object(w);
        }
        cp_json_close_array(w);
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
    cp_json_close_object(w);
    list->n = 0;
}

/* {"text": logprob}: two ids with the same text keep the better one, which comes first. */
static void put_map(const cp_openai_logprobs *list, const cp_token_logprob *top,
                    cp_json_writer *w) {
    cp_strbuf texts[CP_LLM_MAX_TOP_LOGPROBS];
    assert(list->n_top <= CP_LLM_MAX_TOP_LOGPROBS);
    cp_json_open_object(w);
    size_t n = 0;
    for (; n < list->n_top && top[n].id >= 0; n++) {
        bool seen = false;
        cp_strbuf_init(&texts[n], MAX_TOKEN_TEXT);
        token_text(list, top[n].id, &texts[n]);
        for (size_t k = 0; k < n; k++)
            seen |= cp_str_equal(cp_strbuf_str(&texts[k]), cp_strbuf_str(&texts[n]));
        if (!seen)
            cp_json_member_number(w, cp_strbuf_text(&texts[n]), (double)top[n].logprob, DIGITS);
    }
    cp_json_close_object(w);
    while (n > 0)
        cp_strbuf_deinit(&texts[--n]);
}

static void put_offsets(cp_openai_logprobs *list, cp_json_writer *w) {
    cp_json_key(w, "text_offset");
    cp_json_open_array(w);
    for (size_t i = 0; i < list->n; i++) {
        cp_json_put_int(w, (int64_t)list->n_chars);
        list->n_chars +=
            count_chars(cp_tokenizer_id_bytes(list->tok, list->entries[i * stride(list)].id));
    }
    cp_json_close_array(w);
}

void cp_openai_logprobs_write_text(cp_openai_logprobs *list, cp_json_writer *w) {
    cp_strbuf text;
    cp_strbuf_init(&text, MAX_TOKEN_TEXT);
    cp_json_open_object(w);
    cp_json_key(w, "tokens");
    cp_json_open_array(w);
    for (size_t i = 0; i < list->n; i++) {
        cp_strbuf_clear(&text);
        token_text(list, list->entries[i * stride(list)].id, &text);
        cp_json_put_str(w, cp_strbuf_str(&text));
    }
    cp_json_close_array(w);
    cp_json_key(w, "token_logprobs");
    cp_json_open_array(w);
    for (size_t i = 0; i < list->n; i++)
        cp_json_put_number(w, (double)list->entries[i * stride(list)].logprob, DIGITS);
    cp_json_close_array(w);
    cp_json_key(w, "top_logprobs");
    cp_json_open_array(w);
    for (size_t i = 0; i < list->n; i++)
        put_map(list, list->entries + i * stride(list) + 1, w);
    cp_json_close_array(w);
    put_offsets(list, w);
    cp_json_close_object(w);
    cp_strbuf_deinit(&text);
    list->n = 0;
}
