#include "llm/scheduler.h"

#include "base/clock.h"
#include "base/mem.h"
#include "llm/generation.h"

#include <stdlib.h>
#include <string.h>

#define MAX_RUNNING     64
#define PAUSE_MS        170.0
#define ALONE_MS        500.0 /* a step that nobody waits for; a client's leaving is seen between */
#define FIRST_CHUNK     32    /* before anything was measured */
#define LEAST_CHUNK     8
#define ROWS_WITH_DRAFT 8 /* rows that cost little more than one */
#define MEMORY          0.8
#define EXPECTED_TOKENS 256.0 /* of an answer, before one was seen */

typedef struct list {
    cp_generation *first, **last;
    size_t n;
} list;

struct cp_scheduler {
    cp_llm *llm;
    cp_scheduler_options options;
    cp_kv_pool *pool;
    size_t n_reserved; /* blocks that the running ones may come to need */
    list waiting, running, done;
    cp_sampler **samplers;                           /* [max_running]; NULL until first used */
    bool *in_use;                                    /* [max_running] */
    double token_ms, prompt_token_ms, answer_tokens; /* averages; 0 before the first */
    uint64_t n_steps, n_rows;
    uint64_t begun_ns,
        expired_s;       /* when it was made; the second after it that was looked at last */
    cp_step_part *parts; /* [max_running], of the running step */
    cp_generation **whose;
    size_t n_parts;
};

/* ---- lists ----------------------------------------------------------------------------------- */

static void list_init(list *l) {
    *l = (list){.last = &l->first};
}

static void list_add(list *l, cp_generation *g) {
    g->next = NULL;
    *l->last = g;
    l->last = &g->next;
    l->n++;
}

/* Takes out what `at` points to. */
static cp_generation *list_take(list *l, cp_generation **at) {
    cp_generation *g = *at;
    *at = g->next;
    if (l->last == &g->next)
        l->last = at;
    l->n--;
    g->next = NULL;
    return g;
}

/* ---- life ------------------------------------------------------------------------------------ */

cp_status cp_scheduler_create(cp_llm *llm, const cp_scheduler_options *options, cp_scheduler **out,
                              cp_error *err) {
    size_t context = cp_llm_context(llm);
    *out = NULL;
    cp_scheduler *s = calloc(1, sizeof *s);
    if (!s)
        return cp_error_no_memory(err, "scheduler");
    s->llm = llm;
    s->options = *options;
    cp_scheduler_options *o = &s->options;
    o->max_running = o->max_running == 0 ? 1 : o->max_running;
    o->max_running = o->max_running < MAX_RUNNING ? o->max_running : MAX_RUNNING;
    o->kv_tokens = o->kv_tokens > context ? o->kv_tokens : context;
    o->pause_ms = o->pause_ms > 0 ? o->pause_ms : PAUSE_MS;
    o->now_ns = o->now_ns ? o->now_ns : cp_clock_ns;
    s->begun_ns = o->kv_ttl_s > 0 ? o->now_ns() : 0;
    list_init(&s->waiting);
    list_init(&s->running);
    list_init(&s->done);
    s->samplers = calloc(o->max_running, sizeof(*s->samplers));
    s->in_use = calloc(o->max_running, sizeof *s->in_use);
    s->parts = calloc(o->max_running, sizeof *s->parts);
    s->whose = calloc(o->max_running, sizeof(*s->whose));
    cp_status status = s->samplers && s->in_use && s->parts && s->whose
                           ? cp_engine_make_pool(llm->engine, o->kv_tokens, &s->pool, err)
                           : cp_error_no_memory(err, "scheduler");
    if (status == CP_OK)
        *out = s;
    else
        cp_scheduler_free(s);
    return status;
}

void cp_scheduler_free(cp_scheduler *s) {
    if (!s)
        return;
    for (size_t i = 0; s->samplers && i < s->options.max_running; i++)
        cp_sampler_free(s->samplers[i]);
    cp_kv_pool_free(s->pool);
    free(s->samplers);
    free(s->in_use);
    free(s->parts);
    free(s->whose);
    free(s);
}

void cp_scheduler_add(cp_scheduler *s, cp_generation *g) {
    list_add(&s->waiting, g);
}

cp_generation *cp_scheduler_take_done(cp_scheduler *s) {
    return s->done.first ? list_take(&s->done, &s->done.first) : NULL;
}

/* ---- places ---------------------------------------------------------------------------------- */

/* Tokens that the generation's session may come to hold. */
static size_t most_tokens(const cp_generation *g) {
    size_t context = cp_llm_context(g->llm), n = g->result.prompt_tokens + g->room;
    return n < context ? n : context;
}

static void give_back(cp_scheduler *s, cp_generation *g) {
    if (g->sampler)
        for (size_t i = 0; i < s->options.max_running; i++)
            if (s->samplers[i] == g->sampler)
                s->in_use[i] = false;
    if (g->session) {
        s->n_reserved -= cp_kv_blocks(most_tokens(g));
        cp_session_publish(g->session, true);
        cp_session_free(g->session);
    }
    g->session = NULL;
    g->sampler = NULL;
}

