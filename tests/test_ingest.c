/* Ingesting and freshness: only what has changed is written, what is gone is removed, a kill loses
 * nothing that a second run does not bring, every kind of fault is found and repaired. */
#include "tests/pinecone_api.h"

#include "base/file.h"
#include "base/mem.h"
#include "engine/vector_search.h"
#include "server/change_feed.h"
#include "server/freshness.h"
#include "server/ingest_run.h"
#include "retrieval/retriever.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- made-up patients ------------------------------------------------------------------- */

static const char *make_folder(const char *parent, const char *name) {
    const char *path = test_path(parent, name);
    mkdir(path, 0700);
    return path;
}

static void append_patient(cp_strbuf *patients, cp_strbuf *documents, int number, int n_docs) {
    cp_strbuf_printf(patients, "{\"mrn\":\"P-%04d\",\"name\":{\"given\":\"A\",\"family\":\"B\"}}\n",
                     number);
    for (int i = 0; i < n_docs; i++)
        cp_strbuf_printf(
            documents,
            "{\"id\":\"D-%d-%d\",\"mrn\":\"P-%04d\",\"kind\":\"visit_note\",\"title\":"
            "\"Visit %d\",\"date\":\"2026-01-%02d\",\"text\":\"Patient %d came for the "
            "visit number %d. The cough was better. Aspirin 81 mg goes on.\"}\n",
            number, i, number, i, i % 28 + 1, number, i);
}

static void write_text(const char *dir, const char *name, const char *text) {
    test_write_file(test_path(dir, name), text, strlen(text));
}

/* DATA_DIR of `n` patients from `first` on; the rows that each has and a knowledge base of one. */
static void write_data(const char *data, int first, int n, int n_docs) {
    char synthetic[512];
    cp_strbuf patients, documents;
    snprintf(synthetic, sizeof synthetic, "%s", make_folder(data, "synthetic"));
    make_folder(data, "knowledge");
    cp_strbuf_init(&patients, 1 << 24);
    cp_strbuf_init(&documents, 1 << 24);
    for (int i = 0; i < n; i++)
        append_patient(&patients, &documents, first + i, n_docs);
    write_text(synthetic, "patients.jsonl", cp_strbuf_text(&patients));
    write_text(synthetic, "documents.jsonl", cp_strbuf_text(&documents));
    write_text(synthetic, "encounters.jsonl", "");
    write_text(synthetic, "claims.jsonl", "");
    write_text(synthetic, "chat_logs.jsonl", "");
    write_text(test_path(data, "knowledge"), "fever.md",
               "---\nid: \"KB-fever\"\ntitle: \"Fever\"\nkind: \"red_flags\"\ntopics: [\"hot\"]\n"
               "conditions: []\nmedicines: []\nsource: \"NICE NG143, 2019\"\ndate: \"2026-01-01\"\n"
               "reviewed_by: null\nlang: \"en\"\n---\nDrink enough. See a doctor soon.\n");
    cp_strbuf_deinit(&patients);
    cp_strbuf_deinit(&documents);
}

static const char *fresh_folder(const char *kind) {
    static char paths[64][600];
    static size_t number;
    char name[64];
    assert_true(number < CP_COUNT_OF(paths));
    snprintf(name, sizeof name, "ingest-%s-%zu", kind, number);
    snprintf(paths[number], sizeof paths[0], "%s", make_folder(test_tmp_dir(), name));
    return paths[number++];
}

/* ---- the core --------------------------------------------------------------------------- */

static cp_source_doc make_doc(const char *mrn, const char *id, const char *text) {
    cp_error err;
    cp_source_doc doc = {.mrn = mrn,
                         .id = id,
                         .title = "Visit",
                         .type = "visit_note",
                         .date = "2026-01-01",
                         .kind = CP_ENTRY_DOCUMENT,
                         .text = {text, strlen(text)}};
    assert_cp_ok(cp_source_doc_seal(&doc, &err));
    return doc;
}

static cp_index *open_memory(size_t width) {
    cp_error err;
    cp_index *index;
    const cp_index_options options = {.width = width, .model = width ? "made-up" : ""};
    assert_cp_ok(cp_index_open(&options, &index, &err));
    return index;
}

static cp_index_stats stats_of(cp_index *index) {
    cp_index_view *view = cp_index_view_take(index);
    cp_index_stats stats = cp_index_view_stats(view);
    cp_index_view_release(view);
    return stats;
}

static void assert_counts(const cp_ingest_counts *n, size_t added, size_t replaced,
                          size_t unchanged, size_t removed, size_t left_out) {
    if (n->added != added || n->replaced != replaced || n->unchanged != unchanged ||
        n->removed != removed || n->left_out != left_out)
        fail_msg("%zu added, %zu replaced, %zu unchanged, %zu removed, %zu left out", n->added,
                 n->replaced, n->unchanged, n->removed, n->left_out);
    assert_int_equal(n->seen, added + replaced + unchanged + left_out);
}

