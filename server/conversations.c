#include "server/conversations.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define NS_PER_S         1000000000u
#define BYTES_OF_A_CHAIN ((size_t)4096) /* so many for each bucket: chains stay short */

typedef struct turn {
    int acuity;
    size_t n_question, n_answer;
    char texts[]; /* both, each with its NUL */
} turn;

typedef struct entry {
    cp_conversation_key key;
    struct entry *next;          /* in its bucket */
    struct entry *newer, *older; /* of its owner, by use */
    struct owner *owner;
    uint64_t used_ns;
    size_t n_bytes; /* with its turns */
    turn *turns[CP_CONVERSATION_TURNS];
    size_t n_turns, n_dropped;
    /* A conversation's flags, most urgent first; a patient's notes, newest first. */
    cp_conversation_note notes[CP_SAFETY_MAX_HITS];
    size_t n_notes;
} entry;

/* An API key with something kept. */
typedef struct owner {
    struct owner *next;
    char name[CP_KEY_ID_CAP];
    entry *newest, *oldest;
    size_t n_bytes;
} owner;

struct cp_conversations {
    cp_conversations_options options;
    uint64_t seed; /* of the hash, so that nobody can choose ids that meet in a bucket */
    entry **buckets;
    size_t n_buckets;     /* a power of two */
    pthread_mutex_t lock; /* of what follows, and of the buckets */
    owner *owners;
    cp_conversations_stats stats;
};

cp_moment cp_moment_now(void) {
    return (cp_moment){cp_clock_ns(), cp_clock_unix_s()};
}

/* ---- keys ------------------------------------------------------------------------------------ */

static bool put_field(char *field, size_t cap, const char *text) {
    size_t n = strlen(text);
    if (n < cap)
        memcpy(field, text, n);
    return n < cap;
}

cp_status cp_conversation_key_make(const char *owner_name, const char *mrn, const char *session_id,
                                   cp_conversation_key *out, cp_error *err) {
    memset(out, 0, sizeof *out);
    if (put_field(out->owner, sizeof out->owner, owner_name) &&
        put_field(out->mrn, sizeof out->mrn, mrn) &&
        put_field(out->session, sizeof out->session, session_id ? session_id : ""))
        return CP_OK;
    return cp_error_set(err, CP_ERR_LIMIT, "a conversation's key is too long");
}

static cp_conversation_key patient_of(const cp_conversation_key *key) {
    cp_conversation_key patient = *key;
    memset(patient.session, 0, sizeof patient.session);
    return patient;
}

static bool is_patient(const entry *e) {
    return e->key.session[0] == '\0';
}

static entry **bucket_of(const cp_conversations *all, const cp_conversation_key *key) {
    uint64_t hash = XXH3_64bits_withSeed(key, sizeof *key, all->seed);
    return &all->buckets[hash & (all->n_buckets - 1)];
}

/* ---- who holds what -------------------------------------------------------------------------- */

static void account(cp_conversations *all, entry *e, size_t more, size_t less) {
    e->n_bytes += more - less;
    e->owner->n_bytes += more - less;
    all->stats.n_bytes += more - less;
}

static void link_newest(entry *e) {
    owner *o = e->owner;
    e->newer = NULL;
    e->older = o->newest;
    *(o->newest ? &o->newest->newer : &o->oldest) = e;
    o->newest = e;
}

static void unlink_use(entry *e) {
    owner *o = e->owner;
    *(e->older ? &e->older->newer : &o->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &o->newest) = e->older;
}

static owner *owner_of(cp_conversations *all, const char *name) {
    for (owner *o = all->owners; o; o = o->next)
        if (strcmp(o->name, name) == 0)
            return o;
    owner *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    memcpy(o->name, name, strlen(name) + 1);
    o->next = all->owners;
    all->owners = o;
    return o;
}

static void drop_owner(cp_conversations *all, owner *gone) {
    owner **at = &all->owners;
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    free(gone);
}

/* ---- entries --------------------------------------------------------------------------------- */

static size_t turn_bytes(const turn *t) {
    return sizeof *t + t->n_question + t->n_answer + 2;
}

static void free_turn(turn *t) {
    cp_wipe(t, turn_bytes(t));
    free(t);
}

