#include "convert/safetensors_writer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_HEADER_BYTES ((size_t)100000000)
#define ALIGNMENT        64 /* of the data, so that rows start on cache lines when their sizes allow */
/* The file is written in aligned pieces of this size, a large page: then the kernel can keep it in
 * large pages and map it so, which reads 10 to 15% faster (docs/performance.md). */
#define WRITE_BYTES ((size_t)2 << 20)

void cp_safetensors_writer_init(cp_safetensors_writer *w) {
    *w = (cp_safetensors_writer){0};
    cp_strbuf_init(&w->header, MAX_HEADER_BYTES);
    cp_json_writer_init(&w->json, &w->header);
    cp_json_open_object(&w->json);
    cp_json_key(&w->json, "__metadata__");
    cp_json_open_object(&w->json);
    cp_json_member_text(&w->json, "format", "pt"); /* what other readers look for */
}

void cp_safetensors_writer_deinit(cp_safetensors_writer *w) {
    if (w->file) {
        fclose(w->file);
        unlink(w->temporary);
    }
    free(w->buffer);
    cp_strbuf_deinit(&w->header);
}

void cp_safetensors_writer_metadata(cp_safetensors_writer *w, const char *key, const char *value) {
    assert(w->announced_bytes == 0);
    cp_json_member_text(&w->json, key, value);
}

void cp_safetensors_writer_blank(cp_safetensors_writer *w, const char *key, size_t n) {
    char zeros[64];
    assert(n > 0 && n < sizeof zeros && w->blank_n == 0);
    memset(zeros, '0', n);
    zeros[n] = '\0';
    cp_safetensors_writer_metadata(w, key, zeros);
    w->blank_at = w->header.n - n - 1; /* before the closing quote */
    w->blank_n = n;
}

void cp_safetensors_writer_announce(cp_safetensors_writer *w, const char *name, cp_dtype dtype,
                                    const size_t *shape, size_t n_dims) {
    uint64_t bytes = cp_dtype_bytes(dtype);
    if (w->json.depth == 2)
        cp_json_close_object(&w->json); /* the metadata */
    cp_json_key(&w->json, name);
    cp_json_open_object(&w->json);
    cp_json_member_text(&w->json, "dtype", cp_dtype_name(dtype));
    cp_json_key(&w->json, "shape");
    cp_json_open_array(&w->json);
    for (size_t i = 0; i < n_dims; i++) {
        cp_json_put_int(&w->json, (int64_t)shape[i]);
        bytes *= shape[i];
    }
    cp_json_close_array(&w->json);
    cp_json_key(&w->json, "data_offsets");
    cp_json_open_array(&w->json);
    cp_json_put_int(&w->json, (int64_t)w->announced_bytes);
    cp_json_put_int(&w->json, (int64_t)(w->announced_bytes + bytes));
    cp_json_close_array(&w->json);
    cp_json_close_object(&w->json);
    w->announced_bytes += bytes;
}

static cp_status failed(const cp_safetensors_writer *w, const char *doing, cp_error *err) {
    return cp_error_set(err, CP_ERR_IO, "%s: cannot %s: %s", w->temporary, doing, strerror(errno));
}

cp_status cp_safetensors_writer_begin(cp_safetensors_writer *w, const char *path, cp_error *err) {
    while (w->json.depth > 0)
        cp_json_close_object(&w->json);
    while ((8 + w->header.n) % ALIGNMENT != 0 && w->header.failed == CP_OK)
        cp_strbuf_putc(&w->header, ' ');
    cp_status status = cp_strbuf_check(&w->header, path, err);
    if (status != CP_OK)
        return status;
    int n = snprintf(w->path, sizeof w->path, "%s", path);
    int m = snprintf(w->temporary, sizeof w->temporary, "%s.%ld.tmp", path, (long)getpid());
    if (n < 0 || m < 0 || (size_t)m >= sizeof w->temporary)
        return cp_error_set(err, CP_ERR_LIMIT, "%s: path is too long", path);
    w->file = fopen(w->temporary, "wbe");
    if (!w->file)
        return failed(w, "create", err);
    w->buffer = malloc(WRITE_BYTES); /* glibc takes the size only with a buffer of ours */
    if (!w->buffer)
        return cp_error_no_memory(err, path);
    setvbuf(w->file, w->buffer, _IOFBF, WRITE_BYTES);
    unsigned char length[8];
    for (unsigned i = 0; i < sizeof length; i++)
        length[i] = (unsigned char)((uint64_t)w->header.n >> 8 * i);
    if (fwrite(length, 1, sizeof length, w->file) != sizeof length ||
        fwrite(w->header.data, 1, w->header.n, w->file) != w->header.n)
        return failed(w, "write", err);
    return CP_OK;
}

cp_status cp_safetensors_writer_write(cp_safetensors_writer *w, const void *bytes, size_t n,
                                      cp_error *err) {
    if (fwrite(bytes, 1, n, w->file) != n)
        return failed(w, "write", err);
    w->written_bytes += n;
    return CP_OK;
}

cp_status cp_safetensors_writer_fill(cp_safetensors_writer *w, const char *value, cp_error *err) {
    assert(strlen(value) == w->blank_n);
    if (fseeko(w->file, (off_t)(8 + w->blank_at), SEEK_SET) != 0 ||
        fwrite(value, 1, w->blank_n, w->file) != w->blank_n)
        return failed(w, "write", err);
    return CP_OK;
}

cp_status cp_safetensors_writer_finish(cp_safetensors_writer *w, cp_error *err) {
    assert(w->written_bytes == w->announced_bytes);
    if (fflush(w->file) != 0 || fsync(fileno(w->file)) != 0)
        return failed(w, "write", err);
    int closed = fclose(w->file);
    w->file = NULL;
    if (closed != 0 || rename(w->temporary, w->path) != 0) {
        cp_status status = failed(w, "rename into place", err);
        unlink(w->temporary);
        return status;
    }
    return CP_OK;
}
