#include "server/triage_answer.h"

#include "base/utf8.h"
#include "server/safety.h"
#include "server/triage_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT_BYTES ((size_t)1 << 20)

/* Key by key in the order in which the model writes. */
const char cp_triage_answer_schema[] =
    "{\"type\":\"object\",\"additionalProperties\":false,"
    "\"required\":[\"assessment\",\"acuity\",\"next_steps\",\"seek_help_sooner_if\",\"citations\"],"
    "\"properties\":{"
    "\"assessment\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":2000},"
    "\"acuity\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":5},"
    "\"next_steps\":{\"type\":\"array\",\"maxItems\":6,"
    "\"items\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":300}},"
    "\"seek_help_sooner_if\":{\"type\":\"array\",\"maxItems\":6,"
    "\"items\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":300}},"
    "\"citations\":{\"type\":\"array\",\"maxItems\":4,"
    "\"items\":{\"type\":\"object\",\"additionalProperties\":false,"
    "\"required\":[\"source\",\"quote\",\"claim\",\"why\"],"
    "\"properties\":{"
    "\"source\":{\"enum\":[\"S1\",\"S2\",\"S3\",\"S4\",\"S5\",\"S6\",\"S7\",\"S8\",\"S9\",\"S10\","
    "\"S11\",\"S12\",\"S13\",\"S14\",\"S15\",\"S16\",\"S17\",\"S18\",\"S19\",\"S20\"]},"
    "\"quote\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":240},"
    "\"claim\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":160},"
    "\"why\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":120}}}}}}";

const char cp_triage_mock_answer[] =
    "{\"assessment\":\"This is a mock answer: the server runs with LLM_MODE=mock and no model read "
    "the question. The safety rules did read it; what they found stands in red_flags. With a "
    "model, "
    "its reasoning would stand here: what the question and the record suggest, and what would make "
    "it more urgent.\",\"acuity\":3,\"next_steps\":[\"With a model, what to do next would stand "
    "here.\"],\"seek_help_sooner_if\":[],\"citations\":[]}";

/* ---- the text as it comes -------------------------------------------------------------------- */

void cp_triage_reader_init(cp_triage_reader *r) {
    *r = (cp_triage_reader){.where = CP_READER_OUTSIDE};
}

static const char *heading(const cp_triage_reader *r) {
    if (strcmp(r->key, "next_steps") == 0)
        return "Next steps:";
    return strcmp(r->key, "seek_help_sooner_if") == 0 ? "Seek help sooner if:" : NULL;
}

/* A string that is a value begins: a list gets its heading and marks. */
static void begin_text(cp_triage_reader *r, cp_strbuf *out) {
    const char *title = heading(r);
    r->where = CP_READER_TEXT;
    r->is_silent = !title && strcmp(r->key, "assessment") != 0;
    if (title && r->n_items++ == 0)
        cp_strbuf_printf(out, "\n\n%s", title);
    if (title)
        cp_strbuf_puts(out, "\n- ");
}

static void begin_string(cp_triage_reader *r, cp_strbuf *out) {
    if (!r->is_key) {
        begin_text(r, out);
        return;
    }
    r->where = CP_READER_KEY;
    r->n_key = r->n_items = 0;
    r->key[0] = '\0';
}

static void outside(cp_triage_reader *r, char c, cp_strbuf *out) {
    if (c == '"')
        begin_string(r, out);
    else if (c == '{')
        r->is_key = true;
    else if (c == ':')
        r->is_key = false;
    else if (c == ']')
        r->is_key = true; /* behind a list, and its comma, a member's name comes */
}

