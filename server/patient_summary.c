#include "server/patient_summary.h"

#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENCOUNTERS   5
#define MAX_DOCUMENTS    10
#define MAX_OBSERVATIONS 12
#define OLDEST_TOLD_AGE  89 /* HIPAA Safe Harbor: older ages are one group */
#define TERM_DAYS        280
#define OVERDUE_DAYS     21 /* later than this after the due date the pregnancy is over */
#define LEFT_OUT_BYTES   32 /* room kept for "(N more not shown)" */
#define ENTRY_MAX_BYTES  2048

/* ---- dates ------------------------------------------------------------------------------ */

typedef struct day {
    int year, month, day;
} day;

static bool parse_day(const char *text, day *out) {
    if (!text || strlen(text) != 10 || text[4] != '-' || text[7] != '-')
        return false;
    for (int i = 0; i < 10; i++)
        if (i != 4 && i != 7 && (text[i] < '0' || text[i] > '9'))
            return false;
    *out = (day){atoi(text), atoi(text + 5), atoi(text + 8)};
    return out->month >= 1 && out->month <= 12 && out->day >= 1 && out->day <= 31;
}

/* Days since 1 March of year 0 (years counted from March, so that the leap day comes last). */
static long day_number(day d) {
    long year = d.month > 2 ? d.year : d.year - 1, month = (d.month + 9) % 12;
    return 365 * year + year / 4 - year / 100 + year / 400 + (month * 306 + 5) / 10 + d.day - 1;
}

static int months_between(day from, day to) {
    return (to.year - from.year) * 12 + to.month - from.month - (to.day < from.day);
}

/* ---- facts ------------------------------------------------------------------------------ */

/* NULL when absent, empty or no string. */
static const char *text_of(const cJSON *object, const char *key) {
    const char *text = cp_json_text(object, key, "");
    return text[0] ? text : NULL;
}

/* Weeks of pregnancy at `today`; -1 when there is no due date, 0 weeks or less, or term is long
 * over. */
static int weeks_pregnant(const cJSON *patient, const char *today) {
    day due, now;
    if (!parse_day(text_of(patient, "due_date"), &due) || !parse_day(today, &now))
        return -1;
    long days = TERM_DAYS - (day_number(due) - day_number(now));
    return days >= 7 && days <= TERM_DAYS + OVERDUE_DAYS ? (int)(days / 7) : -1;
}

static bool is_pregnant(const cJSON *patient, const char *today) {
    return cJSON_IsTrue(cp_json_member(patient, "pregnant")) &&
           (!text_of(patient, "due_date") || weeks_pregnant(patient, today) >= 0);
}

cp_patient_facts cp_patient_facts_of(const cp_patient_record *record, const char *today) {
    cp_patient_facts facts = {.age_years = -1};
    const cJSON *patient = record ? record->patient : NULL;
    const char *sex = text_of(patient, "sex");
    day born, now;
    if (parse_day(text_of(patient, "date_of_birth"), &born) && parse_day(today, &now)) {
        int months = months_between(born, now);
        if (months >= 0) {
            facts.age_years = months / 12;
            facts.age_months = months % 12;
        }
    }
    if (sex && strcmp(sex, "female") == 0)
        facts.sex = CP_SEX_FEMALE;
    else if (sex && strcmp(sex, "male") == 0)
        facts.sex = CP_SEX_MALE;
    facts.pregnant = is_pregnant(patient, today);
    facts.conditions = cp_json_member(patient, "conditions");
    facts.medications = cp_json_member(patient, "medications");
    facts.allergies = cp_json_member(patient, "allergies");
    return facts;
}

/* ---- writing within a limit ------------------------------------------------------------- */

/* One section: its entries may fill `out` up to `limit` bytes. */
typedef struct section {
    cp_strbuf *out;
    size_t limit;
    const char *heading;   /* written before the first entry */
    const char *separator; /* between entries */
    size_t n_written, n_left_out;
} section;

/* Control characters and runs of white space become one space: a line of the summary is one line.
 */
static void append_clean(cp_strbuf *out, const char *text) {
    bool space = false, started = false;
    for (; text && *text; text++) {
        if ((unsigned char)*text <= 0x20 || *text == 0x7f) {
            space = started;
            continue;
        }
        if (space)
            cp_strbuf_putc(out, ' ');
        cp_strbuf_putc(out, *text);
        space = false;
        started = true;
    }
}

/* Writes the entry whole, or counts it as left out; after one is left out so are all that follow.
 */
