#include "base/args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool cp_args_int(const char *text, double lo, double hi, int64_t *out) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno == ERANGE || (double)value < lo || (double)value > hi)
        return false;
    *out = value;
    return true;
}

bool cp_args_number(const char *text, double lo, double hi, double *out) {
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < lo || value > hi)
        return false;
    *out = value;
    return true;
}

static void show_help(const cp_command_line *line) {
    printf("Usage: %s\n\n%s\n", line->usage, line->summary);
    if (line->n_args)
        printf("\nOptions:\n");
    for (size_t i = 0; i < line->n_args; i++) {
        const cp_arg *arg = &line->args[i];
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", arg->name, arg->value ? " " : "",
                 arg->value ? arg->value : "");
        printf("  %-24s %s\n", left, arg->help);
    }
    printf("  %-24s %s\n", "--help", "Show this text");
}

static const cp_arg *find(const cp_command_line *line, const char *name, size_t n) {
    for (size_t i = 0; i < line->n_args; i++)
        if (strlen(line->args[i].name) == n && memcmp(line->args[i].name, name, n) == 0)
            return &line->args[i];
    return NULL;
}

static cp_args_result bad(const cp_command_line *line, const char *what, const char *word) {
    fprintf(stderr, "carepath: %s%s (usage: %s)\n", what, word, line->usage);
    return CP_ARGS_BAD;
}

static bool store(const cp_arg *arg, const char *value) {
    switch (arg->kind) {
    case CP_ARG_FLAG:
        *(bool *)arg->target = true;
        return true;
    case CP_ARG_TEXT:
        *(const char **)arg->target = value;
        return true;
    case CP_ARG_INT:
        return cp_args_int(value, arg->lo, arg->hi, arg->target);
    case CP_ARG_NUMBER:
        return cp_args_number(value, arg->lo, arg->hi, arg->target);
    }
    return false;
}

cp_args_result cp_args_parse(const cp_command_line *line, int argc, char **argv) {
    size_t n_positional = 0;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            show_help(line);
            return CP_ARGS_HELP_SHOWN;
        }
        if (strncmp(word, "--", 2) != 0) {
            if (n_positional == line->max_positional)
                return bad(line, "unexpected argument: ", word);
            line->positional[n_positional++] = word;
            continue;
        }
        const char *equals = strchr(word, '=');
        size_t n = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
        const cp_arg *arg = find(line, word + 2, n);
        if (!arg)
            return bad(line, "unknown option: ", word);
        const char *value = equals ? equals + 1 : NULL;
        if (arg->kind == CP_ARG_FLAG && value)
            return bad(line, "this option takes no value: ", word);
        if (arg->kind != CP_ARG_FLAG && !value) {
            if (i + 1 == argc)
                return bad(line, "this option needs a value: ", word);
            value = argv[++i];
        }
        if (!store(arg, value)) {
            fprintf(stderr, "carepath: --%s is \"%s\", expected %s from %.10g to %.10g\n",
                    arg->name, value, arg->kind == CP_ARG_INT ? "an integer" : "a number", arg->lo,
                    arg->hi);
            return CP_ARGS_BAD;
        }
    }
    for (size_t i = 0; i < line->n_args; i++)
        if (line->args[i].required && !*(const char **)line->args[i].target)
            return bad(line, "this option is missing: --", line->args[i].name);
    return CP_ARGS_RUN;
}

int cp_command_failed(const char *name, const cp_error *err) {
    fprintf(stderr, "carepath %s: %s\n", name, err->message);
    return err->status == CP_ERR_USAGE ? CP_EXIT_USAGE : CP_EXIT_FAILED;
}
