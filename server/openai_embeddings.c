#include "server/openai_embeddings.h"

#include "base/base64.h"
#include "engine/vector_search.h"
#include "server/reply_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS 9 /* a float comes back as it was */

/* ---- the request ----------------------------------------------------------------------------- */

static bool wrong_input(cp_body_reader *r) {
    return cp_body_refuse(r, 422, "input", "wrong_type",
                          "input must be a string, a list of strings, a list of token ids or a "
                          "list of such lists");
}

static bool check_count(cp_body_reader *r, const cJSON *list) {
    int n = cJSON_GetArraySize(list);
    return (n > 0 && n <= CP_OPENAI_MAX_INPUTS) ||
           cp_body_refuse(r, 422, "input", "out_of_range", "input must have 1 to %d elements",
                          CP_OPENAI_MAX_INPUTS);
}

static bool add_text(cp_body_reader *r, const cJSON *text, cp_openai_embeddings *out) {
    if (!cJSON_IsString(text))
        return wrong_input(r);
    if (!*text->valuestring)
        return cp_body_refuse(r, 422, "input", "invalid", "input must not have an empty text");
    out->inputs[out->n_inputs++].text = text->valuestring;
    return true;
}

/* Into out->ids from *at on, where there is room. */
static bool add_ids(cp_body_reader *r, const cJSON *list, const cp_embedding_limits *limits,
                    size_t *at, cp_openai_embeddings *out) {
    const cJSON *id;
    size_t begin = *at;
    cJSON_ArrayForEach(id, list) {
        if (!cJSON_IsNumber(id))
            return wrong_input(r);
        double value = id->valuedouble;
        if (!(value >= 0 && value < (double)limits->n_ids) || value != floor(value))
            return cp_body_refuse(r, 422, "input", "out_of_range",
                                  "a token id must be an integer from 0 to %zu", limits->n_ids - 1);
        out->ids[(*at)++] = (int32_t)value;
    }
    if (*at == begin)
        return cp_body_refuse(r, 422, "input", "invalid", "input must not have an empty list");
    if (*at - begin > limits->context)
        return cp_body_refuse(r, 400, "input", "context_length_exceeded",
                              "an input is too long for the model's context of %zu tokens",
                              limits->context);
    out->inputs[out->n_inputs++] =
        (cp_embedding_input){.ids = out->ids + begin, .n_ids = *at - begin};
    return true;
}

/* One list of ids, or several. */
static bool read_ids(cp_body_reader *r, const cJSON *input, const cp_embedding_limits *limits,
                     cp_openai_embeddings *out) {
    const cJSON *list;
    size_t total = 0, at = 0;
    bool nested = cJSON_IsArray(input->child);
    if (nested && !check_count(r, input))
        return false;
    cJSON_ArrayForEach(list, input) {
        if (cJSON_IsArray(list) != nested)
            return wrong_input(r);
        total += nested ? (size_t)cJSON_GetArraySize(list) : 1;
    }
    out->ids = calloc(total ? total : 1, sizeof *out->ids);
    if (!out->ids) {
        r->fault->error = cp_api_no_memory;
        return false;
    }
    if (!nested)
        return add_ids(r, input, limits, &at, out);
    cJSON_ArrayForEach(list, input) {
        if (!add_ids(r, list, limits, &at, out))
            return false;
    }
    return true;
}

static bool read_input(cp_body_reader *r, const cp_embedding_limits *limits,
                       cp_openai_embeddings *out) {
    const cJSON *input = cp_json_member(r->object, "input"), *text;
    if (!input)
        return cp_body_refuse(r, 422, "input", "missing", "input is required");
    if (!cJSON_IsArray(input))
        return add_text(r, input, out);
    if (cJSON_IsArray(input->child) || cJSON_IsNumber(input->child))
        return read_ids(r, input, limits, out);
    if (!check_count(r, input))
        return false;
    cJSON_ArrayForEach(text, input) {
        if (!add_text(r, text, out))
            return false;
    }
    return true;
}

static bool read_encoding(cp_body_reader *r, bool *base64) {
    const char *word;
    if (!cp_body_string(r, "encoding_format", false, &word))
        return false;
    *base64 = word && strcmp(word, "base64") == 0;
    return !word || *base64 || strcmp(word, "float") == 0 ||
           cp_body_refuse(r, 422, "encoding_format", "invalid",
                          "encoding_format must be float or base64");
}

bool cp_openai_embeddings_parse(cp_str body, const cp_embedding_limits *limits,
                                cp_openai_embeddings *out, cp_body_fault *fault) {
    static const char *const known[] = {"model", "input", "encoding_format", "dimensions", NULL};
    static const char *const ignored[] = {"user", NULL};
    int64_t dimensions = (int64_t)limits->width;
    *out = (cp_openai_embeddings){0};
    if (!cp_body_parse(body, &out->tree, fault))
        return false;
    cp_body_reader r = {.object = out->tree, .path = "", .fault = fault};
    cp_openai_warn_unknown(&out->warnings, out->tree, "", known, NULL, ignored);
    if (!cp_body_string(&r, "model", false, &out->model) || !read_encoding(&r, &out->base64) ||
        !cp_body_integer(&r, "dimensions", 1, (int64_t)limits->width, NULL, &dimensions) ||
        !read_input(&r, limits, out))
        return false;
    out->dimensions = (size_t)dimensions;
    static const char *const kept[] = {"model", "input", NULL};
    cp_body_keep(out->tree, kept, out->ids != NULL);
    return true;
}

void cp_openai_embeddings_deinit(cp_openai_embeddings *request) {
    cJSON_Delete(request->tree);
    free(request->ids);
    *request = (cp_openai_embeddings){0};
}

/* ---- the reply ------------------------------------------------------------------------------- */

static void put_vector(const cp_openai_embeddings *request, const float *vector,
                       cp_json_writer *w) {
    size_t n = request->dimensions;
    cp_json_key(w, "embedding");
    if (request->base64) { /* little-endian float32, as all our machines have it */
        cp_strbuf text;
        cp_strbuf_init(&text, n * sizeof *vector * 2 + 4);
        cp_base64_append(&text, vector, n * sizeof *vector);
        cp_json_put_str(w, cp_strbuf_str(&text));
        if (text.failed != CP_OK)
            w->out->failed = text.failed;
        cp_strbuf_deinit(&text);
        return;
    }
    cp_json_open_array(w);
    for (size_t i = 0; i < n; i++)
        cp_json_put_number(w, (double)vector[i], DIGITS);
    cp_json_close_array(w);
}

void cp_openai_embeddings_append(const cp_openai_embeddings *request, const char *model,
                                 float *vectors, size_t width, size_t n_tokens, cp_strbuf *out) {
    cp_json_writer w;
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "object", "list");
    cp_json_key(&w, "data");
    cp_json_open_array(&w);
    for (size_t i = 0; i < request->n_inputs; i++) {
        float *vector = vectors + i * width;
        if (request->dimensions < width)
            cp_vector_truncate(vector, request->dimensions);
        cp_json_open_object(&w);
        cp_json_member_text(&w, "object", "embedding");
        cp_json_member_int(&w, "index", (int64_t)i);
        put_vector(request, vector, &w);
        cp_json_close_object(&w);
    }
    cp_json_close_array(&w);
    cp_json_member_text(&w, "model", model);
    cp_reply_usage(&w, n_tokens);
    cp_openai_warnings_write(&request->warnings, &w);
    cp_json_close_object(&w);
    cp_strbuf_putc(out, '\n');
}
