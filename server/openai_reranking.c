#include "server/openai_reranking.h"

#include "server/reply_parts.h"

#include <stdlib.h>
#include <string.h>

#define DIGITS 9 /* a float comes back as it was */

/* ---- the request ----------------------------------------------------------------------------- */

/* A text, or an object with one. */
static bool add_document(cp_body_reader *r, const cJSON *item, cp_openai_reranking *out) {
    const cJSON *text = cJSON_IsObject(item) ? cp_json_member(item, "text") : item;
    if (!cJSON_IsString(text))
        return cp_body_refuse(r, 422, "documents", "wrong_type",
                              "documents must be a list of strings, or of objects with a string "
                              "text");
    out->docs[out->n_docs++] = (cp_str){text->valuestring, strlen(text->valuestring)};
    return true;
}

static bool read_documents(cp_body_reader *r, cp_openai_reranking *out) {
    const cJSON *list = cp_json_member(r->object, "documents"), *item;
    if (!list)
        return cp_body_refuse(r, 422, "documents", "missing", "documents is required");
    if (!cJSON_IsArray(list))
        return cp_body_refuse(r, 422, "documents", "wrong_type", "documents must be a list");
    int n = cJSON_GetArraySize(list);
    if (n < 1 || n > CP_OPENAI_MAX_DOCUMENTS)
        return cp_body_refuse(r, 422, "documents", "out_of_range",
                              "documents must have 1 to %d elements", CP_OPENAI_MAX_DOCUMENTS);
    cJSON_ArrayForEach(item, list) {
        if (!add_document(r, item, out))
            return false;
    }
    return true;
}

static bool read_query(cp_body_reader *r, cp_openai_reranking *out) {
    return cp_body_string(r, "query", true, &out->query) &&
           (*out->query || cp_body_refuse(r, 422, "query", "invalid", "query must not be empty"));
}

bool cp_openai_reranking_parse(cp_str body, cp_openai_reranking *out, cp_body_fault *fault) {
    static const char *const known[] = {
        "model", "query", "documents", "top_n", "instruction", "return_documents", NULL};
    static const char *const ignored[] = {"user", NULL};
    int64_t top_n = CP_OPENAI_MAX_DOCUMENTS;
    *out = (cp_openai_reranking){0};
    if (!cp_body_parse(body, &out->tree, fault))
        return false;
    cp_body_reader r = {.object = out->tree, .path = "", .fault = fault};
    cp_openai_warn_unknown(&out->warnings, out->tree, "", known, NULL, ignored);
    if (!cp_body_string(&r, "model", false, &out->model) ||
        !cp_body_string(&r, "instruction", false, &out->instruction) || !read_query(&r, out) ||
        !cp_body_integer(&r, "top_n", 1, INT32_MAX, NULL, &top_n) ||
        !cp_body_bool(&r, "return_documents", NULL, &out->with_docs) || !read_documents(&r, out))
        return false;
    out->top_n = (size_t)top_n < out->n_docs ? (size_t)top_n : out->n_docs;
    static const char *const kept[] = {"model", "query", "documents", "instruction", NULL};
    cp_body_keep(out->tree, kept, false);
    return true;
}

void cp_openai_reranking_deinit(cp_openai_reranking *request) {
    cJSON_Delete(request->tree);
    *request = (cp_openai_reranking){0};
}

/* ---- the reply ------------------------------------------------------------------------------- */

typedef struct ranked {
    size_t index;
    float score;
} ranked;

static int compare(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void write_result(const cp_openai_reranking *request, const ranked *result,
                         cp_json_writer *w) {
    cp_json_open_object(w);
    cp_json_member_int(w, "index", (int64_t)result->index);
    cp_json_member_number(w, "relevance_score", (double)result->score, DIGITS);
    if (request->with_docs) {
        cp_json_key(w, "document");
        cp_json_open_object(w);
        cp_json_key(w, "text");
        cp_json_put_str(w, request->docs[result->index]);
        cp_json_close_object(w);
    }
    cp_json_close_object(w);
}

void cp_openai_reranking_append(const cp_openai_reranking *request, const char *model,
                                const float *scores, size_t n_tokens, cp_strbuf *out) {
    ranked order[CP_OPENAI_MAX_DOCUMENTS] = {{0}};
    cp_json_writer w;
    for (size_t i = 0; i < request->n_docs; i++)
        order[i] = (ranked){i, scores[i]};
    qsort(order, request->n_docs, sizeof *order, compare);
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "object", "list");
    cp_json_member_text(&w, "model", model);
    cp_json_key(&w, "results");
    cp_json_open_array(&w);
    for (size_t i = 0; i < request->top_n; i++)
        write_result(request, &order[i], &w);
    cp_json_close_array(&w);
    cp_reply_usage(&w, n_tokens);
    cp_openai_warnings_write(&request->warnings, &w);
    cp_json_close_object(&w);
    cp_strbuf_putc(out, '\n');
}
