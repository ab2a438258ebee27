/* carepath pull: a model from the hub, and if wished its quantized copy. */
#include "convert/commands.h"

#include "base/args.h"
#include "base/crypto.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "base/progress.h"
#include "convert/pulled_copy.h"
#include "hub/catalogue.h"
#include "hub/hub_pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

typedef struct wishes {
    const char *repo, *revision, *quant;
    int64_t n_parallel, n_threads;
    bool json;
    cp_quant_level level;
} wishes;

/* ---- while it runs --------------------------------------------------------------------------- */

typedef struct show {
    cp_progress bar;
    bool begun;
} show;

static bool on_progress(void *user, uint64_t done, uint64_t total) {
    show *s = user;
    if (total == 0)
        return true;
    if (!s->begun)
        cp_progress_resume(&s->bar, "pull", total, done);
    s->begun = true;
    cp_progress_update(&s->bar, done);
    return true;
}

/* One line from the terminal, not shown while it is typed; false when there is none. */
static bool ask_secret(const char *question, char *out, size_t cap) {
    struct termios before, silent;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0)
        return false;
    silent = before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ISIG); /* an interrupt would leave it silent */
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) != 0)
        return false;
    fputs(question, stderr);
    fflush(stderr);
    ssize_t n = read(STDIN_FILENO, out, cap - 1);
    out[n > 0 ? n : 0] = '\0';
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &before) != 0)
        fputs("carepath pull: the terminal stays silent: type \"stty echo\"", stderr);
    fputc('\n', stderr);
    return out[strspn(out, " \t\r\n")] != '\0';
}

static bool ask_token(cp_hub_settings *settings, const cp_error *why) {
    char token[CP_HUB_TOKEN_CAP];
    cp_error err;
    fprintf(stderr, "carepath pull: %s\n", why->message);
    bool good = ask_secret("Token (not shown; nothing ends): ", token, sizeof token);
    cp_status status =
        good ? cp_hub_settings_set_token(settings, "the terminal", token, &err) : CP_OK;
    if (status != CP_OK)
        fprintf(stderr, "carepath pull: %s\n", err.message);
    cp_wipe(token, sizeof token);
    return good && status == CP_OK;
}

static cp_status fetch(const wishes *w, cp_hub_settings *settings, cp_pull_report *report,
                       cp_error *err) {
    for (bool asked = false;; asked = true) {
        show s = {.begun = false};
        const cp_pull_options options = {.repo = w->repo,
                                         .revision = w->revision,
                                         .n_parallel = (size_t)w->n_parallel,
                                         .on_progress = on_progress,
                                         .user = &s};
        cp_status status = cp_pull(settings, &options, report, err);
        if (s.begun && status == CP_OK)
            cp_progress_finish(&s.bar, report->bytes);
        else if (s.begun && s.bar.terminal)
            fputc('\n', stderr);
        if (status == CP_OK || !report->needs_token || asked || !ask_token(settings, err))
            return status;
        cp_pull_report_deinit(report);
    }
}

/* ---- what was done --------------------------------------------------------------------------- */

static cp_status print_json(const wishes *w, const cp_pull_report *r, const cp_pulled_copy *copy,
                            cp_error *err) {
    cp_strbuf text;
    cp_json_writer j;
    cp_strbuf_init(&text, (size_t)1 << 20);
    cp_json_writer_init(&j, &text);
    cp_json_open_object(&j);
    cp_json_member_text(&j, "repository", w->repo);
    cp_json_member_text(&j, "commit", r->commit);
    cp_json_member_text(&j, "folder", r->dir);
    cp_json_member_int(&j, "bytes", (int64_t)r->bytes);
    cp_json_member_int(&j, "fetched_bytes", (int64_t)r->fetched_bytes);
    cp_json_member_number(&j, "seconds", r->seconds, 4);
    cp_json_key(&j, "files");
    cp_json_open_array(&j);
    for (size_t i = 0; i < r->n_files; i++) {
        cp_json_open_object(&j);
        cp_json_member_text(&j, "name", r->files[i].name);
        cp_json_member_int(&j, "bytes", (int64_t)r->files[i].size);
        cp_json_member_text(&j, "hash", *r->files[i].hash ? r->files[i].hash : NULL);
        cp_json_member_bool(&j, "was_there", r->files[i].was_there);
        cp_json_close_object(&j);
    }
    cp_json_close_array(&j);
    if (w->quant) {
        cp_json_key(&j, "copy");
        cp_json_open_object(&j);
        cp_json_member_text(&j, "folder", copy->dir);
        cp_json_member_text(&j, "quant", w->quant);
        cp_json_member_bool(&j, "was_there", copy->was_there);
        cp_json_close_object(&j);
    }
    cp_json_close_object(&j);
    cp_status status = cp_strbuf_check(&text, "report", err);
    if (status == CP_OK)
        printf("%s\n", cp_strbuf_text(&text));
    cp_strbuf_deinit(&text);
    return status;
}

