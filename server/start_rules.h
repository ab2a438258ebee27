/* Settings that are right each for itself and wrong together: checked once, before anything opens.
 *
 * Without API keys only this machine may ask; production needs keys, a secret and a model; TLS
 * needs both of its files. Each sentence says what to do. */
#ifndef CP_SERVER_START_RULES_H
#define CP_SERVER_START_RULES_H

#include "server/settings.h"

/* CP_ERR_USAGE with the sentence. */
cp_status cp_start_rules_check(const cp_settings *settings, cp_error *err) CP_MUST_CHECK;
/* Whether this server may answer by rules that `reviewed_by` has signed (NULL: nobody). */
cp_status cp_start_rules_check_review(const cp_settings *settings, const char *reviewed_by,
                                      cp_error *err) CP_MUST_CHECK;

#endif
