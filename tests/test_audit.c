/* The audit log: what is kept, that every change is seen, that kill -9 loses nothing acknowledged.
 */
#include "tests/test.h"

#include "base/clock.h"
#include "base/file.h"
#include "server/audit_log.h"
#include "server/audit_model.h"
#include "server/audit_question.h"
#include "server/audit_scan.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET "a secret of the tests that is long enough for anybody"
#define QUERY  "I am Zebediah Quillfeather and my chest hurts"
#define ANSWER "Call for help now.\nACUITY: 2\n\xc3\xa9\0end"

static char log_path[400];

/* A fresh folder with no log in it yet. */
static const char *new_log(void) {
    snprintf(log_path, sizeof log_path, "%s", test_path(test_tmp_dir(), "audit/audit.jsonl"));
    return log_path;
}

static cp_audit *open_log(const char *secret, size_t rotate_bytes) {
    cp_audit_options options = {.path = log_path, .secret = secret, .rotate_bytes = rotate_bytes};
    cp_audit *audit;
    cp_error err;
    assert_cp_ok(cp_audit_open(&options, &audit, &err));
    return audit;
}

/* An answer by a model, with so many bytes more; trace ids are numbers. */
static cp_status append_long(cp_audit *audit, uint64_t number, size_t more, cp_error *err) {
    static const char *const rules[] = {"cardiac-chest-pain"};
    const cp_chat_message messages[] = {{.role = CP_ROLE_SYSTEM, .content = "Help."},
                                        {.role = CP_ROLE_USER, .content = QUERY}};
    const cp_llm_request request = {
        .messages = messages,
        .n_messages = 2,
        .thinking = CP_THINKING_ON,
        .sampling = {.temperature = 0.6, .top_k = 20, .top_p = 0.95, .seed = 18446744073709551615u},
        .max_new_tokens = 64,
        .stops = {"STOP"},
        .has_thinking_budget = true,
        .thinking_budget = 40,
    };
    char trace[33];
    cp_llm_result result;
    cp_llm_result_init(&result);
    cp_strbuf_puts(&result.thinking, "Chest pain.");
    cp_strbuf_append(&result.answer, ANSWER, sizeof ANSWER - 1);
    test_append_times(&result.answer, "long ", more / 5);
    result.seed = request.sampling.seed;
    result.thinking_tokens = 7;
    result.thinking_truncated = number % 2 == 0;
    snprintf(trace, sizeof trace, "%032llx", (unsigned long long)number);
    const cp_audit_entry entry = {
        .endpoint = "triage",
        .trace_id = trace,
        .key_id = "clinic-1",
        .mrn = "MRN-001",
        .rules = rules,
        .n_rules = 1,
        .acuity = 2,
        .acuity_source = "rules",
        .llm_mode = "qwen",
        .model = "tiny",
        .template_name = "triage-1",
        .request = &request,
        .schema_text = "{\"type\":\"object\"}",
        .result = &result,
        .context_tokens = 4096,
        .kv = "f16",
        .isa = "scalar",
    };
    cp_status status = cp_audit_append(audit, &entry, err);
    cp_llm_result_deinit(&result);
    return status;
}

static cp_status append(cp_audit *audit, uint64_t number, cp_error *err) {
    return append_long(audit, number, 0, err);
}

static void append_some(cp_audit *audit, uint64_t first, size_t n) {
    cp_error err;
    for (size_t i = 0; i < n; i++)
        assert_cp_ok(append(audit, first + i, &err));
}

static void write_log(const char *secret, size_t n, size_t rotate_bytes) {
    cp_audit *audit = open_log(secret, rotate_bytes);
    append_some(audit, 1, n);
    cp_audit_close(audit);
}

/* ---- looking ----------------------------------------------------------------------------------
 */

#define MAX_SEEN 200000

typedef struct look {
    cp_audit_keys keys;
    cp_audit_scan scan;
    char first_fault[512];
    uint64_t n_answers, n_notes;
    unsigned char *seen; /* [MAX_SEEN] by trace id, or NULL */
} look;

static void on_fault(void *user, const char *sentence) {
    look *l = user;
    if (!l->first_fault[0])
        snprintf(l->first_fault, sizeof l->first_fault, "%s", sentence);
}

