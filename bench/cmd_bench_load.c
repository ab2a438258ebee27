/* carepath bench load: a running server under load. */
#include "bench/subcommands.h"

#include "base/args.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "bench/load_report.h"
#include "engine/sysinfo.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_SEED      9007199254740992.0
#define MAX_KEY_BYTES 4096
#define MODELS_MAX    ((size_t)1 << 20)
#define URL_CAP       2048

typedef struct load_command {
    cp_load_plan plan;
    cp_load_recipe recipe;
    cp_load_requests requests;
    cp_word_list mrns;
    const char *url, *target, *mode, *arrivals, *mrn_text, *key_file, *html, *note, *slow_kinds;
    bool json;
    char full_url[URL_CAP], model[256];
    cp_strbuf key, command;
} load_command;

/* ---- what to do ------------------------------------------------------------------------------ */

static cp_status choose(const char *option, const char *word, const char *no, const char *yes,
                        bool *out, cp_error *err) {
    *out = strcmp(word, yes) == 0;
    if (*out || strcmp(word, no) == 0)
        return CP_OK;
    return cp_error_set(err, CP_ERR_USAGE, "--%s is \"%s\", expected %s or %s", option, word, yes,
                        no);
}

/* The base URL, and the target's path behind the base's own. */
static cp_status read_url(load_command *c, cp_error *err) {
    cp_load_plan *plan = &c->plan;
    cp_status status = cp_http_url_parse("--url", c->url, &plan->server, err);
    if (status != CP_OK)
        return status;
    const char *path = cp_load_target_path(plan->target);
    size_t n = strlen(plan->server.path), add = strlen(path);
    while (n > 0 && plan->server.path[n - 1] == '/')
        n--;
    if (n + add >= sizeof plan->server.path)
        return cp_error_set(err, CP_ERR_USAGE, "--url: the path is longer than %zu bytes",
                            sizeof plan->server.path - add - 1);
    memcpy(plan->server.path + n, path, add + 1);
    snprintf(c->full_url, sizeof c->full_url, "%s%s", plan->server.origin, plan->server.path);
    plan->url = c->full_url;
    return CP_OK;
}

static cp_status read_key(load_command *c, cp_error *err) {
    if (!c->key_file)
        return CP_OK;
    cp_strbuf_deinit(&c->key);
    cp_status status = cp_file_read(c->key_file, MAX_KEY_BYTES, &c->key, err);
    if (status != CP_OK)
        return status;
    size_t n = strcspn(cp_strbuf_text(&c->key), " \t\r\n");
    if (n == 0)
        return cp_error_set(err, CP_ERR_FORMAT, "%s: no key at its beginning", c->key_file);
    cp_strbuf_truncate(&c->key, n);
    c->plan.bearer = cp_strbuf_text(&c->key);
    return CP_OK;
}

static cp_status check_options(const load_command *c, cp_error *err) {
    const cp_load_plan *p = &c->plan;
    double expected = p->rate * (p->warmup_s + p->duration_s);
    if (p->open && expected > (double)CP_LOAD_MAX_SAMPLES)
        return cp_error_set(err, CP_ERR_USAGE,
                            "--rate and --duration make %.0f requests, at most %zu are kept",
                            expected, CP_LOAD_MAX_SAMPLES);
    if (p->stream && cp_load_target_is_probe(p->target))
        return cp_error_set(err, CP_ERR_USAGE, "--stream: %s does not stream",
                            cp_load_target_path(p->target));
    if (p->check && cp_load_target_is_probe(p->target))
        return cp_error_set(err, CP_ERR_USAGE, "--check: %s has no answers to compare",
                            cp_load_target_path(p->target));
    return CP_OK;
}

static cp_status read_slow_kinds(load_command *c, cp_error *err) {
    cp_word_list words = {.n = 0};
    cp_status status = cp_word_list_add("slow-kinds", c->slow_kinds, &words, err);
    for (size_t i = 0; i < words.n && status == CP_OK; i++) {
        cp_slow_kind kind = cp_slow_kind_of(words.words[i]);
        if (kind == CP_SLOW_N_KINDS)
            status = cp_error_set(err, CP_ERR_USAGE,
                                  "--slow-kinds has \"%s\", expected unread, silent or drip",
                                  words.words[i]);
        else
            c->plan.slow.kinds[kind] = true;
    }
    cp_word_list_deinit(&words);
    return status;
}

