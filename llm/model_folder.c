#include "llm/model_folder.h"

#include "base/file.h"
#include "llm/llm_internal.h"

cp_status cp_model_check_vocabulary(const char *dir, const cp_tokenizer *tok, size_t vocab_size,
                                    cp_error *err) {
    size_t n_ids = cp_tokenizer_n_ids(tok);
    if (n_ids <= vocab_size)
        return CP_OK;
    return cp_error_set(err, CP_ERR_FORMAT,
                        "%s/tokenizer.json: token id %zu is beyond config.json's vocab_size %zu",
                        dir, n_ids - 1, vocab_size);
}

/* *out stays NULL where the folder has none. */
static cp_status open_tokenizer(const char *dir, const cp_engine *engine, cp_tokenizer **out,
                                cp_error *err) {
    char path[CP_PATH_CAP];
    *out = NULL;
    cp_status status = cp_path_join(dir, "tokenizer.json", path, sizeof path, err);
    if (status != CP_OK || !cp_file_exists(path))
        return status;
    status = cp_tokenizer_open(dir, out, err);
    return status == CP_OK
               ? cp_model_check_vocabulary(dir, *out, cp_engine_config(engine)->vocab_size, err)
               : status;
}

cp_status cp_model_parse_kv(const char *word, cp_kv *out, cp_error *err) {
    *out = CP_KV_AUTO;
    if (!word || cp_kv_parse(word, out))
        return CP_OK;
    return cp_error_set(err, CP_ERR_USAGE, "--kv is \"%.16s\", expected auto, f32, f16 or int8",
                        word);
}

cp_status cp_model_folder_open(const char *dir, const cp_engine_options *options, cp_engine **out,
                               cp_tokenizer **tok, cp_error *err) {
    cp_tokenizer *opened = NULL;
    cp_status status = cp_engine_open(dir, options, out, err);
    if (status == CP_OK)
        status = open_tokenizer(dir, *out, &opened, err);
    if (status != CP_OK) {
        cp_engine_close(*out);
        *out = NULL;
    }
    if (status != CP_OK || !tok) {
        cp_tokenizer_close(opened);
        opened = NULL;
    }
    if (tok)
        *tok = opened;
    return status;
}
