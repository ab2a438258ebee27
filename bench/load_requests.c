#include "bench/load_requests.h"

#include "base/file.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE_BYTES ((size_t)1 << 20)
#define MAX_BODY_BYTES ((size_t)2 << 20)

static const struct {
    const char *name, *path;
} targets[CP_LOAD_N_TARGETS] = {
    [CP_LOAD_TRIAGE] = {"triage", "/triage"},
    [CP_LOAD_CHAT] = {"chat", "/v1/chat/completions"},
    [CP_LOAD_COMPLETIONS] = {"completions", "/v1/completions"},
    [CP_LOAD_HEALTH] = {"health", "/health"},
    [CP_LOAD_METRICS] = {"metrics", "/metrics"},
};

const char *cp_load_target_name(cp_load_target target) {
    return targets[target].name;
}

const char *cp_load_target_path(cp_load_target target) {
    return targets[target].path;
}

bool cp_load_target_is_probe(cp_load_target target) {
    return target == CP_LOAD_HEALTH || target == CP_LOAD_METRICS;
}

bool cp_load_target_parse(const char *name, cp_load_target *out) {
    for (size_t i = 0; i < CP_LOAD_N_TARGETS; i++)
        if (strcmp(name, targets[i].name) == 0) {
            *out = (cp_load_target)i;
            return true;
        }
    return false;
}

/* Complaints of all levels, short and long, as patients write them. */
static const char *const built_in[] = {
    "I have crushing chest pain and I am sweating",
    "It burns when I pee and I have to go every ten minutes since yesterday. No fever.",
    "My two year old has had a fever of 39 since last night, drinks well and plays a little.",
    "Can I take ibuprofen together with my blood pressure tablets?",
    "For three weeks my lower back hurts when I sit long; walking helps. No numbness, no fever.",
    "Suddenly my left arm is weak and my husband says that my face hangs on one side.",
    "Sore throat, runny nose and a cough since Monday. What can I do at home?",
    "I feel dizzy when I get up since the new tablet was started last week, and yesterday I nearly "
    "fell in the bathroom. My pressure at home was 98 over 60 this morning.",
    "I cut my finger with a kitchen knife two hours ago. It stopped bleeding but gapes a bit.",
    "I cannot stop worrying, sleep three hours a night and my heart races for no reason.",
    "My stomach hurts on the lower right since this morning, it gets worse when I move and I threw "
    "up twice.",
    "I need a new prescription for my inhaler, I have two puffs a day and it is almost empty.",
};

/* ---- lists of texts -------------------------------------------------------------------------- */

typedef struct text_list {
    char **texts; /* [n] */
    size_t n, cap;
} text_list;

static void text_list_deinit(text_list *list) {
    for (size_t i = 0; i < list->n; i++)
        free(list->texts[i]);
    free(list->texts);
    *list = (text_list){.texts = NULL};
}

static cp_status text_list_add(text_list *list, const char *text, cp_error *err) {
    if (list->n == CP_LOAD_MAX_REQUESTS)
        return cp_error_set(err, CP_ERR_LIMIT, "more than %d lines", CP_LOAD_MAX_REQUESTS);
    char *copy = strdup(text);
    if (!copy || !cp_grow((void **)&list->texts, &list->cap, list->n + 1, sizeof *list->texts)) {
        free(copy);
        return cp_error_no_memory(err, "requests");
    }
    list->texts[list->n++] = copy;
    return CP_OK;
}

/* The string `key` of one line. */
static cp_status add_line(text_list *list, const char *path, const char *key, cp_str line,
                          cp_error *err) {
    cJSON *tree = NULL;
    const char *text = NULL;
    cp_status status = cp_json_parse(path, line.data, line.n, &tree, err);
    if (status == CP_OK)
        status = cp_json_get_string(tree, path, key, &text, err);
    if (status == CP_OK)
        status = text_list_add(list, text, err);
    cJSON_Delete(tree);
    return status;
}

static cp_status read_lines(FILE *in, const char *path, const char *key, text_list *list,
                            cp_error *err) {
    cp_strbuf line;
    cp_status status = CP_OK;
    bool more = true;
    cp_strbuf_init(&line, MAX_LINE_BYTES);
    for (size_t number = 1; status == CP_OK; number++) {
        status = cp_file_next_line(in, &line, &more, err);
        if (status != CP_OK || !more)
            break;
        if (line.n > 0)
            status = add_line(list, path, key, cp_strbuf_str(&line), err);
        if (status != CP_OK)
            status = cp_error_prefix(err, "line %zu", number);
    }
    cp_strbuf_deinit(&line);
    return status;
}

static cp_status read_texts(const char *path, const char *key, text_list *list, cp_error *err) {
    FILE *in = fopen(path, "re");
    if (!in)
        return cp_error_set(err, errno == ENOENT ? CP_ERR_NOT_FOUND : CP_ERR_IO, "%s: %s", path,
                            strerror(errno));
    cp_status status = read_lines(in, path, key, list, err);
    fclose(in);
    if (status == CP_OK && list->n == 0)
        status = cp_error_set(err, CP_ERR_FORMAT, "%s: no line with \"%s\"", path, key);
    return status;
}