static void retire_done(cp_scheduler *s, list *from) {
    for (cp_generation **at = &from->first; *at;) {
        if (!(*at)->is_done) {
            at = &(*at)->next;
            continue;
        }
        cp_generation *g = list_take(from, at);
        if (g->result.finish == CP_FINISH_STOP) {
            double n = (double)g->result.sampled_tokens;
            s->answer_tokens =
                s->answer_tokens > 0 ? MEMORY * s->answer_tokens + (1 - MEMORY) * n : n;
        }
        give_back(s, g);
        list_add(&s->done, g);
    }
}

static cp_status lend_sampler(cp_scheduler *s, cp_sampler **out, cp_error *err) {
    size_t i = 0;
    while (s->in_use[i]) /* fewer run than there are samplers */
        i++;
    if (!s->samplers[i]) {
        size_t vocab = cp_engine_config(s->llm->engine)->vocab_size;
        cp_status status = cp_sampler_create(vocab, &s->samplers[i], err);
        if (status != CP_OK)
            return status;
    }
    s->in_use[i] = true;
    *out = s->samplers[i];
    return CP_OK;
}

static void start(cp_scheduler *s, cp_generation *g, uint64_t now_ns) {
    cp_error err;
    cp_generation_start lent = {
        .speculates = !s->options.no_speculation,
        .now_ns = now_ns,
        .token_ms = s->token_ms,
        .prompt_token_ms = s->prompt_token_ms,
    };
    const char *owner = g->request.owner ? g->request.owner : "";
    cp_status status = lend_sampler(s, &lent.sampler, &err);
    g->sampler = lent.sampler;
    if (status == CP_OK && g->request.schema)
        status = cp_llm_prepare_structured(s->llm, &err);
    lent.masks = s->llm->masks;
    if (status == CP_OK)
        status = cp_session_create_in(s->llm->engine, s->pool, owner, most_tokens(g), &lent.session,
                                      &err);
    if (status != CP_OK) {
        cp_generation_fail(g, status, &err);
        return;
    }
    s->n_reserved += cp_kv_blocks(most_tokens(g));
    cp_generation_begin(g, &lent);
}

static bool same_owner(const cp_generation *a, const cp_generation *b) {
    const char *x = a->request.owner ? a->request.owner : "";
    const char *y = b->request.owner ? b->request.owner : "";
    return strcmp(x, y) == 0;
}

/* The one that waits longest among those whose owner has the fewest running. */
static cp_generation **next_in_turn(cp_scheduler *s) {
    cp_generation **best = NULL;
    size_t least = SIZE_MAX;
    for (cp_generation **at = &s->waiting.first; *at; at = &(*at)->next) {
        size_t n = 0;
        for (const cp_generation *r = s->running.first; r; r = r->next)
            n += same_owner(*at, r);
        if (n < least) {
            least = n;
            best = at;
        }
    }
    return best;
}

/* Whoever's turn it is waits until its memory is there: none overtakes it, so it never starves. */
static void admit(cp_scheduler *s, uint64_t now_ns) {
    size_t n_blocks = cp_kv_pool_get_stats(s->pool).n_blocks;
    while (s->waiting.n > 0 && s->running.n < s->options.max_running) {
        cp_generation **at = next_in_turn(s);
        if (cp_kv_blocks(most_tokens(*at)) > n_blocks - s->n_reserved)
            return;
        cp_generation *g = list_take(&s->waiting, at);
        list_add(&s->running, g);
        start(s, g, now_ns);
    }
}

/* ---- a step ---------------------------------------------------------------------------------- */

static void add_part(cp_scheduler *s, cp_generation *g, size_t most, size_t n_draft,
                     size_t *rows_left) {
    cp_generation_next(g, most, n_draft, &s->parts[s->n_parts]);
    *rows_left -= s->parts[s->n_parts].n;
    s->whose[s->n_parts++] = g;
}

/* How many tokens of prompts a step may take. */
static size_t chunk_size(const cp_scheduler *s, bool others) {
    if (s->prompt_token_ms <= 0)
        return FIRST_CHUNK;
    double ms = others ? s->options.pause_ms - s->token_ms : ALONE_MS;
    double n = ms > 0 ? ms / s->prompt_token_ms : 0;
    if (n < LEAST_CHUNK)
        return LEAST_CHUNK;
    return n < CP_STEP_MAX_TOKENS ? (size_t)n : CP_STEP_MAX_TOKENS;
}

/* The writers' tokens, then the readers' even shares of a chunk. Returns the rows of the latter. */
static size_t compose(cp_scheduler *s) {
    size_t left = CP_STEP_MAX_TOKENS, n_writers = 0, n_readers = 0;
    s->n_parts = 0;
    for (const cp_generation *g = s->running.first; g; g = g->next)
        cp_generation_is_reading(g) ? n_readers++ : n_writers++;
    size_t spare = n_writers < ROWS_WITH_DRAFT ? ROWS_WITH_DRAFT - n_writers : 0;
    for (cp_generation *g = s->running.first; g; g = g->next)
        if (!cp_generation_is_reading(g) && left > 0)
            add_part(s, g, left, n_readers == 0 ? spare / n_writers : 0, &left);
    size_t chunk = chunk_size(s, n_writers > 0), rows = 0;
    chunk = chunk < left ? chunk : left;
    for (cp_generation *g = s->running.first; g && chunk > 0; g = g->next)
        if (cp_generation_is_reading(g)) {
            size_t before = chunk;
            add_part(s, g, (chunk + n_readers - 1) / n_readers, 0, &chunk);
            rows += before - chunk;
            n_readers--;
        }
    return rows;
}

