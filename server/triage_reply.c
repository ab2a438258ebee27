#include "server/triage_reply.h"

#include "base/json_writer.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>
#include <strings.h>

const char cp_triage_disclaimer[] =
    "CarePath supports clinical staff. It is not a diagnosis and does not replace a clinician's "
    "judgement. In an emergency call your local emergency number.";

static const char unfinished_text[] = "The model did not finish its reasoning within the token "
                                      "limit, so it gave no answer. A clinician "
                                      "must review this request.";
static const char empty_text[] = "The model gave no answer. A clinician must review this request.";

/* ---- cleaning -------------------------------------------------------------------------------- */

/* Bytes at text[0..n) that spell a control token: "<|name|>" with a short name of letters, digits
 * and '_', or an added token in angle brackets; 0 for none. */
static size_t control_token(const char *text, size_t n) {
    static const char *const tags[] = {"<think>",      "</think>",        "<tool_call>",
                                       "</tool_call>", "<tool_response>", "</tool_response>"};
    for (size_t i = 0; i < CP_COUNT_OF(tags); i++)
        if (n >= strlen(tags[i]) && memcmp(text, tags[i], strlen(tags[i])) == 0)
            return strlen(tags[i]);
    if (n < 5 || text[0] != '<' || text[1] != '|')
        return 0;
    size_t i = 2;
    while (i < n && i < 40 &&
           (text[i] == '_' || (text[i] >= '0' && text[i] <= '9') ||
            (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z')))
        i++;
    return i > 2 && i + 1 < n && text[i] == '|' && text[i + 1] == '>' ? i + 2 : 0;
}

/* C0 but tab and line feed, DEL, C1. */
static bool is_control(uint32_t c) {
    return (c < 0x20 && c != '\t' && c != '\n') || (c >= 0x7f && c < 0xa0);
}

/* One pass; true when it took out a token. */
static bool clean_once(cp_str text, cp_strbuf *out) {
    bool removed = false;
    for (size_t i = 0; i < text.n;) {
        size_t token = control_token(text.data + i, text.n - i);
        cp_utf8_step step = cp_utf8_decode(text.data + i, text.n - i);
        if (token > 0)
            removed = true;
        else if (!step.valid)
            cp_strbuf_puts(out, CP_UTF8_REPLACEMENT);
        else if (!is_control(step.code_point))
            cp_strbuf_append(out, text.data + i, step.n_bytes);
        i += token ? token : step.n_bytes;
    }
    return removed;
}

/* Until nothing is left to take out: "<|im_<|x|>end|>" must not come together. Each pass shortens
 * the text by 5 bytes or more; nesting deeper than a few is not worth an answer's time and is cut.
 */
static void clean(cp_str text, cp_strbuf *out) {
    cp_strbuf a, b;
    cp_strbuf_init(&a, out->max_bytes);
    cp_strbuf_init(&b, out->max_bytes);
    bool more = clean_once(text, &a);
    for (int pass = 0; more && pass < 8; pass++) {
        cp_strbuf_clear(&b);
        more = clean_once(cp_strbuf_str(&a), &b);
        cp_strbuf swap = a;
        a = b;
        b = swap;
    }
    if (!more)
        cp_strbuf_append(out, cp_strbuf_text(&a), a.n);
    if (a.failed != CP_OK || b.failed != CP_OK)
        out->failed = a.failed != CP_OK ? a.failed : b.failed;
    cp_strbuf_deinit(&a);
    cp_strbuf_deinit(&b);
}

static cp_str trim(cp_str text) {
    static const char blanks[] = " \t\n";
    while (text.n > 0 && strchr(blanks, text.data[0])) {
        text.data++;
        text.n--;
    }
    while (text.n > 0 && strchr(blanks, text.data[text.n - 1]))
        text.n--;
    return text;
}

void cp_triage_clean_append(cp_str text, cp_strbuf *out) {
    cp_strbuf cleaned;
    cp_strbuf_init(&cleaned, out->max_bytes);
    clean(text, &cleaned);
    cp_str trimmed = trim(cp_strbuf_str(&cleaned));
    cp_strbuf_append(out, trimmed.data, trimmed.n);
    if (cleaned.failed != CP_OK)
        out->failed = cleaned.failed;
    cp_strbuf_deinit(&cleaned);
}

/* ---- the level ------------------------------------------------------------------------------- */

/* What may stand around the words of the line: Markdown's marks, quotes, blanks. */
static size_t skip_marks(const char *text, size_t n) {
    size_t i = 0;
    while (i < n && strchr("*_#>`\"'- \t", text[i]) && text[i])
        i++;
    return i;
}

/* The level of "ACUITY: 3", "**Acuity:** 2 (high risk)"; CP_ACUITY_NONE for every other line. A
 * second digit ("2 or 3", "10", "3/5") makes it unreadable: nobody guesses a level. */
static int line_level(cp_str line) {
    static const char word[] = "acuity";
    size_t i = skip_marks(line.data, line.n);
    if (line.n - i < sizeof word || strncasecmp(line.data + i, word, sizeof word - 1) != 0)
        return CP_ACUITY_NONE;
    i += sizeof word - 1;
    i += skip_marks(line.data + i, line.n - i);
    if (i >= line.n || line.data[i++] != ':')
        return CP_ACUITY_NONE;
    i += skip_marks(line.data + i, line.n - i);
    if (i >= line.n || line.data[i] < '1' || line.data[i] > '5')
        return CP_ACUITY_NONE;
    int level = line.data[i++] - '0';
    for (; i < line.n; i++)
        if (line.data[i] >= '0' && line.data[i] <= '9')
            return CP_ACUITY_NONE;
    return level;
}

int cp_triage_read_answer(cp_str text, cp_strbuf *out) {
    cp_strbuf cleaned, kept;
    int level = CP_ACUITY_NONE;
    cp_strbuf_init(&cleaned, out->max_bytes);
    cp_strbuf_init(&kept, out->max_bytes);
    clean(text, &cleaned);
    const char *at = cp_strbuf_text(&cleaned), *end = at + cleaned.n;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *next = newline ? newline + 1 : end;
        int found = line_level((cp_str){at, (size_t)((newline ? newline : end) - at)});
        if (found != CP_ACUITY_NONE)
            level = found;
        else
            cp_strbuf_append(&kept, at, (size_t)(next - at));
        at = next;
    }
    cp_str trimmed = trim(cp_strbuf_str(&kept));
    cp_strbuf_append(out, trimmed.data, trimmed.n);
    if (cleaned.failed != CP_OK || kept.failed != CP_OK)
        out->failed = cleaned.failed != CP_OK ? cleaned.failed : kept.failed;
    cp_strbuf_deinit(&cleaned);
    cp_strbuf_deinit(&kept);
    return level;
}

/* ---- the verdict ----------------------------------------------------------------------------- */

/* Smaller is more urgent; words that are not ours come from a rule and stand above all. */
static size_t disposition_rank(const char *disposition) {
    static const char *const order[] = {"call_emergency", "emergency_department_now",
                                        "same_day_care",  "see_doctor_soon",
                                        "self_care",      "clinician_review"};
    for (size_t i = 0; i < CP_COUNT_OF(order); i++)
        if (strcmp(order[i], disposition) == 0)
            return i + 1;
    return 0;
}

cp_triage_verdict cp_triage_combine(const cp_safety_finding *finding, int model_level) {
    if (model_level < CP_ACUITY_MOST_URGENT || model_level > CP_ACUITY_LEAST_URGENT)
        model_level = CP_ACUITY_NONE;
    cp_triage_verdict verdict = {.acuity = cp_acuity_more_urgent(finding->floor, model_level)};
    verdict.disposition = cp_acuity_disposition(verdict.acuity);
    if (verdict.acuity != CP_ACUITY_NONE)
        verdict.source = verdict.acuity == finding->floor ? CP_SOURCE_RULES : CP_SOURCE_MODEL;
    for (size_t i = 0; i < finding->n; i++) {
        const char *wanted = finding->rules[i]->disposition;
        if (disposition_rank(wanted) < disposition_rank(verdict.disposition))
            verdict.disposition = wanted;
    }
    return verdict;
}

/* ---- the object ------------------------------------------------------------------------------ */

/* What the rules advise that are warnings and at the floor, and every one at level 1 or 2, each
 * sentence once, then the model's words. Milder advice beside it ("see a clinician today") could be
 * mistaken for the answer; it stands in red_flags only. What a rule for an everyday complaint
 * advises is for when no model judged. */
static void put_advice(const cp_safety_finding *finding, cp_strbuf *out) {
    size_t n_flags = cp_safety_n_flags(finding);
    for (size_t i = 0; i < n_flags; i++) {
        bool said = finding->rules[i]->acuity > 2 && finding->rules[i]->acuity > finding->floor;
        for (size_t k = 0; k < i; k++)
            said |= strcmp(finding->rules[k]->advice, finding->rules[i]->advice) == 0;
        if (!said)
            cp_strbuf_printf(out, "%s\n", finding->rules[i]->advice);
    }
    if (n_flags > 0)
        cp_strbuf_putc(out, '\n');
}

/* Returns the model's level. */
static int put_response(const cp_triage_outcome *outcome, cp_strbuf *out) {
    const cp_backend_reply *reply = outcome->reply;
    put_advice(outcome->finding, out);
    size_t before = out->n;
    int level = cp_triage_read_answer(cp_strbuf_str(&reply->answer), out);
    if (out->n == before) {
        bool cut = reply->finish == CP_FINISH_LENGTH && reply->has_thinking;
        cp_strbuf_puts(out, cut ? unfinished_text : empty_text);
    }
    return level;
}

static void put_red_flags(cp_json_writer *w, const cp_safety_finding *finding) {
    cp_json_key(w, "red_flags");
    cp_json_open_array(w);
    size_t n_flags = cp_safety_n_flags(finding);
    for (size_t i = 0; i < n_flags; i++) {
        const cp_safety_rule *rule = finding->rules[i];
        cp_json_open_object(w);
        cp_json_member_text(w, "id", rule->id);
        cp_json_member_text(w, "title", rule->title);
        cp_json_member_int(w, "acuity", rule->acuity);
        cp_json_member_text(w, "advice", rule->advice);
        cp_json_close_object(w);
    }
    cp_json_close_array(w);
}

static void put_usage(cp_json_writer *w, const cp_backend_reply *reply) {
    cp_json_key(w, "usage");
    cp_json_open_object(w);
    cp_json_member_int(w, "prompt_tokens", (int64_t)reply->prompt_tokens);
    cp_json_member_int(w, "completion_tokens", (int64_t)reply->completion_tokens);
    cp_json_member_int(w, "total_tokens",
                       (int64_t)(reply->prompt_tokens + reply->completion_tokens));
    cp_json_close_object(w);
}

/* Tokens a second; null where nothing was counted or timed. */
static void put_speed(cp_json_writer *w, const char *key, size_t tokens, double ms) {
    cp_json_key(w, key);
    if (tokens > 0 && ms > 0)
        cp_json_put_number(w, (double)tokens / ms * 1e3, 6);
    else
        cp_json_put_null(w);
}

static void put_timings(cp_json_writer *w, const cp_triage_outcome *outcome) {
    const cp_backend_reply *reply = outcome->reply;
    cp_json_key(w, "timings");
    cp_json_open_object(w);
    cp_json_member_number(w, "queue_ms", outcome->queue_ms, 6);
    cp_json_member_number(w, "prompt_ms", reply->prompt_ms, 6);
    cp_json_member_number(w, "generate_ms", reply->generate_ms, 6);
    cp_json_member_number(w, "total_ms", outcome->total_ms, 6);
    put_speed(w, "prompt_per_second", reply->prompt_tokens, reply->prompt_ms);
    put_speed(w, "predicted_per_second", reply->completion_tokens, reply->generate_ms);
    cp_json_close_object(w);
}

static void put_verdict(cp_json_writer *w, const cp_triage_verdict *verdict) {
    if (verdict->acuity == CP_ACUITY_NONE) {
        cp_json_key(w, "acuity");
        cp_json_put_null(w);
    } else {
        cp_json_member_int(w, "acuity", verdict->acuity);
    }
    cp_json_member_text(w, "acuity_source", cp_acuity_source_name(verdict->source));
    cp_json_member_text(w, "disposition", verdict->disposition);
}

void cp_triage_reply_append(const cp_triage_outcome *outcome, cp_strbuf *out,
                            cp_triage_verdict *verdict) {
    cp_strbuf text;
    cp_json_writer w;
    cp_strbuf_init(&text, out->max_bytes);
    *verdict = cp_triage_combine(outcome->finding, put_response(outcome, &text));
    cp_json_writer_init(&w, out);
    cp_json_open_object(&w);
    cp_json_member_text(&w, "trace_id", outcome->trace_id);
    cp_json_member_text(&w, "patient_mrn", outcome->mrn);
    if (outcome->session_id)
        cp_json_member_text(&w, "session_id", outcome->session_id);
    cp_json_member_text(&w, "llm_mode", outcome->llm_mode);
    cp_json_member_text(&w, "model", outcome->model);
    cp_json_member_str(&w, "response", cp_strbuf_str(&text));
    bool failed = text.failed != CP_OK;
    if (outcome->reply->has_thinking) {
        cp_strbuf_clear(&text);
        cp_triage_clean_append(cp_strbuf_str(&outcome->reply->thinking), &text);
        cp_json_member_str(&w, "thinking", cp_strbuf_str(&text));
        failed |= text.failed != CP_OK;
    }
    put_verdict(&w, verdict);
    put_red_flags(&w, outcome->finding);
    cp_json_member_text(&w, "disclaimer", cp_triage_disclaimer);
    cp_json_member_text(&w, "finish_reason", cp_finish_name(outcome->reply->finish));
    put_usage(&w, outcome->reply);
    put_timings(&w, outcome);
    cp_json_member_int(&w, "seed", (int64_t)outcome->seed);
    cp_json_close_object(&w);
    cp_strbuf_putc(out, '\n');
    if (failed) /* an answer with a part missing is no answer */
        out->failed = CP_ERR_NO_MEMORY;
    cp_strbuf_deinit(&text);
}
