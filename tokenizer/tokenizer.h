/* Text to token ids and back, and chat messages to prompts, for Qwen-style byte-level BPE.
 *
 * A tokenizer is read from a model folder (tokenizer.json; the chat template from
 * chat_template.jinja or tokenizer_config.json) and is immutable afterwards: any number of threads
 * may use one. It knows text and ids only; nothing here touches weights. Added tokens
 * ("<|im_start|>") become control tokens only inside the spans that the caller marks as its own;
 * elsewhere their letters are ordinary text. */
#ifndef CP_TOKENIZER_TOKENIZER_H
#define CP_TOKENIZER_TOKENIZER_H

#include "base/error.h"
#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cp_tokenizer cp_tokenizer;

/* `dir` holds at least tokenizer.json. A missing or unknown chat template is no error here, but
 * when cp_chat_render is asked for it. */
cp_status cp_tokenizer_open(const char *dir, cp_tokenizer **out, cp_error *err) CP_MUST_CHECK;
void cp_tokenizer_close(cp_tokenizer *tok);

/* One more than the largest id, added tokens included. */
size_t cp_tokenizer_n_ids(const cp_tokenizer *tok);
/* The id of the added token with exactly this text, or -1. */
int32_t cp_tokenizer_added_id(const cp_tokenizer *tok, const char *text);
/* The bytes an id stands for (an added token's text); n is 0 for ids without text. */
cp_str cp_tokenizer_id_bytes(const cp_tokenizer *tok, int32_t id);
/* "special": true in tokenizer.json; <think> is added but not special. */
bool cp_tokenizer_is_special(const cp_tokenizer *tok, int32_t id);

/* ---- text to ids ---------------------------------------------------------------------------- */

typedef struct cp_ids {
    int32_t *ids;
    size_t n, cap;
} cp_ids;
void cp_ids_deinit(cp_ids *ids);
cp_status cp_ids_push(cp_ids *ids, int32_t id, cp_error *err) CP_MUST_CHECK;

/* A run of bytes of a text in which added tokens count. Sorted, disjoint. */
typedef struct cp_span {
    size_t begin, end;
} cp_span;

typedef struct cp_encode_options {
    const cp_span *control; /* [n_control]; none: the whole text is ordinary */
    size_t n_control;
    bool parse_special; /* added tokens count everywhere */
    bool post_process;  /* append what the post-processor says (Qwen3-Embedding: <|endoftext|>) */
} cp_encode_options;

/* Appends the ids of text[0..n) to `out`. Invalid UTF-8: each maximal bad part is read as U+FFFD.
 * Linear or n log n. Fails only for want of memory or past CP_TOKENIZER_MAX_TEXT. */
#define CP_TOKENIZER_MAX_TEXT ((size_t)64 << 20)
cp_status cp_tokenizer_encode(const cp_tokenizer *tok, const char *text, size_t n,
                              const cp_encode_options *options, cp_ids *out,
                              cp_error *err) CP_MUST_CHECK;

/* ---- ids to text ---------------------------------------------------------------------------- */

/* Appends the text of the ids, bytes that are not UTF-8 as U+FFFD (one a maximal bad part). An id
 * outside 0..cp_tokenizer_n_ids is refused. */
cp_status cp_tokenizer_decode(const cp_tokenizer *tok, const int32_t *ids, size_t n,
                              bool skip_special, cp_strbuf *out, cp_error *err) CP_MUST_CHECK;

/* Decoding as tokens arrive: keeps back a sequence until its last byte is there, so that what it
 * hands out is always whole UTF-8. */
typedef struct cp_detokenizer {
    const cp_tokenizer *tok;
    bool skip_special;
    char pending[4];
    size_t n_pending;
} cp_detokenizer;
void cp_detokenizer_init(cp_detokenizer *d, const cp_tokenizer *tok, bool skip_special);
/* Appends to `out` the text that this id completes; ids without text add nothing. */
void cp_detokenizer_push(cp_detokenizer *d, int32_t id, cp_strbuf *out);
/* Appends U+FFFD for what is still incomplete. */
void cp_detokenizer_finish(cp_detokenizer *d, cp_strbuf *out);

/* ---- chat ----------------------------------------------------------------------------------- */

typedef enum cp_role { CP_ROLE_SYSTEM, CP_ROLE_USER, CP_ROLE_ASSISTANT } cp_role;
/* "system", "user", "assistant"; false for other words. */
bool cp_role_parse(const char *word, cp_role *out);

typedef struct cp_chat_message {
    cp_role role;
    const char *content;   /* UTF-8, NUL-terminated */
    const char *reasoning; /* an assistant's thinking kept apart, or NULL */
} cp_chat_message;

typedef enum cp_thinking { CP_THINKING_DEFAULT, CP_THINKING_ON, CP_THINKING_OFF } cp_thinking;

/* A conversation as JSON: {"messages": [{"role", "content", "reasoning_content"?}...],
 * "enable_thinking"?: bool, "add_generation_prompt"?: bool (default true)}. */
typedef struct cp_chat_request {
    cp_chat_message *messages; /* [n]; their texts are borrowed from the JSON tree */
    size_t n;
    cp_thinking thinking;
    bool add_generation_prompt;
} cp_chat_request;
struct cJSON;
cp_status cp_chat_request_read(const struct cJSON *object, cp_chat_request *out,
                               cp_error *err) CP_MUST_CHECK;
void cp_chat_request_deinit(cp_chat_request *request);

/* A rendered prompt: its text, and which spans of it the template wrote itself. */
typedef struct cp_prompt {
    cp_strbuf text;
    cp_span *control;
    size_t n_control, cap_control;
} cp_prompt;
void cp_prompt_init(cp_prompt *prompt);
void cp_prompt_deinit(cp_prompt *prompt);

/* "qwen3-hybrid", "qwen3-thinking-2507", "chatml-smollm2", or NULL when the folder has no template
 * that is known. */
const char *cp_chat_template_name(const cp_tokenizer *tok);
/* True when the prompt leaves the model inside its thinking: its output then starts with the
 * thought and has only the closing </think> (Thinking-2507). */
bool cp_chat_starts_in_thought(const cp_tokenizer *tok);

/* Renders as the folder's template does, the generation prompt appended when asked. An unknown or
 * missing template, or no messages, is an error that says so. */
cp_status cp_chat_render(const cp_tokenizer *tok, const cp_chat_message *messages, size_t n,
                         bool add_generation_prompt, cp_thinking thinking, cp_prompt *out,
                         cp_error *err) CP_MUST_CHECK;
/* Ids of a rendered prompt: contents are ordinary text unless parse_special. */
cp_status cp_prompt_encode(const cp_tokenizer *tok, const cp_prompt *prompt, bool parse_special,
                           cp_ids *out, cp_error *err) CP_MUST_CHECK;

#endif