static void drop_entry(cp_conversations *all, entry *e) {
    owner *o = e->owner;
    entry **at = bucket_of(all, &e->key);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    unlink_use(e);
    account(all, e, 0, e->n_bytes);
    for (size_t i = 0; i < e->n_turns; i++)
        free_turn(e->turns[i]);
    *(is_patient(e) ? &all->stats.n_patients : &all->stats.n_conversations) -= 1;
    cp_wipe(e, sizeof *e);
    free(e);
    if (!o->newest)
        drop_owner(all, o);
}

static bool is_past(uint64_t since_ns, int64_t ttl_s, cp_moment now) {
    return now.ns >= since_ns && now.ns - since_ns >= (uint64_t)ttl_s * NS_PER_S;
}

/* Drops the notes that are too old: they are the last ones. */
static void prune_notes(const cp_conversations *all, entry *e, cp_moment now) {
    while (e->n_notes > 0 && is_past(e->notes[e->n_notes - 1].at.ns, all->options.notes_ttl_s, now))
        e->n_notes--;
}

static bool has_expired(const cp_conversations *all, entry *e, cp_moment now) {
    if (!is_patient(e))
        return is_past(e->used_ns, all->options.ttl_s, now);
    prune_notes(all, e, now);
    return e->n_notes == 0;
}

static void touch(entry *e, cp_moment now) {
    unlink_use(e);
    link_newest(e);
    e->used_ns = now.ns > e->used_ns ? now.ns : e->used_ns;
}

/* NULL when there is none, or none any more. */
static entry *find(cp_conversations *all, const cp_conversation_key *key, cp_moment now) {
    entry *e = *bucket_of(all, key);
    while (e && memcmp(&e->key, key, sizeof *key) != 0)
        e = e->next;
    if (e && has_expired(all, e, now)) {
        drop_entry(all, e);
        all->stats.n_expired++;
        return NULL;
    }
    if (e)
        touch(e, now);
    return e;
}

/* What rested longest of the key that holds most, but not `keep`. */
static entry *next_to_go(const cp_conversations *all, const entry *keep) {
    entry *best = NULL;
    for (owner *o = all->owners; o; o = o->next) {
        entry *oldest = o->oldest == keep ? keep->newer : o->oldest;
        if (oldest && (!best || o->n_bytes > best->owner->n_bytes))
            best = oldest;
    }
    return best;
}

static void make_room(cp_conversations *all, const entry *keep) {
    entry *e;
    while (all->stats.n_bytes > all->options.max_bytes && (e = next_to_go(all, keep))) {
        drop_entry(all, e);
        all->stats.n_evicted++;
    }
}

