/* `carepath keys create|list|revoke`: the file of API keys, by hand. A running server reads it
 * again by itself. Two at once take turns, so neither loses the other's key. */
#include "server/commands.h"

#include "base/args.h"
#include "base/file.h"
#include "base/mem.h"
#include "server/access_keys.h"
#include "server/rate_limit.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define MAX_SHOWN_BYTES ((size_t)4 << 20)

typedef struct keys_args {
    const char *action, *file, *id, *scopes, *not_after;
    int64_t rate_per_minute, burst, daily_quota_tokens;
    bool json;
} keys_args;

/* Locks the file's folder, which stays where it is while the file is replaced. Released by close.
 */
static cp_status lock_folder(const char *file, int *fd, cp_error *err) {
    char copy[CP_PATH_CAP];
    int n = snprintf(copy, sizeof copy, "%s", file);
    if (n < 0 || (size_t)n >= sizeof copy)
        return cp_error_set(err, CP_ERR_LIMIT, "%s: path is too long", file);
    const char *folder = dirname(copy);
    *fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd >= 0 && flock(*fd, LOCK_EX) == 0)
        return CP_OK;
    cp_status status =
        cp_error_set(err, CP_ERR_IO, "%s: cannot lock the folder: %s", folder, strerror(errno));
    if (*fd >= 0)
        close(*fd);
    return status;
}

static void show_secret(const keys_args *args, const char *text) {
    cp_strbuf out;
    cp_json_writer w;
    if (!args->json) {
        printf("%s\n", text);
        return;
    }
    cp_strbuf_init(&out, 4096);
    cp_json_writer_init(&w, &out);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "id", args->id);
    cp_json_member_text(&w, "key", text);
    cp_json_close_object(&w);
    printf("%s\n", cp_strbuf_text(&out));
    if (out.data)
        cp_wipe(out.data, out.n);
    cp_strbuf_deinit(&out);
}

/* What the command line says about a new key. */
static cp_status describe(const keys_args *args, cp_access_key *key, cp_error *err) {
    *key = (cp_access_key){
        .rate_per_minute = args->rate_per_minute,
        .burst = args->burst,
        .daily_quota_tokens = args->daily_quota_tokens,
        .not_after = INT64_MAX,
    };
    if (!args->id || !args->scopes)
        return cp_error_set(err, CP_ERR_USAGE, "create needs --id and --scopes");
    if (args->not_after && !cp_clock_parse_utc(args->not_after, &key->not_after))
        return cp_error_set(err, CP_ERR_USAGE,
                            "--not-after is \"%s\", expected a time such as 2027-06-30T00:00:00Z",
                            args->not_after);
    if (cp_scopes_parse((cp_str){args->scopes, strlen(args->scopes)}, &key->scopes, err) == CP_OK)
        return CP_OK;
    err->status = CP_ERR_USAGE;
    return cp_error_prefix(err, "--scopes");
}

/* The key is shown only when it is in the file. */
static cp_status create(const keys_args *args, cp_access_keys *keys, cp_error *err) {
    cp_access_key key;
    char text[CP_KEY_TEXT_CAP];
    cp_status status = describe(args, &key, err);
    if (status == CP_OK && cp_keys_find(keys, args->id))
        return cp_error_set(err, CP_ERR_USAGE, "%s has a key %s already: revoke it first",
                            args->file, args->id);
    if (status == CP_OK)
        status = cp_key_make(args->id, &key, text, err);
    if (status == CP_OK)
        status = cp_keys_add(keys, &key, err);
    if (status == CP_OK)
        status = cp_keys_write(args->file, keys, err);
    if (status == CP_OK) {
        fprintf(stderr, "carepath keys: this is shown once; keep it as you would a password\n");
        show_secret(args, text);
        if (fflush(stdout) != 0)
            status = cp_error_set(err, CP_ERR_IO, "key %s is made but cannot be shown: revoke it",
                                  args->id);
    }
    cp_wipe(text, sizeof text);
    return status;
}

static cp_status take_out(const keys_args *args, cp_access_keys *keys, cp_error *err) {
    if (!args->id)
        return cp_error_set(err, CP_ERR_USAGE, "revoke needs --id");
    const cp_access_key *key = cp_keys_find(keys, args->id);
    if (!key)
        return cp_error_set(err, CP_ERR_NOT_FOUND, "%s has no key %s", args->file, args->id);
    size_t place = (size_t)(key - keys->keys);
    keys->n--;
    memmove(&keys->keys[place], &keys->keys[place + 1], (keys->n - place) * sizeof *key);
    return cp_keys_write(args->file, keys, err);
}

