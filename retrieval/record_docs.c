#include "retrieval/record_docs.h"

#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define MAX_TEXT_BYTES ((size_t)8 << 20) /* of what is written out for one entry */
#define DAY_CAP        32

/* ---- parts of a text ----------------------------------------------------------------------- */

/* "21 September 2025", or the date as it is. */
static const char *in_words(const char *date, char out[DAY_CAP]) {
    static const char *const months[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
    unsigned year, month, day;
    int end = 0;
    if (sscanf(date, "%4u-%2u-%2u%n", &year, &month, &day, &end) != 3 || end != 10 || date[10] ||
        month < 1 || month > 12)
        snprintf(out, DAY_CAP, "%s", strlen(date) < DAY_CAP ? date : "");
    else
        snprintf(out, DAY_CAP, "%u %s %u", day, months[month - 1], year);
    return out;
}

/* "Label: text." on a line of its own, where there is a text. */
static void put_line(cp_strbuf *out, const char *label, const char *text) {
    if (!*text)
        return;
    cp_strbuf_puts(out, label);
    cp_strbuf_puts(out, ": ");
    cp_strbuf_puts(out, text);
    cp_strbuf_puts(out, strchr(".?!", text[strlen(text) - 1]) ? "\n" : ".\n");
}

static void put_words(cp_strbuf *out, const char *name) {
    for (; *name; name++)
        cp_strbuf_putc(out, *name == '_' ? ' ' : *name);
}

static void put_number(cp_strbuf *out, double value) {
    if (isfinite(value))
        cp_strbuf_printf(out, "%.10g", value);
}

/* "blood_pressure" as people say it. */
static void put_vital_name(cp_strbuf *out, const char *key) {
    if (strcmp(key, "spo2") == 0)
        cp_strbuf_puts(out, "oxygen saturation (SpO2)");
    else if (strcmp(key, "temperature_c") == 0)
        cp_strbuf_puts(out, "temperature in degrees Celsius");
    else
        put_words(out, key);
}

static void put_vitals(cp_strbuf *out, const cJSON *vitals) {
    const cJSON *item;
    bool any = false;
    if (!cJSON_IsObject(vitals))
        return;
    cJSON_ArrayForEach(item, vitals) {
        if (!cJSON_IsNumber(item) && !cJSON_IsString(item))
            continue;
        cp_strbuf_puts(out, any ? ", " : "Vital signs: ");
        put_vital_name(out, item->string);
        cp_strbuf_putc(out, ' ');
        if (cJSON_IsNumber(item))
            put_number(out, item->valuedouble);
        else
            cp_strbuf_puts(out, item->valuestring);
        any = true;
    }
    cp_strbuf_puts(out, any ? ".\n" : "");
}

/* ---- one entry ------------------------------------------------------------------------------ */

typedef struct maker {
    cp_record_docs *out;
    const char *mrn;
    cp_strbuf *title, *text; /* the entry's own */
    uint32_t *ids; /* [n_ids] open addressing: the number of the document with an id, + 1 */
    size_t n_ids;  /* a power of two */
    cp_error *err;
} maker;

static const char *text_of(const cJSON *entry, const char *key) {
    return cp_json_text(entry, key, "");
}

/* "office_visit" as a title: "Office visit". */
static void put_capital(cp_strbuf *out, const char *name) {
    const size_t at = out->n;
    put_words(out, name);
    if (out->n > at && out->data[at] >= 'a' && out->data[at] <= 'z')
        out->data[at] = (char)(out->data[at] - 'a' + 'A');
}

static void write_encounter(const maker *m, const cJSON *entry) {
    char day[DAY_CAP];
    const char *type = text_of(entry, "type");
    put_capital(m->title, *type ? type : "visit");
    if (*text_of(entry, "reason")) {
        cp_strbuf_puts(m->title, ": ");
        cp_strbuf_puts(m->title, text_of(entry, "reason"));
    }
    put_line(m->text, "Date", in_words(text_of(entry, "date"), day));
    put_line(m->text, "Reason", text_of(entry, "reason"));
    put_line(m->text, "Assessment", text_of(entry, "assessment"));
    put_line(m->text, "Plan", text_of(entry, "plan"));
    put_vitals(m->text, cp_json_member(entry, "vitals"));
}

static void write_claim(const maker *m, const cJSON *entry) {
    char day[DAY_CAP];
    const cJSON *amount = cp_json_member(entry, "amount_usd");
    const char *what = text_of(entry, "description");
    cp_strbuf_puts(m->title, "Bill");
    if (*what) {
        cp_strbuf_puts(m->title, ": ");
        cp_strbuf_puts(m->title, what);
    }
    put_line(m->text, "Date of the bill", in_words(text_of(entry, "date"), day));
    put_line(m->text, "Diagnosis", what);
    put_line(m->text, "Code", text_of(entry, "icd10"));
    put_line(m->text, "Clinic", text_of(entry, "clinic"));
    if (cJSON_IsNumber(amount)) {
        cp_strbuf_puts(m->text, "Amount in US dollars: ");
        put_number(m->text, amount->valuedouble);
        cp_strbuf_puts(m->text, ".\n");
    }
    put_line(m->text, "Status", text_of(entry, "status"));
}

static void write_chat(const maker *m, const cJSON *entry) {
    char day[DAY_CAP];
    const cJSON *turn, *turns = cp_json_member(entry, "turns");
    cp_strbuf_puts(m->title, "Conversation");
    if (*text_of(entry, "date")) {
        cp_strbuf_puts(m->title, " on ");
        cp_strbuf_puts(m->title, in_words(text_of(entry, "date"), day));
    }
    if (!cJSON_IsArray(turns))
        return;
    cJSON_ArrayForEach(turn, turns) {
        const char *role = text_of(turn, "role"), *said = text_of(turn, "text");
        if (!*said)
            continue;
        put_capital(m->text, *role ? role : "somebody");
        cp_strbuf_puts(m->text, ": ");
        cp_strbuf_puts(m->text, said);
        cp_strbuf_putc(m->text, '\n');
    }
}

static bool is_blank(cp_str text) {
    for (size_t i = 0; i < text.n; i++)
        if (!strchr(" \t\n\r", text.data[i]))
            return false;
    return true;
}

/* Where the document with this id is noted, or would be. */
static uint32_t *slot_of(const maker *m, const char *id) {
    const uint64_t seed = (uint64_t)(uintptr_t)m->ids; /* ids cannot be chosen to meet in a slot */
    size_t at = XXH3_64bits_withSeed(id, strlen(id), seed) & (m->n_ids - 1);
    while (m->ids[at] > 0 && strcmp(m->out->docs[m->ids[at] - 1].id, id) != 0)
        at = (at + 1) & (m->n_ids - 1);
    return &m->ids[at];
}

/* Of two entries with one id the first counts: a citation names its document by it. */
static cp_status add_doc(maker *m, cp_source_doc doc) {
    uint32_t *slot = slot_of(m, doc.id);
    if (!*doc.id || strlen(doc.id) > CP_DOC_ID_BYTES || is_blank(doc.text) || *slot > 0) {
        m->out->n_left_out++;
        return CP_OK;
    }
    *slot = (uint32_t)m->out->n + 1;
    m->out->docs[m->out->n] = doc;
    return cp_source_doc_seal(&m->out->docs[m->out->n++], m->err);
}

/* An entry that is written out. */
static cp_status add_written(maker *m, const cJSON *entry, cp_entry_kind kind, const char *type,
                             void (*write)(const maker *, const cJSON *)) {
    m->title = &m->out->texts[m->out->n_texts++];
    m->text = &m->out->texts[m->out->n_texts++];
    cp_strbuf_init(m->title, MAX_TEXT_BYTES);
    cp_strbuf_init(m->text, MAX_TEXT_BYTES);
    write(m, entry);
    cp_status status = cp_strbuf_check(m->title, "title of a record's entry", m->err);
    if (status == CP_OK)
        status = cp_strbuf_check(m->text, "text of a record's entry", m->err);
    if (status == CP_ERR_LIMIT) {
        m->out->n_left_out++;
        return CP_OK;
    }
    if (status != CP_OK)
        return status;
    return add_doc(m, (cp_source_doc){.mrn = m->mrn,
                                      .id = text_of(entry, "id"),
                                      .title = cp_strbuf_text(m->title),
                                      .type = type,
                                      .date = text_of(entry, "date"),
                                      .kind = kind,
                                      .text = cp_strbuf_str(m->text),
                                      .also = CP_STR("")});
}

static cp_status add_entry(maker *m, const cJSON *entry, cp_entry_kind kind) {
    switch (kind) {
    case CP_ENTRY_ENCOUNTER:
        return add_written(m, entry, kind, text_of(entry, "type"), write_encounter);
    case CP_ENTRY_CLAIM:
        return add_written(m, entry, kind, "claim", write_claim);
    case CP_ENTRY_CHAT:
        return add_written(m, entry, kind, "chat", write_chat);
    default: {
        const char *text = text_of(entry, "text");
        return add_doc(m, (cp_source_doc){.mrn = m->mrn,
                                          .id = text_of(entry, "id"),
                                          .title = text_of(entry, "title"),
                                          .type = text_of(entry, "kind"),
                                          .date = text_of(entry, "date"),
                                          .kind = kind,
                                          .text = {text, strlen(text)},
                                          .also = CP_STR("")});
    }
    }
}

/* ---- the record ----------------------------------------------------------------------------- */

cp_status cp_record_docs_make(const char *mrn, const cJSON *documents, const cJSON *encounters,
                              const cJSON *claims, const cJSON *chat_logs, cp_record_docs *out,
                              cp_error *err) {
    const struct {
        const cJSON *list;
        cp_entry_kind kind;
    } lists[] = {{documents, CP_ENTRY_DOCUMENT},
                 {encounters, CP_ENTRY_ENCOUNTER},
                 {claims, CP_ENTRY_CLAIM},
                 {chat_logs, CP_ENTRY_CHAT}};
    maker m = {.out = out, .mrn = mrn, .err = err};
    size_t n = 0;
    cp_status status = CP_OK;
    *out = (cp_record_docs){0};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        n += cJSON_IsArray(lists[i].list) ? (size_t)cJSON_GetArraySize(lists[i].list) : 0;
    out->docs = calloc(n + 1, sizeof *out->docs);
    out->texts = calloc(2 * n + 1, sizeof *out->texts);
    for (m.n_ids = 4; m.n_ids < 2 * n;)
        m.n_ids *= 2;
    m.ids = calloc(m.n_ids, sizeof *m.ids);
    if (!out->docs || !out->texts || !m.ids)
        status = cp_error_no_memory(err, "documents of a record");
    for (size_t i = 0; i < sizeof lists / sizeof *lists && status == CP_OK; i++) {
        const cJSON *entry;
        if (!cJSON_IsArray(lists[i].list))
            continue;
        cJSON_ArrayForEach(entry, lists[i].list) {
            if (status == CP_OK)
                status = add_entry(&m, entry, lists[i].kind);
        }
    }
    free(m.ids);
    if (status != CP_OK)
        cp_record_docs_deinit(out);
    return status;
}

void cp_record_docs_deinit(cp_record_docs *docs) {
    for (size_t i = 0; i < docs->n_texts; i++)
        cp_strbuf_deinit(&docs->texts[i]);
    free(docs->docs);
    free(docs->texts);
    *docs = (cp_record_docs){0};
}