static bool on_line(void *user, const cp_audit_line *line) {
    look *l = user;
    cp_audit_record record;
    cp_error err;
    if (cp_audit_record_read(&(cp_audit_keys){0}, line->body, &record, &err) == CP_OK) {
        const cJSON *trace = cp_json_member(record.clear, "trace_id");
        l->n_answers += trace != NULL;
        l->n_notes += trace == NULL;
        uint64_t number = trace ? strtoull(trace->valuestring, NULL, 16) : MAX_SEEN;
        if (l->seen && number < MAX_SEEN)
            l->seen[number]++;
    }
    cp_audit_record_deinit(&record);
    return true;
}

/* False when there is no log yet. */
static bool scan_log(look *l, const char *secret) {
    cp_error err;
    unsigned char *seen = l->seen;
    *l = (look){.seen = seen};
    assert_cp_ok(cp_audit_keys_derive(secret, &l->keys, &err));
    l->scan =
        (cp_audit_scan){.keys = &l->keys, .on_fault = on_fault, .on_line = on_line, .user = l};
    cp_status status = cp_audit_scan_run(log_path, &l->scan, &err);
    if (status != CP_OK && status != CP_ERR_NOT_FOUND)
        fail_msg("%s", err.message);
    return status == CP_OK;
}

static void assert_clean(const char *secret, size_t n) {
    look l = {0};
    assert_true(scan_log(&l, secret));
    if (l.scan.n_faults > 0)
        fail_msg("a clean log has a fault: %s", l.first_fault);
    assert_int_equal(l.n_answers, n);
    assert_int_equal(l.scan.torn_bytes, 0);
}

static bool has_fault(const char *secret) {
    look l = {0};
    return !scan_log(&l, secret) || l.scan.n_faults > 0;
}

/* ---- what is kept -----------------------------------------------------------------------------
 */

static void a_record_comes_back_whole_and_only_with_the_key(void **state) {
    cp_audit_keys keys;
    cp_error err;
    cp_strbuf text;
    (void)state;
    new_log();
    write_log(SECRET, 2, 0);
    assert_clean(SECRET, 2);
    assert_cp_ok(cp_file_read(log_path, 1 << 20, &text, &err));
    assert_null(strstr(text.data, "Quillfeather"));
    assert_null(strstr(text.data, "MRN-001"));
    assert_null(strstr(text.data, "ACUITY"));
    assert_non_null(strstr(text.data, "cardiac-chest-pain"));
    cp_audit_line line;
    size_t n = strcspn(text.data, "\n");
    char *second = text.data + n + 1;
    assert_true(cp_audit_line_parse((cp_str){second, strcspn(second, "\n")}, &line));
    assert_cp_ok(cp_audit_keys_derive(SECRET, &keys, &err));
    cp_audit_record record;
    cp_audit_question q;
    assert_cp_ok(cp_audit_record_read(&keys, line.body, &record, &err));
    assert_true(cp_str_equal(record.answer, (cp_str){ANSWER, sizeof ANSWER - 1}));
    assert_true(cp_str_is(record.thinking, "Chest pain."));
    assert_cp_ok(cp_audit_question_read(&record, &q, &err));
    assert_int_equal(q.request.n_messages, 2);
    assert_string_equal(q.request.messages[1].content, QUERY);
    assert_int_equal(q.request.thinking, CP_THINKING_ON);
    assert_true(q.request.sampling.seed == 18446744073709551615u);
    assert_true(q.request.sampling.temperature == 0.6 && q.request.sampling.top_p == 0.95);
    assert_int_equal(q.request.sampling.top_k, 20);
    assert_int_equal(q.request.max_new_tokens, 64);
    assert_int_equal(q.request.thinking_budget, 7); /* the thought was cut there */
    assert_string_equal(q.request.stops[0], "STOP");
    assert_non_null(q.request.schema);
    assert_int_equal(q.kv, CP_KV_F16);
    cp_audit_question_deinit(&q);
    cp_audit_record_deinit(&record);

    cp_audit_line other;
    assert_true(cp_audit_line_parse((cp_str){text.data, n}, &other));
    assert_cp_ok(cp_audit_record_read(&keys, other.body, &record, &err));
    assert_cp_ok(cp_audit_question_read(&record, &q, &err));
    assert_int_equal(q.request.thinking_budget, 40); /* as it was asked */
    cp_audit_question_deinit(&q);
    cp_audit_record_deinit(&record);

    assert_cp_ok(cp_audit_keys_derive("another secret that is long enough, too", &keys, &err));
    assert_int_equal(cp_audit_record_read(&keys, line.body, &record, &err), CP_ERR_FORMAT);
    cp_audit_record_deinit(&record);
    cp_strbuf_deinit(&text);
    assert_true(has_fault("another secret that is long enough, too"));
}

