/* Which chat template a model folder has: recognised, never interpreted.
 *
 * A template is a program in Jinja, from a file that is not trusted. Instead of running it, this
 * module decides whether it is one of the families that chat.c renders in C. The decision rests on
 * what a template can print: all its string literals and names must be on the family's lists, the
 * family's telling literals must be there, and text outside of tags must be blanks that the tags
 * trim. So a template with another default system prompt, other markers or a printed date is not
 * mistaken for a known one: it is unknown, and rendering says so. What is not seen is a template
 * that prints the same under other conditions.
 *
 * chat_template.jinja wins over "chat_template" in tokenizer_config.json. A family is one row in
 * the table of chat_template.c and one function in chat.c. */
#ifndef CP_TOKENIZER_CHAT_TEMPLATE_H
#define CP_TOKENIZER_CHAT_TEMPLATE_H

#include "base/strbuf.h"

#define CP_CHAT_TEMPLATE_MAX ((size_t)1 << 20)

typedef enum cp_chat_family {
    CP_CHAT_UNKNOWN,
    CP_CHAT_QWEN3_HYBRID,
    CP_CHAT_QWEN3_THINKING_2507,
    CP_CHAT_CHATML_SMOLLM2,
} cp_chat_family;

/* What SmolLM2's template says when the first message is no system message. */
#define CP_CHAT_SMOLLM2_SYSTEM                                                                     \
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

typedef struct cp_chat_template {
    cp_chat_family family;
    char *why_not; /* for CP_CHAT_UNKNOWN: the sentence; owned */
} cp_chat_template;
void cp_chat_template_deinit(cp_chat_template *chat);

/* Looks at the folder's files. A missing, unreadable or unknown template is no error here: it is
 * CP_CHAT_UNKNOWN and why_not. Fails for want of memory only. */
cp_status cp_chat_template_load(cp_chat_template *chat, const char *dir,
                                cp_error *err) CP_MUST_CHECK;

/* The family of a template's text. */
cp_chat_family cp_chat_template_recognise(cp_str text);
/* "qwen3-hybrid"; NULL for CP_CHAT_UNKNOWN. */
const char *cp_chat_family_name(cp_chat_family family);

#endif
