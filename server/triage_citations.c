#include "server/triage_citations.h"

#include "server/triage_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT_BYTES ((size_t)64 << 10)
#define MAX_NAMED      5 /* terms in the warning */

const char *cp_source_origin(const cp_source_doc *doc) {
    return doc->kind == CP_ENTRY_KNOWLEDGE ? "knowledge" : "record";
}

static void count(const cp_triage_answer *answer, cp_triage_support *support) {
    cp_support_counts *counts = &support->counts;
    for (size_t i = 0; i < answer->n_cited; i++) {
        counts->citations[support->citations[i].verdict]++;
        counts->kept += support->citations[i].kept;
    }
    for (size_t i = 0; i < support->n_claims; i++)
        counts->claims[support->claims[i].kind]++;
}

cp_status cp_triage_support_check(const cp_triage_grounds *grounds, const cp_triage_answer *answer,
                                  cp_triage_support *out, cp_error *err) {
    const cp_triage_sources *sources = grounds->sources;
    cp_status status = CP_OK;
    *out = (cp_triage_support){.citations = NULL};
    if (!grounds->terms)
        return CP_OK;
    if (answer->n_cited > 0) {
        out->citations = calloc(answer->n_cited, sizeof *out->citations);
        status = out->citations ? cp_citations_check(sources->passages, sources->n_told,
                                                     grounds->terms, grounds->names, answer->cited,
                                                     answer->n_cited, out->citations, err)
                                : cp_error_no_memory(err, "citations");
    }
    if (status == CP_OK && answer->text.n > 0)
        status = cp_claims_check(grounds->terms, grounds->names, cp_strbuf_str(&answer->text),
                                 &grounds->given, 1, &out->claims, &out->n_claims, err);
    if (status == CP_OK)
        count(answer, out);
    return status;
}

void cp_triage_support_deinit(cp_triage_support *support) {
    free(support->citations);
    free(support->claims);
    *support = (cp_triage_support){.citations = NULL};
}

/* ---- what the reply says --------------------------------------------------------------------- */

static void put_span(cp_json_writer *w, const cp_source_doc *doc, size_t begin, size_t n) {
    cp_json_member_int(w, "start", (int64_t)begin);
    cp_json_member_int(w, "end", (int64_t)(begin + n));
    cp_json_member_str(w, "quote", (cp_str){doc->text.data + begin, n});
}

static void put_document(cp_json_writer *w, const cp_source_doc *doc) {
    cp_json_member_text(w, "document_id", doc->id);
    cp_json_member_text(w, "title", doc->title);
    cp_json_member_text(w, "type", doc->type);
    cp_json_member_text(w, "date", *doc->date ? doc->date : NULL);
    cp_json_member_text(w, "from", cp_source_origin(doc));
}

static void put_source(cp_json_writer *w, size_t i, const cp_passage *passage) {
    char mark[24];
    snprintf(mark, sizeof mark, "S%zu", i + 1);
    cp_json_open_object(w);
    cp_json_member_text(w, "source", mark);
    put_document(w, passage->doc);
    cp_json_member_int(w, "passage_start", passage->begin);
    cp_json_member_int(w, "passage_end", (int64_t)passage->begin + passage->n);
    put_span(w, passage->doc, passage->best_begin, passage->best_n);
    cp_json_close_object(w);
}

/* The model's own words: fit to be shown. */
static void put_words(cp_json_writer *w, const char *key, cp_str words, cp_strbuf *text) {
    cp_strbuf_clear(text);
    cp_triage_clean_append(words, text);
    cp_json_member_str(w, key, cp_strbuf_str(text));
}

static void put_citation(cp_json_writer *w, const cp_passage *passages,
                         const cp_citation_claimed *said, const cp_citation *found,
                         cp_strbuf *text) {
    const cp_source_doc *doc = passages[found->passage].doc;
    cp_json_open_object(w);
    put_document(w, doc);
    put_span(w, doc, found->begin, found->n);
    put_words(w, "claim", said->claim, text);
    put_words(w, "why", said->why, text);
    cp_json_member_bool(w, "claim_supported", found->claim_supported);
    cp_json_member_text(w, "check", cp_citation_verdict_name(found->verdict));
    cp_json_close_object(w);
}