static void only_differences_are_written(void **state) {
    (void)state;
    cp_error err;
    cp_index *index = open_memory(0);
    const cp_ingest_target target = {.index = index};
    cp_source_doc docs[3] = {make_doc("M-1", "a", "One."), make_doc("M-1", "b", "Two."),
                             make_doc("M-1", "c", "Three.")};
    const cp_source_doc other = make_doc("M-2", "a", "One.");
    cp_ingest_counts n = {0};
    assert_cp_ok(cp_ingest_docs(&target, "M-1", docs, 3, &n, &err));
    assert_cp_ok(cp_ingest_docs(&target, "M-2", &other, 1, &n, &err));
    assert_cp_ok(cp_index_commit(index, &err));
    assert_counts(&n, 4, 0, 0, 0, 0);
    uint64_t generation = stats_of(index).generation;
    n = (cp_ingest_counts){0};
    assert_cp_ok(cp_ingest_docs(&target, "M-1", docs, 3, &n, &err));
    assert_cp_ok(cp_index_commit(index, &err));
    assert_counts(&n, 0, 0, 3, 0, 0);
    assert_int_equal(stats_of(index).generation, generation); /* nothing was written */
    docs[1] = make_doc("M-1", "b", "Two, changed.");
    n = (cp_ingest_counts){0};
    assert_cp_ok(cp_ingest_docs(&target, "M-1", docs, 2, &n, &err)); /* c is gone */
    assert_cp_ok(cp_index_commit(index, &err));
    assert_counts(&n, 0, 1, 1, 1, 0);
    cp_index_view *view = cp_index_view_take(index);
    assert_int_equal(cp_index_view_has(view, "M-1", "b", &docs[1].hash), CP_INDEXED_FRESH);
    assert_int_equal(cp_index_view_has(view, "M-1", "c", &docs[2].hash), CP_INDEXED_NOT);
    assert_int_equal(cp_index_view_has(view, "M-2", "a", &other.hash), CP_INDEXED_FRESH);
    cp_index_view_release(view);
    n = (cp_ingest_counts){0};
    assert_cp_ok(cp_ingest_patient(&target, "M-1", NULL, &n, &err)); /* the patient is gone */
    assert_cp_ok(cp_index_commit(index, &err));
    assert_counts(&n, 0, 0, 0, 2, 0);
    assert_int_equal(stats_of(index).n_docs, 1);
    cp_index_close(index);
}

/* Two documents with one id would replace each other in every run. */
static void of_two_with_one_id_the_first_is_kept(void **state) {
    (void)state;
    cp_error err;
    cp_index *index = open_memory(0);
    const cp_ingest_target target = {.index = index};
    const cp_source_doc docs[3] = {make_doc("M", "a", "First."), make_doc("M", "b", "B."),
                                   make_doc("M", "a", "Second.")};
    for (int i = 0; i < 2; i++) {
        cp_ingest_counts n = {0};
        assert_cp_ok(cp_ingest_docs(&target, "M", docs, 3, &n, &err));
        assert_cp_ok(cp_index_commit(index, &err));
        assert_counts(&n, i ? 0 : 2, 0, i ? 2 : 0, 0, 1);
    }
    cp_index_view *view = cp_index_view_take(index);
    assert_int_equal(cp_index_view_has(view, "M", "a", &docs[0].hash), CP_INDEXED_FRESH);
    cp_index_view_release(view);
    cp_index_close(index);
}

static void hostile_records_are_left_out_and_counted(void **state) {
    (void)state;
    cp_error err;
    cp_index *index = open_memory(0);
    const cp_ingest_target target = {.index = index};
    cp_patient_record *record = cp_patient_record_create("M-1");
    cp_strbuf text;
    cp_strbuf_init(&text, 1 << 20);
    cp_strbuf_puts(&text,
                   "[{\"mrn\":\"M-1\",\"date\":\"2026-01-01\",\"title\":\"T\",\"text\":\"t\"},"
                   "{\"mrn\":\"M-1\",\"id\":\"ok\",\"date\":\"2026-01-01\",\"title\":\"T\","
                   "\"text\":\"\\u202e words \\u0001\"},{\"mrn\":\"M-1\",\"id\":\"");
    test_append_times(&text, "x", 200);
    cp_strbuf_puts(&text,
                   "\",\"date\":\"2026-01-01\",\"title\":\"T\",\"text\":\"t\"},"
                   "{\"mrn\":\"M-1\",\"id\":7,\"date\":\"2026-01-01\",\"title\":{},\"text\":[]}]");
    cJSON_Delete(record->documents);
    record->documents = cJSON_Parse(cp_strbuf_text(&text));
    assert_non_null(record->documents);
    cp_strbuf_deinit(&text);
    cp_ingest_counts n = {0};
    assert_cp_ok(cp_ingest_patient(&target, "M-1", record, &n, &err));
    assert_cp_ok(cp_index_commit(index, &err));
    assert_counts(&n, 1, 0, 0, 0, 3);
    assert_int_equal(stats_of(index).n_docs, 1);
    cp_patient_record_free(record);
    cp_index_close(index);
}

