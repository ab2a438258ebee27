#include "hub/hub_settings.h"

#include "base/crypto.h"
#include "base/http_client.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_ENDPOINT "https://huggingface.co"

typedef char *getter(const char *name);

/* The first of the variables that has a value; its name in *which. */
static const char *first_of(getter *get, const char *const *names, size_t n, const char **which) {
    for (size_t i = 0; i < n; i++) {
        const char *value = get(names[i]);
        if (value && *value) {
            *which = names[i];
            return value;
        }
    }
    return NULL;
}

static const char *value_of(getter *get, const char *name) {
    const char *which;
    return first_of(get, &name, 1, &which);
}

static bool is_loopback(const char *host) {
    struct in_addr address;
    if (strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

bool cp_hub_may_ask(const cp_hub_settings *settings, bool tls, const char *host) {
    return tls || (settings->is_local && is_loopback(host));
}

static cp_status read_endpoint(cp_hub_settings *s, getter *get, cp_error *err) {
    cp_http_url url;
    const char *value = value_of(get, "HF_ENDPOINT");
    value = value ? value : DEFAULT_ENDPOINT;
    size_t n = strlen(value);
    while (n > 0 && value[n - 1] == '/')
        n--;
    if (n >= sizeof s->endpoint || strpbrk(value, "?# "))
        return cp_error_set(err, CP_ERR_USAGE,
                            "HF_ENDPOINT is longer than %zu bytes, or has a query in it, expected "
                            "https://host",
                            sizeof s->endpoint - 1);
    snprintf(s->endpoint, sizeof s->endpoint, "%.*s", (int)n, value);
    cp_status status = cp_http_url_parse("HF_ENDPOINT", s->endpoint, &url, err);
    if (status != CP_OK)
        return status;
    s->is_local = !url.tls;
    if (!cp_hub_may_ask(s, url.tls, url.host))
        return cp_error_set(err, CP_ERR_USAGE,
                            "HF_ENDPOINT is %s: http is for this machine only (127.0.0.1, "
                            "localhost); use https",
                            url.origin);
    return CP_OK;
}

static cp_status set_path(const char *name, char out[CP_PATH_CAP], const char *dir,
                          const char *rest, cp_error *err) {
    int n = snprintf(out, CP_PATH_CAP, "%s%s", dir, rest);
    if (n < 0 || n >= CP_PATH_CAP)
        return cp_error_set(err, CP_ERR_USAGE, "%s is longer than a path can be", name);
    return CP_OK;
}

static cp_status find_home(getter *get, char home[CP_PATH_CAP], cp_error *err) {
    const char *own = value_of(get, "HF_HOME"), *xdg = value_of(get, "XDG_CACHE_HOME"),
               *user = value_of(get, "HOME");
    if (own && own[0] == '~' && own[1] == '/' && user) {
        cp_status status = set_path("HF_HOME", home, user, own + 1, err);
        return status;
    }
    if (own)
        return set_path("HF_HOME", home, own, "", err);
    if (xdg)
        return set_path("XDG_CACHE_HOME", home, xdg, "/huggingface", err);
    if (user)
        return set_path("HOME", home, user, "/.cache/huggingface", err);
    return cp_error_set(err, CP_ERR_USAGE,
                        "there is no folder for models: neither HF_HOME nor HOME is set");
}

cp_status cp_hub_settings_set_token(cp_hub_settings *s, const char *from, const char *token,
                                    cp_error *err) {
    token += strspn(token, " \t\r\n");
    size_t n = strcspn(token, " \t\r\n");
    s->token[0] = '\0';
    bool good = n > 0 && n < sizeof s->token && !token[n + strspn(token + n, " \t\r\n")];
    for (size_t i = 0; i < n; i++)
        good = good && token[i] > ' ' && token[i] < 127;
    if (!good)
        return cp_error_set(err, CP_ERR_USAGE,
                            "%s holds no token: expected one word of at most %zu letters and "
                            "digits (hf_...)",
                            from, sizeof s->token - 1);
    memcpy(s->token, token, n);
    s->token[n] = '\0';
    return CP_OK;
}

static cp_status read_token(cp_hub_settings *s, getter *get, const char *home, cp_error *err) {
    static const char *const names[] = {"HF_TOKEN", "HUGGINGFACE_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    const char *which, *token = first_of(get, names, CP_COUNT_OF(names), &which),
                       *file = value_of(get, "HF_TOKEN_PATH");
    char path[CP_PATH_CAP];
    cp_strbuf text;
    if (token)
        return cp_hub_settings_set_token(s, which, token, err);
    cp_status status =
        set_path("HF_TOKEN_PATH", path, file ? file : home, file ? "" : "/token", err);
    if (status != CP_OK)
        return status;
    status = cp_file_read(path, 4096, &text, err);
    const char *words = cp_strbuf_text(&text);
    if (status == CP_OK && words[strspn(words, " \t\r\n")])
        status = cp_hub_settings_set_token(s, path, words, err);
    if (text.data)
        cp_wipe(text.data, text.n);
    cp_strbuf_deinit(&text);
    return status == CP_ERR_NOT_FOUND ? CP_OK : status;
}

static bool is_on(const char *value) {
    static const char *const words[] = {"1", "on", "yes", "true"};
    for (size_t i = 0; value && i < CP_COUNT_OF(words); i++)
        if (strcasecmp(value, words[i]) == 0)
            return true;
    return false;
}

cp_status cp_hub_settings_read(cp_hub_settings *out, getter *get, cp_error *err) {
    static const char *const caches[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"};
    char home[CP_PATH_CAP];
    const char *which = "HF_HOME", *cache = first_of(get, caches, CP_COUNT_OF(caches), &which);
    *out = (cp_hub_settings){.offline = is_on(value_of(get, "HF_HUB_OFFLINE"))};
    cp_status status = find_home(get, home, err);
    if (status == CP_OK)
        status = set_path(which, out->cache, cache ? cache : home, cache ? "" : "/hub", err);
    if (status == CP_OK)
        status = read_endpoint(out, get, err);
    if (status == CP_OK && !out->offline)
        status = read_token(out, get, home, err);
    return status;
}

void cp_hub_settings_wipe(cp_hub_settings *settings) {
    cp_wipe(settings->token, sizeof settings->token);
}
