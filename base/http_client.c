#include "base/http_transfer.h"

#include <stdlib.h>

struct cp_http_client {
    cp_http_transfer transfer;
};

cp_status cp_http_client_create(cp_http_client **out, cp_error *err) {
    *out = NULL;
    cp_http_client *client = calloc(1, sizeof *client);
    if (!client)
        return cp_error_no_memory(err, "HTTP client");
    cp_status status = cp_http_transfer_create(&client->transfer, err);
    if (status != CP_OK) {
        free(client);
        return status;
    }
    *out = client;
    return CP_OK;
}

void cp_http_client_free(cp_http_client *client) {
    if (!client)
        return;
    cp_http_transfer_destroy(&client->transfer);
    free(client);
}

cp_status cp_http_client_send(cp_http_client *client, const cp_http_call *call,
                              cp_http_answer *answer, cp_error *err) {
    cp_http_transfer *t = &client->transfer;
    cp_status status = cp_http_transfer_begin(t, call, answer, err);
    if (status != CP_OK)
        return status;
    return cp_http_transfer_end(t, curl_easy_perform(t->easy), err);
}
