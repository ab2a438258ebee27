/* `carepath serve`: reads the settings, opens the parts, listens, waits for a signal, stops in
 * order. */
#include "server/commands.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/api.h"
#include "server/audit_reader.h"
#include "server/phi_guard.h"
#include "server/secret.h"
#include "server/start_rules.h"
#include "server/trace_export.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define POLL_MS        50
#define CANCEL_LIMIT_S 10 /* for a generation to notice that it is cancelled */

typedef struct serving {
    cp_settings settings;
    cp_secret secret;
    cp_metrics *metrics;
    cp_access *access;
    cp_address_limit *addresses;
    cp_inference *inference;
    cp_patients *patients;
    cp_grounding *grounding;
    cp_openai *openai;
    cp_audit *audit; /* NULL: none */
    cp_triage *triage;
    cp_tracer *tracer; /* NULL: no traces */
    cp_http_server *http;
    cp_api api;
} serving;

static int print_markdown(void) {
    cp_strbuf table;
    cp_strbuf_init(&table, 65536);
    cp_settings_append_markdown(&table);
    fputs(cp_strbuf_text(&table), stdout);
    cp_strbuf_deinit(&table);
    return CP_EXIT_OK;
}

static int signal_events = -1; /* an eventfd; the handler knows nothing else */

static void on_signal(int number) {
    const uint64_t one = 1;
    int saved = errno;
    (void)number;
    ssize_t ignored = write(signal_events, &one, sizeof one);
    (void)ignored;
    errno = saved;
}

/* A handler and not a blocked mask with signalfd: libraries (OpenBLAS) start threads before main,
 * which would not have the mask, and the default action there ends the process. */