/* "data[0].id" of a list of models. */
static void take_first_model(const cJSON *tree, char *out, size_t cap) {
    const cJSON *model = cJSON_GetArrayItem(cp_json_member(tree, "data"), 0);
    const cJSON *id = model ? cp_json_member(model, "id") : NULL;
    if (cJSON_IsString(id))
        snprintf(out, cap, "%s", id->valuestring);
}

/* The server's first model, or "default" where it lists none. */
static cp_status find_model(load_command *c, cp_error *err) {
    const cp_load_plan *plan = &c->plan;
    cp_http_client *client = NULL;
    cp_http_answer answer = {.status = 0};
    char url[URL_CAP];
    cJSON *tree = NULL;
    if (c->recipe.model || (plan->target != CP_LOAD_CHAT && plan->target != CP_LOAD_COMPLETIONS))
        return CP_OK;
    size_t base = strlen(plan->url) - strlen(cp_load_target_path(plan->target));
    snprintf(url, sizeof url, "%.*s/v1/models", (int)base, plan->url);
    snprintf(c->model, sizeof c->model, "default");
    c->recipe.model = c->model;
    const cp_http_call call = {.method = "GET",
                               .url = url,
                               .bearer = plan->bearer,
                               .connect_s = 10,
                               .total_s = plan->timeout_s,
                               .max_bytes = MODELS_MAX};
    cp_status status = cp_http_client_create(&client, err);
    if (status == CP_OK)
        status = cp_http_client_send(client, &call, &answer, err);
    if (status == CP_OK && answer.status == 200)
        status =
            cp_json_parse("/v1/models", cp_strbuf_text(&answer.body), answer.body.n, &tree, err);
    if (tree)
        take_first_model(tree, c->model, sizeof c->model);
    cJSON_Delete(tree);
    cp_http_answer_deinit(&answer);
    cp_http_client_free(client);
    return status;
}

static cp_status prepare(load_command *c, cp_error *err) {
    cp_load_plan *plan = &c->plan;
    cp_status status = choose("mode", c->mode, "closed", "open", &plan->open, err);
    if (status == CP_OK)
        status = choose("arrivals", c->arrivals, "uniform", "poisson", &plan->poisson, err);
    if (status == CP_OK && !cp_load_target_parse(c->target, &plan->target))
        status = cp_error_set(err, CP_ERR_USAGE,
                              "--target is \"%s\", expected triage, chat, completions, health or "
                              "metrics",
                              c->target);
    if (status == CP_OK)
        status = check_options(c, err);
    if (status == CP_OK)
        status = read_url(c, err);
    if (status == CP_OK)
        status = read_key(c, err);
    if (status == CP_OK && c->mrn_text)
        status = cp_word_list_add("mrns", c->mrn_text, &c->mrns, err);
    if (status == CP_OK)
        status = read_slow_kinds(c, err);
    if (status == CP_OK)
        status = find_model(c, err);
    c->recipe.target = plan->target;
    c->recipe.stream = plan->stream;
    c->recipe.seed = plan->seed;
    c->recipe.mrns = &c->mrns;
    if (status == CP_OK)
        status = cp_load_requests_make(&c->recipe, &c->requests, err);
    plan->requests = &c->requests;
    return status;
}

/* ---- doing it -------------------------------------------------------------------------------- */

