/* Conversations in memory: who finds what, how long, how much, and what is left afterwards. The
 * clock is simulated. */
#include "tests/test.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "server/conversations.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#define SECOND ((uint64_t)1000000000u)
#define MIB    ((size_t)1 << 20)

static const cp_safety_rule rules[] = {
    {.id = "r1", .title = "One", .acuity = 1},  {.id = "r2", .title = "Two", .acuity = 2},
    {.id = "r2b", .title = "Too", .acuity = 2}, {.id = "r3", .title = "Three", .acuity = 3},
    {.id = "r4", .title = "Four", .acuity = 4}, {.id = "r5", .title = "Five", .acuity = 5},
};

static cp_conversations *make(size_t max_bytes, int64_t ttl_s, int64_t notes_ttl_s) {
    const cp_conversations_options options = {max_bytes, ttl_s, notes_ttl_s};
    cp_conversations *all;
    cp_error err;
    assert_cp_ok(cp_conversations_create(&options, &all, &err));
    return all;
}

static cp_conversation_key key_of(const char *owner, const char *mrn, const char *session) {
    cp_conversation_key key;
    cp_error err;
    assert_cp_ok(cp_conversation_key_make(owner, mrn, session, &key, &err));
    return key;
}

/* Seconds of the simulated clock; the date is a day's a second. */
static cp_moment at(uint64_t seconds) {
    return (cp_moment){seconds * SECOND, 1795284393 + (int64_t)seconds * 86400};
}

static void say(cp_conversations *all, const cp_conversation_key *key, cp_moment now,
                const char *question) {
    cp_error err;
    const cp_conversation_turn turn = {.acuity = 3, .question = question, .answer = "an answer"};
    assert_cp_ok(cp_conversations_add(all, key, now, &turn, &err));
}

static void note(cp_conversations *all, const cp_conversation_key *key, cp_moment now,
                 const cp_safety_rule *rule, bool earlier) {
    const cp_safety_finding finding = {.rules = {rule}, .earlier = {earlier}, .n = 1};
    cp_error err;
    assert_cp_ok(cp_conversations_note(all, key, now, &finding, &err));
}

static cp_conversation read_at(cp_conversations *all, const cp_conversation_key *key,
                               cp_moment now) {
    cp_conversation c;
    cp_error err;
    assert_cp_ok(cp_conversations_read(all, key, now, &c, &err));
    return c;
}

static size_t n_turns(cp_conversations *all, const cp_conversation_key *key, cp_moment now) {
    cp_conversation c = read_at(all, key, now);
    size_t n = c.n_turns;
    cp_conversation_deinit(&c);
    return n;
}

/* ---- who finds what -------------------------------------------------------------------------- */

static void a_turn_is_found_with_its_number_and_order(void **state) {
    cp_conversations *all = make(MIB, 60, 60);
    const cp_conversation_key key = key_of("k", "M", "s");
    (void)state;
    say(all, &key, at(0), "first");
    say(all, &key, at(1), "second");
    cp_conversation c = read_at(all, &key, at(2));
    assert_int_equal(c.n_turns, 2);
    assert_string_equal(c.turns[0].question, "first");
    assert_string_equal(c.turns[1].question, "second");
    assert_string_equal(c.turns[1].answer, "an answer");
    assert_int_equal(c.turns[1].acuity, 3);
    cp_conversation_deinit(&c);
    cp_conversations_free(all);
}

/* Parts that run into each other, differ in a letter's case, or are empty. */
static void keys_that_look_alike_are_others(void **state) {
    static const char *const parts[] = {"", "a", "b", "ab", "aa", "A", "a-", "-a", "aab"};
    enum { N = sizeof parts / sizeof *parts };
    cp_conversations *all = make(8 * MIB, 60, 60);
    (void)state;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < N * N * N; i++) {
            const char *owner = parts[i % N], *mrn = parts[i / N % N], *session = parts[i / N / N];
            char text[64];
            if (!*session)
                continue; /* stands for no session at all: nothing is kept */
            snprintf(text, sizeof text, "%s/%s/%s", owner, mrn, session);
            const cp_conversation_key key = key_of(owner, mrn, session);
            if (pass == 0) {
                say(all, &key, at(0), text);
                continue;
            }
            cp_conversation c = read_at(all, &key, at(1));
            assert_int_equal(c.n_turns, 1);
            assert_string_equal(c.turns[0].question, text);
            cp_conversation_deinit(&c);
        }
    cp_conversations_free(all);
}

