/* From an answered request to its audit record: what every endpoint records in the same way. */
#ifndef CP_SERVER_AUDIT_ANSWER_H
#define CP_SERVER_AUDIT_ANSWER_H

#include "server/audit_log.h"
#include "server/http_server.h"
#include "server/inference.h"

/* An entry with time, ids, key, endpoint and model of this request; the rest is the caller's. What
 * it borrows lives as long as both. */
cp_audit_entry cp_audit_entry_of(const cp_inference *inference, const cp_http_request *request);

#endif