static void a_sealed_part_does_not_open_under_another_clear_part(void **state) {
    cp_audit_keys keys;
    cp_error err;
    cp_strbuf text;
    (void)state;
    new_log();
    write_log(SECRET, 1, 0);
    assert_cp_ok(cp_file_read(log_path, 1 << 20, &text, &err));
    char *acuity = strstr(text.data, "\"acuity\":2");
    assert_non_null(acuity);
    acuity[9] = '5';
    cp_audit_line line;
    cp_audit_record record;
    assert_true(cp_audit_line_parse((cp_str){text.data, text.n - 1}, &line));
    assert_cp_ok(cp_audit_keys_derive(SECRET, &keys, &err));
    assert_int_equal(cp_audit_line_check(&keys, &line, &err), CP_ERR_FORMAT);
    assert_int_equal(cp_audit_record_read(&keys, line.body, &record, &err), CP_ERR_FORMAT);
    cp_audit_record_deinit(&record);
    cp_strbuf_deinit(&text);
}

static void without_a_secret_no_text_and_no_patient_is_kept(void **state) {
    cp_error err;
    cp_strbuf text;
    (void)state;
    new_log();
    write_log(NULL, 3, 0);
    assert_clean(NULL, 3);
    assert_cp_ok(cp_file_read(log_path, 1 << 20, &text, &err));
    assert_null(strstr(text.data, "Quillfeather"));
    assert_non_null(strstr(text.data, "\"sealed\":null"));
    assert_non_null(strstr(text.data, "\"patient\":null"));
    assert_non_null(strstr(text.data, "\"answer_hash\":\""));
    cp_strbuf_deinit(&text);
}

static void a_log_with_marks_can_be_walked_without_the_secret(void **state) {
    look l = {0};
    (void)state;
    new_log();
    write_log(SECRET, 3, 0);
    assert_true(scan_log(&l, NULL));
    assert_int_equal(l.scan.n_faults, 0);
    assert_false(l.scan.marks_checked);
}

static void patients_hashes_tell_patients_apart_and_nothing_else(void **state) {
    cp_audit_keys keys, other;
    cp_error err;
    char a[CP_AUDIT_HEX_CAP], b[CP_AUDIT_HEX_CAP];
    (void)state;
    assert_cp_ok(cp_audit_keys_derive(SECRET, &keys, &err));
    assert_cp_ok(cp_audit_keys_derive("another secret", &other, &err));
    assert_cp_ok(cp_audit_patient_hash(&keys, "MRN-001", a, &err));
    assert_cp_ok(cp_audit_patient_hash(&keys, "MRN-001", b, &err));
    assert_string_equal(a, b);
    assert_cp_ok(cp_audit_patient_hash(&keys, "MRN-002", b, &err));
    assert_string_not_equal(a, b);
    assert_cp_ok(cp_audit_patient_hash(&other, "MRN-001", b, &err));
    assert_string_not_equal(a, b);
}

/* ---- changes are seen -------------------------------------------------------------------------
 */

typedef struct files {
    cp_strbuf log, head;
    const char *head_path;
} files;

static files read_files(void) {
    files f;
    cp_error err;
    static char head[450];
    snprintf(head, sizeof head, "%s.head", log_path);
    f.head_path = head;
    assert_cp_ok(cp_file_read(log_path, 1 << 20, &f.log, &err));
    assert_cp_ok(cp_file_read(head, 1 << 20, &f.head, &err));
    return f;
}

static void put_back(const files *f) {
    test_write_file(log_path, f->log.data, f->log.n);
    test_write_file(f->head_path, f->head.data, f->head.n);
}

static void free_files(files *f) {
    cp_strbuf_deinit(&f->log);
    cp_strbuf_deinit(&f->head);
}

/* In place: a file that is cut and written anew costs a wait for the disk. */
static void poke(const char *path, size_t at, char byte) {
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fputc((unsigned char)byte, file), (unsigned char)byte);
    assert_int_equal(fclose(file), 0);
}

