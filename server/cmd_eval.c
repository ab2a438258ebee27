/* carepath eval: how well the rules, and rules with a model, triage the vignettes. */
#include "server/commands.h"

#include "base/args.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "llm/llm.h"
#include "server/eval_report.h"
#include "server/grounding.h"
#include "server/inference_mock.h"
#include "server/model_path.h"
#include "server/settings.h"
#include "server/triage_lane.h"
#include "server/triage_prompt.h"
#include "server/triage_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PROMPT_BYTES ((size_t)256 << 10)
#define MAX_TEXT_BYTES   ((size_t)128 << 10)
#define MAX_REPORT_BYTES ((size_t)4 << 20)
#define MAX_READINGS     (1 << 20) /* whose time is kept */

typedef struct evaluation {
    cp_settings settings;
    const char *data, *model, *html, *split;
    int64_t n_variants, seed, limit, max_new;
    bool json;
    cp_safety *safety;
    cp_vignettes vignettes;
    cp_variant_source source;
    bool asks_model, is_mock;
    char model_name[128];
    cp_llm *llm; /* NULL with the mock, and for the rules alone */
    cp_metrics *metrics;
    cp_grounding *grounding;
    cp_schema *schema;
    cp_eval_result result;
    float *times_us; /* [MAX_READINGS] */
    double total_us;
} evaluation;

/* ---- lanes ------------------------------------------------------------------------------ */

/* The rules alone, timed: the level, or that of a text no rule knows. */
static int rules_level(evaluation *e, const cp_vignette *v, const char *query,
                       cp_safety_finding *finding) {
    uint64_t begun = cp_clock_ns();
    cp_status status = cp_triage_check(e->safety, &v->record, NULL, query, CP_EVAL_TODAY, finding);
    double us = cp_clock_ms_since(begun) * 1e3;
    (void)status; /* without a prompt nothing can fail */
    if (e->result.n_checks < MAX_READINGS)
        e->times_us[e->result.n_checks] = (float)us;
    e->result.n_checks++;
    e->total_us += us;
    return cp_safety_level_alone(e->safety, finding);
}

/* Sources are there at once: the evaluation retrieves by words alone. */
static void on_grounded(void *user) {
    (void)user;
}

static cp_status write_prompt(evaluation *e, const cp_vignette *v, cp_safety_finding *finding,
                              cp_strbuf *prompt) {
    cp_grounding_job grounding = {.record = &v->record,
                                  .mrn = cp_json_text(v->record.patient, "mrn", ""),
                                  .query = v->query,
                                  .on_done = on_grounded};
    cp_status status =
        cp_triage_check(e->safety, &v->record, NULL, v->query, CP_EVAL_TODAY, finding);
    if (status == CP_OK) {
        cp_grounding_find(e->grounding, &grounding);
        cp_triage_sources sources = {grounding.found.passages, grounding.found.n, 0};
        const cp_triage_told told = {.record = &v->record,
                                     .sources = &sources,
                                     .query = v->query,
                                     .today = CP_EVAL_TODAY,
                                     .finding = finding};
        status = cp_triage_write_prompt(e->safety, &told, prompt);
    }
    cp_grounding_release(&grounding);
    return status;
}

/* The model's answer to the messages, as the server asks for it. */
static cp_status ask(evaluation *e, const cp_chat_message messages[2], cp_llm_result *out,
                     cp_error *err) {
    cp_llm_request request = {.messages = messages,
                              .n_messages = 2,
                              .max_new_tokens = (size_t)e->max_new,
                              .schema = e->schema};
    if (e->is_mock)
        return cp_mock_generate(&request, cp_triage_mock_answer, out, err);
    request.sampling = cp_llm_default_sampling(e->llm, CP_THINKING_DEFAULT);
    request.sampling.seed = (uint64_t)e->seed;
    return cp_llm_generate(e->llm, &request, out, err);
}

