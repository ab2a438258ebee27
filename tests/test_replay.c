/* carepath audit and carepath replay: what they say and how they end. */
#include "tests/test.h"

#include "base/file.h"
#include "server/audit_log.h"
#include "server/audit_model.h"

#include <unistd.h>

#define SECRET     "0123456789abcdef0123456789abcdef"
#define SECRET_ENV "SECRET_KEY=" SECRET
#define N_ASKED    4

static const char *const levels[] = {"int8", "int4"};
static char model[300], log_path[300], file_env[350];

/* A quantized copy of a golden model, since only those promise bits. */
static void make_model(const char *level) {
    snprintf(model, sizeof model, "%s", test_path(test_tmp_dir(), "tiny"));
    test_run run = test_run_program((const char *[]){NULL, "convert", GOLDEN "/models/tied-gqa2",
                                                     model, "--quant", level, NULL},
                                    NULL, NULL);
    if (run.exit_code != 0)
        fail_msg("convert: %s", cp_strbuf_text(&run.err));
    test_run_free(&run);
}

static void trace_id(int number, char out[33]) {
    snprintf(out, 33, "%032x", number + 1);
}

/* What is asked, one way after the other. */
static cp_llm_request question(int number, const cp_schema *object) {
    static const cp_chat_message messages[] = {
        {.role = CP_ROLE_SYSTEM, .content = "You triage."},
        {.role = CP_ROLE_USER, .content = "Wheeze since Monday, \"> \" \xc3\xa9"}};
    static const int32_t ids[] = {5, 9, 17, 33, 2};
    cp_llm_request request = {
        .max_new_tokens = 40,
        .sampling = {.temperature = 0.8,
                     .top_k = 30,
                     .top_p = 0.9,
                     .min_p = 0.01,
                     .presence_penalty = 0.5,
                     .seed = 9007199254740993u + (uint64_t)number},
    };
    if (number < 2) {
        request.messages = messages;
        request.n_messages = 2;
        request.thinking = number == 0 ? CP_THINKING_ON : CP_THINKING_OFF;
        request.has_thinking_budget = number == 0;
        request.thinking_budget = 9;
    } else if (number == 2) {
        request.text = "Once";
        request.schema = object;
    } else {
        request.ids = ids;
        request.n_ids = 5;
    }
    return request;
}

/* Answers as a server would give them, and its log. */
static void make_log(const char *secret) {
    cp_error err;
    cp_llm *llm;
    cp_audit *audit;
    cp_schema *object;
    snprintf(log_path, sizeof log_path, "%s", test_path(test_tmp_dir(), "audit.jsonl"));
    snprintf(file_env, sizeof file_env, "AUDIT_FILE=%s", log_path);
    const cp_audit_options options = {.path = log_path, .secret = secret, .model_dir = model};
    assert_cp_ok(
        cp_llm_open(model, &(cp_llm_options){.context_cap = 256, .n_threads = 2}, &llm, &err));
    assert_cp_ok(cp_audit_open(&options, &audit, &err));
    assert_cp_ok(cp_schema_json_object(&object, &err));
    for (int i = 0; i < N_ASKED; i++) {
        char trace[33];
        cp_llm_result result;
        cp_llm_request request = question(i, object);
        trace_id(i, trace);
        cp_llm_result_init(&result);
        assert_cp_ok(cp_llm_generate(llm, &request, &result, &err));
        assert_true(result.answer.n + result.thinking.n > 0);
        const cp_audit_entry entry = {
            .endpoint = "triage",
            .trace_id = trace,
            .mrn = "MRN-001",
            .llm_mode = "tiny",
            .model = "tiny",
            .request = &request,
            .schema_text = request.schema ? "" : NULL,
            .result = &result,
            .context_tokens = cp_llm_context(llm),
            .kv = cp_kv_name(cp_engine_kv(cp_llm_engine(llm))),
            .isa = cp_engine_isa(cp_llm_engine(llm)),
        };
        assert_cp_ok(cp_audit_append(audit, &entry, &err));
        cp_llm_result_deinit(&result);
    }
    cp_schema_free(object);
    cp_audit_close(audit);
    cp_llm_close(llm);
}

static test_run replay(int number, const char *secret_env, const char *more_env,
                       const char *folder) {
    char trace[33];
    trace_id(number, trace);
    return test_run_program(
        (const char *[]){NULL, "replay", trace, "--model", folder, "--json", NULL},
        (const char *[]){file_env, secret_env, more_env, NULL}, NULL);
}

static void the_same_bytes_on_any_instruction_set(void **state) {
    static const char *const isas[] = {NULL, "CAREPATH_ISA=scalar"};
    (void)state;
    for (size_t level = 0; level < 2; level++) {
        make_model(levels[level]);
        make_log(SECRET);
        for (int number = 0; number < N_ASKED; number++)
            for (int isa = 0; isa < 2; isa++) {
                test_run run = replay(number, SECRET_ENV, isas[isa], model);
                cJSON *said = test_run_json(&run);
                assert_true(cJSON_IsTrue(cp_json_member(said, "identical")));
                if (isa == 1)
                    assert_string_equal(cp_json_member(said, "isa_now")->valuestring, "scalar");
                cJSON_Delete(said);
                test_run_free(&run);
            }
    }
}

static void expect(test_run run, int exit_code, const char *sentence) {
    if (run.exit_code != exit_code || !strstr(cp_strbuf_text(&run.err), sentence))
        fail_msg("exit %d, not %d with \"%s\": %s%s", run.exit_code, exit_code, sentence,
                 cp_strbuf_text(&run.out), cp_strbuf_text(&run.err));
    assert_null(strstr(cp_strbuf_text(&run.err), "Wheeze"));
    test_run_free(&run);
}