static void every_changed_byte_is_seen(const char *secret) {
    new_log();
    write_log(secret, 3, 0);
    files f = read_files();
    for (size_t i = 0; i < f.log.n; i++) {
        for (int bit = 0; bit < 8; bit += 3) {
            poke(log_path, i, (char)(f.log.data[i] ^ 1 << bit));
            if (!has_fault(secret))
                fail_msg("byte %zu of the log, bit %d", i, bit);
        }
        poke(log_path, i, f.log.data[i]);
    }
    for (size_t i = 0; i < f.head.n; i++) {
        poke(f.head_path, i, (char)(f.head.data[i] ^ 1));
        if (!has_fault(secret))
            fail_msg("byte %zu of the head", i);
        poke(f.head_path, i, f.head.data[i]);
    }
    assert_clean(secret, 3);
    free_files(&f);
}

static void a_changed_byte_anywhere_is_seen(void **state) {
    (void)state;
    every_changed_byte_is_seen(SECRET);
    every_changed_byte_is_seen(NULL);
}

static void a_cut_at_any_byte_is_seen(void **state) {
    (void)state;
    new_log();
    write_log(SECRET, 3, 0);
    files f = read_files();
    for (size_t n = f.log.n; n-- > 0;) {
        assert_int_equal(truncate(log_path, (off_t)n), 0);
        if (!has_fault(SECRET))
            fail_msg("cut to %zu of %zu bytes", n, f.log.n);
    }
    put_back(&f);
    for (size_t n = f.head.n; n-- > 0;) {
        assert_int_equal(truncate(f.head_path, (off_t)n), 0);
        if (!has_fault(SECRET))
            fail_msg("head cut to %zu bytes", n);
    }
    put_back(&f);
    assert_int_equal(unlink(f.head_path), 0);
    assert_true(has_fault(SECRET));
    put_back(&f);
    assert_int_equal(unlink(log_path), 0);
    assert_true(has_fault(SECRET));
    free_files(&f);
}

#define LINES 6

/* Writes the lines of `f` in the order of `picks` (-1 ends it). */
static void write_picked(const files *f, const int *picks) {
    size_t starts[LINES + 1] = {0}, n = 0;
    FILE *out = fopen(log_path, "wb");
    assert_non_null(out);
    for (size_t i = 0; i < f->log.n; i++)
        if (f->log.data[i] == '\n')
            starts[++n] = i + 1;
    assert_int_equal(n, LINES);
    for (; *picks >= 0; picks++)
        assert_true(
            fwrite(f->log.data + starts[*picks], 1, starts[*picks + 1] - starts[*picks], out) > 0);
    fclose(out);
}

static void dropped_swapped_and_repeated_records_are_seen(void **state) {
    (void)state;
    new_log();
    write_log(SECRET, LINES, 0);
    files f = read_files();
    for (int a = 0; a < LINES; a++)
        for (int b = 0; b < LINES; b++) {
            int swapped[LINES + 1], twice[LINES + 2], n = 0;
            for (int i = 0; i < LINES; i++) {
                swapped[i] = i == a ? b : i == b ? a : i;
                twice[n++] = i;
                if (i == b)
                    twice[n++] = a;
            }
            swapped[LINES] = twice[n] = -1;
            write_picked(&f, swapped);
            if (has_fault(SECRET) != (a != b))
                fail_msg("records %d and %d swapped", a, b);
            write_picked(&f, twice);
            if (!has_fault(SECRET))
                fail_msg("record %d again after %d", a, b);
        }
    for (unsigned kept = 0; kept < 1u << LINES; kept++) { /* every subset */
        int picks[LINES + 1], n = 0;
        for (int i = 0; i < LINES; i++)
            if (kept & 1u << i)
                picks[n++] = i;
        picks[n] = -1;
        write_picked(&f, picks);
        if (has_fault(SECRET) != (kept != (1u << LINES) - 1))
            fail_msg("records kept: %x", kept);
    }
    free_files(&f);
}

/* Forged with everything that has no secret: the right place, a right SHA-256, a mark of another
 * key; and a copy of an old log with a longer future. */
