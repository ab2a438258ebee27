#include "llm/text_splitter.h"

#include "base/mem.h"
#include "llm/llm_internal.h"

#include <string.h>

/* A sequence's earlier bytes, or U+FFFD in their place, may come out with the next token's. */
#define CP_UTF8_PENDING_BYTES 16

cp_status cp_text_splitter_init(cp_text_splitter *s, const cp_llm *llm,
                                const cp_llm_request *request, cp_llm_result *result,
                                size_t max_new, bool starts_in_thought, cp_error *err) {
    bool split = request->n_messages > 0; /* raw prompts get their continuation as it is */
    *s = (cp_text_splitter){
        .request = request,
        .result = result,
        .think_open = split ? llm->think_open : -1,
        .think_close = split ? llm->think_close : -1,
        .part = starts_in_thought ? CP_TEXT_THINKING : CP_TEXT_ANSWER,
        .at_part_start = starts_in_thought,
    };
    result->has_thinking = starts_in_thought;
    cp_detokenizer_init(&s->detokenizer, llm->tokenizer, true);

    size_t text_bytes = SIZE_MAX, one = llm->max_token_bytes + CP_UTF8_PENDING_BYTES;
    (void)cp_size_mul(max_new, llm->max_token_bytes, &text_bytes);
    text_bytes = text_bytes < result->answer.max_bytes ? text_bytes : result->answer.max_bytes;
    cp_strbuf_init(&s->decoded, one);
    cp_strbuf_reserve(&s->decoded, one);
    cp_strbuf_reserve(&result->answer, text_bytes);
    if (split)
        cp_strbuf_reserve(&result->thinking, text_bytes);
    cp_status status = cp_strbuf_check(&s->decoded, "decoded token", err);
    if (status == CP_OK)
        status = cp_strbuf_check(&result->answer, "answer", err);
    return status == CP_OK ? cp_strbuf_check(&result->thinking, "thinking", err) : status;
}

void cp_text_splitter_deinit(cp_text_splitter *s) {
    cp_strbuf_deinit(&s->decoded);
}

static void give(const cp_text_splitter *s, cp_text_part part, const char *text, size_t n) {
    if (n > 0 && s->request->on_text)
        s->request->on_text(s->request->user, part, text, n);
}

/* Where the first stop string begins in the answer at or after `from`; the answer's length if
 * nowhere. */
static size_t find_stop(const cp_text_splitter *s, size_t from) {
    const cp_strbuf *answer = &s->result->answer;
    size_t first = answer->n;
    for (size_t i = 0; i < CP_LLM_MAX_STOPS && s->request->stops[i]; i++) {
        const char *stop = s->request->stops[i];
        const char *at =
            *stop ? memmem(cp_strbuf_text(answer) + from, answer->n - from, stop, strlen(stop))
                  : NULL;
        if (at && (size_t)(at - answer->data) < first)
            first = (size_t)(at - answer->data);
    }
    return first;
}

/* How many bytes at the answer's end could be the beginning of a stop string. */
static size_t possible_stop(const cp_text_splitter *s) {
    const cp_strbuf *answer = &s->result->answer;
    size_t longest = 0;
    for (size_t i = 0; i < CP_LLM_MAX_STOPS && s->request->stops[i]; i++) {
        size_t n = strlen(s->request->stops[i]);
        for (size_t k = n < answer->n ? n : answer->n; k > longest; k--)
            if (memcmp(answer->data + answer->n - k, s->request->stops[i], k) == 0) {
                longest = k;
                break;
            }
    }
    return longest;
}

/* Looks at the answer's new end: a stop string cuts it, the rest that is surely answer goes out. */
static void advance_answer(cp_text_splitter *s, bool final) {
    cp_strbuf *answer = &s->result->answer;
    if (s->stopped || answer->failed != CP_OK)
        return;
    size_t stop = find_stop(s, s->emitted);
    if (stop < answer->n) {
        cp_strbuf_truncate(answer, stop);
        s->stopped = true;
    }
    size_t end = s->stopped || final ? answer->n : answer->n - possible_stop(s);
    if (end <= s->emitted)
        return;
    give(s, CP_TEXT_ANSWER, answer->data + s->emitted, end - s->emitted);
    s->emitted = end;
}

static void append(cp_text_splitter *s, const char *text, size_t n) {
    if (s->at_part_start) {
        while (n > 0 && (*text == '\n' || *text == ' '))
            text++, n--;
        if (n == 0)
            return;
        s->at_part_start = false;
    }
    if (s->part == CP_TEXT_ANSWER) {
        cp_strbuf_append(&s->result->answer, text, n);
        advance_answer(s, false);
    } else {
        cp_strbuf_append(&s->result->thinking, text, n);
        give(s, CP_TEXT_THINKING, text, n);
    }
}

/* What a token, or the end of the sequence, completes goes to the part that is open. */
static void decode_token(cp_text_splitter *s, int32_t id) {
    cp_strbuf_clear(&s->decoded);
    cp_detokenizer_push(&s->detokenizer, id, &s->decoded);
    append(s, cp_strbuf_text(&s->decoded), s->decoded.n);
}

static void decode_end(cp_text_splitter *s) {
    cp_strbuf_clear(&s->decoded);
    cp_detokenizer_finish(&s->detokenizer, &s->decoded);
    append(s, cp_strbuf_text(&s->decoded), s->decoded.n);
}

static void trim_end(cp_strbuf *text) {
    while (text->n > 0 && (text->data[text->n - 1] == '\n' || text->data[text->n - 1] == ' '))
        cp_strbuf_truncate(text, text->n - 1);
}

void cp_text_splitter_push(cp_text_splitter *s, int32_t id) {
    if (s->stopped)
        return;
    bool opens =
        id >= 0 && id == s->think_open && s->part == CP_TEXT_ANSWER && s->result->answer.n == 0;
    bool closes = id >= 0 && id == s->think_close && s->part == CP_TEXT_THINKING;
    if (!opens && !closes) {
        decode_token(s, id);
        return;
    }
    decode_end(s); /* half a sequence before the marker stays what it is */
    s->part = opens ? CP_TEXT_THINKING : CP_TEXT_ANSWER;
    s->at_part_start = true;
    s->result->has_thinking = true;
    if (closes)
        trim_end(&s->result->thinking);
}

void cp_text_splitter_finish(cp_text_splitter *s) {
    if (!s->stopped)
        decode_end(s);
    advance_answer(s, true);
}
