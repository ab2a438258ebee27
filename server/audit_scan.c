#include "server/audit_scan.h"

#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PART_BYTES ((size_t)1 << 30)
#define PART_DIGITS    12

/* ---- the parts --------------------------------------------------------------------------------
 */

/* The number behind "NAME." when `entry` is an older part of NAME, else 0. */
static uint64_t part_number(const char *entry, const char *name) {
    size_t n = strlen(name);
    if (strncmp(entry, name, n) != 0 || entry[n] != '.' || strlen(entry + n + 1) != PART_DIGITS ||
        strspn(entry + n + 1, "0123456789") != PART_DIGITS)
        return 0;
    return strtoull(entry + n + 1, NULL, 10);
}

static int compare_parts(const void *a, const void *b) {
    const cp_audit_part *x = a, *y = b;
    return (x->first_seq > y->first_seq) - (x->first_seq < y->first_seq);
}

static cp_status add_part(const char *path, uint64_t first_seq, cp_audit_part **parts, size_t *n,
                          size_t *cap, cp_error *err) {
    if (!cp_grow((void **)parts, cap, *n + 1, sizeof **parts))
        return cp_error_no_memory(err, "the audit log's parts");
    cp_audit_part *part = &(*parts)[*n];
    part->first_seq = first_seq;
    int used = first_seq
                   ? snprintf(part->path, sizeof part->path, "%s.%012" PRIu64, path, first_seq)
                   : snprintf(part->path, sizeof part->path, "%s", path);
    if (used < 0 || (size_t)used >= sizeof part->path)
        return cp_error_set(err, CP_ERR_LIMIT, "the audit log's path is too long");
    ++*n;
    return CP_OK;
}

cp_status cp_audit_parts(const char *path, cp_audit_part **out, size_t *n, cp_error *err) {
    char dir[CP_PATH_CAP];
    size_t cap = 0;
    const char *slash = strrchr(path, '/');
    int used = slash ? snprintf(dir, sizeof dir, "%.*s", (int)(slash - path + 1), path)
                     : snprintf(dir, sizeof dir, ".");
    *out = NULL;
    *n = 0;
    if (used < 0 || (size_t)used >= sizeof dir)
        return cp_error_set(err, CP_ERR_LIMIT, "the audit log's path is too long");
    DIR *folder = opendir(dir);
    if (!folder)
        return cp_error_set(err, errno == ENOENT ? CP_ERR_NOT_FOUND : CP_ERR_IO,
                            "%s: cannot open: %s", dir, strerror(errno));
    cp_status status = CP_OK;
    for (struct dirent *entry; status == CP_OK && (entry = readdir(folder));) {
        uint64_t number = part_number(entry->d_name, slash ? slash + 1 : path);
        if (number)
            status = add_part(path, number, out, n, &cap, err);
    }
    closedir(folder);
    if (*n > 0)
        qsort(*out, *n, sizeof **out, compare_parts);
    if (status == CP_OK && cp_file_exists(path))
        status = add_part(path, 0, out, n, &cap, err);
    if (status != CP_OK) {
        free(*out);
        *out = NULL;
        *n = 0;
    }
    return status;
}

/* ---- the walk ---------------------------------------------------------------------------------
 */

typedef struct walk {
    cp_audit_scan *scan;
    bool started;      /* the place to expect is known */
    bool faulty;       /* the line before was altered: its successor's prev says nothing new */
    bool stopped;      /* by on_line */
    bool head_seen[2]; /* the record that a slot of the head names is there, as it was */
} walk;