static void add_entry(section *s, const cp_strbuf *entry) {
    const char *lead = s->n_written == 0 ? s->heading : s->separator;
    size_t need = strlen(lead) + entry->n + LEFT_OUT_BYTES;
    if (entry->failed == CP_ERR_NO_MEMORY)
        s->out->failed = CP_ERR_NO_MEMORY;
    if (entry->failed != CP_OK || s->n_left_out > 0 || s->out->n + need > s->limit) {
        s->n_left_out++;
        return;
    }
    cp_strbuf_puts(s->out, lead);
    cp_strbuf_append(s->out, entry->data, entry->n);
    s->n_written++;
}

static void end_section(section *s) {
    char note[LEFT_OUT_BYTES];
    size_t heading = s->n_written == 0 ? strlen(s->heading) : 0;
    if (s->n_written == 0 && s->n_left_out == 0)
        return;
    if (s->n_left_out > 0) {
        int n = snprintf(note, sizeof note, " (%zu more not shown)", s->n_left_out % 1000000);
        if (s->out->n + heading + (size_t)n + 1 > s->limit)
            return; /* possible only before the first entry: no room for the section at all */
        if (heading)
            cp_strbuf_puts(s->out, s->heading);
        cp_strbuf_puts(s->out, note);
    }
    cp_strbuf_putc(s->out, '\n');
}

/* ---- the sections ----------------------------------------------------------------------- */

typedef bool entry_writer(const cJSON *item, cp_strbuf *entry); /* false: nothing to say */

/* " (text)" */
static void append_note(cp_strbuf *entry, const char *text) {
    if (!text)
        return;
    cp_strbuf_puts(entry, " (");
    append_clean(entry, text);
    cp_strbuf_putc(entry, ')');
}

static bool write_condition(const cJSON *item, cp_strbuf *entry) {
    const char *name = text_of(item, "name"), *since = text_of(item, "since");
    append_clean(entry, name);
    if (name && since) {
        cp_strbuf_puts(entry, " since ");
        append_clean(entry, since);
    }
    return name != NULL;
}

static bool write_medication(const cJSON *item, cp_strbuf *entry) {
    const char *name = text_of(item, "name"), *dose = text_of(item, "dose");
    append_clean(entry, name);
    if (name && dose) {
        cp_strbuf_putc(entry, ' ');
        append_clean(entry, dose);
    }
    return name != NULL;
}

static bool write_allergy(const cJSON *item, cp_strbuf *entry) {
    const char *substance = text_of(item, "substance");
    append_clean(entry, substance);
    if (substance)
        append_note(entry, text_of(item, "reaction"));
    return substance != NULL;
}

static bool write_observation(const cJSON *item, cp_strbuf *entry) {
    const char *name = text_of(item, "name"), *value = text_of(item, "value");
    if (!name || !value)
        return false;
    append_clean(entry, name);
    cp_strbuf_putc(entry, ' ');
    append_clean(entry, value);
    append_note(entry, text_of(item, "date"));
    return true;
}

static bool write_encounter(const cJSON *item, cp_strbuf *entry) {
    const char *date = text_of(item, "date"), *reason = text_of(item, "reason");
    const char *assessment = text_of(item, "assessment");
    if (!date || (!reason && !assessment))
        return false;
    append_clean(entry, date);
    cp_strbuf_puts(entry, ": ");
    append_clean(entry, reason);
    if (assessment) {
        cp_strbuf_puts(entry, reason ? ". Assessment: " : "Assessment: ");
        append_clean(entry, assessment);
    }
    return true;
}

static bool write_document(const cJSON *item, cp_strbuf *entry) {
    const char *id = text_of(item, "id"), *title = text_of(item, "title");
    if (!id || !title)
        return false;
    cp_strbuf_putc(entry, '[');
    append_clean(entry, id);
    cp_strbuf_puts(entry, "] ");
    append_clean(entry, title);
    append_note(entry, text_of(item, "date"));
    return true;
}

/* Entries of `list` in its order; an item with nothing to say does not count. */
static void add_list(section *s, const cJSON *list, entry_writer *write) {
    cp_strbuf entry;
    const cJSON *item;
    cp_strbuf_init(&entry, ENTRY_MAX_BYTES);
    cJSON_ArrayForEach(item, list) {
        cp_strbuf_clear(&entry);
        if (write(item, &entry))
            add_entry(s, &entry);
    }
    cp_strbuf_deinit(&entry);
    end_section(s);
}