static cp_status find_questions(const cp_load_recipe *r, text_list *list, cp_error *err) {
    cp_status status = CP_OK;
    if (r->prompts)
        return read_texts(r->prompts, "query", list, err);
    for (size_t i = 0; i < CP_COUNT_OF(built_in) && status == CP_OK; i++)
        status = text_list_add(list, built_in[i], err);
    return status;
}

static cp_status find_patients(const cp_load_recipe *r, text_list *list, cp_error *err) {
    cp_status status = CP_OK;
    if (r->target != CP_LOAD_TRIAGE)
        return CP_OK;
    if (!r->mrns || r->mrns->n == 0)
        return read_texts(r->patients, "mrn", list, err);
    for (size_t i = 0; i < r->mrns->n && status == CP_OK; i++)
        status = text_list_add(list, r->mrns->words[i], err);
    return status;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static void put_message(cp_json_writer *w, const char *question) {
    cp_json_key(w, "messages");
    cp_json_open_array(w);
    cp_json_open_object(w);
    cp_json_member_text(w, "role", "user");
    cp_json_member_text(w, "content", question);
    cp_json_close_object(w);
    cp_json_close_array(w);
}

static void put_stream(cp_json_writer *w, const cp_load_recipe *r) {
    if (!r->stream)
        return;
    cp_json_member_bool(w, "stream", true);
    if (r->target == CP_LOAD_TRIAGE)
        return;
    cp_json_key(w, "stream_options");
    cp_json_open_object(w);
    cp_json_member_bool(w, "include_usage", true);
    cp_json_close_object(w);
}

static void put_body(const cp_load_recipe *r, const char *question, const char *mrn,
                     cp_json_writer *w) {
    bool triage = r->target == CP_LOAD_TRIAGE;
    cp_json_open_object(w);
    if (triage) {
        cp_json_member_text(w, "patient_mrn", mrn);
        cp_json_member_text(w, "query", question);
    } else {
        cp_json_member_text(w, "model", r->model);
        if (r->target == CP_LOAD_CHAT)
            put_message(w, question);
        else
            cp_json_member_text(w, "prompt", question);
    }
    if (r->max_tokens > 0)
        cp_json_member_int(w, triage ? "max_new_tokens" : "max_tokens", r->max_tokens);
    cp_json_member_number(w, "temperature", r->temperature, 15);
    cp_json_member_int(w, "seed", (int64_t)r->seed);
    put_stream(w, r);
    cp_json_close_object(w);
}

static cp_status make_body(const cp_load_recipe *r, const char *question, const char *mrn,
                           char **out, cp_error *err) {
    cp_strbuf text;
    cp_json_writer w;
    cp_strbuf_init(&text, MAX_BODY_BYTES);
    cp_json_writer_init(&w, &text);
    if (!cp_load_target_is_probe(r->target))
        put_body(r, question, mrn, &w);
    cp_status status = cp_strbuf_check(&text, "request", err);
    if (status == CP_OK) {
        *out = cp_strbuf_take(&text);
        if (!*out)
            status = cp_error_no_memory(err, "request");
    }
    cp_strbuf_deinit(&text);
    return status;
}

static cp_status make_all(const cp_load_recipe *r, const text_list *questions,
                          const text_list *patients, cp_load_requests *out, cp_error *err) {
    size_t n = questions->n > patients->n ? questions->n : patients->n;
    if (cp_load_target_is_probe(r->target))
        n = 1; /* all would be the same */
    out->bodies = calloc(n, sizeof *out->bodies);
    if (!out->bodies)
        return cp_error_no_memory(err, "requests");
    cp_status status = CP_OK;
    for (size_t k = 0; k < n && status == CP_OK; k++) {
        const char *mrn = patients->n ? patients->texts[k % patients->n] : NULL;
        status = make_body(r, questions->texts[k % questions->n], mrn, &out->bodies[k], err);
        out->n += status == CP_OK;
    }
    return status;
}

cp_status cp_load_requests_make(const cp_load_recipe *r, cp_load_requests *out, cp_error *err) {
    text_list questions = {.n = 0}, patients = {.n = 0};
    *out = (cp_load_requests){.n = 0};
    cp_status status = find_questions(r, &questions, err);
    if (status == CP_OK)
        status = find_patients(r, &patients, err);
    if (status == CP_OK)
        status = make_all(r, &questions, &patients, out, err);
    text_list_deinit(&questions);
    text_list_deinit(&patients);
    return status;
}

void cp_load_requests_deinit(cp_load_requests *requests) {
    for (size_t i = 0; i < requests->n; i++)
        free(requests->bodies[i]);
    free(requests->bodies);
    *requests = (cp_load_requests){.n = 0};
}