static void append_line(cp_strbuf *out, const cp_access_key *key) {
    char until[CP_CLOCK_UTC_CAP];
    cp_key_until(key, until);
    cp_strbuf_printf(out, "%-32s %7lld %7lld %13lld  %-20s  ", key->id,
                     (long long)key->rate_per_minute, (long long)key->burst,
                     (long long)key->daily_quota_tokens, *until ? until : "-");
    const char *comma = "";
    for (unsigned scope = 1; scope < CP_SCOPES_ALL; scope <<= 1)
        if (key->scopes & scope) {
            cp_strbuf_printf(out, "%s%s", comma, cp_scope_name(scope));
            comma = ",";
        }
    cp_strbuf_putc(out, '\n');
}

static cp_status list(const keys_args *args, const cp_access_keys *keys, cp_error *err) {
    cp_strbuf out;
    cp_json_writer w;
    cp_strbuf_init(&out, MAX_SHOWN_BYTES);
    cp_json_writer_init(&w, &out);
    if (args->json) {
        cp_json_open_array(&w);
        for (size_t i = 0; i < keys->n; i++)
            cp_key_append(&w, &keys->keys[i], false);
        cp_json_close_array(&w);
        cp_strbuf_putc(&out, '\n');
    } else {
        cp_strbuf_printf(&out, "%-32s %7s %7s %13s  %-20s  %s\n", "id", "rate", "burst",
                         "tokens a day", "not after", "scopes");
        for (size_t i = 0; i < keys->n; i++)
            append_line(&out, &keys->keys[i]);
    }
    cp_status status = cp_strbuf_check(&out, "the list", err);
    if (status == CP_OK)
        fwrite(cp_strbuf_text(&out), 1, out.n, stdout);
    cp_strbuf_deinit(&out);
    return status;
}

static cp_status act(const keys_args *args, cp_error *err) {
    bool creates = strcmp(args->action, "create") == 0;
    cp_access_keys keys;
    int folder = -1;
    cp_status status = lock_folder(args->file, &folder, err);
    if (status != CP_OK)
        return status;
    status = cp_keys_read(args->file, &keys, err);
    if (status == CP_ERR_NOT_FOUND && creates)
        status = CP_OK; /* the first one */
    if (status == CP_OK && creates)
        status = create(args, &keys, err);
    else if (status == CP_OK && strcmp(args->action, "revoke") == 0)
        status = take_out(args, &keys, err);
    else if (status == CP_OK)
        status = list(args, &keys, err);
    cp_keys_deinit(&keys);
    close(folder);
    return status;
}

static bool is_action(const char *word) {
    return word && (strcmp(word, "create") == 0 || strcmp(word, "list") == 0 ||
                    strcmp(word, "revoke") == 0);
}

int cmd_keys(int argc, char **argv) {
    keys_args a = {.rate_per_minute = 60, .burst = 20};
    cp_error err;
    const cp_arg args[] = {
        {"file", CP_ARG_TEXT, &a.file, "FILE", "The keys' file, as in API_KEYS_FILE", 0, 0, true},
        {"id", CP_ARG_TEXT, &a.id, "NAME", "Name of the key: a-z, 0-9, -; it is shown and logged",
         0, 0, false},
        {"scopes", CP_ARG_TEXT, &a.scopes, "A,B",
         "create: of triage, chat, patients:read, patients:write, admin, metrics", 0, 0, false},
        {"rate-per-minute", CP_ARG_INT, &a.rate_per_minute, "N",
         "create: requests a minute (default 60; 0 is no limit)", 0, CP_RATE_MAX, false},
        {"burst", CP_ARG_INT, &a.burst, "N", "create: requests at once (default 20)", 1,
         CP_RATE_MAX, false},
        {"daily-quota-tokens", CP_ARG_INT, &a.daily_quota_tokens, "N",
         "create: tokens a day, UTC (default 0: no limit)", 0, (double)CP_KEY_MAX_QUOTA, false},
        {"not-after", CP_ARG_TEXT, &a.not_after, "TIME",
         "create: 2027-06-30T00:00:00Z; without it the key does not expire", 0, 0, false},
        {"json", CP_ARG_FLAG, &a.json, NULL, "create, list: JSON on stdout", 0, 0, false},
    };
    const cp_command_line line = {
        .usage = "carepath keys create|list|revoke --file FILE [--id NAME] [--scopes A,B] [...]",
        .summary = "API keys of the server. create shows the new key once, on stdout; the file "
                   "keeps a hash of it.\nA running server reads the file again within a second or "
                   "two.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
        .positional = &a.action,
        .max_positional = 1,
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    if (!is_action(a.action)) {
        cp_error_set(&err, CP_ERR_USAGE, "expected create, list or revoke");
        return cp_command_failed("keys", &err);
    }
    return act(&a, &err) == CP_OK ? CP_EXIT_OK : cp_command_failed("keys", &err);
}
