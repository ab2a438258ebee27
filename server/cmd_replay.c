/* carepath replay: asks the same model the same question again and compares the bytes. */
#include "server/commands.h"

#include "base/args.h"
#include "base/file.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "server/audit_model.h"
#include "server/audit_reader.h"
#include "server/model_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct replay {
    const char *trace_id, *file, *model; /* of the command line */
    int64_t threads;
    bool json;

    cp_audit_reader reader;
    cp_audit_record record;
    cp_audit_question question;
    char dir[CP_PATH_CAP];
    cp_llm *llm;
    cp_llm_result result;
} replay;

static const char *clear_text(const replay *r, const char *key) {
    return cp_json_text(r->record.clear, key, "");
}

/* ---- before -----------------------------------------------------------------------------------
 */

/* What can be run again at all. */
static cp_status check_record(const replay *r, cp_error *err) {
    if (strcmp(clear_text(r, "kind"), "access") == 0)
        return cp_error_set(err, CP_ERR_NOT_FOUND,
                            "there is nothing to replay: the record says that a patient's record "
                            "was read or imported, and holds no answer");
    if (!r->record.sealed)
        return cp_error_set(err, CP_ERR_NOT_FOUND,
                            "the record holds only hashes of prompt and answer: the server had no "
                            "SECRET_KEY when it wrote it");
    if (!r->reader.keys.secret)
        return cp_error_set(err, CP_ERR_USAGE,
                            "prompt and answer are sealed: set SECRET_KEY or SECRET_KEY_FILE to "
                            "the server's");
    if (!cp_json_member(r->record.clear, "settings") || !r->record.weights[0])
        return cp_error_set(err, CP_ERR_NOT_FOUND,
                            "no model gave this answer: it came from the rules or a template");
    return CP_OK;
}

/* The folder, and that it is the one that answered. */
static cp_status find_model(replay *r, cp_error *err) {
    char hash[CP_AUDIT_HEX_CAP];
    const char *mode = clear_text(r, "llm_mode");
    int n = 0;
    cp_status status = CP_OK;
    if (r->model)
        n = snprintf(r->dir, sizeof r->dir, "%s", r->model);
    else
        status = cp_model_path_find("the record's model", mode, r->reader.settings.model_cache_dir,
                                    ", or give --model DIR", r->dir, err);
    if (n < 0 || (size_t)n >= sizeof r->dir)
        return cp_error_set(err, CP_ERR_LIMIT, "--model: path is too long");
    if (status == CP_OK)
        status = cp_audit_model_hash(r->dir, NULL, &r->reader.keys, hash, err);
    if (status == CP_OK && strcmp(hash, r->record.weights) != 0)
        status = cp_error_set(err, CP_ERR_FORMAT,
                              "%s is not the model that answered: its SHA-256 is %.16s..., the "
                              "record says %.16s...",
                              r->dir, hash, r->record.weights);
    return status;
}

static cp_status ask(replay *r, cp_error *err) {
    const cp_llm_options options = {
        .n_threads = (size_t)r->threads,
        .context_cap = (size_t)r->question.context_tokens,
        .kv = r->question.kv,
    };
    cp_status status = cp_llm_open(r->dir, &options, &r->llm, err);
    return status == CP_OK ? cp_llm_generate(r->llm, &r->question.request, &r->result, err)
                           : status;
}

/* ---- after ------------------------------------------------------------------------------------
 */

/* Where they differ first; SIZE_MAX when they are the same bytes. */
static size_t first_difference(cp_str a, cp_str b) {
    size_t i = 0;
    while (i < a.n && i < b.n && a.data[i] == b.data[i])
        i++;
    return i == a.n && i == b.n ? SIZE_MAX : i;
}

static bool begins_with(cp_str text, cp_str start) {
    return text.n >= start.n && memcmp(text.data, start.data, start.n) == 0;
}

typedef enum verdict { IDENTICAL, IDENTICAL_TO_THE_CUT, DIFFERENT } verdict;
static const char *const verdict_words[] = {"identical", "identical up to where it was cut",
                                            "DIFFERENT"};

/* An answer that time or its client ended goes on further now: what the model wrote until then must
 * be the beginning. (What closed a cut JSON text is not the model's.) */
static verdict compare(const replay *r) {
    cp_str thinking = cp_strbuf_str(&r->result.thinking), answer = cp_strbuf_str(&r->result.answer);
    const cp_str *was_thinking = &r->record.thinking;
    cp_str was_answer = r->record.answer;
    int64_t tail = 0;
    bool same_thinking = first_difference(*was_thinking, thinking) == SIZE_MAX;
    if (same_thinking && first_difference(was_answer, answer) == SIZE_MAX)
        return IDENTICAL;
    if (cp_json_get_int(cp_json_member(r->record.clear, "tokens"), "record", "tail_bytes", 0,
                        (int64_t)was_answer.n, &tail, NULL) == CP_OK)
        was_answer.n -= (size_t)tail;
    bool was_cut = strcmp(clear_text(r, "finish_reason"), "stop") != 0;
    bool begins = was_answer.n == 0 ? begins_with(thinking, *was_thinking)
                                    : same_thinking && begins_with(answer, was_answer);
    return was_cut && begins ? IDENTICAL_TO_THE_CUT : DIFFERENT;
}