static void forged_records_are_seen(void **state) {
    static const char *const secrets[] = {NULL, "the forger's own secret"};
    cp_error err;
    (void)state;
    for (int i = 0; i < 2; i++) {
        new_log();
        write_log(SECRET, 2, 0);
        look l = {0};
        assert_true(scan_log(&l, SECRET));
        cp_audit_keys keys;
        cp_strbuf line;
        cp_strbuf_init(&line, 1 << 20);
        assert_cp_ok(cp_audit_keys_derive(secrets[i], &keys, &err));
        cp_audit_place place = l.scan.next;
        assert_cp_ok(cp_audit_line_append(
            &keys, &place, CP_STR("\"weights\":null,\"record\":{},\"sealed\":null"), &line, &err));
        files f = read_files();
        cp_strbuf_append(&f.log, line.data, line.n);
        test_write_file(log_path, f.log.data, f.log.n);
        assert_true(has_fault(SECRET));
        free_files(&f);
        cp_strbuf_deinit(&line);
    }
    new_log();
    write_log(SECRET, 2, 0);
    files old = read_files();
    cp_audit *audit = open_log(SECRET, 0);
    append_some(audit, 3, 3);
    cp_audit_close(audit);
    test_write_file(log_path, old.log.data, old.log.n); /* the head is the new one */
    assert_true(has_fault(SECRET));
    cp_audit_options options = {.path = log_path, .secret = SECRET};
    assert_int_equal(cp_audit_open(&options, &audit, &err), CP_ERR_FORMAT);
    assert_non_null(strstr(err.message, "records 3 to 5 are missing at the end"));
    free_files(&old);
}

/* ---- parts ------------------------------------------------------------------------------------
 */

static void the_chain_goes_on_across_files_and_starts(void **state) {
    cp_audit_part *parts;
    size_t n;
    cp_error err;
    (void)state;
    new_log();
    for (int start = 0; start < 4; start++) {
        cp_audit *audit = open_log(SECRET, 4096);
        append_some(audit, (uint64_t)start * 5 + 1, 5);
        cp_audit_close(audit);
    }
    assert_clean(SECRET, 20);
    assert_cp_ok(cp_audit_parts(log_path, &parts, &n, &err));
    assert_true(n >= 4);
    for (size_t i = 0; i < n; i++) { /* a missing file is seen, whichever */
        char away[5000];
        snprintf(away, sizeof away, "%s.away", parts[i].path);
        assert_int_equal(rename(parts[i].path, away), 0);
        if (!has_fault(SECRET))
            fail_msg("%s was missing", parts[i].path);
        assert_int_equal(rename(away, parts[i].path), 0);
    }
    assert_clean(SECRET, 20);
    free(parts);
}

static void one_process_writes_a_log_at_a_time(void **state) {
    cp_audit_options options = {.path = new_log(), .secret = SECRET};
    cp_audit *first = open_log(SECRET, 0), *second;
    cp_error err;
    (void)state;
    assert_int_equal(cp_audit_open(&options, &second, &err), CP_ERR_BUSY);
    cp_audit_close(first);
}

static void another_secret_does_not_go_on_with_a_log(void **state) {
    static const char *const others[] = {NULL, "another secret that is long enough, too"};
    (void)state;
    new_log();
    write_log(SECRET, 2, 0);
    for (int i = 0; i < 2; i++) {
        cp_audit_options options = {.path = log_path, .secret = others[i]};
        cp_audit *audit;
        cp_error err;
        assert_int_equal(cp_audit_open(&options, &audit, &err), CP_ERR_FORMAT);
        assert_non_null(strstr(err.message, "SECRET_KEY"));
    }
    assert_clean(SECRET, 2);
}

/* What a kill at each moment of a write and of a rotation can leave. */
static void an_unfinished_record_is_cut_and_told(void **state) {
    (void)state;
    new_log();
    write_log(SECRET, 3, 0);
    files before = read_files();
    cp_audit *audit = open_log(SECRET, 0);
    append_some(audit, 4, 1);
    cp_audit_close(audit);
    files after = read_files();
    for (size_t n = before.log.n; n <= after.log.n; n += n < before.log.n + 3 ? 1 : 83) {
        test_write_file(log_path, after.log.data, n);
        test_write_file(before.head_path, before.head.data, before.head.n);
        look l = {0};
        assert_true(scan_log(&l, SECRET));
        if (l.scan.n_faults > 0)
            fail_msg("%zu bytes: %s", n, l.first_fault);
        assert_int_equal(l.scan.torn_bytes, n - before.log.n);
        audit = open_log(SECRET, 0);
        append_some(audit, 9, 1);
        cp_audit_close(audit);
        assert_true(scan_log(&l, SECRET));
        assert_int_equal(l.scan.n_faults, 0);
        assert_int_equal(l.n_answers, 4);
        assert_int_equal(l.n_notes, n > before.log.n);
    }
    free_files(&before);
    free_files(&after);
}

