/* An event stream: the events do not depend on where the bytes are cut. */
#include "tests/fuzz/fuzz.h"

#include "base/sse_reader.h"

#define MAX_BYTES 4096

static bool on_event(void *user, const cp_sse_event *event) {
    cp_strbuf *seen = user;
    cp_strbuf_append(seen, event->name.data, event->name.n);
    cp_strbuf_putc(seen, '\0');
    cp_strbuf_append(seen, event->data.data, event->data.n);
    cp_strbuf_putc(seen, '\0');
    return true;
}

/* Feeds the stream in pieces of `step` bytes. */
static cp_status read_all(cp_str bytes, size_t step, cp_strbuf *seen) {
    cp_error err;
    cp_sse_reader r;
    cp_status status = CP_OK;
    cp_strbuf_init(seen, (size_t)1 << 24);
    cp_sse_reader_init(&r, MAX_BYTES, on_event, seen);
    cp_sse_reader_begin(&r);
    for (size_t at = 0; at < bytes.n && status == CP_OK; at += step) {
        size_t n = bytes.n - at < step ? bytes.n - at : step;
        status = cp_sse_reader_feed(&r, (cp_str){bytes.data + at, n}, &err);
    }
    (void)fuzz_ok(status, &err);
    cp_sse_reader_deinit(&r);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    cp_strbuf whole, cut;
    cp_status status = read_all(fuzz_str(data, n), n + 1, &whole);
    for (size_t step = 1; step < 8; step += 2) {
        fuzz_expect(read_all(fuzz_str(data, n), step, &cut) == status);
        fuzz_expect(cp_str_equal(cp_strbuf_str(&whole), cp_strbuf_str(&cut)));
        cp_strbuf_deinit(&cut);
    }
    cp_strbuf_deinit(&whole);
    return 0;
}
