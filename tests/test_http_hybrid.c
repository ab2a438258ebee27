/* Vectors behind /triage, from a real server: the index that `carepath ingest` made, reranking, a
 * Pinecone, and what happens when any of it is missing, old or lies. */
#include "tests/http_client.h"

#include "tests/pinecone_api.h"

#include <signal.h>

#define EMBEDDER "EMBEDDING_MODEL=" GOLDEN "/models/embedding-gqa1"
#define WIDTH    128

static const char *setting(const char *name, const char *value) {
    static char texts[8][500];
    static int next;
    char *out = texts[next++ % 8];
    snprintf(out, sizeof texts[0], "%s=%s", name, value);
    return out;
}

static void ingest(const char *const *env) {
    test_run run = test_run_program((const char *[]){NULL, "ingest", NULL}, env, NULL);
    if (run.exit_code != 0)
        fail_msg("carepath ingest: %d %s", run.exit_code, cp_strbuf_text(&run.err));
    test_run_free(&run);
}

static test_server start(const char *const *env) {
    test_server server = test_server_start(env);
    test_server_await_ready(&server);
    return server;
}

/* Asks, checks how the sources were found and that they are the patient's or nobody's, and returns
 * the reply. */
static test_reply ask(const test_server *server, int patient, const char *query, const char *mode) {
    char body[300], own[16];
    snprintf(body, sizeof body, "{\"patient_mrn\":\"MRN-%03d\",\"query\":\"%s\"}", patient, query);
    snprintf(own, sizeof own, "-%03d-", patient);
    test_reply reply = test_triage(server, body);
    assert_reply(&reply, 200, "");
    assert_string_equal(test_reply_text(&reply, "retrieval"), mode);
    const cJSON *sources = cp_json_member(reply.json, "sources"), *source;
    assert_in_range(cJSON_GetArraySize(sources), 1, 5);
    cJSON_ArrayForEach(source, sources) {
        const char *id = cp_json_text(source, "document_id", "");
        if (strncmp(id, "KB-", 3) != 0 && !strstr(id, own))
            fail_msg("MRN-%03d is given %s", patient, id);
    }
    return reply;
}

#if defined(__SANITIZE_THREAD__)
#define N_PATIENTS 2
#else
#define N_PATIENTS 12
#endif

static void ask_all(const test_server *server, const char *mode) {
    for (int patient = 1; patient <= N_PATIENTS; patient++) {
        test_reply reply = ask(server, patient, "Can I take ibuprofen for my knee?", mode);
        test_reply_free(&reply);
    }
}

static void an_index_with_vectors_is_searched_both_ways(void **state) {
    (void)state;
    const char *index = setting("INDEX_DIR", test_path(test_tmp_dir(), "index"));
    const char *env[] = {"DATA_DIR=data", index, EMBEDDER, NULL, NULL};
    ingest(env);
    test_server server = start(env);
    ask_all(&server, "hybrid");
    assert_true(test_server_metric(&server, "carepath_index_vectors") > 100);
    assert_true(test_server_metric(&server, "carepath_retrieval_unindexed_total") == 0);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);

    env[3] = setting("RERANKER_MODEL", test_reranker_folder(GOLDEN "/models/tied-gqa2"));
    server = start(env);
    ask_all(&server, "reranked");
    assert_true(test_server_metric(&server,
                                   "carepath_retrieval_duration_seconds_count{stage=\"rerank\"}") ==
                N_PATIENTS);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);

    /* words alone, without a model; and no vectors of another one */
    server = start((const char *[]){"DATA_DIR=data", index, NULL});
    ask_all(&server, "lexical");
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    test_run run =
        test_run_program((const char *[]){NULL, "serve", "--port", "0", NULL},
                         (const char *[]){"DATA_DIR=data", "LLM_MODE=mock", index,
                                          "EMBEDDING_MODEL=" GOLDEN "/models/tied-gqa2", NULL},
                         NULL);
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(cp_strbuf_text(&run.err), "carepath ingest"));
    test_run_free(&run);
}

static void write_lines(const char *path, const char *text) {
    test_write_file(path, text, strlen(text));
}