/* The cut and its note come where a rotation is due: what was torn does not go into the old part.
 */
static void an_unfinished_record_is_cut_before_a_rotation(void **state) {
    (void)state;
    new_log();
    write_log(SECRET, 3, 0);
    files f = read_files();
    cp_strbuf_puts(&f.log, "{\"seq\":4,");
    test_write_file(log_path, f.log.data, f.log.n);
    cp_audit *audit = open_log(SECRET, 1024);
    append_some(audit, 4, 1);
    cp_audit_close(audit);
    assert_clean(SECRET, 4);
    free_files(&f);
}

/* Killed between the log and its head, again and again, with a rotation each time: the head must
 * not fall behind further than a start looks back. */
static void a_head_that_was_not_written_is_caught_up(void **state) {
    (void)state;
    new_log();
    write_log(SECRET, 1, 1);
    for (uint64_t i = 2; i < 8; i++) {
        files f = read_files();
        cp_audit *audit = open_log(SECRET, 1);
        files opened = read_files();
        append_some(audit, i, 1);
        cp_audit_close(audit);
        test_write_file(f.head_path, opened.head.data, opened.head.n);
        free_files(&f);
        free_files(&opened);
        assert_clean(SECRET, i);
    }
}

static void a_start_between_rename_and_new_file_goes_on(void **state) {
    char older[500];
    (void)state;
    new_log();
    write_log(SECRET, 3, 0);
    snprintf(older, sizeof older, "%s.%012d", log_path, 1);
    assert_int_equal(rename(log_path, older), 0);
    assert_clean(SECRET, 3);
    cp_audit *audit = open_log(SECRET, 0);
    append_some(audit, 4, 1);
    cp_audit_close(audit);
    assert_clean(SECRET, 4);
}

static void a_start_after_half_a_head_begins_anew_but_not_after_a_lost_log(void **state) {
    (void)state;
    for (size_t n = 0; n < 2 * CP_AUDIT_SLOT_BYTES; n += CP_AUDIT_SLOT_BYTES) {
        new_log();
        cp_audit_close(open_log(SECRET, 0));
        files f = read_files();
        assert_int_equal(unlink(log_path), 0);
        test_write_file(f.head_path, f.head.data, n);
        write_log(SECRET, 1, 0);
        assert_clean(SECRET, 1);
        assert_int_equal(unlink(log_path), 0);
        cp_audit_options options = {.path = log_path, .secret = SECRET};
        cp_audit *audit;
        cp_error err;
        assert_int_equal(cp_audit_open(&options, &audit, &err), CP_ERR_FORMAT);
        free_files(&f);
    }
}

/* ---- kill -9 ----------------------------------------------------------------------------------
 */

typedef struct writer {
    cp_audit *audit;
    uint64_t first;
    int out;
} writer;

/* Appends as fast as it can and tells each number once it is acknowledged. */
static void *write_for_ever(void *arg) {
    writer *w = arg;
    cp_error err;
    for (uint64_t i = 0;; i++) {
        uint32_t number = (uint32_t)(w->first + 4 * i);
        size_t more = i % 3 == 1 ? 300000 : 0; /* a write of many pages can be killed within */
        if (append_long(w->audit, number, more, &err) != CP_OK ||
            write(w->out, &number, sizeof number) != sizeof number)
            _exit(3);
    }
    return NULL;
}

static void child(int out, uint64_t first) {
    cp_audit_options options = {.path = log_path, .secret = SECRET, .rotate_bytes = 1 << 20};
    cp_audit *audit;
    cp_error err;
    pthread_t threads[4];
    writer writers[4];
    if (cp_audit_open(&options, &audit, &err) != CP_OK) {
        fprintf(stderr, "%s\n", err.message);
        _exit(2);
    }
    for (uint64_t i = 0; i < 4; i++) {
        writers[i] = (writer){.audit = audit, .first = first + i, .out = out};
        if (pthread_create(&threads[i], NULL, write_for_ever, &writers[i]) != 0)
            _exit(4);
    }
    pause();
}