/* Vectors that depend on the text alone. */
#define WIDTH 8
static size_t n_embedded;

static cp_status embed(void *user, const char *const *texts, size_t n, float *out, cp_error *err) {
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (size_t k = 0; k < WIDTH; k++) {
            uint64_t h = 14695981039346656037u + k;
            for (const char *c = texts[i]; *c; c++)
                h = (h ^ (unsigned char)*c) * 1099511628211u;
            h = (h ^ h >> 31) *
                0x9e3779b97f4a7c15u; /* the last letters change the high bits, too */
            out[i * WIDTH + k] = (float)(h >> 40) / (1 << 24) - 0.5f;
            sum += out[i * WIDTH + k] * out[i * WIDTH + k];
        }
        for (size_t k = 0; k < WIDTH; k++)
            out[i * WIDTH + k] /= sum > 0 ? __builtin_sqrtf(sum) : 1;
    }
    n_embedded += n;
    if (user) /* the test wants it to fail */
        return cp_error_set(err, CP_ERR_IO, "no model");
    return CP_OK;
}
static const cp_ingest_vectors made_vectors = {.width = WIDTH, .embed = embed};

static void what_has_not_changed_is_not_embedded_again(void **state) {
    (void)state;
    cp_error err;
    cp_index *index = open_memory(WIDTH);
    const cp_ingest_target target = {.index = index, .vectors = &made_vectors};
    cp_source_doc docs[80];
    static char texts[80][64];
    for (int i = 0; i < 80; i++) {
        snprintf(texts[i], sizeof texts[i], "This is the note number %d.", i);
        docs[i] = make_doc("M", texts[i], texts[i]);
    }
    cp_ingest_counts n = {0};
    n_embedded = 0;
    for (int i = 0; i < 2; i++) {
        assert_cp_ok(cp_ingest_docs(&target, "M", docs, 80, &n, &err));
        assert_cp_ok(cp_index_commit(index, &err));
        assert_int_equal(n_embedded, 80);
    }
    assert_int_equal(stats_of(index).n_vectors, 80);
    /* Each chunk has its own text's vector. */
    cp_index_view *view = cp_index_view_take(index);
    for (int i = 0; i < 80; i += 13) {
        float want[WIDTH];
        int8_t query[WIDTH];
        cp_vector v = {.values = query};
        cp_strbuf text;
        cp_hit hit;
        size_t n_hits;
        const cp_chunk chunk = {.n = (uint32_t)docs[i].text.n};
        cp_strbuf_init(&text, 4096);
        cp_chunk_embedding_text(&docs[i], &chunk, &text);
        assert_cp_ok(embed(NULL, (const char *const[]){cp_strbuf_text(&text)}, 1, want, &err));
        cp_vector_quantize(want, WIDTH, query, &v.scale);
        const cp_entry_filter filter = {.mrn = "M", .kinds = CP_ALL_KINDS};
        assert_cp_ok(cp_index_view_nearest(view, &filter, v, 1, 1, &hit, &n_hits, &err));
        assert_int_equal(n_hits, 1);
        assert_string_equal(cp_index_view_item(view, hit.number).id, docs[i].id);
        assert_true(hit.score > 0.99f);
        cp_strbuf_deinit(&text);
    }
    cp_index_view_release(view);
    /* A model that fails leaves everything as it was. */
    const cp_ingest_vectors failing = {.width = WIDTH, .embed = embed, .user = &n};
    const cp_ingest_target broken = {.index = index, .vectors = &failing};
    docs[3] = make_doc("M", docs[3].id, "Changed.");
    assert_int_equal(cp_ingest_docs(&broken, "M", docs, 80, &n, &err), CP_ERR_IO);
    const cp_ingest_target none = {.index = index};
    assert_int_equal(cp_ingest_docs(&none, "M", docs, 80, &n, &err), CP_ERR_USAGE);
    assert_non_null(strstr(err.message, "EMBEDDING_MODEL"));
    cp_index_close(index);
}

/* ---- kills ------------------------------------------------------------------------------ */