/* A document that changed since, and one that came since: the record counts, not the index. */
static void what_changed_since_ingestion_is_found_as_it_is_now(void **state) {
    (void)state;
    static char dir[TEST_DATA_CAP];
    test_data_folder("{\"mrn\":\"MRN-001\",\"name\":\"A\",\"date_of_birth\":\"1970-02-03\","
                     "\"sex\":\"female\"}\n",
                     "",
                     "{\"mrn\":\"MRN-001\",\"id\":\"D-001-1\",\"date\":\"2024-01-01\",\"title\":"
                     "\"Cough\",\"text\":\"A dry cough since May.\"}\n",
                     dir);
    const char *env[] = {setting("DATA_DIR", dir),
                         setting("INDEX_DIR", test_path(test_tmp_dir(), "index")), EMBEDDER, NULL};
    ingest(env);
    write_lines(test_path(dir, "synthetic/documents.jsonl"),
                "{\"mrn\":\"MRN-001\",\"id\":\"D-001-1\",\"date\":\"2024-01-01\",\"title\":"
                "\"Cough\",\"text\":\"No cough any more.\"}\n"
                "{\"mrn\":\"MRN-001\",\"id\":\"D-001-2\",\"date\":\"2024-02-01\",\"title\":"
                "\"Wheeze\",\"text\":\"Wheezing since Monday.\"}\n");
    test_server server = start(env);
    test_reply reply = ask(&server, 1, "cough and wheezing", "hybrid");
    char *text = cJSON_PrintUnformatted(cp_json_member(reply.json, "sources"));
    assert_non_null(strstr(text, "No cough any more."));
    assert_non_null(strstr(text, "Wheezing since Monday."));
    assert_null(strstr(text, "since May"));
    cJSON_free(text);
    test_reply_free(&reply);
    assert_true(test_server_metric(&server, "carepath_retrieval_unindexed_total") == 2);

    ingest(env); /* while it runs: it takes in what is new */
    test_server_await_metric(&server, "carepath_index_generation", 2);
    reply = ask(&server, 1, "cough and wheezing", "hybrid");
    test_reply_free(&reply);
    assert_true(test_server_metric(&server, "carepath_retrieval_unindexed_total") == 2);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
}

static void a_pinecone_is_asked_and_not_trusted(void **state) {
    (void)state;
    static const test_pinecone_act down[] = {PINECONE_401, PINECONE_401, PINECONE_401};
    test_pinecone_start(WIDTH, 100);
    const char *env[] = {"DATA_DIR=data",
                         setting("INDEX_DIR", test_path(test_tmp_dir(), "index")),
                         EMBEDDER,
                         "VECTOR_MODE=pinecone",
                         setting("PINECONE_HOST", test_pinecone_url()),
                         "PINECONE_API_KEY=" TEST_PINECONE_KEY,
                         "STORE_TIMEOUT_MS=20000",
                         NULL};
    ingest(env);
    test_server server = start(env);
    ask_all(&server, "hybrid");
    assert_true(test_server_metric(&server, "carepath_retrieval_foreign_total") == 0);
    test_pinecone_filters(false); /* answers with everybody's */
    ask_all(&server, "hybrid");
    assert_true(test_server_metric(&server, "carepath_retrieval_foreign_total") > 0);
    test_pinecone_filters(true);
    test_pinecone_script(down, sizeof down / sizeof *down);
    test_reply reply = ask(&server, 2, "Can I take ibuprofen?", "lexical");
    test_reply_free(&reply);
    assert_true(
        test_server_metric(&server, "carepath_retrieval_failures_total{stage=\"nearest\"}") == 1);
    assert_int_equal(test_server_stop(&server, SIGTERM), 0);
    assert_null(strstr(test_pinecone_heads(), "MRN-"));
    test_pinecone_stop();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_index_with_vectors_is_searched_both_ways),
    cmocka_unit_test(what_changed_since_ingestion_is_found_as_it_is_now),
    cmocka_unit_test(a_pinecone_is_asked_and_not_trusted),
};
CP_TEST_GROUP(http_hybrid, tests)