CP_PRINTF(2, 3) static void fault(walk *w, const char *fmt, ...) {
    char sentence[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(sentence, sizeof sentence, fmt, args);
    va_end(args);
    w->scan->n_faults++;
    if (w->scan->on_fault)
        w->scan->on_fault(w->scan->user, sentence);
}

/* Whether the line stands where it says, after what it says. */
static void check_place(walk *w, const cp_audit_line *line) {
    const cp_audit_place *want = &w->scan->next, *got = &line->place;
    if (got->seq > want->seq)
        fault(w, "records %" PRIu64 " to %" PRIu64 " are missing", want->seq, got->seq - 1);
    else if (got->seq < want->seq)
        fault(w, "record %" PRIu64 " stands where %" PRIu64 " was expected", got->seq, want->seq);
    else if (got->at != want->at)
        fault(w,
              "record %" PRIu64 ": the records before it have another length than when it was "
              "written",
              got->seq);
    else if (strcmp(got->prev, want->prev) != 0)
        fault(w, "record %" PRIu64 " does not follow the record before it as that stands now",
              got->seq);
}

static cp_status check_mark(walk *w, const cp_audit_line *line, cp_error *err) {
    const cp_audit_keys *keys = w->scan->keys;
    if (line->keyed && !keys->secret) {
        w->scan->marks_checked = false;
        return CP_OK;
    }
    cp_status status = CP_ERR_FORMAT;
    if (line->keyed == keys->secret)
        status = cp_audit_line_check(keys, line, err);
    if (status == CP_ERR_FORMAT) {
        fault(w, "record %" PRIu64 " is not as it was written", line->place.seq);
        w->faulty = true;
        status = CP_OK;
    }
    return status;
}

static void look_at_head(walk *w) {
    for (int i = 0; i < 2; i++) {
        const cp_audit_place *slot = &w->scan->head.slots[i].next, *here = &w->scan->next;
        if (slot->seq == here->seq && slot->at == here->at && strcmp(slot->prev, here->prev) == 0)
            w->head_seen[i] = true;
    }
}

static cp_status see_line(walk *w, const char *path, size_t number, cp_str text, cp_error *err) {
    cp_audit_line line;
    if (!cp_audit_line_parse(text, &line)) {
        fault(w, "%s: line %zu is not a record", path, number);
        w->faulty = true;
        return CP_OK;
    }
    if (!w->started) {
        w->scan->next = line.place;
        look_at_head(w);
    }
    w->started = true;
    if (!w->faulty)
        check_place(w, &line);
    w->faulty = false;
    cp_status status = check_mark(w, &line, err);
    if (status == CP_OK)
        status = cp_audit_place_after(&w->scan->next, &line, text, err);
    w->scan->n_records++;
    look_at_head(w);
    if (status == CP_OK && w->scan->on_line && !w->scan->on_line(w->scan->user, &line))
        w->stopped = true;
    return status;
}

static cp_status see_lines(walk *w, const cp_audit_part *part, cp_str text, cp_error *err) {
    cp_status status = CP_OK;
    size_t at = 0, number = 0;
    while (at < text.n && status == CP_OK && !w->stopped) {
        const char *end = memchr(text.data + at, '\n', text.n - at);
        if (!end)
            break;
        size_t n = (size_t)(end - text.data) - at;
        status = see_line(w, part->path, ++number, (cp_str){text.data + at, n}, err);
        at += n + 1;
    }
    if (status != CP_OK || w->stopped)
        return status;
    w->scan->last_part_bytes = part->first_seq ? 0 : at;
    cp_str rest = {text.data + at, text.n - at};
    if (rest.n == 0)
        return CP_OK;
    if (part->first_seq || !cp_audit_line_is_torn(&w->scan->next, rest))
        fault(w, "%s: the %zu bytes at its end are no record", part->path, rest.n);
    else
        w->scan->torn_bytes = rest.n;
    return CP_OK;
}

static cp_status see_part(walk *w, const cp_audit_part *part, cp_error *err) {
    cp_strbuf text;
    uint64_t first = w->scan->next.seq;
    cp_status status = cp_file_read(part->path, MAX_PART_BYTES, &text, err);
    if (status == CP_OK && w->started && part->first_seq && part->first_seq != first)
        fault(w, "%s: record %" PRIu64 " was expected next", part->path, first);
    if (status == CP_OK)
        status = see_lines(w, part, (cp_str){cp_strbuf_text(&text), text.n}, err);
    cp_strbuf_deinit(&text);
    w->scan->part_seq = part->first_seq ? w->scan->next.seq : first;
    return status;
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static void check_head(walk *w) {
    const cp_audit_scan *scan = w->scan;
    if (!scan->has_head) {
        fault(w, "the log's head is missing: records may be missing at its end");
        return;
    }
    const cp_audit_place *head = &scan->head.slots[scan->head.newest].next;
    for (unsigned i = 0; i < 2; i++) {
        const cp_audit_slot *slot = &scan->head.slots[i];
        if (!slot->good)
            fault(w, "the log's head is damaged: records may be missing at its end");
        else if (i == scan->head.newest && head->seq > scan->next.seq)
            fault(w, "records %" PRIu64 " to %" PRIu64 " are missing at the end", scan->next.seq,
                  head->seq - 1);
        else if (!w->head_seen[i] && slot->next.seq <= scan->next.seq)
            fault(w, "record %" PRIu64 " is another than when it was acknowledged",
                  slot->next.seq - 1);
    }
}

static cp_status read_head(const char *path, cp_audit_scan *scan, cp_error *err) {
    char name[CP_PATH_CAP];
    int n = snprintf(name, sizeof name, "%s.head", path);
    if (n < 0 || (size_t)n >= sizeof name)
        return cp_error_set(err, CP_ERR_LIMIT, "the audit log's path is too long");
    cp_status status = cp_audit_head_read(name, scan->keys, &scan->head, err);
    scan->has_head = status == CP_OK;
    return status == CP_ERR_NOT_FOUND ? CP_OK : status;
}

cp_status cp_audit_scan_run(const char *path, cp_audit_scan *scan, cp_error *err) {
    cp_audit_part *parts;
    size_t n;
    walk w = {.scan = scan};
    cp_audit_place_init(&scan->next);
    scan->marks_checked = true;
    cp_status status = read_head(path, scan, err); /* first: a writer moves on meanwhile */
    if (status == CP_OK)
        status = cp_audit_parts(path, &parts, &n, err);
    if (status != CP_OK)
        return status;
    if (n == 0 && !scan->head.whole)
        status = cp_error_set(err, CP_ERR_NOT_FOUND, "%s: there is no audit log", path);
    if (status == CP_OK && scan->head.other_key) {
        fault(&w, "the log was made with another SECRET_KEY than this one, or its head is altered");
        w.stopped = true;
    }
    scan->n_parts = n;
    look_at_head(&w); /* an empty log's */
    size_t first = scan->last_parts_only && n > 2 ? n - 2 : 0;
    w.started = first == 0;
    for (size_t i = first; i < n && status == CP_OK && !w.stopped; i++)
        status = see_part(&w, &parts[i], err);
    if (status == CP_OK && !w.stopped)
        check_head(&w);
    free(parts);
    return status;
}