/* Kills a writer after `wait_us` and marks what it had acknowledged in acked[]. */
static uint64_t kill_one(uint64_t first, long wait_us, unsigned char *acked) {
    int out[2], status;
    uint32_t numbers[1024];
    uint64_t n_acked = 0;
    ssize_t got;
    assert_int_equal(pipe(out), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(out[0]);
        child(out[1], first);
        _exit(1);
    }
    close(out[1]);
    nanosleep(&(struct timespec){wait_us / 1000000, wait_us % 1000000 * 1000}, NULL);
    assert_int_equal(kill(pid, SIGKILL), 0);
    while ((got = read(out[0], numbers, sizeof numbers)) > 0)
        for (size_t i = 0; i < (size_t)got / sizeof *numbers; i++, n_acked++)
            if (numbers[i] < MAX_SEEN)
                acked[numbers[i]] = 1;
    close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return n_acked;
}

static void kill_loses_nothing_acknowledged(void **state) {
    const char *wish = getenv("CP_AUDIT_KILLS");
    long kills = wish ? atol(wish) : 60;
    uint64_t seed = cp_clock_ns(), first = 0, total = 0, torn = 0, lost = 0, begun = 0,
             random = seed;
    unsigned char *acked = calloc(MAX_SEEN, 1), *seen = calloc(MAX_SEEN, 1);
    (void)state;
    assert_non_null(acked);
    assert_non_null(seen);
    printf("seed %llu\n", (unsigned long long)seed);
    new_log();
    for (long k = 0; k < kills; k++) {
        long span = k % 2 ? 20000 : 100000; /* starting, and at work */
        total += kill_one(first, (long)(test_random(&random) % (uint64_t)span), acked);
        look l = {.seen = seen};
        memset(seen, 0, MAX_SEEN);
        begun += scan_log(&l, SECRET);
        if (l.scan.n_faults > 0)
            fail_msg("after kill %ld: %s", k, l.first_fault);
        torn += l.scan.torn_bytes > 0;
        for (size_t i = 0; i < MAX_SEEN; i++) {
            lost += acked[i] && !seen[i];
            if (seen[i] > 1)
                fail_msg("record %zu is there %d times", i, seen[i]);
        }
        assert_int_equal(lost, 0);
        first += 4000;
        if (k % 20 == 19) { /* a new log now and then: the walks stay short */
            new_log();
            memset(acked, 0, MAX_SEEN);
            first = 0;
        }
    }
    printf("%ld kills, %llu records acknowledged, %llu lost, %llu lines torn\n", kills,
           (unsigned long long)total, (unsigned long long)lost, (unsigned long long)torn);
    assert_true(total > 0 && begun > (uint64_t)kills / 2);
    free(acked);
    free(seen);
}

/* ---- failures ---------------------------------------------------------------------------------
 */

typedef struct load {
    cp_audit *audit;
    uint64_t first;
    int failed;
} load;

static void *append_100(void *arg) {
    load *l = arg;
    cp_error err;
    for (uint64_t i = 0; i < 100; i++)
        l->failed += append(l->audit, l->first + i, &err) != CP_OK;
    return NULL;
}

