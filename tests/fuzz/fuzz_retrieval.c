/* What retrieval reads: a file of the knowledge base, the list of everyday names, a document of a
 * record that is cut into chunks, and a question. The first byte says which. */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "retrieval/knowledge.h"
#include "retrieval/retriever.h"

#include <stdlib.h>
#include <string.h>

#define QUESTION "my blood thiner and a fall"

static cp_index *index_;
static cp_knowledge *ours, *none;
static cp_retriever *retriever;

static void open_once(void) {
    const cp_index_options in_memory = {.write = true, .model = ""};
    cp_error err;
    if (retriever)
        return;
    fuzz_expect(fuzz_ok(cp_index_open(&in_memory, &index_, &err), &err));
    fuzz_expect(fuzz_ok(cp_knowledge_open(fuzz_dir(), &none, &err), &err)); /* still empty */
    fuzz_expect(fuzz_ok(cp_knowledge_open("data/knowledge", &ours, &err), &err));
    const cp_retriever_options options = {index_, ours, "data/knowledge/words.json"};
    fuzz_expect(fuzz_ok(cp_retriever_create(&options, &retriever, &err), &err));
}

/* Passages lie in their documents. */
static void ask(cp_retriever *r, const cp_retrieve_query *query) {
    cp_retrieved found;
    cp_error err;
    fuzz_expect(fuzz_ok(cp_retrieve(r, query, &found, &err), &err));
    fuzz_expect(found.n <= query->k);
    for (size_t i = 0; i < found.n; i++) {
        const cp_passage *p = &found.passages[i];
        fuzz_expect((size_t)p->begin + p->n <= p->doc->text.n);
        fuzz_expect(p->best_begin >= p->begin && p->best_begin + p->best_n <= p->begin + p->n);
    }
    free(found.passages);
}

static void read_knowledge(const uint8_t *data, size_t n) {
    cp_knowledge *knowledge;
    cp_error err;
    fuzz_write("a.md", data, n);
    if (!fuzz_ok(cp_knowledge_open(fuzz_dir(), &knowledge, &err), &err))
        return;
    for (size_t i = 0; i < cp_knowledge_n(knowledge); i++) {
        const cp_source_doc *doc = cp_knowledge_doc(knowledge, i);
        fuzz_expect(cp_knowledge_find(knowledge, doc->id) == doc);
        fuzz_expect(cp_utf8_is_valid(doc->text.data, doc->text.n));
    }
    cp_knowledge_close(knowledge);
}

static void read_words(const uint8_t *data, size_t n) {
    const cp_retriever_options options = {index_, none, fuzz_write("words.json", data, n)};
    const cp_retrieve_query query = {.text = QUESTION, .kinds = CP_ALL_KINDS, .k = 5};
    cp_retriever *r;
    cp_error err;
    if (!fuzz_ok(cp_retriever_create(&options, &r, &err), &err))
        return;
    ask(r, &query);
    cp_retriever_free(r);
}

static void cut(const uint8_t *data, size_t n) {
    char *title = fuzz_text(data, n < 20 ? n : 20);
    cp_source_doc doc = {.mrn = "M",
                         .id = "D",
                         .title = title,
                         .type = "",
                         .date = "",
                         .kind = CP_ENTRY_DOCUMENT,
                         .text = fuzz_str(data, n),
                         .also = CP_STR("")};
    const cp_retrieve_query query = {
        .text = QUESTION, .mrn = "M", .docs = &doc, .n_docs = 1, .kinds = CP_ALL_KINDS, .k = 5};
    cp_chunked chunked;
    cp_error err;
    size_t end = 0;
    fuzz_expect(fuzz_ok(cp_source_doc_seal(&doc, &err), &err));
    fuzz_expect(fuzz_ok(cp_chunk_document(&doc, 1, &chunked, &err), &err));
    for (size_t i = 0; i < chunked.n; i++) {
        const cp_chunk *c = &chunked.chunks[i];
        fuzz_expect((size_t)c->begin + c->n <= n && c->n <= CP_CHUNK_BYTES);
        fuzz_expect(i == 0 || (size_t)c->begin + c->n > end);
        end = (size_t)c->begin + c->n;
    }
    cp_chunked_deinit(&chunked);
    ask(retriever, &query);
    free(title);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    open_once();
    if (n == 0)
        return 0;
    const uint8_t *rest = data + 1;
    if (*data % 4 == 0) {
        read_knowledge(rest, n - 1);
    } else if (*data % 4 == 1) {
        read_words(rest, n - 1);
    } else if (*data % 4 == 2) {
        cut(rest, n - 1);
    } else {
        char *text = fuzz_text(rest, n - 1);
        const cp_retrieve_query query = {.text = text, .kinds = CP_ALL_KINDS, .k = 5};
        ask(retriever, &query);
        free(text);
    }
    return 0;
}