static unsigned hex4(const char *digits) {
    unsigned value = 0;
    for (size_t i = 0; i < 4; i++) {
        char c = digits[i];
        value = value * 16 + (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* Citations are told by the whole answer alone, once they are checked. */
static void put_code_point(const cp_triage_reader *r, cp_strbuf *out, unsigned c) {
    char bytes[4];
    size_t n = cp_utf8_encode(c, bytes);
    if (!r->is_silent)
        cp_strbuf_append(out, bytes, n);
}

/* The escape so far, complete or not: "\n", "\u00e9", "\ud83d\ude00". */
static void step_escape(cp_triage_reader *r, cp_strbuf *out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->n_escape < 2)
        return;
    const char *simple = strchr(from, r->escape[1]);
    if (simple) {
        put_code_point(r, out, (unsigned char)to[simple - from]);
    } else {
        unsigned c = r->n_escape >= 6 ? hex4(r->escape + 2) : 0;
        bool first_half = c >= 0xd800 && c < 0xdc00;
        if (r->n_escape < (first_half ? 12u : 6u))
            return;
        put_code_point(r, out,
                       first_half ? 0x10000 + ((c - 0xd800) << 10) + (hex4(r->escape + 8) - 0xdc00)
                                  : c);
    }
    r->n_escape = 0;
}

static void in_text(cp_triage_reader *r, char c, cp_strbuf *out) {
    if (r->n_escape > 0 || c == '\\') {
        r->escape[r->n_escape++] = c;
        step_escape(r, out);
    } else if (c == '"') {
        r->where = CP_READER_OUTSIDE;
        r->is_key = heading(r) == NULL; /* in a list another string may follow */
    } else if (!r->is_silent) {
        cp_strbuf_putc(out, c);
    }
}

static void in_key(cp_triage_reader *r, char c) {
    if (c == '"') {
        r->where = CP_READER_OUTSIDE;
    } else if (r->n_key + 1 < sizeof r->key) {
        r->key[r->n_key++] = c;
        r->key[r->n_key] = '\0';
    }
}

void cp_triage_reader_push(cp_triage_reader *r, const char *json, size_t n, cp_strbuf *out) {
    for (size_t i = 0; i < n; i++)
        if (r->where == CP_READER_TEXT)
            in_text(r, json[i], out);
        else if (r->where == CP_READER_KEY)
            in_key(r, json[i]);
        else if (json[i] == ',' && strcmp(r->key, "acuity") == 0)
            r->is_key = true; /* behind the number */
        else
            outside(r, json[i], out);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Bytes of the answer up to and with the level's digit; the answer is compact and begins with the
 * assessment. */
static size_t level_end(cp_str json) {
    static const char opening[] = "{\"assessment\":\"", before[] = ",\"acuity\":";
    size_t i = sizeof opening - 1;
    while (i < json.n && json.data[i] != '"')
        i += json.data[i] == '\\' ? 2 : 1;
    return i + 1 + sizeof before;
}

static int level_of(const cJSON *tree, cp_str json, size_t n_own) {
    const cJSON *acuity = cJSON_GetObjectItemCaseSensitive(tree, "acuity");
    bool said = cJSON_IsNumber(acuity) && level_end(json) <= n_own &&
                acuity->valuedouble >= CP_ACUITY_MOST_URGENT &&
                acuity->valuedouble <= CP_ACUITY_LEAST_URGENT;
    return said ? (int)acuity->valuedouble : CP_ACUITY_NONE;
}

static cp_str text_of(const cJSON *object, const char *key) {
    const char *text = cp_json_text(object, key, "");
    return (cp_str){text, strlen(text)};
}

/* "S3" is the third source; what is no such mark is a source that nobody was shown. */
static size_t source_of(const cJSON *citation) {
    const char *mark = cp_json_text(citation, "source", "");
    char *end = NULL;
    unsigned long number = *mark == 'S' ? strtoul(mark + 1, &end, 10) : 0;
    return number > 0 && !*end ? number - 1 : SIZE_MAX;
}

/* The last one may have been cut. */
static cp_status read_cited(cp_triage_answer *answer, bool was_cut, cp_error *err) {
    const cJSON *list = cp_json_member(answer->tree, "citations"), *item;
    size_t n = cJSON_IsArray(list) ? (size_t)cJSON_GetArraySize(list) : 0;
    n -= n > 0 && was_cut;
    answer->cited = n > 0 ? calloc(n, sizeof *answer->cited) : NULL;
    if (n > 0 && !answer->cited)
        return cp_error_no_memory(err, "citations");
    cJSON_ArrayForEach(item, list) {
        if (answer->n_cited < n)
            answer->cited[answer->n_cited++] =
                (cp_citation_claimed){.source = source_of(item),
                                      .quote = text_of(item, "quote"),
                                      .claim = text_of(item, "claim"),
                                      .why = text_of(item, "why")};
    }
    return CP_OK;
}

cp_status cp_triage_answer_read(const cp_llm_result *result, cp_triage_answer *out, cp_error *err) {
    cp_str json = cp_strbuf_str(&result->answer);
    size_t n_own = json.n - result->structured.tail_bytes;
    cp_triage_reader reader;
    cp_strbuf raw;
    *out = (cp_triage_answer){.acuity = CP_ACUITY_NONE};
    cp_strbuf_init(&out->text, MAX_TEXT_BYTES);
    if (json.n == 0)
        return CP_OK;
    cp_status status = cp_json_parse("the model's answer", json.data, json.n, &out->tree, err);
    if (status == CP_OK && !cJSON_IsObject(out->tree))
        status = cp_error_set(err, CP_ERR_FORMAT, "the model's answer is no object");
    if (status == CP_OK)
        status = read_cited(out, n_own < json.n, err);
    if (status != CP_OK)
        return status;
    out->acuity = level_of(out->tree, json, n_own);
    cp_strbuf_init(&raw, MAX_TEXT_BYTES);
    cp_triage_reader_init(&reader);
    cp_triage_reader_push(&reader, json.data, n_own, &raw);
    cp_triage_clean_append(cp_strbuf_str(&raw), &out->text);
    status = cp_strbuf_check(&raw, "the answer", err);
    cp_strbuf_deinit(&raw);
    return status == CP_OK ? cp_strbuf_check(&out->text, "the answer", err) : status;
}

void cp_triage_answer_deinit(cp_triage_answer *answer) {
    cp_strbuf_deinit(&answer->text);
    cJSON_Delete(answer->tree);
    free(answer->cited);
}
