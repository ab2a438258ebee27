/* carepath load-data: the patients of a folder into MongoDB. */
#include "server/commands.h"

#include "base/args.h"
#include "base/file.h"
#include "base/mem.h"
#include "server/mongo_load.h"

#include <stdio.h>
#include <stdlib.h>

static void show(const cp_load_count *counts) {
    for (size_t i = 0; i < CP_LOAD_COLLECTIONS; i++)
        printf("%-10s %7zu rows, %zu of them new\n", counts[i].collection, counts[i].n,
               counts[i].n_new);
}

static cp_status load(const cp_settings *settings, const char *dir, const char *database,
                      cp_error *err) {
    cp_load_count counts[CP_LOAD_COLLECTIONS];
    char synthetic[CP_PATH_CAP];
    cp_patient_store *store;
    const cp_remote_config config = {
        .url = settings->mongo_uri,
        .database = database ? database : settings->mongo_database,
        .timeout_ms = 60000, /* nobody waits at a bedside */
        .n_connections = 1,
        .strict = settings->app_env != CP_ENV_DEVELOPMENT,
    };
    cp_status status =
        cp_path_join(settings->data_dir, "synthetic", synthetic, sizeof synthetic, err);
    if (status == CP_OK)
        status = cp_patient_store_open_mongo(&config, &store, err);
    if (status != CP_OK)
        return status;
    status = cp_load_folder(store, dir ? dir : synthetic, counts, err);
    store->close(store);
    if (status == CP_OK)
        show(counts);
    return status;
}

int cmd_load_data(int argc, char **argv) {
    cp_settings settings;
    cp_error err;
    const char *dir = NULL, *database = NULL;
    const cp_arg args[] = {
        {"database", CP_ARG_TEXT, &database, "NAME", "Database (MONGO_DATABASE, else carepath)", 0,
         0, false},
    };
    const cp_command_line line = {
        .usage = "carepath load-data [FOLDER] [--database NAME]",
        .summary = "Puts the patients, encounters, claims, documents, chat logs, providers and "
                   "audit logs of a folder\n(DATA_DIR/synthetic) into the MongoDB server at "
                   "MONGO_URI, and makes the indexes. Running it\nagain changes nothing; rows that "
                   "are not in the folder stay.",
        .args = args,
        .n_args = CP_COUNT_OF(args),
        .positional = &dir,
        .max_positional = 1,
    };
    cp_args_result parsed = cp_args_parse(&line, argc, argv);
    if (parsed != CP_ARGS_RUN)
        return cp_args_exit(parsed);
    cp_status status = cp_settings_from_env(&settings, getenv, &err);
    if (status == CP_OK)
        status = load(&settings, dir, database, &err);
    return status == CP_OK ? CP_EXIT_OK : cp_command_failed("load-data", &err);
}
