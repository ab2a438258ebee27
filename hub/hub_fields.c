#include "hub/hub_fields.h"

#include <stdio.h>
#include <string.h>

#define MAX_NUMBER ((uint64_t)1 << 53)

/* A decimal number at the beginning of *text, which moves behind it. */
static bool take_number(cp_str *text, uint64_t *out) {
    uint64_t value = 0;
    size_t n = 0;
    while (n < text->n && text->data[n] >= '0' && text->data[n] <= '9') {
        value = value * 10 + (uint64_t)(text->data[n++] - '0');
        if (value > MAX_NUMBER)
            return false;
    }
    *out = value;
    *text = (cp_str){text->data + n, text->n - n};
    return n > 0;
}

static bool take_text(cp_str *text, const char *word) {
    size_t n = strlen(word);
    if (text->n < n || memcmp(text->data, word, n) != 0)
        return false;
    *text = (cp_str){text->data + n, text->n - n};
    return true;
}

static bool number_field(const cp_http_answer *answer, const char *name, uint64_t *out) {
    cp_str value;
    uint64_t number;
    if (!cp_http_answer_field(answer, name, &value) || !take_number(&value, &number) || value.n > 0)
        return false;
    *out = number;
    return true;
}

/* "HASH" or W/"HASH", quotes or not. False when there is no such field. */
static bool etag_field(const cp_http_answer *answer, const char *name, char hash[CP_HUB_HASH_CAP]) {
    cp_str value;
    hash[0] = '\0';
    if (!cp_http_answer_field(answer, name, &value))
        return false;
    (void)take_text(&value, "W/");
    if (value.n >= 2 && value.data[0] == '"' && value.data[value.n - 1] == '"')
        value = (cp_str){value.data + 1, value.n - 2};
    if (cp_hub_is_hash(value))
        snprintf(hash, CP_HUB_HASH_CAP, "%.*s", (int)value.n, value.data);
    return true;
}

void cp_hub_fields_add(cp_hub_fields *f, const cp_http_answer *answer) {
    cp_str value;
    char hash[CP_HUB_HASH_CAP];
    if (!f->commit[0] && cp_http_answer_field(answer, "X-Repo-Commit", &value) &&
        cp_hub_is_commit(value))
        snprintf(f->commit, sizeof f->commit, "%.*s", (int)value.n, value.data);
    if (!f->linked && etag_field(answer, "X-Linked-Etag", hash)) {
        f->linked = f->has_etag = true;
        memcpy(f->hash, hash, sizeof hash);
        f->has_size = number_field(answer, "X-Linked-Size", &f->size);
    }
    if (f->linked)
        return;
    if (etag_field(answer, "ETag", hash)) {
        f->has_etag = true;
        memcpy(f->hash, hash, sizeof hash);
    }
    if (answer->status / 100 == 2)
        f->has_size = number_field(answer, "Content-Length", &f->size);
}

bool cp_hub_error_is(const cp_http_answer *answer, const char *code) {
    cp_str value;
    return cp_http_answer_field(answer, "X-Error-Code", &value) && cp_str_is(value, code);
}

double cp_hub_retry_after_s(const cp_http_answer *answer) {
    uint64_t seconds;
    return number_field(answer, "Retry-After", &seconds) ? (double)seconds : -1;
}

bool cp_hub_content_range(const cp_http_answer *answer, uint64_t *first, uint64_t *total) {
    cp_str value;
    uint64_t last;
    return cp_http_answer_field(answer, "Content-Range", &value) && take_text(&value, "bytes ") &&
           take_number(&value, first) && take_text(&value, "-") && take_number(&value, &last) &&
           take_text(&value, "/") && take_number(&value, total) && value.n == 0 && *first <= last &&
           last < *total;
}