static cp_status write_html(const char *path, const cp_load_report *report, cp_error *err) {
    cp_strbuf text;
    cp_strbuf_init(&text, CP_BENCH_TEXT_MAX);
    cp_load_write_html(report, &text);
    cp_status status = cp_bench_write(path, &text, err);
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status print(const load_command *c, const cp_load_report *report, cp_error *err) {
    cp_strbuf text;
    cp_json_writer writer;
    cp_strbuf_init(&text, CP_BENCH_TEXT_MAX);
    cp_json_writer_init(&writer, &text);
    if (c->json)
        cp_load_write_json(report, &writer);
    else
        cp_load_write_table(report, &text);
    cp_status status = cp_bench_print(&text, err);
    cp_strbuf_deinit(&text);
    return status;
}

/* A load that shows nothing is a failure, and so is an answer that load has changed. */
static cp_status judge(const cp_load_plan *plan, const cp_load_result *result,
                       const cp_load_summary *summary, cp_error *err) {
    if (result->n_unlike_single || result->n_unlike_first)
        return cp_error_set(err, CP_ERR_FORMAT,
                            "%zu of %zu answers differ from the single request's, %zu from the "
                            "first",
                            result->n_unlike_single, result->n_compared, result->n_unlike_first);
    if (summary->counts[CP_LOAD_ANSWERED] + summary->counts[CP_LOAD_LEFT] == 0)
        return cp_error_set(err, CP_ERR_IO, "%s: none of %zu requests was answered",
                            plan->server.origin, summary->n_sent);
    return CP_OK;
}

static cp_status report(const load_command *c, const cp_load_result *result, cp_error *err) {
    cp_load_summary summary;
    cp_load_report r = {.plan = &c->plan,
                        .result = result,
                        .summary = &summary,
                        .command = cp_strbuf_text(&c->command),
                        .note = c->note};
    cp_sysinfo_cpu_name(r.cpu, sizeof r.cpu);
    cp_clock_stamp(r.stamp);
    cp_status status = cp_load_summarize(result, &summary, err);
    if (status == CP_OK && c->html)
        status = write_html(c->html, &r, err);
    if (status == CP_OK)
        status = print(c, &r, err);
    if (status == CP_OK)
        status = judge(&c->plan, result, &summary, err);
    cp_load_summary_deinit(&summary);
    return status;
}

static cp_status run(load_command *c, cp_error *err) {
    cp_load_result result = {.n = 0};
    cp_status status = prepare(c, err);
    if (status == CP_OK)
        status = cp_load_run(&c->plan, &result, err);
    if (status == CP_OK)
        status = report(c, &result, err);
    cp_load_result_deinit(&result);
    return status;
}

/* ---- the command line ------------------------------------------------------------------------ */

typedef struct numbers {
    int64_t clients, max_in_flight, requests, max_tokens, seed, slow;
} numbers;

static cp_args_result parse(load_command *c, numbers *n, int argc, char **argv) {
    cp_load_plan *p = &c->plan;
    const cp_arg args[] = {
        {"url", CP_ARG_TEXT, &c->url, "URL", "The server: http://host:port", 0, 0, true},
        {"target", CP_ARG_TEXT, &c->target, "NAME",
         "triage, chat, completions (OpenAI's forms), health or metrics (default triage)", 0, 0,
         false},
        {"stream", CP_ARG_FLAG, &p->stream, NULL, "Ask for answers as event streams", 0, 0, false},
        {"mode", CP_ARG_TEXT, &c->mode, "MODE", "open (fixed rate) or closed (default open)", 0, 0,
         false},
        {"rate", CP_ARG_NUMBER, &p->rate, "R", "Open: requests a second (default 1)", 1e-3, 1e5,
         false},
        {"arrivals", CP_ARG_TEXT, &c->arrivals, "KIND",
         "Open: poisson or uniform (default poisson)", 0, 0, false},
        {"max-in-flight", CP_ARG_INT, &n->max_in_flight, "N",
         "Open: most requests under way (default 1024)", 1, 16384, false},
        {"clients", CP_ARG_INT, &n->clients, "N", "Closed: clients (default 1)", 1, 4096, false},
        {"think", CP_ARG_NUMBER, &p->think_s, "S",
         "Closed: seconds from an answer to the next request (default 0)", 0, 3600, false},
        {"duration", CP_ARG_NUMBER, &p->duration_s, "S", "Measured seconds (default 10)", 0.001,
         86400, false},
        {"warmup", CP_ARG_NUMBER, &p->warmup_s, "S",
         "Seconds of load before, not measured (default 0)", 0, 86400, false},
        {"requests", CP_ARG_INT, &n->requests, "N",
         "Stop after so many requests (default 0: by time)", 0, (double)CP_LOAD_MAX_SAMPLES, false},
        {"timeout", CP_ARG_NUMBER, &p->timeout_s, "S",
         "Seconds after which a request is given up (default 300)", 0.01, 3600, false},
        {"prompts", CP_ARG_TEXT, &c->recipe.prompts, "FILE",
         "JSON Lines with \"query\" (default: a list built in)", 0, 0, false},
        {"mrns", CP_ARG_TEXT, &c->mrn_text, "MRN,...",
         "Patients of /triage (default: all of --patients)", 0, 0, false},
        {"patients", CP_ARG_TEXT, &c->recipe.patients, "FILE",
         "JSON Lines with \"mrn\" (default data/synthetic/patients.jsonl)", 0, 0, false},
        {"model", CP_ARG_TEXT, &c->recipe.model, "NAME",
         "OpenAI's forms: the model (default: the server's first)", 0, 0, false},
        {"max-tokens", CP_ARG_INT, &n->max_tokens, "N",
         "Most tokens of an answer (default 0: the server's)", 0, 131072, false},
        {"temperature", CP_ARG_NUMBER, &c->recipe.temperature, "T", "Sampling (default 0: greedy)",
         0, 2, false},
        {"seed", CP_ARG_INT, &n->seed, "N", "Of arrivals, vanishing and requests (default 1)", 0,
         MAX_SEED, false},
        {"api-key-file", CP_ARG_TEXT, &c->key_file, "FILE", "Holds the key to send", 0, 0, false},
        {"slow-clients", CP_ARG_INT, &n->slow, "N", "Beside it, clients that never read", 0, 4096,
         false},
        {"slow-kinds", CP_ARG_TEXT, &c->slow_kinds, "KIND,...",
         "They ask (unread), say nothing (silent), send a byte a second (drip); default unread", 0,
         0, false},
        {"vanish", CP_ARG_NUMBER, &p->vanish_share, "SHARE",
         "Share of clients that leave before the end (default 0)", 0, 1, false},
        {"vanish-within", CP_ARG_NUMBER, &p->vanish_within_s, "S",
         "Without --stream they leave in so many seconds (default 1)", 0, 3600, false},
        {"check", CP_ARG_FLAG, &p->check, NULL,
         "Compare answers with those to the same requests alone", 0, 0, false},
        {"server-pid", CP_ARG_INT, &p->server_pid, "PID",
         "Watch this process's CPU and memory, before and during", 1, 1 << 30, false},
        {"json", CP_ARG_FLAG, &c->json, NULL, "JSON instead of a table", 0, 0, false},
        {"html", CP_ARG_TEXT, &c->html, "FILE", "Also write a report with plots", 0, 0, false},
        {"note", CP_ARG_TEXT, &c->note, "TEXT", "A line for the report: a commit, an occasion", 0,
         0, false},
    };
    const cp_command_line line = {
        .usage = "carepath bench load --url URL [--target NAME] [--mode open|closed] [--json]",
        .summary =
            "Load on a running server: requests/s and tokens/s, errors by status and code, 503s\n"
            "apart, percentiles of first token and whole answer, and the server's CPU and memory.\n"
            "Open loop: requests are due at a fixed rate whatever the server does, and times "
            "count\n"
            "from when they were due. Closed loop: each client waits for its answer. Exits with 1\n"
            "when nothing was answered or --check found a difference.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    return cp_args_parse(&line, argc, argv);
}

int cmd_bench_load(int argc, char **argv) {
    numbers n = {.clients = 1, .max_in_flight = 1024, .seed = 1};
    load_command c = {
        .target = "triage",
        .mode = "open",
        .arrivals = "poisson",
        .slow_kinds = "unread",
        .recipe = {.patients = "data/synthetic/patients.jsonl"},
        .plan = {.rate = 1, .duration_s = 10, .timeout_s = 300, .vanish_within_s = 1},
    };
    cp_args_result parsed = parse(&c, &n, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_error err;
    c.plan.clients = (size_t)n.clients;
    c.plan.max_in_flight = (size_t)n.max_in_flight;
    c.plan.max_requests = (size_t)n.requests;
    c.plan.slow.n = (size_t)n.slow;
    c.plan.seed = (uint64_t)n.seed;
    c.plan.on_progress = isatty(STDERR_FILENO) ? cp_bench_show_progress : NULL;
    c.recipe.max_tokens = n.max_tokens;
    cp_bench_keep_command(argc, argv, &c.command);
    cp_status status = run(&c, &err);
    cp_load_requests_deinit(&c.requests);
    cp_word_list_deinit(&c.mrns);
    cp_strbuf_deinit(&c.key);
    cp_strbuf_deinit(&c.command);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("bench load", &err);
}