/* The last `max` entries of `list`, newest first; older ones are counted as left out. */
static void add_newest(section *s, const cJSON *list, size_t max, entry_writer *write) {
    cp_strbuf entry;
    cp_strbuf_init(&entry, ENTRY_MAX_BYTES);
    const cJSON *first = cJSON_IsArray(list) ? list->child : NULL;
    const cJSON *item = first ? first->prev : NULL; /* cJSON: the first's prev is the last */
    for (; item; item = item == first ? NULL : item->prev) {
        cp_strbuf_clear(&entry);
        if (!write(item, &entry))
            continue;
        if (s->n_written == max)
            s->n_left_out++;
        else
            add_entry(s, &entry);
    }
    cp_strbuf_deinit(&entry);
    end_section(s);
}

static void add_notes(section *s, const cp_patient_notes *notes) {
    cp_strbuf entry;
    cp_strbuf_init(&entry, ENTRY_MAX_BYTES);
    for (size_t i = 0; i < notes->n; i++) {
        cp_strbuf_clear(&entry);
        append_clean(&entry, notes->items[i].title);
        append_note(&entry, notes->items[i].date);
        add_entry(s, &entry);
    }
    s->n_left_out += notes->n_left_out;
    cp_strbuf_deinit(&entry);
    end_section(s);
}

static void describe_patient(const cp_patient_record *record, const char *today, cp_strbuf *line) {
    static const char *const sexes[] = {"patient of unrecorded sex", "female", "male"};
    cp_patient_facts facts = cp_patient_facts_of(record, today);
    cp_strbuf_puts(line, "Patient: ");
    if (facts.age_years > OLDEST_TOLD_AGE)
        cp_strbuf_puts(line, "90-year-old or older ");
    else if (facts.age_years >= 2)
        cp_strbuf_printf(line, "%d-year-old ", facts.age_years);
    else if (facts.age_years >= 0)
        cp_strbuf_printf(line, "%d-month-old ", facts.age_years * 12 + facts.age_months);
    else
        cp_strbuf_puts(line, "age not recorded, ");
    cp_strbuf_puts(line, sexes[facts.sex]);
    if (!facts.pregnant)
        return;
    int weeks = weeks_pregnant(record->patient, today);
    cp_strbuf_puts(line, ", pregnant");
    if (weeks >= 0)
        cp_strbuf_printf(line, " (%d weeks)", weeks);
}

/* A section may take half of what is left, so that no long list pushes out those behind it. */
static section begin_section(cp_strbuf *out, size_t limit, const char *heading,
                             const char *separator) {
    size_t left = limit > out->n ? limit - out->n : 0;
    return (section){
        .out = out, .limit = out->n + left / 2, .heading = heading, .separator = separator};
}

static void add_patient_line(const cp_patient_record *record, const char *today, size_t limit,
                             cp_strbuf *out) {
    cp_strbuf line;
    cp_strbuf_init(&line, ENTRY_MAX_BYTES);
    describe_patient(record, today, &line);
    section s = {.out = out, .limit = limit, .heading = "", .separator = ""};
    add_entry(&s, &line);
    s.n_left_out = 0;
    end_section(&s);
    cp_strbuf_deinit(&line);
}

void cp_patient_summary_append(const cp_patient_record *record, const cp_patient_notes *notes,
                               const char *today, size_t max_bytes, cp_strbuf *out) {
    size_t limit = max_bytes > SIZE_MAX - out->n ? SIZE_MAX : out->n + max_bytes;
    const cJSON *patient = record->patient;
    static const struct {
        const char *key, *heading;
        entry_writer *write;
    } lists[] = {{"conditions", "Conditions: ", write_condition},
                 {"medications", "Medications: ", write_medication},
                 {"allergies", "Allergies: ", write_allergy}};
    add_patient_line(record, today, limit, out);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const cJSON *list = cp_json_member(patient, lists[i].key);
        section s = begin_section(out, limit, lists[i].heading, "; ");
        if (cJSON_IsArray(list))
            add_list(&s, list, lists[i].write);
    }
    section measured = begin_section(out, limit, "Observations: ", "; ");
    add_newest(&measured, cp_json_member(patient, "observations"), MAX_OBSERVATIONS,
               write_observation);
    section noted =
        begin_section(out, limit, "Noted in an earlier conversation, not confirmed: ", "; ");
    if (notes)
        add_notes(&noted, notes);
    section visits = begin_section(out, limit, "Recent encounters:\n- ", "\n- ");
    add_newest(&visits, record->encounters, MAX_ENCOUNTERS, write_encounter);
    section documents = begin_section(out, limit, "Documents:\n- ", "\n- ");
    documents.limit = limit;
    add_newest(&documents, record->documents, MAX_DOCUMENTS, write_document);
}