/* The entry, made where it is missing; NULL without memory. */
static entry *get(cp_conversations *all, const cp_conversation_key *key, cp_moment now) {
    entry *e = find(all, key, now);
    if (e)
        return e;
    e = calloc(1, sizeof *e);
    owner *o = e ? owner_of(all, key->owner) : NULL;
    if (!o) {
        free(e);
        return NULL;
    }
    entry **bucket = bucket_of(all, key);
    e->key = *key;
    e->owner = o;
    e->used_ns = now.ns;
    e->next = *bucket;
    *bucket = e;
    link_newest(e);
    account(all, e, sizeof *e, 0);
    *(is_patient(e) ? &all->stats.n_patients : &all->stats.n_conversations) += 1;
    make_room(all, e);
    return e;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool copy_turn(const turn *from, cp_conversation_turn *to) {
    size_t n = from->n_question + from->n_answer + 2;
    char *texts = malloc(n);
    if (!texts)
        return false;
    memcpy(texts, from->texts, n);
    to->acuity = from->acuity;
    to->question = texts;
    to->answer = texts + from->n_question + 1;
    return true;
}

static bool copy_entry(const entry *e, cp_conversation *out) {
    out->n_dropped = e->n_dropped;
    out->n_flags = e->n_notes;
    memcpy(out->flags, e->notes, sizeof e->notes);
    for (; out->n_turns < e->n_turns; out->n_turns++)
        if (!copy_turn(e->turns[out->n_turns], &out->turns[out->n_turns]))
            return false;
    return true;
}

cp_status cp_conversations_read(cp_conversations *all, const cp_conversation_key *key,
                                cp_moment now, cp_conversation *out, cp_error *err) {
    const cp_conversation_key patient = patient_of(key);
    const entry *e;
    bool whole = true;
    memset(out, 0, sizeof *out);
    if (all->options.ttl_s == 0)
        return CP_OK;
    pthread_mutex_lock(&all->lock);
    if (key->session[0] && (e = find(all, key, now)))
        whole = copy_entry(e, out);
    if ((e = find(all, &patient, now))) {
        out->n_notes = e->n_notes;
        memcpy(out->notes, e->notes, sizeof e->notes);
    }
    pthread_mutex_unlock(&all->lock);
    return whole ? CP_OK : cp_error_no_memory(err, "a conversation");
}

void cp_conversation_deinit(cp_conversation *c) {
    for (size_t i = 0; i < c->n_turns; i++) {
        char *texts = (char *)(uintptr_t)c->turns[i].question;
        cp_wipe(texts, strlen(texts) + strlen(c->turns[i].answer) + 2);
        free(texts);
    }
    cp_wipe(c, sizeof *c);
}

/* ---- writing --------------------------------------------------------------------------------- */

static size_t place_of(const entry *e, const cp_safety_rule *rule) {
    size_t i = 0;
    while (i < e->n_notes && e->notes[i].rule != rule)
        i++;
    return i;
}

/* At `place`; the last one goes where there are too many. */
static void insert_note(entry *e, size_t place, cp_conversation_note note) {
    if (e->n_notes < CP_SAFETY_MAX_HITS)
        e->n_notes++;
    for (size_t i = e->n_notes - 1; i > place; i--)
        e->notes[i] = e->notes[i - 1];
    e->notes[place] = note;
}

static void add_flag(entry *e, cp_conversation_note flag) {
    size_t place = 0;
    if (place_of(e, flag.rule) < e->n_notes)
        return;
    while (place < e->n_notes && e->notes[place].rule->acuity <= flag.rule->acuity)
        place++;
    if (place < CP_SAFETY_MAX_HITS)
        insert_note(e, place, flag);
}

/* `anew`: it fired by what was said now, so its date is today's. */
static void add_note(entry *e, cp_conversation_note note, bool anew) {
    size_t known = place_of(e, note.rule);
    if (known < e->n_notes && !anew)
        return;
    if (known < e->n_notes) {
        memmove(&e->notes[known], &e->notes[known + 1],
                (e->n_notes - known - 1) * sizeof *e->notes);
        e->n_notes--;
    }
    insert_note(e, 0, note);
}

static bool note_flags(cp_conversations *all, const cp_conversation_key *key, cp_moment now,
                       const cp_safety_finding *finding) {
    size_t n = cp_safety_n_flags(finding);
    entry *e = n > 0 ? get(all, key, now) : NULL;
    for (size_t i = 0; e && i < n; i++)
        add_flag(e, (cp_conversation_note){finding->rules[i], now});
    return n == 0 || e;
}

static bool note_patient(cp_conversations *all, const cp_conversation_key *key, cp_moment now,
                         const cp_safety_finding *finding) {
    const cp_conversation_key patient = patient_of(key);
    bool worth = finding->n > 0 && finding->rules[0]->acuity <= CP_CONVERSATION_LEAST_NOTE;
    if (!worth || all->options.notes_ttl_s == 0)
        return true;
    entry *e = get(all, &patient, now);
    for (size_t i = finding->n; e && i-- > 0;) /* so that the most urgent comes first */
        if (finding->rules[i]->acuity <= CP_CONVERSATION_LEAST_NOTE)
            add_note(e, (cp_conversation_note){finding->rules[i], now}, !finding->earlier[i]);
    return e != NULL;
}

cp_status cp_conversations_note(cp_conversations *all, const cp_conversation_key *key,
                                cp_moment now, const cp_safety_finding *finding, cp_error *err) {
    if (all->options.ttl_s == 0 || !key->session[0])
        return CP_OK;
    pthread_mutex_lock(&all->lock);
    bool done = note_patient(all, key, now, finding) && note_flags(all, key, now, finding);
    pthread_mutex_unlock(&all->lock);
    return done ? CP_OK : cp_error_no_memory(err, "a conversation");
}

/* Bytes of `text` that are kept: whole characters, `most` at most. */
static size_t kept_bytes(const char *text, size_t most) {
    size_t n = strlen(text);
    if (n <= most)
        return n;
    for (n = most; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;)
        n--;
    return n;
}

static turn *make_turn(const cp_conversation_turn *from) {
    size_t n_question = kept_bytes(from->question, CP_CONVERSATION_QUESTION_BYTES),
           n_answer = kept_bytes(from->answer, CP_CONVERSATION_ANSWER_BYTES);
    turn *t = calloc(1, sizeof *t + n_question + n_answer + 2);
    if (!t)
        return NULL;
    t->acuity = from->acuity;
    t->n_question = n_question;
    t->n_answer = n_answer;
    memcpy(t->texts, from->question, n_question);
    memcpy(t->texts + n_question + 1, from->answer, n_answer);
    return t;
}

static void push_turn(cp_conversations *all, entry *e, turn *t) {
    if (e->n_turns == CP_CONVERSATION_TURNS) {
        account(all, e, 0, turn_bytes(e->turns[0]));
        free_turn(e->turns[0]);
        memmove(&e->turns[0], &e->turns[1], (CP_CONVERSATION_TURNS - 1) * sizeof(turn *));
        e->n_turns--;
        e->n_dropped++;
    }
    e->turns[e->n_turns++] = t;
    account(all, e, turn_bytes(t), 0);
    make_room(all, e);
}

cp_status cp_conversations_add(cp_conversations *all, const cp_conversation_key *key, cp_moment now,
                               const cp_conversation_turn *said, cp_error *err) {
    if (all->options.ttl_s == 0 || !key->session[0])
        return CP_OK;
    turn *t = make_turn(said);
    if (!t)
        return cp_error_no_memory(err, "a conversation");
    pthread_mutex_lock(&all->lock);
    entry *e = get(all, key, now);
    if (e)
        push_turn(all, e, t);
    pthread_mutex_unlock(&all->lock);
    if (e)
        return CP_OK;
    free_turn(t);
    return cp_error_no_memory(err, "a conversation");
}

/* ---- the whole ------------------------------------------------------------------------------- */

void cp_conversations_sweep(cp_conversations *all, cp_moment now) {
    pthread_mutex_lock(&all->lock);
    for (owner *o = all->owners, *next_owner; o; o = next_owner) {
        next_owner = o->next; /* `o` goes with its last entry */
        for (entry *e = o->oldest, *next; e; e = next) {
            next = e->newer;
            if (!has_expired(all, e, now))
                continue;
            drop_entry(all, e);
            all->stats.n_expired++;
        }
    }
    pthread_mutex_unlock(&all->lock);
}

cp_conversations_stats cp_conversations_get_stats(cp_conversations *all) {
    pthread_mutex_lock(&all->lock);
    cp_conversations_stats stats = all->stats;
    pthread_mutex_unlock(&all->lock);
    return stats;
}

cp_status cp_conversations_create(const cp_conversations_options *options, cp_conversations **out,
                                  cp_error *err) {
    *out = NULL;
    cp_conversations *all = calloc(1, sizeof *all);
    if (!all)
        return cp_error_no_memory(err, "conversations");
    all->options = *options;
    all->n_buckets = 16;
    while (all->n_buckets < options->max_bytes / BYTES_OF_A_CHAIN)
        all->n_buckets *= 2;
    all->buckets = calloc(all->n_buckets, sizeof *all->buckets);
    cp_status status = all->buckets ? cp_random_bytes(&all->seed, sizeof all->seed, err)
                                    : cp_error_no_memory(err, "conversations");
    if (status != CP_OK) {
        free(all->buckets);
        free(all);
        return status;
    }
    pthread_mutex_init(&all->lock, NULL);
    *out = all;
    return CP_OK;
}

void cp_conversations_free(cp_conversations *all) {
    if (!all)
        return;
    while (all->owners)
        drop_entry(all, all->owners->oldest);
    pthread_mutex_destroy(&all->lock);
    free(all->buckets);
    free(all);
}
