#include "server/secret.h"

#include "base/crypto.h"
#include "base/file.h"

#include <string.h>

static cp_status check(const cp_secret *secret, size_t n, const char *source, cp_error *err) {
    if (n < CP_SECRET_MIN_BYTES)
        return cp_error_set(err, CP_ERR_USAGE,
                            "%s has %zu bytes, expected %d or more (make one: openssl rand -hex "
                            "32)",
                            source, n, CP_SECRET_MIN_BYTES);
    for (size_t i = 0; i < n; i++)
        if (secret->text[i] < 0x20 || secret->text[i] > 0x7e)
            return cp_error_set(err, CP_ERR_USAGE,
                                "%s: byte %zu is no printable ASCII character (make one: openssl "
                                "rand -hex 32)",
                                source, i + 1);
    return CP_OK;
}

static cp_status take(cp_secret *out, cp_str text, const char *source, cp_error *err) {
    if (text.n > CP_SECRET_MAX_BYTES)
        return cp_error_set(err, CP_ERR_USAGE, "%s has more than %d bytes", source,
                            CP_SECRET_MAX_BYTES);
    memcpy(out->text, text.data, text.n);
    return check(out, text.n, source, err);
}

static cp_status take_file(cp_secret *out, const char *path, cp_error *err) {
    cp_strbuf text;
    cp_strbuf_init(&text, 0);
    cp_status status = cp_file_check_private(path, err);
    if (status == CP_OK)
        status = cp_file_read(path, CP_SECRET_MAX_BYTES + 2, &text, err);
    if (status != CP_OK) {
        cp_error_prefix(err, "SECRET_KEY_FILE");
    } else {
        cp_str line = cp_strbuf_str(&text);
        if (line.n > 0 && line.data[line.n - 1] == '\n')
            line.n--;
        if (line.n > 0 && line.data[line.n - 1] == '\r')
            line.n--;
        status = take(out, line, path, err);
    }
    if (text.data)
        cp_wipe(text.data, text.n);
    cp_strbuf_deinit(&text);
    return status;
}

cp_status cp_secret_load(const cp_settings *settings, cp_secret *out, cp_error *err) {
    *out = (cp_secret){""};
    const char *given = settings->secret_key, *path = settings->secret_key_file;
    if (*given && *path)
        return cp_error_set(err, CP_ERR_USAGE,
                            "SECRET_KEY and SECRET_KEY_FILE are both set, expected one of them");
    if (*given)
        return take(out, (cp_str){given, strlen(given)}, "SECRET_KEY", err);
    return *path ? take_file(out, path, err) : CP_OK;
}

void cp_secret_wipe(cp_secret *secret) {
    cp_wipe(secret, sizeof *secret);
}
