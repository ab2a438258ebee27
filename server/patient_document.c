#include "server/patient_document.h"

#include "base/json.h"
#include "base/json_writer.h"
#include "retrieval/record_docs.h"
#include "server/http_routes.h"
#include "server/triage_citations.h"

#include <string.h>

typedef struct span {
    bool is_asked;
    size_t begin, end;
} span;

static bool is_inside_character(cp_str text, size_t at) {
    return at < text.n && ((unsigned char)text.data[at] & 0xc0) == 0x80;
}

static bool read_place(const char *query, const char *name, cp_str text, size_t *out,
                       cp_api_error *error) {
    cp_status status = cp_http_query_size(query, name, out);
    if (status == CP_OK && *out <= text.n && !is_inside_character(text, *out))
        return true;
    *error = (cp_api_error){422, "out_of_range",
                            "start and end must be places in the text, in bytes", name, 0};
    return false;
}

static bool read_span(const char *query, cp_str text, span *out, cp_api_error *error) {
    size_t ignored;
    *out = (span){.is_asked = cp_http_query_size(query, "start", &ignored) != CP_ERR_NOT_FOUND ||
                              cp_http_query_size(query, "end", &ignored) != CP_ERR_NOT_FOUND};
    if (!out->is_asked)
        return true;
    if (!read_place(query, "start", text, &out->begin, error) ||
        !read_place(query, "end", text, &out->end, error))
        return false;
    if (out->begin <= out->end)
        return true;
    *error = (cp_api_error){422, "out_of_range", "end must not come before start", "end", 0};
    return false;
}

static void put_span(cp_json_writer *w, cp_str text, const span *s) {
    cp_json_key(w, "span");
    cp_json_open_object(w);
    cp_json_member_int(w, "start", (int64_t)s->begin);
    cp_json_member_int(w, "end", (int64_t)s->end);
    cp_json_member_str(w, "before", (cp_str){text.data, s->begin});
    cp_json_member_str(w, "quote", (cp_str){text.data + s->begin, s->end - s->begin});
    cp_json_member_str(w, "after", (cp_str){text.data + s->end, text.n - s->end});
    cp_json_close_object(w);
}

static void put(const cp_source_doc *doc, const cp_knowledge_about *about, const span *s,
                cp_strbuf *out) {
    cp_json_writer w;
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "mrn", *doc->mrn ? doc->mrn : NULL);
    cp_json_member_text(&w, "id", doc->id);
    cp_json_member_text(&w, "from", cp_source_origin(doc));
    cp_json_member_text(&w, "type", doc->type);
    cp_json_member_text(&w, "title", doc->title);
    cp_json_member_text(&w, "date", *doc->date ? doc->date : NULL);
    if (about) {
        cp_json_member_text(&w, "source", about->source);
        cp_json_member_text(&w, "reviewed_by", about->reviewed_by);
    }
    cp_json_member_str(&w, "text", doc->text);
    if (s->is_asked)
        put_span(&w, doc->text, s);
    cp_json_close_object(&w);
}

static bool append(const cp_source_doc *doc, const cp_knowledge_about *about, const char *query,
                   cp_strbuf *out, cp_api_error *error) {
    span s;
    if (!read_span(query, doc->text, &s, error))
        return false;
    put(doc, about, &s, out);
    return true;
}

static bool append_known(const cp_knowledge *knowledge, const char *id, const char *query,
                         cp_strbuf *out, cp_api_error *error) {
    for (size_t i = 0; i < cp_knowledge_n(knowledge); i++) {
        const cp_source_doc *doc = cp_knowledge_doc(knowledge, i);
        if (strcmp(doc->id, id) == 0) {
            const cp_knowledge_about about = cp_knowledge_about_doc(knowledge, i);
            return append(doc, &about, query, out, error);
        }
    }
    *error = (cp_api_error){404, "document_not_found", "there is no such document", "id", 0};
    return false;
}

bool cp_patient_document_append(const cp_patient_record *record, const cp_knowledge *knowledge,
                                const char *id, const char *query, cp_strbuf *out,
                                cp_api_error *error) {
    const char *mrn = cp_json_text(record->patient, "mrn", "");
    const cp_source_doc *found = NULL;
    cp_record_docs docs;
    if (cp_record_docs_make(mrn, record->documents, record->encounters, record->claims,
                            record->chat_logs, &docs, NULL) != CP_OK) {
        cp_record_docs_deinit(&docs);
        *error = cp_api_no_memory;
        return false;
    }
    for (size_t i = 0; i < docs.n && !found; i++)
        if (strcmp(docs.docs[i].id, id) == 0)
            found = &docs.docs[i];
    bool ok = found ? append(found, NULL, query, out, error)
                    : append_known(knowledge, id, query, out, error);
    cp_record_docs_deinit(&docs);
    return ok;
}
