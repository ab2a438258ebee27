#include "server/start_rules.h"

#include "server/http_proxy.h"

#include <string.h>

#define MAKE_KEYS "make keys (carepath keys create --help) and set API_KEYS_FILE"

static cp_status check_production(const cp_settings *s, cp_error *err) {
    if (!*s->api_keys_file)
        return cp_error_set(err, CP_ERR_USAGE,
                            "APP_ENV=production needs API keys: " MAKE_KEYS " to their file");
    if (!*s->secret_key && !*s->secret_key_file)
        return cp_error_set(err, CP_ERR_USAGE,
                            "APP_ENV=production needs a secret: put the output of \"openssl rand "
                            "-hex 32\" into a file with permissions 0600 and set SECRET_KEY_FILE "
                            "to it, or set SECRET_KEY");
    if (!*s->audit_file)
        return cp_error_set(err, CP_ERR_USAGE,
                            "APP_ENV=production needs an audit log: set AUDIT_FILE to a file on a "
                            "disk that lasts (docs/audit.md), or to off");
    if (strcmp(s->llm_mode, "mock") == 0)
        return cp_error_set(err, CP_ERR_USAGE,
                            "APP_ENV=production does not answer from a template: set LLM_MODE to a "
                            "model's name or folder, or APP_ENV to staging");
    return CP_OK;
}

cp_status cp_start_rules_check_review(const cp_settings *s, const char *reviewed_by,
                                      cp_error *err) {
    if (reviewed_by || s->app_env != CP_ENV_PRODUCTION ||
        s->unreviewed_rules == CP_UNREVIEWED_ALLOW)
        return CP_OK;
    return cp_error_set(err, CP_ERR_USAGE,
                        "APP_ENV=production needs triage rules that a clinician has signed, and "
                        "reviewed_by in %s/triage/rules.json is null: have them reviewed "
                        "(docs/safety.md), or set UNREVIEWED_RULES to allow",
                        s->data_dir);
}

cp_status cp_start_rules_check(const cp_settings *s, cp_error *err) {
    if (s->app_env == CP_ENV_PRODUCTION) {
        cp_status status = check_production(s, err);
        if (status != CP_OK)
            return status;
    }
    if (!*s->api_keys_file && !cp_host_is_loopback(s->host))
        return cp_error_set(err, CP_ERR_USAGE,
                            "HOST is \"%s\", and without API keys only this machine may ask: set "
                            "HOST to 127.0.0.1, or " MAKE_KEYS " to their file",
                            s->host);
    if (!*s->tls_cert_file != !*s->tls_key_file)
        return cp_error_set(err, CP_ERR_USAGE, "%s is set without %s: HTTPS needs both",
                            *s->tls_cert_file ? "TLS_CERT_FILE" : "TLS_KEY_FILE",
                            *s->tls_cert_file ? "TLS_KEY_FILE" : "TLS_CERT_FILE");
    return CP_OK;
}