static cp_status take_signals(cp_error *err) {
    signal_events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (signal_events < 0 || sigaction(SIGTERM, &action, NULL) != 0 ||
        sigaction(SIGINT, &action, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return cp_error_set(err, CP_ERR_IO, "signals cannot be taken: %s", strerror(errno));
    return CP_OK;
}

/* Memory holds patients' words: outside development nobody dumps or traces it. */
static void protect_memory(const cp_settings *settings) {
    if (settings->app_env == CP_ENV_DEVELOPMENT)
        return;
    const struct rlimit none = {0, 0};
    if (prctl(PR_SET_DUMPABLE, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
        cp_log(CP_LOG_WARN, "memory dumps cannot be switched off");
}

/* Waits up to `ms` for a signal; true when one came. */
static bool wait_signal(int ms) {
    uint64_t count;
    struct pollfd look = {.fd = signal_events, .events = POLLIN};
    return poll(&look, 1, ms) > 0 && read(signal_events, &count, sizeof count) == sizeof count;
}

/* Who may ask, before anything can be asked. */
static cp_status open_access(serving *s, cp_error *err) {
    cp_status status = cp_start_rules_check(&s->settings, err);
    if (status == CP_OK)
        status = cp_secret_load(&s->settings, &s->secret, err);
    if (status == CP_OK)
        status = cp_api_read_lists(&s->api, &s->settings, err);
    if (status == CP_OK && *s->settings.api_keys_file)
        status = cp_access_open(s->settings.api_keys_file, NULL, &s->access, err);
    if (status == CP_OK)
        status = cp_address_limit_create(&s->addresses, err);
    return status;
}

/* Keys and patients' words go over the network in the clear. */
static void warn_of_plain_http(const cp_settings *settings) {
    if (!*settings->tls_cert_file && !*settings->trusted_proxies &&
        !cp_host_is_loopback(settings->host))
        cp_log(CP_LOG_WARN, "HTTP without TLS: set TLS_CERT_FILE and TLS_KEY_FILE, or "
                            "TRUSTED_PROXIES when a proxy does it");
}

static void observe_result(void *user, const cp_llm_result *result) {
    cp_metrics_generation(user, result);
}

static void name_model(void *user, const char *dir) {
    cp_audit_set_model(user, dir);
}

/* Every answer is recorded from the first one on. */
static cp_status open_audit(serving *s, cp_error *err) {
    const cp_settings *settings = &s->settings;
    if (!cp_audit_is_on(settings))
        return CP_OK;
    const cp_audit_options options = {.path = settings->audit_file,
                                      .secret = s->secret.text,
                                      .model_dir = cp_inference_dir(s->inference)};
    cp_status status = cp_audit_open(&options, &s->audit, err);
    if (status == CP_OK)
        cp_inference_when_fetched(s->inference, name_model, s->audit);
    return status;
}

static cp_status open_tracer(serving *s, cp_error *err) {
    cp_trace_options options;
    cp_status status = cp_trace_options_read(&s->settings, &options, err);
    if (status == CP_OK)
        return cp_tracer_open(&options, &s->tracer, err);
    cp_trace_options_deinit(&options);
    return status;
}

static cp_status open_triage(serving *s, cp_error *err) {
    const cp_grounding_parts sources = {
        .settings = &s->settings,
        .metrics = s->metrics,
        .inference = s->inference,
        .patients = s->patients,
        .embedder = cp_openai_embedder(s->openai),
        .reranker = cp_openai_reranker(s->openai),
    };
    cp_status status = cp_grounding_open(&sources, &s->grounding, err);
    const cp_triage_parts parts = {
        .settings = &s->settings,
        .metrics = s->metrics,
        .inference = s->inference,
        .patients = s->patients,
        .grounding = s->grounding,
        .audit = s->audit,
    };
    return status == CP_OK ? cp_triage_create(&parts, &s->triage, err) : status;
}

static cp_status start(serving *s, cp_error *err) {
    cp_status status = open_access(s, err);
    if (status == CP_OK)
        status = open_tracer(s, err);
    if (status == CP_OK)
        status = cp_metrics_create(&s->metrics, err);
    if (status == CP_OK)
        status = cp_inference_create(&s->settings, &s->inference, err);
    if (status == CP_OK)
        status = cp_patients_open(&s->settings, &s->patients, err);
    if (status == CP_OK)
        status = cp_phi_guard_start(cp_patients_store(s->patients), err);
    if (status == CP_OK)
        status = open_audit(s, err);
    if (status == CP_OK)
        status = cp_openai_create(&s->settings, s->inference, s->audit, &s->openai, err);
    if (status == CP_OK)
        status = open_triage(s, err);
    if (status == CP_OK)
        status =
            cp_start_rules_check_review(&s->settings, cp_triage_rules_reviewed_by(s->triage), err);
    if (status != CP_OK)
        return status;
    s->api.settings = &s->settings;
    s->api.inference = s->inference;
    s->api.patients = (cp_patients_api){.patients = s->patients,
                                        .audit = s->audit,
                                        .memory = cp_triage_memory(s->triage),
                                        .knowledge = cp_grounding_knowledge(s->grounding),
                                        .draining = &s->api.draining,
                                        .n_unfinished = &s->api.n_patient_jobs};
    s->api.grounding = s->grounding;
    s->api.openai = s->openai;
    s->api.triage = s->triage;
    s->api.metrics = s->metrics;
    s->api.access = s->access;
    s->api.addresses = s->addresses;
    s->api.tracer = s->tracer;
    cp_patients_observe(s->patients, cp_api_note_lookup, &s->api);
    warn_of_plain_http(&s->settings);
    cp_inference_observe(s->inference, observe_result, s->metrics);
    cp_http_config config = cp_api_http_config(&s->api);
    status = cp_http_server_start(&config, &s->http, err);
    return status == CP_OK ? cp_inference_start(s->inference, err) : status;
}

/* Nobody answers for the rules. */
static void warn_of_unsigned_rules(const serving *s) {
    if (!cp_triage_rules_reviewed_by(s->triage))
        cp_log(CP_LOG_WARN, "no clinician has signed the triage rules: reviewed_by in rules.json "
                            "is null, not for use with patients");
}

static void greet(const serving *s) {
    const char *address = cp_http_server_address(s->http);
    const char *scheme = *s->settings.tls_cert_file ? "https" : "http";
    printf("listening on %s://%s\n", scheme, address);
    if (s->access)
        printf("%zu API keys\n", cp_access_n_keys(s->access));
    cp_patient_store *store = cp_patients_store(s->patients);
    size_t n_patients = store->count(store);
    if (n_patients == CP_COUNT_UNKNOWN)
        printf("patients from %s, %zu safety rules\n", store->kind, cp_triage_n_rules(s->triage));
    else
        printf("%zu patients, %zu safety rules\n", n_patients, cp_triage_n_rules(s->triage));
    if (cp_inference_is_mock(s->inference))
        printf("LLM_MODE=mock: answers come from a template, no model\n");
    else
        printf("%s %s\n", cp_inference_is_here(s->inference) ? "loading" : "fetching",
               cp_inference_model(s->inference));
    printf("try: curl -s %s://%s/triage %s-H 'Content-Type: application/json' -d "
           "'{\"patient_mrn\":\"MRN-001\",\"query\":\"I have had a sore throat for two days\"}'\n",
           scheme, address, s->access ? "-H 'Authorization: Bearer cpk_...' " : "");
    fflush(stdout);
}

/* Until a signal (true) or a model that cannot be loaded (false). */
static bool serve(const serving *s) {
    while (!wait_signal(POLL_MS))
        if (cp_inference_get_state(s->inference) == CP_INFERENCE_FAILED)
            return false;
    return true;
}

static size_t n_unfinished(const serving *s) {
    return cp_triage_n_unfinished(s->triage) + cp_openai_n_unfinished(s->openai) +
           atomic_load(&s->api.n_patient_jobs);
}

/* Waits until everything accepted is answered; false when time is up or another signal came. */
static bool wait_answered(const serving *s, int64_t seconds) {
    uint64_t begun = cp_clock_ns();
    while (n_unfinished(s) > 0) {
        if (cp_clock_ms_since(begun) > (double)seconds * 1e3)
            return false;
        if (wait_signal(POLL_MS))
            return false;
    }
    return true;
}

/* Accepted work ends within the grace period, or is told that it cannot. False: the worker hangs.
 */
static bool drain(serving *s) {
    cp_log(CP_LOG_INFO, "draining", CP_LOG_I("unfinished", n_unfinished(s)));
    atomic_store(&s->api.draining, true);
    cp_triage_drain(s->triage);
    cp_openai_drain(s->openai);
    cp_http_server_drain(s->http);
    if (wait_answered(s, s->settings.shutdown_grace_s))
        return true;
    cp_log(CP_LOG_WARN, "cancelling", CP_LOG_I("unfinished", n_unfinished(s)));
    cp_triage_cancel_all(s->triage);
    cp_openai_cancel_all(s->openai);
    return wait_answered(s, CANCEL_LIMIT_S);
}

/* Ends the process without waiting for a thread that cannot be stopped: a hung or loading worker.
 */
static void leave(int status) {
    fflush(stdout);
    _exit(status);
}

static int run(serving *s) {
    cp_error err;
    if (start(s, &err) != CP_OK) {
        int status = cp_command_failed("serve", &err);
        cp_http_server_stop(s->http);
        s->http = NULL;
        return status;
    }
    greet(s);
    warn_of_unsigned_rules(s);
    bool asked = serve(s);
    if (!drain(s)) {
        cp_log(CP_LOG_ERROR, "the model does not stop");
        leave(CP_EXIT_FAILED);
    }
    cp_patients_stop(s->patients);
    cp_audit_settle(s->audit);
    cp_http_server_stop(s->http);
    s->http = NULL;
    if (asked && cp_inference_get_state(s->inference) == CP_INFERENCE_LOADING)
        leave(CP_EXIT_OK);
    if (!asked) {
        fprintf(stderr, "carepath serve: the model cannot be loaded; the log above says why\n");
        return CP_EXIT_FAILED;
    }
    cp_log(CP_LOG_INFO, "stopped");
    return CP_EXIT_OK;
}

int cmd_serve(int argc, char **argv) {
    serving s = {0};
    cp_error err;
    bool markdown;
    cp_args_result result = cp_settings_read(&s.settings, argc, argv, getenv, &markdown, &err);
    if (result == CP_ARGS_BAD && err.status != CP_OK)
        fprintf(stderr, "carepath serve: %s\n", err.message);
    if (result != CP_ARGS_RUN)
        return result == CP_ARGS_BAD ? CP_EXIT_USAGE : CP_EXIT_OK;
    if (markdown)
        return print_markdown();
    cp_log_configure((cp_log_level)s.settings.log_level, (cp_log_format)s.settings.log_format);
    protect_memory(&s.settings);
    if (take_signals(&err) != CP_OK)
        return cp_command_failed("serve", &err);
    int status = run(&s);
    cp_tracer_close(s.tracer); /* spans hold the model's name */
    cp_inference_free(s.inference);
    cp_audit_close(s.audit);
    cp_triage_free(s.triage);
    cp_grounding_close(s.grounding);
    cp_openai_free(s.openai);
    cp_patients_close(s.patients);
    cp_phi_guard_stop();
    cp_metrics_free(s.metrics);
    cp_access_close(s.access);
    cp_address_limit_free(s.addresses);
    cp_secret_wipe(&s.secret);
    return status;
}