static void too_long_parts_are_refused(void **state) {
    char text[200];
    cp_conversation_key key;
    cp_error err;
    (void)state;
    memset(text, 'x', sizeof text);
    text[CP_SESSION_ID_CAP] = '\0';
    assert_int_equal(cp_conversation_key_make("k", "M", text, &key, &err), CP_ERR_LIMIT);
    assert_int_equal(cp_conversation_key_make(text, "M", "s", &key, &err), CP_ERR_LIMIT);
    assert_int_equal(cp_conversation_key_make("k", text, "s", &key, &err), CP_ERR_LIMIT);
    text[CP_SESSION_ID_CAP - 1] = '\0';
    assert_cp_ok(cp_conversation_key_make("k", "M", text, &key, &err));
    assert_string_equal(key.session, text);
}

static void without_a_session_or_a_time_nothing_is_kept(void **state) {
    const cp_conversation_key key = key_of("k", "M", "s"), none = key_of("k", "M", NULL);
    (void)state;
    for (int64_t ttl_s = 0; ttl_s <= 60; ttl_s += 60) {
        cp_conversations *all = make(MIB, ttl_s, 60);
        const cp_conversation_key *asked = ttl_s == 0 ? &key : &none;
        say(all, asked, at(0), "text");
        note(all, asked, at(0), &rules[0], false);
        cp_conversation c = read_at(all, asked, at(0));
        assert_true(c.n_turns == 0 && c.n_flags == 0 && c.n_notes == 0);
        cp_conversation_deinit(&c);
        assert_int_equal(cp_conversations_get_stats(all).n_bytes, 0);
        cp_conversations_free(all);
    }
}

/* ---- together -------------------------------------------------------------------------------- */

#define N_THREADS 6
#define N_ROUNDS  4000

typedef struct talker {
    cp_conversations *all;
    uint64_t seed;
    size_t n_seen, n_crossed;
} talker;

static cp_conversation_key random_key(uint64_t *seed, char text[80]) {
    static const char *const owners[] = {"", "k", "k-1", "k-11"};
    static const char *const mrns[] = {"M1", "M11", "1M1"};
    static const char *const sessions[] = {"s", "1s", "s1", "11"};
    const char *owner = owners[test_random(seed) % 4], *mrn = mrns[test_random(seed) % 3],
               *session = sessions[test_random(seed) % 4];
    snprintf(text, 80, "%s|%s|%s", owner, mrn, session);
    return key_of(owner, mrn, session);
}

/* Says and reads under random keys; every text that is found must be its key's. */
static void *talk(void *arg) {
    talker *t = arg;
    cp_error err;
    for (int i = 0; i < N_ROUNDS; i++) {
        char text[80];
        const cp_conversation_key key = random_key(&t->seed, text);
        const cp_moment now = at((uint64_t)i / 40);
        uint64_t what = test_random(&t->seed) % 8;
        const cp_conversation_turn turn = {.question = text, .answer = text};
        const cp_safety_finding finding = {.rules = {&rules[what % 5]}, .n = 1};
        cp_conversation c;
        cp_status status = CP_OK;
        if (what < 4)
            status = cp_conversations_add(t->all, &key, now, &turn, &err);
        else if (what == 4)
            status = cp_conversations_note(t->all, &key, now, &finding, &err);
        else if (what == 5)
            cp_conversations_sweep(t->all, now);
        t->n_crossed += status != CP_OK;
        if (cp_conversations_read(t->all, &key, now, &c, &err) != CP_OK)
            t->n_crossed++;
        for (size_t k = 0; k < c.n_turns; k++) {
            t->n_crossed += strcmp(c.turns[k].question, text) != 0;
            t->n_crossed += strcmp(c.turns[k].answer, text) != 0;
            t->n_seen++;
        }
        cp_conversation_deinit(&c);
    }
    return NULL;
}

