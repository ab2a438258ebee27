/* Writes the seeds that are no files of the repository as they are: GGUF images, an audit log, and
 * files with a harness's first byte in front. Argument: the folder that gets a folder for each. */
#include "tests/gguf_image.h"

#include "base/file.h"
#include "base/mem.h"
#include "retrieval/index.h"
#include "server/audit_head.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define EDGE GOLDEN "/valid-edge/"

static void must(cp_status status, const cp_error *err) {
    if (status == CP_OK)
        return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static void put(const char *dir, const char *target, const char *name, cp_str bytes) {
    cp_error err;
    char path[CP_PATH_CAP];
    snprintf(path, sizeof path, "%s/%s", dir, target);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/%s/%s", dir, target, name);
    must(cp_file_write(path, bytes, &err), &err);
}

/* A file with the harness's first byte in front. */
static void put_tagged(const char *dir, const char *target, char tag, const char *from,
                       const char *name) {
    cp_error err;
    cp_strbuf file, tagged;
    must(cp_file_read(from, (size_t)1 << 24, &file, &err), &err);
    cp_strbuf_init(&tagged, file.n + 2);
    cp_strbuf_putc(&tagged, tag);
    cp_strbuf_append(&tagged, file.data, file.n);
    put(dir, target, name, cp_strbuf_str(&tagged));
    cp_strbuf_deinit(&file);
    cp_strbuf_deinit(&tagged);
}

static void put_models(const char *dir) {
    for (int llama = 0; llama < 2; llama++) {
        cp_strbuf image = gguf_image(llama, NULL);
        put(dir, "gguf", llama ? "llama" : "qwen3", cp_strbuf_str(&image));
        cp_strbuf_deinit(&image);
    }
    put_tagged(dir, "model", 0, EDGE "baseline/model.safetensors", "baseline");
    put_tagged(dir, "model", 0, EDGE "f32-norms/model.safetensors", "f32-norms");
    put_tagged(dir, "model", 0, EDGE "unused-tensors/model.safetensors", "unused-tensors");
    put_tagged(dir, "model", 1, EDGE "baseline/config.json", "config");
    put_tagged(dir, "model", 2, EDGE "baseline/generation_config.json", "generation");
    put_tagged(dir, "model", 3, EDGE "two-shards/model.safetensors.index.json", "index");
    put_tagged(dir, "model", 4, EDGE "two-shards/model-00002-of-00002.safetensors", "shard");
}

static void put_patients(const char *dir) {
    static const char *const names[] = {"patients", "encounters", "claims", "documents",
                                        "chat_logs"};
    static const char change[] = "\5{\"patient\":{\"mrn\":\"FHIR-1\",\"name\":\"Ada\"},"
                                 "\"documents\":[]}\n";
    for (size_t i = 0; i < CP_COUNT_OF(names); i++) {
        char path[64];
        snprintf(path, sizeof path, "data/synthetic/%s.jsonl", names[i]);
        put_tagged(dir, "patients", (char)i, path, names[i]);
    }
    put(dir, "patients", "imports", CP_STR(change));
}

/* A log of two records and a note, with its head. */
static void put_audit(const char *dir) {
    cp_error err;
    cp_audit_keys keys;
    cp_audit_place place;
    cp_strbuf log, head;
    static const char *const bodies[] = {
        "\"weights\":\"\",\"record\":{\"kind\":\"answer\",\"seed\":7},\"sealed\":null",
        "\"weights\":\"\",\"record\":{\"trace_id\":\"a\"},\"sealed\":\"00\"",
        "\"record\":{\"kind\":\"note\",\"event\":\"start\",\"bytes\":7},\"sealed\":null"};
    cp_strbuf_init(&log, 1 << 20);
    cp_audit_place_init(&place);
    must(cp_audit_keys_derive(NULL, &keys, &err), &err);
    for (size_t i = 0; i < CP_COUNT_OF(bodies); i++) {
        cp_str line = {bodies[i], strlen(bodies[i])};
        must(cp_audit_line_append(&keys, &place, line, &log, &err), &err);
    }
    put(dir, "audit", "log", cp_strbuf_str(&log));
    char path[CP_PATH_CAP];
    snprintf(path, sizeof path, "%s/audit/head", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    must(cp_audit_head_write(fd, 0, &keys, &place, &err), &err);
    must(cp_audit_head_write(fd, 1, &keys, &place, &err), &err);
    close(fd);
    must(cp_file_read(path, 1 << 20, &head, &err), &err);
    cp_strbuf_puts(&log, "HEAD\n");
    cp_strbuf_append(&log, head.data, head.n);
    put(dir, "audit", "both", cp_strbuf_str(&log));
    cp_strbuf_deinit(&log);
    cp_strbuf_deinit(&head);
}

/* Documents of three patients and of nobody. */
static void put_docs(cp_index *index, uint64_t first, size_t n) {
    static const char *const mrns[] = {"", "A", "B", "MRN-1"};
    cp_error err;
    for (uint64_t i = first; i < first + n; i++) {
        char id[16];
        int8_t values[8] = {(int8_t)i, 1, 2, 3};
        cp_term terms[] = {{10, 1}, {20 + i, 300}, {1000, 2}};
        cp_chunk chunks[] = {{0, 9, 303, terms, 3, {values, 0.1f}},
                             {9, 9, 3, terms + i % 2 * 2, 1, {NULL, 0}}};
        snprintf(id, sizeof id, "d%u", (unsigned)i % 9);
        cp_index_doc doc = {mrns[i % 4],          id,     (cp_entry_kind)(i % 5),
                            {{(unsigned char)i}}, chunks, 2};
        must(cp_index_put(index, &doc, &err), &err);
    }
    must(cp_index_commit(index, &err), &err);
}

/* A segment and a tail of two commits, as they are and to be mended. */
static void put_index(const char *dir) {
    cp_error err;
    cp_index *index;
    char path[CP_PATH_CAP], segment[CP_PATH_CAP + 16], tail[CP_PATH_CAP + 16];
    snprintf(path, sizeof path, "%s/index-files", dir);
    cp_index_options options = {.dir = path, .write = true, .width = 8};
    must(cp_index_open(&options, &index, &err), &err);
    put_docs(index, 0, 150);
    must(cp_index_compact(index, &err), &err);
    put_docs(index, 7, 5);
    must(cp_index_remove(index, "A", "d1", &err), &err);
    put_docs(index, 20, 2);
    cp_index_close(index);
    snprintf(segment, sizeof segment, "%s/segment-2", path);
    snprintf(tail, sizeof tail, "%s/tail-2", path);
    put_tagged(dir, "index", 0, segment, "segment");
    put_tagged(dir, "index", 1, segment, "segment-mended");
    put_tagged(dir, "index", 2, tail, "tail");
    put_tagged(dir, "index", 3, tail, "tail-mended");
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    put_models(argv[1]);
    put_patients(argv[1]);
    put_audit(argv[1]);
    put_index(argv[1]);
    return 0;
}
