/* carepath chat: a conversation in the terminal. */
#include "llm/commands.h"

#include "base/file.h"
#include "base/mem.h"
#include "llm/generation_args.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_LINE_BYTES ((size_t)1 << 20)
#define DIM            "\x1b[2m"
#define PLAIN          "\x1b[0m"

/* The turns so far; contents are ours. */
typedef struct conversation {
    cp_chat_message *messages;
    size_t n, cap;
} conversation;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

static bool is_interrupted(void *user) {
    (void)user;
    return interrupted != 0;
}

typedef struct display {
    bool colour, dimmed;
} display;

static void show(void *user, cp_text_part part, const char *text, size_t n) {
    display *d = user;
    bool dim = part == CP_TEXT_THINKING;
    if (dim != d->dimmed) {
        fputs(dim ? (d->colour ? DIM : "[thinking] ") : (d->colour ? PLAIN "\n\n" : "\n[answer] "),
              stdout);
        d->dimmed = dim;
    }
    fwrite(text, 1, n, stdout);
    fflush(stdout);
}

static void forget(conversation *c, size_t keep) {
    while (c->n > keep)
        free((char *)c->messages[--c->n].content);
}

static cp_status add(conversation *c, cp_role role, cp_str text, cp_error *err) {
    char *content = cp_copy_bytes(text.data, text.n);
    if (!content || !cp_grow((void **)&c->messages, &c->cap, c->n + 1, sizeof *c->messages)) {
        free(content);
        return cp_error_no_memory(err, "conversation");
    }
    c->messages[c->n++] = (cp_chat_message){.role = role, .content = content};
    return CP_OK;
}

/* One question to its answer; a failed or interrupted turn leaves the conversation as it was. */
static cp_status turn(cp_llm *llm, const cp_generation_args *args, conversation *c, cp_str question,
                      cp_error *err) {
    display d = {.colour = isatty(STDOUT_FILENO)};
    cp_llm_result result;
    cp_llm_request request = {.on_text = show, .is_cancelled = is_interrupted, .user = &d};
    size_t before = c->n;
    cp_llm_result_init(&result);
    cp_status status = add(c, CP_ROLE_USER, question, err);
    if (status == CP_OK)
        status = cp_generation_args_apply(args, llm, &request, err);
    request.messages = c->messages;
    request.n_messages = c->n;
    interrupted = 0;
    if (status == CP_OK)
        status = cp_llm_generate(llm, &request, &result, err);
    if (status == CP_OK && result.finish != CP_FINISH_CANCELLED)
        status = add(c, CP_ROLE_ASSISTANT, cp_strbuf_str(&result.answer), err);
    else
        forget(c, before);
    if (d.dimmed && d.colour)
        fputs(PLAIN, stdout);
    printf("\n");
    if (status == CP_OK && result.finish != CP_FINISH_STOP)
        printf("(%s)\n", result.finish == CP_FINISH_LENGTH
                             ? "cut: --max-new or --context is reached"
                             : "stopped; this turn is forgotten");
    cp_llm_result_deinit(&result);
    return status;
}

static cp_status converse(cp_llm *llm, const cp_generation_args *args, cp_error *err) {
    conversation c = {0};
    cp_strbuf line;
    bool more = true, terminal = isatty(STDIN_FILENO);
    cp_status status = CP_OK;
    cp_strbuf_init(&line, MAX_LINE_BYTES);
    if (terminal)
        printf("%s. /reset starts anew, Ctrl-C stops an answer, Ctrl-D ends.\n", cp_llm_name(llm));
    while (status == CP_OK) {
        if (terminal)
            fputs("\n> ", stdout);
        fflush(stdout);
        status = cp_file_next_line(stdin, &line, &more, err);
        if (status != CP_OK || !more)
            break;
        if (cp_str_is(cp_strbuf_str(&line), "/reset"))
            forget(&c, 0);
        else if (line.n > 0)
            status = turn(llm, args, &c, cp_strbuf_str(&line), err);
        if (status ==
            CP_ERR_LIMIT) { /* the conversation has outgrown the context: say so and go on */
            printf("%s. /reset starts anew.\n", err->message);
            status = CP_OK;
        }
    }
    forget(&c, 0);
    free(c.messages);
    cp_strbuf_deinit(&line);
    return status;
}

int cmd_chat(int argc, char **argv) {
    cp_generation_args a;
    cp_generation_args_init(&a, 2048);
    const cp_arg args[] = {CP_GENERATION_ARGS(a)};
    const cp_command_line line = {
        .usage = "carepath chat --model DIR [options]",
        .summary = "A conversation in the terminal: one line a question, thinking shown dimmed.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
    cp_error err;
    cp_llm *llm;
    cp_status status = cp_generation_args_open(&a, &llm, &err);
    if (status == CP_OK) {
        sigaction(SIGINT, &action, NULL);
        status = converse(llm, &a, &err);
        cp_llm_close(llm);
    }
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("chat", &err);
}
