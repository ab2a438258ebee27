/* The command line of one subcommand: a table of options, parsed, checked and shown by --help.
 *
 * Long options only, "--name value" or "--name=value"; flags take no value. Numbers are checked
 * against the range in the table. Results go to the targets, which the caller has set to the
 * defaults. */
#ifndef CP_BASE_ARGS_H
#define CP_BASE_ARGS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses of every subcommand. */
#define CP_EXIT_OK     0
#define CP_EXIT_FAILED 1
#define CP_EXIT_USAGE  2

typedef enum cp_arg_kind {
    CP_ARG_FLAG,   /* bool *: true when given */
    CP_ARG_TEXT,   /* const char **: borrowed from argv */
    CP_ARG_INT,    /* int64_t * in lo..hi */
    CP_ARG_NUMBER, /* double * in lo..hi */
} cp_arg_kind;

typedef struct cp_arg {
    const char *name; /* without the dashes */
    cp_arg_kind kind;
    void *target;
    const char *value; /* shown in help: "DIR" */
    const char *help;
    double lo, hi; /* numbers only */
    bool required; /* texts only: the target must not be NULL in the end */
} cp_arg;

typedef struct cp_command_line {
    const char *usage;   /* "carepath logits --model DIR [--all | --embed]" */
    const char *summary; /* a sentence or a few lines */
    const cp_arg *args;
    size_t n_args;
    const char **positional; /* [max_positional], set to the words that are no options */
    size_t max_positional;
} cp_command_line;

typedef enum cp_args_result { CP_ARGS_RUN, CP_ARGS_HELP_SHOWN, CP_ARGS_BAD } cp_args_result;

/* Parses argv[1..argc): argv[0] is the subcommand's name. --help prints to stdout; a mistake prints
 * one line to stderr that names the option, its value and what was expected. */
cp_args_result cp_args_parse(const cp_command_line *line, int argc, char **argv) CP_MUST_CHECK;

/* The exit status when the result is not CP_ARGS_RUN. */
static inline int cp_args_exit(cp_args_result result) {
    return result == CP_ARGS_HELP_SHOWN ? CP_EXIT_OK : CP_EXIT_USAGE;
}

/* Number texts, used by settings too: the whole text must be a finite number in lo..hi. */
bool cp_args_int(const char *text, double lo, double hi, int64_t *out) CP_MUST_CHECK;
bool cp_args_number(const char *text, double lo, double hi, double *out) CP_MUST_CHECK;

/* Prints "carepath NAME: MESSAGE" to stderr and returns CP_EXIT_FAILED, or CP_EXIT_USAGE when the
 * status is CP_ERR_USAGE. */
int cp_command_failed(const char *name, const cp_error *err);

#endif
