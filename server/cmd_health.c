/* carepath health: asks a running server how it is; for containers, which have no curl. */
#include "server/commands.h"

#include "base/args.h"
#include "base/http_client.h"
#include "base/mem.h"
#include "server/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_S 2
#define ANSWER_S  5
#define MAX_BYTES ((size_t)64 << 10)

/* Of the server that this environment would start: an address that means "every one" is asked on
 * the loopback. */
static cp_status own_url(const char *path, char *url, size_t cap, cp_error *err) {
    cp_settings s;
    cp_status status = cp_settings_from_env(&s, getenv, err);
    if (status != CP_OK)
        return status;
    const char *host = s.host;
    if (strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    if (strcmp(host, "::") == 0)
        host = "::1";
    const char *open = strchr(host, ':') ? "[" : "", *close = *open ? "]" : "";
    int n = snprintf(url, cap, "%s://%s%s%s:%lld%s", *s.tls_cert_file ? "https" : "http", open,
                     host, close, (long long)s.port, path);
    if (n < 0 || (size_t)n >= cap)
        return cp_error_set(err, CP_ERR_USAGE, "HOST is too long for a URL: %zu bytes",
                            strlen(s.host));
    return CP_OK;
}

/* Shows the answer; CP_OK when it is 200. */
static cp_status ask(const char *url, cp_error *err) {
    cp_http_client *client;
    cp_http_answer answer;
    const cp_http_call call = {.method = "GET",
                               .url = url,
                               .connect_s = CONNECT_S,
                               .total_s = ANSWER_S,
                               .max_bytes = MAX_BYTES};
    cp_status status = cp_http_client_create(&client, err);
    if (status != CP_OK)
        return status;
    status = cp_http_client_send(client, &call, &answer, err);
    if (status == CP_OK) {
        puts(cp_strbuf_text(&answer.body));
        if (answer.status != 200)
            status =
                cp_error_set(err, CP_ERR_IO, "%s answers %d, expected 200", url, answer.status);
    }
    cp_http_answer_deinit(&answer);
    cp_http_client_free(client);
    return status;
}

int cmd_health(int argc, char **argv) {
    const char *url = NULL;
    char own[512];
    bool ready = false;
    cp_error err;
    const cp_arg args[] = {
        {"url", CP_ARG_TEXT, &url, "URL", "What to ask (default: /health at HOST and PORT)", 0, 0,
         false},
        {"ready", CP_ARG_FLAG, &ready, NULL, "Ask /ready: can the model be asked?", 0, 0, false},
    };
    const cp_command_line line = {
        .usage = "carepath health [--url URL | --ready]",
        .summary = "Asks a running server how it is: 0 when it answers 200 within 5 seconds, else "
                   "1. With TLS the\ncertificate must fit the URL's name.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    if (url && ready) {
        fprintf(stderr, "carepath health: expected either --url or --ready\n");
        return CP_EXIT_USAGE;
    }
    cp_status status = url ? CP_OK : own_url(ready ? "/ready" : "/health", own, sizeof own, &err);
    if (status == CP_OK)
        status = ask(url ? url : own, &err);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("health", &err);
}
