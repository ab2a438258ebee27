#include "server/patient_notes.h"

#include "base/json.h"

#include <string.h>

#define MAX_LOG_BYTES ((size_t)16384) /* of all chat logs together */
#define MAX_FOUND     64

typedef struct found {
    const cp_safety_rule *rule;
    char date[CP_CLOCK_DATE_CAP];
} found;

typedef struct findings {
    found items[MAX_FOUND];
    size_t n;
} findings;

/* ---- collecting ------------------------------------------------------------------------------ */

static bool is_shown(const cp_safety_finding *shown, const cp_safety_rule *rule) {
    for (size_t i = 0; shown && i < shown->n; i++)
        if (shown->rules[i] == rule)
            return true;
    return false;
}

/* Once a rule, with its latest date. */
static void add(findings *all, const cp_safety_rule *rule, const char *date) {
    size_t i = 0;
    while (i < all->n && all->items[i].rule != rule)
        i++;
    if (rule->acuity > CP_CONVERSATION_LEAST_NOTE || i == MAX_FOUND)
        return;
    if (i < all->n && strcmp(all->items[i].date, date) >= 0)
        return;
    all->n += i == all->n;
    all->items[i].rule = rule;
    memcpy(all->items[i].date, date, CP_CLOCK_DATE_CAP);
}

static void add_conversations(findings *all, const cp_conversation *past) {
    for (size_t i = 0; i < past->n_notes; i++) {
        char date[CP_CLOCK_DATE_CAP];
        cp_clock_format_date(past->notes[i].at.unix_s, date);
        add(all, past->notes[i].rule, date);
    }
}

/* What the patient wrote, each message a paragraph, so that no two make one sentence. */
static void append_patient(const cJSON *log, cp_strbuf *out) {
    const cJSON *turn, *turns = cp_json_member(log, "turns");
    if (!cJSON_IsArray(turns))
        return;
    cJSON_ArrayForEach(turn, turns) {
        if (strcmp(cp_json_text(turn, "role", ""), "patient") != 0)
            continue;
        cp_strbuf_puts(out, cp_json_text(turn, "text", ""));
        cp_strbuf_puts(out, ".\n\n");
    }
}

static void add_log(const cp_safety *safety, const cp_patient_record *record, const cJSON *log,
                    const char *text, findings *all) {
    const char *date = cp_json_text(log, "date", "");
    cp_safety_finding finding;
    if (strlen(date) != CP_CLOCK_DATE_CAP - 1)
        return;
    cp_patient_facts facts = cp_patient_facts_of(record, date);
    cp_safety_check(safety, text, &facts, &finding);
    for (size_t i = 0; i < finding.n; i++)
        add(all, finding.rules[i], date);
}

/* Newest first, until so many bytes are read; the one that goes beyond is left out whole. */
static cp_status add_logs(const cp_safety *safety, const cp_patient_record *record, findings *all) {
    const cJSON *first = cJSON_IsArray(record->chat_logs) ? record->chat_logs->child : NULL;
    const cJSON *log = first ? first->prev : NULL; /* cJSON: the first's prev is the last */
    cp_strbuf text;
    size_t n_read = 0;
    cp_strbuf_init(&text, MAX_LOG_BYTES);
    for (; log; log = log == first ? NULL : log->prev) {
        cp_strbuf_clear(&text);
        append_patient(log, &text);
        n_read += text.n;
        if (text.failed != CP_OK || n_read > MAX_LOG_BYTES)
            break;
        add_log(safety, record, log, cp_strbuf_text(&text), all);
    }
    cp_status status = text.failed == CP_ERR_NO_MEMORY ? CP_ERR_NO_MEMORY : CP_OK;
    cp_strbuf_deinit(&text);
    return status;
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* Newer first, then more urgent. */
static bool goes_before(const found *a, const found *b) {
    int by_date = strcmp(a->date, b->date);
    return by_date != 0 ? by_date > 0 : a->rule->acuity < b->rule->acuity;
}

static void sort(findings *all) {
    for (size_t i = 1; i < all->n; i++) {
        found item = all->items[i];
        size_t place = i;
        for (; place > 0 && goes_before(&item, &all->items[place - 1]); place--)
            all->items[place] = all->items[place - 1];
        all->items[place] = item;
    }
}

cp_status cp_patient_notes_find(const cp_safety *safety, const cp_patient_record *record,
                                const cp_conversation *past, const cp_safety_finding *shown,
                                cp_patient_notes *out) {
    findings all = {.n = 0};
    memset(out, 0, sizeof *out);
    if (past)
        add_conversations(&all, past);
    cp_status status = add_logs(safety, record, &all);
    sort(&all);
    for (size_t i = 0; i < all.n; i++) {
        const cp_safety_rule *rule = all.items[i].rule;
        if (is_shown(shown, rule))
            continue;
        if (out->n == CP_PATIENT_MAX_NOTES) {
            out->n_left_out++;
            continue;
        }
        cp_patient_note *note = &out->items[out->n++];
        note->id = rule->id;
        note->title = rule->title;
        memcpy(note->date, all.items[i].date, sizeof note->date);
    }
    return status;
}
