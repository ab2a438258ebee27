#include "server/patient_store.h"

#include "base/file.h"

static cp_status open_remote(const cp_settings *settings, cp_patient_store **out, cp_error *err) {
    const bool is_mongo = settings->patient_store == CP_STORE_MONGO;
    const cp_remote_config config = {
        .url = is_mongo ? settings->mongo_uri : settings->db_api_base_url,
        .database = settings->mongo_database,
        .key = settings->db_api_key[0] ? settings->db_api_key : NULL,
        .timeout_ms = settings->store_timeout_ms,
        .n_connections = (size_t)settings->store_connections,
        .strict = settings->app_env != CP_ENV_DEVELOPMENT,
    };
    cp_patient_store *store;
    cp_status status = is_mongo ? cp_patient_store_open_mongo(&config, &store, err)
                                : cp_patient_store_open_http(&config, &store, err);
    return status == CP_OK ? cp_patient_store_guard(store, out, err) : status;
}

cp_status cp_patient_store_open(const cp_settings *settings, cp_patient_store **out,
                                cp_error *err) {
    char dir[CP_PATH_CAP];
    *out = NULL;
    if (settings->patient_store != CP_STORE_JSONL)
        return open_remote(settings, out, err);
    cp_status status = cp_path_join(settings->data_dir, "synthetic", dir, sizeof dir, err);
    return status == CP_OK ? cp_patient_store_open_jsonl(dir, out, err) : status;
}