static void nothing_crosses_between_keys_whoever_talks(void **state) {
    talker talkers[N_THREADS];
    pthread_t threads[N_THREADS];
    cp_conversations *all = make(MIB / 32, 20, 10); /* small: some go for want of room, too */
    size_t n_seen = 0;
    (void)state;
    for (size_t i = 0; i < N_THREADS; i++) {
        talkers[i] = (talker){.all = all, .seed = 100 + i};
        assert_int_equal(pthread_create(&threads[i], NULL, talk, &talkers[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(talkers[i].n_crossed, 0);
        n_seen += talkers[i].n_seen;
    }
    assert_true(n_seen > N_ROUNDS);
    assert_true(cp_conversations_get_stats(all).n_evicted > 0);
    cp_conversations_sweep(all, at(1000));
    cp_conversations_stats stats = cp_conversations_get_stats(all);
    assert_true(stats.n_bytes == 0 && stats.n_conversations == 0 && stats.n_patients == 0);
    cp_conversations_free(all);
}

/* ---- how long -------------------------------------------------------------------------------- */

static void a_conversation_ends_when_nobody_goes_on(void **state) {
    cp_conversations *all = make(MIB, 60, 600);
    const cp_conversation_key key = key_of("k", "M", "s");
    (void)state;
    say(all, &key, at(0), "one");
    assert_int_equal(n_turns(all, &key, at(59)), 1); /* read: its time begins anew */
    say(all, &key, at(118), "two");
    assert_int_equal(n_turns(all, &key, at(177)), 2);
    assert_int_equal(n_turns(all, &key, at(237)), 0);
    assert_int_equal(cp_conversations_get_stats(all).n_bytes, 0);
    assert_int_equal(cp_conversations_get_stats(all).n_expired, 1);
    say(all, &key, at(300), "three"); /* a new one */
    assert_int_equal(n_turns(all, &key, at(301)), 1);
    cp_conversations_sweep(all, at(360));
    assert_int_equal(cp_conversations_get_stats(all).n_conversations, 1);
    cp_conversations_sweep(all, at(361));
    assert_int_equal(cp_conversations_get_stats(all).n_conversations, 0);
    assert_int_equal(cp_conversations_get_stats(all).n_bytes, 0);
    cp_conversations_free(all);
}

static void notes_outlive_their_conversation(void **state) {
    cp_conversations *all = make(MIB, 60, 600);
    const cp_conversation_key key = key_of("k", "M", "s"), later = key_of("k", "M", "t"),
                              patient = key_of("k", "M", NULL), other = key_of("j", "M", "s"),
                              neighbour = key_of("k", "N", "s");
    (void)state;
    note(all, &key, at(0), &rules[1], false);
    note(all, &key, at(10), &rules[4], false); /* worth a note, no flag */
    note(all, &key, at(20), &rules[5], false); /* neither */
    cp_conversation c = read_at(all, &key, at(21));
    assert_true(c.n_flags == 1 && c.flags[0].rule == &rules[1]);
    assert_true(c.n_notes == 2 && c.notes[0].rule == &rules[4] && c.notes[1].rule == &rules[1]);
    cp_conversation_deinit(&c);
    note(all, &key, at(30), &rules[1], true); /* carried on from an earlier turn: no news */
    c = read_at(all, &later, at(200));
    assert_true(c.n_flags == 0 && c.n_notes == 2);
    assert_int_equal(c.notes[1].at.unix_s, at(0).unix_s);
    cp_conversation_deinit(&c);
    note(all, &later, at(300), &rules[1], false); /* said again: its date is the later one */
    c = read_at(all, &patient, at(609));
    assert_true(c.n_notes == 2 && c.notes[0].rule == &rules[1]);
    cp_conversation_deinit(&c);
    c = read_at(all, &patient, at(610));
    assert_int_equal(c.n_notes, 1);
    cp_conversation_deinit(&c);
    c = read_at(all, &other, at(610));
    assert_int_equal(c.n_notes, 0);
    cp_conversation_deinit(&c);
    c = read_at(all, &neighbour, at(610));
    assert_int_equal(c.n_notes, 0);
    cp_conversation_deinit(&c);
    cp_conversations_sweep(all, at(900));
    assert_int_equal(cp_conversations_get_stats(all).n_patients, 0);
    assert_int_equal(cp_conversations_get_stats(all).n_bytes, 0);
    cp_conversations_free(all);
}

/* ---- how much -------------------------------------------------------------------------------- */

static void the_newest_turns_and_all_flags_stay(void **state) {
    cp_conversations *all = make(MIB, 60, 600);
    const cp_conversation_key key = key_of("k", "M", "s");
    char text[16];
    (void)state;
    note(all, &key, at(0), &rules[3], false);
    for (int i = 0; i < CP_CONVERSATION_TURNS + 5; i++) {
        snprintf(text, sizeof text, "turn %d", i);
        say(all, &key, at(1), text);
    }
    note(all, &key, at(2), &rules[0], false);
    note(all, &key, at(3), &rules[3], false);
    cp_conversation c = read_at(all, &key, at(4));
    assert_int_equal(c.n_turns, CP_CONVERSATION_TURNS);
    assert_int_equal(c.n_dropped, 5);
    assert_string_equal(c.turns[0].question, "turn 5");
    assert_int_equal(c.n_flags, 2);
    assert_true(c.flags[0].rule == &rules[0] && c.flags[1].rule == &rules[3]);
    cp_conversation_deinit(&c);
    cp_conversations_free(all);
}

/* With more than fit the most urgent stay. */
static void the_most_urgent_flags_stay(void **state) {
    enum { MORE = CP_SAFETY_MAX_HITS + 6 };
    static cp_safety_rule many[MORE];
    cp_conversations *all = make(MIB, 60, 600);
    const cp_conversation_key key = key_of("k", "M", "s");
    (void)state;
    for (int i = 0; i < MORE; i++) {
        many[i] = (cp_safety_rule){.id = "x", .title = "X", .acuity = 3 - i / 8};
        note(all, &key, at((uint64_t)i), &many[i], false);
    }
    cp_conversation c = read_at(all, &key, at(30));
    assert_true(c.n_flags == CP_SAFETY_MAX_HITS && c.n_notes == CP_SAFETY_MAX_HITS);
    for (size_t i = 0; i < CP_SAFETY_MAX_HITS; i++) {
        assert_int_equal(c.flags[i].rule->acuity, i < 6 ? 1 : i < 14 ? 2 : 3);
        assert_true(c.notes[i].rule == &many[MORE - 1 - i]); /* notes: the newest */
    }
    cp_conversation_deinit(&c);
    cp_conversations_free(all);
}

static void long_texts_are_cut_between_characters(void **state) {
    cp_conversations *all = make(MIB, 60, 600);
    const cp_conversation_key key = key_of("k", "M", "s");
    static char text[3 * CP_CONVERSATION_QUESTION_BYTES];
    cp_error err;
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 4)
            memcpy(text + i, "\xf0\x9f\x98\x80", 5);
        const cp_conversation_turn turn = {.question = text, .answer = text};
        assert_cp_ok(cp_conversations_add(all, &key, at(0), &turn, &err));
        cp_conversation c = read_at(all, &key, at(0));
        const cp_conversation_turn *kept = &c.turns[shift];
        size_t n_question = strlen(kept->question), n_answer = strlen(kept->answer);
        assert_in_range(n_question, CP_CONVERSATION_QUESTION_BYTES - 3,
                        CP_CONVERSATION_QUESTION_BYTES);
        assert_in_range(n_answer, CP_CONVERSATION_ANSWER_BYTES - 3, CP_CONVERSATION_ANSWER_BYTES);
        assert_memory_equal(kept->question, text, n_question);
        assert_true(cp_utf8_is_valid(kept->question, n_question));
        assert_true(cp_utf8_is_valid(kept->answer, n_answer));
        cp_conversation_deinit(&c);
    }
    cp_conversations_free(all);
}

static void a_flood_of_one_key_leaves_the_others(void **state) {
    cp_conversations *all = make(MIB, 60, 600);
    const cp_conversation_key quiet = key_of("quiet", "M", "s"), still = key_of("", "M", "s");
    char session[32];
    (void)state;
    say(all, &quiet, at(0), "mine");
    say(all, &still, at(0), "without a key");
    note(all, &quiet, at(0), &rules[0], false);
    for (int i = 0; i < 20000; i++) {
        snprintf(session, sizeof session, "s-%d", i);
        const cp_conversation_key key = key_of("loud", "M", session);
        say(all, &key, at(1), "more and more and more");
        assert_true(cp_conversations_get_stats(all).n_bytes <= MIB);
    }
    assert_true(cp_conversations_get_stats(all).n_evicted > 10000);
    assert_int_equal(n_turns(all, &quiet, at(2)), 1);
    assert_int_equal(n_turns(all, &still, at(2)), 1);
    cp_conversation c = read_at(all, &quiet, at(2));
    assert_true(c.n_flags == 1 && c.n_notes == 1);
    cp_conversation_deinit(&c);
    const cp_conversation_key first = key_of("loud", "M", "s-0"),
                              last = key_of("loud", "M", "s-19999");
    assert_int_equal(n_turns(all, &first, at(2)), 0);
    assert_int_equal(n_turns(all, &last, at(2)), 1);
    cp_conversations_free(all);
}

/* Many keys with a full conversation each: the bound holds, and the one just said is there. */
static void the_bound_holds_with_many_keys(void **state) {
    static char text[CP_CONVERSATION_QUESTION_BYTES + 1];
    cp_conversations *all = make(MIB, 60, 600);
    (void)state;
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < 3000; i++) {
        char owner[16];
        snprintf(owner, sizeof owner, "k-%d", i % 150);
        const cp_conversation_key key = key_of(owner, "M", "s");
        say(all, &key, at(1), text);
        assert_true(cp_conversations_get_stats(all).n_bytes <= MIB);
        assert_true(n_turns(all, &key, at(1)) > 0);
    }
    cp_conversations_free(all);
}