static void what_cannot_be_replayed_is_told(void **state) {
    (void)state;
    make_model("int4");
    make_log(SECRET);
    expect(replay(77, SECRET_ENV, NULL, model), 1, "no record has the trace id");
    expect(replay(0, "SECRET_KEY=", NULL, model), 2, "set SECRET_KEY");
    expect(replay(0, "SECRET_KEY=another 0123456789 secret of 32 and more", NULL, model), 1,
           "another SECRET_KEY");
    expect(replay(0, SECRET_ENV, NULL, GOLDEN "/models/tied-gqa2"), 1,
           "is not the model that answered");
    expect(replay(0, SECRET_ENV, NULL, "no/such/folder"), 1, "no/such/folder");
    expect(test_run_program((const char *[]){NULL, "replay", "xyz", NULL},
                            (const char *[]){file_env, SECRET_ENV, NULL}, NULL),
           2, "is no trace id");
    expect(test_run_program((const char *[]){NULL, "replay", "xyz", NULL},
                            (const char *[]){"AUDIT_FILE=", NULL}, NULL),
           2, "no audit log is named");
    make_log(NULL);
    expect(replay(0, "SECRET_KEY=", NULL, model), 1, "only hashes");
}

/* The same record sealed again around another answer: replay must not just say "identical". */
static void another_answer_is_told(void **state) {
    cp_error err;
    char trace[33];
    (void)state;
    make_model("int4");
    make_log(SECRET);
    cp_audit *audit;
    const cp_audit_options options = {.path = log_path, .secret = SECRET, .model_dir = model};
    assert_cp_ok(cp_audit_open(&options, &audit, &err));
    cp_llm_request request = question(3, NULL);
    cp_llm_result result;
    cp_llm_result_init(&result);
    cp_strbuf_puts(&result.answer, "Go home.");
    result.seed = request.sampling.seed;
    trace_id(9, trace);
    const cp_audit_entry entry = {.endpoint = "triage",
                                  .trace_id = trace,
                                  .llm_mode = "tiny",
                                  .request = &request,
                                  .result = &result,
                                  .context_tokens = 256,
                                  .kv = "f16",
                                  .isa = "neon"};
    assert_cp_ok(cp_audit_append(audit, &entry, &err));
    cp_audit_close(audit);
    cp_llm_result_deinit(&result);
    test_run run = replay(9, SECRET_ENV, NULL, model);
    assert_int_equal(run.exit_code, 1);
    assert_non_null(strstr(cp_strbuf_text(&run.out), "\"identical\":false"));
    assert_non_null(strstr(cp_strbuf_text(&run.out), "\"isa_then\":\"neon\""));
    test_run_free(&run);
}

static test_run audit_command(const char *action, const char *word, const char *secret_env) {
    return test_run_program((const char *[]){NULL, "audit", action, word, NULL},
                            (const char *[]){file_env, secret_env, NULL}, NULL);
}

static void audit_verifies_and_shows(void **state) {
    cp_strbuf text;
    cp_error err;
    char trace[33];
    (void)state;
    make_model("int4");
    make_log(SECRET);
    trace_id(0, trace);
    test_run run = audit_command("verify", "--json", SECRET_ENV);
    cJSON *said = test_run_json(&run);
    assert_true(cJSON_IsTrue(cp_json_member(said, "ok")));
    assert_int_equal(cp_json_member(said, "records")->valueint, N_ASKED);
    assert_true(cJSON_IsTrue(cp_json_member(said, "marks_checked")));
    cJSON_Delete(said);
    test_run_free(&run);

    run = audit_command("show", trace, SECRET_ENV);
    said = test_run_json(&run);
    assert_non_null(strstr(cp_strbuf_text(&run.out), "Wheeze since Monday"));
    assert_non_null(cp_json_member(said, "answer"));
    cJSON_Delete(said);
    test_run_free(&run);
    run = audit_command("show", trace, "SECRET_KEY=");
    said = test_run_json(&run);
    assert_null(strstr(cp_strbuf_text(&run.out), "Wheeze"));
    assert_non_null(strstr(cp_strbuf_text(&run.err), "sealed"));
    cJSON_Delete(said);
    test_run_free(&run);

    assert_cp_ok(cp_file_read(log_path, 1 << 20, &text, &err));
    text.data[text.n / 2] ^= 1;
    test_write_file(log_path, text.data, text.n);
    cp_strbuf_deinit(&text);
    run = audit_command("verify", NULL, SECRET_ENV);
    assert_int_equal(run.exit_code, 1);
    assert_non_null(strstr(cp_strbuf_text(&run.out), "FAULT: record "));
    assert_non_null(strstr(cp_strbuf_text(&run.out), "is not as it was written"));
    test_run_free(&run);
    expect(audit_command("verify", "too much", SECRET_ENV), 2, "expected verify, or show");
    expect(audit_command("show", NULL, SECRET_ENV), 2, "expected verify, or show");
    snprintf(file_env, sizeof file_env, "AUDIT_FILE=/nonexistent/audit.jsonl");
    expect(audit_command("verify", NULL, SECRET_ENV), 1, "/nonexistent/");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_same_bytes_on_any_instruction_set),
    cmocka_unit_test(what_cannot_be_replayed_is_told),
    cmocka_unit_test(another_answer_is_told),
    cmocka_unit_test(audit_verifies_and_shows),
};
CP_TEST_GROUP(replay, tests)