static void put_part(const char *name, cp_str then, cp_str now, cp_json_writer *w) {
    size_t at = first_difference(then, now);
    cp_json_key(w, name);
    cp_json_open_object(w);
    cp_json_member_int(w, "bytes_then", (int64_t)then.n);
    cp_json_member_int(w, "bytes_now", (int64_t)now.n);
    cp_json_key(w, "differs_at");
    if (at == SIZE_MAX)
        cp_json_put_null(w);
    else
        cp_json_put_int(w, (int64_t)at);
    cp_json_close_object(w);
}

static const char *isa_then(const replay *r) {
    return cp_json_text(cp_json_member(r->record.clear, "settings"), "isa", "");
}

static void print_json(const replay *r, verdict v) {
    cp_strbuf out;
    cp_json_writer w;
    cp_strbuf_init(&out, 65536);
    cp_json_writer_init(&w, &out);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "trace_id", r->trace_id);
    cp_json_member_bool(&w, "identical", v != DIFFERENT);
    cp_json_member_bool(&w, "cut", v == IDENTICAL_TO_THE_CUT);
    put_part("thinking", r->record.thinking, cp_strbuf_str(&r->result.thinking), &w);
    put_part("answer", r->record.answer, cp_strbuf_str(&r->result.answer), &w);
    cp_json_member_int(&w, "tokens", (int64_t)r->result.ids.n);
    cp_json_member_text(&w, "model", cp_llm_name(r->llm));
    cp_json_member_text(&w, "isa_then", isa_then(r));
    cp_json_member_text(&w, "isa_now", cp_engine_isa(cp_llm_engine(r->llm)));
    cp_json_close_object(&w);
    puts(cp_strbuf_text(&out));
    cp_strbuf_deinit(&out);
}

static void print_part(const char *name, cp_str then, cp_str now) {
    size_t at = first_difference(then, now);
    if (at == SIZE_MAX)
        printf("  %s: %zu bytes, the same\n", name, then.n);
    else
        printf("  %s: %zu bytes then, %zu now, different from byte %zu on\n", name, then.n, now.n,
               at);
}

static void print_text(const replay *r, verdict v) {
    printf("%s: %s\n", r->trace_id, verdict_words[v]);
    print_part("thinking", r->record.thinking, cp_strbuf_str(&r->result.thinking));
    print_part("answer", r->record.answer, cp_strbuf_str(&r->result.answer));
    printf("  model %s, %zu tokens, instruction set %s then, %s now\n", cp_llm_name(r->llm),
           r->result.ids.n, isa_then(r), cp_engine_isa(cp_llm_engine(r->llm)));
    if (v == DIFFERENT)
        printf("  (only quantized weights promise the same bits everywhere: docs/audit.md)\n");
}

static bool report(const replay *r) {
    verdict v = compare(r);
    if (r->json)
        print_json(r, v);
    else
        print_text(r, v);
    return v != DIFFERENT;
}

/* ---- the command ------------------------------------------------------------------------------
 */

static int run(replay *r) {
    cp_error err;
    bool same = false;
    cp_llm_result_init(&r->result);
    cp_status status = cp_audit_reader_open(r->file, &r->reader, &err);
    if (status == CP_OK)
        status = cp_audit_reader_find(&r->reader, r->trace_id, &r->record, &err);
    if (status == CP_OK)
        status = check_record(r, &err);
    if (status == CP_OK)
        status = cp_audit_question_read(&r->record, &r->question, &err);
    if (status == CP_OK)
        status = find_model(r, &err);
    if (status == CP_OK)
        status = ask(r, &err);
    if (status == CP_OK)
        same = report(r);
    cp_llm_result_deinit(&r->result);
    cp_llm_close(r->llm);
    cp_audit_question_deinit(&r->question);
    cp_audit_record_deinit(&r->record);
    cp_audit_reader_close(&r->reader);
    if (status != CP_OK)
        return cp_command_failed("replay", &err);
    return same ? CP_EXIT_OK : CP_EXIT_FAILED;
}

int cmd_replay(int argc, char **argv) {
    replay r = {0};
    const cp_arg args[] = {
        {"file", CP_ARG_TEXT, &r.file, "FILE", "The audit log (AUDIT_FILE)", 0, 0, false},
        {"model", CP_ARG_TEXT, &r.model, "DIR",
         "The model's folder (by its name, in MODEL_CACHE_DIR)", 0, 0, false},
        {"threads", CP_ARG_INT, &r.threads, "N", "Threads (default: one a processor)", 0, 256,
         false},
        {"json", CP_ARG_FLAG, &r.json, NULL, "The result as one JSON object", 0, 0, false},
    };
    const cp_command_line line = {
        .usage = "carepath replay TRACE_ID [--model DIR] [--file FILE] [--threads N] [--json]",
        .summary =
            "Runs an answer of the audit log again, with its prompt, settings and seed, and "
            "compares the bytes:\nexit 0 when they are identical. Needs the server's SECRET_KEY "
            "(or SECRET_KEY_FILE) and the same model.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
        .positional = &r.trace_id,
        .max_positional = 1,
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    if (!r.trace_id) {
        cp_error err;
        cp_error_set(&err, CP_ERR_USAGE, "expected a trace id (usage: %s)", line.usage);
        return cp_command_failed("replay", &err);
    }
    return run(&r);
}