static void print_text(const wishes *w, const cp_pull_report *r, const cp_pulled_copy *copy) {
    for (size_t i = 0; i < r->n_files; i++) {
        const cp_pull_file *file = &r->files[i];
        printf("%-36s %12llu  %s%s\n", file->name, (unsigned long long)file->size,
               *file->hash ? file->hash : "(no hash in the cache)",
               file->was_there ? "  (was there)" : "");
    }
    printf("%s at %s: %.1f MB, %.1f MB of them fetched in %.1f s\n", w->repo, r->commit,
           (double)r->bytes / 1e6, (double)r->fetched_bytes / 1e6, r->seconds);
    printf("model folder: %s\n", r->dir);
    if (w->quant)
        printf("%s copy: %s%s\n", w->quant, copy->dir, copy->was_there ? " (was there)" : "");
}

/* ---- doing it -------------------------------------------------------------------------------- */

static cp_status make_copy(const wishes *w, const cp_pull_report *report, cp_pulled_copy *copy,
                           cp_error *err) {
    const char *models = getenv("MODEL_CACHE_DIR");
    const cp_pulled_model model = {w->repo, report->commit, report->dir};
    const cp_convert_options options = {.level = w->level, .n_threads = (size_t)w->n_threads};
    return cp_pulled_copy_make(&model, models && *models ? models : "models", &options, copy, err);
}

static cp_status run(wishes *w, cp_error *err) {
    cp_hub_settings settings;
    cp_pull_report report = {.n_files = 0};
    cp_pulled_copy copy = {.was_there = false};
    if (!w->repo)
        return cp_error_set(err, CP_ERR_USAGE,
                            "the repository is missing, as in \"carepath pull "
                            "Qwen/Qwen3-4B-Thinking-2507\" (see --help)");
    if (w->quant && !cp_quant_level_of(w->quant, &w->level))
        return cp_error_set(err, CP_ERR_USAGE,
                            "--quant is \"%.32s\", expected " CP_QUANT_LEVEL_NAMES, w->quant);
    const char *known = cp_catalogue_repo(w->repo);
    w->repo = known ? known : w->repo;
    cp_status status = cp_hub_settings_read(&settings, getenv, err);
    if (status == CP_OK)
        status = fetch(w, &settings, &report, err);
    cp_hub_settings_wipe(&settings);
    if (status == CP_OK && report.unreachable)
        fprintf(stderr, "carepath pull: the hub cannot be reached; this is the copy of before\n");
    if (status == CP_OK && w->quant)
        status = make_copy(w, &report, &copy, err);
    if (status == CP_OK && w->json)
        status = print_json(w, &report, &copy, err);
    else if (status == CP_OK)
        print_text(w, &report, &copy);
    cp_pull_report_deinit(&report);
    return status;
}

int cmd_pull(int argc, char **argv) {
    wishes w = {.n_parallel = 4};
    const cp_arg args[] = {
        {"revision", CP_ARG_TEXT, &w.revision, "R", "Branch, tag or commit (default main)", 0, 0,
         false},
        {"quant", CP_ARG_TEXT, &w.quant, "LEVEL",
         "Also make MODEL_CACHE_DIR/NAME-LEVEL: " CP_QUANT_LEVEL_NAMES, 0, 0, false},
        {"parallel", CP_ARG_INT, &w.n_parallel, "N", "Files at a time (default 4)", 1, 16, false},
        {"threads", CP_ARG_INT, &w.n_threads, "N",
         "With --quant: threads (default: one a processor)", 0, 1024, false},
        {"json", CP_ARG_FLAG, &w.json, NULL, "The report as JSON", 0, 0, false},
    };
    const cp_command_line line = {
        .usage = "carepath pull ORGANISATION/NAME [--revision R] [--quant LEVEL]",
        .summary =
            "Fetches a model from the Hugging Face hub into the cache that tools share: "
            "HF_HUB_CACHE,\n"
            "else HF_HOME/hub, else ~/.cache/huggingface/hub. What is there is used; what an "
            "earlier\n"
            "run left is gone on with; every file's hash is checked. HF_ENDPOINT: another hub.\n"
            "HF_TOKEN: your token, where the model is not for everybody. HF_HUB_OFFLINE=1: ask "
            "nobody.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
        .positional = &w.repo,
        .max_positional = 1,
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    return run(&w, &err) == CP_OK ? CP_EXIT_OK : cp_command_failed("pull", &err);
}