static cp_index *open_dir(const char *dir, bool write) {
    cp_error err;
    cp_index *index;
    const cp_index_options options = {.dir = dir, .write = write};
    assert_cp_ok(cp_index_open(&options, &index, &err));
    return index;
}

static bool see_indexed(void *user, const cp_indexed_doc *doc) {
    char hash[2 * CP_CONTENT_HASH + 1];
    cp_strbuf *out = user;
    for (size_t i = 0; i < CP_CONTENT_HASH; i++)
        snprintf(hash + 2 * i, 3, "%02x", doc->hash.bytes[i]);
    cp_strbuf_printf(out, "%s %s %s %zu\n", doc->mrn, doc->id, hash, doc->n_chunks);
    return true;
}

/* All documents of an index, a line each. */
static char *listing_of(const char *dir) {
    cp_strbuf out;
    cp_index *index = open_dir(dir, false);
    cp_index_view *view = cp_index_view_take(index);
    cp_strbuf_init(&out, 1 << 24);
    cp_index_view_each(view, NULL, see_indexed, &out);
    cp_index_view_release(view);
    cp_index_close(index);
    return cp_strbuf_take(&out);
}

static bool die_at(void *user, size_t n_done, size_t n_total) {
    (void)n_total;
    if (n_done == *(size_t *)user)
        kill(getpid(), SIGKILL);
    return true;
}