static void put_citations(cp_json_writer *w, const cp_triage_grounds *grounds,
                          const cp_triage_answer *answer, const cp_triage_support *support) {
    cp_strbuf text;
    cp_strbuf_init(&text, MAX_TEXT_BYTES);
    cp_json_key(w, "citations");
    cp_json_open_array(w);
    for (size_t i = 0; i < answer->n_cited; i++)
        if (support->citations[i].kept)
            put_citation(w, grounds->sources->passages, &answer->cited[i], &support->citations[i],
                         &text);
    cp_json_close_array(w);
    if (text.failed != CP_OK)
        w->out->failed = text.failed;
    cp_strbuf_deinit(&text);
}

static void put_check(cp_json_writer *w, const cp_triage_answer *answer,
                      const cp_support_counts *counts) {
    cp_json_key(w, "citation_check");
    cp_json_open_object(w);
    cp_json_member_int(w, "claimed", (int64_t)answer->n_cited);
    cp_json_member_int(w, "kept", (int64_t)counts->kept);
    cp_json_member_int(w, "removed", (int64_t)(answer->n_cited - counts->kept));
    for (cp_citation_verdict v = 0; v < CP_N_CITATION_VERDICTS; v++)
        cp_json_member_int(w, cp_citation_verdict_name(v), (int64_t)counts->citations[v]);
    cp_json_close_object(w);
}

static void put_claims(cp_json_writer *w, const cp_triage_answer *answer,
                       const cp_triage_support *support) {
    const char *text = cp_strbuf_text(&answer->text);
    cp_json_key(w, "unsupported_claims");
    cp_json_open_array(w);
    for (size_t i = 0; i < support->n_claims; i++) {
        const cp_unsupported_claim *claim = &support->claims[i];
        cp_json_open_object(w);
        cp_json_member_text(w, "kind", cp_claim_kind_name(claim->kind));
        cp_json_member_str(w, "term", (cp_str){text + claim->term_begin, claim->term_n});
        cp_json_member_str(w, "sentence", (cp_str){text + claim->begin, claim->n});
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
}

void cp_triage_support_put(cp_json_writer *w, const cp_triage_grounds *grounds,
                           const cp_triage_answer *answer, const cp_triage_support *support) {
    const cp_triage_sources *sources = grounds->sources;
    cp_json_member_text(w, "retrieval", grounds->mode);
    cp_json_key(w, "sources");
    cp_json_open_array(w);
    for (size_t i = 0; i < sources->n_told; i++)
        put_source(w, i, &sources->passages[i]);
    cp_json_close_array(w);
    put_citations(w, grounds, answer, support);
    put_check(w, answer, &support->counts);
    put_claims(w, answer, support);
}

/* Whether an earlier claim names the same. */
static bool is_named(const char *text, const cp_triage_support *support, size_t i) {
    const cp_unsupported_claim *claim = &support->claims[i];
    for (size_t k = 0; k < i; k++)
        if (cp_str_equal((cp_str){text + support->claims[k].term_begin, support->claims[k].term_n},
                         (cp_str){text + claim->term_begin, claim->term_n}))
            return true;
    return false;
}

void cp_triage_support_warn(const cp_triage_answer *answer, const cp_triage_support *support,
                            cp_strbuf *out) {
    const char *text = cp_strbuf_text(&answer->text);
    size_t n = 0;
    for (size_t i = 0; i < support->n_claims; i++) {
        const cp_unsupported_claim *claim = &support->claims[i];
        if (is_named(text, support, i) || n++ >= MAX_NAMED)
            continue;
        cp_strbuf_puts(out, n == 1 ? "\n\nNot found in the record or the sources: " : ", ");
        cp_strbuf_printf(out, "\"%.*s\"", (int)claim->term_n, text + claim->term_begin);
    }
    if (n > MAX_NAMED)
        cp_strbuf_puts(out, " and more");
    if (n > 0)
        cp_strbuf_puts(out, ". Check before acting on it.");
}