/* Rules and model, as the server combines them; *level is CP_ACUITY_NONE where neither has one. */
static cp_status model_level(evaluation *e, const cp_vignette *v, int *level, cp_error *err) {
    cp_safety_finding finding;
    cp_llm_result result;
    cp_triage_answer said = {.acuity = CP_ACUITY_NONE};
    cp_strbuf prompt;
    cp_strbuf_init(&prompt, MAX_PROMPT_BYTES);
    cp_llm_result_init(&result);
    cp_status status = write_prompt(e, v, &finding, &prompt);
    if (status != CP_OK)
        cp_error_set(err, status, "%s: the prompt cannot be made", v->id);
    const cp_chat_message messages[] = {
        {.role = CP_ROLE_SYSTEM, .content = cp_triage_instructions},
        {.role = CP_ROLE_USER, .content = cp_strbuf_text(&prompt)},
    };
    if (status == CP_OK)
        status = ask(e, messages, &result, err);
    if (status == CP_OK)
        status = cp_triage_answer_read(&result, &said, err);
    if (status == CP_OK) {
        e->result.n_unreadable += said.acuity == CP_ACUITY_NONE;
        *level = cp_triage_combine(&finding, said.acuity).acuity;
    }
    cp_triage_answer_deinit(&said);
    cp_llm_result_deinit(&result);
    cp_strbuf_deinit(&prompt);
    return status;
}

/* ---- vignettes -------------------------------------------------------------------------- */

static void note(evaluation *e, const cp_vignette *v, int lane, const char *what, int given,
                 uint64_t number) {
    cp_eval_result *r = &e->result;
    if (r->n_faults < CP_EVAL_MAX_FAULTS)
        r->faults[r->n_faults++] = (cp_eval_fault){.id = v->id,
                                                   .what = what,
                                                   .lane = lane,
                                                   .expected = v->level,
                                                   .given = given,
                                                   .number = number};
}

static cp_eval_score *score_of(evaluation *e, const cp_vignette *v, int lane) {
    int set = strcmp(v->split, "held") == 0 ? CP_EVAL_HELD : CP_EVAL_TRAIN;
    return &e->result.scores[lane][set];
}

static void judge(evaluation *e, const cp_vignette *v, int lane, int given, bool matched) {
    cp_eval_score_add(score_of(e, v, lane), v, given, matched);
    if (cp_eval_is_under(v, given))
        note(e, v, lane, "under-triaged", given, 0);
    else if (given < v->most)
        note(e, v, lane, "over-triaged", given, 0);
}

static void judge_variants(evaluation *e, const cp_vignette *v, int base, cp_strbuf *text) {
    for (int k = 0; k < CP_N_VARIANT_KINDS; k++)
        for (int64_t i = 1; i <= e->n_variants; i++) {
            cp_safety_finding finding;
            if (!cp_variant_make(&e->source, e->safety, v->id, v->query, (cp_variant_kind)k,
                                 e->result.seed, (size_t)i, text))
                continue;
            int given = rules_level(e, v, cp_strbuf_text(text), &finding);
            cp_variant_score *score = &e->result.variants[k];
            score->n++;
            score->lowered += given > base;
            score->raised += given < base;
            score->emergencies_under += cp_vignette_is_emergency(v) && cp_eval_is_under(v, given);
            if (given > base) {
                note(e, v, CP_LANE_RULES, cp_variant_kind_name((cp_variant_kind)k), given,
                     (uint64_t)i);
                fprintf(stderr, "lowered from %d to %d: %s\n", base, given, cp_strbuf_text(text));
            }
        }
}

static void note_flags(evaluation *e, const cp_vignette *v, const cp_safety_finding *finding) {
    cp_eval_score *score = score_of(e, v, CP_LANE_RULES);
    size_t missing = score->flags - score->flags_found;
    cp_eval_score_flags(score, v, finding);
    if (score->flags - score->flags_found > missing)
        note(e, v, CP_LANE_RULES, "an expected rule did not fire", finding->floor, 0);
}

static cp_status evaluate(evaluation *e, cp_error *err) {
    cp_strbuf text;
    cp_status status = CP_OK;
    int64_t asked = 0;
    cp_strbuf_init(&text, MAX_TEXT_BYTES);
    for (size_t i = 0; status == CP_OK && i < e->vignettes.n; i++) {
        const cp_vignette *v = &e->vignettes.items[i];
        cp_safety_finding finding;
        int base = rules_level(e, v, v->query, &finding), level = CP_ACUITY_NONE;
        judge(e, v, CP_LANE_RULES, base, finding.floor != CP_ACUITY_NONE);
        note_flags(e, v, &finding);
        judge_variants(e, v, base, &text);
        if (!e->asks_model || (e->limit > 0 && asked >= e->limit))
            continue;
        fprintf(stderr, "model: %lld of %zu\r", (long long)++asked, e->vignettes.n);
        status = model_level(e, v, &level, err);
        if (status == CP_OK)
            judge(e, v, CP_LANE_MODEL, level != CP_ACUITY_NONE ? level : e->result.unmatched_level,
                  level != CP_ACUITY_NONE);
    }
    cp_strbuf_deinit(&text);
    for (int lane = 0; lane < CP_N_EVAL_LANES; lane++)
        for (int set = CP_EVAL_TRAIN; set <= CP_EVAL_HELD; set++)
            cp_eval_score_merge(&e->result.scores[lane][CP_EVAL_ALL], &e->result.scores[lane][set]);
    return status;
}