/* ---- what is left ---------------------------------------------------------------------------- */

static void missing_memory_loses_nothing_and_leaks_nothing(void **state) {
    const cp_conversation_key key = key_of("k", "M", "s");
    const cp_conversation_turn turn = {.question = "question", .answer = "answer"};
    const cp_safety_finding finding = {.rules = {&rules[0]}, .n = 1};
    (void)state;
    for (long n = 1, failed = 1; failed; n++) {
        cp_conversations *all = make(MIB, 60, 60);
        cp_conversation c;
        cp_error err;
        test_alloc_fail_at(n, 0);
        failed = cp_conversations_note(all, &key, at(0), &finding, &err) != CP_OK;
        failed |= cp_conversations_add(all, &key, at(0), &turn, &err) != CP_OK;
        failed |= cp_conversations_read(all, &key, at(0), &c, &err) != CP_OK;
        cp_conversation_deinit(&c);
        test_alloc_fail_at(0, 0);
        assert_true(n < 50);
        say(all, &key, at(0), "again");
        assert_true(n_turns(all, &key, at(0)) > 0);
        cp_conversations_free(all);
    }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

static char mark[41]; /* made at run time: stands nowhere else */

static void make_mark(void) {
    for (size_t i = 0; i + 1 < sizeof mark; i++)
        mark[i] = (char)('a' + (i * 7 + 3) % 26);
}

/* Copies of the mark in what this process may write, its own one not counted. */
static size_t n_marks(void) {
    static char piece[1 << 16];
    char line[512];
    size_t n = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    int memory = open("/proc/self/mem", O_RDONLY);
    assert_true(maps && memory >= 0);
    while (fgets(line, sizeof line, maps)) {
        unsigned long begin, end;
        char may[8];
        if (sscanf(line, "%lx-%lx %7s", &begin, &end, may) != 3 || may[1] != 'w')
            continue;
        for (unsigned long from = begin; from < end; from += sizeof piece / 2) {
            ssize_t got = pread(memory, piece, sizeof piece, (off_t)from);
            size_t most = got > 0 ? (size_t)got : 0;
            most = most < end - from ? most : end - from;
            for (size_t i = 0; i + sizeof mark <= most && i < sizeof piece / 2; i++) {
                unsigned long where = from + i;
                bool own = (where >= (uintptr_t)mark && where < (uintptr_t)mark + sizeof mark) ||
                           (where >= (uintptr_t)piece && where < (uintptr_t)piece + sizeof piece);
                n += !own && memcmp(piece + i, mark, sizeof mark - 1) == 0;
            }
        }
        memset(piece, 0, sizeof piece);
    }
    close(memory);
    fclose(maps);
    return n;
}

/* Not at the beginning of a block of memory: free() writes there itself. */
static void say_mark(cp_conversations *all, const cp_conversation_key *key, cp_moment now) {
    char text[32 + sizeof mark];
    memset(text, '.', 32);
    memcpy(text + 32, mark, sizeof mark);
    say(all, key, now, text);
    cp_wipe(text, sizeof text);
}

static void nothing_of_a_turn_is_left_in_memory(void **state) {
    cp_conversations *all = make(MIB, 60, 60);
    const cp_conversation_key key = key_of("k", "M", "s");
    (void)state;
    make_mark();
    assert_int_equal(n_marks(), 0);
    say_mark(all, &key, at(0));
    assert_int_equal(n_marks(), 1);
    cp_conversation c = read_at(all, &key, at(1));
    assert_int_equal(n_marks(), 2);
    cp_conversation_deinit(&c);
    assert_int_equal(n_marks(), 1);
    cp_conversations_sweep(all, at(100));
    assert_int_equal(n_marks(), 0);
    say_mark(all, &key, at(100));
    for (int i = 0; i < CP_CONVERSATION_TURNS; i++)
        say(all, &key, at(100), "pushed out");
    assert_int_equal(n_marks(), 0);
    say_mark(all, &key, at(100));
    cp_conversations_free(all);
    assert_int_equal(n_marks(), 0);
}

#else

static void nothing_of_a_turn_is_left_in_memory(void **state) {
    (void)state;
    skip(); /* a sanitizer's memory is too large to be searched */
}

#endif

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_turn_is_found_with_its_number_and_order),
    cmocka_unit_test(keys_that_look_alike_are_others),
    cmocka_unit_test(too_long_parts_are_refused),
    cmocka_unit_test(without_a_session_or_a_time_nothing_is_kept),
    cmocka_unit_test(nothing_crosses_between_keys_whoever_talks),
    cmocka_unit_test(a_conversation_ends_when_nobody_goes_on),
    cmocka_unit_test(notes_outlive_their_conversation),
    cmocka_unit_test(the_newest_turns_and_all_flags_stay),
    cmocka_unit_test(the_most_urgent_flags_stay),
    cmocka_unit_test(long_texts_are_cut_between_characters),
    cmocka_unit_test(a_flood_of_one_key_leaves_the_others),
    cmocka_unit_test(the_bound_holds_with_many_keys),
    cmocka_unit_test(missing_memory_loses_nothing_and_leaks_nothing),
    cmocka_unit_test(nothing_of_a_turn_is_left_in_memory),
};
CP_TEST_GROUP(conversations, tests)