/* Ingests in a process of its own, which is killed after so many patients (0: not). */
static void ingest_and_die(const char *data, const char *dir, size_t after) {
    char synthetic[512];
    snprintf(synthetic, sizeof synthetic, "%s/synthetic", data);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        cp_error err;
        cp_patient_store *store;
        cp_ingest_run run = {.on_progress = die_at, .user = &after};
        cp_status status = cp_patient_store_open_jsonl(synthetic, &store, &err);
        const cp_index_options options = {.dir = dir, .write = true};
        if (status == CP_OK)
            status = cp_index_open(&options, &run.target.index, &err);
        run.store = status == CP_OK ? store : NULL;
        if (status == CP_OK)
            status = cp_ingest_run_all(&run, NULL, &err);
        if (status == CP_OK)
            cp_index_close(run.target.index);
        _exit(status == CP_OK ? 0 : 9);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (after == 0)
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    else
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_kill_in_the_middle_costs_a_second_run_only(void **state) {
    (void)state;
    const char *data = fresh_folder("data"), *whole = fresh_folder("whole");
    write_data(data, 0, 60, 10); /* 600 documents: two commits on the way */
    ingest_and_die(data, whole, 0);
    char *wanted = listing_of(whole);
    bool some_was_kept = false;
    for (size_t after = 5; after < 60; after += 18) {
        const char *dir = fresh_folder("killed");
        ingest_and_die(data, dir, after);
        cp_index *index = open_dir(dir, true);
        size_t kept = stats_of(index).n_docs;
        some_was_kept |= kept > 0 && kept < 600;
        cp_index_close(index);
        ingest_and_die(data, dir, 0);
        char *found = listing_of(dir);
        assert_string_equal(found, wanted);
        free(found);
    }
    assert_true(some_was_kept);
    free(wanted);
}

/* ---- the commands ----------------------------------------------------------------------- */

typedef struct place {
    char data_env[600], index_env[600];
    const char *data, *index;
    const char *env[4];
} place;

static void make_place(place *p, int n_patients, int n_docs) {
    p->data = fresh_folder("data");
    p->index = fresh_folder("index");
    write_data(p->data, 1, n_patients, n_docs);
    snprintf(p->data_env, sizeof p->data_env, "DATA_DIR=%s", p->data);
    snprintf(p->index_env, sizeof p->index_env, "INDEX_DIR=%s", p->index);
    p->env[0] = p->data_env;
    p->env[1] = p->index_env;
    p->env[2] = "LOG_LEVEL=off";
    p->env[3] = NULL;
}

/* The JSON summary of a command; asserts its exit code. */
static cJSON *run_json(const place *p, const char *command, const char *option, int exit_code) {
    test_run run =
        test_run_program((const char *[]){NULL, command, "--json", option, NULL}, p->env, NULL);
    if (run.exit_code != exit_code)
        fail_msg("%s: exit %d: %s%s", command, run.exit_code, cp_strbuf_text(&run.out),
                 cp_strbuf_text(&run.err));
    assert_null(strstr(cp_strbuf_text(&run.out), "P-0"));
    assert_null(strstr(cp_strbuf_text(&run.err), "P-0"));
    cJSON *tree = cJSON_Parse(cp_strbuf_text(&run.out));
    assert_non_null(tree);
    test_run_free(&run);
    return tree;
}

static int number_of(const cJSON *tree, const char *key) {
    const cJSON *member = cp_json_member(tree, key);
    assert_true(cJSON_IsNumber(member));
    return member->valueint;
}

static void assert_index(const cJSON *report, int fresh, int missing, int stale, int orphaned) {
    const cJSON *index = cp_json_member(report, "index");
    char *text = cJSON_PrintUnformatted(report);
    if (number_of(index, "fresh") != fresh || number_of(index, "missing") != missing ||
        number_of(index, "stale") != stale || number_of(index, "orphaned") != orphaned ||
        number_of(index, "without_vectors") != 0)
        fail_msg("%s", text);
    free(text);
}

static void the_commands_ingest_and_find_and_mend_each_fault(void **state) {
    (void)state;
    place p;
    make_place(&p, 3, 4); /* 12 documents and one of knowledge */
    cJSON *tree = run_json(&p, "ingest", NULL, 0);
    assert_int_equal(number_of(tree, "patients"), 3);
    assert_int_equal(number_of(tree, "added"), 13);
    cJSON_Delete(tree);
    tree = run_json(&p, "ingest", NULL, 0);
    assert_int_equal(number_of(tree, "unchanged"), 13);
    assert_int_equal(number_of(tree, "chunks"), 0);
    cJSON_Delete(tree);
    tree = run_json(&p, "freshness", NULL, 0);
    assert_index(tree, 13, 0, 0, 0);
    assert_int_equal(number_of(tree, "patients"), 3);
    cJSON_Delete(tree);
    /* One goes, one is new, one changes, a patient is gone and another comes. */
    write_data(p.data, 2, 3, 4); /* P-0001 gone, P-0004 new */
    char synthetic[512];
    snprintf(synthetic, sizeof synthetic, "%s/synthetic", p.data);
    cp_strbuf patients, documents;
    cp_strbuf_init(&patients, 1 << 20);
    cp_strbuf_init(&documents, 1 << 20);
    append_patient(&patients, &documents, 2, 3); /* its fourth document is gone */
    append_patient(&patients, &documents, 3, 4);
    append_patient(&patients, &documents, 4, 4);
    char *changed = strstr(documents.data, "Patient 3 came");
    memcpy(changed, "Patient 3 left", 14);
    write_text(synthetic, "documents.jsonl", cp_strbuf_text(&documents));
    cp_strbuf_deinit(&patients);
    cp_strbuf_deinit(&documents);
    tree = run_json(&p, "freshness", NULL, 1);
    /* fresh: knowledge, 3 of P-0002, 3 of P-0003; orphaned: 4 of P-0001 and one of P-0002 */
    assert_index(tree, 7, 4, 1, 5);
    cJSON_Delete(tree);
    tree = run_json(&p, "freshness", "--repair", 0);
    assert_index(tree, 7, 4, 1, 5);
    assert_int_equal(number_of(cp_json_member(tree, "repaired"), "written"), 5);
    assert_int_equal(number_of(cp_json_member(tree, "repaired"), "removed"), 5);
    cJSON_Delete(tree);
    tree = run_json(&p, "freshness", NULL, 0);
    assert_index(tree, 12, 0, 0, 0);
    cJSON_Delete(tree);
    tree = run_json(&p, "ingest", NULL, 0); /* nothing is left for it to do */
    assert_int_equal(number_of(tree, "unchanged"), 12);
    assert_int_equal(number_of(tree, "removed"), 0);
    cJSON_Delete(tree);
}

static void ingest_mends_the_same_faults(void **state) {
    (void)state;
    place p;
    make_place(&p, 3, 4);
    cJSON_Delete(run_json(&p, "ingest", NULL, 0));
    write_data(p.data, 2, 3, 3);
    cJSON *tree = run_json(&p, "ingest", NULL, 0);
    assert_int_equal(number_of(tree, "gone"), 1);
    assert_int_equal(number_of(tree, "removed"), 6); /* four of one, one each of two */
    assert_int_equal(number_of(tree, "added"), 3);
    cJSON_Delete(tree);
    cJSON_Delete(run_json(&p, "freshness", NULL, 0));
}

/* Who is not in --mrns is not gone. */
static void a_list_of_some_patients_removes_nobody(void **state) {
    (void)state;
    place p;
    make_place(&p, 3, 4);
    cJSON_Delete(run_json(&p, "ingest", NULL, 0));
    test_run run = test_run_program((const char *[]){NULL, "ingest", "--json", "--mrns", "-", NULL},
                                    p.env, "P-0002\nP-0999\n");
    assert_int_equal(run.exit_code, 0);
    cJSON *tree = test_run_json(&run);
    assert_int_equal(number_of(tree, "removed"), 0);
    assert_int_equal(number_of(cp_json_member(tree, "index"), "documents"), 13);
    cJSON_Delete(tree);
    test_run_free(&run);
    run = test_run_program((const char *[]){NULL, "ingest", "--mrns", "-", NULL}, p.env, "a b\n");
    assert_int_equal(run.exit_code, 1);
    assert_non_null(strstr(cp_strbuf_text(&run.err), "stdin: line 1"));
    test_run_free(&run);
}

/* A wrong DATA_DIR or database is no reason to embed everything again. */
static void an_empty_store_removes_nobody(void **state) {
    (void)state;
    static const char *const commands[][4] = {{NULL, "ingest"}, {NULL, "freshness", "--repair"}};
    place p;
    make_place(&p, 3, 4);
    cJSON_Delete(run_json(&p, "ingest", NULL, 0));
    write_data(p.data, 1, 0, 0);
    for (size_t i = 0; i < CP_COUNT_OF(commands); i++) {
        test_run run = test_run_program(commands[i], p.env, NULL);
        assert_int_equal(run.exit_code, 2);
        assert_non_null(strstr(cp_strbuf_text(&run.err), "the right store"));
        test_run_free(&run);
    }
    write_data(p.data, 1, 3, 4);
    cJSON_Delete(run_json(&p, "freshness", NULL, 0));
}

static void metrics_are_counts_for_a_collector(void **state) {
    (void)state;
    place p;
    cp_error err;
    cp_strbuf text;
    make_place(&p, 2, 2);
    cJSON_Delete(run_json(&p, "ingest", NULL, 0));
    write_data(p.data, 2, 2, 2);
    const char *path = test_path(p.index, "freshness.prom");
    test_run run =
        test_run_program((const char *[]){NULL, "freshness", "--metrics", path, NULL}, p.env, NULL);
    assert_int_equal(run.exit_code, 1);
    assert_non_null(strstr(cp_strbuf_text(&run.out), "not as the store"));
    test_run_free(&run);
    assert_cp_ok(cp_file_read(path, 1 << 16, &text, &err));
    static const char *const lines[] = {
        "\ncarepath_freshness_documents{where=\"index\",state=\"missing\"} 2\n",
        "\ncarepath_freshness_documents{where=\"index\",state=\"orphaned\"} 2\n",
        "\ncarepath_freshness_documents{where=\"index\",state=\"fresh\"} 3\n",
        "\n# TYPE carepath_freshness_checked_timestamp_seconds gauge\n"};
    for (size_t i = 0; i < CP_COUNT_OF(lines); i++)
        assert_non_null(strstr(text.data, lines[i]));
    assert_null(strstr(text.data, "P-0"));
    cp_strbuf_deinit(&text);
}

static void wrong_settings_are_told(void **state) {
    (void)state;
    char own[600];
    snprintf(own, sizeof own, "INDEX_DIR=%s", fresh_folder("wrong"));
    const struct {
        const char *argv[6], *env[5];
        int exit_code;
        const char *told;
    } cases[] = {
        {{NULL, "ingest"}, {"INDEX_DIR="}, 2, "INDEX_DIR is not set"},
        {{NULL, "freshness"}, {"INDEX_DIR="}, 2, "INDEX_DIR is not set"},
        {{NULL, "freshness", "--index-dir", "/nonexistent/index"}, {NULL}, 1, "carepath ingest"},
        {{NULL, "ingest", "--follow", "--mrns", "-"}, {NULL}, 2, "--follow is for all"},
        {{NULL, "ingest"},
         {own, "VECTOR_MODE=pinecone", "PINECONE_HOST=https://a.example",
          "PINECONE_API_KEY=SECRET"},
         2,
         "EMBEDDING_MODEL"},
    };
    for (size_t i = 0; i < CP_COUNT_OF(cases); i++) {
        test_run run = test_run_program(cases[i].argv, cases[i].env, "");
        if (run.exit_code != cases[i].exit_code ||
            !strstr(cp_strbuf_text(&run.err), cases[i].told) ||
            strstr(cp_strbuf_text(&run.err), "SECRET"))
            fail_msg("case %zu: exit %d: %s", i, run.exit_code, cp_strbuf_text(&run.err));
        test_run_free(&run);
    }
}

/* ---- with Pinecone ---------------------------------------------------------------------- */

static cp_vector_store *open_pinecone(const char *model) {
    cp_error err;
    cp_vector_store *store;
    const cp_pinecone_config config = {.host = test_pinecone_url(),
                                       .api_key = TEST_PINECONE_KEY,
                                       .namespace_ = "",
                                       .model = model,
                                       .width = WIDTH,
                                       .timeout_ms = 20000};
    assert_cp_ok(cp_vector_store_open_pinecone(&config, &store, &err));
    return store;
}

static cp_freshness check(const cp_ingest_tools *tools, bool repair) {
    cp_freshness found;
    cp_error err;
    const cp_freshness_options options = {.tools = tools, .repair = repair};
    assert_cp_ok(cp_freshness_check(&options, &found, &err));
    assert_true(found.has_remote);
    return found;
}

static void assert_remote(const cp_freshness *f, size_t fresh, size_t missing, size_t stale,
                          size_t orphaned, size_t without) {
    const cp_freshness_counts *n = &f->remote;
    if (n->fresh != fresh || n->missing != missing || n->stale != stale ||
        n->orphaned != orphaned || n->without_vectors != without)
        fail_msg("%zu fresh, %zu missing, %zu stale, %zu orphaned, %zu without", n->fresh,
                 n->missing, n->stale, n->orphaned, n->without_vectors);
}

static void pinecone_is_filled_compared_and_mended(void **state) {
    (void)state;
    cp_error err;
    char synthetic[512];
    const char *data = fresh_folder("data");
    write_data(data, 1, 2, 3);
    test_pinecone_start(WIDTH, 4);
    cp_ingest_tools tools = {.index = open_memory(0), .remote = open_pinecone("model-a")};
    tools.vectors = made_vectors;
    tools.embedder = (cp_embedder *)&tools; /* asked only whether there is one */
    snprintf(synthetic, sizeof synthetic, "%s/synthetic", data);
    assert_cp_ok(cp_patient_store_open_jsonl(synthetic, &tools.store, &err));
    assert_cp_ok(cp_knowledge_open(test_path(data, "knowledge"), &tools.knowledge, &err));
    cp_ingest_run run = {.target = cp_ingest_tools_target(&tools),
                         .store = tools.store,
                         .knowledge = tools.knowledge};
    for (int i = 0; i < 2; i++) {
        assert_cp_ok(cp_ingest_run_all(&run, NULL, &err));
        assert_int_equal(run.counts.added, 7);
        assert_int_equal(test_pinecone_n_records(), 7);
    }
    size_t upserts = test_pinecone_n_requests("/vectors/upsert");
    assert_true(upserts <= 3); /* none in the second pass */
    assert_int_equal(stats_of(tools.index).n_vectors, 0);
    cp_freshness found = check(&tools, false);
    assert_remote(&found, 7, 0, 0, 0, 0);
    assert_true(cp_freshness_is_clean(&found.index));
    /* One lost, one of another model, and one that nobody has any more. */
    test_pinecone_drop(0);
    test_pinecone_spoil(0, "model", "model-b");
    const cp_source_doc ghost = make_doc("P-0777", "ghost", "Gone.");
    cp_index *aside = open_memory(0);
    const cp_ingest_target elsewhere = {
        .index = aside, .remote = tools.remote, .vectors = &made_vectors};
    cp_ingest_counts n = {0};
    assert_cp_ok(cp_ingest_docs(&elsewhere, "P-0777", &ghost, 1, &n, &err));
    cp_index_close(aside);
    found = check(&tools, false);
    assert_remote(&found, 5, 1, 0, 1, 1);
    assert_true(cp_freshness_is_clean(&found.index));
    found = check(&tools, true);
    assert_remote(&found, 5, 1, 0, 1, 1);
    found = check(&tools, false);
    assert_remote(&found, 7, 0, 0, 0, 0);
    assert_int_equal(test_pinecone_n_records(), 7);
    tools.embedder = NULL;
    cp_ingest_tools_close(&tools);
    test_pinecone_stop();
}

/* ---- following -------------------------------------------------------------------------- */

static pid_t start_following(const place *p) {
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (size_t i = 0; p->env[i]; i++)
            putenv((char *)(uintptr_t)p->env[i]);
        FILE *out = freopen("/dev/null", "w", stdout);
        execl(CP_TEST_PROGRAM, CP_TEST_PROGRAM, "ingest", "--follow", (char *)NULL);
        _exit(out ? 9 : 8);
    }
    return pid;
}

