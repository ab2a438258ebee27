#include "llm/jsonl.h"

#include "base/file.h"
#include "base/json_reader.h"

#include <stdint.h>
#include <stdio.h>

#define MAX_LINE_BYTES   ((size_t)64 << 20)
#define MAX_OUTPUT_BYTES ((size_t)4 << 30) /* every position's logits of a long text */

static cp_status read_id_array(cp_json_reader *r, cp_ids *out, cp_error *err) {
    bool more = false;
    cp_status status = cp_json_enter_array(r, err);
    while (status == CP_OK) {
        int64_t id;
        status = cp_json_next_element(r, &more, err);
        if (status != CP_OK || !more)
            return status;
        status = cp_json_read_int(r, "token id", 0, INT32_MAX, &id, err);
        if (status == CP_OK)
            status = cp_ids_push(out, (int32_t)id, err);
    }
    return status;
}

cp_status cp_jsonl_read_ids(cp_str json, const char *source, cp_ids *out, cp_error *err) {
    cp_json_reader reader;
    cp_json_reader_init(&reader, source, json.data, json.n);
    cp_status status = read_id_array(&reader, out, err);
    if (status == CP_OK)
        status = cp_json_finish(&reader, err);
    cp_json_reader_deinit(&reader);
    return status;
}

/* {"ids": [...]}; other keys are passed over. */
static cp_status read_request(cp_json_reader *r, cp_ids *out, cp_error *err) {
    bool more = false, have_ids = false;
    cp_str key;
    cp_status status = cp_json_enter_object(r, err);
    while (status == CP_OK) {
        status = cp_json_next_key(r, &key, &more, err);
        if (status != CP_OK || !more)
            break;
        if (!cp_str_is(key, "ids"))
            status = cp_json_skip(r, err);
        else if (have_ids)
            status = cp_json_fail(r, err, "\"ids\" appears twice");
        else
            status = read_id_array(r, out, err);
        have_ids = have_ids || cp_str_is(key, "ids");
    }
    if (status == CP_OK)
        status = cp_json_finish(r, err);
    if (status == CP_OK && out->n == 0)
        status = cp_json_fail(r, err, "\"ids\" is missing or empty, expected a list of token ids");
    return status;
}

/* One line of input to one line of output. */
static cp_status run_line(cp_ids_line_fn fn, void *user, cp_str line, size_t number, cp_ids *ids,
                          cp_strbuf *out, cp_error *err) {
    char source[32];
    cp_json_reader reader;
    cp_json_writer writer;
    snprintf(source, sizeof source, "line %zu", number);
    cp_json_reader_init(&reader, source, line.data, line.n);
    ids->n = 0;
    cp_status status = read_request(&reader, ids, err);
    cp_json_reader_deinit(&reader);
    if (status != CP_OK)
        return status;
    cp_strbuf_clear(out);
    cp_json_writer_init(&writer, out);
    status = fn(user, ids, &writer, err);
    if (status != CP_OK) { /* wrong input, not wrong use of the command */
        (void)cp_error_prefix(err, "%s", source);
        return err->status = CP_ERR_FORMAT;
    }
    cp_strbuf_putc(out, '\n');
    status = cp_strbuf_check(out, source, err);
    if (status == CP_OK && (fwrite(out->data, 1, out->n, stdout) != out->n || fflush(stdout) != 0))
        status = cp_error_set(err, CP_ERR_IO, "cannot write to stdout");
    return status;
}

cp_status cp_jsonl_run(cp_ids_line_fn fn, void *user, cp_error *err) {
    cp_strbuf line, out;
    cp_ids ids = {0};
    bool more = true;
    cp_status status = CP_OK;
    cp_strbuf_init(&line, MAX_LINE_BYTES);
    cp_strbuf_init(&out, MAX_OUTPUT_BYTES);
    for (size_t number = 1; status == CP_OK; number++) {
        status = cp_file_next_line(stdin, &line, &more, err);
        if (status != CP_OK || !more)
            break;
        if (line.n > 0)
            status = run_line(fn, user, cp_strbuf_str(&line), number, &ids, &out, err);
    }
    cp_ids_deinit(&ids);
    cp_strbuf_deinit(&line);
    cp_strbuf_deinit(&out);
    return status;
}
