/* An audit log and its head, cut apart by the first line that is "HEAD": the walk over it, and the
 * records of the lines that have the right form. Without a secret, so that the fuzzer may come upon
 * a right mark. */
#include "tests/fuzz/fuzz.h"

#include "server/audit_question.h"
#include "server/audit_scan.h"

#include <string.h>

#define SEPARATOR "\nHEAD\n"

static void on_fault(void *user, const char *sentence) {
    (void)user;
    fuzz_expect(*sentence && !strpbrk(sentence, "\n\r"));
}

static bool on_line(void *user, const cp_audit_line *line) {
    const cp_audit_keys *keys = user;
    cp_error err;
    cp_audit_record record;
    cp_audit_question question;
    if (fuzz_ok(cp_audit_record_read(keys, line->body, &record, &err), &err) &&
        fuzz_ok(cp_audit_question_read(&record, &question, &err), &err))
        cp_audit_question_deinit(&question);
    cp_audit_record_deinit(&record);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_error err;
    cp_audit_keys keys;
    fuzz_expect(cp_audit_keys_derive(NULL, &keys, &err) == CP_OK);
    const uint8_t *cut = memmem(data, n, SEPARATOR, strlen(SEPARATOR));
    size_t n_log = cut ? (size_t)(cut - data) + 1 : n;
    const char *path = fuzz_write("audit.jsonl", data, n_log);
    fuzz_write("audit.jsonl.head", cut ? cut + strlen(SEPARATOR) : data,
               cut ? n - n_log - strlen(SEPARATOR) + 1 : 0);
    cp_audit_scan scan = {.keys = &keys, .on_fault = on_fault, .on_line = on_line, .user = &keys};
    if (fuzz_ok(cp_audit_scan_run(path, &scan, &err), &err))
        fuzz_expect(scan.last_part_bytes + scan.torn_bytes <= n_log);
    return 0;
}