static int compare_times(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void take_times(evaluation *e) {
    size_t n = e->result.n_checks < MAX_READINGS ? e->result.n_checks : MAX_READINGS;
    if (n == 0)
        return;
    qsort(e->times_us, n, sizeof *e->times_us, compare_times);
    e->result.mean_us = e->total_us / (double)e->result.n_checks;
    e->result.p99_us = e->times_us[(n * 99 + 99) / 100 - 1];
    e->result.max_us = e->times_us[n - 1];
}

/* ---- opening and showing ---------------------------------------------------------------- */

static cp_status read_split(evaluation *e, const char *split, const char *file, cp_error *err) {
    char path[CP_PATH_CAP];
    if (strcmp(e->split, "all") != 0 && strcmp(e->split, split) != 0)
        return CP_OK;
    cp_status status = cp_path_join(e->data, file, path, sizeof path, err);
    return status == CP_OK ? cp_vignettes_read(path, split, &e->vignettes, err) : status;
}

/* The sources of the embedded default, whatever the server's index is. */
static cp_status open_grounding(evaluation *e, cp_error *err) {
    e->settings.data_dir = e->data;
    e->settings.index_dir = e->settings.embedding_model = "";
    e->settings.vector_mode = CP_VECTOR_LOCAL;
    cp_status status = cp_metrics_create(&e->metrics, err);
    const cp_grounding_parts parts = {.settings = &e->settings, .metrics = e->metrics};
    return status == CP_OK ? cp_grounding_open(&parts, &e->grounding, err) : status;
}

static cp_status open_model(evaluation *e, cp_error *err) {
    const cp_settings *s = &e->settings;
    const char *mode = e->model ? e->model : s->llm_mode;
    char dir[CP_PATH_CAP] = "mock";
    e->is_mock = strcmp(mode, "mock") == 0;
    if (e->is_mock && !e->model)
        return CP_OK; /* the mock judges nothing, unless it is asked for by --model */
    e->asks_model = true;
    cp_status status = cp_schema_compile_text("the answer's schema", cp_triage_answer_schema,
                                              strlen(cp_triage_answer_schema), &e->schema, err);
    if (status == CP_OK && !e->is_mock)
        status =
            cp_model_path_find("LLM_MODE", mode, s->model_cache_dir, ", or --model mock", dir, err);
    cp_str name = cp_path_last(dir);
    snprintf(e->model_name, sizeof e->model_name, "%.*s", (int)name.n, name.data);
    e->result.model = e->model_name;
    if (status == CP_OK)
        status = open_grounding(e, err);
    if (status != CP_OK || e->is_mock)
        return status;
    const cp_llm_options options = {.n_threads = (size_t)s->threads,
                                    .context_cap = (size_t)s->context_tokens,
                                    .kv = (cp_kv)s->kv_cache};
    return cp_llm_open(dir, &options, &e->llm, err);
}

static cp_status open_parts(evaluation *e, cp_error *err) {
    char path[CP_PATH_CAP];
    e->times_us = calloc(MAX_READINGS, sizeof *e->times_us);
    cp_status status = e->times_us ? CP_OK : cp_error_no_memory(err, "times");
    if (status == CP_OK)
        status = cp_path_join(e->data, "triage/rules.json", path, sizeof path, err);
    if (status == CP_OK)
        status = cp_safety_open(path, &e->safety, err);
    if (status == CP_OK)
        status = cp_path_join(e->data, "vignettes/variants.json", path, sizeof path, err);
    if (status == CP_OK)
        status = cp_variant_source_read(path, &e->source, err);
    if (status == CP_OK)
        status = read_split(e, "train", "vignettes/train.jsonl", err);
    if (status == CP_OK)
        status = read_split(e, "held", "vignettes/held.jsonl", err);
    if (status == CP_OK && e->vignettes.n == 0)
        status = cp_error_set(err, CP_ERR_FORMAT, "%s: no vignettes", e->data);
    return status == CP_OK ? open_model(e, err) : status;
}

static void close_parts(evaluation *e) {
    cp_llm_close(e->llm);
    cp_grounding_close(e->grounding);
    cp_metrics_free(e->metrics);
    cp_schema_free(e->schema);
    cp_vignettes_deinit(&e->vignettes);
    cp_variant_source_deinit(&e->source);
    cp_safety_close(e->safety);
    free(e->times_us);
}

static cp_status show(const evaluation *e, cp_error *err) {
    cp_strbuf report;
    cp_strbuf_init(&report, MAX_REPORT_BYTES);
    cp_status status = CP_OK;
    if (e->html) {
        cp_eval_append_html(&e->result, &report);
        status = cp_strbuf_check(&report, "the page", err);
        if (status == CP_OK)
            status = cp_file_write(e->html, cp_strbuf_str(&report), err);
        cp_strbuf_clear(&report);
    }
    if (e->json)
        cp_eval_append_json(&e->result, &report);
    else
        cp_eval_append_table(&e->result, &report);
    if (status == CP_OK)
        status = cp_strbuf_check(&report, "the report", err);
    if (status == CP_OK)
        fwrite(cp_strbuf_text(&report), 1, report.n, stdout);
    cp_strbuf_deinit(&report);
    return status;
}

static cp_status run(evaluation *e, cp_error *err) {
    cp_status status = open_parts(e, err);
    if (status != CP_OK)
        return status;
    e->result.n_rules = cp_safety_n_rules(e->safety);
    e->result.unmatched_level = cp_safety_unmatched_acuity(e->safety);
    e->result.seed = (uint64_t)e->seed;
    status = evaluate(e, err);
    take_times(e);
    return status == CP_OK ? show(e, err) : status;
}

int cmd_eval(int argc, char **argv) {
    evaluation *e = calloc(1, sizeof *e);
    cp_error err;
    if (!e) {
        cp_error_no_memory(&err, "the evaluation");
        return cp_command_failed("eval", &err);
    }
    *e = (evaluation){
        .data = "data", .split = "all", .n_variants = 4, .seed = 20261121, .max_new = 1024};
    const cp_arg args[] = {
        {"data", CP_ARG_TEXT, &e->data, "DIR", "Folder with triage/ and vignettes/ (data)", 0, 0,
         false},
        {"split", CP_ARG_TEXT, &e->split, "SET", "train, held or all (default)", 0, 0, false},
        {"variants", CP_ARG_INT, &e->n_variants, "N", "Variants of each kind (default 4)", 0, 1000,
         false},
        {"seed", CP_ARG_INT, &e->seed, "N", "Of variants and model (default 20261121)", 0, 1e15,
         false},
        {"model", CP_ARG_TEXT, &e->model, "MODEL", "As LLM_MODE: a folder, a name, or mock", 0, 0,
         false},
        {"max-new", CP_ARG_INT, &e->max_new, "N", "Most tokens of an answer (default 1024)", 1,
         131072, false},
        {"limit", CP_ARG_INT, &e->limit, "N", "Ask the model about the first N only", 0, 1e6,
         false},
        {"json", CP_ARG_FLAG, &e->json, NULL, "Write JSON instead of a table", 0, 0, false},
        {"html", CP_ARG_TEXT, &e->html, "FILE", "Write a page, too", 0, 0, false},
    };
    const cp_command_line line = {
        .usage = "carepath eval [--split SET] [--model MODEL] [--json] [--html FILE]",
        .summary = "Triages the vignettes by the rules, and by rules and model where --model or "
                   "LLM_MODE names one.\nExits with 1 when the rules under-triage an emergency, or "
                   "a variant of a vignette lowers its level.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
    };
    int exit_status;
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN) {
        exit_status = cp_args_exit(parsed);
    } else if (strcmp(e->split, "train") != 0 && strcmp(e->split, "held") != 0 &&
               strcmp(e->split, "all") != 0) {
        fprintf(stderr, "carepath eval: --split is \"%s\", expected train, held or all\n",
                e->split);
        exit_status = CP_EXIT_USAGE;
    } else {
        cp_status status = cp_settings_from_env(&e->settings, getenv, &err);
        if (status == CP_OK)
            status = run(e, &err);
        exit_status = status != CP_OK              ? cp_command_failed("eval", &err)
                      : cp_eval_passes(&e->result) ? CP_EXIT_OK
                                                   : CP_EXIT_FAILED;
        close_parts(e);
    }
    free(e);
    return exit_status;
}
