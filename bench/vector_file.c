#include "bench/vector_file.h"

#include "base/crypto.h"
#include "base/file.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "engine/vector_search.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE ((size_t)1 << 20)

typedef struct entry {
    cp_sha256 key;
    size_t number;
} entry;

struct cp_vector_file {
    char path[CP_PATH_CAP];
    size_t width, n, cap, cap_values;
    entry *entries; /* [n] by key */
    float *values;  /* [n, width] in the file's order */
};

static cp_status refuse(const cp_vector_file *f, const char *expected, cp_error *err) {
    return cp_error_set(err, CP_ERR_FORMAT, "%s: line %zu: expected %s", f->path, f->n + 1,
                        expected);
}

static cp_status take_vector(cp_vector_file *f, const cJSON *vector, cp_error *err) {
    const cJSON *value;
    const int width = cJSON_IsArray(vector) ? cJSON_GetArraySize(vector) : 0;
    if (width < 1 || width > CP_VECTOR_MAX_WIDTH || (f->n > 0 && (size_t)width != f->width))
        return refuse(f, "a vector of 1 to 4096 numbers, as many in each line", err);
    f->width = (size_t)width;
    if (!cp_grow((void **)&f->values, &f->cap_values, (f->n + 1) * f->width, sizeof *f->values))
        return cp_error_no_memory(err, "vectors");
    float *out = f->values + f->n * f->width;
    cJSON_ArrayForEach(value, vector) {
        if (!cJSON_IsNumber(value))
            return refuse(f, "numbers in the vector", err);
        *out++ = (float)value->valuedouble;
    }
    cp_vector_truncate(f->values + f->n * f->width, f->width); /* length 1 */
    return CP_OK;
}

static cp_status take_line(cp_vector_file *f, const cp_strbuf *line, cp_error *err) {
    cJSON *tree = NULL;
    cp_status status = cp_json_parse(f->path, cp_strbuf_text(line), line->n, &tree, err);
    const char *key = status == CP_OK ? cp_json_text(tree, "text_sha256", "") : "";
    if (status == CP_OK && !cp_grow((void **)&f->entries, &f->cap, f->n + 1, sizeof *f->entries))
        status = cp_error_no_memory(err, "vectors");
    if (status == CP_OK &&
        !cp_unhex((cp_str){key, strlen(key)}, f->entries[f->n].key.bytes, CP_SHA256_BYTES))
        status = refuse(f, "text_sha256, 64 lower-case hexadecimal digits", err);
    if (status == CP_OK)
        status = take_vector(f, cp_json_member(tree, "vector"), err);
    if (status == CP_OK) {
        f->entries[f->n].number = f->n;
        f->n++;
    }
    cJSON_Delete(tree);
    return status;
}

static int by_key(const void *a, const void *b) {
    return memcmp(((const entry *)a)->key.bytes, ((const entry *)b)->key.bytes, CP_SHA256_BYTES);
}

cp_status cp_vector_file_open(const char *path, cp_vector_file **out, cp_error *err) {
    cp_strbuf line;
    bool more = true;
    cp_vector_file *f = calloc(1, sizeof *f);
    FILE *in = fopen(path, "r");
    cp_status status = CP_OK;
    *out = NULL;
    cp_strbuf_init(&line, MAX_LINE);
    if (!in)
        status = cp_error_set(err, CP_ERR_IO, "%s: %s", path, strerror(errno));
    else if (!f)
        status = cp_error_no_memory(err, "vectors");
    else
        snprintf(f->path, sizeof f->path, "%s", path);
    while (status == CP_OK) {
        status = cp_file_next_line(in, &line, &more, err);
        if (status != CP_OK || !more)
            break;
        status = take_line(f, &line, err);
    }
    if (status == CP_OK && f->n == 0)
        status = refuse(f, "a vector", err);
    if (in)
        fclose(in);
    cp_strbuf_deinit(&line);
    if (status != CP_OK) {
        cp_vector_file_close(f);
        return status;
    }
    qsort(f->entries, f->n, sizeof *f->entries, by_key);
    *out = f;
    return CP_OK;
}

void cp_vector_file_close(cp_vector_file *f) {
    if (!f)
        return;
    free(f->entries);
    free(f->values);
    free(f);
}

size_t cp_vector_file_width(const cp_vector_file *f) {
    return f->width;
}

cp_status cp_vector_file_get(const cp_vector_file *f, const char *const *texts, size_t n,
                             float *out, cp_error *err) {
    for (size_t i = 0; i < n; i++) {
        char hex[2 * CP_SHA256_BYTES + 1];
        entry key = {.number = 0};
        cp_status status = cp_sha256_of((cp_str){texts[i], strlen(texts[i])}, &key.key, err);
        if (status != CP_OK)
            return status;
        const entry *found = bsearch(&key, f->entries, f->n, sizeof key, by_key);
        cp_hex(key.key.bytes, CP_SHA256_BYTES, hex);
        if (!found)
            return cp_error_set(err, CP_ERR_NOT_FOUND, "%s: no vector of the text with SHA-256 %s",
                                f->path, hex);
        memcpy(out + i * f->width, f->values + found->number * f->width, f->width * sizeof *out);
    }
    return CP_OK;
}

cp_status cp_vector_file_ask(const char *text, cp_strbuf *out, cp_error *err) {
    char hex[2 * CP_SHA256_BYTES + 1];
    cp_json_writer writer;
    cp_sha256 digest;
    cp_status status = cp_sha256_of((cp_str){text, strlen(text)}, &digest, err);
    if (status != CP_OK)
        return status;
    cp_hex(digest.bytes, CP_SHA256_BYTES, hex);
    cp_json_writer_init(&writer, out);
    cp_json_open_object(&writer);
    cp_json_member_text(&writer, "text_sha256", hex);
    cp_json_member_text(&writer, "text", text);
    cp_json_close_object(&writer);
    cp_strbuf_putc(out, '\n');
    return cp_strbuf_check(out, "texts to embed", err);
}