static void take_logits(void *user, size_t part, size_t token, const float *logits) {
    cp_scheduler *s = user;
    cp_generation_take_logits(s->whose[part], token, logits);
}

static void note_average(double *average, double x) {
    *average = *average > 0 ? MEMORY * *average + (1 - MEMORY) * x : x;
}

static void note_speed(cp_scheduler *s, double ms, size_t n_prompt_rows, size_t n_rows) {
    if (n_prompt_rows == 0)
        note_average(&s->token_ms, ms);
    else if (n_prompt_rows >= LEAST_CHUNK && n_prompt_rows < n_rows)
        note_average(&s->prompt_token_ms,
                     (ms > s->token_ms ? ms - s->token_ms : ms) / (double)n_prompt_rows);
    else if (n_prompt_rows >= LEAST_CHUNK)
        note_average(&s->prompt_token_ms, ms / (double)n_prompt_rows);
}

static size_t n_rows(const cp_scheduler *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_parts; i++)
        n += s->parts[i].n;
    return n;
}

static void run_step(cp_scheduler *s, uint64_t begun_ns) {
    cp_error err;
    const cp_step_hooks hooks = {.on_logits = take_logits, .user = s};
    size_t n_prompt_rows = compose(s);
    if (s->n_parts == 0)
        return;
    cp_status status = cp_engine_step(s->llm->engine, s->parts, s->n_parts, &hooks, &err);
    uint64_t now_ns = s->options.now_ns();
    for (size_t i = 0; i < s->n_parts; i++) {
        if (status != CP_OK) {
            cp_generation_fail(s->whose[i], status, &err);
            continue;
        }
        cp_generation_settle(s->whose[i], now_ns);
        cp_session_publish(s->whose[i]->session, false);
    }
    s->n_steps++;
    s->n_rows += n_rows(s);
    note_speed(s, (double)(now_ns - begun_ns) / 1e6, n_prompt_rows, n_rows(s));
}

bool cp_scheduler_step(cp_scheduler *s) {
    uint64_t now_ns = s->options.now_ns();
    if (s->waiting.n + s->running.n == 0)
        return false;
    for (cp_generation *g = s->waiting.first; g; g = g->next)
        cp_generation_look(g, now_ns, s->token_ms);
    for (cp_generation *g = s->running.first; g; g = g->next)
        cp_generation_look(g, now_ns, s->token_ms);
    retire_done(s, &s->waiting);
    retire_done(s, &s->running);
    admit(s, now_ns);
    retire_done(s, &s->running);
    run_step(s, s->options.now_ns());
    retire_done(s, &s->running);
    return true;
}

bool cp_scheduler_expire(cp_scheduler *s) {
    if (s->options.kv_ttl_s == 0)
        return false;
    uint64_t now_s = (s->options.now_ns() - s->begun_ns) / 1000000000u;
    if (now_s != s->expired_s)
        cp_kv_pool_expire(s->pool, now_s, s->options.kv_ttl_s);
    s->expired_s = now_s;
    return cp_kv_pool_get_stats(s->pool).n_left > 0;
}

/* ---- looking --------------------------------------------------------------------------------- */

/* Expected milliseconds of the engine for one generation alone in the list's order. */
static double expected_ms(const cp_scheduler *s, const cp_generation *g) {
    double answer = s->answer_tokens > 0 ? s->answer_tokens : EXPECTED_TOKENS;
    double most = (double)(g->max_new - g->result.sampled_tokens);
    double tokens = answer - (double)g->result.sampled_tokens;
    tokens = tokens < 1 ? 1 : tokens;
    tokens = tokens < most ? tokens : most;
    size_t unread = cp_generation_is_reading(g) ? cp_generation_n_pending(g) : 0;
    return (double)unread * s->prompt_token_ms +
           tokens * s->token_ms / (double)s->options.max_running;
}

cp_scheduler_stats cp_scheduler_get_stats(const cp_scheduler *s) {
    cp_scheduler_stats stats = {
        .n_waiting = s->waiting.n,
        .n_running = s->running.n,
        .kv = cp_kv_pool_get_stats(s->pool),
        .n_steps = s->n_steps,
        .n_rows = s->n_rows,
        .token_ms = s->token_ms,
        .prompt_token_ms = s->prompt_token_ms,
    };
    for (const cp_generation *g = s->running.first; g; g = g->next)
        stats.backlog_ms += expected_ms(s, g);
    for (const cp_generation *g = s->waiting.first; g; g = g->next)
        stats.backlog_ms += expected_ms(s, g);
    return stats;
}