/* Until the index has the text's document, for at most a minute. */
static void wait_for_doc(const place *p, const char *mrn, const char *id) {
    char line[128];
    snprintf(line, sizeof line, "%s %s ", mrn, id);
    for (int i = 0; i < 600; i++) {
        const struct timespec pause = {.tv_nsec = 100000000};
        if (cp_file_exists(test_path(p->index, "current"))) {
            char *listing = listing_of(p->index);
            bool is_there = listing && strstr(listing, line);
            free(listing);
            if (is_there)
                return;
        }
        nanosleep(&pause, NULL);
    }
    fail_msg("%s%s did not come", mrn, id);
}

static void append_import(const place *p, const char *mrn, const char *id) {
    char path[600];
    snprintf(path, sizeof path, "%s/synthetic/imports.jsonl", p->data);
    FILE *out = fopen(path, "a");
    fprintf(out,
            "{\"patient\":{\"mrn\":\"%s\"},\"documents\":[{\"id\":\"%s\",\"mrn\":\"%s\",\"date\":"
            "\"2026-02-02\",\"title\":\"New\",\"text\":\"Something new.\"}]}\n",
            mrn, id, mrn);
    fclose(out);
}

static int stop_following(pid_t pid, int signal) {
    int status;
    assert_int_equal(kill(pid, signal), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void imports_are_followed_over_kills(void **state) {
    (void)state;
    place p;
    make_place(&p, 2, 2);
    pid_t pid = start_following(&p);
    wait_for_doc(&p, "P-0002", "D-2-1"); /* without a checkpoint everything comes first */
    append_import(&p, "P-0001", "IMP-1");
    wait_for_doc(&p, "P-0001", "IMP-1");
    assert_int_equal(stop_following(pid, SIGKILL), 128 + SIGKILL);
    append_import(&p, "NEW-1", "IMP-2"); /* while nobody follows */
    pid = start_following(&p);
    wait_for_doc(&p, "NEW-1", "IMP-2");
    append_import(&p, "P-0001", "IMP-3");
    wait_for_doc(&p, "P-0001", "IMP-3");
    assert_int_equal(stop_following(pid, SIGTERM), 0);
    cJSON_Delete(run_json(&p, "freshness", NULL, 0));
}

static void the_feed_of_imports_tells_whole_lines_once(void **state) {
    (void)state;
    cp_error err;
    cp_change_feed *feed;
    bool all;
    cp_mrn_list changed = {.mrns = NULL};
    cp_strbuf position;
    const char *path = test_path(fresh_folder("feed"), "imports.jsonl");
    static const char first[] = "{\"patient\":{\"mrn\":\"A-1\"}}\n{\"patient\":{\"mrn\":\"B";
    test_write_file(path, first, 28);
    assert_cp_ok(cp_change_feed_open_imports(path, "imports 0", &feed, &all, &err));
    assert_false(all);
    test_write_file(path, first, strlen(first));
    assert_cp_ok(feed->next(feed, 0, &changed, &all, &err));
    assert_int_equal(changed.n, 1);
    assert_string_equal(changed.mrns[0], "A-1");
    cp_strbuf_init(&position, 100);
    assert_cp_ok(feed->position(feed, &position, &err));
    assert_cp_ok(feed->next(feed, 0, &changed, &all, &err)); /* the half line is not told */
    assert_int_equal(changed.n, 1);
    feed->close(feed);
    static const char all_lines[] =
        "{\"patient\":{\"mrn\":\"A-1\"}}\n{\"patient\":{\"mrn\":\"B-1\"}}\nnonsense\n";
    test_write_file(path, all_lines, strlen(all_lines));
    assert_cp_ok(cp_change_feed_open_imports(path, cp_strbuf_text(&position), &feed, &all, &err));
    assert_false(all);
    assert_cp_ok(feed->next(feed, 0, &changed, &all, &err));
    assert_int_equal(changed.n, 2);
    assert_string_equal(changed.mrns[1], "B-1");
    assert_true(all); /* who knows what the nonsense was */
    feed->close(feed);
    /* Positions that are none, or beyond the end. */
    static const char *const wrong[] = {"", "imports", "imports x", "outbox 7", "imports 99999"};
    for (size_t i = 0; i < CP_COUNT_OF(wrong); i++) {
        assert_cp_ok(cp_change_feed_open_imports(path, wrong[i], &feed, &all, &err));
        assert_true(all);
        feed->close(feed);
    }
    cp_strbuf_deinit(&position);
    cp_mrn_list_deinit(&changed);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(only_differences_are_written),
    cmocka_unit_test(of_two_with_one_id_the_first_is_kept),
    cmocka_unit_test(hostile_records_are_left_out_and_counted),
    cmocka_unit_test(what_has_not_changed_is_not_embedded_again),
    cmocka_unit_test(a_kill_in_the_middle_costs_a_second_run_only),
    cmocka_unit_test(the_commands_ingest_and_find_and_mend_each_fault),
    cmocka_unit_test(ingest_mends_the_same_faults),
    cmocka_unit_test(a_list_of_some_patients_removes_nobody),
    cmocka_unit_test(an_empty_store_removes_nobody),
    cmocka_unit_test(metrics_are_counts_for_a_collector),
    cmocka_unit_test(wrong_settings_are_told),
    cmocka_unit_test(pinecone_is_filled_compared_and_mended),
    cmocka_unit_test(imports_are_followed_over_kills),
    cmocka_unit_test(the_feed_of_imports_tells_whole_lines_once),
};
CP_TEST_GROUP(ingest, tests)