static void threads_share_the_log(void **state) {
    pthread_t threads[4];
    load loads[4];
    (void)state;
    new_log();
    cp_audit *audit = open_log(SECRET, 64 << 10);
    for (uint64_t i = 0; i < 4; i++) {
        loads[i] = (load){.audit = audit, .first = i * 1000};
        assert_int_equal(pthread_create(&threads[i], NULL, append_100, &loads[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(loads[i].failed, 0);
    }
    char last[CP_AUDIT_HEX_CAP];
    assert_int_equal(cp_audit_n_records(audit, last), 400);
    cp_audit_close(audit);
    assert_clean(SECRET, 400);
}

/* A disk that is full, as far as the process can tell. */
static void a_failed_write_fails_its_record_and_heals(void **state) {
    cp_error err;
    (void)state;
    new_log();
    cp_audit *audit = open_log(SECRET, 1 << 20);
    append_some(audit, 1, 2);
    struct stat info;
    assert_int_equal(stat(log_path, &info), 0);
    struct rlimit old, tight = {0};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight = old;
    tight.rlim_cur = (rlim_t)info.st_size + 100;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    cp_status status = append(audit, 3, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(status, CP_ERR_IO);
    assert_clean(SECRET, 2);
    append_some(audit, 4, 2);
    cp_audit_close(audit);
    assert_clean(SECRET, 4);
}

static void no_allocation_failure_hurts_the_log(void **state) {
    size_t written = 0, failures = 0;
    (void)state;
    new_log();
    for (long n = 1; n < 400; n++) {
        cp_audit_options options = {.path = log_path, .secret = SECRET};
        cp_audit *audit = NULL;
        cp_error err = {0};
        test_alloc_fail_at(n, 0);
        cp_status status = cp_audit_open(&options, &audit, &err);
        if (status == CP_OK) {
            status = append(audit, (uint64_t)n, &err);
            written += status == CP_OK;
        }
        test_alloc_fail_at(0, 0);
        if (status != CP_OK) {
            assert_int_equal(status, CP_ERR_NO_MEMORY);
            failures++;
        }
        cp_audit_close(audit);
        if (status == CP_OK && n > 100)
            break;
    }
    assert_true(failures > 5);
    assert_clean(SECRET, written);
}

static void a_model_folders_hash_sees_every_file_and_is_remembered(void **state) {
    const char *dir = test_tmp_dir();
    char cache[400], first[CP_AUDIT_HEX_CAP], again[CP_AUDIT_HEX_CAP];
    cp_audit_keys keys;
    cp_error err;
    cp_strbuf text;
    (void)state;
    assert_cp_ok(cp_audit_keys_derive(SECRET, &keys, &err));
    snprintf(cache, sizeof cache, "%s", test_path(test_tmp_dir(), "model"));
    test_write_file(test_path(dir, "config.json"), "{}", 2);
    test_write_file(test_path(dir, "model.safetensors"), "weights", 7);
    test_write_file(test_path(dir, "README.md"), "words", 5);
    assert_cp_ok(cp_audit_model_hash(dir, cache, &keys, first, &err));
    assert_int_equal(strlen(first), 64);
    assert_cp_ok(cp_audit_model_hash(dir, cache, &keys, again, &err));
    assert_string_equal(first, again);
    test_write_file(test_path(dir, "README.md"), "other words", 11);
    assert_cp_ok(cp_audit_model_hash(dir, cache, &keys, again, &err));
    assert_string_equal(first, again);
    test_write_file(test_path(dir, "model.safetensors"), "Weights", 7);
    assert_cp_ok(cp_audit_model_hash(dir, cache, &keys, again, &err));
    assert_string_not_equal(first, again);
    /* A remembered hash that somebody changed is not believed. */
    assert_cp_ok(cp_file_read(cache, 4096, &text, &err));
    text.data[70] = text.data[70] == '0' ? '1' : '0';
    test_write_file(cache, text.data, text.n);
    cp_strbuf_deinit(&text);
    assert_cp_ok(cp_audit_model_hash(dir, cache, &keys, first, &err));
    assert_string_equal(first, again);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_record_comes_back_whole_and_only_with_the_key),
    cmocka_unit_test(a_sealed_part_does_not_open_under_another_clear_part),
    cmocka_unit_test(without_a_secret_no_text_and_no_patient_is_kept),
    cmocka_unit_test(a_log_with_marks_can_be_walked_without_the_secret),
    cmocka_unit_test(patients_hashes_tell_patients_apart_and_nothing_else),
    cmocka_unit_test(a_changed_byte_anywhere_is_seen),
    cmocka_unit_test(a_cut_at_any_byte_is_seen),
    cmocka_unit_test(dropped_swapped_and_repeated_records_are_seen),
    cmocka_unit_test(forged_records_are_seen),
    cmocka_unit_test(the_chain_goes_on_across_files_and_starts),
    cmocka_unit_test(one_process_writes_a_log_at_a_time),
    cmocka_unit_test(another_secret_does_not_go_on_with_a_log),
    cmocka_unit_test(an_unfinished_record_is_cut_and_told),
    cmocka_unit_test(an_unfinished_record_is_cut_before_a_rotation),
    cmocka_unit_test(a_head_that_was_not_written_is_caught_up),
    cmocka_unit_test(a_start_between_rename_and_new_file_goes_on),
    cmocka_unit_test(a_start_after_half_a_head_begins_anew_but_not_after_a_lost_log),
    cmocka_unit_test(kill_loses_nothing_acknowledged),
    cmocka_unit_test(threads_share_the_log),
    cmocka_unit_test(a_failed_write_fails_its_record_and_heals),
    cmocka_unit_test(no_allocation_failure_hurts_the_log),
    cmocka_unit_test(a_model_folders_hash_sees_every_file_and_is_remembered),
};
CP_TEST_GROUP(audit, tests)
